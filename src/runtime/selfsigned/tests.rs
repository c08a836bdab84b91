//! What is stored, and what is planned.

use jiff::SignedDuration;
use k8s_openapi::{ByteString, api::core::v1::Secret};
use kube::api::ObjectMeta;
use proptest::prelude::*;

use super::{
    plan::{OVERLAP, Plan, Situation, plan, renewal},
    secret_store::{Found, Leaf, Stored, read},
    *,
};
use crate::runtime::tls;

const HOST: &str = "webhook.system.svc";
const MANAGER: &str = "somebody";

fn start() -> Timestamp {
    "2026-01-01T00:00:00Z".parse().unwrap()
}

fn days(count: i64) -> SignedDuration {
    SignedDuration::from_hours(count * 24)
}

/// A pair for 90 days from `from`.
fn fresh(from: Timestamp) -> (Pair, Leaf) {
    let pair = issue_between(&[HOST.to_owned()], "a CA", from, from + days(90)).unwrap();
    let (not_before, not_after) = tls::verify(pair.cert_pem.as_bytes(), pair.key_pem.as_bytes(), from).unwrap();
    let leaf = Leaf { certificate: pair.cert_pem.clone(), key: pair.key_pem.clone(), not_before, not_after };
    (pair, leaf)
}

fn begun(from: Timestamp) -> Stored {
    let (pair, leaf) = fresh(from);
    Stored::begun(&pair, leaf, from)
}

fn secret(stored: &Stored) -> Secret {
    stored.secret("system", "tls", MANAGER, None)
}

fn planned(found: &Found, known: Option<&Stored>, spread: bool, now: Timestamp) -> Plan {
    plan(Situation { found, known, spread, now })
}

fn sound(stored: &Stored) -> Found {
    Found::Sound(Box::new(stored.clone()))
}

#[test]
fn what_is_written_reads_back() {
    let one = begun(start());
    assert_eq!(read(Some(&secret(&one)), HOST, start()), sound(&one));
    let (pair, leaf) = fresh(start() + days(60));
    let two = one.prepared(&pair, leaf);
    let now = start() + days(60);
    assert_eq!(read(Some(&secret(&two)), HOST, now), sound(&two));
    assert_eq!(two.bundle(), format!("{}{}", pair.ca_pem, one.bundle()), "both CAs are trusted, the newest one first");
    let three = two.promoted(now);
    assert_eq!(read(Some(&secret(&three)), HOST, now), sound(&three));
    assert_eq!((&three.current.certificate, three.authorities.len()), (&pair.cert_pem, 2));
    assert_eq!(three.pruned().bundle(), pair.ca_pem);
}

#[test]
fn a_rewrite_keeps_what_somebody_else_added_and_the_version() {
    let mut before = secret(&begun(start()));
    before.metadata.resource_version = Some("7".to_owned());
    before.metadata.annotations.as_mut().unwrap().insert("team".to_owned(), "platform".to_owned());
    let after = begun(start()).secret("system", "tls", MANAGER, Some(&before));
    assert_eq!(after.metadata.resource_version.as_deref(), Some("7"));
    assert_eq!(after.metadata.annotations.unwrap()["team"], "platform");
}

#[test]
fn a_rotation_goes_step_by_step() {
    let stored = begun(start());
    let due = renewal(start(), start() + days(90));
    assert_eq!(due, start() + days(60));
    assert_eq!(planned(&sound(&stored), Some(&stored), true, due - days(1)), Plan::Keep);
    let Plan::Prepare { base, .. } = planned(&sound(&stored), Some(&stored), true, due) else { panic!() };
    assert_eq!(*base, stored);
    let (pair, leaf) = fresh(due);
    let prepared = base.prepared(&pair, leaf);
    assert_eq!(planned(&sound(&prepared), Some(&stored), false, due), Plan::Keep, "its CA is not known everywhere");
    let Plan::Promote(promoted) = planned(&sound(&prepared), Some(&prepared), true, due) else { panic!() };
    assert_eq!(promoted.current.certificate, pair.cert_pem);
    assert_eq!(planned(&sound(&promoted), Some(&promoted), true, due + OVERLAP / 2), Plan::Keep);
    let Plan::Prune(pruned) = planned(&sound(&promoted), Some(&promoted), true, due + OVERLAP) else { panic!() };
    assert_eq!(pruned.bundle(), pair.ca_pem);
    assert_eq!(planned(&sound(&pruned), Some(&pruned), true, due + OVERLAP), Plan::Keep);
}

#[test]
fn what_is_lost_is_followed_by_something_new_while_the_old_one_is_served() {
    let known = begun(start());
    let now = start() + days(5);
    for found in [Found::Absent, Found::Empty, Found::Broken("garbled".to_owned())] {
        let Plan::Issue { .. } = planned(&found, None, false, now) else { panic!("{found:?}") };
        let Plan::Prepare { base, .. } = planned(&found, Some(&known), false, now) else { panic!("{found:?}") };
        assert_eq!(*base, known);
        // One that has expired convinces nobody.
        let Plan::Issue { .. } = planned(&found, Some(&known), false, start() + days(90)) else { panic!("{found:?}") };
    }
}

/// What is wrong with each Secret, and what is planned.
#[test]
fn every_bad_secret_is_told_in_words() {
    let good = begun(start());
    let with = |key: &str, value: &str| {
        let mut secret = secret(&good);
        secret.data.as_mut().unwrap().insert(key.to_owned(), ByteString(value.as_bytes().to_vec()));
        secret
    };
    let without = |key: &str| {
        let mut secret = secret(&good);
        secret.data.as_mut().unwrap().remove(key);
        secret
    };
    let other = begun(start());
    let mut foreign = secret(&good);
    foreign.metadata.annotations = None;
    let half = &good.current.certificate[..good.current.certificate.len() / 2];
    let empty = Secret { metadata: ObjectMeta::default(), ..Secret::default() };
    let mut lines = String::new();
    for (what, secret, host, at) in [
        ("as it should be", secret(&good), HOST, start()),
        ("empty", empty, HOST, start()),
        ("of somebody else", foreign, HOST, start()),
        ("no certificate", without("tls.crt"), HOST, start()),
        ("no key", without("tls.key"), HOST, start()),
        ("no CA", without("ca.crt"), HOST, start()),
        ("half a certificate", with("tls.crt", half), HOST, start()),
        ("another key", with("tls.key", &other.current.key), HOST, start()),
        ("another CA", with("ca.crt", &other.bundle()), HOST, start()),
        ("a CA that is a key", with("ca.crt", &other.current.key), HOST, start()),
        ("another Service", secret(&good), "other.system.svc", start()),
        ("expired", secret(&good), HOST, start() + days(90)),
        ("not yet valid", secret(&good), HOST, start() - days(1)),
    ] {
        let found = read(Some(&secret), host, at);
        let words = match planned(&found, None, false, at) {
            Plan::Keep => "kept".to_owned(),
            Plan::Wait(reason) => format!("left: {reason}"),
            Plan::Issue { because } => format!("made again: {because}"),
            other => format!("{other:?}"),
        };
        lines.push_str(&format!("{what}: {words}\n"));
    }
    insta::assert_snapshot!(lines);
}

#[test]
fn a_next_pair_that_is_no_good_is_as_none() {
    let (pair, leaf) = fresh(start());
    let prepared = begun(start()).prepared(&pair, leaf);
    let mut secret = secret(&prepared);
    secret.data.as_mut().unwrap().insert("next.key".to_owned(), ByteString(b"garbage".to_vec()));
    let Found::Sound(stored) = read(Some(&secret), HOST, start()) else { panic!() };
    assert_eq!(stored.next, None);
    assert_eq!(stored.current, prepared.current);
}

#[test]
fn forcing_many_rotations_does_not_grow_the_bundle_for_ever() {
    let mut stored = begun(start());
    for _ in 0..9 {
        let (pair, leaf) = fresh(start());
        stored = stored.prepared(&pair, leaf).promoted(start());
    }
    assert_eq!(stored.authorities.len(), 5);
    assert_eq!(read(Some(&secret(&stored)), HOST, start()), sound(&stored), "the CA of what is served is among them");
}

/// The steps of a cluster's life, as a person or the time takes them.
#[derive(Clone, Debug)]
enum Step {
    Days(i64),
    Spread,
    Delete,
    Garble,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step =
        prop_oneof![(0_i64..40).prop_map(Step::Days), Just(Step::Spread), Just(Step::Delete), Just(Step::Garble),];
    prop::collection::vec(step, 1..25)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 40, ..ProptestConfig::default() })]

    /// Whatever happens and in whatever order: what is served is trusted by what the API server was given last, unless
    /// its time ran out while nobody acted.
    #[test]
    fn the_api_server_always_trusts_what_is_served(steps in steps()) {
        let mut now = start();
        let mut stored: Option<Secret> = None;
        let mut known: Option<Stored> = None;
        // The bundle in the API server's memory.
        let mut trusted = String::new();
        for step in steps {
            let mut spread = false;
            match step {
                Step::Days(count) => now += days(count),
                Step::Spread => {
                    if let Some(known) = &known {
                        trusted = known.bundle();
                        spread = true;
                    }
                }
                Step::Delete => stored = None,
                Step::Garble => {
                    if let Some(secret) = &mut stored {
                        secret.data.as_mut().unwrap().insert("tls.crt".to_owned(), ByteString(b"x".to_vec()));
                    }
                }
            }
            // As often as it takes: the rotation is woken by what it writes.
            for _ in 0..4 {
                let found = read(stored.as_ref(), HOST, now);
                if let Found::Sound(stored) = &found {
                    known = Some((**stored).clone());
                }
                let first = known.is_none();
                let next = match planned(&found, known.as_ref(), spread, now) {
                    Plan::Keep => break,
                    Plan::Wait(reason) => panic!("nothing here is foreign: {reason}"),
                    Plan::Issue { .. } => {
                        let expired = known.as_ref().is_some_and(|known| now >= known.current.not_after);
                        prop_assert!(first || expired, "a pair in use was thrown away");
                        let (pair, leaf) = fresh(now);
                        // Nobody was trusted before, or what was is of no use: the rotation writes it at once.
                        trusted.clone_from(&pair.ca_pem);
                        Stored::begun(&pair, leaf, now)
                    }
                    Plan::Prepare { base, .. } => {
                        let (pair, leaf) = fresh(now);
                        base.prepared(&pair, leaf)
                    }
                    Plan::Promote(stored) | Plan::Prune(stored) => *stored,
                };
                stored = Some(next.secret("system", "tls", MANAGER, stored.as_ref()));
                spread = false;
            }
            let Some(serving) = &known else { continue };
            if now < serving.current.not_after {
                let convinced = Stored {
                    authorities: vec![trusted.clone()], next: None, ..serving.clone()
                };
                let found = read(Some(&secret(&convinced)), HOST, now);
                prop_assert!(matches!(found, Found::Sound(_)), "{found:?}");
            }
        }
    }
}
