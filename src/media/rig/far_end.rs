//! A far end of a script: makes the datagrams that it sends, good ones and others.

use super::script::{Check, Content, Damage, Packet, Report, Seal};
use crate::base::narrow::{LowHalf, Narrow};
use crate::control::message::{Codec, Format, IceCredentials, Security};
use crate::srtp::keys::{MasterKey, Profile};
use crate::srtp::protect::{RTCP_GROWTH_BYTES_MAX, Sender};
use crate::wire::red::{self, RedundantBlock};
use crate::wire::rtcp::{self, Compound, Presence, ReportBlock};
use crate::wire::rtp::{PayloadType, RtpHeader, RtpTimestamp, SequenceNumber, Ssrc};
use crate::wire::stun::{BindingRequest, Role, TransactionId, write_binding_request};
use crate::wire::telephone_event::TelephoneEvent;

/// Sources that a far end has.
const SOURCES: usize = 4;
/// What a packet that follows the one before adds to the clock.
const PACKET_MS: i64 = 20;
/// The longest datagram that it makes: more than is sent on.
const DATAGRAM_BYTES_MAX: usize = 2_000;

/// A far end of a leg. It outlives the leg's formats and keys.
#[derive(Debug)]
pub struct FarEnd {
    name: u32,
    sources: [Source; SOURCES],
    /// What protects what it sends, by key and source.
    seals: Vec<(MasterKey, Sender)>,
}

#[derive(Clone, Copy, Debug)]
struct Source {
    number: u16,
    clock_ms: i64,
    /// When the present event began.
    onset_ms: i64,
}

impl FarEnd {
    /// One that has sent nothing. Far ends of other names have other sources.
    pub fn new(name: u32) -> Self {
        let source = Source { number: 65_500, clock_ms: 89_000_000, onset_ms: 0 };
        Self { name, sources: [source; SOURCES], seals: Vec::new() }
    }

    /// The next packet of a source, for a leg of this format and protection.
    pub fn rtp(
        &mut self,
        packet: &Packet,
        format: Option<&Format>,
        security: &Security,
    ) -> Vec<u8> {
        let place = usize::from(packet.source) % SOURCES;
        let source = &mut self.sources[place];
        source.number = source.number.wrapping_add_signed(packet.step);
        source.clock_ms += PACKET_MS + i64::from(packet.clock_ms);
        let (payload_type, clock_hz, payload) = payload(packet, format);
        let at_ms = match packet.content {
            Content::Event { begins, .. } => {
                if begins {
                    source.onset_ms = source.clock_ms;
                }
                source.onset_ms
            }
            _ => source.clock_ms,
        };
        let ssrc = Ssrc(self.name << 8 | Narrow::<u32>::narrow(place));
        let header = RtpHeader {
            marker: packet.marker,
            payload_type,
            sequence_number: SequenceNumber(source.number),
            timestamp: RtpTimestamp(
                (at_ms * i64::from(clock_hz) / 1_000).cast_unsigned().low_half(),
            ),
            ssrc,
        };
        let mut datagram = vec![0; 12];
        if let Some(out) = datagram.first_chunk_mut() {
            header.write(out);
        }
        datagram.extend_from_slice(&payload);
        datagram.truncate(DATAGRAM_BYTES_MAX);
        let datagram = self.sealed(datagram, ssrc, security, packet.seal, Sender::protect);
        damaged(datagram, packet.damage)
    }

    /// A report about our source `ours`.
    pub fn rtcp(&mut self, report: &Report, ours: Ssrc, security: &Security) -> Vec<u8> {
        let ssrc = Ssrc(self.name << 8);
        let block = ReportBlock {
            ssrc: ours,
            fraction_lost: report.fraction_lost,
            cumulative_lost: i32::from(report.fraction_lost),
            extended_highest_sequence: u32::from(self.sources[0].number),
            jitter: 7,
            last_sr: 0,
            delay_since_last_sr: 0,
        };
        let presence = if report.leaves { Presence::Leaves } else { Presence::Stays };
        let compound =
            Compound { ssrc, sender: None, reports: &[block], cname: "far end", presence };
        let mut datagram = vec![0; rtcp::COMPOUND_BYTES_MAX];
        let length = rtcp::write_compound(&mut datagram, &compound).unwrap_or(0);
        datagram.truncate(length);
        let datagram = self.sealed(datagram, ssrc, security, report.seal, Sender::protect_rtcp);
        damaged(datagram, report.damage)
    }

    fn sealed(
        &mut self,
        datagram: Vec<u8>,
        ssrc: Ssrc,
        security: &Security,
        seal: Seal,
        protect: fn(&mut Sender, &mut [u8], usize) -> Result<usize, crate::base::discard::Discard>,
    ) -> Vec<u8> {
        let Security::Srtp(keys) = security else { return datagram };
        let mut buffer = [&datagram[..], &[0; RTCP_GROWTH_BYTES_MAX]].concat();
        let sealed = match seal {
            Seal::None => return datagram,
            Seal::Forged => {
                protect(&mut Sender::new(&forged_key(), ssrc), &mut buffer, datagram.len())
            }
            Seal::Good | Seal::Repeated => {
                let key = &keys.receive;
                let is_it =
                    |(known, sender): &(MasterKey, Sender)| known == key && sender.ssrc() == ssrc;
                let place = self.seals.iter().position(is_it).unwrap_or_else(|| {
                    self.seals.push((key.clone(), Sender::new(key, ssrc)));
                    self.seals.len() - 1
                });
                protect(&mut self.seals[place].1, &mut buffer, datagram.len())
            }
        };
        // A number that was used is not used again even by a far end of ours.
        let Ok(length) = sealed else { return datagram };
        buffer.truncate(length);
        buffer
    }
}

/// A connectivity check on a leg of these credentials.
pub fn stun(check: &Check, credentials: &IceCredentials) -> Vec<u8> {
    let remote = credentials.remote_ufrag.as_deref().unwrap_or("them");
    let username = format!("{}:{remote}", credentials.local_ufrag);
    let role = if check.is_controlled { Role::Controlled(1) } else { Role::Controlling(1) };
    let request = BindingRequest {
        transaction_id: TransactionId([7; 12]),
        username: &username,
        priority: 1,
        role,
        use_candidate: true,
    };
    let key = if check.is_authentic { credentials.local_password.as_bytes() } else { b"a guess" };
    let mut datagram = vec![0; 600];
    let length = write_binding_request(&mut datagram, &request, key).unwrap_or(0);
    datagram.truncate(length);
    damaged(datagram, check.damage)
}

/// What a datagram is once it was damaged; one that did not fit says so elsewhere.
fn damaged(mut datagram: Vec<u8>, damage: Damage) -> Vec<u8> {
    match damage {
        Damage::None | Damage::Truncated => {}
        Damage::Cut(bytes) => datagram.truncate(datagram.len().saturating_sub(bytes.into())),
        Damage::Flipped(place) => {
            let place = usize::from(place) % datagram.len().max(1);
            if let Some(byte) = datagram.get_mut(place) {
                *byte ^= 0x40;
            }
        }
    }
    datagram
}

fn forged_key() -> MasterKey {
    let profile = Profile::AES_CM_128_HMAC_SHA1_80;
    let bytes = vec![255; profile.key_bytes() + profile.salt_bytes()];
    MasterKey::from_bytes(profile, &bytes).unwrap_or_else(|_| unreachable!("the profile's length"))
}

/// The payload type, its clock and the payload of what a packet carries.
fn payload(packet: &Packet, format: Option<&Format>) -> (PayloadType, u32, Vec<u8>) {
    let one_of = |all: Vec<(PayloadType, u32)>| {
        let place = usize::from(packet.choice) % all.len().max(1);
        all.get(place).copied().unwrap_or((PayloadType::PCMU, 8_000))
    };
    match &packet.content {
        Content::Audio(ms, byte) => {
            let receive = format.map(|format| &format.receive[..]).unwrap_or_default();
            let place = usize::from(packet.choice) % receive.len().max(1);
            let (payload_type, codec) = receive
                .get(place)
                .map_or((PayloadType::PCMU, Codec::Pcmu), |it| (it.payload_type, it.codec));
            (payload_type, codec.clock_hz(), audio(codec, *ms, *byte))
        }
        Content::Event { event, end, duration_ms, .. } => {
            let events = format.map(|format| &format.receive_events[..]).unwrap_or_default();
            let (payload_type, clock_hz) =
                one_of(events.iter().map(|it| (it.payload_type, it.clock_hz)).collect());
            let duration = (u32::from(*duration_ms) * (clock_hz / 1_000)).min(0xFFFF) as u16;
            let event = TelephoneEvent { event: *event, end: *end, volume: 10, duration };
            let mut payload = vec![0; 4];
            if let Some(out) = payload.first_chunk_mut() {
                event.write(out);
            }
            (payload_type, clock_hz, payload)
        }
        Content::Noise(level) => {
            let noise = format.map(|format| &format.receive_comfort_noise[..]).unwrap_or_default();
            let (payload_type, clock_hz) = one_of(noise.iter().map(|it| (*it, 8_000)).collect());
            (payload_type, clock_hz, vec![*level])
        }
        Content::Redundant(copies) => {
            let red = format.map(|format| &format.receive_redundancy[..]).unwrap_or_default();
            let (payload_type, _) = one_of(red.iter().map(|it| (*it, 48_000)).collect());
            (payload_type, 48_000, redundant(*copies))
        }
        Content::Anything(payload_type, bytes) => (*payload_type, 8_000, bytes.clone()),
    }
}

/// So much audio made of a byte.
fn audio(codec: Codec, ms: u8, byte: u8) -> Vec<u8> {
    if codec != Codec::Opus {
        return vec![byte; usize::from(ms) * 8];
    }
    // SILK, narrowband, mono, one frame of 10, 20, 40 or 60 ms; two of 60 ms (RFC 6716 §3.1).
    let toc = match ms {
        0 => return Vec::new(),
        10 => 0,
        20 => 1 << 3,
        40 => 2 << 3,
        60 => 3 << 3,
        _ => 3 << 3 | 1,
    };
    let frame = (0..byte % 64).map(|n| byte.wrapping_mul(31).wrapping_add(n.wrapping_mul(17)));
    let frame: Vec<u8> = frame.collect();
    let frames = if toc & 3 == 1 { 2 } else { 1 };
    [&[toc], &frame.repeat(frames)[..]].concat()
}

/// RED around Opus, with so many copies of 20 ms packets before it.
fn redundant(copies: u8) -> Vec<u8> {
    let Some(opus) = PayloadType::new(111) else { return Vec::new() };
    let copy = audio(Codec::Opus, 20, 33);
    let blocks: Vec<_> = (1..=u32::from(copies))
        .rev()
        .map(|n| RedundantBlock { payload_type: opus, timestamp_offset: n * 960, payload: &copy })
        .collect();
    let mut payload = vec![0; DATAGRAM_BYTES_MAX];
    let length = red::write(&mut payload, &blocks, opus).unwrap_or(1);
    payload.truncate(length);
    payload.extend(audio(Codec::Opus, 20, 44));
    payload
}
