//! Input: a duration as Go writes it.

use std::time::Duration;

use etcd_defrag_webhook::defrag::duration::{DurationError, format_go, in_words, parse, parse_unsigned};

pub fn check(input: &[u8]) {
    let Ok(text) = str::from_utf8(input) else { return };
    match parse(text) {
        Ok(nanoseconds) => read(text, nanoseconds),
        Err(error) => {
            assert!(!error.to_string().contains(char::is_control), "{error}");
            assert!(error.suggestion().is_none_or(|suggestion| parse(suggestion).is_ok()), "{text:?}: {error}");
            assert_eq!(parse_unsigned(text), Err(error));
        }
    }
}

fn read(text: &str, nanoseconds: i64) {
    let duration = Duration::from_nanos(nanoseconds.unsigned_abs());
    let written = format_go(duration);
    assert!(!in_words(duration).is_empty());
    if nanoseconds < 0 {
        assert_eq!(parse(&format!("-{written}")), Ok(nanoseconds), "{text:?} is written as -{written}");
        assert_eq!(parse_unsigned(text), Err(DurationError::Negative(text.to_owned())));
    } else {
        assert_eq!(parse(&written), Ok(nanoseconds), "{text:?} is written as {written}");
        assert_eq!(parse_unsigned(text), Ok(duration));
    }
}
