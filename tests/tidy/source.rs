//! Rust source as tokens: enough of the language to tell code from comments and strings, and tests
//! from what ships. In: a file's text. Out: its tokens with their lines. Meaning is left to the rules.

/// What a token is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A name or a keyword.
    Word,
    /// A string's or a character's text, without its quotes.
    Text,
    /// A number.
    Number,
    /// `'a`
    Lifetime,
    /// `::`, `->`, `=>`, or any other single character.
    Mark,
    /// `//` to the end of its line, or `/*` to its end.
    Comment,
}

/// One token.
#[derive(Clone, Debug)]
pub struct Token {
    pub kind: Kind,
    pub text: String,
    /// The line it begins on, from 1.
    pub line: usize,
    /// Whether it stands in code that is compiled for tests only.
    pub test: bool,
}

impl Token {
    pub fn is(&self, text: &str) -> bool {
        self.text == text && matches!(self.kind, Kind::Word | Kind::Mark)
    }
}

/// One Rust file.
#[derive(Clone, Debug)]
pub struct Source {
    /// Its path from the root of the repository.
    pub path: String,
    pub lines: usize,
    /// Everything, comments too.
    pub tokens: Vec<Token>,
}

impl Source {
    pub fn new(path: &str, text: &str) -> Self {
        let mut tokens = Lexer { rest: text, line: 1 }.tokens();
        mark_tests(&mut tokens);
        Self { path: path.to_owned(), lines: text.lines().count(), tokens }
    }

    /// The tokens that ship, without comments.
    pub fn code(&self) -> Vec<&Token> {
        self.tokens.iter().filter(|token| !token.test && token.kind != Kind::Comment).collect()
    }

    /// The tokens of tests, without comments.
    pub fn tests(&self) -> Vec<&Token> {
        self.tokens.iter().filter(|token| token.test && token.kind != Kind::Comment).collect()
    }

    /// Makes all of it a test.
    pub fn becomes_a_test(&mut self) {
        self.tokens.iter_mut().for_each(|token| token.test = true);
    }

    /// How many lines the tests at the end or in the midst of the file take.
    pub fn test_lines(&self) -> usize {
        let mut lines = 0;
        for run in self.tokens.chunk_by(|one, next| one.test == next.test) {
            if let ([first, ..], [.., last]) = (run, run)
                && first.test
            {
                lines += last.line + last.text.matches('\n').count() - first.line + 1;
            }
        }
        lines
    }
}

/// Whether `tokens` begin with these texts.
pub fn begins(tokens: &[&Token], texts: &[&str]) -> bool {
    tokens.len() >= texts.len() && tokens.iter().zip(texts).all(|(token, text)| token.is(text))
}

/// The index of the bracket that closes the one at `open`, or the last index.
pub fn closing<T: std::borrow::Borrow<Token>>(tokens: &[T], open: usize) -> usize {
    let mut depth = 0usize;
    for (index, token) in tokens.iter().enumerate().skip(open) {
        let token = token.borrow();
        if token.kind == Kind::Mark {
            match token.text.as_str() {
                "(" | "[" | "{" => depth += 1,
                ")" | "]" | "}" => depth = depth.saturating_sub(1),
                _ => {}
            }
        }
        if depth == 0 {
            return index;
        }
    }
    tokens.len().saturating_sub(1)
}

/// Marks every item under `#[cfg(test)]`, the attribute included; what only the documentation needs
/// (`#[cfg(doc)]`) ships as little.
fn mark_tests(tokens: &mut [Token]) {
    let code: Vec<usize> =
        (0..tokens.len()).filter(|index| tokens[*index].kind != Kind::Comment).collect();
    let mut at = 0;
    while at < code.len() {
        let begins = |texts: &[&str]| {
            texts.iter().zip(&code[at..]).all(|(text, index)| tokens[*index].is(text))
                && code.len() - at >= texts.len()
        };
        if begins(&["#", "!", "[", "cfg", "(", "test", ")", "]"]) {
            tokens.iter_mut().for_each(|token| token.test = true);
            return;
        }
        let test = begins(&["#", "[", "cfg", "(", "test", ")", "]"]);
        if !test && !begins(&["#", "[", "cfg", "(", "doc", ")", "]"]) {
            at += 1;
            continue;
        }
        let end = item_end(tokens, &code, at);
        for token in &mut tokens[code[at]..=code[end]] {
            token.test = true;
        }
        at = end + 1;
    }
}

/// Where the item whose attributes begin at `at` ends: at its `;` or at the end of its braces.
fn item_end(tokens: &[Token], code: &[usize], at: usize) -> usize {
    let mut index = at;
    while index < code.len() {
        let token = &tokens[code[index]];
        if token.is(";") {
            return index;
        }
        if token.is("{") || token.is("(") || token.is("[") {
            let close = closing(tokens, code[index]);
            let opened = index;
            index = code.partition_point(|position| *position < close);
            if tokens[code[opened]].is("{") {
                return index;
            }
        }
        index += 1;
    }
    code.len() - 1
}

struct Lexer<'a> {
    rest: &'a str,
    line: usize,
}

impl Lexer<'_> {
    fn tokens(mut self) -> Vec<Token> {
        let mut tokens = Vec::new();
        while let Some(first) = self.rest.chars().next() {
            if first.is_whitespace() {
                self.take(first.len_utf8());
                continue;
            }
            let line = self.line;
            let (kind, length, text) = token_of(self.rest);
            tokens.push(Token { kind, text: text.to_owned(), line, test: false });
            self.take(length);
        }
        tokens
    }

    fn take(&mut self, length: usize) {
        let (taken, rest) = self.rest.split_at(length);
        self.line += taken.matches('\n').count();
        self.rest = rest;
    }
}

/// The token that `rest`, which is not empty, begins with: its kind, its length and its text.
fn token_of(rest: &str) -> (Kind, usize, &str) {
    let bytes = rest.as_bytes();
    if rest.starts_with("//") {
        let length = rest.find('\n').unwrap_or(rest.len());
        return (Kind::Comment, length, &rest[..length]);
    }
    if rest.starts_with("/*") {
        let length = block_comment(rest);
        return (Kind::Comment, length, &rest[..length]);
    }
    if let Some((length, text)) = string_of(rest) {
        return (Kind::Text, length, text);
    }
    if bytes[0] == b'\'' {
        return character_or_lifetime(rest);
    }
    let word = |c: char| c.is_alphanumeric() || c == '_';
    if word(rest.chars().next().unwrap_or(' ')) {
        let rest = rest.strip_prefix("r#").unwrap_or(rest);
        let length = rest.find(|c| !word(c)).unwrap_or(rest.len());
        let kind = if bytes[0].is_ascii_digit() { Kind::Number } else { Kind::Word };
        let skipped = if bytes.starts_with(b"r#") { 2 } else { 0 };
        return (kind, length + skipped, &rest[..length]);
    }
    let double = ["::", "->", "=>"].iter().find(|mark| rest.starts_with(**mark));
    let length = double.map_or(rest.chars().next().map_or(1, char::len_utf8), |mark| mark.len());
    (Kind::Mark, length, &rest[..length])
}

/// The length of a block comment, those inside it included.
fn block_comment(rest: &str) -> usize {
    let (mut depth, mut at) = (0, 0);
    while at < rest.len() {
        let here = &rest.as_bytes()[at..];
        if here.starts_with(b"/*") {
            (depth, at) = (depth + 1, at + 2);
        } else if here.starts_with(b"*/") {
            (depth, at) = (depth - 1, at + 2);
            if depth == 0 {
                return at;
            }
        } else {
            at += 1;
        }
    }
    rest.len()
}

/// The length and the text of a string literal, raw ones and those of bytes included.
fn string_of(rest: &str) -> Option<(usize, &str)> {
    let prefix = rest.len() - rest.trim_start_matches(['b', 'c', 'r']).len();
    if prefix > 2 {
        return None;
    }
    let hashes = rest[prefix..].len() - rest[prefix..].trim_start_matches('#').len();
    let open = prefix + hashes + 1;
    if rest.as_bytes().get(open - 1) != Some(&b'"') {
        return None;
    }
    let raw = rest[..prefix].contains('r');
    if raw {
        let end = format!("\"{}", "#".repeat(hashes));
        let text = rest[open..].find(&end).map_or(&rest[open..], |at| &rest[open..open + at]);
        return Some(((open + text.len() + end.len()).min(rest.len()), text));
    }
    if hashes > 0 {
        return None;
    }
    let mut escaped = false;
    for (at, byte) in rest.bytes().enumerate().skip(open) {
        match byte {
            _ if escaped => escaped = false,
            b'\\' => escaped = true,
            b'"' => return Some((at + 1, &rest[open..at])),
            _ => {}
        }
    }
    Some((rest.len(), &rest[open..]))
}

fn character_or_lifetime(rest: &str) -> (Kind, usize, &str) {
    let mut characters = rest.char_indices().skip(1);
    let (_, first) = characters.next().unwrap_or((0, ' '));
    if first == '\\' {
        let end = rest[3..].find('\'').map_or(rest.len(), |at| at + 3);
        return (Kind::Text, (end + 1).min(rest.len()), &rest[1..end]);
    }
    if let Some((at, '\'')) = characters.next() {
        return (Kind::Text, at + 1, &rest[1..at]);
    }
    let length = rest[1..].find(|c: char| !c.is_alphanumeric() && c != '_');
    let length = length.map_or(rest.len(), |at| at + 1).max(1);
    (Kind::Lifetime, length, &rest[..length])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(text: &str) -> Vec<(Kind, String)> {
        Source::new("a.rs", text).tokens.into_iter().map(|t| (t.kind, t.text)).collect()
    }

    #[test]
    fn code_in_strings_and_comments_is_none() {
        for text in [
            "\"unsafe { \\\" }\"",
            "r\"unsafe\"",
            "r##\"unsafe \"# \"##",
            "b\"unsafe\"",
            "br#\"unsafe\"#",
            "c\"unsafe\"",
            "// unsafe",
            "/* unsafe /* unsafe */ unsafe */",
            "'\\''",
            "'\"'",
            "b'\\\\'",
        ] {
            let found = words(text);
            assert!(
                !found.iter().any(|(kind, text)| *kind == Kind::Word && text == "unsafe"),
                "{text}: {found:?}"
            );
            let after = words(&format!("{text}\nafter"));
            assert_eq!(after.last(), Some(&(Kind::Word, "after".to_owned())), "{text}");
        }
    }

    #[test]
    fn lifetimes_numbers_and_marks_are_told_apart() {
        let found = words("fn f<'a>(x: &'a r#type) -> u8 { b'x'; 0x1f_u8; 1..=2; A::B => 'c' }");
        let of = |wanted: Kind| -> Vec<&str> {
            found.iter().filter(|(kind, _)| *kind == wanted).map(|(_, text)| &**text).collect()
        };
        assert_eq!(of(Kind::Lifetime), ["'a", "'a"]);
        assert_eq!(of(Kind::Number), ["0x1f_u8", "1", "2"]);
        assert_eq!(of(Kind::Word), ["fn", "f", "x", "type", "u8", "b", "A", "B"]);
        assert_eq!(of(Kind::Text), ["x", "c"]);
        assert!(found.contains(&(Kind::Mark, "=>".to_owned())));
        assert!(found.contains(&(Kind::Mark, "->".to_owned())));
    }

    #[test]
    fn an_item_under_cfg_test_is_a_test_and_what_follows_is_not() {
        let text = "fn a() {}\n#[cfg(test)]\n#[allow(x, reason = \"{\")]\nmod tests {\n    fn b([x]: X) {}\n}\n\
                    #[cfg(test)]\npub(crate) mod hex;\nfn c() {}\n";
        let source = Source::new("a.rs", text);
        let words = |tokens: Vec<&Token>| -> Vec<String> {
            let words = tokens.into_iter().filter(|token| token.kind == Kind::Word);
            words.map(|token| token.text.clone()).collect()
        };
        assert_eq!(words(source.code()), ["fn", "a", "fn", "c"]);
        assert!(words(source.tests()).contains(&"hex".to_owned()));
        assert_eq!(source.test_lines(), 7);
        assert_eq!(source.lines, 9);
    }
}
