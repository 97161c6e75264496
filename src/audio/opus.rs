//! Opus (RFC 6716) at native 8 kHz mono, and the only file that touches the codec library.
//!
//! In: packets and samples. Out: samples and packets. The states of a thread's decoders and
//! encoders lie in one [`OpusArena`] that is reserved at start, so making and ending a call neither
//! allocates nor locks. Decoding straight to 8 kHz needs no resampler and costs 0.6 of decoding to
//! 48 kHz stereo. RTP, jitter and what to do about a gap are left to others.
#![allow(unsafe_code)]

use crate::base::narrow::Narrow;
use crate::base::opaque::opaque;

use std::cell::RefCell;
use std::ffi::{CStr, c_int, c_void};
use std::ops::RangeInclusive;
use std::ptr::{self, NonNull};
use std::rc::Rc;
use std::{fmt, io};

use audiopus::ffi;
use serde::{Deserialize, Serialize};

use super::SAMPLE_RATE_HZ;

/// Samples in the longest packet, 120 ms (RFC 6716 §3.2.5).
pub const PACKET_SAMPLES_MAX: usize = 960;
/// Opus is encoded once a call, for it passes to Opus as it is; and what is played toward a browser has an
/// encoder of its own, two where both legs are browsers.
pub const ENCODERS_PER_CALL: u32 = 2;
/// Concealment and recovery work in multiples of 2.5 ms.
const CONCEALED_SAMPLES_STEP: usize = 20;
/// States start on cache lines, so that two calls never share one.
const SLOT_BYTES_STEP: usize = 64;
const CHANNELS: c_int = 1;

/// Which of Opus's two codecs makes the frames (RFC 6716 §2).
///
/// libopus would choose by bit rate and kind of signal; here the caller does, since each has its
/// price and its protection against loss.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum EncoderMode {
    /// Linear prediction: good speech at low rates, and the only one with in-band FEC.
    Silk,
    /// Transform: half of SILK's work at complexity 0, for more bits; no in-band FEC.
    Celt,
}

impl EncoderMode {
    /// libopus's name for it (`opus_private.h`).
    const fn number(self) -> c_int {
        match self {
            Self::Silk => 1_000,
            Self::Celt => 1_002,
        }
    }
}

/// `OPUS_SET_FORCE_MODE`: a request that libopus knows but does not publish. It refuses numbers that
/// are no mode, and keeps to the ones that are under every application.
const SET_FORCE_MODE_REQUEST: c_int = 11_002;

/// Opus encoder settings.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct EncoderSettings {
    /// SILK or CELT.
    pub mode: EncoderMode,
    /// Bits per second, within [`Self::BIT_RATE`].
    pub bit_rate: u32,
    /// libopus complexity, 0..=10.
    pub complexity: u8,
    /// In-band forward error correction, SILK only.
    pub fec: bool,
    /// Loss the encoder prepares for, 0..=100; in-band FEC is produced only above 0.
    pub expected_loss_percent: u8,
}

impl EncoderSettings {
    /// The bit rates that make sense (RFC 6716 §2.1.1 begins at 6 kb/s; narrowband is transparent
    /// long before the end).
    pub const BIT_RATE: RangeInclusive<u32> = 6_000..=128_000;
    /// The highest complexity that libopus knows.
    pub const COMPLEXITY_MAX: u8 = 10;

    /// The nearest settings that libopus accepts.
    fn clamped(self) -> Self {
        Self {
            mode: self.mode,
            bit_rate: self.bit_rate.clamp(*Self::BIT_RATE.start(), *Self::BIT_RATE.end()),
            complexity: self.complexity.min(Self::COMPLEXITY_MAX),
            fec: self.fec,
            expected_loss_percent: self.expected_loss_percent.min(100),
        }
    }
}

/// Every slot of the arena is taken: a call too many for this thread.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ArenaFull;

impl fmt::Display for ArenaFull {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("no codec state is free on this thread")
    }
}

impl std::error::Error for ArenaFull {}

/// A packet that is not Opus (RFC 6716 §3.4), or whose audio does not fit the output.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BadPayload;

/// Samples that are no Opus frame, or an output too small for the packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BadFrame;

/// Where the audio of a gap came from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Filled {
    /// The last frame of the gap was rebuilt from the next packet's in-band FEC.
    FromFec,
    /// All of it was extrapolated.
    Concealed,
}

/// One reserved block of memory for a thread's codec states.
///
/// Pages that no state ever lay in are never resident. A freed slot is the first to be reused.
pub struct OpusArena {
    block: NonNull<u8>,
    block_bytes: usize,
    decoders: RefCell<Slots>,
    encoders: RefCell<Slots>,
}

opaque!(OpusArena);

/// Equal slots in the block; which are free is a stack whose capacity is never exceeded.
struct Slots {
    offset_bytes: usize,
    slot_bytes: usize,
    free: Vec<u32>,
}

impl Slots {
    fn new(offset_bytes: usize, state_bytes: usize, count: u32) -> Self {
        let slot_bytes = state_bytes.next_multiple_of(SLOT_BYTES_STEP);
        Self { offset_bytes, slot_bytes, free: (0..count).rev().collect() }
    }

    fn offset_of(&self, slot: u32) -> usize {
        self.offset_bytes + slot as usize * self.slot_bytes
    }
}

impl OpusArena {
    /// Reserves room for one decoder and [`ENCODERS_PER_CALL`] encoders for each of `calls` calls.
    ///
    /// # Errors
    /// The operating system's, when it has no such block of addresses.
    pub fn new(calls: usize) -> io::Result<Rc<Self>> {
        let too_many = || io::Error::new(io::ErrorKind::InvalidInput, "too many calls");
        let count = u32::try_from(calls).map_err(|_| too_many())?;
        // SAFETY: these read nothing but their argument.
        let (decoder_bytes, encoder_bytes) =
            unsafe { (ffi::opus_decoder_get_size(CHANNELS), ffi::opus_encoder_get_size(CHANNELS)) };
        let decoders = Slots::new(0, decoder_bytes.narrow(), count);
        let encoders_max = count.checked_mul(ENCODERS_PER_CALL).ok_or_else(too_many)?;
        let encoders = Slots::new(decoders.offset_of(count), encoder_bytes.narrow(), encoders_max);
        let block_bytes = encoders.offset_of(encoders_max).max(1);
        // SAFETY: a new anonymous mapping aliases nothing.
        let block = unsafe {
            libc::mmap(
                ptr::null_mut(),
                block_bytes,
                libc::PROT_READ | libc::PROT_WRITE,
                libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_NORESERVE,
                -1,
                0,
            )
        };
        if block == libc::MAP_FAILED {
            return Err(io::Error::last_os_error());
        }
        let block = NonNull::new(block.cast::<u8>()).ok_or_else(io::Error::last_os_error)?;
        let (decoders, encoders) = (RefCell::new(decoders), RefCell::new(encoders));
        Ok(Rc::new(Self { block, block_bytes, decoders, encoders }))
    }

    /// A decoder in its initial state.
    ///
    /// # Errors
    /// [`ArenaFull`] when as many decoders live as calls were reserved.
    pub fn decoder(self: &Rc<Self>) -> Result<OpusDecoder, ArenaFull> {
        let slot = Slot::take(self, |arena| &arena.decoders)?;
        let mut decoder = OpusDecoder { slot };
        // SAFETY: the slot is as large as `opus_decoder_get_size` asked, aligned, and ours alone.
        let result = unsafe {
            ffi::opus_decoder_init(decoder.state(), SAMPLE_RATE_HZ.cast_signed(), CHANNELS)
        };
        debug_assert_eq!(result, ffi::OPUS_OK);
        Ok(decoder)
    }

    /// An encoder in its initial state; settings out of range are brought into it.
    ///
    /// # Errors
    /// [`ArenaFull`] when as many encoders live as were reserved.
    pub fn encoder(self: &Rc<Self>, settings: EncoderSettings) -> Result<OpusEncoder, ArenaFull> {
        let slot = Slot::take(self, |arena| &arena.encoders)?;
        let mut encoder = OpusEncoder { slot, interrupted: false };
        // SAFETY: the slot is as large as `opus_encoder_get_size` asked, aligned, and ours alone.
        let result = unsafe {
            ffi::opus_encoder_init(
                encoder.state(),
                SAMPLE_RATE_HZ.cast_signed(),
                CHANNELS,
                ffi::OPUS_APPLICATION_VOIP,
            )
        };
        debug_assert_eq!(result, ffi::OPUS_OK);
        encoder.configure(settings);
        Ok(encoder)
    }

    /// Decoders and encoders that can still be had.
    pub fn free(&self) -> (usize, usize) {
        (self.decoders.borrow().free.len(), self.encoders.borrow().free.len())
    }
}

impl Drop for OpusArena {
    fn drop(&mut self) {
        // SAFETY: `new` mapped exactly this block, and every slot holds the arena alive.
        unsafe { libc::munmap(self.block.as_ptr().cast(), self.block_bytes) };
    }
}

/// A slot on loan; it goes back when dropped.
struct Slot {
    arena: Rc<OpusArena>,
    slots: fn(&OpusArena) -> &RefCell<Slots>,
    number: u32,
    state: NonNull<c_void>,
}

impl Slot {
    fn take(
        arena: &Rc<OpusArena>,
        slots: fn(&OpusArena) -> &RefCell<Slots>,
    ) -> Result<Self, ArenaFull> {
        let mut borrowed = slots(arena).borrow_mut();
        let number = borrowed.free.pop().ok_or(ArenaFull)?;
        // SAFETY: the offset of an existing slot lies within the block.
        let state = unsafe { arena.block.add(borrowed.offset_of(number)) }.cast();
        Ok(Self { arena: Rc::clone(arena), slots, number, state })
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        (self.slots)(&self.arena).borrow_mut().free.push(self.number);
    }
}

/// Decodes one stream.
pub struct OpusDecoder {
    slot: Slot,
}

opaque!(OpusDecoder);

impl OpusDecoder {
    fn state(&mut self) -> *mut ffi::OpusDecoder {
        self.slot.state.as_ptr().cast()
    }

    /// Decodes a packet and says how many samples of `out` it filled; [`PACKET_SAMPLES_MAX`] are
    /// always enough.
    ///
    /// # Errors
    /// [`BadPayload`]; the state is then as before.
    pub fn decode(&mut self, packet: &[u8], out: &mut [i16]) -> Result<usize, BadPayload> {
        if packet.is_empty() {
            return Err(BadPayload); // libopus would take it for a lost packet
        }
        self.run(Some(packet), out, Redundancy::Ignore)
    }

    /// Fills a gap of exactly `out.len()` samples just before `next_packet`: its last frame from
    /// the packet's in-band FEC (RFC 6716 §4.2.5) if it has any, what lies before by concealment.
    /// `next_packet` is decoded afterwards as usual.
    pub fn recover(&mut self, next_packet: &[u8], out: &mut [i16]) -> Filled {
        if !carries_fec(next_packet) || out.is_empty() {
            self.conceal(out);
            return Filled::Concealed;
        }
        let frame = out.len().min(PACKET_SAMPLES_MAX);
        let frame = frame - frame % CONCEALED_SAMPLES_STEP;
        let (before, last) = out.split_at_mut(out.len() - frame);
        self.conceal(before);
        match self.run(Some(next_packet), last, Redundancy::Decode) {
            Ok(_) => Filled::FromFec,
            Err(BadPayload) => {
                self.conceal(last);
                Filled::Concealed
            }
        }
    }

    /// Extrapolates `out.len()` samples; fades out by itself as the gap grows.
    pub fn conceal(&mut self, out: &mut [i16]) {
        for chunk in out.chunks_mut(PACKET_SAMPLES_MAX) {
            let ragged = chunk.len() % CONCEALED_SAMPLES_STEP;
            let (even, rest) = chunk.split_at_mut(chunk.len() - ragged);
            if self.run(None, even, Redundancy::Ignore).is_err() {
                even.fill(0);
            }
            if !rest.is_empty() {
                let mut step = [0; CONCEALED_SAMPLES_STEP];
                let _ = self.run(None, &mut step, Redundancy::Ignore);
                rest.copy_from_slice(&step[..ragged]);
            }
        }
    }

    /// Forgets the past, as after a restart of the stream.
    pub fn reset(&mut self) {
        // SAFETY: the state is initialised; this request takes no argument.
        unsafe { ffi::opus_decoder_ctl(self.state(), ffi::OPUS_RESET_STATE) };
    }

    fn run(
        &mut self,
        packet: Option<&[u8]>,
        out: &mut [i16],
        redundancy: Redundancy,
    ) -> Result<usize, BadPayload> {
        if out.is_empty() {
            return if packet.is_none() { Ok(0) } else { Err(BadPayload) };
        }
        let bytes = packet.unwrap_or_default();
        let length = i32::try_from(bytes.len()).map_err(|_| BadPayload)?;
        let samples: c_int = out.len().min(PACKET_SAMPLES_MAX).narrow();
        // SAFETY: the state is initialised and ours alone; `length` and `samples` are within the
        // slices; a null packet asks for concealment and is not read.
        let decoded = unsafe {
            ffi::opus_decode(
                self.state(),
                packet.map_or(ptr::null(), <[u8]>::as_ptr),
                length,
                out.as_mut_ptr(),
                samples,
                c_int::from(redundancy == Redundancy::Decode),
            )
        };
        usize::try_from(decoded).map_err(|_| BadPayload)
    }
}

/// Whether the packet's own audio or its FEC copy of the one before is decoded.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Redundancy {
    Ignore,
    Decode,
}

/// Encodes one stream.
pub struct OpusEncoder {
    slot: Slot,
    interrupted: bool,
}

opaque!(OpusEncoder);

impl OpusEncoder {
    fn state(&mut self) -> *mut ffi::OpusEncoder {
        self.slot.state.as_ptr().cast()
    }

    /// Encodes one packet of 80, 160, 320 or 480 samples and says how many bytes of `out` it
    /// filled. The encoder keeps to `out.len()`, at the price of quality when it is short: 1,275
    /// bytes a 20 ms frame are always enough.
    ///
    /// # Errors
    /// [`BadFrame`] for any other number of samples.
    pub fn encode(&mut self, pcm: &[i16], out: &mut [u8]) -> Result<usize, BadFrame> {
        if !matches!(pcm.len(), 80 | 160 | 320 | 480) {
            return Err(BadFrame);
        }
        let predicts = !std::mem::take(&mut self.interrupted);
        if !predicts {
            self.set(ffi::OPUS_SET_PREDICTION_DISABLED_REQUEST, 1);
        }
        // Six frames of 1,276 bytes are the longest packet there is (RFC 6716 §3.4).
        let out_bytes: i32 = out.len().min(6 * 1_276).narrow();
        // SAFETY: the state is initialised and ours alone; both lengths are within the slices.
        let encoded = unsafe {
            ffi::opus_encode(
                self.state(),
                pcm.as_ptr(),
                pcm.len().narrow(),
                out.as_mut_ptr(),
                out_bytes,
            )
        };
        if !predicts {
            self.set(ffi::OPUS_SET_PREDICTION_DISABLED_REQUEST, 0);
        }
        usize::try_from(encoded).map_err(|_| BadFrame)
    }

    /// The far decoder heard packets that are not from here: the next packet is not predicted from
    /// the ones before it. Otherwise CELT is off by the difference of their levels, halved with each
    /// packet (RFC 6716 §4.3.2.1).
    pub fn interrupt(&mut self) {
        self.interrupted = true;
    }

    /// Goes on with other settings, brought into range. The state stays: a change of mode is bridged
    /// by libopus with a redundant CELT frame (RFC 6716 §4.5.1), so that nothing is heard of it.
    pub fn configure(&mut self, settings: EncoderSettings) {
        let settings = settings.clamped();
        self.set(SET_FORCE_MODE_REQUEST, settings.mode.number());
        self.set(ffi::OPUS_SET_BITRATE_REQUEST, settings.bit_rate.narrow());
        self.set(ffi::OPUS_SET_COMPLEXITY_REQUEST, c_int::from(settings.complexity));
        self.set(ffi::OPUS_SET_INBAND_FEC_REQUEST, c_int::from(settings.fec));
        let expected_loss = c_int::from(settings.expected_loss_percent);
        self.set(ffi::OPUS_SET_PACKET_LOSS_PERC_REQUEST, expected_loss);
        self.set(ffi::OPUS_SET_VBR_REQUEST, 1);
        self.set(ffi::OPUS_SET_DTX_REQUEST, 0);
        self.set(ffi::OPUS_SET_SIGNAL_REQUEST, ffi::OPUS_SIGNAL_VOICE);
        self.set(ffi::OPUS_SET_MAX_BANDWIDTH_REQUEST, ffi::OPUS_BANDWIDTH_NARROWBAND);
    }

    /// Forgets the past; settings stay.
    pub fn reset(&mut self) {
        // SAFETY: the state is initialised; this request takes no argument.
        unsafe { ffi::opus_encoder_ctl(self.state(), ffi::OPUS_RESET_STATE) };
    }

    fn set(&mut self, request: c_int, value: c_int) {
        // SAFETY: the state is initialised; every request made here takes one `opus_int32`.
        let result = unsafe { ffi::opus_encoder_ctl(self.state(), request, value) };
        debug_assert_eq!(result, ffi::OPUS_OK, "request {request} with {value}");
    }
}

/// Bytes of a packet that holds no audio: its sender pauses (RFC 6716 §3.2.1).
const PAUSE_BYTES: usize = 2;

/// Whether a packet says that its sender pauses.
pub fn is_pause(packet: &[u8]) -> bool {
    (1..=PAUSE_BYTES).contains(&packet.len())
}

/// How many samples a packet decodes to, at 8 kHz: 20..=[`PACKET_SAMPLES_MAX`].
///
/// # Errors
/// [`BadPayload`] when its first bytes describe no packet (RFC 6716 §3.4).
pub fn packet_samples(packet: &[u8]) -> Result<usize, BadPayload> {
    let length = i32::try_from(packet.len()).map_err(|_| BadPayload)?;
    // SAFETY: reads at most `length` bytes.
    let samples = unsafe {
        ffi::opus_packet_get_nb_samples(packet.as_ptr(), length, SAMPLE_RATE_HZ.cast_signed())
    };
    usize::try_from(samples).ok().filter(|samples| *samples > 0).ok_or(BadPayload)
}

/// Whether the packet brings a copy of the frame before it (in-band FEC).
pub fn carries_fec(packet: &[u8]) -> bool {
    let Ok(length) = i32::try_from(packet.len()) else { return false };
    // SAFETY: reads at most `length` bytes, of which there is one at least.
    length > 0 && unsafe { opusic_sys::opus_packet_has_lbrr(packet.as_ptr(), length) } > 0
}

/// The codec library's name and version.
pub fn version() -> &'static str {
    // SAFETY: libopus returns a static string that ends with a zero.
    let text = unsafe { CStr::from_ptr(ffi::opus_get_version_string()) };
    text.to_str().unwrap_or("unknown")
}

#[cfg(test)]
mod tests;
