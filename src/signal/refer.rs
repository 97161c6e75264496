//! REFER (RFC 3515): whom somebody wants the other side to be joined with, and the news of it. In: the
//! request. Out: the target, or why there is none; the NOTIFY requests that its sender was promised.

use crate::signal::release::Release;
use crate::sip::cause::Cause;
use crate::sip::dialog::{Dialog, DialogId};
use crate::wire::sip::{HeaderName, Method, NameAddr, Request, SipUri, Status, Uri};

/// What a NOTIFY's body is: the first line of a response (RFC 3420).
const SIPFRAG: &str = "message/sipfrag;version=2.0";
/// How long a subscription that still waits for news lasts at most: longer than anybody is asked.
const LASTS_S: u32 = 180;

/// What a REFER asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refer {
    /// With whom the other side is to be joined.
    pub target: Target,
    /// Who wants to hear what comes of it; `None`: nobody (RFC 4488).
    pub subscription: Option<Subscription>,
}

/// With whom.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Target {
    /// Whoever has this number.
    Number(String),
    /// The far end of a call that the sender has as well (RFC 3891).
    Dialog(Replaced),
}

/// A dialog as a Replaces header names it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Replaced {
    /// Its Call-ID.
    pub call_id: String,
    /// Its tags: clients differ in whose comes first.
    pub tags: [String; 2],
}

/// The subscription that a REFER begins: its CSeq tells it from others in the dialog (RFC 3515 §2.4.6).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Subscription {
    id: u32,
}

impl Refer {
    /// What a REFER asks for.
    pub fn read(request: &Request) -> Result<Self, Release> {
        let headers = &request.headers;
        let mut all = headers.values(&HeaderName::ReferTo);
        let address = match (all.next(), all.next()) {
            (Some(one), None) => NameAddr::parse(one),
            _ => None,
        };
        let Some(address) = address else {
            let text = "REFER has to have one Refer-To that reads";
            return Err(Release::of_status(Status::BAD_REQUEST, text));
        };
        let target = match &address.uri {
            Uri::Sip(uri) => Self::target_of(uri, &address.uri)?,
            Uri::Tel(_) => Self::number_of(&address.uri)?,
            Uri::Other(_) => {
                let text = "Refer-To is neither sip nor tel";
                return Err(Release::of_status(Status::UNSUPPORTED_URI_SCHEME, text));
            }
        };
        let is_unwanted = headers.first(&HeaderName::ReferSub);
        let is_unwanted = is_unwanted.is_some_and(|it| it.trim().eq_ignore_ascii_case("false"));
        let id = headers.cseq().map(|cseq| cseq.number).unwrap_or_default();
        let subscription = (!is_unwanted).then_some(Subscription { id });
        Ok(Self { target, subscription })
    }

    fn target_of(uri: &SipUri, whole: &Uri) -> Result<Target, Release> {
        let method = uri.parameters.value("method");
        if method.is_some_and(|method| !method.eq_ignore_ascii_case("INVITE")) {
            let text = "Refer-To asks for a method that is no call";
            return Err(Release::of_status(Status::FORBIDDEN, text));
        }
        let named = |name: &str| name.eq_ignore_ascii_case("Replaces");
        let mut replaces = uri.headers.iter().filter(|(name, _)| named(name));
        match (replaces.next(), replaces.next()) {
            (None, _) => Self::number_of(whole),
            (Some((_, value)), None) => {
                Replaced::parse(value).map(Target::Dialog).ok_or_else(|| {
                    Release::of_status(Status::BAD_REQUEST, "Replaces in Refer-To does not read")
                })
            }
            (Some(_), Some(_)) => {
                let text = "Refer-To has more than one Replaces";
                Err(Release::of_status(Status::BAD_REQUEST, text))
            }
        }
    }

    fn number_of(uri: &Uri) -> Result<Target, Release> {
        let number = uri.subscriber().filter(|number| !number.is_empty());
        number.map(|number| Target::Number(number.to_owned())).ok_or_else(|| {
            let text = "Refer-To names nobody";
            Release::new(Status::NOT_FOUND, Cause::UNALLOCATED_NUMBER, text)
        })
    }
}

impl Replaced {
    /// `call-id;to-tag=…;from-tag=…`, in any order and with whatever else.
    fn parse(text: &str) -> Option<Self> {
        let mut parts = text.split(';').map(str::trim);
        let call_id = parts.next().filter(|call_id| !call_id.is_empty())?.to_owned();
        let mut tags = [None, None];
        for part in parts {
            let (name, value) = part.split_once('=').unwrap_or((part, ""));
            let which = match name.trim().to_ascii_lowercase().as_str() {
                "to-tag" => 0,
                "from-tag" => 1,
                _ => continue,
            };
            let value = value.trim();
            if value.is_empty() || tags[which].replace(value.to_owned()).is_some() {
                return None;
            }
        }
        let [Some(to), Some(from)] = tags else { return None };
        Some(Self { call_id, tags: [to, from] })
    }

    /// Whether a dialog of ours is it.
    pub fn is(&self, dialog: &DialogId) -> bool {
        let [one, other] = &self.tags;
        let tags = [&dialog.local_tag, &dialog.remote_tag];
        self.call_id == dialog.call_id && (tags == [one, other] || tags == [other, one])
    }
}

impl Subscription {
    /// The NOTIFY that says how far it is; after a final status there is no other (RFC 3515 §2.4.5).
    pub fn notify(self, dialog: &mut Dialog, status: Status) -> Request {
        let mut notify = dialog.request(Method::Notify);
        let state = if status.is_final() {
            "terminated;reason=noresource".to_owned()
        } else {
            format!("active;expires={LASTS_S}")
        };
        notify.headers.push(HeaderName::Event, format!("refer;id={}", self.id));
        notify.headers.push(HeaderName::SubscriptionState, state);
        notify.with_body(SIPFRAG, format!("SIP/2.0 {status} {}\r\n", status.phrase()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::sip::{Message, parse_datagram};

    fn refer(headers: &str) -> Result<Refer, Status> {
        let text = format!(
            "REFER sip:a@192.0.2.1 SIP/2.0\r\nVia: SIP/2.0/WSS x;branch=z9hG4bK1\r\n\
             From: <sip:b@x>;tag=1\r\nTo: <sip:a@x>;tag=2\r\nCall-ID: c\r\nCSeq: 7 REFER\r\n\
             {headers}\r\n"
        );
        match parse_datagram(text.as_bytes()).unwrap() {
            Message::Request(request) => Refer::read(&request).map_err(|release| release.status),
            Message::Response(_) => panic!("a request"),
        }
    }

    #[test]
    fn a_target_is_a_number_or_a_dialog() {
        for (to, number) in [
            ("<sip:1234@x>", "1234"),
            ("sip:1234@x", "1234"),
            ("\"Ann\" <sips:ann@x;method=INVITE>;a=b", "ann"),
            ("<tel:+49-30-1234;phone-context=x>", "+49301234"),
            ("<sip:+4930;npdi@x;user=phone?Subject=x>", "+4930"),
        ] {
            let read = refer(&format!("Refer-To: {to}\r\n")).unwrap();
            assert_eq!(read.target, Target::Number(number.to_owned()), "{to}");
            assert_eq!(read.subscription, Some(Subscription { id: 7 }));
        }
        for replaces in [
            "c%40x%3Bto-tag%3Da%3Bfrom-tag%3Db",
            "c%40x%3Bfrom-tag%3Db%3Bto-tag%3Da",
            "c%40x%3BTo-Tag%3Da%3Bfrom-tag%3Db%3Bearly-only",
        ] {
            let read = refer(&format!("r: <sip:1@x?Subject=x&Replaces={replaces}>\r\n")).unwrap();
            let tags = ["a".to_owned(), "b".to_owned()];
            let replaced = Replaced { call_id: "c@x".to_owned(), tags };
            assert_eq!(read.target, Target::Dialog(replaced), "{replaces}");
        }
    }

    #[test]
    fn a_target_that_is_none_is_refused_by_what_is_wrong_with_it() {
        for (headers, status) in [
            ("", Status::BAD_REQUEST),
            ("Refer-To: <sip:1@x>\r\nRefer-To: <sip:2@x>\r\n", Status::BAD_REQUEST),
            ("Refer-To: <sip:1@x>, <sip:2@x>\r\n", Status::BAD_REQUEST),
            ("Refer-To: <sip:1@x\r\n", Status::BAD_REQUEST),
            ("Refer-To: <http://x/>\r\n", Status::UNSUPPORTED_URI_SCHEME),
            ("Refer-To: <sip:1@x;method=BYE>\r\n", Status::FORBIDDEN),
            ("Refer-To: <sip:x>\r\n", Status::NOT_FOUND),
            ("Refer-To: <sip:1@x?Replaces=c>\r\n", Status::BAD_REQUEST),
            ("Refer-To: <sip:1@x?Replaces=c%3Bto-tag%3Da>\r\n", Status::BAD_REQUEST),
            ("Refer-To: <sip:1@x?Replaces=c%3Bto-tag%3Da%3Bfrom-tag%3D>\r\n", Status::BAD_REQUEST),
            (
                "Refer-To: <sip:1@x?Replaces=c%3Bto-tag%3Da%3Bto-tag%3Db%3Bfrom-tag%3Dc>\r\n",
                Status::BAD_REQUEST,
            ),
            (
                "Refer-To: <sip:1@x?Replaces=c%3Bto-tag%3Da%3Bfrom-tag%3Db&replaces=d>\r\n",
                Status::BAD_REQUEST,
            ),
        ] {
            assert_eq!(refer(headers), Err(status), "{headers}");
        }
    }

    #[test]
    fn who_wants_no_news_gets_none() {
        let unwanted = refer("Refer-To: <sip:1@x>\r\nRefer-Sub: False\r\n").unwrap();
        assert_eq!(unwanted.subscription, None);
        let wanted = refer("Refer-To: <sip:1@x>\r\nRefer-Sub: true\r\n").unwrap();
        assert!(wanted.subscription.is_some());
    }

    #[test]
    fn a_dialog_is_named_with_its_tags_in_either_order() {
        let replaced = Replaced::parse("c;to-tag=a;from-tag=b").unwrap();
        let id = |call_id: &str, local: &str, remote: &str| DialogId {
            call_id: call_id.to_owned(),
            local_tag: local.to_owned(),
            remote_tag: remote.to_owned(),
        };
        assert!(replaced.is(&id("c", "a", "b")) && replaced.is(&id("c", "b", "a")));
        assert!(!replaced.is(&id("d", "a", "b")) && !replaced.is(&id("c", "a", "a")));
    }
}
