//! Decoder, assembly of packets, encoder: what makes payloads of one leg's format out of the other's.

use std::rc::Rc;

use crate::audio::conceal::Concealer;
use crate::audio::g711::{self, Law};
use crate::audio::opus::{
    EncoderSettings, Filled, OpusArena, OpusDecoder, OpusEncoder, PACKET_SAMPLES_MAX,
};
use crate::audio::silence::{SilenceGate, Verdict};
use crate::base::discard::Discard;
use crate::base::opaque::opaque;
use crate::control::message::{Codec, ControlError, ErrorCode};
use crate::media::format::{Meanings, SendFormat};
use crate::media::leg::outlet::write_payload;

/// Samples that can wait for a packet to be full: what is left of the longest packet sent (60 ms),
/// and one received packet at its longest.
const PENDING_SAMPLES_MAX: usize = 480 + PACKET_SAMPLES_MAX;

/// Decoder, assembly and encoder.
pub struct Transcoder {
    /// Decodes Opus, where the leg may receive it.
    opus: Option<OpusDecoder>,
    /// Fills gaps in G.711, where the leg may receive it.
    concealer: Option<Box<Concealer>>,
    /// What was decoded last: it fills a gap.
    codec_last: Codec,
    /// Makes the payload that is sent.
    pub encoder: Encoder,
    /// Audio that waits for a packet to be full.
    pub assembly: Assembly,
}

opaque!(Transcoder);

/// Audio that becomes packets: everything that a stream says passes here once.
pub struct Assembly {
    packet_samples: usize,
    pcm: [i16; PENDING_SAMPLES_MAX],
    pending: usize,
}

opaque!(Assembly);

/// Makes payloads.
pub enum Encoder {
    /// Opus, and the gate that saves it from silence.
    Opus(OpusEncoder, SilenceGate),
    /// G.711.
    G711(Law),
}

opaque!(Encoder);

impl Transcoder {
    /// From what one leg accepts to what the other is sent. `settings` are for Opus, should it have to
    /// be encoded.
    pub fn new(
        from: &Meanings,
        to: &SendFormat,
        settings: EncoderSettings,
        codecs: &Rc<OpusArena>,
    ) -> Result<Self, ControlError> {
        let hears_opus = from.any_audio(|codec| codec == Codec::Opus);
        let encoder = Encoder::new(to, settings, codecs)?;
        let opus = hears_opus.then(|| codecs.decoder()).transpose().map_err(no_capacity)?;
        Ok(Self {
            codec_last: if opus.is_some() { Codec::Opus } else { Codec::Pcmu },
            opus,
            concealer: from.any_audio(|codec| codec != Codec::Opus).then(Box::default),
            encoder,
            assembly: Assembly::new(to.packet_samples),
        })
    }

    /// Whether it leads from such a format to such a one, once adapted. Opus is never encoded from Opus.
    pub fn serves(&self, from: &Meanings, to: &SendFormat) -> bool {
        let hears_opus = from.any_audio(|codec| codec == Codec::Opus);
        let hears_g711 = from.any_audio(|codec| codec != Codec::Opus);
        let passes = hears_opus && to.codec == Codec::Opus;
        !passes
            && self.opus.is_some() == hears_opus
            && self.concealer.is_some() == hears_g711
            && matches!(self.encoder, Encoder::Opus(..)) == (to.codec == Codec::Opus)
    }

    /// Makes packets of another length or law, with the states that are there.
    pub fn adapt(&mut self, to: &SendFormat) {
        self.assembly.packet_samples = to.packet_samples;
        if let Encoder::G711(law) = &mut self.encoder {
            *law = law_of(to.codec);
        }
    }

    /// Whether Opus is decoded or encoded.
    pub fn codes_opus(&self) -> bool {
        self.opus.is_some() || matches!(self.encoder, Encoder::Opus(..))
    }

    /// The codec of what was decoded last.
    pub fn codec_last(&self) -> Codec {
        self.codec_last
    }

    /// The laws of a packet that becomes a packet by itself, code by code, once it was decoded for those
    /// that may have to follow it: G.711 on both sides and of one length, before which nothing waits and
    /// nothing was lost.
    #[inline]
    pub fn recodes(&self, codec: Codec, payload: &[u8]) -> Option<[Law; 2]> {
        let Encoder::G711(to) = self.encoder else { return None };
        let is_whole = payload.len() == self.assembly.packet_samples && self.assembly.pending == 0;
        let is_g711 = codec != Codec::Opus;
        let follows = self.concealer.as_ref().is_some_and(|concealer| !concealer.is_in_gap());
        (is_g711 && is_whole && follows).then(|| [law_of(codec), to])
    }

    /// Appends a packet's audio; returns its samples.
    pub fn decode(&mut self, codec: Codec, payload: &[u8]) -> Result<usize, Discard> {
        let out = self.assembly.room();
        let samples = match codec {
            Codec::Opus => {
                let opus = self.opus.as_mut().ok_or(Discard::UnknownPayloadType)?;
                opus.decode(payload, out).map_err(|_| Discard::BadPayload)?
            }
            Codec::Pcmu | Codec::Pcma => {
                let law = law_of(codec);
                let out = out.get_mut(..payload.len()).ok_or(Discard::BadPayload)?;
                g711::decode(law, payload, out);
                self.concealer.as_mut().ok_or(Discard::UnknownPayloadType)?.received(out);
                payload.len()
            }
        };
        self.codec_last = codec;
        self.assembly.appended(samples);
        Ok(samples)
    }

    /// Appends audio that was never received; `next` is the packet after the gap.
    pub fn fill(&mut self, samples: usize, next: Option<&[u8]>) -> Filled {
        let out = self.assembly.append(samples);
        match (&mut self.opus, self.codec_last, next) {
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
}

impl Assembly {
    /// Packets of so many samples.
    pub fn new(packet_samples: usize) -> Self {
        Self { packet_samples, pcm: [0; PENDING_SAMPLES_MAX], pending: 0 }
    }

    /// Samples of a packet.
    pub fn packet_samples(&self) -> usize {
        self.packet_samples
    }

    /// Samples that wait.
    pub fn pending(&self) -> usize {
        self.pending
    }

    /// Samples that complete the packet in the making; 0 when none is.
    pub fn missing_to_full(&self) -> u64 {
        // More than a packet waits where packets have just become shorter.
        match self.pending % self.packet_samples {
            0 => 0,
            begun => (self.packet_samples - begun) as u64,
        }
    }

    /// Where the next audio goes.
    fn room(&mut self) -> &mut [i16] {
        &mut self.pcm[self.pending..]
    }

    fn appended(&mut self, samples: usize) {
        self.pending += samples;
        debug_assert!(self.pending <= PENDING_SAMPLES_MAX, "what waits for a full packet has room");
    }

    /// Makes room for so many samples, to be written at once. There is room: less than a packet waits
    /// whenever this is called, and what is filled is no longer than the longest packet received.
    pub fn append(&mut self, samples: usize) -> &mut [i16] {
        let begin = self.pending;
        self.appended(samples);
        &mut self.pcm[begin..begin + samples]
    }

    /// What was appended last: so many samples.
    pub fn last(&mut self, samples: usize) -> &mut [i16] {
        debug_assert!(samples <= self.pending, "what was appended last still waits");
        &mut self.pcm[self.pending - samples..self.pending]
    }

    /// Takes the last samples back; what cannot be taken was not there.
    pub fn retract(&mut self, samples: usize) {
        self.pending = self.pending.saturating_sub(samples);
    }

    /// How many packets are full.
    pub fn full_packets(&self) -> usize {
        self.pending / self.packet_samples
    }

    /// The `n`th packet that is full, and the samples from its beginning on.
    pub fn packet(&self, n: usize) -> (&[i16], usize) {
        let begin = n * self.packet_samples;
        (&self.pcm[begin..begin + self.packet_samples], self.pending - begin)
    }

    /// So many packets were sent.
    pub fn sent(&mut self, packets: usize) {
        let samples = packets * self.packet_samples;
        debug_assert!(samples <= self.pending, "only what was full was sent");
        self.pcm.copy_within(samples..self.pending, 0);
        self.pending -= samples;
    }
}

impl Encoder {
    /// What makes payloads of a format.
    pub fn new(
        to: &SendFormat,
        settings: EncoderSettings,
        codecs: &Rc<OpusArena>,
    ) -> Result<Self, ControlError> {
        Ok(match to.codec {
            Codec::Opus => {
                let encoder = codecs.encoder(settings).map_err(no_capacity)?;
                Self::Opus(encoder, SilenceGate::default())
            }
            Codec::Pcmu | Codec::Pcma => Self::G711(law_of(to.codec)),
        })
    }

    /// What it makes.
    pub fn codec(&self) -> Codec {
        match self {
            Self::Opus(..) => Codec::Opus,
            Self::G711(Law::Mu) => Codec::Pcmu,
            Self::G711(Law::A) => Codec::Pcma,
        }
    }

    /// Whether the frame is worth encoding: G.711 always is.
    pub fn gate(&mut self, pcm: &[i16]) -> Verdict {
        match self {
            Self::Opus(_, gate) => gate.judge(pcm),
            Self::G711(_) => Verdict::Encode,
        }
    }

    /// Writes the payload of a frame.
    pub fn encode(
        &mut self,
        verdict: Verdict,
        pcm: &[i16],
        out: &mut [u8],
    ) -> Result<usize, Discard> {
        match (self, verdict) {
            (Self::Opus(encoder, gate), Verdict::Encode) => {
                let bytes = encoder.encode(pcm, out).map_err(|_| Discard::EncoderFailed)?;
                gate.encoded(&out[..bytes]);
                Ok(bytes)
            }
            (Self::Opus(..), Verdict::Leave(byte)) => {
                *out.first_mut().ok_or(Discard::TooLarge)? = byte;
                Ok(1)
            }
            (Self::Opus(encoder, _), Verdict::Noise(packet)) => {
                encoder.interrupt();
                write_payload(packet, out)
            }
            (Self::G711(law), _) => {
                let out = out.get_mut(..pcm.len()).ok_or(Discard::TooLarge)?;
                g711::encode(*law, pcm, out);
                Ok(pcm.len())
            }
        }
    }
}

/// The law of a codec that is G.711.
pub fn law_of(codec: Codec) -> Law {
    if codec == Codec::Pcma { Law::A } else { Law::Mu }
}

fn no_capacity(full: crate::audio::opus::ArenaFull) -> ControlError {
    ControlError::new(ErrorCode::NoCapacity, full.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_libopus_does_not_encode_is_discarded_by_name_and_the_encoder_goes_on() {
        let arena = OpusArena::new(1).unwrap();
        let mut encoder = Encoder::Opus(
            arena.encoder(EncoderSettings::default()).unwrap(),
            SilenceGate::default(),
        );
        let (pcm, mut out) = ([1_000; 160], [0; 1_500]);
        for (pcm, out) in [(&pcm[..], &mut [][..]), (&pcm[..159], &mut out[..])] {
            assert_eq!(encoder.encode(Verdict::Encode, pcm, out), Err(Discard::EncoderFailed));
        }
        assert!(encoder.encode(Verdict::Encode, &pcm, &mut out).is_ok_and(|bytes| bytes > 2));
    }
}
