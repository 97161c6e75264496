//! A browser that speaks: narrowband Opus as Chromium sends it when asked for it, in RTP under SRTP.

use std::rc::Rc;

use clap::ValueEnum;
use linecard::audio::opus::{EncoderMode, EncoderSettings, OpusArena, OpusEncoder};
use linecard::srtp::keys::{MasterKey, Profile};
use linecard::srtp::protect::Sender;
use linecard::wire::red::{self, RedundantBlock};
use linecard::wire::rtp::{
    HEADER_BYTES, PayloadType, RtpHeader, RtpTimestamp, SequenceNumber, Ssrc,
};

use crate::loss::Condition;

const SOURCE: Ssrc = Ssrc(0xABCD);
const OPUS: u8 = 111;
const RED: u8 = 63;
/// RTP clock units of 20 ms.
const TIMESTAMP_STEP: u32 = 960;
/// What SRTP adds at most.
const TAG_BYTES_MAX: usize = 16;

/// What the browser does against loss.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Protection {
    /// In-band FEC for the loss that it was told of.
    Fec,
    /// Each packet repeats the one before (RFC 2198), beside in-band FEC.
    Red,
}

/// One browser's voice.
pub struct Browser {
    encoder: OpusEncoder,
    protection: Protection,
    header: RtpHeader,
    previous: Vec<u8>,
    sender: Sender,
}

impl Browser {
    /// A browser that was told of `condition` by RTCP, and sends under `key`.
    pub fn new(
        arena: &Rc<OpusArena>,
        protection: Protection,
        condition: Condition,
        key: MasterKey,
    ) -> Result<Self, String> {
        // 32 kb/s is what the product's SDP asks for.
        let settings = EncoderSettings {
            mode: EncoderMode::Silk,
            bit_rate: 32_000,
            complexity: 9,
            fec: true,
            expected_loss_percent: condition.percent,
        };
        let header = RtpHeader {
            marker: false,
            payload_type: payload_type(OPUS)?,
            sequence_number: SequenceNumber(1),
            timestamp: RtpTimestamp(0),
            ssrc: SOURCE,
        };
        let encoder = arena.encoder(settings).map_err(|full| full.to_string())?;
        let sender = Sender::new(&key, SOURCE);
        Ok(Self { encoder, protection, header, previous: Vec::new(), sender })
    }

    /// The next 20 ms.
    pub fn packet(&mut self, pcm: &[i16]) -> Result<Vec<u8>, String> {
        let mut out = [0; 1_400];
        let length = self.encoder.encode(pcm, &mut out).map_err(|_| "the encoder failed")?;
        let payload = out[..length].to_vec();
        let mut header = self.header;
        let mut body = payload.clone();
        if self.protection == Protection::Red && !self.previous.is_empty() {
            header.payload_type = payload_type(RED)?;
            let copy = RedundantBlock {
                payload_type: payload_type(OPUS)?,
                timestamp_offset: TIMESTAMP_STEP,
                payload: &self.previous,
            };
            let begin = red::write(&mut out, &[copy], payload_type(OPUS)?);
            body = out[..begin.ok_or("no room for RED")?].to_vec();
            body.extend_from_slice(&payload);
        }
        self.previous = payload;
        self.header.sequence_number = self.header.sequence_number.next();
        self.header.timestamp = self.header.timestamp + TIMESTAMP_STEP;

        let mut packet = vec![0; HEADER_BYTES];
        header.write(packet.first_chunk_mut().ok_or("a header's bytes")?);
        packet.extend_from_slice(&body);
        let length = packet.len();
        packet.resize(length + TAG_BYTES_MAX, 0);
        let length = self.sender.protect(&mut packet, length).map_err(|_| "SRTP failed")?;
        packet.truncate(length);
        Ok(packet)
    }
}

/// What a browser of this program sends under; it protects nothing but invented speech.
pub fn master_key() -> Result<MasterKey, String> {
    MasterKey::from_bytes(Profile::AES_CM_128_HMAC_SHA1_80, &[7; 30])
        .map_err(|_| "a key of 30 bytes is wanted".to_owned())
}

fn payload_type(number: u8) -> Result<PayloadType, String> {
    PayloadType::new(number).ok_or_else(|| format!("{number} is no payload type"))
}
