//! What a tenant writes is read in a time that grows no faster than n log n, whatever it is.
//!
//! Each kind of StatefulSet of `tests/support/adversary.rs` is read in four sizes, each twice the one before. Counted is
//! the work that is really done, whatever the budget of an assessment counts: the bytes that are allocated, to the byte the
//! same on every machine, and, for loops that allocate nothing, the time of this thread on the processor, with much room
//! for noise. A quadratic loop costs 64 times as much for eight times the size.

#![allow(clippy::indexing_slicing, clippy::unwrap_used, reason = "a test may fail loudly")]
#![allow(clippy::cast_precision_loss, reason = "of a ratio a few digits matter")]

#[path = "../support/adversary.rs"]
mod adversary;
mod cronjobs;
mod work;

use std::{fmt::Write as _, hint::black_box};

use adversary::KINDS;
use etcd_defrag_webhook::{
    admission::{Entry, answer::answer, review},
    defrag::{
        Surroundings, assess, defaulting,
        etcd::{self, Overrides},
        policy::{Governing, Policy, PolicySnapshot},
        settings,
        statefulset::StatefulSet,
    },
};
use jiff::Timestamp;
use serde_json::Value;
use work::{Alone, grows};

/// The largest object that is read; it is within the budget wherever nothing but bytes are counted. Smaller ones have a half,
/// a quarter and an eighth of it.
const LARGEST: usize = 40_000;

/// 2026-11-24T00:00:00Z.
const NOW: Timestamp = Timestamp::constant(1_795_478_400, 0);

fn read(object: &Value) -> StatefulSet {
    serde_json::from_value(object.clone()).unwrap()
}

/// Whatever grows too fast in some kind, a line each.
fn check<T>(alone: &Alone, what: &str, prepare: impl Fn(&Value) -> T, work: impl Fn(&T)) -> String {
    let mut found = String::new();
    for (kind, make) in KINDS {
        let inputs = [8, 4, 2, 1].map(|part| prepare(&make(LARGEST / part)));
        if let Some(growth) = grows(alone, &inputs, &work) {
            let _ = writeln!(found, "{what}: {kind}: {growth}");
        }
    }
    found
}

/// Without the budget: nothing is behind it that is only kept small by it.
#[test]
fn what_a_pod_template_says_is_read_in_linear_time() {
    let alone = Alone::wait();
    let overrides = Overrides::default();
    let found = check(&alone, "discover", read, |object| drop(black_box(etcd::discover(object, &overrides))));
    assert!(found.is_empty(), "faster than n log n:\n{found}");
}

#[test]
fn what_is_asked_for_is_parsed_in_linear_time() {
    let alone = Alone::wait();
    let policy = Policy::built_in();
    let found = check(&alone, "parse", read, |object| {
        black_box(settings::parse(object, &policy));
        black_box(defaulting::changes(object, None, &policy));
    });
    assert!(found.is_empty(), "faster than n log n:\n{found}");
}

#[test]
fn a_whole_assessment_takes_linear_time() {
    let alone = Alone::wait();
    let governing = Governing::built_in();
    let found = check(&alone, "assess", read, |object| {
        drop(black_box(assess(object, &governing, &Surroundings::nothing(), NOW)));
    });
    assert!(found.is_empty(), "faster than n log n:\n{found}");
}

#[test]
fn a_review_is_answered_in_linear_time() {
    let alone = Alone::wait();
    let snapshot = PolicySnapshot::default();
    for entry in [Entry::Validate, Entry::Mutate, Entry::Status] {
        let found = check(
            &alone,
            entry.as_str(),
            |object| adversary::review(Some(object), object).into_bytes(),
            |body| {
                let (uid, review) = review::read(body).unwrap();
                drop(black_box(answer(entry, &uid, review, &snapshot, NOW)));
            },
        );
        assert!(found.is_empty(), "faster than n log n:\n{found}");
    }
}
