use md5::{Digest, Md5};
use proptest::prelude::*;

use super::*;
use crate::base::hex::bytes;

/// RFC 5769 §2.1: request with short-term credentials.
const REQUEST: &str = "000100582112a442b7e7a701bc34d686fa87dfae802200105354554e2074657374\
    20636c69656e74002400046e0001ff80290008932ff9b151263b36000600096576746a3a68367659202020000800\
    149aeaa70cbfd8cb56781ef2b5b2d3f249c1b571a280280004e57a3bcf";
/// RFC 5769 §2.2: IPv4 response.
const RESPONSE_IPV4: &str = "0101003c2112a442b7e7a701bc34d686fa87dfae8022000b74657374207665\
    63746f7220002000080001a147e112a643000800142b91f599fd9e90c38c7489f92af9ba53f06be7d780280004c0\
    7d4c96";
/// RFC 5769 §2.3: IPv6 response.
const RESPONSE_IPV6: &str = "010100482112a442b7e7a701bc34d686fa87dfae8022000b74657374207665\
    63746f7220002000140002a1470113a9faa5d3f179bc25f4b5bed2b9d900080014a382954e4be67bf11784c97c82\
    92c275bfe3ed4180280004c8fb0b4c";
/// RFC 5769 §2.4: request with long-term credentials.
const LONG_TERM: &str = "000100602112a44278ad3433c6ad72c029da412e00060012e3839ee38388e383aa\
    e38383e382afe382b900000015001c662f2f3439396b39353464364f4c33346f4c394653547679363473410014000b65\
    78616d706c652e6f72670000080014f67024656dd64a3e02b8e0712e85c9a28ca89666";
const PASSWORD: &[u8] = b"VOkJxbRl1RmTxUk/WvJxBt";

fn long_term_key() -> [u8; 16] {
    Md5::digest("マトリックス:example.org:TheMatrIX").into()
}

/// The four vectors, each with its key and whether it carries a fingerprint.
fn vectors() -> [(Vec<u8>, Vec<u8>, bool); 4] {
    [
        (bytes(REQUEST), PASSWORD.to_vec(), true),
        (bytes(RESPONSE_IPV4), PASSWORD.to_vec(), true),
        (bytes(RESPONSE_IPV6), PASSWORD.to_vec(), true),
        (bytes(LONG_TERM), long_term_key().to_vec(), false),
    ]
}

/// What an agent does before it believes a message.
fn accepts(datagram: &[u8], key: &[u8], fingerprint: bool) -> Result<(), Discard> {
    let message = Message::parse(datagram)?;
    if message.has_fingerprint != fingerprint {
        return Err(Discard::BadStun);
    }
    message.verify_integrity(key)
}

#[test]
fn the_request_of_rfc_5769_is_understood() {
    let datagram = bytes(REQUEST);
    let message = Message::parse(&datagram).unwrap();
    assert_eq!(message.class, Class::Request);
    assert_eq!(message.transaction_id.0.to_vec(), bytes("b7e7a701bc34d686fa87dfae"));
    assert_eq!(message.software, Some(&b"STUN test client"[..]));
    assert_eq!(message.username, Some(&b"evtj:h6vY"[..]));
    assert_eq!(message.priority, Some(0x6e00_01ff));
    assert_eq!(message.role, Some(Role::Controlled(0x932f_f9b1_5126_3b36)));
    assert!(!message.use_candidate && message.has_fingerprint);
    assert!(message.unknown_attributes.types().is_empty());
    assert_eq!(message.verify_integrity(PASSWORD), Ok(()));
    assert_eq!(message.verify_integrity(b"another"), Err(Discard::BadIntegrity));
}

#[test]
fn the_responses_of_rfc_5769_are_understood() {
    for (hex, address) in [
        (RESPONSE_IPV4, "192.0.2.1:32853"),
        (RESPONSE_IPV6, "[2001:db8:1234:5678:11:2233:4455:6677]:32853"),
    ] {
        let datagram = bytes(hex);
        let message = Message::parse(&datagram).unwrap();
        assert_eq!(message.class, Class::Success);
        assert_eq!(message.software, Some(&b"test vector"[..]));
        assert_eq!(message.mapped_address, Some(address.parse().unwrap()));
        assert_eq!(message.verify_integrity(PASSWORD), Ok(()));
    }
}

#[test]
fn the_long_term_request_of_rfc_5769_verifies_and_names_what_is_unknown() {
    let datagram = bytes(LONG_TERM);
    let message = Message::parse(&datagram).unwrap();
    assert_eq!(message.verify_integrity(&long_term_key()), Ok(()));
    // NONCE and REALM: no ICE agent knows them.
    assert_eq!(message.unknown_attributes.types(), [0x0015, 0x0014]);
}

#[test]
fn every_truncation_of_the_vectors_is_rejected() {
    for (datagram, key, fingerprint) in vectors() {
        assert_eq!(accepts(&datagram, &key, fingerprint), Ok(()));
        for length in 0..datagram.len() {
            assert!(accepts(&datagram[..length], &key, fingerprint).is_err(), "{length}");
        }
        let longer = [&datagram[..], &[0; 4]].concat();
        assert!(accepts(&longer, &key, fingerprint).is_err());
    }
}

#[test]
fn every_flipped_bit_of_the_vectors_is_rejected() {
    for (datagram, key, fingerprint) in vectors() {
        for bit in 0..datagram.len() * 8 {
            let mut flipped = datagram.clone();
            flipped[bit / 8] ^= 1 << (bit % 8);
            assert!(accepts(&flipped, &key, fingerprint).is_err(), "bit {bit}");
        }
    }
}

/// A request with raw attributes, then integrity, then more attributes, then a fingerprint.
fn request_around(before: &[u8], after: &[u8]) -> Vec<u8> {
    let mut out = [0; 512];
    let mut writer = start(&mut out, Class::Request, TransactionId([7; 12])).unwrap();
    writer.put(before).unwrap();
    let value = integrity(writer.written(), PASSWORD).unwrap();
    put_attribute(&mut writer, attribute::MESSAGE_INTEGRITY, &value).unwrap();
    writer.put(after).unwrap();
    let length: u16 = (writer.length - HEADER_BYTES + 8).narrow();
    writer.out[2..4].copy_from_slice(&length.to_be_bytes());
    let fingerprint = crc32fast::hash(writer.written()) ^ FINGERPRINT_XOR;
    put_attribute(&mut writer, attribute::FINGERPRINT, &fingerprint.to_be_bytes()).unwrap();
    let length = writer.length;
    out[..length].to_vec()
}

#[test]
fn what_follows_message_integrity_is_ignored() {
    // USE-CANDIDATE, then an unknown attribute that would have to be understood.
    let datagram = request_around(&[], &[0x00, 0x25, 0, 0, 0x70, 0, 0, 0]);
    let message = Message::parse(&datagram).unwrap();
    assert_eq!(message.verify_integrity(PASSWORD), Ok(()));
    assert!(!message.use_candidate && message.has_fingerprint);
    assert!(message.unknown_attributes.types().is_empty());
}

#[test]
fn unknown_attributes_are_ignored_or_named_by_their_range() {
    // 0xc057 is the network cost that Chromium sends.
    let optional = [0xc0, 0x57, 0, 4, 0, 1, 0, 10];
    let required = [0x70, 0x01, 0, 1, 0xff, 0, 0, 0];
    let datagram = request_around(&[optional, required].concat(), &[]);
    assert_eq!(Message::parse(&datagram).unwrap().unknown_attributes.types(), [0x7001]);

    let many: Vec<u8> = (0..20).flat_map(|n| [0x70, n, 0, 0]).collect();
    let datagram = request_around(&many, &[]);
    let message = Message::parse(&datagram).unwrap();
    assert_eq!(message.unknown_attributes.types().len(), UNKNOWN_ATTRIBUTES_MAX);
}

#[test]
fn of_a_repeated_attribute_the_first_counts() {
    let twice = [0x00, 0x24, 0, 4, 0, 0, 0, 1, 0x00, 0x24, 0, 4, 0, 0, 0, 2];
    let datagram = request_around(&twice, &[]);
    assert_eq!(Message::parse(&datagram).unwrap().priority, Some(1));
}

#[test]
fn broken_attributes_and_other_methods_are_bad() {
    for broken in [
        &[0x00, 0x24, 0, 3, 0, 0, 0, 0][..], // PRIORITY of three bytes
        &[0x80, 0x2a, 0, 4, 0, 0, 0, 0],     // ICE-CONTROLLING of four
        &[0x00, 0x20, 0, 8, 0, 3, 0, 0, 0, 0, 0, 0], // address family 3
        &[0x00, 0x20, 0, 8, 0, 2, 0, 0, 0, 0, 0, 0], // IPv6 of four bytes
        &[0x00, 0x09, 0, 4, 0, 0, 2, 0],     // error code 200
        &[0x00, 0x09, 0, 4, 0, 0, 4, 100],   // error code 4 hundred and 100
        &[0x00, 0x08, 0, 4, 0, 0, 0, 0],     // integrity of four bytes
    ] {
        let datagram = request_around(broken, &[]);
        assert_eq!(Message::parse(&datagram).err(), Some(Discard::BadStun), "{broken:02x?}");
    }
    let mut allocate = request_around(&[], &[]);
    allocate[1] = 0x03;
    assert_eq!(Message::parse(&allocate).err(), Some(Discard::BadStun));
}

#[test]
fn a_fingerprint_must_be_last() {
    let mut out = [0; 64];
    let mut writer = start(&mut out, Class::Request, TransactionId([7; 12])).unwrap();
    writer.out[2..4].copy_from_slice(&8u16.to_be_bytes());
    let fingerprint = crc32fast::hash(writer.written()) ^ FINGERPRINT_XOR;
    put_attribute(&mut writer, attribute::FINGERPRINT, &fingerprint.to_be_bytes()).unwrap();
    let length = writer.length;
    assert!(Message::parse(&out[..length]).unwrap().has_fingerprint);

    let mut writer = start(&mut out, Class::Request, TransactionId([7; 12])).unwrap();
    writer.out[2..4].copy_from_slice(&12u16.to_be_bytes());
    let fingerprint = crc32fast::hash(writer.written()) ^ FINGERPRINT_XOR;
    put_attribute(&mut writer, attribute::FINGERPRINT, &fingerprint.to_be_bytes()).unwrap();
    put_attribute(&mut writer, attribute::USE_CANDIDATE, &[]).unwrap();
    let length = writer.length;
    assert_eq!(Message::parse(&out[..length]).err(), Some(Discard::BadStun));
}

#[test]
fn an_ipv4_sender_on_a_dual_stack_socket_is_told_its_ipv4_address() {
    let datagram = bytes(REQUEST);
    let request = Message::parse(&datagram).unwrap();
    let mut out = [0; RESPONSE_BYTES_MAX];
    let from = "[::ffff:192.0.2.1]:32853".parse().unwrap();
    let length = write_binding_success(&mut out, &request, from, PASSWORD).unwrap();
    let response = Message::parse(&out[..length]).unwrap();
    assert_eq!(response.mapped_address, Some("192.0.2.1:32853".parse().unwrap()));
}

#[test]
fn an_error_names_its_code_and_the_unknown_attributes() {
    let many: Vec<u8> = (0..20).flat_map(|n| [0x70, n, 0, 0]).collect();
    let datagram = request_around(&many, &[]);
    let request = Message::parse(&datagram).unwrap();
    let mut out = [0; RESPONSE_BYTES_MAX];
    for code in [ErrorCode::UnknownAttribute, ErrorCode::RoleConflict] {
        let length = write_error(&mut out, &request, code, PASSWORD).unwrap();
        let response = Message::parse(&out[..length]).unwrap();
        assert_eq!((response.class, response.error_code), (Class::Error, Some(code.number())));
        assert_eq!(response.transaction_id, request.transaction_id);
        assert_eq!(accepts(&out[..length], PASSWORD, true), Ok(()));
        let types = [0x00, 0x0a, 0, 16, 0x70, 0, 0x70, 1, 0x70, 2];
        let named = out[..length].windows(types.len()).any(|window| window == types);
        assert_eq!(named, code == ErrorCode::UnknownAttribute);
    }
}

proptest! {
    #[test]
    fn a_written_check_is_read_back(
        id: [u8; 12], username in "[!-~]{1,508}", priority: u32, tie_breaker: u64,
        controlling: bool, use_candidate: bool, key: Vec<u8>,
    ) {
        let role = if controlling { Role::Controlling(tie_breaker) }
            else { Role::Controlled(tie_breaker) };
        let transaction_id = TransactionId(id);
        let request = BindingRequest {
            transaction_id, username: &username, priority, role, use_candidate,
        };
        let mut out = [0; 640];
        let length = write_binding_request(&mut out, &request, &key).unwrap();
        let message = Message::parse(&out[..length]).unwrap();
        prop_assert_eq!(accepts(&out[..length], &key, true), Ok(()));
        prop_assert_eq!(message.class, Class::Request);
        prop_assert_eq!(message.transaction_id, transaction_id);
        prop_assert_eq!(message.username, Some(username.as_bytes()));
        prop_assert_eq!(message.priority, Some(priority));
        prop_assert_eq!(message.role, Some(role));
        prop_assert_eq!(message.use_candidate, use_candidate);
        for short in 0..length {
            prop_assert_eq!(write_binding_request(&mut out[..short], &request, &key), None);
        }
    }

    #[test]
    fn a_written_success_is_read_back(id: [u8; 12], v6: bool, ip: u128, port: u16) {
        let ip = if v6 { IpAddr::V6(Ipv6Addr::from_bits(ip)).to_canonical() }
            else { IpAddr::V4(Ipv4Addr::from_bits((ip & 0xffff_ffff) as u32)) };
        let from = SocketAddr::new(ip, port);
        let mut request = [0; 128];
        let length = write_binding_request(&mut request, &BindingRequest {
            transaction_id: TransactionId(id), username: "a:b", priority: 1,
            role: Role::Controlling(1), use_candidate: true,
        }, PASSWORD).unwrap();
        let request = Message::parse(&request[..length]).unwrap();
        let mut out = [0; RESPONSE_BYTES_MAX];
        let length = write_binding_success(&mut out, &request, from, PASSWORD).unwrap();
        let response = Message::parse(&out[..length]).unwrap();
        prop_assert_eq!(accepts(&out[..length], PASSWORD, true), Ok(()));
        prop_assert_eq!(response.class, Class::Success);
        prop_assert_eq!(response.transaction_id, TransactionId(id));
        prop_assert_eq!(response.mapped_address, Some(from));
    }

    #[test]
    fn any_attributes_are_parsed_or_discarded(words in prop::collection::vec(any::<u32>(), 0..40)) {
        let mut datagram = vec![0, 1, 0, (4 * words.len()).narrow(), 0x21, 0x12, 0xa4, 0x42];
        datagram.extend([0; 12]);
        // Small types and lengths, so that attributes are often found.
        datagram.extend(words.iter().flat_map(|word| (word & 0x802f_000f).to_be_bytes()));
        if let Ok(message) = Message::parse(&datagram) {
            prop_assert!(message.verify_integrity(b"key").is_err());
        }
    }
}
