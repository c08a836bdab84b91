//! Sizes from a Prometheus, for `status --prometheus`.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    path::Path,
    time::Duration,
};

use jiff::Timestamp;

use super::etcds::{DefragNow, Etcd, Sizes};
use crate::{
    controller::on_demand::client,
    defrag::{
        Surroundings, assess,
        ondemand::{Aim, Measured, Queries, Readings, Refusal, days_to_quota, measure},
        policy::{Governing, PolicySet, Source},
        quantity::human,
        statefulset::StatefulSet,
        text::{quoted, shorten},
    },
};

/// How long all answers may take.
const PATIENCE: Duration = Duration::from_secs(30);
/// The longest note, in characters: an annotation has room for a quarter of a megabyte.
const NOTE: usize = 500;
/// How old a scrape may be.
const FRESH: Duration = Duration::from_mins(5);

/// The values from one Prometheus for the whole fleet, for each set of queries.
pub(super) struct Told {
    answers: BTreeMap<Queries, Answers>,
    now: Timestamp,
}

struct Answers {
    readings: Readings,
    growth: HashMap<(String, String), f64>,
}

/// Asks a Prometheus what the policies of a cluster ask, and what is asked without a policy; an https URL needs the file
/// with its certificate authority.
pub(super) async fn ask(url: &str, ca_file: Option<&str>, policies: &PolicySet) -> anyhow::Result<Told> {
    let queries = policies.iter().filter_map(|policy| policy.policy.metrics.as_ref());
    let queries = queries.map(|metrics| metrics.source.queries.clone()).chain([Queries::default()]);
    let mut answers = BTreeMap::new();
    for queries in queries.collect::<BTreeSet<Queries>>() {
        let source = Source {
            url: url.trim_end_matches('/').to_owned(),
            ca_file: ca_file.map(ToOwned::to_owned),
            credentials: None,
            interval: PATIENCE,
            timeout: PATIENCE,
            fresh: FRESH,
            queries,
        };
        let answer = Answers::of(&source).await.map_err(|error| anyhow::anyhow!("Prometheus ({url}) {error}"))?;
        answers.insert(source.queries, answer);
    }
    Ok(Told { answers, now: Timestamp::now() })
}

impl Answers {
    async fn of(source: &Source) -> Result<Self, client::AskError> {
        // Names of files are those of the working folder here.
        let here = Path::new("");
        let readings = client::ask(source, here).await?;
        let growth = client::ask_one(source, here, &source.queries.growth()).await?;
        let growth = growth.into_iter().filter_map(|mut sample| {
            let key = (sample.labels.remove(&source.queries.namespace)?, sample.labels.remove(&source.queries.pod)?);
            Some((key, sample.value))
        });
        Ok(Self { readings, growth: growth.collect() })
    }
}

impl Told {
    /// The sizes of an etcd, or why they are not known; nothing if no Job could be created for it either.
    pub(super) fn of(&self, object: &StatefulSet, governing: &Governing) -> Option<Result<Sizes, Refusal>> {
        let plan = assess(object, governing, &Surroundings::default(), self.now).plan?;
        let aim = Aim::of(&plan)?;
        let queries = governing.policy.metrics.as_ref().map(|metrics| metrics.source.queries.clone());
        let answers = self.answers.get(&queries.unwrap_or_default())?;
        let measured = measure(&aim, &answers.readings, self.now, FRESH);
        Some(measured.map(|measured| answers.sizes(&aim, &measured)))
    }
}

impl Answers {
    fn sizes(&self, aim: &Aim, measured: &Measured) -> Sizes {
        let days = measured.members.iter().filter_map(|member| {
            let growth = self.growth.get(&(aim.namespace.clone(), member.pod.clone()))?;
            days_to_quota(&member.state, *growth)
        });
        let state = measured.fullest().map(|member| member.state);
        Sizes {
            size: state.map_or(0, |state| state.db_size),
            in_use: state.map_or(0, |state| state.db_size_in_use),
            quota: aim.quota,
            reclaimable: measured.reclaimable(),
            days_to_quota: days.min_by(f64::total_cmp),
            required: measured.members.iter().any(|member| aim.rule.evaluate(&member.state) == Ok(true)),
        }
    }
}

fn in_days(days: f64) -> String {
    match days.round() {
        ..1.0 => "less than a day".to_owned(),
        1.0 => "1 day".to_owned(),
        days => format!("{days:.0} days"),
    }
}

/// A line for each etcd, and for each note on it.
pub(super) fn lines(etcds: &[Etcd]) -> Vec<String> {
    let mut lines = Vec::new();
    for etcd in etcds {
        let name = format!("{}/{}", etcd.namespace, etcd.name);
        if let Some(sizes) = &etcd.sizes {
            let days = match sizes.days_to_quota {
                Some(days) if days < 1000.0 => format!("{} to the quota at the growth of the last day", in_days(days)),
                _ => "not growing towards the quota".to_owned(),
            };
            let required = if sizes.required { "; a run is required" } else { "" };
            lines.push(format!(
                "{name}: {} of {}, {} in use, {} to reclaim in all members; {days}{required}",
                human(sizes.size),
                human(sizes.quota),
                human(sizes.in_use),
                human(sizes.reclaimable),
            ));
        }
        if let Some(DefragNow { token, waits }) = &etcd.defrag_now {
            let what = if *waits { "waits" } else { "served, or older than its CronJob; a new value requests a run" };
            lines.push(format!("{name}: defrag-now {}: {what}", quoted(token)));
        }
        for (what, note) in [
            ("cannot be measured", &etcd.unmeasured),
            ("waits", &etcd.on_demand),
            ("last on demand", &etcd.last_on_demand),
        ] {
            if let Some(note) = note {
                lines.push(format!("{name}: {what}: {}", shorten(note, NOTE)));
            }
        }
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn days_are_counted_as_people_do() {
        assert_eq!([0.2, 0.6, 1.4, 1.6, 12.0].map(in_days), ["less than a day", "1 day", "1 day", "2 days", "12 days"]);
    }

    #[test]
    fn an_etcd_in_a_line() {
        let etcd = |name: &str| Etcd { namespace: "ns".to_owned(), name: name.to_owned(), ..Etcd::default() };
        let sizes = |days| Sizes {
            size: 7 << 30,
            in_use: 2 << 30,
            quota: 8 << 30,
            reclaimable: 15 << 30,
            days_to_quota: days,
            required: days.is_some(),
        };
        let etcds = [
            Etcd {
                sizes: Some(sizes(Some(12.4))),
                last_on_demand: Some("2026-01-01T00:00:00Z etcd-1: The rule holds.".to_owned()),
                ..etcd("full")
            },
            Etcd {
                sizes: Some(sizes(None)),
                on_demand: Some("suspended: the CronJob is suspended".to_owned()),
                ..etcd("still")
            },
            Etcd { defrag_now: Some(DefragNow { token: "now\n!".to_owned(), waits: true }), ..etcd("asked") },
            Etcd { defrag_now: Some(DefragNow { token: "now".to_owned(), waits: false }), ..etcd("served") },
            Etcd { unmeasured: Some("Prometheus has no database size.".to_owned()), ..etcd("gone") },
            etcd("unasked"),
        ];
        insta::assert_snapshot!(lines(&etcds).join("\n"));
    }
}
