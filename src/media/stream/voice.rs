//! What a stream does with audio, by the formats of the two legs: nothing, pass it, or transcode it.

use std::rc::Rc;

use super::transcoder::{Encoder, Transcoder};
use crate::audio::opus::{EncoderSettings, OpusArena, OpusEncoder};
use crate::base::opaque::opaque;
use crate::control::message::{Codec, ControlError, ErrorCode};
use crate::media::format::{Meanings, SendFormat};

/// The audio stages of a stream.
pub enum Voice {
    /// One of the legs has no format yet.
    Closed,
    /// The payload passes as it is.
    Relay(Codec),
    /// Decoded and encoded anew.
    Transcode(Box<Transcoder>),
}

opaque!(Voice);

impl Voice {
    /// The stages that lead from what one leg accepts to what the other is sent; `settings` are for
    /// Opus, should it have to be encoded.
    pub fn between(
        from: Option<&Meanings>,
        to: Option<&SendFormat>,
        settings: EncoderSettings,
        codecs: &Rc<OpusArena>,
    ) -> Result<Self, ControlError> {
        let (Some(from), Some(to)) = (from, to) else { return Ok(Self::Closed) };
        let unsupported = |message| Err(ControlError::new(ErrorCode::Unsupported, message));
        let hears_opus = from.any_audio(|codec| codec == Codec::Opus);
        if to.codec == Codec::Opus && hears_opus {
            if from.any_audio(|codec| codec != Codec::Opus) {
                return unsupported(
                    "a leg that receives both Opus and G.711 cannot feed one that sends Opus",
                );
            }
            if to.paced.is_some() {
                return unsupported("Opus passes to Opus as it is and cannot be paced");
            }
            return Ok(Self::Relay(Codec::Opus));
        }
        Ok(Self::Transcode(Box::new(Transcoder::new(from, to, settings, codecs)?)))
    }

    /// Whether these stages can be what such formats want, see [`Self::adapt`].
    pub fn serves(&self, from: Option<&Meanings>, to: Option<&SendFormat>) -> bool {
        match (self, from, to) {
            (Self::Closed, None, _) | (Self::Closed, _, None) => true,
            (Self::Transcode(transcoder), Some(from), Some(to)) => transcoder.serves(from, to),
            // Whether it still may pass is asked again; it holds no state.
            _ => false,
        }
    }

    /// Goes on toward a format that the stages serve: payload types, packet times, the law of G.711 and
    /// how Opus is encoded change under them. Codec states and the audio that waits stay.
    pub fn adapt(&mut self, to: &SendFormat, settings: Option<EncoderSettings>) {
        let Some(transcoder) = self.transcoder() else { return };
        transcoder.adapt(to);
        if let (Some(settings), Some(encoder)) = (settings, self.opus_encoder()) {
            encoder.configure(settings);
        }
    }

    /// Whether Opus is encoded.
    pub fn encodes_opus(&self) -> bool {
        self.transcoder_ref().is_some_and(|t| matches!(t.encoder, Encoder::Opus(..)))
    }

    /// Whether Opus is decoded or encoded.
    pub fn codes_opus(&self) -> bool {
        self.transcoder_ref().is_some_and(Transcoder::codes_opus)
    }

    /// The Opus encoder, where there is one.
    pub fn opus_encoder(&mut self) -> Option<&mut OpusEncoder> {
        match &mut self.transcoder()?.encoder {
            Encoder::Opus(encoder, ..) => Some(encoder),
            Encoder::G711(_) => None,
        }
    }

    /// The transcoder, where there is one.
    pub fn transcoder(&mut self) -> Option<&mut Transcoder> {
        match self {
            Self::Transcode(transcoder) => Some(transcoder),
            Self::Relay(_) | Self::Closed => None,
        }
    }

    fn transcoder_ref(&self) -> Option<&Transcoder> {
        match self {
            Self::Transcode(transcoder) => Some(transcoder),
            Self::Relay(_) | Self::Closed => None,
        }
    }

    /// The RTP clock of the audio that comes, in Hz; `None` while nothing passes.
    pub fn clock_hz(&self) -> Option<u32> {
        match self {
            Self::Relay(codec) => Some(codec.clock_hz()),
            Self::Transcode(transcoder) => Some(transcoder.codec_last().clock_hz()),
            Self::Closed => None,
        }
    }
}
