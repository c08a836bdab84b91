//! `H`, the letter for a number which is fixed for one etcd and different for the next.
//!
//! | written | means | resolves to |
//! | --- | --- | --- |
//! | `H` | some value of the field | `37` |
//! | `H(a-b)` | some value of the range | `3` |
//! | `H/n` | every n-th value from some value among the first n | `7-59/15` |
//! | `H(a-b)/n` | the same inside the range | `9-17/4` |
//!
//! The whole field is 0–59, 0–23, 1–28, 1–12 and 0–6: days of the month end at 28 so that every month has one. Names are
//! allowed inside the brackets where the field has names. A step that leaves a single value resolves to that value, since
//! kube-state-metrics 2.19 crashes on a step as large as its range.
//!
//! # The hash
//!
//! Stable across versions: the first eight bytes, as a big-endian unsigned integer, of the SHA-256 of
//! `<namespace>/<name>/<index>`, where the index is 0 for minute, 1 for hour, 2 for day of month, 3 for month and 4 for day
//! of week, in ASCII; modulo the number of candidates (the range, or n if that is less); added to the low end.

use std::cell::LazyCell;

use sha2::{Digest, Sha256};

use super::{
    error::{Problem, ScheduleError},
    field::Field,
    parse::{self, Token},
};

/// Whether an item is meant as a hash: an `H` that is no part of a name.
pub(super) fn is_hash(item: &str) -> bool {
    item.strip_prefix('H').is_some_and(|rest| rest.is_empty() || rest.starts_with(['(', '/', '-']))
}

/// The schedule with each `H` resolved for the object of this namespace and name; a schedule without `H` comes back
/// untouched, whether it parses or not.
///
/// # Errors
///
/// Where an `H` is of none of the documented forms or its range or step is not one that the field can have.
pub fn resolve_hash(text: &str, namespace: &str, name: &str) -> Result<String, ScheduleError> {
    resolve(text, namespace, name).map_err(|error| error.with_suggestion(text))
}

/// [`resolve_hash`] without corrections.
pub(super) fn resolve(text: &str, namespace: &str, name: &str) -> Result<String, ScheduleError> {
    if !text.contains('H') || text.starts_with('@') || !parse::tokens(text).any(|t| t.text.split(',').any(is_hash)) {
        return Ok(text.to_owned());
    }
    let mut out = String::with_capacity(text.len() + 16);
    let mut copied = 0;
    for (index, (field, token)) in Field::ALL.into_iter().zip(parse::fields(text)?).enumerate() {
        let hash = LazyCell::new(|| hash(namespace, name, index));
        for item in token.items().filter(|item| is_hash(item.text)) {
            out.push_str(text.get(copied..item.start).unwrap_or_default());
            out.push_str(&resolve_item(text, field, item, *hash)?);
            copied = item.range().end;
        }
    }
    out.push_str(text.get(copied..).unwrap_or_default());
    Ok(out)
}

fn hash(namespace: &str, name: &str, index: usize) -> u64 {
    let digest = Sha256::digest(format!("{namespace}/{name}/{index}"));
    digest.iter().take(8).fold(0, |value, byte| value << 8 | u64::from(*byte))
}

fn resolve_item(text: &str, field: Field, item: Token<'_>, hash: u64) -> Result<String, ScheduleError> {
    let syntax = || ScheduleError::new(text, Some(field), item.range(), Problem::HashSyntax);
    let (base, step) = item.split_once('/');
    let (low, high) = if base.text == "H" {
        (field.min(), if field == Field::DayOfMonth { 28 } else { field.max() })
    } else {
        let inner = base.text.strip_prefix("H(").and_then(|rest| rest.strip_suffix(')')).ok_or_else(syntax)?;
        let inner = Token { text: inner, start: base.start + 2 };
        let (first, Some(second)) = inner.split_once('-') else { return Err(syntax()) };
        let bound = |token: Token<'_>| {
            let value = parse::value(text, field, token)?;
            let problem = match value {
                value if value < field.min() => Problem::BelowMinimum(value),
                value if value > field.max() => Problem::AboveMaximum(value),
                value => return Ok(value),
            };
            Err(ScheduleError::new(text, Some(field), token.range(), problem))
        };
        let (low, high) = (bound(first)?, bound(second)?);
        if low > high {
            return Err(ScheduleError::new(text, Some(field), inner.range(), Problem::Backwards));
        }
        (low, high)
    };
    let width = high - low + 1;
    let Some(step_token) = step else { return Ok((low + hash % width).to_string()) };
    let step: u64 = step_token.text.parse().map_err(|_| syntax())?;
    if step == 0 {
        return Err(ScheduleError::new(text, Some(field), step_token.range(), Problem::StepZero));
    }
    if step > width {
        return Err(ScheduleError::new(text, Some(field), item.range(), Problem::HashStepBeyondRange(step, width)));
    }
    let start = low + hash % step;
    Ok(match (start, step) {
        (start, 1) if start == field.min() && high == field.max() => "*".to_owned(),
        (start, 1) => format!("{start}-{high}"),
        (start, step) if step > high - start => start.to_string(),
        (start, step) => format!("{start}-{high}/{step}"),
    })
}
