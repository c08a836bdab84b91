//! The worst that a tenant can write: an object of each kind as large as the API server takes it, and as large as the
//! budget of an assessment takes it. Counted is the time on the processor.

use std::hint::black_box;

use etcd_defrag_webhook::{
    admission::{Entry, answer::answer, review},
    defrag::{
        Surroundings, assess,
        cronjob::live::Live,
        finding::Code,
        policy::{DEFAULT_RULE, Governing, PolicySnapshot},
        rule,
        statefulset::StatefulSet,
    },
};
use jiff::Timestamp;
use rustix::time::{ClockId, clock_gettime};
use serde_json::{Value, json};

use crate::{
    adversary::{self, KINDS, LARGEST},
    harness::{Result, Times},
    now,
    table::Table,
};

/// Any judgement, in nanoseconds.
const GOAL: f64 = 20_000_000.0;
/// How often each is timed.
const ROUNDS: usize = 9;
/// How many are shown of each part.
const SHOWN: usize = 12;

/// How long this takes on the processor, whoever else has it meanwhile.
fn timed<T>(mut work: impl FnMut() -> T) -> Times {
    let on_the_processor = || {
        let time = clock_gettime(ClockId::ThreadCPUTime);
        time.tv_sec as f64 * 1e9 + time.tv_nsec as f64
    };
    let mut times: Vec<f64> = (0..ROUNDS)
        .map(|_| {
            rule::forget_analyses();
            let began = on_the_processor();
            black_box(work());
            on_the_processor() - began
        })
        .collect();
    times.sort_by(f64::total_cmp);
    Times { median: times[ROUNDS / 2], p99: times[ROUNDS - 1] }
}

fn is_read(object: &StatefulSet, now: Timestamp) -> bool {
    let assessment = assess(object, &Governing::built_in(), &Surroundings::nothing(), now);
    !assessment.findings.iter().any(|finding| finding.code == Code::TooMuchToRead)
}

fn decoded(object: Value) -> Result<StatefulSet> {
    Ok(serde_json::from_value(object)?)
}

/// The largest object of a kind that is read.
fn largest(make: fn(usize) -> Value, now: Timestamp) -> Result<usize> {
    let (mut read, mut unread) = (0, LARGEST + 1);
    while unread - read > 64 {
        let size = usize::midpoint(read, unread);
        if is_read(&decoded(make(size))?, now) { read = size } else { unread = size }
    }
    Ok(read)
}

/// Prints the slowest, which decide.
fn show(table: &mut Table, title: &str, mut rows: Vec<(String, [Times; 3])>) {
    table.part(title, &["judged alone", "update: two objects"]);
    rows.sort_by(|(_, [a, ..]), (_, [b, ..])| b.median.total_cmp(&a.median));
    let all = rows.len();
    for (name, times) in rows.into_iter().take(SHOWN) {
        table.row(&name, &times.map(Some), Some(GOAL));
    }
    println!("  and {} more, none of them slower", all.saturating_sub(SHOWN));
}

pub fn judge(table: &mut Table) -> Result {
    let now = now()?;
    let (governing, snapshot) = (Governing::built_in(), PolicySnapshot::default());
    let (mut whole, mut within) = (Vec::new(), Vec::new());
    for (name, make) in KINDS {
        let size = largest(*make, now)?;
        for (rows, size) in [(&mut whole, LARGEST), (&mut within, size)] {
            let object = make(size);
            let [create, update] = [None, Some(&object)].map(|old| adversary::review(old, &object).into_bytes());
            let object = decoded(object)?;
            let answered = |body: &[u8]| {
                timed(|| {
                    let (uid, review) = review::read(body).expect("a review");
                    answer(Entry::Validate, &uid, review, &snapshot, now)
                })
            };
            let judged = timed(|| assess(&object, &governing, &Surroundings::nothing(), now));
            rows.push((format!("{:>4} KiB: {name}", size >> 10), [answered(&create), judged, answered(&update)]));
        }
    }
    show(table, "answer the review of an object of 1.4 MB, from JSON", whole);
    show(table, "answer the review of the largest that is read", within);
    recorded(table, now)
}

/// Settings that are refused where a record has some that were accepted: many rules are judged then.
fn recorded(table: &mut Table, now: Timestamp) -> Result {
    let governing = Governing::built_in();
    let mut object = adversary::etcd("args", vec!["--quota-backend-bytes=8589934592"]);
    let cronjob = assess(&decoded(object.clone())?, &governing, &Surroundings::nothing(), now).cronjob().cloned();
    let cronjob = serde_json::to_value(cronjob.ok_or("no CronJob")?)?;
    let chain = |part: &str, joint: &str| {
        let count = rule::MAX_LENGTH / (part.len() + joint.len());
        vec![part; count].join(joint)
    };
    let rules = [
        DEFAULT_RULE.to_owned(),
        "dbSizeFree * dbQuotaUsage > 100*1024*1024".to_owned(),
        "(dbSize - dbSizeInUse) % 4096 == 1 || dbSize * dbSizeFree % 7 > 5".to_owned(),
        "(dbSize*dbSizeFree%7 > 6.5) == (dbSize*dbSizeFree%5 > 4.5) && dbSizeFree > 1e30".to_owned(),
        chain("dbSize%3*dbSizeFree>7", "||"),
        chain("dbSize%3*dbSizeFree>1e30", "||"),
        chain("dbSize*dbSizeFree%3>2.5", "&&"),
        chain("dbSizeFree", "*") + "<0",
    ];
    table.part("assess what is refused, with a CronJob that records what was accepted", &[]);
    for rule in rules {
        object["metadata"]["annotations"]["etcd-defrag.io/rule"] = format!("{rule} ").into();
        object["metadata"]["annotations"]["etcd-defrag.io/schedule"] = "* * * * *".into();
        let mut live = cronjob.clone();
        let facts = json!({"endpoints": [], "firstOrdinal": 0, "replicas": 0, "quota": 8_589_934_592_u64});
        let record = json!({"version": 1, "settings": {"schedule": "0 0 * * *", "rule": rule}, "facts": facts});
        live["metadata"]["annotations"]["etcd-defrag.io/in-force"] = record.to_string().into();
        let live = [Live::of(serde_json::from_value(live)?).ok_or("not ours")?];
        let decoded = decoded(object.clone())?;
        let around = Surroundings { cronjobs: Some(&live), ..Surroundings::nothing() };
        let assessment = assess(&decoded, &governing, &around, now);
        let times = timed(|| assess(&decoded, &governing, &around, now));
        let shown: String = rule.chars().take(30).collect();
        table.row(&format!("{:?}: {shown}", assessment.source), &[Some(times)], Some(GOAL));
    }
    Ok(())
}
