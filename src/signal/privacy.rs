//! Who somebody is shown as to the other side: number, name, or nobody (RFC 3323, RFC 3325). In: a
//! caller's request. Out: what goes into our From, and whether what was asked can be done.

use crate::wire::sip::{HeaderName, Host, NameAddr, Request, Uri};

/// How who names no number is called, and who wants to be nobody.
pub const ANONYMOUS: &str = "anonymous";
/// The longest display name that is passed on.
const NAME_CHARACTERS_MAX: usize = 64;
/// What may be asked for: that nobody is named by us (`id`, `header`, `user`), and that nothing of one
/// side's media or signaling reaches the other (`session`), which nothing ever does.
const KNOWN: [&str; 6] = ["id", "header", "user", "session", "none", "critical"];

/// Somebody, as the other side is to see them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Shown {
    /// The number, or a user's name.
    pub number: String,
    /// The display name, when there is one.
    pub name: Option<String>,
    /// Whether they want to be nobody.
    pub is_anonymous: bool,
}

/// Privacy is `critical` and cannot be had (RFC 3323 §4.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NotPrivate;

impl Shown {
    /// The caller of `request`, who has this number.
    pub fn of(request: &Request, number: &str) -> Result<Self, NotPrivate> {
        let asked = |token: &str| {
            let mut all = request.headers.all(&HeaderName::Privacy);
            all.any(|field| {
                field.split([';', ',']).any(|one| one.trim().eq_ignore_ascii_case(token))
            })
        };
        let mut all = request.headers.all(&HeaderName::Privacy);
        let is_known = |token: &str| KNOWN.iter().any(|known| known.eq_ignore_ascii_case(token));
        if asked("critical")
            && !all.all(|field| field.split([';', ',']).all(|one| is_known(one.trim())))
        {
            return Err(NotPrivate);
        }
        let from = request.headers.from().ok();
        let is_hidden = from.as_ref().is_some_and(|from| is_anonymous(&from.uri));
        let is_asked = ["id", "header", "user"].into_iter().any(asked) && !asked("none");
        if is_hidden || is_asked || number.is_empty() {
            let number = ANONYMOUS.to_owned();
            return Ok(Self { number, name: None, is_anonymous: is_hidden || is_asked });
        }
        let name = from.and_then(|from| from.display_name).map(|name| fit(&name));
        Ok(Self {
            number: number.to_owned(),
            name: name.filter(|name| !name.is_empty()),
            is_anonymous: false,
        })
    }

    /// Whoever has this number, and no name.
    pub fn numbered(number: &str) -> Self {
        Self { number: number.to_owned(), name: None, is_anonymous: false }
    }

    /// Who wants to be nobody.
    pub fn nobody() -> Self {
        Self { number: ANONYMOUS.to_owned(), name: None, is_anonymous: true }
    }

    /// What goes into our From; `uri` is the number in our domain.
    pub fn address(&self, uri: Uri) -> NameAddr {
        if self.is_anonymous {
            // RFC 3323 §4.1.1.3.
            let host = Host::Name("anonymous.invalid".to_owned());
            let mut nobody = NameAddr::new(Uri::sip(Some(ANONYMOUS), host, None));
            nobody.display_name = Some("Anonymous".to_owned());
            return nobody;
        }
        NameAddr { display_name: self.name.clone(), ..NameAddr::new(uri) }
    }
}

fn is_anonymous(uri: &Uri) -> bool {
    let is_nobody = uri.subscriber().is_some_and(|user| user.eq_ignore_ascii_case(ANONYMOUS));
    is_nobody
        || uri.host().is_some_and(|host| host.to_string().eq_ignore_ascii_case("anonymous.invalid"))
}

/// Fit to be shown: no control characters, nothing that turns text around, not too long.
fn fit(name: &str) -> String {
    let turns = |c: char| matches!(c, '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
    let kept = name.chars().filter(|c| !c.is_control() && !turns(*c));
    kept.take(NAME_CHARACTERS_MAX).collect::<String>().trim().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::sip::Method;

    fn shown(from: &str, privacy: &str) -> Result<(String, Option<String>), NotPrivate> {
        let mut invite = Request::new(Method::Invite, "sip:1@192.0.2.1".parse().unwrap());
        invite.headers.push(HeaderName::From, from);
        if !privacy.is_empty() {
            invite.headers.push(HeaderName::Privacy, privacy);
        }
        let shown = Shown::of(&invite, "+15550100")?;
        Ok((shown.number, shown.name))
    }

    #[test]
    fn a_caller_is_shown_by_number_and_name_unless_it_wants_to_be_nobody() {
        let acme = "\"ACME CORP\" <sip:+15550100@192.0.2.7>;tag=a";
        let known = Ok(("+15550100".to_owned(), Some("ACME CORP".to_owned())));
        let nobody = Ok((ANONYMOUS.to_owned(), None));
        for (from, privacy, expected) in [
            (acme, "", &known),
            (acme, "none", &known),
            (acme, "session;critical", &known),
            (acme, "id", &nobody),
            (acme, "Id;Critical", &nobody),
            (acme, "user", &nobody),
            (acme, "header;user", &nobody),
            (acme, "history;critical", &Err(NotPrivate)),
            (acme, "history", &known),
            ("\"Anonymous\" <sip:anonymous@anonymous.invalid>;tag=a", "", &nobody),
            ("<sip:thing@anonymous.invalid>;tag=a", "", &nobody),
        ] {
            assert_eq!(&shown(from, privacy), expected, "{from} {privacy}");
        }
        let long = format!("\"{}\u{202e}\u{7}\" <sip:1@x>;tag=a", "n".repeat(100));
        assert_eq!(shown(&long, "").unwrap().1, Some("n".repeat(64)));
    }
}
