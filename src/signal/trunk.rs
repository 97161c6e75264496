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
    self, Agreement, ComfortNoise, Refusal, Session, TrunkAnswer, TrunkAudio, TrunkOffer,
    TrunkSide, author_trunk_answer, author_trunk_offer,
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
    /// Whether digits are listened for in its audio where it has no events.
    #[serde(default)]
    hears_tones: bool,
    /// Where our media is: an address of another family cannot be reached.
    #[serde(default)]
    ours: Option<IpAddr>,
    /// Where its media may turn out to come from.
    #[serde(default)]
    source: Source,
    local: Option<LocalAddresses>,
    remote: Option<SocketAddr>,
    remote_rtcp: Option<SocketAddr>,
    format: Option<Format>,
    #[serde(default)]
    direction: Direction,
    /// Whether we hold it, because the browser does and its terms pass that on.
    #[serde(default)]
    is_held: bool,
    description: Option<String>,
    /// What it answered before it took the call, the last of it.
    #[serde(skip)]
    early_answer: Option<String>,
    /// The trunk's offer, until it is answered.
    #[serde(skip)]
    offer: Option<TrunkOffer>,
}

impl TrunkMedia {
    /// A leg whose trunk made an offer.
    pub fn offered(sdp: &str, terms: TrunkTerms, random: &mut Random) -> Result<Self, Refusal> {
        let offer = TrunkOffer::parse_for(terms.ours, sdp)?;
        let mut media = Self::offering(terms, random);
        media.format = Some(media.format_of(&offer.agree(&media.codecs)?));
        media.take_audio(&offer.audio);
        media.offer = Some(offer);
        Ok(media)
    }

    /// A leg on which we make the offer: toward a trunk, or in the 200 to an INVITE without SDP.
    pub fn offering(terms: TrunkTerms, random: &mut Random) -> Self {
        let TrunkTerms { codecs, playout, comfort_noise, hears_tones, ours, source } = terms;
        Self {
            session: Session::new(random),
            codecs,
            playout,
            comfort_noise,
            hears_tones,
            ours,
            source,
            local: None,
            remote: None,
            remote_rtcp: None,
            format: None,
            direction: Direction::default(),
            is_held: false,
            description: None,
            early_answer: None,
            offer: None,
        }
    }

    fn format_of(&self, agreement: &Agreement) -> Format {
        let format = format_of(agreement, self.playout);
        let receive_tones = self.hears_tones && format.receive_events.is_empty();
        Format { receive_tones, ..format }
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
        self.direction = direction_of(audio.direction.reversed().within(self.wanted()).reversed());
    }

    /// Which way we want audio to go: a trunk that is held is sent silence.
    fn wanted(&self) -> sdp::Direction {
        if self.is_held { sdp::Direction::SendOnly } else { sdp::Direction::SendReceive }
    }

    /// Holds the trunk, or resumes: our SDP is the offer that says so. [`Self::answered`] takes the
    /// answer.
    pub fn hold(&mut self, is_held: bool) {
        self.is_held = is_held;
        self.describe_anew(None);
    }

    /// Whether we hold it.
    pub fn is_held(&self) -> bool {
        self.is_held
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
        let Some(local) = self.local else { return };
        let offer = self.offer.take();
        self.description = self.description_of(local, offer.as_ref());
    }

    /// Our answer to their offer, or our offer, in the words of this version of the session.
    fn description_of(&self, local: LocalAddresses, offer: Option<&TrunkOffer>) -> Option<String> {
        let LocalAddresses { rtp, rtcp } = local;
        let side = TrunkSide { session: self.session, rtp, rtcp, wanted: self.wanted() };
        match offer {
            // It agreed when it came and has not changed since.
            Some(offer) => {
                let agreement = offer.agree(&self.codecs).ok()?;
                Some(author_trunk_answer(offer, &side, &agreement))
            }
            None => Some(author_trunk_offer(&side, &self.codecs, self.comfort_noise)),
        }
    }

    /// The trunk makes an offer inside the call. What changes in the media leg is told, which is
    /// nothing when the offer says what was agreed on before: then our SDP stays as it was, version
    /// and all (RFC 3264 §8). A refused offer changes nothing.
    pub fn offered_anew(&mut self, sdp: &str) -> Result<LegChange, Refusal> {
        let offer = TrunkOffer::parse_for(self.ours, sdp)?;
        let mut next = self.clone();
        next.format = Some(next.format_of(&offer.agree(&next.codecs)?));
        next.move_to(&offer.audio);
        next.describe_anew(Some(&offer));
        let change = self.change_to(&next);
        *self = next;
        Ok(change)
    }

    /// We make an offer inside the call because the trunk made none: everything that we can do, as in
    /// a new call (RFC 3261 §14.2). [`Self::answered`] takes the answer.
    pub fn offer_anew(&mut self) {
        self.describe_anew(None);
    }

    /// Our SDP for this moment: another version only if it says something else.
    fn describe_anew(&mut self, offer: Option<&TrunkOffer>) {
        let Some(local) = self.local else { return };
        if self.description_of(local, offer) != self.description {
            self.session.version += 1;
            self.description = self.description_of(local, offer);
        }
    }

    /// Takes over where the trunk is. One that holds by `c=0.0.0.0` is where it was.
    fn move_to(&mut self, audio: &TrunkAudio) {
        let before = (self.remote, self.remote_rtcp);
        self.take_audio(audio);
        if self.remote.is_none() {
            (self.remote, self.remote_rtcp) = before;
        }
    }

    /// What the media process is to change. To name an address again would take back what it has
    /// learnt since.
    fn change_to(&self, next: &Self) -> LegChange {
        let is_elsewhere = (self.remote, self.remote_rtcp) != (next.remote, next.remote_rtcp);
        LegChange {
            remote: next.remote.filter(|_| is_elsewhere),
            remote_rtcp: next.remote_rtcp.filter(|_| is_elsewhere),
            format: next.format.clone().filter(|_| self.format != next.format),
            direction: (self.direction != next.direction).then_some(next.direction),
            ..LegChange::default()
        }
    }

    /// Our SDP: the same bytes in every message of this leg.
    pub fn description(&self) -> Option<&str> {
        self.description.as_deref()
    }

    /// The trunk answered our offer, in a 18x, in a 200 or in an ACK. A later answer replaces an
    /// earlier one: media follows the newest early dialog. A refused answer changes nothing.
    pub fn answered(&mut self, sdp: &str) -> Result<LegChange, Refusal> {
        let answer = TrunkAnswer::parse_for(self.ours, sdp)?;
        let agreement = answer.agree(&self.codecs, self.comfort_noise)?;
        let mut next = self.clone();
        next.format = Some(next.format_of(&agreement));
        next.move_to(&answer.audio);
        let mut change = self.change_to(&next);
        if self.format.is_none() {
            // Another trunk's terms may have gone before.
            change.source = Some(next.source.clone());
            change.direction = Some(next.direction);
        }
        *self = next;
        Ok(change)
    }

    /// The same before the trunk has taken the call: it may be said again in the 200.
    pub fn answered_early(&mut self, sdp: &str) -> Result<LegChange, Refusal> {
        let change = self.answered(sdp)?;
        self.early_answer = Some(sdp.to_owned());
        Ok(change)
    }

    /// In the 200: what was said before already has been done, and what the trunk has changed since by an
    /// UPDATE stays (RFC 3264 §8: the same `o=` is the same description, said late).
    pub fn answered_finally(&mut self, sdp: &str) -> Result<LegChange, Refusal> {
        match self.early_answer.take() {
            Some(early) if early == sdp => Ok(LegChange::default()),
            _ => self.answered(sdp),
        }
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

    /// Whether it takes telephone events.
    pub fn takes_events(&self) -> bool {
        self.format.as_ref().is_some_and(|format| format.send_events.is_some())
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

    fn talking() -> TrunkMedia {
        let mut media = TrunkMedia::offering(TrunkTerms::default(), &mut random::from_seed(1));
        media.reserved(LocalAddresses {
            rtp: "192.0.2.10:30000".parse().unwrap(),
            rtcp: "192.0.2.10:30001".parse().unwrap(),
        });
        media.answered(SDP).unwrap();
        // Its first offer is answered: from now on there is a description that answers.
        media.offered_anew(SDP).unwrap();
        media
    }

    #[test]
    fn an_offer_that_says_nothing_new_leaves_our_sdp_byte_for_byte() {
        let mut media = talking();
        let before = media.clone();
        for version in ["1 1", "1 2", "7 9"] {
            let sdp = SDP.replace("o=- 1 1", &format!("o=- {version}"));
            assert_eq!(media.offered_anew(&sdp).unwrap(), LegChange::default());
            assert_eq!(media, before);
        }
    }

    #[test]
    fn whatever_an_offer_changes_is_told_and_makes_a_new_version() {
        for (what, with) in [
            ("20000 RTP/AVP 0", "20002 RTP/AVP 0"),
            ("c=IN IP4 198.51.100.7", "c=IN IP4 198.51.100.8"),
            ("RTP/AVP 0", "RTP/AVP 8"),
            ("RTP/AVP 0\r\n", "RTP/AVP 0 96\r\na=rtpmap:96 telephone-event/8000\r\n"),
            ("a=sendrecv", "a=ptime:30"),
            ("a=sendrecv", "a=inactive"),
            ("a=sendrecv", "a=rtcp:20009"),
        ] {
            let mut media = talking();
            let before = media.clone();
            let change = media.offered_anew(&SDP.replacen(what, with, 1)).unwrap();
            assert_ne!(change, LegChange::default(), "{with}");
            // Where the trunk is stands in its own SDP only.
            let says_more = change.format.is_some() || change.direction.is_some();
            assert_eq!(media.description != before.description, says_more, "{with}");
            let version = before.session.version + u64::from(says_more);
            assert_eq!(media.session.version, version, "{with}");
            assert_eq!(media.session.id, before.session.id);
        }
    }

    #[test]
    fn a_refused_offer_or_answer_changes_nothing() {
        let mut media = talking();
        let before = media.clone();
        for (what, with) in
            [("RTP/AVP 0", "RTP/AVP 18"), ("m=audio 20000", "m=audio 0"), ("v=0", "")]
        {
            let sdp = SDP.replacen(what, with, 1).replace("198.51.100.7", "198.51.100.8");
            media.offered_anew(&sdp).unwrap_err();
            media.answered(&sdp).unwrap_err();
            assert_eq!(media, before, "{with}");
        }
    }

    #[test]
    fn a_hold_by_address_keeps_the_address() {
        let mut media = talking();
        let remote = media.remote();
        let held = SDP.replace("c=IN IP4 198.51.100.7", "c=IN IP4 0.0.0.0");
        let change = media.offered_anew(&held).unwrap();
        assert_eq!((change.remote, change.direction), (None, Some(Direction::RecvOnly)));
        let change = media.offered_anew(SDP).unwrap();
        assert_eq!((change.remote, change.direction), (None, Some(Direction::SendRecv)));
        assert_eq!(media.remote(), remote);
    }

    #[test]
    fn an_offer_of_ours_inside_the_call_has_everything_again() {
        let mut media = talking();
        assert!(!media.description().unwrap().contains("PCMA"));
        media.offer_anew();
        assert!(media.description().unwrap().contains("PCMA"));
        let change = media.answered(&SDP.replace("RTP/AVP 0", "RTP/AVP 8")).unwrap();
        assert_eq!(change.format.unwrap().send.coding.codec, Codec::Pcma);
        assert_eq!((change.remote, change.direction, change.source), (None, None, None));
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
            let (other, then) = match theirs {
                "sendrecv" => ("sendonly", Direction::RecvOnly),
                _ => ("sendrecv", Direction::SendRecv),
            };
            let other = SDP.replace("sendrecv", other);
            for mut media in [offered, offering] {
                assert_eq!(media.offered_anew(&sdp).unwrap(), LegChange::default(), "{theirs}");
                let change = LegChange { direction: Some(then), ..LegChange::default() };
                assert_eq!(media.offered_anew(&other).unwrap(), change, "{theirs}");
            }
        }
        let held = SDP.replace("c=IN IP4 198.51.100.7", "c=IN IP4 0.0.0.0");
        let held = TrunkMedia::offered(&held, TrunkTerms::default(), &mut random).unwrap();
        assert_eq!(held.leg_parameters().direction, Direction::RecvOnly);
    }
}
