//! Cuts a shell script into words, without following any of its constructs.

use super::super::marks::clean;

/// A simple command.
#[derive(Debug, Default)]
pub(super) struct Command {
    pub(super) words: Vec<Word>,
    /// Whether it runs only where the one before failed, or where a test before it held.
    pub(super) conditional: bool,
}

/// A part of a word.
#[derive(Debug)]
pub(super) enum Piece {
    Literal(String),
    Variable { name: String, quoted: bool },
    Pod,
    Address,
    Unknown,
}

#[derive(Debug, Default)]
pub(super) struct Word {
    pub(super) pieces: Vec<Piece>,
    /// Whether any of it was quoted: a quoted word is neither a keyword nor an assignment.
    pub(super) quoted: bool,
}

impl Word {
    pub(super) fn literal(&self) -> Option<&str> {
        match self.pieces.as_slice() {
            [Piece::Literal(text)] if !self.quoted => Some(text),
            _ => None,
        }
    }

    /// The name in front of `=`, where this is an assignment.
    pub(super) fn assigned(&self) -> Option<&str> {
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

/// Cuts a script into the words of its simple commands. The flag tells that it holds what is not understood.
pub(super) fn lex(script: &str) -> (Vec<Command>, bool) {
    let mut lexer = Lexer { rest: script, ..Lexer::default() };
    while lexer.step() {}
    lexer.end_command();
    (lexer.commands, lexer.opaque)
}

#[derive(Default)]
#[expect(clippy::struct_excessive_bools, reason = "each is a state of its own, in any combination")]
struct Lexer<'a> {
    rest: &'a str,
    commands: Vec<Command>,
    words: Vec<Word>,
    /// Whether the next command is conditional.
    conditional: bool,
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
            self.commands.push(Command { words, conditional: std::mem::take(&mut self.conditional) });
        }
    }

    /// Ends a command with `&&` or `||`.
    fn link(&mut self, c: char) {
        self.end_command();
        let test = |command: &Command| {
            let first = command.words.first().and_then(Word::literal);
            matches!(first, Some("[" | "[[" | "test" | "if" | "while" | "until" | "!")) || command.conditional
        };
        self.conditional = c == '|' || self.commands.last().is_some_and(test);
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
            '&' | '|' if self.rest.starts_with(c) => {
                self.rest = self.rest.get(1..).unwrap_or_default();
                self.link(c);
            }
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
            match command.trim() {
                "hostname" | "hostname -s" => Piece::Pod,
                "hostname -i" | "hostname -I" | "hostname --ip-address" => Piece::Address,
                _ => Piece::Unknown,
            }
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
