//! `$((…))`, as far as it is plain arithmetic of whole numbers.

use super::lex::is_identifier;

/// How many parentheses within each other are read.
const DEEPEST: usize = 16;

/// The value of a computation with `+ - * <<` and parentheses; `None` for anything else, or if it overflows.
pub(super) fn evaluate(text: &str, value: &mut dyn FnMut(&str) -> String) -> Option<i64> {
    let mut reader = Reader { rest: text, value, depth: 0 };
    let number = reader.shifted()?;
    reader.rest.trim_start().is_empty().then_some(number)
}

/// The variables that a computation may set.
pub(super) fn assigned(text: &str) -> Vec<&str> {
    let compares = |at: usize| {
        let (before, from) = text.split_at_checked(at).unwrap_or_default();
        let orders = before.ends_with(['<', '>']) && !before.ends_with("<<") && !before.ends_with(">>");
        from.starts_with("==") || before.ends_with(['=', '!']) || orders
    };
    let assigns = text.match_indices('=').any(|(at, _)| !compares(at)) || text.contains("++") || text.contains("--");
    let words = text.split(|c: char| !(c.is_ascii_alphanumeric() || c == '_'));
    if assigns { words.filter(|word| is_identifier(word)).collect() } else { Vec::new() }
}

struct Reader<'a, 'v> {
    rest: &'a str,
    value: &'v mut dyn FnMut(&str) -> String,
    depth: usize,
}

impl<'a> Reader<'a, '_> {
    /// Takes `sign`, if it is next.
    fn takes(&mut self, sign: &str) -> bool {
        let rest = self.rest.trim_start();
        let behind = rest.strip_prefix(sign);
        self.rest = behind.unwrap_or(rest);
        behind.is_some()
    }

    fn shifted(&mut self) -> Option<i64> {
        let mut number = self.sum()?;
        while self.takes("<<") {
            let by = u32::try_from(self.sum()?).ok()?;
            number = number.checked_mul(1_i64.checked_shl(by).filter(|power| *power > 0)?)?;
        }
        Some(number)
    }

    fn sum(&mut self) -> Option<i64> {
        let mut number = self.product()?;
        loop {
            if self.takes("+") {
                number = number.checked_add(self.product()?)?;
            } else if self.takes("-") {
                number = number.checked_sub(self.product()?)?;
            } else {
                return Some(number);
            }
        }
    }

    fn product(&mut self) -> Option<i64> {
        let mut number = self.operand()?;
        while !self.rest.trim_start().starts_with("**") && self.takes("*") {
            number = number.checked_mul(self.operand()?)?;
        }
        Some(number)
    }

    fn operand(&mut self) -> Option<i64> {
        if self.takes("(") {
            self.depth += 1;
            let number = if self.depth > DEEPEST { None } else { self.shifted() }?;
            self.depth -= 1;
            return self.takes(")").then_some(number);
        }
        let is_reference = self.takes("${");
        if !is_reference {
            self.takes("$");
        }
        let word = self.word();
        if is_reference && !self.takes("}") {
            return None;
        }
        if is_identifier(word) { decimal(&(self.value)(word)) } else { decimal(word) }
    }

    fn word(&mut self) -> &'a str {
        let rest = self.rest.trim_start();
        let end = rest.find(|c: char| !(c.is_ascii_alphanumeric() || c == '_')).unwrap_or(rest.len());
        let (word, rest) = rest.split_at(end);
        self.rest = rest;
        word
    }
}

/// A number of base ten; a leading zero would make it one of base eight.
fn decimal(text: &str) -> Option<i64> {
    let is_decimal = text == "0" || !text.starts_with('0') && text.bytes().all(|byte| byte.is_ascii_digit());
    if is_decimal { text.parse().ok() } else { None }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whole_numbers_are_computed() {
        let mut value = |name: &str| if name == "GIB" { "1073741824".to_owned() } else { String::new() };
        for (text, expected) in [
            ("8*1024*1024*1024", Some(8 << 30)),
            (" 8 * GIB ", Some(8 << 30)),
            ("8*$GIB", Some(8 << 30)),
            ("8 * ${GIB}", Some(8 << 30)),
            ("8<<30", Some(8 << 30)),
            ("(2+6) * GIB - 1", Some((8 << 30) - 1)),
            ("1+2*3", Some(7)),
            ("1 << 2 + 1", Some(8)),
            ("0", Some(0)),
            ("", None),
            ("010", None),
            ("2**3", None),
            ("8/2", None),
            ("A", None),
            ("1 2", None),
            ("(1", None),
            ("1<<63", None),
            ("1<<64", None),
            ("9223372036854775807+1", None),
            ("a=1", None),
        ] {
            assert_eq!(evaluate(text, &mut value), expected, "{text}");
        }
        assert_eq!(evaluate(&"(".repeat(100_000), &mut value), None);
    }

    #[test]
    fn what_a_computation_may_set_is_named() {
        for (text, names) in [
            ("a=1", vec!["a"]),
            ("a = b * 2", vec!["a", "b"]),
            ("i++", vec!["i"]),
            ("--i", vec!["i"]),
            ("a<<=2", vec!["a"]),
            ("a == 1 && b != 2 || c <= 3 || d >= 4", vec![]),
            ("a*2", vec![]),
        ] {
            assert_eq!(assigned(text), names, "{text}");
        }
    }
}
