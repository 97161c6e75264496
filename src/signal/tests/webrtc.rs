//! The browser's half of ICE, DTLS and SRTP.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Mutex;
use std::time::{Duration, Instant};

use crate::dtls::{self, Certificate, Handshake, Keys};
use crate::srtp::keys::MasterKey;
use crate::srtp::protect::{Receiver, Sender};
use crate::wire::demux::{Protocol, classify};
use crate::wire::rtp::{RtpHeader, RtpPacket};
use crate::wire::sdp::{BrowserAudio, BrowserOffer, DtlsRole};
use crate::wire::stun::{
    BindingRequest, Class, Message, Role, TransactionId, write_binding_request,
    write_binding_success,
};

/// The ICE password of every browser.
const PASSWORD: &str = "ZM3aZzdTZpOBwdZ07yujJMlz";
/// Between two checks of a path that works (RFC 7675 §5.1).
const CONSENT_ASKED_EVERY: Duration = Duration::from_secs(5);

pub struct WebRtc {
    pub address: SocketAddr,
    pub ufrag: String,
    pub is_connected: bool,
    /// Gives its handshake up with this fatal alert (RFC 5246 §7.2) once it has heard ours.
    pub gives_up: Option<u8>,
    /// Whether it leaves DTLS unanswered.
    pub is_deaf: bool,
    /// Whether it begins a handshake when its check has succeeded.
    pub shakes_hands: bool,
    /// Whether its checks nominate.
    pub nominates: bool,
    /// Whether it has vanished: it neither hears nor says anything.
    pub is_gone: bool,
    /// RTP that it could open.
    pub heard: Vec<(RtpHeader, Vec<u8>)>,
    certificate: Certificate,
    remote: Option<Remote>,
    handshake: Option<Handshake>,
    /// Whether this association's handshake has begun; a browser begins it once.
    has_begun: bool,
    keys: Option<(MasterKey, Receiver)>,
    sender: Option<Sender>,
    /// When its consent to our sending is renewed.
    next_check: Option<Instant>,
    outputs: Vec<Vec<u8>>,
}

/// What a browser knows of us.
#[derive(Clone)]
pub struct Remote {
    pub audio: BrowserAudio,
    /// Our candidate.
    pub address: SocketAddr,
}

impl Remote {
    /// An offer and an answer have the same form.
    fn of(sdp: &str) -> Self {
        let candidate = sdp.lines().find_map(|line| line.strip_prefix("a=candidate:")).unwrap();
        let fields: Vec<&str> = candidate.split(' ').collect();
        let address = SocketAddr::new(fields[4].parse().unwrap(), fields[5].parse().unwrap());
        Self { audio: BrowserOffer::parse(sdp).unwrap().audio, address }
    }
}

/// A certificate by the name of who has it: the same in every world, so that worlds repeat.
pub fn certificate_of(name: &str) -> Certificate {
    static MADE: Mutex<BTreeMap<String, Certificate>> = Mutex::new(BTreeMap::new());
    let mut made = MADE.lock().unwrap();
    let certificate =
        made.entry(name.to_owned()).or_insert_with(|| Certificate::generate().unwrap());
    certificate.clone()
}

impl WebRtc {
    pub fn new(address: SocketAddr, number: u64) -> Self {
        Self {
            address,
            ufrag: format!("br{number:02}"),
            is_connected: false,
            gives_up: None,
            is_deaf: false,
            shakes_hands: true,
            nominates: true,
            is_gone: false,
            heard: Vec::new(),
            certificate: certificate_of(&format!("browser {number}")),
            remote: None,
            handshake: None,
            has_begun: false,
            keys: None,
            sender: None,
            next_check: None,
            outputs: Vec::new(),
        }
    }

    /// A browser's SDP as far as it matters here, `setup` being `actpass` or `active`.
    pub fn sdp(&self, setup: &str) -> String {
        format!(
            "v=0\r\no=- 1 2 IN IP4 127.0.0.1\r\ns=-\r\nt=0 0\r\na=group:BUNDLE 0\r\n\
             m=audio 9 UDP/TLS/RTP/SAVPF 111 0 8 110 126\r\nc=IN IP4 0.0.0.0\r\n\
             a=rtcp:9 IN IP4 0.0.0.0\r\na=ice-ufrag:{}\r\na=ice-pwd:{PASSWORD}\r\n\
             a=fingerprint:{}\r\na=setup:{setup}\r\na=mid:0\r\na=sendrecv\r\na=rtcp-mux\r\n\
             a=rtpmap:111 opus/48000/2\r\na=fmtp:111 minptime=10;useinbandfec=1\r\n\
             a=rtpmap:0 PCMU/8000\r\na=rtpmap:8 PCMA/8000\r\n\
             a=rtpmap:110 telephone-event/48000\r\na=rtpmap:126 telephone-event/8000\r\n",
            self.ufrag,
            self.certificate.fingerprint()
        )
    }

    /// Takes our SDP and starts a nominating check.
    pub fn take(&mut self, sdp: &str) {
        self.remote = Some(Remote::of(sdp));
        self.check();
    }

    /// What it knows of us.
    pub fn remote(&self) -> Remote {
        self.remote.clone().unwrap()
    }

    /// Sends a check with what another of the browser's interfaces knows of us.
    pub fn check_with(&mut self, remote: Remote) {
        self.remote = Some(remote);
        self.check();
    }

    /// Another call, another association: the checks of the old one cease.
    pub fn start_over(&mut self) {
        self.handshake = None;
        self.has_begun = false;
        self.next_check = None;
        self.keys = None;
        self.sender = None;
        self.is_connected = false;
    }

    /// Shows another certificate than the one in its SDP.
    pub fn show_another_certificate(&mut self) {
        self.certificate = Certificate::generate().unwrap();
    }

    /// Sends a check, a nominating one if it nominates, from wherever the browser is now.
    pub fn check(&mut self) {
        let remote = &self.remote.as_ref().unwrap().audio;
        let username = format!("{}:{}", remote.ice.ufrag, self.ufrag);
        let check = BindingRequest {
            transaction_id: TransactionId([7; 12]),
            username: &username,
            priority: 1,
            role: Role::Controlling(1),
            use_candidate: self.nominates,
        };
        let mut datagram = [0; 256];
        let key = remote.ice.password.as_bytes();
        let length = write_binding_request(&mut datagram, &check, key).unwrap();
        self.outputs.push(datagram[..length].to_vec());
    }

    /// Says an RTP packet of the only source that it has.
    pub fn say(&mut self, packet: &[u8]) {
        let ssrc = RtpPacket::parse(packet).unwrap().header.ssrc;
        let (key, _) = self.keys.as_ref().expect("no keys yet");
        let sender = self.sender.get_or_insert_with(|| Sender::new(key, ssrc));
        let mut buffer = [0; 1_500];
        buffer[..packet.len()].copy_from_slice(packet);
        let length = sender.protect(&mut buffer, packet.len()).unwrap();
        self.outputs.push(buffer[..length].to_vec());
    }

    /// A datagram of ours.
    pub fn receive(&mut self, datagram: &[u8], now: Instant) {
        if self.is_gone {
            return;
        }
        match classify(datagram).unwrap() {
            Protocol::Stun => self.receive_stun(datagram, now),
            // Nor does it hear the end of it.
            Protocol::Dtls if self.is_deaf => {}
            Protocol::Dtls => self.receive_dtls(datagram, now),
            Protocol::Rtp => self.receive_rtp(datagram),
            Protocol::Rtcp => {
                if let Some((_, receiver)) = &mut self.keys {
                    receiver.unprotect_rtcp(&mut datagram.to_vec()).unwrap();
                }
            }
        }
    }

    fn receive_stun(&mut self, datagram: &[u8], now: Instant) {
        let message = Message::parse(datagram).unwrap();
        match message.class {
            // A full agent answers (RFC 8445 §7.3).
            Class::Request => {
                let mut answer = [0; 128];
                let key = PASSWORD.as_bytes();
                let length = write_binding_success(&mut answer, &message, self.address, key);
                self.outputs.push(answer[..length.unwrap()].to_vec());
            }
            Class::Success => {
                self.next_check = Some(now + CONSENT_ASKED_EVERY);
                self.begin_handshake(now);
            }
            Class::Error | Class::Indication => {}
        }
    }

    fn begin_handshake(&mut self, now: Instant) {
        if !self.shakes_hands || std::mem::replace(&mut self.has_begun, true) {
            return;
        }
        let mut handshake = match self.gives_up {
            // In 1.3 the alert would have to be encrypted.
            Some(_) => Handshake::active_in_dtls_12(&self.certificate, now),
            None => Handshake::new(DtlsRole::Active, &self.certificate, now),
        };
        handshake.expect(&self.remote().audio.fingerprints);
        self.handshake = Some(handshake);
    }

    fn receive_dtls(&mut self, datagram: &[u8], now: Instant) {
        if let Some(alert) = self.gives_up {
            self.handshake = None;
            self.outputs.push(vec![21, 254, 253, 0, 0, 0, 0, 0, 0, 0, 9, 0, 2, 2, alert]);
        } else if let Some(handshake) = &mut self.handshake {
            handshake.handle_datagram(datagram, now);
        }
    }

    fn receive_rtp(&mut self, datagram: &[u8]) {
        let Some((_, receiver)) = &mut self.keys else { return };
        let mut packet = datagram.to_vec();
        let length = receiver.unprotect(&mut packet).unwrap();
        let packet = RtpPacket::parse(&packet[..length]).unwrap();
        self.heard.push((packet.header, packet.payload.to_vec()));
    }

    /// What it sends, all to our candidate.
    pub fn poll_outputs(&mut self) -> Vec<Vec<u8>> {
        while let Some(output) = self.handshake.as_mut().and_then(Handshake::poll_output) {
            match output {
                dtls::Output::Send(datagram) => self.outputs.push(datagram),
                dtls::Output::Connected(keys) => self.secured(&keys),
                dtls::Output::Failed(failure) => panic!("{failure:?}"),
            }
        }
        if self.is_gone {
            self.outputs.clear();
        }
        std::mem::take(&mut self.outputs)
    }

    fn secured(&mut self, keys: &Keys) {
        let key = |bytes| MasterKey::from_bytes(keys.profile, bytes).unwrap();
        self.keys = Some((key(&keys.send), Receiver::new(&key(&keys.receive))));
        self.is_connected = true;
    }

    pub fn next_timeout(&self) -> Option<Instant> {
        let handshake = self.handshake.as_ref().and_then(Handshake::next_timeout);
        handshake.into_iter().chain(self.next_check).filter(|_| !self.is_gone).min()
    }

    pub fn handle_timeout(&mut self, now: Instant) {
        if let Some(handshake) = &mut self.handshake {
            handshake.handle_timeout(now);
        }
        if self.next_check.is_some_and(|at| at <= now) {
            self.next_check = Some(now + CONSENT_ASKED_EVERY);
            self.check();
        }
    }
}
