//! Shell scripts that start etcd, as far as their words are plain.
//!
//! Nothing is executed and no construct is followed. A script is cut into simple commands; the ones that run etcd give
//! up their words, and whatever could change those words from afar (`eval`, `source`, `"$@"`, here-documents) makes
//! the script opaque: then what is absent may yet be set.

use super::{
    expand::Environment,
    marks::{POD, UNKNOWN, clean, is_known},
};
use crate::defrag::budget::Counted;

/// What a script says about etcd.
#[derive(Debug, Default)]
pub(super) struct Script {
    /// The arguments of each invocation of etcd, of not more than are read.
    pub(super) invocations: Vec<Vec<String>>,
    /// How many invocations there are.
    pub(super) count: usize,
    /// Whether the script may do more than can be seen.
    pub(super) opaque: bool,
}

/// A part of a word.
#[derive(Debug)]
enum Piece {
    Literal(String),
    Variable { name: String, quoted: bool },
    Pod,
    Unknown,
}

#[derive(Debug, Default)]
struct Word {
    pieces: Vec<Piece>,
    /// Whether any of it was quoted: a quoted word is neither a keyword nor an assignment.
    quoted: bool,
}

impl Word {
    fn literal(&self) -> Option<&str> {
        match self.pieces.as_slice() {
            [Piece::Literal(text)] if !self.quoted => Some(text),
            _ => None,
        }
    }

    /// The name in front of `=`, where this is an assignment.
    fn assigned(&self) -> Option<&str> {
        let Some(Piece::Literal(text)) = self.pieces.first() else {
            return None;
        };
        let (name, _) = text.split_once('=')?;
        (!name.is_empty() && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')).then_some(name)
    }

    fn push(&mut self, text: &str) {
        if let Some(Piece::Literal(last)) = self.pieces.last_mut() {
            last.push_str(text);
        } else {
            self.pieces.push(Piece::Literal(text.to_owned()));
        }
    }

    fn is_empty(&self) -> bool {
        self.pieces.is_empty() && !self.quoted
    }
}

const KEYWORDS: [&str; 15] =
    ["if", "then", "elif", "else", "fi", "for", "while", "until", "do", "done", "case", "esac", "function", "{", "!"];
const PREFIXES: [&str; 5] = ["exec", "command", "nohup", "env", "export"];
const OPAQUE: [&str; 12] =
    [".", "source", "eval", "read", "unset", "declare", "typeset", "readonly", "local", "mapfile", "getopts", "alias"];

/// Reads `script`, which runs in `environment`; what it sets unconditionally is set there.
pub(super) fn read(script: &str, environment: &mut Environment, field: &str) -> Script {
    let (commands, mut opaque) = lex(script);
    let conditional = commands
        .iter()
        .filter_map(|words| words.first()?.literal())
        .any(|word| KEYWORDS.contains(&word) || word.ends_with("()"));
    let (mut invocations, mut count) = (Vec::new(), 0);
    for words in &commands {
        let mut words = words.as_slice();
        let mut prefixed = false;
        while let [first, rest @ ..] = words {
            if let Some(name) = first.assigned() {
                let (_, value) = evaluate(first, environment);
                let value = if conditional { UNKNOWN.to_string() } else { after_equals(&value).to_owned() };
                environment.set(name, value, field);
            } else if !first.literal().is_some_and(|w| {
                PREFIXES.contains(&w) || (!prefixed && KEYWORDS.contains(&w)) || (prefixed && w.starts_with('-'))
            }) {
                break;
            }
            prefixed |= first.literal().is_some_and(|w| PREFIXES.contains(&w));
            words = rest;
        }
        let [name, arguments @ ..] = words else { continue };
        let (_, program) = evaluate(name, environment);
        if OPAQUE.contains(&program.as_str()) || !is_known(&program) {
            opaque = true;
        } else if is_etcd(&program) && !starts_proxy(arguments) {
            count += 1;
            if count > Counted::Invocations.most() {
                continue;
            }
            let mut invocation = Vec::new();
            for argument in arguments {
                opaque |= expand(argument, environment, &mut invocation);
            }
            invocations.push(invocation);
        }
    }
    opaque |= invocations.is_empty();
    Script { invocations, count, opaque }
}

/// Whether a program is etcd itself.
pub(super) fn is_etcd(program: &str) -> bool {
    program.rsplit('/').next() == Some("etcd")
}

fn starts_proxy(arguments: &[Word]) -> bool {
    arguments.first().and_then(Word::literal).is_some_and(|word| matches!(word, "grpc-proxy" | "gateway"))
}

fn after_equals(text: &str) -> &str {
    text.split_once('=').map_or("", |(_, value)| value)
}

/// The value of a word that is not split; whether it begins with something unknown comes first.
fn evaluate(word: &Word, environment: &mut Environment) -> (bool, String) {
    let mut value = String::new();
    for piece in &word.pieces {
        match piece {
            Piece::Literal(text) => value.push_str(text),
            Piece::Variable { name, .. } => value.push_str(&environment.shell(name)),
            Piece::Pod => value.push(POD),
            Piece::Unknown => value.push(UNKNOWN),
        }
    }
    (value.starts_with(UNKNOWN), value)
}

/// Adds the words that `word` becomes; unquoted variables are split at blanks. Tells whether one of them may be a flag
/// that cannot be seen.
fn expand(word: &Word, environment: &mut Environment, out: &mut Vec<String>) -> bool {
    let splits = word.pieces.iter().any(|piece| matches!(piece, Piece::Variable { quoted: false, .. }));
    let (hidden, value) = evaluate(word, environment);
    if splits {
        out.extend(value.split_whitespace().map(str::to_owned));
    } else {
        out.push(value);
    }
    hidden
}

/// Cuts a script into the words of its simple commands. The flag tells that it holds what is not understood.
fn lex(script: &str) -> (Vec<Vec<Word>>, bool) {
    let mut lexer = Lexer { rest: script, ..Lexer::default() };
    while lexer.step() {}
    lexer.end_command();
    (lexer.commands, lexer.opaque)
}

#[derive(Default)]
struct Lexer<'a> {
    rest: &'a str,
    commands: Vec<Vec<Word>>,
    words: Vec<Word>,
    word: Word,
    double_quoted: bool,
    /// The next word is the target of a redirection.
    redirected: bool,
    opaque: bool,
}

impl<'a> Lexer<'a> {
    fn end_word(&mut self) {
        let word = std::mem::take(&mut self.word);
        if word.is_empty() {
            return;
        }
        if std::mem::take(&mut self.redirected) {
            return;
        }
        self.words.push(word);
    }

    fn end_command(&mut self) {
        self.end_word();
        self.redirected = false;
        let words = std::mem::take(&mut self.words);
        if !words.is_empty() {
            self.commands.push(words);
        }
    }

    /// Takes the text up to `end`, which is dropped too. Without it the script is not understood.
    fn take_until(&mut self, end: char) -> &'a str {
        if let Some((taken, rest)) = self.rest.split_once(end) {
            self.rest = rest;
            taken
        } else {
            self.opaque = true;
            std::mem::take(&mut self.rest)
        }
    }

    fn step(&mut self) -> bool {
        let mut chars = self.rest.chars();
        let Some(c) = chars.next() else {
            self.opaque |= self.double_quoted;
            return false;
        };
        let plain_until = |text: &str| text.find(|c: char| " \t\r\n\\'\"$`;&|()<>#".contains(c)).unwrap_or(text.len());
        let plain = if self.double_quoted {
            self.rest.find(['\\', '"', '$', '`']).unwrap_or(self.rest.len())
        } else {
            plain_until(self.rest)
        };
        if plain > 0 {
            let (taken, rest) = self.rest.split_at(plain);
            self.word.push(&clean(taken));
            self.rest = rest;
            return true;
        }
        self.rest = chars.as_str();
        match c {
            '\\' => self.escape(),
            '"' => {
                self.double_quoted = !self.double_quoted;
                self.word.quoted = true;
            }
            '$' => self.dollar(),
            '`' => {
                self.take_until('`');
                self.word.pieces.push(Piece::Unknown);
            }
            '\'' => {
                let text = self.take_until('\'');
                self.word.push(&clean(text));
                self.word.quoted = true;
            }
            ' ' | '\t' | '\r' => self.end_word(),
            '#' if self.word.is_empty() => {
                let end = self.rest.find('\n').unwrap_or(self.rest.len());
                self.rest = self.rest.get(end..).unwrap_or_default();
            }
            '#' => self.word.push("#"),
            '<' | '>' => self.redirect(c),
            // `name()` opens a function: the parentheses stay with the word for the caller to see.
            '(' if !self.word.is_empty() && self.rest.starts_with(')') => self.word.push("()"),
            _ => self.end_command(),
        }
        true
    }

    fn escape(&mut self) {
        let mut chars = self.rest.chars();
        let Some(c) = chars.next() else { return };
        self.rest = chars.as_str();
        if c == '\n' {
            return;
        }
        if self.double_quoted && !"$`\"\\".contains(c) {
            self.word.push("\\");
        }
        self.word.push(&clean(c.encode_utf8(&mut [0; 4])));
    }

    fn redirect(&mut self, c: char) {
        if c == '<' && self.rest.starts_with('<') {
            self.opaque = true;
        }
        let descriptor = self.word.literal().is_some_and(|word| word.bytes().all(|b| b.is_ascii_digit()));
        if descriptor {
            self.word = Word::default();
        }
        self.end_word();
        self.rest = self.rest.trim_start_matches(['<', '>', '&', '|']);
        self.redirected = true;
    }

    fn dollar(&mut self) {
        let quoted = self.double_quoted;
        let name_end = self.rest.find(|c: char| !(c.is_ascii_alphanumeric() || c == '_')).unwrap_or(self.rest.len());
        let piece = if let Some(inner) = self.rest.strip_prefix('(') {
            self.rest = inner;
            let command = self.take_substitution();
            if matches!(command.trim(), "hostname" | "hostname -s") { Piece::Pod } else { Piece::Unknown }
        } else if let Some(inner) = self.rest.strip_prefix('{') {
            self.rest = inner;
            let name = self.take_until('}');
            let plain = !name.is_empty() && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_');
            if plain && !name.starts_with(|c: char| c.is_ascii_digit()) {
                Piece::Variable { name: name.to_owned(), quoted }
            } else {
                Piece::Unknown
            }
        } else if name_end > 0 && !self.rest.starts_with(|c: char| c.is_ascii_digit()) {
            let (name, rest) = self.rest.split_at(name_end);
            self.rest = rest;
            Piece::Variable { name: name.to_owned(), quoted }
        } else if self.rest.starts_with(|c: char| c.is_ascii_digit() || "@*#?-$!".contains(c)) {
            self.rest = self.rest.get(1..).unwrap_or_default();
            Piece::Unknown
        } else {
            self.word.push("$");
            return;
        };
        self.word.pieces.push(piece);
    }

    /// Takes the text up to the parenthesis that closes `$(`.
    fn take_substitution(&mut self) -> &'a str {
        let mut depth = 1_usize;
        let mut quote = None;
        for (at, c) in self.rest.char_indices() {
            match (quote, c) {
                (Some(open), c) if open == c => quote = None,
                (None, '\'' | '"') => quote = Some(c),
                (None, '(') => depth += 1,
                (None, ')') => depth -= 1,
                _ => {}
            }
            if depth == 0 {
                let (taken, rest) = self.rest.split_at(at);
                self.rest = rest.get(1..).unwrap_or_default();
                return taken;
            }
        }
        self.opaque = true;
        std::mem::take(&mut self.rest)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::defrag::statefulset::{Container, EnvVar};

    fn run(script: &str) -> (Vec<Vec<String>>, bool) {
        let env = [("SVC", "etcd"), ("ARGS", "--a=1  --b=2"), ("QUOTA", "7")].map(|(name, value)| EnvVar {
            name: name.to_owned(),
            value: Some(value.to_owned()),
            value_from: None,
        });
        let container = Container { env: env.to_vec(), ..Container::default() };
        let mut environment = Environment::of(&container, "c", "ns");
        let script = read(script, &mut environment, "f");
        (script.invocations, script.opaque)
    }

    #[test]
    fn plain_words_of_etcd() {
        for (script, words) in [
            ("exec etcd --a=1", vec!["--a=1"]),
            ("/usr/bin/etcd --a 1 \\\n  --b=2\n", vec!["--a", "1", "--b=2"]),
            (
                "set -eu; mkdir -p /x && exec /bin/etcd '--a=x y' \"--b=$SVC\" --c=${SVC}d",
                vec!["--a=x y", "--b=etcd", "--c=etcdd"],
            ),
            ("S=$(cat /etc/state) T=1 /usr/bin/etcd --a", vec!["--a"]),
            ("etcd $ARGS --c=$QUOTA", vec!["--a=1", "--b=2", "--c=7"]),
            ("QUOTA=9\nexport SVC=x\netcd --q=$QUOTA --s=$SVC", vec!["--q=9", "--s=x"]),
            ("# etcd --not=this\netcd --this # --nor-this", vec!["--this"]),
            ("etcd --a > /dev/null 2>&1", vec!["--a"]),
            ("etcd --n=${HOSTNAME} --m=$(hostname)", vec!["--n=\u{E000}", "--m=\u{E000}"]),
            ("etcd --n=$(hostname -f) --m=${SVC:-x} --o=`x y`", vec!["--n=\u{E001}", "--m=\u{E001}", "--o=\u{E001}"]),
            ("etcd --a\\ b=\"c \\\" \\d\" $", vec!["--a b=c \" \\d", "$"]),
            ("exec env A=b etcd --a", vec!["--a"]),
            ("etcd --a=$(echo \")\" '(' (x)) --b", vec!["--a=\u{E001}", "--b"]),
        ] {
            assert_eq!(run(script), (vec![words.into_iter().map(str::to_owned).collect()], false), "{script}");
        }
    }

    #[test]
    fn a_condition_makes_assignments_unknown_but_not_the_words() {
        let script = "if [[ -f /x ]]; then\n  export QUOTA=9\nfi\netcd --q=$QUOTA --s=$SVC";
        assert_eq!(run(script), (vec![vec!["--q=\u{E001}".to_owned(), "--s=etcd".to_owned()]], false));
        let (both, opaque) = run("if x; then exec etcd --a=1; else exec etcd --a=2; fi");
        assert_eq!((both.len(), opaque), (2, false));
    }

    #[test]
    fn what_hides_words_is_opaque() {
        for script in [
            "",
            "/start.sh",
            "etcd \"$@\"",
            "etcd $1",
            ". /etc/env\netcd --a",
            "eval etcd",
            "source x; etcd",
            "cat <<E | etcd",
            "etcd 'x",
            "etcd \"x",
            "etcd --a=$(x",
            "$CMD --a",
            "etcd grpc-proxy start",
        ] {
            assert!(run(script).1, "{script}");
        }
    }
}
