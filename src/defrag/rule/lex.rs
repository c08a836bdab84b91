//! The tokens of a rule, as Go's scanner and the engine's expression library read them.

use super::{
    error::{Construct, RuleError, RuleErrorKind},
    number,
};

/// A word of a rule.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Token<'a> {
    /// An integer literal.
    Integer(i64),
    /// A floating-point literal.
    Float(f64),
    /// A name or keyword.
    Name(&'a str),
    /// An operator or bracket.
    Mark(&'static str),
    /// The end of the rule.
    End,
}

/// A word and the bytes of the rule that it takes.
#[derive(Clone, Copy, Debug)]
pub(super) struct Word<'a> {
    pub(super) token: Token<'a>,
    pub(super) start: usize,
    pub(super) end: usize,
}

/// Go's operators, longest first, so that the first that fits is the one that Go reads; those that the expression
/// language does not have are here because Go still reads them as one word (`a--b` is an error, `a - -b` is not).
const MARKS: [&str; 47] = [
    "<<=", ">>=", "&^=", "...", "&&", "||", "==", "!=", "<=", ">=", "<<", ">>", "<-", "++", "--", "+=", "-=", "*=",
    "/=", "%=", "^=", "&=", "|=", ":=", "&^", "+", "-", "*", "/", "%", "!", "~", "<", ">", "&", "|", "^", "?", ":",
    "(", ")", "[", "]", "{", "}", ".", ",",
];

/// The marks among [`MARKS`] that no expression has.
const FOREIGN: [(&str, &str); 18] = [
    ("<<=", "a rule cannot assign values; compare with == or <="),
    (">>=", "a rule cannot assign values; compare with == or >="),
    ("&^=", "a rule cannot assign values; compare with =="),
    ("...", "write a number such as 0.5"),
    ("++", "put a space between the two signs"),
    ("--", "put a space between the two signs: a - -b"),
    ("+=", "a rule cannot assign values; compare with =="),
    ("-=", "a rule cannot assign values; compare with =="),
    ("*=", "a rule cannot assign values; compare with =="),
    ("/=", "write != for \"not equal\""),
    ("%=", "a rule cannot assign values; compare with =="),
    ("^=", "a rule cannot assign values; compare with =="),
    ("&=", "write && for \"and\""),
    ("|=", "write || for \"or\""),
    (":=", "a rule cannot assign values; compare with =="),
    ("&^", "write a & (~b)"),
    ("=", "write == to compare"),
    (";", "a rule is one expression; join two with && or ||"),
];

/// Reads the words of a rule one by one.
#[derive(Clone, Debug)]
pub(super) struct Lexer<'a> {
    text: &'a str,
    position: usize,
    /// The second half of `<-`, which is two words.
    pending_minus: bool,
}

impl<'a> Lexer<'a> {
    pub(super) fn new(text: &'a str) -> Self {
        // Go skips a byte order mark at the start, and only there.
        let position = if text.starts_with('\u{feff}') { '\u{feff}'.len_utf8() } else { 0 };
        Self { text, position, pending_minus: false }
    }

    fn rest(&self) -> &'a str {
        self.text.get(self.position..).unwrap_or_default()
    }

    /// The next word; [`Token::End`] for ever at the end.
    pub(super) fn next(&mut self) -> Result<Word<'a>, RuleError> {
        if std::mem::take(&mut self.pending_minus) {
            return Ok(Word { token: Token::Mark("-"), start: self.position - 1, end: self.position });
        }
        self.skip_blanks();
        let start = self.position;
        let rest = self.rest();
        let Some(first) = rest.chars().next() else {
            return Ok(Word { token: Token::End, start, end: start });
        };
        if first.is_alphabetic() || first == '_' {
            let length = rest.find(|c: char| !(c.is_alphanumeric() || c == '_')).unwrap_or(rest.len());
            self.position += length;
            let name = rest.get(..length).unwrap_or_default();
            return Ok(Word { token: Token::Name(name), start, end: self.position });
        }
        let mut following = rest.chars().skip(1);
        if first.is_ascii_digit() || first == '.' && following.next().is_some_and(|c| c.is_ascii_digit()) {
            return self.number(start);
        }
        self.mark(start, first)
    }

    /// Blanks and comments. An unclosed `/*` comment reaches to the end, as in Go's scanner without an error handler.
    fn skip_blanks(&mut self) {
        loop {
            let rest = self.rest();
            let blank = rest.find(|c| !matches!(c, ' ' | '\t' | '\n' | '\r')).unwrap_or(rest.len());
            let body = rest.get(blank..).unwrap_or_default();
            let comment = if body.starts_with("//") {
                body.find('\n').unwrap_or(body.len())
            } else if let Some(inside) = body.strip_prefix("/*") {
                inside.find("*/").map_or(body.len(), |at| at + 4)
            } else {
                0
            };
            if blank + comment == 0 {
                return;
            }
            self.position += blank + comment;
        }
    }

    fn number(&mut self, start: usize) -> Result<Word<'a>, RuleError> {
        let (length, kind) = scan_number(self.rest().as_bytes());
        let literal = self.rest().get(..length).unwrap_or_default();
        self.position += length;
        let token = match kind {
            NumberKind::Integer => number::integer(literal).map(Token::Integer),
            NumberKind::Float => number::float(literal).map(Token::Float),
            NumberKind::Imaginary => None,
        };
        let token = token.ok_or_else(|| RuleError {
            kind: RuleErrorKind::Literal,
            column: column(self.text, start),
            found: format!("the number {}", quote(literal)),
            expected: "a number that fits into 64 bits, such as 209715200, 0.8 or 1e9".to_owned(),
            suggestion: literal_hint(literal, kind),
        })?;
        Ok(Word { token, start, end: self.position })
    }

    fn mark(&mut self, start: usize, first: char) -> Result<Word<'a>, RuleError> {
        let rest = self.rest();
        if matches!(first, '"' | '`') {
            return Err(self.refused(start, Construct::Text));
        }
        let mark = MARKS.iter().find(|mark| rest.starts_with(**mark)).copied();
        let foreign =
            FOREIGN.iter().find(|(text, _)| mark.map_or_else(|| rest.starts_with(text), |mark| mark == *text));
        match (mark, foreign) {
            (Some(mark), None) => {
                self.position += mark.len();
                if mark == "<-" {
                    self.pending_minus = true;
                    return Ok(Word { token: Token::Mark("<"), start, end: self.position - 1 });
                }
                Ok(Word { token: Token::Mark(mark), start, end: self.position })
            }
            (_, Some((text, hint))) => {
                let hint = match rest.get(..2) {
                    Some("=>") => "write >=",
                    Some("=<") => "write <=",
                    _ => *hint,
                };
                Err(self.unknown(start, text, Some(hint.to_owned())))
            }
            (None, None) => Err(self.unknown(start, &first.to_string(), character_hint(first))),
        }
    }

    fn unknown(&self, start: usize, text: &str, suggestion: Option<String>) -> RuleError {
        RuleError {
            kind: RuleErrorKind::Syntax,
            column: column(self.text, start),
            found: quote(text),
            expected: "a number, a variable or an operator such as > && ||".to_owned(),
            suggestion,
        }
    }

    pub(super) fn refused(&self, start: usize, construct: Construct) -> RuleError {
        RuleError {
            kind: RuleErrorKind::Refused(construct),
            column: column(self.text, start),
            found: construct.to_string(),
            expected: "a number, a variable or an operator: a rule compares numbers".to_owned(),
            suggestion: match construct {
                Construct::Power => {
                    Some("write a whole exponent, and brackets around the power: 200*(2**20)".to_owned())
                }
                Construct::Function => Some("the engine defines no functions; write the arithmetic out".to_owned()),
                _ => None,
            },
        }
    }
}

/// Where a comment begins that reaches to the end of the rule, so that whatever is added there belongs to it.
pub(super) fn comment_at_end(text: &str) -> Option<usize> {
    let mut lexer = Lexer::new(text);
    let mut at = lexer.position;
    while let Ok(word) = lexer.next()
        && word.token != Token::End
    {
        at = word.end;
    }
    loop {
        let rest = text.get(at..)?;
        let body = rest.trim_start_matches([' ', '\t', '\n', '\r']);
        let begin = at + rest.len() - body.len();
        let (mark, end) = if body.starts_with("//") { ("//", "\n") } else { ("/*", "*/") };
        match body.strip_prefix(mark)?.find(end) {
            Some(inside) => at = begin + mark.len() + inside + end.len(),
            None => return Some(begin),
        }
    }
}

/// The 1-based character at byte `position` of `text`.
pub(super) fn column(text: &str, position: usize) -> usize {
    text.char_indices().take_while(|(at, _)| *at < position).count() + 1
}

/// What a person wrote, quoted and cut for a message.
pub(super) fn quote(text: &str) -> String {
    super::super::finding::quoted(&super::super::finding::shorten(text, 40))
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum NumberKind {
    Integer,
    Float,
    Imaginary,
}

/// How many bytes Go's scanner takes for the number at the start of `text`, and what it takes it for. The scanner takes
/// more than is valid (`0b12`, `1e`); the value decides later.
fn scan_number(text: &[u8]) -> (usize, NumberKind) {
    let at = |i: usize| text.get(i).copied().unwrap_or(0);
    let run = |mut i: usize, hexadecimal: bool| {
        while at(i) == b'_' || at(i).is_ascii_digit() || hexadecimal && at(i).is_ascii_hexdigit() {
            i += 1;
        }
        i
    };
    let mut kind = NumberKind::Integer;
    let hexadecimal = at(0) == b'0' && matches!(at(1), b'x' | b'X');
    let prefixed = hexadecimal || at(0) == b'0' && matches!(at(1), b'o' | b'O' | b'b' | b'B');
    let mut i = run(if prefixed { 2 } else { 0 }, hexadecimal);
    if at(i) == b'.' {
        kind = NumberKind::Float;
        i = run(i + 1, hexadecimal);
    }
    if matches!(at(i), b'e' | b'E' | b'p' | b'P') {
        kind = NumberKind::Float;
        i += 1;
        if matches!(at(i), b'+' | b'-') {
            i += 1;
        }
        i = run(i, false);
    }
    if at(i) == b'i' {
        kind = NumberKind::Imaginary;
        i += 1;
    }
    (i, kind)
}

fn literal_hint(literal: &str, kind: NumberKind) -> Option<String> {
    let digits = literal.trim_start_matches('0');
    if kind == NumberKind::Integer && !digits.is_empty() && digits.bytes().all(|b| b.is_ascii_digit()) {
        if literal.starts_with('0') {
            return Some(format!("a leading 0 means octal; write {digits}"));
        }
        return Some(format!("write {literal}.0 for a floating-point number"));
    }
    if kind == NumberKind::Imaginary {
        return Some("write sizes in bytes: 200*1024*1024 for 200 MiB".to_owned());
    }
    None
}

fn character_hint(character: char) -> Option<String> {
    Some(match character {
        '≥' => "write >=".to_owned(),
        '≤' => "write <=".to_owned(),
        '≠' => "write !=".to_owned(),
        '×' | '·' => "write *".to_owned(),
        '÷' => "write /".to_owned(),
        '−' | '–' | '—' => "write -".to_owned(),
        '“' | '”' | '‘' | '’' | '\'' => "leave the quotation mark out".to_owned(),
        '\u{a0}' => "write an ordinary space".to_owned(),
        _ => return None,
    })
}
