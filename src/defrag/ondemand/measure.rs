//! From samples to the state of each member, and everything that makes them unfit to act on.

use std::{
    collections::{BTreeMap, HashMap},
    time::Duration,
};

use jiff::Timestamp;

use super::{Aim, Metric, Queries, Sample, about};
use crate::defrag::{quantity::human, rule::State};

/// What a series says of a pod.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub enum Series {
    /// There is none.
    #[default]
    Missing,
    /// There is one, with this value.
    One(f64),
    /// There are this many, and it is not known which is right.
    Several(usize),
}

impl Series {
    fn add(&mut self, value: f64) {
        *self = match *self {
            Self::Missing => Self::One(value),
            Self::One(_) => Self::Several(2),
            Self::Several(count) => Self::Several(count.saturating_add(1)),
        };
    }
}

/// All values of one pod.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Reading {
    size: Series,
    in_use: Series,
    quota: Series,
    scraped_at: Series,
    corrupt: bool,
}

/// All values from one Prometheus, by namespace and pod.
#[derive(Clone, Debug, Default)]
pub struct Readings {
    pods: HashMap<String, BTreeMap<String, Reading>>,
    /// Series that name no pod.
    pub nameless: usize,
}

impl Readings {
    /// Takes the answer for one metric.
    pub fn take(&mut self, metric: Metric, samples: Vec<Sample>, queries: &Queries) {
        for mut sample in samples {
            let pair = sample.labels.remove(&queries.namespace).zip(sample.labels.remove(&queries.pod));
            let Some((namespace, pod)) = pair else {
                self.nameless += 1;
                continue;
            };
            let reading = self.pods.entry(namespace).or_default().entry(pod).or_default();
            match metric {
                Metric::Size => reading.size.add(sample.value),
                Metric::InUse => reading.in_use.add(sample.value),
                Metric::Quota => reading.quota.add(sample.value),
                Metric::ScrapedAt => reading.scraped_at.add(sample.value),
                // Each member reports every member's alarm, so several count as one.
                Metric::Corrupt => reading.corrupt |= sample.value > 0.0,
            }
        }
    }

    /// The number of pods with values.
    #[must_use]
    pub fn pods(&self) -> usize {
        self.pods.values().map(BTreeMap::len).sum()
    }

    /// The value of one metric for a pod, where there is exactly one.
    #[must_use]
    pub fn get(&self, namespace: &str, pod: &str) -> Option<&Reading> {
        self.pods.get(namespace)?.get(pod)
    }
}

/// One member, measured.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Member {
    /// Its pod.
    pub pod: String,
    /// Its database, with the quota that it reports.
    pub state: State,
}

/// An etcd of which every member was measured of late.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Measured {
    /// Its members, by ordinal.
    pub members: Vec<Member>,
    /// Its pods that report the alarm CORRUPT.
    pub corrupt: Vec<String>,
    /// When the member was scraped whose scrape is the oldest.
    pub scraped: Timestamp,
}

impl Measured {
    /// The member with the largest share of its quota in use by its file.
    #[must_use]
    pub fn fullest(&self) -> Option<&Member> {
        self.members.iter().max_by(|a, b| usage(&a.state).total_cmp(&usage(&b.state)))
    }

    /// The largest share of the quota that a member's file takes.
    #[must_use]
    pub fn usage(&self) -> f64 {
        self.fullest().map_or(0.0, |member| usage(&member.state))
    }

    /// What a run would reclaim, over all members.
    #[must_use]
    pub fn reclaimable(&self) -> u64 {
        self.members.iter().map(|member| member.state.free()).fold(0, u64::saturating_add)
    }
}

/// The share of the quota that the file takes.
#[expect(clippy::cast_precision_loss, reason = "a share")]
pub(super) fn usage(state: &State) -> f64 {
    state.db_size as f64 / state.quota.max(1) as f64
}

/// Why what was measured is no ground to act on.
#[derive(Clone, Debug, PartialEq)]
pub enum Refusal {
    /// No series for a member.
    Missing {
        /// The member.
        pod: String,
        /// Of what.
        metric: Metric,
    },
    /// Several series for a member.
    Several {
        /// The member.
        pod: String,
        /// Of what.
        metric: Metric,
        /// How many.
        count: usize,
    },
    /// NaN or an infinity.
    NotANumber {
        /// The member.
        pod: String,
        /// Of what.
        metric: Metric,
    },
    /// A negative size.
    Negative {
        /// The member.
        pod: String,
        /// Of what.
        metric: Metric,
        /// The value.
        value: f64,
    },
    /// Scraped too long ago.
    Stale {
        /// The member.
        pod: String,
        /// How long ago.
        age: Duration,
        /// How old it may be.
        limit: Duration,
    },
    /// Scraped in the future: one of two clocks is wrong.
    Ahead {
        /// The member.
        pod: String,
        /// By how much.
        by: Duration,
    },
    /// The quota is reported as nothing.
    NoQuota {
        /// The member.
        pod: String,
    },
    /// The quota reported is not the one that the CronJob is made with.
    QuotaDiffers {
        /// The member.
        pod: String,
        /// What it reports, in bytes.
        reported: u64,
        /// What was discovered, in bytes.
        discovered: u64,
    },
    /// More in use than there is.
    InUseAboveSize {
        /// The member.
        pod: String,
        /// In use, in bytes.
        in_use: u64,
        /// The size, in bytes.
        size: u64,
    },
    /// A size far above the quota, which etcd lets no database reach.
    SizeAboveQuota {
        /// The member.
        pod: String,
        /// The size, in bytes.
        size: u64,
        /// The quota, in bytes.
        quota: u64,
    },
}

/// A database passes its quota by what is under way when the alarm is raised, never by as much again.
const ABSURD: u64 = 2;
/// So far may two clocks be apart.
const SKEW: Duration = Duration::from_secs(30);
/// Sizes are read in two scrapes' time: a file may have shrunk between the two values by a rounding of pages.
const PAGE: u64 = 64 * 1024;

impl Refusal {
    /// A name that stays the same, for annotations and metrics.
    #[must_use]
    pub const fn code(&self) -> &'static str {
        match self {
            Self::Missing { .. } => "series-missing",
            Self::Several { .. } => "series-several",
            Self::NotANumber { .. } => "value-not-a-number",
            Self::Negative { .. } => "value-negative",
            Self::Stale { .. } => "series-stale",
            Self::Ahead { .. } => "series-ahead",
            Self::NoQuota { .. } => "quota-zero",
            Self::QuotaDiffers { .. } => "quota-differs",
            Self::InUseAboveSize { .. } => "in-use-above-size",
            Self::SizeAboveQuota { .. } => "size-above-quota",
        }
    }

    /// The member.
    #[must_use]
    pub fn pod(&self) -> &str {
        match self {
            Self::Missing { pod, .. }
            | Self::Several { pod, .. }
            | Self::NotANumber { pod, .. }
            | Self::Negative { pod, .. }
            | Self::Stale { pod, .. }
            | Self::Ahead { pod, .. }
            | Self::NoQuota { pod }
            | Self::QuotaDiffers { pod, .. }
            | Self::InUseAboveSize { pod, .. }
            | Self::SizeAboveQuota { pod, .. } => pod,
        }
    }

    /// What was found, why it matters and what to do about it.
    #[must_use]
    pub fn message(&self) -> String {
        match self {
            Self::Missing { pod, metric } => format!(
                "Prometheus has no {} of the member {pod}: it is not known whether it is near its quota. Check that its target is up \
                 and that its series carry the labels of the pod and its namespace, or name other labels in the policy \
                 (metrics.prometheus.labels).",
                metric.name()
            ),
            Self::Several { pod, metric, count } => format!(
                "Prometheus has {count} series for the {} of the member {pod}, and it is not known which is right. Scrape it once, or \
                 write a query in the policy (metrics.prometheus.queries) that leaves one, such as max by (namespace, pod) (…).",
                metric.name()
            ),
            Self::NotANumber { pod, metric } => format!(
                "Prometheus says that the {} of the member {pod} is not a finite number, which no etcd reports. Check the query in the policy.",
                metric.name()
            ),
            Self::Negative { pod, metric, value } => format!(
                "Prometheus says that the {} of the member {pod} is {value}, below 0, which no etcd reports. Check the query in the policy.",
                metric.name()
            ),
            Self::Stale { pod, age, limit } => format!(
                "The member {pod} was scraped {} ago, and older than {} is too old to act on. Check that its target is up, and that \
                 Prometheus scrapes more often than that.",
                about(*age),
                about(*limit)
            ),
            Self::Ahead { pod, by } => format!(
                "The member {pod} was scraped {} in the future: the clocks of Prometheus and of etcd-defrag-webhook differ, and the \
                 age of its values is not known. Synchronise both by NTP.",
                about(*by)
            ),
            Self::NoQuota { pod } => format!(
                "The member {pod} reports a quota of 0 bytes, which no etcd has. Check the query in the policy."
            ),
            Self::QuotaDiffers { pod, reported, discovered } => format!(
                "The member {pod} runs with a quota of {}, but the pod template says {}: the rule would be evaluated with a wrong \
                 quota. Roll the pods to the template, or set the annotation etcd-defrag.io/quota.",
                human(*reported),
                human(*discovered)
            ),
            Self::InUseAboveSize { pod, in_use, size } => format!(
                "Prometheus says that {} of the {} of the member {pod} are in use, more than its size. Check the queries in the policy.",
                human(*in_use),
                human(*size)
            ),
            Self::SizeAboveQuota { pod, size, quota } => format!(
                "Prometheus says that the database of the member {pod} has {}, more than twice its quota of {}, which etcd lets no \
                 database reach. Check the queries in the policy; if the quota was lowered below the data, raise it.",
                human(*size),
                human(*quota)
            ),
        }
    }
}

/// Measures an etcd. `fresh` is how old values may be.
pub fn measure(aim: &Aim, readings: &Readings, now: Timestamp, fresh: Duration) -> Result<Measured, Refusal> {
    let none = Reading::default();
    let mut measured = Measured { members: Vec::new(), corrupt: Vec::new(), scraped: now };
    for pod in aim.pods() {
        let reading = readings.get(&aim.namespace, &pod).unwrap_or(&none);
        if reading.corrupt {
            measured.corrupt.push(pod.clone());
        }
        let (state, age) = member(aim, &pod, reading, now, fresh)?;
        measured.scraped = measured.scraped.min(now.checked_sub(age).unwrap_or(now));
        measured.members.push(Member { pod, state });
    }
    Ok(measured)
}

fn member(
    aim: &Aim,
    pod: &str,
    reading: &Reading,
    now: Timestamp,
    fresh: Duration,
) -> Result<(State, Duration), Refusal> {
    let pod = || pod.to_owned();
    let one = |metric: Metric, series: Series| match series {
        Series::Missing => Err(Refusal::Missing { pod: pod(), metric }),
        Series::Several(count) => Err(Refusal::Several { pod: pod(), metric, count }),
        Series::One(value) if !value.is_finite() => Err(Refusal::NotANumber { pod: pod(), metric }),
        Series::One(value) if value < 0.0 => Err(Refusal::Negative { pod: pod(), metric, value }),
        Series::One(value) => Ok(value),
    };
    let size = bytes(one(Metric::Size, reading.size)?);
    let in_use = bytes(one(Metric::InUse, reading.in_use)?);
    let quota = bytes(one(Metric::Quota, reading.quota)?);
    let scraped_at = one(Metric::ScrapedAt, reading.scraped_at)?;
    #[expect(clippy::cast_precision_loss, reason = "milliseconds since 1970 are far below 2^53")]
    let age = now.as_millisecond() as f64 / 1e3 - scraped_at;
    if age < -SKEW.as_secs_f64() {
        return Err(Refusal::Ahead { pod: pod(), by: seconds(-age) });
    }
    if age > fresh.as_secs_f64() {
        return Err(Refusal::Stale { pod: pod(), age: seconds(age), limit: fresh });
    }
    if quota == 0 {
        return Err(Refusal::NoQuota { pod: pod() });
    }
    if quota != aim.quota {
        return Err(Refusal::QuotaDiffers { pod: pod(), reported: quota, discovered: aim.quota });
    }
    if in_use > size.saturating_add(PAGE) {
        return Err(Refusal::InUseAboveSize { pod: pod(), in_use, size });
    }
    if size > quota.saturating_mul(ABSURD) {
        return Err(Refusal::SizeAboveQuota { pod: pod(), size, quota });
    }
    Ok((State { db_size: size, db_size_in_use: in_use.min(size), quota }, seconds(age.max(0.0))))
}

/// Whole bytes of a value that is finite and not negative; one beyond the range is the largest number.
#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "the caller has checked; `as` saturates")]
fn bytes(value: f64) -> u64 {
    value as u64
}

fn seconds(value: f64) -> Duration {
    Duration::try_from_secs_f64(value).unwrap_or(Duration::MAX)
}
