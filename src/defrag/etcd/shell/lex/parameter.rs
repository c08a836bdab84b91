//! `${…}` and `$'…'`.

use super::{GIVEN, Lexer, Piece, is_identifier, is_position};

/// How many parameters within each other are read.
const DEEPEST: usize = 4;

impl<'a> Lexer<'a> {
    /// Takes the text up to the brace that closes `${`.
    pub(super) fn take_braced(&mut self) -> &'a str {
        let (mut depth, mut quote, mut escaped, mut dollar) = (1_usize, None, false, false);
        for (at, c) in self.rest.char_indices() {
            let after_dollar = std::mem::replace(&mut dollar, false);
            if std::mem::replace(&mut escaped, false) {
                continue;
            }
            match (quote, c) {
                (Some('\''), '\'') => quote = None,
                (Some('\''), _) => {}
                (_, '\\') => escaped = true,
                (_, '$') => dollar = true,
                (Some(_), '"') => quote = None,
                (None, '"') => quote = Some('"'),
                (None, '\'') if !self.double_quoted => quote = Some('\''),
                (_, '{') if after_dollar => depth += 1,
                (_, '}') if depth > 1 => depth -= 1,
                (None, '}') => {
                    let (taken, rest) = self.rest.split_at(at);
                    self.rest = rest.get(1..).unwrap_or_default();
                    return taken;
                }
                _ => {}
            }
        }
        self.opaque = true;
        std::mem::take(&mut self.rest)
    }

    /// The text between the braces of a parameter.
    pub(super) fn parameter(&mut self, text: &str) -> Piece {
        let quoted = self.double_quoted;
        let end = text.find(|c: char| !(c.is_ascii_alphanumeric() || c == '_')).unwrap_or(text.len());
        let (name, rest) = text.split_at(end);
        if let "@" | "*" = text {
            return Piece::Array { name: GIVEN.to_owned(), quoted, joined: text == "*" };
        }
        if !is_identifier(name) && !is_position(name) {
            // `${!NAME=…}` sets the variable that another one names.
            self.opaque |= text.starts_with('!') && text.contains('=');
            return Piece::Unknown;
        }
        let name = name.to_owned();
        match rest {
            "" => return Piece::Variable { name, quoted },
            "[@]" | "[*]" => return Piece::Array { name, quoted, joined: rest == "[*]" },
            _ => {}
        }
        let (rest, or_empty) = rest.strip_prefix(':').map_or((rest, false), |rest| (rest, true));
        let mut chars = rest.chars();
        match chars.next() {
            Some(sign @ ('-' | '=' | '+' | '?')) => {
                Piece::Default { name, sign, or_empty, word: self.pieces(chars.as_str()), quoted }
            }
            _ => Piece::Unknown,
        }
    }

    /// The pieces of a word in which blanks and operators are plain text.
    fn pieces(&mut self, text: &str) -> Vec<Piece> {
        let depth = self.inside.unwrap_or(0) + 1;
        if depth > DEEPEST {
            return vec![Piece::Unknown];
        }
        let double_quoted = self.double_quoted;
        let mut inner = Lexer { rest: text, inside: Some(depth), double_quoted, ..Lexer::default() };
        while inner.step() {}
        self.opaque |= inner.opaque;
        inner.word.pieces
    }

    /// `$'…'`, in which a backslash stands for what it does in C. The opening quotation mark is gone.
    pub(super) fn ansi(&mut self) {
        self.word.quoted = true;
        let mut text = String::new();
        let mut is_known = true;
        let mut chars = self.rest.chars();
        loop {
            let c = match chars.next() {
                Some('\'') => break,
                Some('\\') => match chars.next() {
                    Some('n') => '\n',
                    Some('t') => '\t',
                    Some('r') => '\r',
                    Some(c @ ('\\' | '\'' | '"' | '?')) => c,
                    other => {
                        is_known = false;
                        self.opaque |= other.is_none();
                        continue;
                    }
                },
                Some(c) => c,
                None => {
                    self.opaque = true;
                    break;
                }
            };
            text.push(c);
        }
        self.rest = chars.as_str();
        if is_known {
            self.word.push(&text);
        } else {
            self.word.pieces.push(Piece::Unknown);
        }
    }
}
