//! What a refused schedule was most likely meant to be. A correction is offered only if it parses.

use super::{error::ScheduleError, field::Field, hash, parse};
use crate::defrag::duration;

const MACROS: [&str; 7] = ["@yearly", "@annually", "@monthly", "@weekly", "@daily", "@midnight", "@hourly"];

impl ScheduleError {
    /// The same error with a correction of the whole `text`, where one is clear.
    pub(super) fn with_suggestion(mut self, text: &str) -> Self {
        self.suggestion = correction(text);
        self
    }
}

/// The corrected schedule, where there is one that parses.
pub(super) fn correction(text: &str) -> Option<String> {
    // A text this long is no slip of the pen.
    if text.len() > 500 {
        return None;
    }
    candidates(text).into_iter().flatten().find(|candidate| candidate != text && is_valid(candidate))
}

fn is_valid(text: &str) -> bool {
    hash::resolve(text, "namespace", "name").is_ok_and(|resolved| parse::parse(&resolved).is_ok())
}

fn candidates(text: &str) -> Vec<Option<String>> {
    let bare = text.trim_matches(|c: char| c.is_whitespace() || matches!(c, '"' | '\'' | '`'));
    if bare.is_empty() {
        return vec![Some("0 0 * * *".to_owned())];
    }
    if let Some(rest) = bare.strip_prefix("TZ=").or_else(|| bare.strip_prefix("CRON_TZ=")) {
        let rest = rest.split_once(char::is_whitespace).map_or("", |(_, rest)| rest.trim());
        return vec![Some(rest.to_owned()), correction(rest)];
    }
    if bare.starts_with('@') {
        return vec![every(bare), Some(nearest_macro(bare))];
    }
    let fields: Vec<&str> = bare.split_whitespace().collect();
    let corrected = |fields: &[&str]| {
        let fields: [&str; 5] = fields.try_into().ok()?;
        let fixed: Vec<String> =
            Field::ALL.into_iter().zip(fields).map(|(field, text)| fix_field(field, text)).collect::<Option<_>>()?;
        Some(fixed.join(" "))
    };
    match fields.as_slice() {
        [word] => vec![macro_of(word)],
        [minute, hour, day, month] => vec![corrected(&[minute, hour, day, month, "*"])],
        [rest @ .., last] if rest.len() == 5 && is_year(last) => vec![corrected(rest)],
        [_, rest @ ..] if rest.len() == 5 => vec![corrected(rest), fields.get(..5).and_then(corrected)],
        [_, rest @ .., _] if rest.len() == 5 => vec![corrected(rest)],
        other => vec![corrected(other)],
    }
}

fn is_year(text: &str) -> bool {
    text.len() >= 4 && text.get(..4).is_some_and(|year| year.bytes().all(|b| b.is_ascii_digit()))
}

fn macro_of(word: &str) -> Option<String> {
    let wanted = format!("@{}", word.to_lowercase());
    MACROS.contains(&wanted.as_str()).then_some(wanted)
}

fn nearest_macro(text: &str) -> String {
    let wanted = text.to_lowercase();
    MACROS
        .iter()
        .map(|name| (strsim::damerau_levenshtein(&wanted, name), *name))
        .filter(|(distance, _)| *distance <= 3)
        .min_by_key(|(distance, _)| *distance)
        .map_or("@daily", |(_, name)| name)
        .to_owned()
}

fn every(text: &str) -> Option<String> {
    if !text.get(..6)?.eq_ignore_ascii_case("@every") {
        return None;
    }
    let period = text.get(6..)?.trim();
    let period = match duration::parse(period) {
        Ok(_) => period.to_owned(),
        Err(error) => error.suggestion().unwrap_or("24h").to_owned(),
    };
    Some(format!("@every {period}"))
}

fn fix_field(field: Field, text: &str) -> Option<String> {
    let probe = |item: &str| {
        let fields = Field::ALL.map(|other| if other == field { item } else { "*" });
        is_valid(&fields.join(" "))
    };
    if probe(text) {
        return Some(text.to_owned());
    }
    let lists = text.replace([';', '|', '+'], ",");
    let items: Option<Vec<String>> = lists
        .split(',')
        .filter(|item| !item.is_empty())
        .map(|item| if probe(item) { Some(item.to_owned()) } else { fix_item(field, item) })
        .collect();
    items.map(|items| items.join(",")).filter(|fixed| probe(fixed))
}

fn fix_item(field: Field, item: &str) -> Option<String> {
    if let Some(tail) = item.strip_prefix(['H', 'h'])
        && item != "H"
    {
        return fix_hash(field, tail);
    }
    if item == "h" {
        return Some("H".to_owned());
    }
    if let Some((low, high)) = item.split_once('~') {
        let (low, high) = (value(field, low).unwrap_or(field.min()), value(field, high).unwrap_or(field.max()));
        return Some(format!("H({low}-{high})"));
    }
    let mut parts = item.split('/');
    let (base, step) = (parts.next()?, parts.next());
    let step = step.and_then(|step| digits(step).filter(|step| *step > 0));
    if let Some(tail) = base.strip_prefix(['*', '?']).filter(|tail| !tail.is_empty()) {
        return digits(tail).filter(|step| *step > 0).map(|step| format!("*/{step}"));
    }
    let with_step = |base: &str| step.map_or_else(|| base.to_owned(), |step| format!("{base}/{step}"));
    if base.is_empty() || base == "*" || base == "?" {
        return Some(with_step("*"));
    }
    let mut ends = base.trim_matches('-').split('-');
    let (first, second) = (ends.next()?, ends.next());
    let Some(second) = second else {
        let first_value = value(field, first)?;
        return Some(with_step(&written(field, first, first_value)));
    };
    let (low, high) = (value(field, first)?, end_value(field, second)?);
    Some(range(field, (first, low), (second, high), step))
}

/// A range, cut in two where it wraps around; with a step, the values that the step would reach.
fn range(field: Field, (first, low): (&str, u64), (second, high): (&str, u64), step: Option<u64>) -> String {
    let (min, max) = (field.min(), field.max());
    let wraps = low > high || high > max;
    let end = if high > max { high } else { high + field.width() };
    if !wraps {
        let base = format!("{}-{}", written(field, first, low), written(field, second, high));
        return step.map_or_else(|| base.clone(), |step| format!("{base}/{step}"));
    }
    if end - low + 1 >= field.width() && step.is_none() {
        return "*".to_owned();
    }
    if let Some(step) = step {
        let values = (0..=end - low).step_by(usize::try_from(step).unwrap_or(usize::MAX));
        let values: Vec<String> =
            values.map(|offset| ((low + offset - min) % field.width() + min).to_string()).collect();
        return values.join(",");
    }
    let wrapped_end = end - field.width();
    let upper = first.chars().any(char::is_uppercase);
    let name = |value: u64| match field.names().get(usize::try_from(value - min).unwrap_or(usize::MAX)) {
        Some(name) if first.chars().all(char::is_alphabetic) && upper => name.to_uppercase(),
        Some(name) if first.chars().all(char::is_alphabetic) => (*name).to_owned(),
        _ => value.to_string(),
    };
    let span = |low: u64, high: u64| if low == high { name(low) } else { format!("{}-{}", name(low), name(high)) };
    format!("{},{}", span(low, max), span(min, wrapped_end))
}

/// The name or number as it was written if it is right, else in canonical form.
fn written(field: Field, text: &str, value: u64) -> String {
    if field.named(text).is_some() || text.parse() == Ok(value) {
        return text.to_owned();
    }
    match field.names().get(usize::try_from(value - field.min()).unwrap_or(usize::MAX)) {
        Some(name) if text.chars().all(char::is_alphabetic) && text.len() > 2 => (*name).to_owned(),
        _ => value.to_string(),
    }
}

/// The end of a range: one beyond the largest value means the smallest again.
fn end_value(field: Field, text: &str) -> Option<u64> {
    match (field, digits(text)) {
        (Field::DayOfWeek | Field::Hour | Field::Minute, Some(number)) if number == field.max() + 1 => Some(number),
        _ => value(field, text),
    }
}

/// The value that was most likely meant.
fn value(field: Field, text: &str) -> Option<u64> {
    if let Some(value) = field.named(text) {
        return Some(value);
    }
    let lower = text.to_lowercase();
    match (field, lower.as_str()) {
        (Field::DayOfMonth, "l" | "lw") => return Some(28),
        (Field::DayOfWeek, "l") => return Some(field.max()),
        _ => {}
    }
    if let Some(hex) = lower.strip_prefix("0x") {
        return u64::from_str_radix(hex, 16).ok().map(|number| fold(field, number));
    }
    if lower.chars().count() > 3
        && let Some(value) = lower.get(..3).and_then(|start| field.named(start))
    {
        return Some(value);
    }
    digits(&lower).map(|number| fold(field, number))
}

/// A number brought into the field: one beyond the end is the beginning, as on a clock; others go to the nearest end.
fn fold(field: Field, number: u64) -> u64 {
    match field {
        Field::Minute | Field::Hour | Field::DayOfWeek if number == field.max() + 1 => field.min(),
        _ => number.clamp(field.min(), field.max()),
    }
}

/// The first digits of a text, whatever surrounds them; full-width and Arabic digits count.
fn digits(text: &str) -> Option<u64> {
    let digit = |c: char| {
        let zero = match c {
            '0'..='9' => '0',
            '\u{660}'..='\u{669}' => '\u{660}',
            '\u{6f0}'..='\u{6f9}' => '\u{6f0}',
            '\u{966}'..='\u{96f}' => '\u{966}',
            '\u{ff10}'..='\u{ff19}' => '\u{ff10}',
            _ => return None,
        };
        Some(u64::from(u32::from(c) - u32::from(zero)))
    };
    let mut numbers = text.chars().map(digit).skip_while(Option::is_none).map_while(|digit| digit);
    let first = numbers.next()?;
    numbers.try_fold(first, |value, digit| value.checked_mul(10)?.checked_add(digit))
}

/// What follows an `H`, put into one of the forms that there are.
fn fix_hash(field: Field, tail: &str) -> Option<String> {
    let (base, step) = tail.split_once('/').map_or((tail, None), |(base, step)| (base, digits(step)));
    let inner = base.trim_matches(|c: char| matches!(c, '(' | ')' | '[' | ']' | '-'));
    let bounds = inner.split_once('-').or_else(|| inner.split_once(".."));
    let (head, width) = match bounds {
        None if inner.is_empty() => ("H".to_owned(), field.width()),
        None => return None,
        Some((low, high)) => {
            let (low, high) = (value(field, low)?, value(field, high)?);
            let (low, high) = (low.min(high), low.max(high));
            (format!("H({low}-{high})"), high - low + 1)
        }
    };
    let width = if field == Field::DayOfMonth { width.min(28) } else { width };
    Some(match step {
        Some(step) if step > 0 && step <= width => format!("{head}/{step}"),
        _ => head,
    })
}
