//! What has to hold for any input, one module for each fuzz target.
//!
//! The targets call these functions on what libFuzzer makes up; `tests/fuzz_corpus.rs` of the main package calls the
//! same ones on the kept corpora, so it includes this file.

#![allow(clippy::expect_used, clippy::missing_panics_doc, clippy::panic, reason = "a property fails by panicking")]

pub mod annotations;
pub mod duration;
pub mod quantity;
pub mod rule;
pub mod schedule;

use etcd_defrag_webhook::defrag::finding::{Finding, WARNING_LIMIT};
use jiff::Timestamp;

/// 2026-11-24T00:00:00Z.
const NOW: Timestamp = Timestamp::constant(1_795_478_400, 0);

/// The input as text, in two parts where `separator` is in it.
fn parts<'a>(input: &'a [u8], separator: &str) -> Option<(&'a str, Option<&'a str>)> {
    let text = str::from_utf8(input).ok()?;
    Some(text.split_once(separator).map_or((text, None), |(before, after)| (before, Some(after))))
}

/// Every finding fits where it is shown, and none breaks a line of a log or a terminal.
fn readable(findings: &[Finding]) {
    for finding in findings {
        assert!(finding.brief.chars().count() <= WARNING_LIMIT, "{finding:?}");
        for text in [&finding.field.to_string(), &finding.brief, &finding.message] {
            assert!(!text.is_empty() && !text.contains(char::is_control), "{finding:?}");
        }
    }
}
