//! Any SDP, as each of the four things it may be: it parses or is refused; whatever is agreed on can
//! be answered, and the answer has as many lines as the offer and accepts the same one of them.

use std::net::SocketAddr;

use linecard::wire::coding::Codec;
use linecard::wire::sdp::{
    BrowserAnswer, BrowserOffer, BrowserSide, ComfortNoise, Direction, DtlsRole, Fingerprint,
    FingerprintHash, IceMode, IceParameters, OpusWish, Session, TrunkAnswer, TrunkOffer, TrunkSide,
    author_browser_answer, author_trunk_answer,
};

use crate::text_of;

const CODECS: [Codec; 3] = [Codec::Opus, Codec::Pcmu, Codec::Pcma];
const SESSION: Session = Session { id: 1, version: 1 };

/// One input.
pub fn run(bytes: &[u8]) {
    let sdp = text_of(bytes);
    if let Ok(offer) = BrowserOffer::parse(sdp) {
        answer_browser(&offer);
    }
    if let Ok(offer) = TrunkOffer::parse(sdp) {
        answer_trunk(&offer);
    }
    if let Ok(answer) = BrowserAnswer::parse(sdp) {
        let _ = answer.agree(&CODECS);
    }
    if let Ok(answer) = TrunkAnswer::parse(sdp) {
        for noise in [ComfortNoise::Offered, ComfortNoise::NotOffered] {
            let _ = answer.agree(&CODECS, noise);
        }
    }
}

fn answer_browser(offer: &BrowserOffer) {
    let Ok(agreement) = offer.agree(&CODECS) else { return };
    let ice = IceParameters {
        ufrag: "abcd".to_owned(),
        password: "0123456789012345678901".to_owned(),
        mode: IceMode::Lite,
    };
    let fingerprint = Fingerprint::new(FingerprintHash::Sha256, &[7; 32]).expect("32 bytes");
    let address = SocketAddr::from(([192, 0, 2, 1], 40_000));
    let side = BrowserSide { session: SESSION, address, ice: &ice, fingerprint: &fingerprint };
    let role = offer.our_role(DtlsRole::Passive);
    let answer = author_browser_answer(offer, &side, role, &agreement, OpusWish::Narrowband);
    let read = BrowserOffer::parse(&answer).expect("what is written parses");
    assert_eq!((read.lines.len(), read.audio_index), (offer.lines.len(), offer.audio_index));
}

fn answer_trunk(offer: &TrunkOffer) {
    let Ok(agreement) = offer.agree(&CODECS) else { return };
    let side = TrunkSide {
        session: SESSION,
        rtp: ([192, 0, 2, 1], 4000).into(),
        rtcp: ([192, 0, 2, 1], 4001).into(),
        wanted: Direction::SendReceive,
    };
    let answer = author_trunk_answer(offer, &side, &agreement);
    let read = TrunkOffer::parse(&answer).expect("what is written parses");
    assert_eq!((read.lines.len(), read.audio_index), (offer.lines.len(), offer.audio_index));
}
