//! Fault: the operator's kind of error. Something at start-up cannot work; the text says what, where
//! and what to do about it. It ends the process, so it is built once and never on a packet's path.

use std::fmt;

/// Why a process cannot start or go on, in words for the person who runs it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    what: String,
    place: String,
    remedy: String,
}

impl Fault {
    /// `what` is wrong (“cannot listen: address already in use”), at which `place` (“127.0.0.1:8443,
    /// \[signal\].wss”), and the `remedy` (“choose a free port”). None may hold a secret.
    pub fn new(
        what: impl fmt::Display,
        place: impl fmt::Display,
        remedy: impl fmt::Display,
    ) -> Self {
        Self { what: what.to_string(), place: place.to_string(), remedy: remedy.to_string() }
    }
}

/// Three labelled lines; further lines of a part are indented under it.
impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let indented = |part: &str| part.replace('\n', "\n            ");
        writeln!(f, "what:       {}", indented(&self.what))?;
        writeln!(f, "where:      {}", indented(&self.place))?;
        write!(f, "what to do: {}", indented(&self.remedy))
    }
}

impl std::error::Error for Fault {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fault_says_what_where_and_what_to_do() {
        let fault = Fault::new("two\nlines", "here", "that");
        assert_eq!(
            fault.to_string(),
            "what:       two\n            lines\nwhere:      here\nwhat to do: that"
        );
    }
}
