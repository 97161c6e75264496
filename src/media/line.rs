//! THE PACKET LINE: from a datagram that one leg received to the datagrams that the other sends.
//!
//! ```text
//!  [rtp]   authenticate ─► parse ─► recognise ─► unwrap ─► order ─┐
//!   ┌─────────────────────────────────────────────────────────────┘
//!   ├─► Turn ─► audio ─► place ─► decode ─► assemble ─► gate ─► encode ─► send
//!   │        └► event ─► re-clock ─► send
//!   └─► what is missing before it: place fills it, by FEC, else concealment
//!  [rtcp]  authenticate ─► parse ─► statistics ─► loss may change the encoder, see [`super::encoding`]
//!  [wake]  gaps held long enough, digits, reports, consent
//! ```
//!
//! By default nothing waits: a packet leaves as soon as it can. Only a gap holds up what is behind
//! it, for 20 to 60 ms; then it is filled and everything leaves at once, so that delay never stays.
//! What leaves has one sequence and one time line, see [`super::timeline`].
//!
//! In: a leg's datagram, `now`. Out: datagrams in the [`Outbox`] and [`Notice`]s. Which leg a
//! datagram belongs to was decided by [`super::thread`]; nothing here reads a clock or a socket.

use std::time::Instant;

use super::call::Call;
use super::encoding::Load;
use super::format::Meaning;
use super::leg::{Continuity, Leg, LegCounters};
use super::noise::OPUS_PAUSE_BYTES;
use super::redundancy;
use super::stream::{Encoder, Order, Path, Playout, Transcoder};
use crate::audio::SAMPLES_PER_MS;
use crate::audio::dtmf::{RELAY_OUTPUTS_MAX, RelayOutput};
use crate::audio::g711::{self, Law};
use crate::audio::opus::Filled;
use crate::audio::repair::{self, Packet, Put, RepairWindow, Turn};
use crate::audio::silence::Verdict;
use crate::base::clock::WallAnchor;
use crate::base::discard::Discard;
use crate::base::random::Random;
use crate::control::message::{Codec, Side};
use crate::os::outbox::Outbox;
use crate::wire::red::RedPayload;
use crate::wire::rtp::{PayloadType, RtpPacket};
use crate::wire::telephone_event::{EVENT_BYTES, TelephoneEvent};

/// The longest gap that is filled: six packets of 20 ms. What is missing beyond is a pause; the
/// codecs have faded to silence by then.
const FILL_SAMPLES_MAX: u64 = 960;

/// What the line tells besides what it sends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Notice {
    /// A leg's first packet was accepted.
    MediaStarted(Side),
    /// A digit ended; how long it was held, in milliseconds.
    DigitEnded(Side, char, u32),
    /// An ICE leg's consent ended.
    ConsentExpired(Side),
}

/// Which of the packets that are full are sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Packets {
    /// All of them.
    All,
    /// One, for the others have their own time.
    One,
}

/// What the line works with: one a thread.
pub struct Surroundings<'a> {
    /// Where datagrams are put.
    pub outbox: &'a mut Outbox,
    /// Where notices are put; the caller empties it after each packet.
    pub notices: &'a mut Vec<Notice>,
    /// Codec frames of the thread.
    pub frames: &'a mut FrameCounters,
    /// Ties `now` to the wall clock, for RTCP.
    pub wall: &'a WallAnchor,
    /// Spreads the reports.
    pub random: &'a mut Random,
    /// How busy the thread's core is.
    pub load: Load,
}

/// Codec frames of a thread.
#[derive(Clone, Copy, Debug, Default)]
pub struct FrameCounters {
    /// Packets decoded.
    pub decoded: u64,
    /// Packets encoded.
    pub encoded: u64,
    /// Packets of silence that were sent without encoding them.
    pub silent: u64,
}

/// An RTP datagram that `side` received.
pub fn rtp(
    call: &mut Call,
    side: Side,
    datagram: &mut [u8],
    now: Instant,
    around: &mut Surroundings<'_>,
) -> Result<(), Discard> {
    let (from, to, stream) = call.direction(side);

    // Authenticate: nothing changes before the tag is good (RFC 3711 §3.3).
    let length = from.security.open(datagram)?;
    // Parse.
    let packet = RtpPacket::parse(&datagram[..length])?;
    // Recognise: what it is, and whose.
    let meaning = from.meaning(packet.header.payload_type);
    if meaning == Meaning::Unknown {
        return Err(Discard::UnknownPayloadType);
    }
    let clock_hz = meaning.clock_hz();
    match from.hear(&packet, meaning, clock_hz, now) {
        Continuity::Same => {}
        Continuity::First => around.notices.push(Notice::MediaStarted(side)),
        Continuity::NewSource => stream.restart(),
    }
    let Leg { counters, format, .. } = from;
    let meaning_of = |payload_type| {
        format.as_ref().map_or(Meaning::Unknown, |format| format.meaning(payload_type))
    };
    let mut onward = Onward { side, counters, to, playout: &mut stream.playout, now, around };
    let mut packet = Packet { header: packet.header, payload: packet.payload };
    // Unwrap: RED brings earlier packets along, of which the window takes those it misses.
    if meaning == Meaning::Redundant {
        let red = RedPayload::parse(packet.payload)?;
        if !matches!(meaning_of(red.payload_type), Meaning::Audio(_)) {
            return Err(Discard::UnknownPayloadType);
        }
        for copy in redundancy::copies(packet.header, &red) {
            let missed = match &mut stream.order {
                Order::OnArrival(window) => {
                    let missed = window.recover(copy, clock_hz, now);
                    onward.turns(window, meaning_of);
                    missed
                }
                Order::Paced(paced) => paced.recover(copy, meaning_of, now),
            };
            onward.counters.packets_recovered += u64::from(missed);
        }
        packet = redundancy::primary(packet.header, &red);
    }
    // Order: what has its turn goes on; a paced stream waits for its ticks.
    match &mut stream.order {
        Order::OnArrival(window) => {
            if let Put::Turn(turn) = window.put(packet, clock_hz, now)? {
                onward.turn(turn, meaning_of);
            }
            onward.turns(window, meaning_of);
            Ok(())
        }
        Order::Paced(paced) => paced.accept(packet, meaning_of, now),
    }
}

/// An RTCP datagram that `side` received.
pub fn rtcp(
    call: &mut Call,
    side: Side,
    datagram: &mut [u8],
    now: Instant,
    around: &mut Surroundings<'_>,
) -> Result<(), Discard> {
    let (_, leg, stream) = call.direction(side.other());
    let change = leg.hear_rtcp(datagram, around.wall, around.load, now)?;
    if let (Some(settings), Some(encoder)) = (change, stream.playout.path.opus_encoder()) {
        encoder.configure(settings);
    }
    Ok(())
}

/// A call's time has come: see [`Call::next_timeout`].
pub fn wake(call: &mut Call, now: Instant, around: &mut Surroundings<'_>) {
    for side in Side::BOTH {
        let (from, to, stream) = call.direction(side);
        let Leg { counters, format, .. } = from;
        let meaning_of = |payload_type| {
            format.as_ref().map_or(Meaning::Unknown, |format| format.meaning(payload_type))
        };
        let mut onward = Onward { side, counters, to, playout: &mut stream.playout, now, around };
        match &mut stream.order {
            Order::OnArrival(window) => onward.turns(window, meaning_of),
            Order::Paced(paced) => onward.play_due(paced, meaning_of),
        }
        onward.wake_noise();
        onward.wake_events();
        onward.send_digits();
        if to.take_consent_expiry(now) {
            around.notices.push(Notice::ConsentExpired(side.other()));
        }
        let report = to.send_due_report(around.wall, around.random, now, around.outbox);
        count(&mut to.counters, report);
    }
}

/// A datagram that cannot leave is the fault of nobody who waits for an answer: it is counted.
pub(super) fn count(counters: &mut LegCounters, result: Result<(), Discard>) {
    if let Err(reason) = result {
        counters.discards.count(reason);
    }
}

/// A stream's way to the other leg. What is paced goes it in [`super::paced`].
pub(super) struct Onward<'a, 'b> {
    /// The leg that heard.
    side: Side,
    pub(super) counters: &'a mut LegCounters,
    pub(super) to: &'a mut Leg,
    pub(super) playout: &'a mut Playout,
    pub(super) now: Instant,
    pub(super) around: &'a mut Surroundings<'b>,
}

impl Onward<'_, '_> {
    /// What is held and has its turn by now.
    #[inline(always)]
    fn turns(&mut self, window: &mut RepairWindow, meaning_of: impl Fn(PayloadType) -> Meaning) {
        while let Some(turn) = window.next(self.now) {
            self.held_turn(turn, &meaning_of);
        }
    }

    /// Rare, and so not in the way of what passes straight on.
    #[cold]
    fn held_turn(&mut self, turn: Turn<'_>, meaning_of: impl Fn(PayloadType) -> Meaning) {
        self.turn(turn, meaning_of);
    }

    #[inline(always)]
    fn turn(&mut self, turn: Turn<'_>, meaning_of: impl Fn(PayloadType) -> Meaning) {
        if turn.continuity == repair::Continuity::BeginsAnew {
            self.playout.restart();
        }
        self.playout.missing_packets = turn.missing_packets;
        let packet = turn.packet;
        let played = match meaning_of(packet.header.payload_type) {
            Meaning::Audio(codec) => self.audio(codec, packet),
            Meaning::Events { clock_hz } => self.event(clock_hz, packet),
            Meaning::ComfortNoise => self.comfort_noise(packet),
            Meaning::Redundant | Meaning::Unknown => Err(Discard::UnknownPayloadType),
        };
        self.playout.missing_packets = 0;
        count(self.counters, played);
    }

    /// Audio in its turn.
    fn audio(&mut self, codec: Codec, packet: Packet<'_>) -> Result<(), Discard> {
        if packet.payload.is_empty() {
            return Ok(()); // Some trunks keep NAT bindings alive so.
        }
        if !self.to.can_send() {
            return Err(Discard::NoDestination);
        }
        if self.playout.events.relay.is_active() || self.to.digits.is_active() {
            return Err(Discard::DuringTelephoneEvent);
        }
        match &mut self.playout.path {
            Path::Closed => Err(Discard::NoDestination),
            Path::Relay(_) => self.relay(codec, packet),
            Path::Transcode(_) => self.transcode(codec, packet),
        }
    }

    /// The payload passes as it is, and so do gaps: the far end fills them.
    fn relay(&mut self, codec: Codec, packet: Packet<'_>) -> Result<(), Discard> {
        let Some(format) = &self.to.format else { return Err(Discard::NoDestination) };
        let payload_type = format.payload_type;
        let samples = crate::audio::opus::packet_samples(packet.payload)
            .map_err(|_| Discard::BadPayload)? as u64;
        let timeline = &mut self.playout.timeline;
        let gap = timeline.gap_before(packet.header.timestamp, codec.clock_hz(), self.now);
        self.to.outgoing.advance(self.playout.missing_packets);
        let timestamp = self.to.outgoing.timestamp_of(timeline.end() + gap);
        timeline.advance(gap + samples, self.now);
        let (now, outbox) = (self.now, &mut *self.around.outbox);
        self.to.send(payload_type, packet.header.marker, timestamp, now, outbox, |out| {
            write_payload(packet.payload, out)
        })
    }

    /// Place, decode, assemble, gate, encode.
    fn transcode(&mut self, codec: Codec, packet: Packet<'_>) -> Result<(), Discard> {
        let tells_noise = self.noise_payload_type().is_some();
        let timeline = &mut self.playout.timeline;
        let gap = timeline.gap_before(packet.header.timestamp, codec.clock_hz(), self.now);
        let gap = self.end_noise(gap)?;
        if gap > 0 {
            let lost = self.playout.missing_packets > 0;
            self.fill(gap, if lost { Some(packet.payload) } else { None })?;
        }
        let Path::Transcode(transcoder) = &mut self.playout.path else {
            return Err(Discard::NoDestination);
        };
        let samples = transcoder.decode(codec, packet.payload)?;
        self.around.frames.decoded += 1;
        if codec == Codec::Opus && packet.payload.len() <= OPUS_PAUSE_BYTES && tells_noise {
            return self.leave_out(samples);
        }
        self.playout.told = None;
        self.playout.timeline.advance(samples as u64, self.now);
        if codec == Codec::Opus && packet.payload.len() <= OPUS_PAUSE_BYTES {
            self.playout.expect_pause(samples, self.now);
        }
        self.send_full_packets(Packets::All)
    }

    /// What lies between the audio so far and the next packet. After a loss it is rebuilt from the
    /// next packet's in-band FEC or concealed, up to a bound; a pause of the sender's stays a pause,
    /// only the packet that it cut short is completed. What is not filled is left out: the next
    /// packet sent begins a talkspurt.
    pub(super) fn fill(&mut self, gap: u64, next: Option<&[u8]>) -> Result<(), Discard> {
        let missing = u64::from(self.playout.missing_packets);
        let mut left = gap;
        if let Some(next) = next {
            // In-band FEC is of the frame right before `next`: it is of no use at the far end of a
            // gap that is not filled whole.
            let next = (left <= FILL_SAMPLES_MAX).then_some(next);
            let filled = self.conceal(left.min(FILL_SAMPLES_MAX), next);
            let recovered = u64::from(filled == Filled::FromFec);
            self.counters.frames_recovered += recovered;
            // What lies beyond the bound was left out, not concealed.
            let packet_samples = (gap / missing.max(1)).max(1);
            let rebuilt = missing.min(FILL_SAMPLES_MAX.div_ceil(packet_samples));
            self.counters.frames_concealed += rebuilt.saturating_sub(recovered);
            left = left.saturating_sub(FILL_SAMPLES_MAX);
            self.send_full_packets(Packets::All)?;
        }
        let completes = match &self.playout.path {
            Path::Transcode(transcoder) => transcoder.missing_to_full().min(left),
            Path::Relay(_) | Path::Closed => 0,
        };
        if completes > 0 {
            self.conceal(completes, None);
            left -= completes;
            self.send_full_packets(Packets::All)?;
        }
        if left > 0 {
            self.playout.timeline.advance(left, self.now);
            self.playout.talkspurt = true;
        }
        Ok(())
    }

    /// Appends audio that was never received: at most [`FILL_SAMPLES_MAX`].
    pub(super) fn conceal(&mut self, samples: u64, next: Option<&[u8]>) -> Filled {
        self.playout.timeline.advance(samples, self.now);
        match &mut self.playout.path {
            Path::Transcode(transcoder) => transcoder.fill(samples as usize, next),
            Path::Relay(_) | Path::Closed => Filled::Concealed,
        }
    }

    /// Encodes and sends the packets that are full. A packet that cannot be sent is counted; the
    /// ones behind it still are.
    pub(super) fn send_full_packets(&mut self, packets: Packets) -> Result<(), Discard> {
        let Path::Transcode(transcoder) = &mut self.playout.path else { return Ok(()) };
        let Some(format) = &self.to.format else { return Err(Discard::NoDestination) };
        let payload_type = format.payload_type;
        let mut outcome = Ok(());
        let mut done = 0;
        let most = match packets {
            Packets::All => transcoder.pending,
            Packets::One => transcoder.packet_samples.min(transcoder.pending),
        };
        while most - done >= transcoder.packet_samples {
            let waiting = (transcoder.pending - done) as u64;
            let position = self.playout.timeline.end() - waiting;
            let timestamp = self.to.outgoing.timestamp_of(position);
            let marker = std::mem::take(&mut self.playout.talkspurt);
            let (now, outbox) = (self.now, &mut *self.around.outbox);
            let pcm = &transcoder.pcm[done..done + transcoder.packet_samples];
            let encoder = &mut transcoder.encoder;
            let verdict = encoder.gate(pcm);
            match verdict {
                Verdict::Encode => self.around.frames.encoded += 1,
                Verdict::Leave(_) | Verdict::Noise(_) => {
                    self.around.frames.silent += 1;
                    self.to.counters.frames_silent += 1;
                }
            }
            let sent = self.to.send(payload_type, marker, timestamp, now, outbox, |out| {
                encoder.encode(verdict, pcm, out)
            });
            outcome = outcome.and(sent);
            done += transcoder.packet_samples;
        }
        transcoder.pcm.copy_within(done..transcoder.pending, 0);
        transcoder.pending -= done;
        outcome
    }

    /// A telephone event in its turn.
    pub(super) fn event(&mut self, clock_hz: u32, packet: Packet<'_>) -> Result<(), Discard> {
        let event = TelephoneEvent::parse(packet.payload)?;
        self.playout.set_event_clocks(clock_hz, self.to);
        let timestamp = packet.header.timestamp;
        let playout = &mut *self.playout;
        let audio_clock_hz = match &playout.path {
            Path::Relay(codec) => codec.clock_hz(),
            Path::Transcode(transcoder) => transcoder.heard.clock_hz(),
            Path::Closed => return Err(Discard::NoDestination),
        };
        let mut outputs = Outputs::default();
        playout.events.relay.handle_event(timestamp, event, self.now, |out| outputs.push(out));
        // The event begins where its timestamp says, if that is on the audio's clock.
        let onset = (clock_hz == audio_clock_hz).then_some(timestamp);
        self.send_events(&outputs, onset)
    }

    /// Ends events whose end was lost, and repeats ends.
    fn wake_events(&mut self) {
        let mut outputs = Outputs::default();
        self.playout.events.relay.handle_timeout(self.now, |output| outputs.push(output));
        let sent = self.send_events(&outputs, None);
        count(self.counters, sent);
    }

    fn send_events(
        &mut self,
        outputs: &Outputs,
        onset: Option<crate::wire::rtp::RtpTimestamp>,
    ) -> Result<(), Discard> {
        let mut outcome = Ok(());
        for output in outputs.iter() {
            match output {
                RelayOutput::Send(packet) => {
                    if packet.marker {
                        self.begin_event(onset);
                    }
                    outcome = outcome.and(self.send_event(packet, self.playout.events.onset));
                }
                RelayOutput::Completed(digit) => {
                    self.counters.events_received += 1;
                    let notice = Notice::DigitEnded(self.side, digit.digit, digit.duration_ms);
                    self.around.notices.push(notice);
                }
            }
        }
        outcome
    }

    /// Completes the audio before an event and notes where the event begins.
    fn begin_event(&mut self, onset: Option<crate::wire::rtp::RtpTimestamp>) {
        self.playout.talkspurt = true;
        self.to.counters.events_sent += 1;
        if self.to.format.as_ref().is_some_and(|format| format.paced.is_some()) {
            self.playout.begin_paced_event();
            return;
        }
        let complete = match &self.playout.path {
            Path::Transcode(transcoder) => transcoder.missing_to_full(),
            _ => 0,
        };
        let filled = self.fill(complete, None);
        count(self.counters, filled);
        let timeline = &mut self.playout.timeline;
        match onset {
            Some(timestamp) => {
                let clock_hz = self.playout.events.clocks_hz.0;
                let gap = timeline.gap_before(timestamp, clock_hz, self.now);
                timeline.advance(gap, self.now);
            }
            None => {
                timeline.catch_up(self.now);
            }
        }
        self.playout.events.onset = timeline.end();
    }

    /// Sends what the controller wants dialled out of the other leg.
    fn send_digits(&mut self) {
        if self.to.digits.next_timeout().is_none_or(|due| due > self.now) {
            return;
        }
        let mut outputs = Outputs::default();
        self.to.digits.handle_timeout(self.now, |packet| outputs.push(RelayOutput::Send(packet)));
        let sent = self.send_events(&outputs, None);
        count(self.counters, sent);
    }

    fn send_event(
        &mut self,
        packet: crate::audio::dtmf::EventPacket,
        onset: u64,
    ) -> Result<(), Discard> {
        let format = self.to.format.as_ref().and_then(|format| format.send_events);
        let format = format.ok_or(Discard::NoDestination)?;
        let timestamp = self.to.outgoing.timestamp_of(onset) + packet.timestamp_offset;
        let (now, outbox) = (self.now, &mut *self.around.outbox);
        self.to.send(format.payload_type, packet.marker, timestamp, now, outbox, |out| {
            packet.event.write(out.first_chunk_mut().ok_or(Discard::TooLarge)?);
            Ok(EVENT_BYTES)
        })
    }
}

impl Playout {
    /// The relay for events of this clock; it changes between events only.
    fn set_event_clocks(&mut self, in_hz: u32, to: &Leg) {
        let out_hz = to.format.as_ref().and_then(|format| format.send_events);
        let clocks_hz = (in_hz, out_hz.map_or(8_000, |format| format.clock_hz));
        if self.events.clocks_hz != clocks_hz && self.events.relay.next_timeout().is_none() {
            let samples = to.format.as_ref().map_or(160, |format| format.packet_samples);
            let packet_ms = (samples / SAMPLES_PER_MS) as u8;
            self.events.clocks_hz = clocks_hz;
            self.events.relay =
                crate::audio::dtmf::EventRelay::new(clocks_hz.0, clocks_hz.1, packet_ms);
        }
    }
}

impl Transcoder {
    /// Appends a packet's audio; returns its samples.
    pub(super) fn decode(&mut self, codec: Codec, payload: &[u8]) -> Result<usize, Discard> {
        let out = &mut self.pcm[self.pending..];
        let samples = match codec {
            Codec::Opus => {
                let opus = self.opus.as_mut().ok_or(Discard::UnknownPayloadType)?;
                opus.decode(payload, out).map_err(|_| Discard::BadPayload)?
            }
            Codec::Pcmu | Codec::Pcma => {
                let law = if codec == Codec::Pcmu { Law::Mu } else { Law::A };
                let out = out.get_mut(..payload.len()).ok_or(Discard::BadPayload)?;
                g711::decode(law, payload, out);
                self.concealer.as_mut().ok_or(Discard::UnknownPayloadType)?.received(out);
                payload.len()
            }
        };
        self.heard = codec;
        self.pending += samples;
        Ok(samples)
    }

    /// Appends audio that was never received; `next` is the packet after the gap.
    pub(super) fn fill(&mut self, samples: usize, next: Option<&[u8]>) -> Filled {
        // There is room: less than a packet is pending whenever this is called.
        let out = &mut self.pcm[self.pending..self.pending + samples];
        self.pending += samples;
        match (&mut self.opus, self.heard, next) {
            (Some(opus), Codec::Opus, Some(next)) => opus.recover(next, out),
            (Some(opus), Codec::Opus, None) => {
                opus.conceal(out);
                Filled::Concealed
            }
            _ => {
                match &mut self.concealer {
                    Some(concealer) => concealer.conceal(out),
                    None => out.fill(0),
                }
                Filled::Concealed
            }
        }
    }

    /// Samples that complete the packet in the making; 0 when none is.
    pub(super) fn missing_to_full(&self) -> u64 {
        if self.pending == 0 { 0 } else { (self.packet_samples - self.pending) as u64 }
    }
}

impl Encoder {
    /// Whether the frame is worth encoding: G.711 always is.
    fn gate(&mut self, pcm: &[i16]) -> Verdict {
        match self {
            Encoder::Opus(_, gate) => gate.judge(pcm),
            Encoder::G711(_) => Verdict::Encode,
        }
    }

    fn encode(&mut self, verdict: Verdict, pcm: &[i16], out: &mut [u8]) -> Result<usize, Discard> {
        match (self, verdict) {
            (Encoder::Opus(encoder, gate), Verdict::Encode) => {
                let bytes = encoder.encode(pcm, out).map_err(|_| Discard::EncoderFailed)?;
                gate.encoded(&out[..bytes]);
                Ok(bytes)
            }
            (Encoder::Opus(..), Verdict::Leave(byte)) => {
                *out.first_mut().ok_or(Discard::TooLarge)? = byte;
                Ok(1)
            }
            (Encoder::Opus(encoder, _), Verdict::Noise(packet)) => {
                encoder.interrupt();
                write_payload(packet, out)
            }
            (Encoder::G711(law), _) => {
                let out = out.get_mut(..pcm.len()).ok_or(Discard::TooLarge)?;
                g711::encode(*law, pcm, out);
                Ok(pcm.len())
            }
        }
    }
}

/// Writes a payload that is there already.
pub(super) fn write_payload(payload: &[u8], out: &mut [u8]) -> Result<usize, Discard> {
    out.get_mut(..payload.len()).ok_or(Discard::TooLarge)?.copy_from_slice(payload);
    Ok(payload.len())
}

/// What an event engine gave in one go: an end of the old event, a start of the new one, and a
/// segment or two between.
#[derive(Default)]
struct Outputs {
    outputs: [Option<RelayOutput>; RELAY_OUTPUTS_MAX],
    length: usize,
}

impl Outputs {
    fn push(&mut self, output: RelayOutput) {
        if let Some(place) = self.outputs.get_mut(self.length) {
            *place = Some(output);
            self.length += 1;
        }
    }

    fn iter(&self) -> impl Iterator<Item = RelayOutput> + '_ {
        self.outputs.iter().flatten().copied()
    }
}
