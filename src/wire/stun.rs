//! STUN Binding messages (RFC 8489) with the attributes of ICE (RFC 8445 §16.1).
//!
//! [`Message::parse`] borrows from the datagram and checks form and FINGERPRINT;
//! [`Message::verify_integrity`] checks who wrote it. The writers cover what an ICE agent sends:
//! checks, success and error responses. Retransmission, credentials and what a check means belong to
//! [`crate::ice`].

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use hmac::{Hmac, KeyInit, Mac};
use sha1::Sha1;
use subtle::ConstantTimeEq;

use crate::base::discard::Discard;
use crate::base::narrow::{LowHalf, Narrow};
use crate::wire::writer::Writer;

/// Bytes of the header (§5).
pub const HEADER_BYTES: usize = 20;
/// The longest response that is written here: 420 with [`UNKNOWN_ATTRIBUTES_MAX`] types.
pub const RESPONSE_BYTES_MAX: usize = 128;
/// Unknown attributes that are remembered for a 420 response; the rest stays unnamed.
pub const UNKNOWN_ATTRIBUTES_MAX: usize = 8;
/// Longest USERNAME (§14.3).
pub const USERNAME_BYTES_MAX: usize = 508;

const MAGIC_COOKIE: u32 = 0x2112_a442;
const FINGERPRINT_XOR: u32 = 0x5354_554e;
const INTEGRITY_BYTES: usize = 20;

/// Attribute types (RFC 8489 §18.3, RFC 8445 §16.1). Those below 0x8000 must be understood.
mod attribute {
    pub(super) const USERNAME: u16 = 0x0006;
    pub(super) const MESSAGE_INTEGRITY: u16 = 0x0008;
    pub(super) const ERROR_CODE: u16 = 0x0009;
    pub(super) const UNKNOWN_ATTRIBUTES: u16 = 0x000a;
    pub(super) const XOR_MAPPED_ADDRESS: u16 = 0x0020;
    pub(super) const PRIORITY: u16 = 0x0024;
    pub(super) const USE_CANDIDATE: u16 = 0x0025;
    pub(super) const SOFTWARE: u16 = 0x8022;
    pub(super) const FINGERPRINT: u16 = 0x8028;
    pub(super) const ICE_CONTROLLED: u16 = 0x8029;
    pub(super) const ICE_CONTROLLING: u16 = 0x802a;
}

/// Message class (§5); the method is always Binding.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Class {
    /// Asks for a response.
    Request,
    /// Asks for nothing.
    Indication,
    /// Answers with what was asked.
    Success,
    /// Answers with a refusal.
    Error,
}

impl Class {
    /// Binding (method 1) in this class.
    const fn message_type(self) -> u16 {
        match self {
            Class::Request => 0x0001,
            Class::Indication => 0x0011,
            Class::Success => 0x0101,
            Class::Error => 0x0111,
        }
    }
}

/// Ties a response to its request.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct TransactionId(pub [u8; 12]);

/// The ICE role that a check claims for its sender, with its tie-breaker (RFC 8445 §7.1.3).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// Decides which pair is used.
    Controlling(u64),
    /// Follows.
    Controlled(u64),
}

/// Attribute types that must be understood and are not, in order of appearance.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct UnknownAttributes {
    types: [u16; UNKNOWN_ATTRIBUTES_MAX],
    count: usize,
}

impl UnknownAttributes {
    /// The first [`UNKNOWN_ATTRIBUTES_MAX`] of them.
    pub fn types(&self) -> &[u16] {
        &self.types[..self.count]
    }

    fn note(&mut self, kind: u16) {
        if let Some(place) = self.types.get_mut(self.count) {
            *place = kind;
            self.count += 1;
        }
    }
}

/// A parsed Binding message.
#[derive(Clone, Copy, Debug)]
pub struct Message<'a> {
    /// What it is.
    pub class: Class,
    /// Ties responses to requests.
    pub transaction_id: TransactionId,
    /// USERNAME; in ICE `receiver's ufrag:sender's ufrag` (RFC 8445 §7.2.2).
    pub username: Option<&'a [u8]>,
    /// PRIORITY that the sender gives the candidate it would learn from this check.
    pub priority: Option<u32>,
    /// ICE-CONTROLLING or ICE-CONTROLLED.
    pub role: Option<Role>,
    /// USE-CANDIDATE: the sender nominates this pair.
    pub use_candidate: bool,
    /// XOR-MAPPED-ADDRESS: where the request came from, as its receiver saw it.
    pub mapped_address: Option<SocketAddr>,
    /// ERROR-CODE's number, 300..=699.
    pub error_code: Option<u16>,
    /// SOFTWARE: meant to be UTF-8, not checked.
    pub software: Option<&'a [u8]>,
    /// Whether a FINGERPRINT is there; it is right, else the message would not have parsed.
    pub has_fingerprint: bool,
    /// What must be understood and is not.
    pub unknown_attributes: UnknownAttributes,
    /// Where the MESSAGE-INTEGRITY attribute starts, and its value.
    integrity: Option<(usize, &'a [u8; INTEGRITY_BYTES])>,
    bytes: &'a [u8],
}

impl<'a> Message<'a> {
    /// Reads a Binding message, which must fill `datagram` exactly. [`Discard::BadStun`] for
    /// anything else: another method, a broken attribute, a wrong fingerprint.
    ///
    /// Of a repeated attribute the first counts (§14). What follows MESSAGE-INTEGRITY is not
    /// protected and therefore ignored (§14.5), except FINGERPRINT, which must be last (§14.7).
    pub fn parse(datagram: &'a [u8]) -> Result<Self, Discard> {
        let (header, attributes) =
            datagram.split_first_chunk::<HEADER_BYTES>().ok_or(Discard::Truncated)?;
        let class = match u16::from_be_bytes([header[0], header[1]]) {
            0x0001 => Class::Request,
            0x0011 => Class::Indication,
            0x0101 => Class::Success,
            0x0111 => Class::Error,
            _ => return Err(Discard::BadStun),
        };
        let length = usize::from(u16::from_be_bytes([header[2], header[3]]));
        let is_stun = header[4..8] == MAGIC_COOKIE.to_be_bytes();
        if !is_stun || length != attributes.len() || length % 4 != 0 {
            return Err(Discard::BadStun);
        }
        let mut transaction_id = TransactionId([0; 12]);
        transaction_id.0.copy_from_slice(&header[8..]);
        let mut message = Self {
            class,
            transaction_id,
            username: None,
            priority: None,
            role: None,
            use_candidate: false,
            mapped_address: None,
            error_code: None,
            software: None,
            has_fingerprint: false,
            unknown_attributes: UnknownAttributes::default(),
            integrity: None,
            bytes: datagram,
        };
        message.read_attributes().ok_or(Discard::BadStun)?;
        Ok(message)
    }

    fn read_attributes(&mut self) -> Option<()> {
        let mut at = HEADER_BYTES;
        while at < self.bytes.len() {
            let [kind_high, kind_low, length_high, length_low] = *self.bytes[at..].first_chunk()?;
            let kind = u16::from_be_bytes([kind_high, kind_low]);
            let length = usize::from(u16::from_be_bytes([length_high, length_low]));
            let value = self.bytes.get(at + 4..at + 4 + length)?;
            let next = at + 4 + length.next_multiple_of(4);
            if kind == attribute::FINGERPRINT {
                let expected = crc32fast::hash(&self.bytes[..at]) ^ FINGERPRINT_XOR;
                let good = read_u32(value)? == expected && next == self.bytes.len();
                self.has_fingerprint = true;
                return good.then_some(());
            }
            if self.integrity.is_none() {
                self.read_attribute(at, kind, value)?;
            }
            at = next;
        }
        Some(())
    }

    fn read_attribute(&mut self, at: usize, kind: u16, value: &'a [u8]) -> Option<()> {
        match kind {
            attribute::USERNAME => {
                self.username.get_or_insert(value);
            }
            attribute::MESSAGE_INTEGRITY => self.integrity = Some((at, value.try_into().ok()?)),
            attribute::ERROR_CODE => {
                let number = read_error_code(value)?;
                self.error_code.get_or_insert(number);
            }
            attribute::XOR_MAPPED_ADDRESS => {
                let address = read_xor_address(value, self.transaction_id)?;
                self.mapped_address.get_or_insert(address);
            }
            attribute::PRIORITY => {
                let priority = read_u32(value)?;
                self.priority.get_or_insert(priority);
            }
            attribute::USE_CANDIDATE => self.use_candidate = true,
            attribute::ICE_CONTROLLED => {
                let role = Role::Controlled(read_u64(value)?);
                self.role.get_or_insert(role);
            }
            attribute::ICE_CONTROLLING => {
                let role = Role::Controlling(read_u64(value)?);
                self.role.get_or_insert(role);
            }
            attribute::SOFTWARE => {
                self.software.get_or_insert(value);
            }
            // Only in responses, where it tells a person what a 420 was about.
            attribute::UNKNOWN_ATTRIBUTES => {}
            0..0x8000 => self.unknown_attributes.note(kind),
            // Comprehension-optional: browsers send several (§14).
            0x8000.. => {}
        }
        Some(())
    }

    /// Checks MESSAGE-INTEGRITY against the key: in ICE the password of the agent that receives the
    /// request (RFC 8445 §7.2.2). In constant time. A message without it fails.
    pub fn verify_integrity(&self, key: &[u8]) -> Result<(), Discard> {
        let (at, value) = self.integrity.ok_or(Discard::BadIntegrity)?;
        let expected = integrity(&self.bytes[..at], key).ok_or(Discard::BadStun)?;
        if bool::from(expected.ct_eq(value)) { Ok(()) } else { Err(Discard::BadIntegrity) }
    }
}

fn read_u32(value: &[u8]) -> Option<u32> {
    value.try_into().ok().map(u32::from_be_bytes)
}

fn read_u64(value: &[u8]) -> Option<u64> {
    value.try_into().ok().map(u64::from_be_bytes)
}

/// Hundreds and the rest in a byte each, then the reason phrase (§14.8).
fn read_error_code(value: &[u8]) -> Option<u16> {
    let [_, _, hundreds, rest] = *value.first_chunk()?;
    let (hundreds, rest) = (hundreds & 0x07, u16::from(rest));
    ((3..=6).contains(&hundreds) && rest < 100).then(|| u16::from(hundreds) * 100 + rest)
}

/// What an address is XORed with: the cookie and the transaction id (§14.2).
fn address_mask(transaction_id: TransactionId) -> [u8; 16] {
    let mut mask = [0; 16];
    mask[..4].copy_from_slice(&MAGIC_COOKIE.to_be_bytes());
    mask[4..].copy_from_slice(&transaction_id.0);
    mask
}

fn read_xor_address(value: &[u8], transaction_id: TransactionId) -> Option<SocketAddr> {
    let (&[_, family, port_high, port_low], address) = value.split_first_chunk()?;
    let port = u16::from_be_bytes([port_high, port_low]) ^ (MAGIC_COOKIE >> 16) as u16;
    let ip = match family {
        1 => IpAddr::V4(Ipv4Addr::from_bits(read_u32(address)? ^ MAGIC_COOKIE)),
        2 => {
            let mask = u128::from_be_bytes(address_mask(transaction_id));
            let bits = u128::from_be_bytes(address.try_into().ok()?);
            IpAddr::V6(Ipv6Addr::from_bits(bits ^ mask))
        }
        _ => return None,
    };
    Some(SocketAddr::new(ip, port))
}

/// HMAC-SHA1 over the message up to MESSAGE-INTEGRITY, with a length that ends after it (§14.5).
fn integrity(before: &[u8], key: &[u8]) -> Option<[u8; INTEGRITY_BYTES]> {
    let mut hmac = Hmac::<Sha1>::new_from_slice(key).ok()?;
    let length: u16 = (before.len() - HEADER_BYTES + 4 + INTEGRITY_BYTES).narrow();
    hmac.update(&before[..2]);
    hmac.update(&length.to_be_bytes());
    hmac.update(&before[4..]);
    Some(hmac.finalize().into_bytes().into())
}

/// What an ICE agent refuses a check with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ErrorCode {
    /// 420: an attribute that must be understood is not (RFC 8489 §6.3.1).
    UnknownAttribute,
    /// 487: both sides claim the same role (RFC 8445 §7.3.1.1).
    RoleConflict,
}

impl ErrorCode {
    /// The number on the wire.
    pub const fn number(self) -> u16 {
        match self {
            ErrorCode::UnknownAttribute => 420,
            ErrorCode::RoleConflict => 487,
        }
    }

    const fn reason(self) -> &'static str {
        match self {
            ErrorCode::UnknownAttribute => "Unknown Attribute",
            ErrorCode::RoleConflict => "Role Conflict",
        }
    }
}

/// Answers a request with the address it came from, and returns the response's length; `None` when
/// `out` is shorter than that ([`RESPONSE_BYTES_MAX`] always suffices).
pub fn write_binding_success(
    out: &mut [u8],
    request: &Message<'_>,
    mapped_address: SocketAddr,
    key: &[u8],
) -> Option<usize> {
    let mut writer = start(out, Class::Success, request.transaction_id)?;
    let port = mapped_address.port() ^ (MAGIC_COOKIE >> 16) as u16;
    let [port_high, port_low] = port.to_be_bytes();
    let mut value = [0; 20];
    // A dual-stack socket shows IPv4 senders as mapped IPv6; they know themselves as IPv4.
    let bytes = match mapped_address.ip().to_canonical() {
        IpAddr::V4(ip) => {
            value[..4].copy_from_slice(&[0, 1, port_high, port_low]);
            value[4..8].copy_from_slice(&(ip.to_bits() ^ MAGIC_COOKIE).to_be_bytes());
            8
        }
        IpAddr::V6(ip) => {
            let mask = u128::from_be_bytes(address_mask(request.transaction_id));
            value[..4].copy_from_slice(&[0, 2, port_high, port_low]);
            value[4..].copy_from_slice(&(ip.to_bits() ^ mask).to_be_bytes());
            20
        }
    };
    put_attribute(&mut writer, attribute::XOR_MAPPED_ADDRESS, &value[..bytes])?;
    finish(writer, key)
}

/// Refuses a request, naming its unknown attributes in a 420, and returns the response's length;
/// `None` when `out` is shorter than that ([`RESPONSE_BYTES_MAX`] always suffices).
pub fn write_error(
    out: &mut [u8],
    request: &Message<'_>,
    code: ErrorCode,
    key: &[u8],
) -> Option<usize> {
    let mut writer = start(out, Class::Error, request.transaction_id)?;
    let (number, reason) = (code.number(), code.reason().as_bytes());
    put_attribute_header(&mut writer, attribute::ERROR_CODE, 4 + reason.len())?;
    writer.put(&[0, 0, (number / 100).low_half(), (number % 100).low_half()])?;
    writer.put(reason)?;
    writer.pad()?;
    if code == ErrorCode::UnknownAttribute {
        let types = request.unknown_attributes.types();
        put_attribute_header(&mut writer, attribute::UNKNOWN_ATTRIBUTES, 2 * types.len())?;
        for kind in types {
            writer.put(&kind.to_be_bytes())?;
        }
        writer.pad()?;
    }
    finish(writer, key)
}

/// An ICE connectivity check.
#[derive(Clone, Copy, Debug)]
pub struct BindingRequest<'a> {
    /// Random.
    pub transaction_id: TransactionId,
    /// `receiver's ufrag:sender's ufrag`, at most [`USERNAME_BYTES_MAX`].
    pub username: &'a str,
    /// PRIORITY.
    pub priority: u32,
    /// The sender's role.
    pub role: Role,
    /// Whether the sender nominates the pair.
    pub use_candidate: bool,
}

/// Writes a check keyed by the receiver's password and returns its length; `None` when `out` is too
/// short or the username too long.
pub fn write_binding_request(
    out: &mut [u8],
    request: &BindingRequest<'_>,
    key: &[u8],
) -> Option<usize> {
    if request.username.len() > USERNAME_BYTES_MAX {
        return None;
    }
    let mut writer = start(out, Class::Request, request.transaction_id)?;
    put_attribute(&mut writer, attribute::USERNAME, request.username.as_bytes())?;
    put_attribute(&mut writer, attribute::PRIORITY, &request.priority.to_be_bytes())?;
    let (kind, tie_breaker) = match request.role {
        Role::Controlling(tie_breaker) => (attribute::ICE_CONTROLLING, tie_breaker),
        Role::Controlled(tie_breaker) => (attribute::ICE_CONTROLLED, tie_breaker),
    };
    put_attribute(&mut writer, kind, &tie_breaker.to_be_bytes())?;
    if request.use_candidate {
        put_attribute(&mut writer, attribute::USE_CANDIDATE, &[])?;
    }
    finish(writer, key)
}

fn start(out: &mut [u8], class: Class, transaction_id: TransactionId) -> Option<Writer<'_>> {
    let mut writer = Writer::new(out);
    // The length is filled in by `finish`.
    writer.word(u32::from(class.message_type()) << 16)?;
    writer.word(MAGIC_COOKIE)?;
    writer.put(&transaction_id.0)?;
    Some(writer)
}

fn put_attribute_header(writer: &mut Writer<'_>, kind: u16, length: usize) -> Option<()> {
    writer.word(u32::from(kind) << 16 | u32::from(u16::try_from(length).ok()?))
}

fn put_attribute(writer: &mut Writer<'_>, kind: u16, value: &[u8]) -> Option<()> {
    put_attribute_header(writer, kind, value.len())?;
    writer.put(value)?;
    writer.pad()
}

/// Ends a message with MESSAGE-INTEGRITY and FINGERPRINT.
fn finish(mut writer: Writer<'_>, key: &[u8]) -> Option<usize> {
    let value = integrity(writer.written(), key)?;
    put_attribute(&mut writer, attribute::MESSAGE_INTEGRITY, &value)?;
    // The fingerprint covers a length that includes itself (§14.7).
    let length = u16::try_from(writer.length - HEADER_BYTES + 8).ok()?;
    writer.out[2..4].copy_from_slice(&length.to_be_bytes());
    let fingerprint = crc32fast::hash(writer.written()) ^ FINGERPRINT_XOR;
    put_attribute(&mut writer, attribute::FINGERPRINT, &fingerprint.to_be_bytes())?;
    Some(writer.length)
}

#[cfg(test)]
mod tests;
