//! Any packet, to receivers of all profiles: without a good tag nothing is accepted, and nothing that
//! was accepted once is accepted again, not even by a receiver that is resumed from a snapshot. And any
//! RTP or RTCP, protected and unprotected, comes out as it went in.

use linecard::srtp::keys::{MasterKey, Profile};
use linecard::srtp::protect::{RTCP_GROWTH_BYTES_MAX, Receiver, Sender};
use linecard::wire::rtp::Ssrc;

/// One input.
pub fn run(packet: &[u8]) {
    for profile in Profile::ALL {
        let key = vec![7; profile.key_bytes() + profile.salt_bytes()];
        let master = MasterKey::from_bytes(profile, &key).expect("the profile's length");
        let mut receiver = Receiver::new(&master);
        assert!(receiver.unprotect(&mut packet.to_vec()).is_err(), "a forged packet");
        assert!(receiver.unprotect_rtcp(&mut packet.to_vec()).is_err(), "a forged report");

        let room = || [packet, &[0; RTCP_GROWTH_BYTES_MAX]].concat();
        let word = |at| packet.get(at..at + 4).and_then(|word| word.try_into().ok());
        if let Some(ssrc) = word(8).map(u32::from_be_bytes) {
            let mut sender = Sender::new(&master, Ssrc(ssrc));
            let mut buffer = room();
            if let Ok(length) = sender.protect(&mut buffer, packet.len()) {
                let sealed = buffer[..length].to_vec();
                let plain = receiver.unprotect(&mut buffer[..length]);
                assert_eq!(plain.map(|length| &buffer[..length]), Ok(packet));
                let resumed = Receiver::resume(&master, &receiver.snapshot());
                let mut resumed = resumed.expect("its own snapshot");
                assert!(receiver.unprotect(&mut sealed.clone()).is_err(), "a replayed packet");
                assert!(resumed.unprotect(&mut sealed.clone()).is_err(), "a replayed packet");
            }
        }
        if let Some(ssrc) = word(4).map(u32::from_be_bytes) {
            let mut sender = Sender::new(&master, Ssrc(ssrc));
            let mut buffer = room();
            if let Ok(length) = sender.protect_rtcp(&mut buffer, packet.len()) {
                let plain = receiver.unprotect_rtcp(&mut buffer[..length]);
                assert_eq!(plain.map(|length| &buffer[..length]), Ok(packet));
            }
        }
    }
}
