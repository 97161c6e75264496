//! Any SDP, as each of the four things it may be: it parses or is refused, and the answer that we
//! write to a trunk's offer can be read.
#![no_main]

use libfuzzer_sys::fuzz_target;
use linecard::wire::coding::Codec;
use linecard::wire::sdp::{
    BrowserAnswer, BrowserOffer, Session, TrunkAnswer, TrunkOffer, TrunkSide, author_trunk_answer,
};

const CODECS: [Codec; 3] = [Codec::Opus, Codec::Pcmu, Codec::Pcma];

fuzz_target!(|sdp: &str| {
    if let Ok(offer) = BrowserOffer::parse(sdp) {
        let _ = offer.agree(&CODECS);
    }
    if let Ok(answer) = BrowserAnswer::parse(sdp) {
        let _ = answer.agree(&CODECS);
    }
    if let Ok(answer) = TrunkAnswer::parse(sdp) {
        let _ = answer.agree(&CODECS);
    }
    let Ok(offer) = TrunkOffer::parse(sdp) else { return };
    let Ok(agreement) = offer.agree(&CODECS) else { return };
    let side = TrunkSide {
        session: Session { id: 1, version: 1 },
        rtp: ([192, 0, 2, 1], 4000).into(),
        rtcp: ([192, 0, 2, 1], 4001).into(),
    };
    let answer = author_trunk_answer(&offer, &side, &agreement);
    TrunkAnswer::parse(&answer).expect("what is written parses");
});
