//! SRTP against somebody else's: Debian's packaged libsrtp2 must read what we protect and write what
//! we can read, byte for byte where both start from the same state, on random packets of all three
//! profiles with contributing sources, extensions, losses, reordering and wraps. So must it when either
//! of us is resumed from a snapshot, and its packets are heard although the first ones were lost.
#![allow(
    clippy::cast_possible_truncation,
    clippy::cast_possible_wrap,
    clippy::cast_sign_loss,
    reason = "a wrong number fails its test"
)]
#![allow(
    unsafe_code,
    reason = "the oracle is a C library, loaded at run time so that only this test needs it"
)]

use std::ffi::{CStr, c_int, c_uint, c_ulong, c_void};
use std::ptr;

use linecard::base::random::{Random, from_seed};
use linecard::srtp::keys::{MasterKey, Profile};
use linecard::srtp::protect::{RTCP_GROWTH_BYTES_MAX, Receiver, Sender};
use linecard::srtp::snapshot::Margin;
use linecard::wire::rtp::{SequenceNumber, Ssrc};
use rand::{Rng, RngExt};

/// Enough for every mixture of header, wrap and order; a second or two with the packaged build.
const PACKETS: usize = 20_000;
/// SRTCP moves slowly and has no wrap to find.
const REPORTS: usize = 2_000;

/// `srtp_crypto_policy_t` of srtp.h 2.5: filled in by the library.
#[repr(C)]
#[derive(Clone, Copy, Default)]
struct CryptoPolicy {
    cipher_type: u32,
    cipher_key_len: c_int,
    auth_type: u32,
    auth_key_len: c_int,
    auth_tag_len: c_int,
    services: c_int,
}

/// `srtp_policy_t` of srtp.h 2.5.
#[repr(C)]
struct Policy {
    ssrc_type: c_uint,
    ssrc_value: c_uint,
    rtp: CryptoPolicy,
    rtcp: CryptoPolicy,
    key: *mut u8,
    keys: *mut c_void,
    num_master_keys: c_ulong,
    deprecated_ekt: *mut c_void,
    window_size: c_ulong,
    allow_repeat_tx: c_int,
    enc_xtn_hdr: *mut c_int,
    enc_xtn_hdr_count: c_int,
    next: *mut Policy,
}

const SSRC_ANY_INBOUND: c_uint = 2;
const SSRC_ANY_OUTBOUND: c_uint = 3;

type Session = *mut c_void;
type Transform = unsafe extern "C" fn(Session, *mut c_void, *mut c_int) -> c_int;

/// The library's functions.
#[derive(Clone, Copy)]
struct Library {
    create: unsafe extern "C" fn(*mut Session, *const Policy) -> c_int,
    destroy: unsafe extern "C" fn(Session) -> c_int,
    protect: Transform,
    unprotect: Transform,
    protect_rtcp: Transform,
    unprotect_rtcp: Transform,
    policy_of_sha1_80: unsafe extern "C" fn(*mut CryptoPolicy),
    policy_of_gcm_128: unsafe extern "C" fn(*mut CryptoPolicy),
    policy_of_gcm_256: unsafe extern "C" fn(*mut CryptoPolicy),
}

impl Library {
    fn load() -> Self {
        // SAFETY: a constant, terminated name; loading runs only the library's own constructors.
        let handle = unsafe { libc::dlopen(c"libsrtp2.so.1".as_ptr(), libc::RTLD_NOW) };
        assert!(!handle.is_null(), "libsrtp2.so.1 was not found: install libsrtp2-1");
        // SAFETY: each symbol has the type that srtp.h 2.5 declares for it.
        let library = unsafe {
            Self {
                create: symbol(handle, c"srtp_create"),
                destroy: symbol(handle, c"srtp_dealloc"),
                protect: symbol(handle, c"srtp_protect"),
                unprotect: symbol(handle, c"srtp_unprotect"),
                protect_rtcp: symbol(handle, c"srtp_protect_rtcp"),
                unprotect_rtcp: symbol(handle, c"srtp_unprotect_rtcp"),
                policy_of_sha1_80: symbol(handle, c"srtp_crypto_policy_set_rtp_default"),
                policy_of_gcm_128: symbol(handle, c"srtp_crypto_policy_set_aes_gcm_128_16_auth"),
                policy_of_gcm_256: symbol(handle, c"srtp_crypto_policy_set_aes_gcm_256_16_auth"),
            }
        };
        // SAFETY: as above. srtp_init() is not thread-safe; the one test of this file is the only
        // caller of `load`.
        let status = unsafe {
            let init: unsafe extern "C" fn() -> c_int = symbol(handle, c"srtp_init");
            init()
        };
        assert_eq!(status, 0, "srtp_init");
        library
    }

    fn session(self, profile: Profile, key: &[u8], direction: c_uint) -> Oracle {
        let mut crypto = CryptoPolicy::default();
        let fill = match profile {
            Profile::AES_CM_128_HMAC_SHA1_80 => self.policy_of_sha1_80,
            Profile::AEAD_AES_128_GCM => self.policy_of_gcm_128,
            Profile::AEAD_AES_256_GCM => self.policy_of_gcm_256,
        };
        // SAFETY: the function fills the policy it is given.
        unsafe { fill(&mut crypto) };
        let mut key = key.to_vec();
        let policy = Policy {
            ssrc_type: direction,
            ssrc_value: 0,
            rtp: crypto,
            rtcp: crypto,
            key: key.as_mut_ptr(),
            keys: ptr::null_mut(),
            num_master_keys: 0,
            deprecated_ekt: ptr::null_mut(),
            window_size: 128,
            allow_repeat_tx: 0,
            enc_xtn_hdr: ptr::null_mut(),
            enc_xtn_hdr_count: 0,
            next: ptr::null_mut(),
        };
        let mut session = ptr::null_mut();
        // SAFETY: the policy and its key live during the call; the library copies both.
        let status = unsafe { (self.create)(&mut session, &policy) };
        assert_eq!(status, 0, "srtp_create for {profile:?}");
        Oracle { library: self, session }
    }
}

/// # Safety
/// `handle` must be from `dlopen`, and `F` the type of the function of that name.
unsafe fn symbol<F: Copy>(handle: *mut c_void, name: &CStr) -> F {
    // SAFETY: the handle is open and the name terminated.
    let symbol = unsafe { libc::dlsym(handle, name.as_ptr()) };
    assert!(!symbol.is_null(), "libsrtp2.so.1 lacks {name:?}");
    assert_eq!(size_of::<F>(), size_of::<*mut c_void>());
    // SAFETY: a function pointer of the same size, of the type that the caller vouches for.
    unsafe { std::mem::transmute_copy::<*mut c_void, F>(&symbol) }
}

/// A libsrtp session for one direction.
struct Oracle {
    library: Library,
    session: Session,
}

impl Oracle {
    fn protect(&self, packet: &[u8]) -> Result<Vec<u8>, c_int> {
        self.run(self.library.protect, packet)
    }

    fn unprotect(&self, packet: &[u8]) -> Result<Vec<u8>, c_int> {
        self.run(self.library.unprotect, packet)
    }

    fn protect_rtcp(&self, packet: &[u8]) -> Result<Vec<u8>, c_int> {
        self.run(self.library.protect_rtcp, packet)
    }

    fn unprotect_rtcp(&self, packet: &[u8]) -> Result<Vec<u8>, c_int> {
        self.run(self.library.unprotect_rtcp, packet)
    }

    fn run(&self, transform: Transform, packet: &[u8]) -> Result<Vec<u8>, c_int> {
        // SRTP_MAX_TRAILER_LEN + 4 is the room that srtp.h asks for; words keep it aligned.
        let mut buffer = vec![0u32; (packet.len() + 144 + 4).div_ceil(4)];
        let mut length = packet.len() as c_int;
        let bytes: *mut u8 = buffer.as_mut_ptr().cast();
        // SAFETY: the buffer is longer than the packet.
        unsafe { ptr::copy_nonoverlapping(packet.as_ptr(), bytes, packet.len()) };
        // SAFETY: the session is open, and the buffer has room for the trailer.
        let status = unsafe { transform(self.session, bytes.cast(), &mut length) };
        if status != 0 {
            return Err(status);
        }
        // SAFETY: the library wrote `length` bytes into the buffer.
        Ok(unsafe { std::slice::from_raw_parts(bytes, length as usize) }.to_vec())
    }
}

impl Drop for Oracle {
    fn drop(&mut self) {
        // SAFETY: created by this library, and dropped once.
        unsafe { (self.library.destroy)(self.session) };
    }
}

fn random_bytes(random: &mut Random, length: usize) -> Vec<u8> {
    let mut bytes = vec![0; length];
    random.fill_bytes(&mut bytes);
    bytes
}

/// An RTP packet with up to 15 contributing sources and perhaps an extension.
fn random_rtp(random: &mut Random, ssrc: Ssrc, sequence_number: u16) -> Vec<u8> {
    let sources = if random.random_bool(0.2) { random.random_range(0..=15u8) } else { 0 };
    let extended = random.random_bool(0.2);
    let mut packet = vec![0x80 | u8::from(extended) << 4 | sources, random.random()];
    packet.extend_from_slice(&sequence_number.to_be_bytes());
    packet.extend(random_bytes(random, 4));
    packet.extend_from_slice(&ssrc.0.to_be_bytes());
    packet.extend(random_bytes(random, 4 * usize::from(sources)));
    if extended {
        let words = random.random_range(0..=8u16);
        packet.extend_from_slice(&[0xbe, 0xde]);
        packet.extend_from_slice(&words.to_be_bytes());
        packet.extend(random_bytes(random, 4 * usize::from(words)));
    }
    // libsrtp refuses an AES-GCM packet without payload.
    let payload_bytes = random.random_range(1..=1_200);
    packet.extend(random_bytes(random, payload_bytes));
    packet
}

fn random_rtcp(random: &mut Random, ssrc: Ssrc) -> Vec<u8> {
    let words = random.random_range(1..=100u16);
    let mut packet = vec![0x80, 200];
    packet.extend_from_slice(&words.to_be_bytes());
    packet.extend_from_slice(&ssrc.0.to_be_bytes());
    packet.extend(random_bytes(random, 4 * usize::from(words - 1)));
    packet
}

/// Sequence numbers as a lossy, reordering network shows them, through several wraps. None is more
/// than the replay window late, because the two sides may refuse those for different reasons.
fn random_order(random: &mut Random) -> Vec<u16> {
    let mut highest = u64::from(random.random::<u16>() >> 1);
    let mut used = std::collections::HashSet::new();
    let mut order = Vec::with_capacity(PACKETS);
    while order.len() < PACKETS {
        let index = match random.random_range(0..100) {
            0..80 => highest + 1,
            80..90 => highest.saturating_sub(random.random_range(0..60)),
            90..99 => highest + random.random_range(2..200),
            _ => highest + random.random_range(2..0x4000),
        };
        // The first packet fixes round 0, so nothing may come before it.
        let fresh = order.first().is_none_or(|first| index >= u64::from(*first));
        if fresh && used.insert(index) {
            highest = highest.max(index);
            order.push(index as u16);
        }
    }
    order
}

fn protect(sender: &mut Sender, packet: &[u8]) -> Vec<u8> {
    let mut buffer = [packet, &[0; RTCP_GROWTH_BYTES_MAX]].concat();
    let length = sender.protect(&mut buffer, packet.len()).expect("the index is fresh");
    buffer.truncate(length);
    buffer
}

fn protect_rtcp(sender: &mut Sender, packet: &[u8]) -> Vec<u8> {
    let mut buffer = [packet, &[0; RTCP_GROWTH_BYTES_MAX]].concat();
    let length = sender.protect_rtcp(&mut buffer, packet.len()).expect("the index is fresh");
    buffer.truncate(length);
    buffer
}

fn unprotect(receiver: &mut Receiver, packet: &[u8]) -> Vec<u8> {
    let mut buffer = packet.to_vec();
    let length = receiver.unprotect(&mut buffer).expect("libsrtp's packet verifies");
    buffer.truncate(length);
    buffer
}

fn unprotect_rtcp(receiver: &mut Receiver, packet: &[u8]) -> Vec<u8> {
    let mut buffer = packet.to_vec();
    let length = receiver.unprotect_rtcp(&mut buffer).expect("libsrtp's packet verifies");
    buffer.truncate(length);
    buffer
}

/// One process-wide test: libsrtp's initialisation is not thread-safe.
#[test]
fn we_and_libsrtp_protect_and_unprotect_alike() {
    let library = Library::load();
    let seed = rand::random();
    println!("seed {seed}");
    let mut random = from_seed(seed);
    for profile in Profile::ALL {
        let key = random_bytes(&mut random, profile.key_bytes() + profile.salt_bytes());
        let master = MasterKey::from_bytes(profile, &key).expect("the profile's length");
        let ssrc = Ssrc(random.random());
        let mut sender = Sender::new(&master, ssrc);
        let mut receiver = Receiver::new(&master);
        let their_sender = library.session(profile, &key, SSRC_ANY_OUTBOUND);
        let their_receiver = library.session(profile, &key, SSRC_ANY_INBOUND);

        for (number, sequence_number) in random_order(&mut random).into_iter().enumerate() {
            let plain = random_rtp(&mut random, ssrc, sequence_number);
            let what = format!("{profile:?} packet {number}, sequence number {sequence_number}");
            let ours = protect(&mut sender, &plain);
            assert_eq!(their_sender.protect(&plain).as_ref(), Ok(&ours), "{what}");
            assert_eq!(their_receiver.unprotect(&ours).as_ref(), Ok(&plain), "{what}");
            assert_eq!(unprotect(&mut receiver, &ours), plain, "{what}");
        }
        assert!(sender.position().is_some_and(|position| position.roll_over_counter() > 0));

        for number in 0..REPORTS {
            let plain = random_rtcp(&mut random, ssrc);
            let what = format!("{profile:?} report {number}");
            let ours = protect_rtcp(&mut sender, &plain);
            assert_eq!(their_receiver.unprotect_rtcp(&ours).as_ref(), Ok(&plain), "{what}");
            let theirs = their_sender.protect_rtcp(&plain).expect(&what);
            assert_eq!(unprotect_rtcp(&mut receiver, &theirs), plain, "{what}");
        }
        either_side_is_resumed(
            &mut random,
            &master,
            sender,
            receiver,
            &their_sender,
            &their_receiver,
        );
        their_first_packets_are_lost(&mut random, library, &master, &key);
    }
}

/// Ours go on from snapshots some packets old; theirs notice nothing.
fn either_side_is_resumed(
    random: &mut Random,
    master: &MasterKey,
    mut sender: Sender,
    receiver: Receiver,
    their_sender: &Oracle,
    their_receiver: &Oracle,
) {
    let ssrc = sender.ssrc();
    let margin = Margin { packets: 300, reports: 5 };
    let next = |sender: &Sender| sender.position().expect("it has sent").sequence_number().next();
    let sent = sender.snapshot(next(&sender));
    let received = receiver.snapshot();
    for _ in 0..margin.packets {
        let SequenceNumber(number) = next(&sender);
        let plain = random_rtp(random, ssrc, number);
        let ours = protect(&mut sender, &plain);
        assert_eq!(their_receiver.unprotect(&ours).as_ref(), Ok(&plain));
        their_sender.protect(&plain).expect("their packet is lost");
    }
    for _ in 0..margin.reports {
        let plain = random_rtcp(random, ssrc);
        let ours = protect_rtcp(&mut sender, &plain);
        assert_eq!(their_receiver.unprotect_rtcp(&ours).as_ref(), Ok(&plain));
    }
    let mut sender = Sender::resume(master, &sent, margin).expect("there are indexes left");
    let mut receiver = Receiver::resume(master, &received).expect("its own snapshot");
    for number in 0..1_000 {
        let SequenceNumber(sequence_number) = next(&sender);
        let plain = random_rtp(random, ssrc, sequence_number);
        let ours = protect(&mut sender, &plain);
        assert_eq!(their_receiver.unprotect(&ours).as_ref(), Ok(&plain), "packet {number}");
        let theirs = their_sender.protect(&plain).expect("the index is fresh");
        assert_eq!(theirs, ours, "the same index");
        assert_eq!(unprotect(&mut receiver, &theirs), plain, "packet {number}");
        if number % 100 == 0 {
            let plain = random_rtcp(random, ssrc);
            let ours = protect_rtcp(&mut sender, &plain);
            assert_eq!(their_receiver.unprotect_rtcp(&ours).as_ref(), Ok(&plain));
            let theirs = their_sender.protect_rtcp(&plain).expect("the index is fresh");
            assert_eq!(unprotect_rtcp(&mut receiver, &theirs), plain);
        }
    }
}

/// Their sender passes the wrap, or half a round, before we hear it (again).
fn their_first_packets_are_lost(
    random: &mut Random,
    library: Library,
    master: &MasterKey,
    key: &[u8],
) {
    for (start, lost) in [(65_530u32, 10u32), (65_500, 50), (30_000, 40_000)] {
        let their_sender = library.session(master.profile(), key, SSRC_ANY_OUTBOUND);
        let mut receiver = Receiver::new(master);
        let ssrc = Ssrc(random.random());
        let mut hole = 0;
        for place in 0..lost + 40_000 {
            let number = (start + place) as u16;
            // Whole packets only where we listen: the tag of a lost one is nobody's concern.
            let listened = (lost..lost + 10).contains(&place) || place >= lost + 39_900;
            let plain = random_rtp(random, ssrc, number);
            let theirs = their_sender.protect(&plain).expect("the index is fresh");
            if listened {
                assert_eq!(
                    unprotect(&mut receiver, &theirs),
                    plain,
                    "{start}, {lost} lost: {place}"
                );
            }
            hole += u32::from(!listened);
        }
        assert!(hole > 1 << 15);
    }
}
