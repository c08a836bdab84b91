#![allow(clippy::unwrap_used, reason = "a test may fail loudly")]

use proptest::prelude::*;

use super::*;

fn member(name: &str, did: Did, before: u64, after: u64) -> Member {
    Member {
        name: name.to_owned(),
        endpoint: format!("https://{name}.etcd.ns.svc:2379"),
        did,
        size_before: before,
        size_after: after,
        quota: 8 << 30,
        seconds: 1.25,
        leader: false,
        note: String::new(),
    }
}

fn three() -> RunResult {
    let mib = |count: u64| count << 20;
    RunResult {
        members: vec![
            member("etcd-1", Did::Defragmented, mib(200), mib(125)),
            member("etcd-2", Did::Defragmented, mib(200), mib(125)),
            member("etcd-0", Did::Defragmented, mib(200), mib(125)),
        ],
        members_total: 3,
        seconds: 4.1,
        leader_from: "etcd-0".to_owned(),
        leader_to: "etcd-1".to_owned(),
        ..RunResult::new(Outcome::Done, "")
    }
}

#[test]
fn what_is_written_is_read_again() {
    let result = three();
    assert_eq!(RunResult::read(&result.write()).unwrap(), result);
    insta::assert_snapshot!(result.write());
}

#[test]
fn each_outcome_is_one_sentence() {
    let mut lines = vec![three()];
    let untouched = |outcome, reason: &str, did| RunResult {
        members: vec![member("etcd-0", did, 200 << 20, 0), member("etcd-1", did, 200 << 20, 0)],
        members_total: 3,
        seconds: 0.24,
        ..RunResult::new(outcome, reason)
    };
    lines.push(untouched(Outcome::NothingToDo, "the rule is false for each of them", Did::Skipped));
    lines.push(untouched(Outcome::Checked, "2 of them would be defragmented", Did::Checked));
    lines.push(untouched(Outcome::Deferred, "etcd-2 does not answer", Did::NotTouched));
    lines.push(untouched(Outcome::Failed, "the certificate of etcd-0 is from another authority", Did::NotTouched));
    let mut after = three();
    after.outcome = Outcome::Failed;
    after.reason = "etcd-0 did not answer within 1m0s and may still be at work".to_owned();
    after.members.last_mut().unwrap().did = Did::Failed;
    lines.push(after.clone());
    after.outcome = Outcome::Deferred;
    lines.push(after);
    lines.push(RunResult { members_total: 1, ..RunResult::new(Outcome::NothingToDo, "") });
    let text: Vec<String> = lines.iter().map(ToString::to_string).collect();
    insta::assert_snapshot!(text.join("\n"));
    assert_eq!(
        lines.iter().map(RunResult::no_member_was_touched).collect::<Vec<_>>(),
        [false, true, true, true, true, false, false, true]
    );
}

#[test]
fn the_sums_count_only_what_was_defragmented() {
    let mut result = three();
    assert_eq!(result.reclaimed(), 225 << 20);
    result.members.first_mut().unwrap().did = Did::Failed;
    assert_eq!((result.reclaimed(), result.defragmented()), (150 << 20, 2));
    assert!((result.seconds_blocked() - 3.75).abs() < 1e-9, "a member that failed was blocked, too");
    // A database may grow meanwhile.
    result.members.get_mut(1).unwrap().size_after = u64::MAX;
    assert_eq!(result.reclaimed(), 75 << 20);
}

#[test]
fn the_exit_code_follows_the_outcome() {
    let codes = [Outcome::Done, Outcome::NothingToDo, Outcome::Checked, Outcome::Failed, Outcome::Deferred]
        .map(Outcome::exit_code);
    assert_eq!(codes, [0, 0, 0, 1, 75]);
}

#[test]
fn what_does_not_fit_is_cut_and_counted() {
    let mut result = three();
    result.members.clear();
    for at in 0..100 {
        let did = if at == 1 {
            Did::Failed
        } else if at % 2 == 0 {
            Did::Defragmented
        } else {
            Did::NotTouched
        };
        result.members.push(member(&format!("etcd-{at}"), did, 3 << 20, 1 << 20));
    }
    result.members_total = 100;
    let json = result.write();
    assert!(json.len() <= LIMIT, "{}", json.len());
    let read = RunResult::read(&json).unwrap();
    assert!(!read.members.is_empty());
    assert_eq!(read.members.len() + usize::try_from(read.left_out.members).unwrap(), 100);
    assert_eq!((read.reclaimed(), read.defragmented()), (result.reclaimed(), result.defragmented()));
    assert!(read.members.iter().any(|member| member.did == Did::Failed), "what failed is left out last");
    assert!(!read.no_member_was_touched());
    assert_eq!(read.to_string(), result.to_string());
}

#[test]
fn hostile_text_is_an_error_or_becomes_plain() {
    let long = format!("{}{}", " ".repeat(10), "x".repeat(LIMIT + 1));
    let deep = format!("{{\"version\":1,\"outcome\":\"Done\",\"members\":{}", "[".repeat(3000));
    for (text, error) in [
        ("", "the termination message is empty"),
        (" \n ", "the termination message is empty"),
        (&long, "the termination message has 4097 bytes, and a result has at most 4096"),
        ("Done", "is not a result of a run"),
        ("[]", "is not a result of a run"),
        ("{}", "is not a result of a run"),
        (r#"{"version":1,"outcome":"\u001b[2J"}"#, "is not a result of a run"),
        (r#"{"version":2,"outcome":"Done"}"#, "has version 2"),
        (r#"{"version":1,"outcome":"Done","members":[{"did":"Done"}]}"#, "is not a result of a run"),
        (r#"{"version":1,"outcome":"Done","members":[{"did":"Skipped","sizeBefore":-1}]}"#, "is not a result of a run"),
        (r#"{"version":1,"outcome":"Done","seconds":1e999}"#, "is not a result of a run"),
        (&deep, "is not a result of a run"),
    ] {
        let found = RunResult::read(text).unwrap_err().to_string();
        assert!(found.contains(error), "{text:.60}: {found}");
        assert!(found.chars().all(super::super::text::is_printable), "{found}");
    }
    let text = r#"{"version":1,"outcome":"Failed","reason":"a\nb\u001b[2J","seconds":-4,"later":{"x":[1]},
        "members":[{"did":"NotTouched","name":"e\u202e","seconds":1e300,"new":true}]}"#;
    let read = RunResult::read(text).unwrap();
    assert_eq!(read.reason, "a\\nb\\u{1b}[2J");
    assert_eq!(read.to_string(), "failed before any member was changed, 0.0 s: a\\nb\\u{1b}[2J");
    assert_eq!(read.members.first().unwrap().name, "e\\u{202e}");
}

fn did() -> impl Strategy<Value = Did> {
    proptest::sample::select(vec![Did::Defragmented, Did::Skipped, Did::Failed, Did::NotTouched, Did::Checked])
}

prop_compose! {
    fn any_member()(name in any::<String>(), endpoint in "\\PC{0,300}", did in did(), sizes in any::<(u64, u64, u64)>(),
                    seconds in any::<f64>(), note in "[\\\\\"\u{1}-\u{1f}é防]{0,300}") -> Member {
        Member { name, endpoint, did, size_before: sizes.0, size_after: sizes.1, quota: sizes.2, seconds, leader: true, note }
    }
}

proptest! {
    #[test]
    fn whatever_a_run_says_fits_and_is_read_again(
        members in proptest::collection::vec(any_member(), 0..30), reason in "[\\\\\"\u{1}-\u{1f}é防]{0,900}",
        leader in any::<String>(), seconds in any::<f64>(), total in any::<u32>(),
    ) {
        let result = RunResult {
            members, seconds, members_total: total, leader_from: leader.clone(), leader_to: leader,
            ..RunResult::new(Outcome::Deferred, reason)
        };
        let json = result.write();
        prop_assert!(json.len() <= LIMIT);
        let read = RunResult::read(&json).unwrap();
        prop_assert_eq!(read.no_member_was_touched(), result.no_member_was_touched());
        prop_assert_eq!(read.reclaimed(), result.reclaimed());
        prop_assert_eq!(read.defragmented(), result.defragmented());
        prop_assert_eq!(read.write(), json);
        prop_assert!(read.to_string().chars().all(super::super::text::is_printable));
    }

    #[test]
    fn no_text_makes_reading_panic(text in any::<String>()) {
        let _ = RunResult::read(&text);
        let _ = RunResult::read(&format!("{{\"version\":1,\"outcome\":\"Done\",\"reason\":{text}}}"));
    }
}
