//! Splits a shell script into words, without interpreting any of its constructs.

mod parameter;

/// Words of the shell itself, behind which a command begins.
pub(super) const KEYWORDS: [&str; 15] =
    ["if", "then", "elif", "else", "fi", "while", "until", "do", "done", "esac", "{", "}", "!", "time", "coproc"];

/// A part of a script, in the order of its text.
#[derive(Debug)]
pub(super) enum Item {
    Command(Command),
    /// `(`: a shell of its own begins.
    Open,
    /// `)`: it ends, or the pattern of a `case` does.
    Close,
    /// `;;`: a branch of a `case` ends.
    Branch,
    /// `((…))`, whatever is computed there.
    Arithmetic(String),
}

/// A simple command.
#[derive(Debug, Default)]
pub(super) struct Command {
    pub(super) words: Vec<Word>,
    /// Whether it runs only where the one before failed, or where a test before it held.
    pub(super) conditional: bool,
    /// Whether it reads from a pipe, which makes a shell of its own of it or of what it begins.
    pub(super) piped: bool,
    /// Whether it ends in a pipe or runs in the background, in a shell of its own.
    pub(super) apart: bool,
}

/// A part of a word.
#[derive(Debug)]
pub(super) enum Piece {
    Literal(String),
    Variable {
        name: String,
        quoted: bool,
    },
    /// `${NAME:-word}` and its like: the sign, and whether an empty variable counts as one that is not set.
    Default {
        name: String,
        sign: char,
        or_empty: bool,
        word: Vec<Piece>,
        quoted: bool,
    },
    /// `${NAME[@]}`; `${NAME[*]}`, which is one word between quotation marks.
    Array {
        name: String,
        quoted: bool,
        joined: bool,
    },
    /// `$((…))`.
    Number(String),
    /// What the pod calls itself.
    Hostname,
    Pod,
    Address,
    Unknown,
}

#[derive(Debug, Default)]
pub(super) struct Word {
    pub(super) pieces: Vec<Piece>,
    /// Whether any of it was quoted: a quoted word is no keyword.
    pub(super) quoted: bool,
    /// How many bytes at its beginning are not quoted.
    plain: usize,
    /// Whether it has braces that a shell may expand.
    pub(super) braced: bool,
    /// The words between the parentheses behind it, which fill an array.
    pub(super) array: Option<Vec<Word>>,
}

/// The beginning of a word that sets a variable.
pub(super) struct Assigned<'a> {
    pub(super) name: &'a str,
    /// Whether the value is added to the one before.
    pub(super) appends: bool,
    /// Whether it is one item of an array.
    pub(super) is_item: bool,
    /// The bytes in front of the value.
    pub(super) length: usize,
}

impl Word {
    pub(super) fn literal(&self) -> Option<&str> {
        match self.pieces.as_slice() {
            [Piece::Literal(text)] if !self.quoted => Some(text),
            _ => None,
        }
    }

    /// The name in front of `=`, where this is an assignment.
    pub(super) fn assigned(&self) -> Option<Assigned<'_>> {
        let Some(Piece::Literal(text)) = self.pieces.first() else {
            return None;
        };
        let (left, _) = text.get(..self.plain)?.split_once('=')?;
        let (bare, appends) = left.strip_suffix('+').map_or((left, false), |bare| (bare, true));
        let (name, is_item) = bare.split_once('[').map_or((bare, false), |(name, _)| (name, true));
        let is_right = is_identifier(name) && (!is_item || bare.ends_with(']'));
        is_right.then_some(Assigned { name, appends, is_item, length: left.len() + 1 })
    }

    /// Whether reading it may set a variable.
    pub(super) fn has_effects(&self) -> bool {
        self.pieces.iter().any(sets)
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

    /// Whether it ends where an array may begin.
    fn awaits_array(&self) -> bool {
        let [Piece::Literal(text)] = self.pieces.as_slice() else { return false };
        self.assigned().is_some_and(|assigned| assigned.length == text.len())
    }
}

fn sets(piece: &Piece) -> bool {
    match piece {
        Piece::Default { sign, word, .. } => *sign == '=' || word.iter().any(sets),
        Piece::Number(text) => ["=", "++", "--"].iter().any(|sign| text.contains(sign)),
        _ => false,
    }
}

/// The array of the words that a script is given.
pub(super) const GIVEN: &str = "@";

/// Whether this is the number of a word that a script is given.
pub(super) fn is_position(name: &str) -> bool {
    !name.is_empty() && name.len() < 4 && name.bytes().all(|byte| byte.is_ascii_digit())
}

/// Whether this is the name of a shell's variable.
pub(super) fn is_identifier(name: &str) -> bool {
    name.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_')
        && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')
}

/// Commands behind which `&&` is no test: they fail where something is broken only.
const NO_TESTS: [&str; 24] = [
    "mkdir", "cd", "echo", "printf", "export", "set", "unset", ":", "true", "chmod", "chown", "cp", "mv", "rm", "ln",
    "touch", "sleep", "umask", "ulimit", "exec", "readonly", "declare", "typeset", "shift",
];

/// Cuts a script into the words of its simple commands. The flag tells that it holds what is not understood.
pub(super) fn lex(script: &str) -> (Vec<Item>, bool) {
    let mut lexer = Lexer { rest: script, ..Lexer::default() };
    while lexer.step() {}
    lexer.end_command(false);
    lexer.opaque |= !lexer.documents.is_empty() || lexer.array.is_some();
    (lexer.items, lexer.opaque)
}

/// A here-document: the word that ends it, and whether tabs in front of that count.
struct Document {
    end: String,
    strips: bool,
}

#[derive(Default)]
#[expect(clippy::struct_excessive_bools, reason = "each is a state of its own, in any combination")]
struct Lexer<'a> {
    rest: &'a str,
    items: Vec<Item>,
    words: Vec<Word>,
    /// Whether the next command is conditional.
    conditional: bool,
    /// Whether the next command reads from a pipe.
    piped: bool,
    word: Word,
    double_quoted: bool,
    /// Whether this is the word of a parameter, in which blanks end nothing; and how many surround it.
    inside: Option<usize>,
    /// The next word is the target of a redirection.
    redirected: bool,
    /// The next word ends a here-document.
    document: Option<bool>,
    documents: Vec<Document>,
    /// The word in front of the parentheses that are open, and how many words precede theirs.
    array: Option<(Word, usize)>,
    /// Whether no `))` is left.
    computes_no_more: bool,
    opaque: bool,
}

impl<'a> Lexer<'a> {
    fn end_word(&mut self) {
        let word = std::mem::take(&mut self.word);
        if word.is_empty() {
            return;
        }
        if std::mem::take(&mut self.redirected) {
            if let Some(strips) = self.document.take() {
                match word.pieces.as_slice() {
                    [Piece::Literal(end)] => self.documents.push(Document { end: end.clone(), strips }),
                    _ => self.opaque = true,
                }
            }
            return;
        }
        self.words.push(word);
    }

    fn end_command(&mut self, apart: bool) {
        self.end_word();
        self.redirected = false;
        if self.array.is_some() {
            return;
        }
        let words = std::mem::take(&mut self.words);
        if !words.is_empty() {
            let conditional = std::mem::take(&mut self.conditional);
            let piped = std::mem::take(&mut self.piped);
            self.items.push(Item::Command(Command { words, conditional, piped, apart }));
        }
    }

    /// Ends a command with `&&` or `||`.
    fn link(&mut self, c: char) {
        self.end_command(false);
        let test = |item: &Item| {
            let Item::Command(command) = item else { return true };
            let Some(first) = command.words.first() else { return true };
            let no_test = first.assigned().is_some() || first.literal().is_some_and(|word| NO_TESTS.contains(&word));
            command.conditional || !no_test
        };
        self.conditional = c == '|' || self.items.last().is_some_and(test);
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
            self.opaque |= self.double_quoted && self.inside.is_none();
            return false;
        };
        let special: &[char] = match (self.double_quoted, self.inside) {
            (true, _) => &['\\', '"', '$', '`'],
            (false, Some(_)) => &['\\', '"', '$', '`', '\''],
            (false, None) => {
                &[' ', '\t', '\r', '\n', '\\', '\'', '"', '$', '`', ';', '&', '|', '(', ')', '<', '>', '#']
            }
        };
        let plain = self.rest.find(special).unwrap_or(self.rest.len());
        if plain > 0 {
            let (taken, rest) = self.rest.split_at(plain);
            if !self.double_quoted {
                if self.word.is_empty() {
                    self.word.plain = taken.len();
                }
                self.word.braced |= has_braces(taken);
            }
            self.word.push(taken);
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
                self.word.push(text);
                self.word.quoted = true;
            }
            ' ' | '\t' | '\r' => self.end_word(),
            '#' if self.word.is_empty() => {
                let end = self.rest.find('\n').unwrap_or(self.rest.len());
                self.rest = self.rest.get(end..).unwrap_or_default();
            }
            '#' => self.word.push("#"),
            _ => self.operator(c),
        }
        true
    }

    fn operator(&mut self, c: char) {
        match c {
            '<' | '>' => self.redirect(c),
            '&' if self.rest.starts_with('>') => self.redirect('>'),
            '&' | '|' if self.rest.starts_with(c) => {
                self.rest = self.rest.get(1..).unwrap_or_default();
                self.link(c);
            }
            '&' => self.end_command(true),
            '|' => {
                self.end_command(true);
                self.piped = true;
            }
            ';' if self.rest.starts_with([';', '&']) => {
                self.rest = self.rest.trim_start_matches([';', '&']);
                self.end_command(false);
                self.items.push(Item::Branch);
            }
            '(' if self.word.awaits_array() && self.array.is_none() => {
                self.array = Some((std::mem::take(&mut self.word), self.words.len()));
            }
            // `name()` opens a function: the parentheses stay with the word for the caller to see.
            '(' if !self.word.is_empty() && self.rest.starts_with(')') => {
                self.rest = self.rest.get(1..).unwrap_or_default();
                self.word.push("()");
            }
            '(' if self.word.is_empty() && self.rest.starts_with('(') && self.computes() => {}
            '(' => {
                self.end_command(false);
                // They make a shell of their own in any case.
                self.piped = false;
                self.items.push(Item::Open);
            }
            ')' if self.array.is_some() => self.end_array(),
            ')' => {
                self.end_command(false);
                self.items.push(Item::Close);
            }
            _ => {
                self.end_command(false);
                if c == '\n' {
                    self.skip_documents();
                }
            }
        }
    }

    fn end_array(&mut self) {
        self.end_word();
        if let Some((mut word, at)) = self.array.take() {
            word.array = Some(self.words.split_off(at.min(self.words.len())));
            self.words.push(word);
        }
    }

    /// Takes `((…))`, of which the first parenthesis is gone, where it ends.
    fn computes(&mut self) -> bool {
        let end = if self.computes_no_more { None } else { self.rest.find("))") };
        let Some((text, rest)) = end.and_then(|end| Some((self.rest.get(1..end)?, self.rest.get(end + 2..)?))) else {
            self.computes_no_more = true;
            return false;
        };
        self.rest = rest;
        self.end_command(false);
        self.items.push(Item::Arithmetic(text.to_owned()));
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
        self.word.push(c.encode_utf8(&mut [0; 4]));
    }

    fn redirect(&mut self, c: char) {
        let descriptor = self.word.literal().is_some_and(|word| word.bytes().all(|b| b.is_ascii_digit()));
        if descriptor {
            self.word = Word::default();
        }
        self.end_word();
        let document = self.rest.strip_prefix('<').filter(|rest| c == '<' && !rest.starts_with('<'));
        self.document = document.map(|rest| rest.starts_with('-'));
        if document.is_some_and(|rest| rest.starts_with('-')) {
            self.rest = self.rest.get(2..).unwrap_or_default();
        }
        self.rest = self.rest.trim_start_matches(['<', '>', '&', '|']);
        self.redirected = true;
    }

    /// Takes the here-documents that begin behind this line. What is computed in one may set variables.
    fn skip_documents(&mut self) {
        for Document { end, strips } in std::mem::take(&mut self.documents) {
            loop {
                let (line, rest) = self.rest.split_once('\n').unwrap_or((self.rest, ""));
                let ends = if strips { line.trim_start_matches('\t') } else { line } == end;
                self.opaque |= self.rest.is_empty() || (line.contains("${") && line.contains('='));
                self.rest = rest;
                if ends || self.rest.is_empty() {
                    self.opaque |= !ends;
                    break;
                }
            }
        }
    }

    fn dollar(&mut self) {
        let quoted = self.double_quoted;
        let name_end = self.rest.find(|c: char| !(c.is_ascii_alphanumeric() || c == '_')).unwrap_or(self.rest.len());
        let piece = if let Some(inner) = self.rest.strip_prefix('(') {
            self.rest = inner;
            let command = self.take_substitution();
            match command.trim() {
                "hostname" => Piece::Hostname,
                "hostname -s" => Piece::Pod,
                "hostname -i" | "hostname -I" | "hostname --ip-address" => Piece::Address,
                _ => command
                    .strip_prefix('(')
                    .and_then(|inner| inner.strip_suffix(')'))
                    .map_or(Piece::Unknown, |inner| Piece::Number(inner.to_owned())),
            }
        } else if let Some(inner) = self.rest.strip_prefix('{') {
            self.rest = inner;
            let text = self.take_braced();
            self.parameter(text)
        } else if name_end > 0 && !self.rest.starts_with(|c: char| c.is_ascii_digit()) {
            let (name, rest) = self.rest.split_at(name_end);
            self.rest = rest;
            Piece::Variable { name: name.to_owned(), quoted }
        } else if let Some(c) = self.rest.chars().next().filter(|c| c.is_ascii_digit() || "@*#?-$!".contains(*c)) {
            self.rest = self.rest.get(1..).unwrap_or_default();
            match c {
                '@' | '*' => Piece::Array { name: GIVEN.to_owned(), quoted, joined: c == '*' },
                c if c.is_ascii_digit() => Piece::Variable { name: c.to_string(), quoted },
                _ => Piece::Unknown,
            }
        } else if !quoted && self.rest.starts_with('\'') {
            self.rest = self.rest.get(1..).unwrap_or_default();
            self.ansi();
            return;
        } else if !quoted && self.rest.starts_with('"') {
            return;
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

/// Whether a part of a word without quotation marks begins what bash makes several words of.
fn has_braces(text: &str) -> bool {
    text.split_once('{').is_some_and(|(_, rest)| rest.contains(',') || rest.contains(".."))
}
