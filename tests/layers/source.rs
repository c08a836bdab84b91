//! Rust source as tokens, without comments, texts and tests.

/// A name, `::`, or one character of anything else.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Token {
    pub text: String,
    pub line: usize,
}

/// The tokens of a file, without those of its tests.
pub fn tokens(source: &str) -> Vec<Token> {
    without_tests(&lex(source))
}

/// Where the bracket at `open` is closed, or the end.
pub fn closing(tokens: &[Token], open: usize) -> usize {
    let mut depth = 0_usize;
    for (at, token) in tokens.iter().enumerate().skip(open) {
        match token.text.as_str() {
            "(" | "[" | "{" => depth += 1,
            ")" | "]" | "}" => depth = depth.saturating_sub(1),
            _ => {}
        }
        if depth == 0 {
            return at;
        }
    }
    tokens.len()
}

fn lex(source: &str) -> Vec<Token> {
    let chars: Vec<char> = source.chars().collect();
    let (mut tokens, mut at, mut line) = (Vec::new(), 0, 1);
    while let Some(&char) = chars.get(at) {
        let rest = &chars[at..];
        let length = skipped(rest).unwrap_or_else(|| {
            let name = rest.iter().take_while(|c| c.is_alphanumeric() || **c == '_').count();
            let length = if name > 0 { name } else { 1 + usize::from(rest.starts_with(&[':', ':'])) };
            if !char.is_whitespace() {
                tokens.push(Token { text: rest[..length].iter().collect(), line });
            }
            length
        });
        line += rest[..length].iter().filter(|c| **c == '\n').count();
        at += length;
    }
    tokens
}

/// The length of the comment, text or character that begins here.
fn skipped(rest: &[char]) -> Option<usize> {
    match rest {
        ['/', '/', ..] => Some(rest.iter().take_while(|c| **c != '\n').count()),
        ['/', '*', ..] => Some(block_comment(rest)),
        ['b' | 'c', tail @ ..] if matches!(tail, ['"' | '\'', ..] | ['r', '"' | '#', ..]) => Some(1 + skipped(tail)?),
        ['r', tail @ ..] => raw_text(tail).map(|length| 1 + length),
        ['"', ..] => Some(quoted(rest, '"')),
        ['\'', '\\', ..] => Some(quoted(rest, '\'')),
        // A lifetime has no second quote.
        ['\'', _, '\'', ..] => Some(3),
        _ => None,
    }
}

fn block_comment(rest: &[char]) -> usize {
    let (mut depth, mut at) = (0_usize, 0);
    while at < rest.len() {
        match &rest[at..] {
            ['/', '*', ..] => (depth, at) = (depth + 1, at + 2),
            ['*', '/', ..] => (depth, at) = (depth - 1, at + 2),
            _ => at += 1,
        }
        if depth == 0 {
            break;
        }
    }
    at
}

fn raw_text(tail: &[char]) -> Option<usize> {
    let hashes = tail.iter().take_while(|c| **c == '#').count();
    let body = tail[hashes..].strip_prefix(&['"'])?;
    let mut end = vec!['"'];
    end.extend(std::iter::repeat_n('#', hashes));
    let length = body.windows(end.len()).position(|window| window == end)?;
    Some(hashes + 1 + length + end.len())
}

fn quoted(rest: &[char], quote: char) -> usize {
    let mut at = 1;
    while at < rest.len() && rest[at] != quote {
        at += 1 + usize::from(rest[at] == '\\');
    }
    (at + 1).min(rest.len())
}

fn without_tests(tokens: &[Token]) -> Vec<Token> {
    let is = |at: usize, wanted: &[&str]| {
        wanted.iter().enumerate().all(|(i, text)| tokens.get(at + i).is_some_and(|token| token.text == *text))
    };
    let (mut kept, mut at) = (Vec::new(), 0);
    while at < tokens.len() {
        if is(at, &["#", "[", "cfg", "(", "test", ")", "]"]) {
            at = end_of_item(tokens, at + 7);
        } else {
            kept.push(tokens[at].clone());
            at += 1;
        }
    }
    kept
}

/// Behind the item that begins at `at`: behind its semicolon or its braces.
fn end_of_item(tokens: &[Token], mut at: usize) -> usize {
    while let Some(token) = tokens.get(at) {
        match token.text.as_str() {
            ";" => return at + 1,
            "{" => return closing(tokens, at) + 1,
            "(" | "[" => at = closing(tokens, at) + 1,
            _ => at += 1,
        }
    }
    at
}
