#![allow(clippy::cast_precision_loss, clippy::float_cmp, reason = "sizes in tests are whole and small")]

use jiff::SignedDuration;
use proptest::prelude::*;

use super::{decide::nearest_first, *};
use crate::defrag::{
    quantity::{GIB, MIB},
    schedule::{Weekdays, Window},
};

const RULE: &str = "dbQuotaUsage > 0.8 && dbSizeFree > 32*1024*1024";
const FRESH: Duration = Duration::from_mins(5);

fn now() -> jiff::Timestamp {
    // A Tuesday.
    "2026-03-03T12:00:00Z".parse().unwrap()
}

fn aim() -> Aim {
    Aim {
        namespace: "ns".to_owned(),
        name: "etcd".to_owned(),
        first_ordinal: 0,
        replicas: 3,
        quota: 2 * GIB,
        rule: Rule::parse(RULE).unwrap(),
        suspended: false,
        paused: false,
        zone: TimeZone::utc(),
    }
}

fn pace() -> Pace {
    Pace {
        cooldown: Duration::from_hours(6),
        emergency_cooldown: Duration::from_mins(10),
        emergency_above: 0.95,
        windows: None,
    }
}

fn sample(pod: &str, value: f64) -> Sample {
    let labels = [("namespace", "ns"), ("pod", pod), ("job", "etcd")];
    Sample { labels: labels.map(|(key, value)| (key.to_owned(), value.to_owned())).into(), value }
}

/// What a healthy Prometheus says of three members with these sizes and sizes in use in MiB.
fn answers(sizes: [f64; 3], in_use: [f64; 3]) -> Vec<(Metric, Vec<Sample>)> {
    let pods = ["etcd-0", "etcd-1", "etcd-2"];
    let each = |values: [f64; 3]| pods.into_iter().zip(values).map(|(pod, value)| sample(pod, value)).collect();
    let mib = f64::from(1 << 20);
    let scraped = 1e-3 * now().as_millisecond() as f64 - 20.0;
    vec![
        (Metric::Size, each(sizes.map(|size| size * mib))),
        (Metric::InUse, each(in_use.map(|size| size * mib))),
        (Metric::Quota, each([2048.0 * mib; 3])),
        (Metric::ScrapedAt, each([scraped; 3])),
        (Metric::Corrupt, Vec::new()),
    ]
}

fn readings(answers: Vec<(Metric, Vec<Sample>)>) -> Readings {
    let mut readings = Readings::default();
    for (metric, samples) in answers {
        readings.take(metric, samples, &Queries::default());
    }
    readings
}

/// The answers with one value changed.
fn with(metric: Metric, pod: &str, value: f64) -> Vec<(Metric, Vec<Sample>)> {
    let mut answers = answers([1000.0; 3], [500.0; 3]);
    for (of, samples) in &mut answers {
        for sample in samples.iter_mut().filter(|sample| *of == metric && sample.labels["pod"] == pod) {
            sample.value = value;
        }
    }
    answers
}

fn without(metric: Metric, pod: &str) -> Vec<(Metric, Vec<Sample>)> {
    let mut answers = answers([1000.0; 3], [500.0; 3]);
    for (of, samples) in &mut answers {
        samples.retain(|sample| *of != metric || sample.labels["pod"] != pod);
    }
    answers
}

fn refusal(answers: Vec<(Metric, Vec<Sample>)>) -> Refusal {
    measure(&aim(), &readings(answers), now(), FRESH).unwrap_err()
}

fn decided(sizes: [f64; 3], in_use: [f64; 3], change: impl FnOnce(&mut Aim, &mut Facts, &mut Pace)) -> Decision {
    let (mut aim, mut facts, mut pace) = (aim(), Facts::default(), pace());
    change(&mut aim, &mut facts, &mut pace);
    let measured = measure(&aim, &readings(answers(sizes, in_use)), now(), FRESH).unwrap();
    wants(&aim, &measured, facts, &pace, now())
}

#[test]
fn an_answer_of_prometheus_is_read() {
    let body = br#"{"status":"success","data":{"resultType":"vector","result":[
        {"metric":{"__name__":"x","namespace":"ns","pod":"etcd-0"},"value":[1700000000.123,"1.5e+06"]},
        {"metric":{"pod":"etcd-1"},"value":[1700000000.123,"NaN"]},
        {"metric":{},"value":[1700000000.123,"+Inf"]}]},"warnings":["w"]}"#;
    let samples = read(body).unwrap();
    assert_eq!(samples.len(), 3);
    assert!((samples[0].value - 1.5e6).abs() < f64::EPSILON && samples[0].labels["pod"] == "etcd-0");
    assert!(samples[1].value.is_nan() && samples[2].value.is_infinite());
    let empty = read(br#"{"status":"success","data":{"resultType":"vector","result":[]}}"#).unwrap();
    assert!(empty.is_empty());
}

#[test]
fn what_is_no_answer_is_said_in_words() {
    let said: Vec<String> = [
        &b"<html>not here</html>"[..],
        br#"{"status":"error","errorType":"bad_data","error":"1:2: parse error: unexpected end"}"#,
        br#"{"status":"success","data":{"resultType":"matrix","result":[]}}"#,
        br#"{"status":"success","data":{"resultType":"vector","result":[{"metric":{},"value":[1,"many"]}]}}"#,
        br#"{"status":"success"}"#,
    ]
    .into_iter()
    .map(|body| format!("Prometheus {}", read(body).unwrap_err()))
    .collect();
    insta::assert_snapshot!(said.join("\n"));
}

#[test]
fn every_refusal_has_a_name_and_says_what_to_do() {
    let mut several = answers([1000.0; 3], [500.0; 3]);
    several[0].1.push(sample("etcd-1", 5.0));
    let mib = f64::from(1 << 20);
    let at = |seconds: f64| 1e-3 * now().as_millisecond() as f64 + seconds;
    let refusals = [
        refusal(without(Metric::Size, "etcd-0")),
        refusal(without(Metric::ScrapedAt, "etcd-2")),
        refusal(several),
        refusal(with(Metric::InUse, "etcd-1", f64::NAN)),
        refusal(with(Metric::Quota, "etcd-1", f64::INFINITY)),
        refusal(with(Metric::Size, "etcd-1", -5.0)),
        refusal(with(Metric::ScrapedAt, "etcd-1", at(-301.0))),
        refusal(with(Metric::ScrapedAt, "etcd-1", at(61.0))),
        refusal(with(Metric::Quota, "etcd-1", 0.0)),
        refusal(with(Metric::Quota, "etcd-1", 8192.0 * mib)),
        refusal(with(Metric::InUse, "etcd-1", 1001.0 * mib)),
        refusal(with(Metric::Size, "etcd-1", 5000.0 * mib)),
    ];
    let said: Vec<String> = refusals.iter().map(|one| format!("{}: {}", one.code(), one.message())).collect();
    insta::assert_snapshot!(said.join("\n"));
    // One bad member is enough, and its name is told.
    assert!(refusals.iter().all(|one| one.pod().starts_with("etcd-")));
}

#[test]
fn the_rule_decides_and_the_guards_hold() {
    let full = ([1900.0, 1700.0, 500.0], [400.0, 300.0, 300.0]);
    let ago = |minutes: i64| Some(now() - SignedDuration::from_mins(minutes));
    let night = |pace: &mut Pace| {
        pace.windows = Some(vec![Window { days: Weekdays::ALL, from: 22 * 60, to: 4 * 60, zone: None }]);
    };
    let of = |change: fn(&mut Aim, &mut Facts, &mut Pace)| decided(full.0, full.1, change);
    let urgent = [2000.0, 1700.0, 500.0];
    let decisions = [
        ("nothing to do", decided([1000.0; 3], [900.0; 3], |_, _, _| {})),
        ("full of live data", decided([1990.0; 3], [1980.0; 3], |_, _, _| {})),
        ("two members", of(|_, _, _| {})),
        ("suspended", of(|aim, _, _| aim.suspended = true)),
        ("under way", of(|_, facts, _| facts.active = true)),
        ("five hours ago", decided(full.0, full.1, |_, facts, _| facts.last_run = ago(300))),
        ("six hours ago", decided(full.0, full.1, |_, facts, _| facts.last_run = ago(360))),
        ("measured before the end of a run", decided(full.0, full.1, |_, facts, _| facts.last_run = Some(now()))),
        ("at noon", decided(full.0, full.1, |_, _, pace| night(pace))),
        ("at noon, near the quota", decided(urgent, full.1, |_, _, pace| night(pace))),
        ("near the quota after five minutes", decided(urgent, full.1, |_, facts, _| facts.last_run = ago(5))),
        ("near the quota after eleven", decided(urgent, full.1, |_, facts, _| facts.last_run = ago(11))),
        ("a rule that fails", of(|aim, _, _| aim.rule = Rule::parse("1 / (dbSize - dbSize) > 0").unwrap())),
    ];
    let said: Vec<String> = decisions
        .into_iter()
        .map(|(when, decision)| match decision {
            Decision::NotRequired => format!("{when}: not required"),
            Decision::Start { reason, .. } => format!("{when}: START. {reason}"),
            Decision::Hold(hold) => format!("{when}: {}: it waits, because {}", hold.code(), hold.because()),
        })
        .collect();
    insta::assert_snapshot!(said.join("\n"));
}

#[test]
fn a_corrupt_member_holds_every_run() {
    let mut answers = answers([1900.0; 3], [100.0; 3]);
    answers[4].1.push(sample("etcd-1", 1.0));
    let measured = measure(&aim(), &readings(answers), now(), FRESH).unwrap();
    let Decision::Hold(hold) = wants(&aim(), &measured, Facts::default(), &pace(), now()) else { panic!() };
    assert_eq!(hold, Hold::Corrupt { pods: vec!["etcd-1".to_owned()] });
    insta::assert_snapshot!(hold.because(), @"the alarm CORRUPT is raised (etcd-1), and no member may be defragmented before its data is checked");
}

#[test]
fn the_guards_of_every_run_are_in_order() {
    let ready = |ready| Readiness { ready, wanted: 3, counts_alarms: false };
    assert_eq!(guard(false, false, ready(3)), Ok(()));
    assert_eq!(guard(true, true, ready(0)), Err(Hold::Suspended));
    assert_eq!(guard(false, true, ready(0)), Err(Hold::Active));
    assert!(guard(false, false, ready(0)).is_err());
    let alarmed = |ready| Readiness { ready, wanted: 3, counts_alarms: true };
    assert_eq!(guard(false, false, alarmed(0)), Ok(()), "NOSPACE makes all of them not ready");
    assert_eq!(guard(false, false, alarmed(1)), Err(Hold::NotReady(alarmed(1))));
    let hold = guard(false, false, ready(2)).unwrap_err();
    insta::assert_snapshot!(hold.because(), @"2 of 3 members are ready, and a member is unavailable while it is defragmented");
}

#[test]
fn labels_can_be_other_ones_and_series_without_them_are_counted() {
    let queries =
        Queries { namespace: "exported_namespace".to_owned(), pod: "instance".to_owned(), ..Queries::default() };
    let mut readings = Readings::default();
    let mut other = sample("x", 1.0);
    other.labels.insert("exported_namespace".to_owned(), "a".to_owned());
    other.labels.insert("instance".to_owned(), "b-0".to_owned());
    readings.take(Metric::Size, vec![other, sample("etcd-0", 2.0)], &queries);
    assert_eq!((readings.pods(), readings.nameless), (1, 1));
    assert!(readings.get("a", "b-0").is_some());
}

#[test]
fn days_to_the_quota_are_told_only_where_data_grows() {
    let state = State { db_size: 2 * GIB, db_size_in_use: GIB, quota: 2 * GIB };
    let a_day = f64::from(1 << 20) * 128.0 / 86_400.0;
    assert!((days_to_quota(&state, a_day).unwrap() - 8.0).abs() < 1e-9);
    assert_eq!([0.0, -1.0, f64::NAN].map(|growth| days_to_quota(&state, growth)), [None; 3]);
}

proptest! {
    /// Whatever Prometheus says, nothing starts unless every member was measured with what can be, and the rule of the etcd
    /// holds for one of them.
    #[test]
    fn a_run_starts_exactly_where_the_rule_holds_for_what_can_be(
        sizes in prop::array::uniform3(prop_oneof![any::<f64>(), 0.0..5e9]),
        in_use in prop::array::uniform3(prop_oneof![any::<f64>(), 0.0..5e9]),
        quotas in prop::array::uniform3(prop_oneof![Just(2_147_483_648.0), Just(0.0), any::<f64>()]),
        ages in prop::array::uniform3(-100.0..400.0),
        missing in 0usize..30,
    ) {
        let pods = ["etcd-0", "etcd-1", "etcd-2"];
        let at = 1e-3 * now().as_millisecond() as f64;
        let mut all = vec![
            (Metric::Size, sizes), (Metric::InUse, in_use), (Metric::Quota, quotas), (Metric::ScrapedAt, ages.map(|age| at - age)),
        ].into_iter().flat_map(|(metric, values)| pods.into_iter().zip(values).map(move |(pod, value)| (metric, sample(pod, value))))
        .collect::<Vec<_>>();
        if missing < all.len() {
            all.remove(missing);
        }
        let complete = all.len() == 12;
        let readings = readings(all.into_iter().map(|(metric, one)| (metric, vec![one])).collect());
        let aim = aim();
        let sound = |index: usize| {
            let (size, used, quota, age) = (sizes[index], in_use[index], quotas[index], ages[index]);
            size.is_finite() && used.is_finite() && size >= 0.0 && used >= 0.0 && quota == 2_147_483_648.0
                && used <= size + 65536.0 && size < 2.0 * 2_147_483_648.0 + 1.0 && (-30.0..=300.0).contains(&age)
        };
        match measure(&aim, &readings, now(), FRESH) {
            Err(_) => {}
            Ok(measured) => {
                prop_assert!(complete && (0..3).all(sound), "{measured:?}");
                let holds = measured.members.iter().any(|member| aim.rule.evaluate(&member.state) == Ok(true));
                let decision = wants(&aim, &measured, Facts::default(), &pace(), now());
                prop_assert_eq!(holds, matches!(decision, Decision::Start { .. }), "{:?}", decision);
            }
        }
    }

    /// The nearest to its quota is first, and the order is total.
    #[test]
    fn the_order_is_total(usages in prop::collection::vec(any::<f64>(), 0..20)) {
        let aims: Vec<Aim> = (0..usages.len()).map(|index| Aim { name: format!("etcd-{index}"), ..aim() }).collect();
        let mut order: Vec<(f64, &Aim)> = usages.iter().copied().zip(&aims).collect();
        order.sort_by(|a, b| nearest_first(*a, *b));
        prop_assert!(order.is_sorted_by(|a, b| nearest_first(*a, *b).is_lt()));
        prop_assert!(order.windows(2).all(|pair| pair[0].0.total_cmp(&pair[1].0).is_ge()));
    }

    #[test]
    fn reading_never_panics(body in prop::collection::vec(any::<u8>(), 0..200)) {
        let _ = read(&body);
    }
}

#[test]
fn a_size_in_mebibytes_is_what_the_rule_sees() {
    let measured = measure(&aim(), &readings(answers([1000.0; 3], [500.0; 3])), now(), FRESH).unwrap();
    assert_eq!(measured.members[0].state, State { db_size: 1000 * MIB, db_size_in_use: 500 * MIB, quota: 2 * GIB });
    assert_eq!(measured.reclaimable(), 1500 * MIB);
}
