//! Files, functions and lists of parameters stay small enough to be read.

use crate::allowance::{Breach, hold_sizes};
use crate::source::{Kind, Source, Token, closing};
use crate::tree::Tree;

/// Lines of a file without its tests: past this, ask which noun is missing.
pub const FILE_LINES_MAX: usize = 600;
/// Lines of a function, from brace to brace: a screen.
pub const FUNCTION_LINES_MAX: usize = 70;
/// Parameters beside self: past this some of them are a noun.
pub const PARAMETERS_MAX: usize = 5;

/// What is put up with, at the size that it has.
pub struct Sizes {
    pub files: &'static [(&'static str, usize)],
    pub functions: &'static [(&'static str, usize)],
    pub parameters: &'static [(&'static str, usize)],
}

pub fn broken(tree: &Tree, allowed: &Sizes) -> Vec<String> {
    let (mut files, mut functions, mut parameters) = (Vec::new(), Vec::new(), Vec::new());
    for source in &tree.sources {
        let lines = source.lines.saturating_sub(source.test_lines());
        if lines > FILE_LINES_MAX && !source.code().is_empty() {
            files.push(breach(
                &source.path,
                "lines without tests; give a noun of it a file",
                lines,
            ));
        }
        for function in functions_of(source) {
            let name = format!("{} {}", source.path, function.name);
            if function.lines > FUNCTION_LINES_MAX {
                functions.push(breach(&name, "lines; give its parts names", function.lines));
            }
            if function.parameters > PARAMETERS_MAX {
                let what = "parameters beside self; some of them are a noun";
                parameters.push(breach(&name, what, function.parameters));
            }
        }
    }
    let mut wrong = hold_sizes(largest(files), "allowed.rs FILES", FILE_LINES_MAX, allowed.files);
    wrong.extend(hold_sizes(
        largest(functions),
        "allowed.rs FUNCTIONS",
        FUNCTION_LINES_MAX,
        allowed.functions,
    ));
    wrong.extend(hold_sizes(
        largest(parameters),
        "allowed.rs PARAMETERS",
        PARAMETERS_MAX,
        allowed.parameters,
    ));
    wrong
}

fn breach(name: &str, message: &str, size: usize) -> (Breach, usize) {
    (Breach { name: name.to_owned(), message: message.to_owned() }, size)
}

/// Of functions that share a name in a file, the largest.
fn largest(mut found: Vec<(Breach, usize)>) -> Vec<(Breach, usize)> {
    found.sort_by(|(one, small), (other, large)| (&one.name, large).cmp(&(&other.name, small)));
    found.dedup_by(|(one, _), (other, _)| one.name == other.name);
    found
}

/// A function outside tests.
pub struct Function {
    pub name: String,
    /// From brace to brace.
    pub lines: usize,
    /// Beside self.
    pub parameters: usize,
}

pub fn functions_of(source: &Source) -> Vec<Function> {
    let code = source.code();
    let mut functions = Vec::new();
    for (at, token) in code.iter().enumerate() {
        let name = code.get(at + 1).filter(|name| token.is("fn") && name.kind == Kind::Word);
        let Some(name) = name else { continue };
        let Some(open) = (at..code.len()).find(|index| code[*index].is("(")) else { continue };
        let close = closing(&code, open);
        let ends = |index: &usize| code[*index].is("{") || code[*index].is(";");
        let Some(body) = (close..code.len()).find(ends) else { continue };
        if !code[body].is("{") {
            continue;
        }
        let lines = code[closing(&code, body)].line - code[body].line + 1;
        let parameters = parameters(&code[open + 1..close]);
        functions.push(Function { name: name.text.clone(), lines, parameters });
    }
    functions
}

/// Each parameter has one colon outside brackets; `self` has one only where its type is written.
fn parameters(tokens: &[&Token]) -> usize {
    let mut depth = 0usize;
    let mut count = 0usize;
    for (at, token) in tokens.iter().enumerate() {
        match token.text.as_str() {
            "(" | "[" | "{" if token.kind == Kind::Mark => depth += 1,
            ")" | "]" | "}" if token.kind == Kind::Mark => depth = depth.saturating_sub(1),
            ":" if token.kind == Kind::Mark && depth == 0 => {
                count += usize::from(!(at > 0 && tokens[at - 1].is("self")));
            }
            _ => {}
        }
    }
    count
}

#[cfg(test)]
mod tests {
    use super::*;

    const NONE: Sizes = Sizes { files: &[], functions: &[], parameters: &[] };

    fn wrong(text: &str) -> Vec<String> {
        broken(&Tree::of([("src/a.rs", text)]), &NONE)
    }

    #[test]
    fn a_file_too_long_is_found_and_its_tests_do_not_count() {
        let code = "fn f() {}\n".repeat(FILE_LINES_MAX);
        assert_eq!(wrong(&code), [] as [&str; 0]);
        assert_eq!(wrong(&format!("{code}// one more\n")).len(), 1);
        let tests = "#[cfg(test)]\nmod tests {\n    fn g() {}\n}\n";
        assert_eq!(wrong(&format!("{code}{tests}")), [] as [&str; 0]);
    }

    #[test]
    fn a_function_too_long_is_found() {
        let function =
            |lines: usize| format!("fn f() where X: Y {{\n{}}}\n", "g();\n".repeat(lines));
        assert_eq!(wrong(&function(FUNCTION_LINES_MAX - 2)), [] as [&str; 0]);
        assert_eq!(wrong(&function(FUNCTION_LINES_MAX - 1)).len(), 1);
    }

    #[test]
    fn a_parameter_too_many_is_found() {
        let five = "fn f(&mut self, Point { x, y }: Point, b: Map<A, B>, c: impl Fn(A, B) -> C, d: a::D, e: [u8; 2]) {}";
        assert_eq!(wrong(five), [] as [&str; 0]);
        assert_eq!(wrong(&five.replace("&mut self", "self: &Rc<Self>")), [] as [&str; 0]);
        assert_eq!(wrong(&five.replace("&mut self", "a: A")).len(), 1);
    }
}
