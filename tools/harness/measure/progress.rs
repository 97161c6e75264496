//! What is being done, on standard error: one line that is written over on a terminal, a line each
//! time it changes elsewhere.

use std::io::{IsTerminal, Write, stderr};

/// Characters of the bar.
const BAR: usize = 24;

/// The line.
pub struct Progress {
    terminal: bool,
    /// Before each line: which part of the whole this is.
    pub part: String,
    last: String,
}

impl Progress {
    /// Nothing said yet.
    pub fn new() -> Self {
        Self { terminal: stderr().is_terminal(), part: String::new(), last: String::new() }
    }

    /// Says what is done, and how much of it.
    pub fn say(&mut self, what: &str, share: Option<f64>) {
        if self.terminal {
            let bar = share.map_or(String::new(), bar);
            eprint!("\r\x1b[K{}{what} {bar}", self.part);
            let _ = stderr().flush();
        } else if self.last != what {
            eprintln!("{}{what}", self.part);
        }
        self.last = what.to_owned();
    }

    /// Leaves an empty line on a terminal.
    pub fn clear(&mut self) {
        if self.terminal {
            eprint!("\r\x1b[K");
        }
        self.last.clear();
    }
}

fn bar(share: f64) -> String {
    let done = (share.clamp(0.0, 1.0) * BAR as f64).round() as usize;
    format!("[{}{}] {:3.0} %", "#".repeat(done), ".".repeat(BAR - done), share * 100.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_bar_is_always_as_wide() {
        for share in [-1.0, 0.0, 0.5, 0.999, 1.0, 7.0] {
            assert!(bar(share).starts_with('['));
            assert_eq!(bar(share).find(']'), Some(BAR + 1));
        }
    }
}
