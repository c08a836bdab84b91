//! The metrics of each enrolled etcd. They are removed together with the etcd, and a replica that is not the leader has
//! none.

use std::{
    collections::BTreeMap,
    fmt,
    str::FromStr,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use jiff::Timestamp;
use prometheus_client::{
    collector::Collector,
    encoding::{DescriptorEncoder, EncodeGaugeValue},
    metrics::MetricType,
    registry::Unit,
};

use crate::{
    controller::{ObjectKey, object_state::ObjectState},
    defrag::{
        cronjob::{
            budget::Run,
            last_run::{LastRun, Members},
            live::Live,
        },
        finding::Code,
        preflight::{self, Outcome, Record},
    },
};

/// Which etcds have metrics of their own: all series of a fleet are some 9 to 13 for each etcd.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum EtcdSeries {
    /// Each enrolled one.
    #[default]
    All,
    /// Those that need attention, as long as they do.
    NeedsAttention,
    /// None.
    None,
}

impl FromStr for EtcdSeries {
    type Err = String;

    fn from_str(s: &str) -> Result<Self, String> {
        match s {
            "all" => Ok(Self::All),
            "needs-attention" => Ok(Self::NeedsAttention),
            "none" => Ok(Self::None),
            other => Err(format!("{other:?} selects no etcds; write all, needs-attention or none")),
        }
    }
}

impl fmt::Display for EtcdSeries {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::All => "all",
            Self::NeedsAttention => "needs-attention",
            Self::None => "none",
        })
    }
}

/// How much longer a run may take than the one before, until the etcd counts as late.
const RUN: Duration = Duration::from_hours(1);

/// The metrics of one etcd.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Facts {
    quota: Option<u64>,
    longest_pause: Option<Duration>,
    suspended: bool,
    /// The code of each finding, and whether it refuses.
    findings: Box<[(Code, bool)]>,
    made: Option<Timestamp>,
    last_success: Option<Timestamp>,
    last_failure: Option<Timestamp>,
    /// When the last preflight ended, and whether well.
    preflight: Option<(Timestamp, bool)>,
    /// The result of the last run, if its engine reports it.
    last_run: Option<Told>,
}

/// The metrics of a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Told {
    reclaimed: u64,
    blocked_millis: u64,
    defragmented: u32,
    skipped: u32,
}

impl Told {
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a cast from a float saturates")]
    fn of(members: Members) -> Self {
        let Members { reclaimed, blocked_seconds, defragmented, skipped, .. } = members;
        Self { reclaimed, blocked_millis: (blocked_seconds * 1000.0) as u64, defragmented, skipped }
    }
}

impl Facts {
    /// What is known of an enrolled etcd: from the last look at it, from its CronJob, and from the Jobs that are still there.
    pub(crate) fn of<'a>(state: &ObjectState, cronjob: Option<&Live>, runs: impl Iterator<Item = &'a Run>) -> Self {
        let last_look = state.last_look.as_ref();
        let planned = last_look.and_then(|last_look| last_look.planned);
        let findings = last_look.iter().flat_map(|last_look| last_look.findings.iter());
        // A name that is taken refuses no setting, but the etcd goes without runs all the same.
        let hurts = |(code, denies): &(Code, bool)| (*code, *denies || *code == Code::CronJobForeign);
        let mut facts = Self {
            quota: planned.and_then(|planned| planned.quota),
            longest_pause: planned.and_then(|planned| planned.longest_pause),
            suspended: planned.is_some_and(|planned| planned.suspended),
            findings: findings.map(hurts).collect(),
            made: cronjob.and_then(Live::created),
            last_success: cronjob.and_then(|cronjob| cronjob.last_success),
            last_failure: None,
            preflight: cronjob.and_then(|cronjob| {
                let last = Record::read(cronjob.annotation(preflight::ANNOTATION)?)?;
                (last.outcome != Outcome::Running).then_some((last.at, last.outcome == Outcome::Succeeded))
            }),
            last_run: cronjob.and_then(|cronjob| LastRun::on(&cronjob.meta)?.members).map(Told::of),
        };
        for run in runs {
            let last = if run.failed { &mut facts.last_failure } else { &mut facts.last_success };
            *last = (*last).max(Some(run.ended));
        }
        facts
    }

    fn violations(&self) -> usize {
        self.findings.iter().filter(|(_, refuses)| *refuses).count()
    }

    /// Whether an alert may be about it now or soon: settings are refused, the last run or preflight failed, or no run has succeeded for
    /// the longest time between two and an hour. The alert waits for twice that, so that it finds the series it needs.
    fn needs_attention(&self, now: Timestamp) -> bool {
        let since = self.last_success.or(self.made);
        let is_late = since.zip(self.longest_pause).is_some_and(|(since, pause)| {
            let waited = now.duration_since(since);
            waited.unsigned_abs() > pause + RUN && waited.is_positive()
        });
        self.violations() > 0
            || self.last_failure > self.last_success
            || self.preflight.is_some_and(|(_, well)| !well)
            || is_late
    }
}

/// The enrolled etcds; clones share them.
#[derive(Clone, Debug, Default)]
pub(crate) struct EtcdMetrics {
    etcds: Arc<Mutex<BTreeMap<ObjectKey, Facts>>>,
    series: EtcdSeries,
}

impl EtcdMetrics {
    pub(super) fn of(series: EtcdSeries) -> Self {
        Self { series, ..Self::default() }
    }

    /// Tells this of an etcd from now on; of one without facts, nothing.
    pub(crate) fn set(&self, key: &ObjectKey, facts: Option<Facts>) {
        let mut etcds = self.etcds();
        match facts {
            Some(facts) => etcds.insert(key.clone(), facts),
            None => etcds.remove(key),
        };
    }

    /// Tells nothing any more.
    pub(crate) fn clear(&self) {
        self.etcds().clear();
    }

    fn etcds(&self) -> MutexGuard<'_, BTreeMap<ObjectKey, Facts>> {
        self.etcds.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Collector for EtcdMetrics {
    fn encode(&self, mut encoder: DescriptorEncoder) -> fmt::Result {
        let etcds = self.etcds();
        let now = Timestamp::now();
        let has_series = |facts: &Facts| match self.series {
            EtcdSeries::All => true,
            EtcdSeries::NeedsAttention => facts.needs_attention(now),
            EtcdSeries::None => false,
        };
        let with_series = etcds.iter().filter(|(_, facts)| has_series(facts)).collect();
        let mut each = Each { etcds: with_series, encoder: &mut encoder };
        each.gauge("discovered_quota", "The quota that was found in the StatefulSet", Some(&Unit::Bytes), |etcd| {
            etcd.quota
        })?;
        each.gauge("schedule_interval", "The longest time between two runs, by the schedule", Some(&Unit::Seconds), {
            |etcd| etcd.longest_pause.map(|pause| pause.as_secs())
        })?;
        each.gauge("suspended", "Whether runs are suspended, or there is no member", None, |etcd| {
            Some(u64::from(etcd.suspended))
        })?;
        each.gauge(
            "violations",
            "Findings that refuse the settings or report that the name of the CronJob is taken",
            None,
            |etcd| u64::try_from(etcd.violations()).ok(),
        )?;
        each.time("cronjob_creation", "When the CronJob was created", |etcd| etcd.made)?;
        each.time("last_successful_run", "When the last successful run ended", |etcd| etcd.last_success)?;
        each.time("last_failed_run", "When the last of the failed Jobs that still exist ended", |etcd| {
            etcd.last_failure
        })?;
        each.gauge(
            "preflight_succeeded",
            "Whether the last preflight reached all members and logged in",
            None,
            |etcd| etcd.preflight.map(|(_, well)| u64::from(well)),
        )?;
        each.time("last_preflight", "When the last preflight ended", |etcd| etcd.preflight.map(|(at, _)| at))?;
        each.gauge("last_run_reclaimed", "What the last run reclaimed on all members", Some(&Unit::Bytes), |etcd| {
            Some(etcd.last_run?.reclaimed)
        })?;
        let blocked = "How long members were blocked in the last run, one after the other";
        each.gauge("last_run_blocked", blocked, Some(&Unit::Seconds), |etcd| {
            Some(Duration::from_millis(etcd.last_run?.blocked_millis).as_secs_f64())
        })?;
        each.gauge("last_run_members_defragmented", "Members that the last run defragmented", None, |etcd| {
            Some(etcd.last_run?.defragmented)
        })?;
        each.gauge("last_run_members_skipped", "Members that the last run did not defragment", None, |etcd| {
            Some(etcd.last_run?.skipped)
        })?;
        encode_findings(&etcds, &mut encoder)
    }
}

/// How many etcds have each finding now. The codes are a closed set.
fn encode_findings(etcds: &BTreeMap<ObjectKey, Facts>, encoder: &mut DescriptorEncoder<'_>) -> fmt::Result {
    let mut counts: BTreeMap<(&str, &str), u64> = BTreeMap::new();
    for (code, refuses) in etcds.values().flat_map(|etcd| etcd.findings.iter()) {
        *counts.entry((code.as_str(), if *refuses { "deny" } else { "warn" })).or_default() += 1;
    }
    let mut metric = encoder.encode_descriptor(
        "findings",
        "Findings at enrolled StatefulSets now, by code",
        None,
        MetricType::Gauge,
    )?;
    for ((code, severity), count) in counts {
        metric.encode_family(&[("code", code), ("severity", severity)])?.encode_gauge(&count)?;
    }
    Ok(())
}

/// Writes one metric for each etcd.
struct Each<'a, 'e> {
    etcds: Vec<(&'a ObjectKey, &'a Facts)>,
    encoder: &'a mut DescriptorEncoder<'e>,
}

impl Each<'_, '_> {
    fn gauge<V: EncodeGaugeValue>(
        &mut self,
        name: &str,
        help: &str,
        unit: Option<&Unit>,
        value: impl Fn(&Facts) -> Option<V>,
    ) -> fmt::Result {
        let mut metric = self.encoder.encode_descriptor(name, help, unit, MetricType::Gauge)?;
        for (key, etcd) in &self.etcds {
            if let Some(value) = value(etcd) {
                // Not `namespace`: that is the one of the process, which a scrape would put in its place.
                let labels = [("etcd_namespace", key.namespace.as_str()), ("statefulset", key.name.as_str())];
                metric.encode_family(&labels)?.encode_gauge(&value)?;
            }
        }
        Ok(())
    }

    fn time(&mut self, what: &str, help: &str, at: impl Fn(&Facts) -> Option<Timestamp>) -> fmt::Result {
        self.gauge(&format!("{what}_timestamp"), help, Some(&Unit::Seconds), |etcd| at(etcd).map(Timestamp::as_second))
    }
}

#[cfg(test)]
mod tests {
    use prometheus_client::{encoding::text::encode, registry::Registry};

    use super::*;
    use crate::{
        controller::object_state::{EtcdStatus, LastLook, Planned},
        defrag::finding::Finding,
    };

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    fn told(metrics: &EtcdMetrics) -> String {
        let (mut registry, mut text) = (Registry::default(), String::new());
        registry.register_collector(Box::new(metrics.clone()));
        encode(&mut text, &registry).unwrap();
        text.lines().filter(|line| !line.starts_with('#')).collect::<Vec<_>>().join("\n")
    }

    #[test]
    fn what_is_known_of_an_etcd_is_told_until_it_goes() {
        let finding = Finding::new(Code::ScheduleInvalid, "x", "short", "long");
        let planned = Planned { quota: Some(2 << 30), longest_pause: Some(Duration::from_hours(24)), suspended: false };
        let mut state = ObjectState::default();
        state.status = EtcdStatus::Refused;
        state.last_look = Some(LastLook::of(&[finding], Some(planned)));
        let runs = [(50, false), (70, true), (60, true)].map(|(second, failed)| Run { ended: at(second), failed });
        let metrics = EtcdMetrics::default();
        let key = ObjectKey::new("tenants", "etcd");
        metrics.set(&key, Some(Facts::of(&state, None, runs.iter())));
        insta::assert_snapshot!(told(&metrics), @r#"
        discovered_quota_bytes{etcd_namespace="tenants",statefulset="etcd"} 2147483648
        schedule_interval_seconds{etcd_namespace="tenants",statefulset="etcd"} 86400
        suspended{etcd_namespace="tenants",statefulset="etcd"} 0
        violations{etcd_namespace="tenants",statefulset="etcd"} 1
        last_successful_run_timestamp_seconds{etcd_namespace="tenants",statefulset="etcd"} 50
        last_failed_run_timestamp_seconds{etcd_namespace="tenants",statefulset="etcd"} 70
        findings{code="schedule-invalid",severity="deny"} 1
        "#);
        metrics.set(&key, None);
        assert_eq!(told(&metrics), "");
        metrics.set(&key, Some(Facts::default()));
        metrics.clear();
        assert_eq!(told(&metrics), "");
    }

    #[test]
    fn needs_attention_when_an_alert_may_be_about_it() {
        let now = at(100_000);
        let hour = Some(Duration::from_hours(1));
        let well = Facts {
            longest_pause: hour,
            made: Some(at(0)),
            last_success: Some(at(99_000)),
            last_failure: Some(at(98_000)),
            preflight: Some((at(10), true)),
            findings: [(Code::VolumeTight, false)].into(),
            ..Facts::default()
        };
        assert!(!well.needs_attention(now));
        assert!(!Facts::default().needs_attention(now));
        // What has just been created has time until its first run.
        assert!(
            !Facts { made: Some(at(99_000)), last_success: None, last_failure: None, ..well.clone() }
                .needs_attention(now)
        );
        let each = [
            Facts { findings: [(Code::ScheduleInvalid, true)].into(), ..well.clone() },
            Facts { last_failure: Some(at(99_500)), ..well.clone() },
            Facts { last_success: None, made: Some(at(99_000)), ..well.clone() },
            Facts { last_success: Some(at(90_000)), last_failure: None, ..well.clone() },
            Facts { last_success: None, last_failure: None, ..well.clone() },
            Facts { preflight: Some((at(10), false)), ..well.clone() },
        ];
        for facts in each {
            assert!(facts.needs_attention(now), "{facts:?}");
        }
    }

    #[test]
    fn only_the_selected_etcds_have_series_and_all_are_counted() {
        let bad = Facts { findings: [(Code::ScheduleInvalid, true)].into(), ..Facts::default() };
        let warned = Facts { findings: [(Code::VolumeTight, false)].into(), ..Facts::default() };
        let of = |series| {
            let metrics = EtcdMetrics::of(series);
            metrics.set(&ObjectKey::new("tenants", "bad"), Some(bad.clone()));
            metrics.set(&ObjectKey::new("tenants", "well"), Some(warned.clone()));
            told(&metrics)
        };
        insta::assert_snapshot!(of(EtcdSeries::NeedsAttention), @r#"
        suspended{etcd_namespace="tenants",statefulset="bad"} 0
        violations{etcd_namespace="tenants",statefulset="bad"} 1
        findings{code="schedule-invalid",severity="deny"} 1
        findings{code="volume-tight",severity="warn"} 1
        "#);
        insta::assert_snapshot!(of(EtcdSeries::None), @r#"
        findings{code="schedule-invalid",severity="deny"} 1
        findings{code="volume-tight",severity="warn"} 1
        "#);
        assert!(of(EtcdSeries::All).contains("statefulset=\"well\""));
        for series in [EtcdSeries::All, EtcdSeries::NeedsAttention, EtcdSeries::None] {
            assert_eq!(series.to_string().parse(), Ok(series));
        }
        assert_eq!(
            "some".parse::<EtcdSeries>(),
            Err("\"some\" selects no etcds; write all, needs-attention or none".to_owned())
        );
    }

    #[test]
    fn a_name_that_is_taken_is_a_violation() {
        let mut state = ObjectState::default();
        let finding = Finding::new(Code::CronJobForeign, "metadata.name", "short", "long");
        state.last_look = Some(LastLook::of(&[finding], None));
        assert_eq!(Facts::of(&state, None, [].iter()).violations(), 1);
    }
}
