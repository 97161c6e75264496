//! The media of a leg toward a trunk: plain RTP and G.711, our offer or our answer, and what the
//! media process is to be told about the far end (RFC 3264).
//!
//! In: the trunk's SDP. Out: our SDP and changes of the media leg. The dialog around it belongs to
//! the call.

use std::net::{IpAddr, SocketAddr};

use serde::{Deserialize, Serialize};

use crate::base::random::Random;
use crate::config::TrunkTerms;
use crate::control::message::{
    Codec, Direction, Format, LegChange, LegParameters, LocalAddresses, PlainTransport, Source,
    Spacing, Transport,
};
use crate::signal::media_leg::{direction_of, format_of};
use crate::wire::sdp::{
    ComfortNoise, Refusal, Session, TrunkAnswer, TrunkAudio, TrunkOffer, TrunkSide,
    author_trunk_answer, author_trunk_offer,
};

/// The media of a leg toward a trunk. It serialises: that is its part of the call's blob.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TrunkMedia {
    session: Session,
    codecs: Vec<Codec>,
    #[serde(default)]
    playout: Spacing,
    #[serde(default)]
    comfort_noise: ComfortNoise,
    /// Where its media may turn out to come from.
    #[serde(default)]
    source: Source,
    local: Option<LocalAddresses>,
    remote: Option<SocketAddr>,
    remote_rtcp: Option<SocketAddr>,
    format: Option<Format>,
    #[serde(default)]
    direction: Direction,
    description: Option<String>,
    /// The trunk's offer, until it is answered.
    #[serde(skip)]
    offer: Option<TrunkOffer>,
}

impl TrunkMedia {
    /// A leg whose trunk made an offer.
    pub fn offered(sdp: &str, terms: TrunkTerms, random: &mut Random) -> Result<Self, Refusal> {
        let offer = TrunkOffer::parse(sdp)?;
        let mut media = Self::offering(terms, random);
        media.format = Some(format_of(&offer.agree(&media.codecs)?, media.playout));
        media.take_audio(&offer.audio);
        media.offer = Some(offer);
        Ok(media)
    }

    /// A leg on which we make the offer: toward a trunk, or in the 200 to an INVITE without SDP.
    pub fn offering(terms: TrunkTerms, random: &mut Random) -> Self {
        let TrunkTerms { codecs, playout, comfort_noise, source } = terms;
        Self {
            session: Session::new(random),
            codecs,
            playout,
            comfort_noise,
            source,
            local: None,
            remote: None,
            remote_rtcp: None,
            format: None,
            direction: Direction::default(),
            description: None,
            offer: None,
        }
    }

    /// The leg as the media process is to make it.
    pub fn leg_parameters(&self) -> LegParameters {
        let transport = Transport::Plain(PlainTransport {
            remote: self.remote,
            remote_rtcp: self.remote_rtcp,
            local: None,
            source: self.source.clone(),
        });
        LegParameters {
            format: self.format.clone(),
            direction: self.direction,
            ..LegParameters::new(transport)
        }
    }

    /// Where the trunk is, and which way its audio goes, as its SDP says.
    fn take_audio(&mut self, audio: &TrunkAudio) {
        self.remote = audio.remote;
        self.remote_rtcp = audio.remote_rtcp;
        self.direction = direction_of(audio.direction);
    }

    /// The media process gave the leg its addresses: our SDP can be written.
    pub fn reserved(&mut self, local: LocalAddresses) {
        self.local = Some(local);
        self.describe();
    }

    /// The next trunk is tried, which may have other terms.
    pub fn offer_again(&mut self, terms: TrunkTerms, random: &mut Random) {
        let local = self.local;
        *self = Self { local, ..Self::offering(terms, random) };
        self.describe();
    }

    fn describe(&mut self) {
        let Some(LocalAddresses { rtp, rtcp }) = self.local else { return };
        let side = TrunkSide { session: self.session, rtp, rtcp };
        self.description = match self.offer.take() {
            // It agreed when it came and has not changed since.
            Some(offer) => offer
                .agree(&self.codecs)
                .ok()
                .map(|agreement| author_trunk_answer(&offer, &side, &agreement)),
            None => Some(author_trunk_offer(&side, &self.codecs, self.comfort_noise)),
        };
    }

    /// Our SDP: the same bytes in every message of this leg.
    pub fn description(&self) -> Option<&str> {
        self.description.as_deref()
    }

    /// The trunk answered our offer, in a 18x, in a 200 or in an ACK. A later answer replaces an
    /// earlier one: media follows the newest early dialog.
    pub fn answered(&mut self, sdp: &str) -> Result<LegChange, Refusal> {
        let answer = TrunkAnswer::parse(sdp)?;
        let agreement = answer.agree(&self.codecs, self.comfort_noise)?;
        self.format = Some(format_of(&agreement, self.playout));
        let before = (self.remote, self.remote_rtcp);
        self.take_audio(&answer.audio);
        // The 200 mostly says what the 183 said. To name an address again would take back what media
        // has learnt since.
        let is_elsewhere = before != (self.remote, self.remote_rtcp);
        Ok(LegChange {
            remote: self.remote.filter(|_| is_elsewhere),
            remote_rtcp: self.remote_rtcp.filter(|_| is_elsewhere),
            // Another trunk's terms may have gone before.
            source: Some(self.source.clone()),
            format: self.format.clone(),
            direction: Some(self.direction),
            ..LegChange::default()
        })
    }

    /// Where its RTP comes from by its SDP.
    pub fn remote(&self) -> Option<SocketAddr> {
        self.remote
    }

    /// Whether its terms let it be heard from there.
    pub fn may_be_at(&self, address: IpAddr) -> bool {
        match &self.source {
            Source::Exact => false,
            Source::Within(within) => within.prefixes.iter().any(|one| one.contains(address)),
        }
    }

    /// Whether an offer inside the call changes nothing: the same place, the same codec, the same
    /// ways open. Carriers send such re-INVITEs to see whether we are alive.
    pub fn is_refreshed_by(&self, sdp: &str) -> bool {
        let (Ok(offer), Some(format)) = (TrunkOffer::parse(sdp), &self.format) else {
            return false;
        };
        offer.audio.remote == self.remote
            && direction_of(offer.audio.direction) == self.direction
            && offer.agree(&self.codecs).is_ok_and(|agreed| agreed.send == format.send.coding)
    }

    /// The codec, once agreed.
    pub fn codec(&self) -> Option<Codec> {
        self.format.as_ref().map(|format| format.send.coding.codec)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::random;
    use crate::control::message::SourcePrefixes;

    const SDP: &str = "v=0\r\no=- 1 1 IN IP4 198.51.100.7\r\ns=-\r\nc=IN IP4 198.51.100.7\r\n\
        t=0 0\r\nm=audio 20000 RTP/AVP 0\r\na=sendrecv\r\n";

    fn terms(source: Source) -> TrunkTerms {
        TrunkTerms { source, ..TrunkTerms::default() }
    }

    fn within(prefix: &str) -> Source {
        Source::Within(SourcePrefixes { prefixes: vec![prefix.parse().unwrap()] })
    }

    fn transport(media: &TrunkMedia) -> PlainTransport {
        match media.leg_parameters().transport {
            Transport::Plain(plain) => plain,
            Transport::Ice(_) => panic!("a trunk has no ICE"),
        }
    }

    #[test]
    fn a_trunk_is_heard_by_its_terms_whoever_offers_and_the_next_one_by_its_own() {
        let mut random = random::from_seed(1);
        let (near, far) = (within("198.51.100.0/24"), within("203.0.113.9"));
        for source in [Source::Exact, near.clone()] {
            let caller = TrunkMedia::offered(SDP, terms(source.clone()), &mut random).unwrap();
            assert_eq!(transport(&caller).source, source);
            let callee = TrunkMedia::offering(terms(source.clone()), &mut random);
            assert_eq!(transport(&callee).source, source);
        }
        let mut media = TrunkMedia::offering(terms(near.clone()), &mut random);
        assert_eq!(media.answered(SDP).unwrap().source, Some(near));
        assert!(media.may_be_at("198.51.100.200".parse().unwrap()));
        for next in [far, Source::Exact] {
            media.offer_again(terms(next.clone()), &mut random);
            let change = media.answered(SDP).unwrap();
            assert_eq!((change.source, change.remote), (Some(next), media.remote()));
            assert!(!media.may_be_at("198.51.100.200".parse().unwrap()));
        }
    }

    #[test]
    fn an_answer_that_is_repeated_does_not_take_back_what_media_learnt_and_a_new_one_counts() {
        let mut media =
            TrunkMedia::offering(terms(within("198.51.100.0/24")), &mut random::from_seed(1));
        let first = media.answered(SDP).unwrap();
        assert_eq!(first.remote, Some("198.51.100.7:20000".parse().unwrap()));
        let repeated = media.answered(SDP).unwrap();
        assert_eq!((repeated.remote, repeated.remote_rtcp), (None, None));
        let elsewhere = SDP.replace("20000", "30000");
        let moved = media.answered(&elsewhere).unwrap();
        assert_eq!(moved.remote, Some("198.51.100.7:30000".parse().unwrap()));
        let rtcp = media.answered(&format!("{elsewhere}a=rtcp:40000\r\n")).unwrap();
        assert_eq!(rtcp.remote, moved.remote);
        assert_eq!(rtcp.remote_rtcp, Some("198.51.100.7:40000".parse().unwrap()));
        assert_eq!(media.answered(SDP).unwrap().remote, first.remote);
    }

    #[test]
    fn media_obeys_the_direction_of_an_offer_and_of_an_answer() {
        let mut random = random::from_seed(1);
        for (theirs, wanted) in [
            ("sendrecv", Direction::SendRecv),
            ("sendonly", Direction::RecvOnly),
            ("recvonly", Direction::SendOnly),
            ("inactive", Direction::Inactive),
        ] {
            let sdp = SDP.replace("sendrecv", theirs);
            let offered = TrunkMedia::offered(&sdp, TrunkTerms::default(), &mut random).unwrap();
            assert_eq!(offered.leg_parameters().direction, wanted, "{theirs}");
            let mut offering = TrunkMedia::offering(TrunkTerms::default(), &mut random);
            assert_eq!(offering.leg_parameters().direction, Direction::SendRecv);
            assert_eq!(offering.answered(&sdp).unwrap().direction, Some(wanted), "{theirs}");
            // What held from the beginning is no change when it is said again; the end of it is.
            assert!(offered.is_refreshed_by(&sdp) && offering.is_refreshed_by(&sdp));
            let other =
                SDP.replace("sendrecv", if theirs == "sendrecv" { "sendonly" } else { "sendrecv" });
            assert!(!offered.is_refreshed_by(&other) && !offering.is_refreshed_by(&other));
        }
        let held = SDP.replace("c=IN IP4 198.51.100.7", "c=IN IP4 0.0.0.0");
        let held = TrunkMedia::offered(&held, TrunkTerms::default(), &mut random).unwrap();
        assert_eq!(held.leg_parameters().direction, Direction::RecvOnly);
    }
}
