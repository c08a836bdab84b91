//! Patterns of growth, and a model of the database file.

use etcd_defrag_webhook::defrag::rule::State;

pub(crate) const GIB: f64 = (1u64 << 30) as f64;
const MIB: f64 = (1u64 << 20) as f64;
/// The quota of kamaji-etcd, and etcd's largest advised one.
pub(crate) const QUOTA: f64 = 8.0 * GIB;
/// Steps of ten minutes in a day.
pub(crate) const DAY: u32 = 144;

/// How data grows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Shape {
    Steady,
    Bursty,
    Churn,
    Leak,
    Storm,
    Brimful,
}

impl Shape {
    pub(crate) const ALL: [Self; 6] = [Self::Steady, Self::Bursty, Self::Churn, Self::Leak, Self::Storm, Self::Brimful];

    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Steady => "steady",
            Self::Bursty => "bursty",
            Self::Churn => "churn",
            Self::Leak => "leak",
            Self::Storm => "storm",
            Self::Brimful => "brimful",
        }
    }

    pub(crate) const fn about(self) -> &'static str {
        match self {
            Self::Steady => {
                "A control plane at rest: leases and status updates rewrite a few MiB between two compactions (the API server \
                 compacts every 5 minutes), and the number of objects hardly changes."
            }
            Self::Bursty => {
                "Batch work on weekdays: one to three bursts of Jobs, their pods and their Events a day, 0.2 to 1.2 GiB for some \
                 hours each; Events live for one hour, finished Jobs until their TTL. Once a month a burst of 3 GiB."
            }
            Self::Churn => {
                "Preview environments: created in the morning, deleted at night, 1.5 GiB up and down each day and less at weekends, \
                 on 3 GiB that grow by 10 % over the year."
            }
            Self::Leak => {
                "A controller that never deletes what it makes (the usual cause of a full etcd in public post-mortems: Events, \
                 Secrets of Helm releases, CertificateRequests): 50 MiB a day from 2 GiB on, until a person notices after 90 days and \
                 deletes it."
            }
            Self::Storm => {
                "A controller in a tight loop: on one day in two weeks it makes objects until 6.9 GiB are in use, is stopped, cleaned \
                 up after, and starts again three hours later, up to five times that day."
            }
            Self::Brimful => {
                "A cluster that has outgrown its quota's comfort: 6.7 GiB of objects (84 %) that stay, 60 to 200 MiB that come by day \
                 and are gone at night, and once in two weeks a rollout of 300 MiB for some hours."
            }
        }
    }
}

/// Numbers that look random and are the same for the same seed (`SplitMix64`, by Steele, Lea and Flood).
pub(crate) struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// From `low` up to `high`.
    #[allow(clippy::cast_precision_loss, reason = "a random number")]
    fn between(&mut self, low: f64, high: f64) -> f64 {
        low + (high - low) * ((self.next() >> 11) as f64 / (1u64 << 53) as f64)
    }

    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a small number")]
    fn whole(&mut self, low: u32, high: u32) -> u32 {
        (self.between(f64::from(low), f64::from(high) + 1.0) as u32).min(high)
    }
}

/// What is in use at each step, in bytes.
pub(crate) struct Year {
    pub(crate) in_use: Vec<f64>,
}

/// More data for a time: it grows to `height` within `rise` steps, stays, and is gone after `length`.
struct Burst {
    start: u32,
    rise: u32,
    length: u32,
    height: f64,
}

impl Burst {
    fn at(&self, step: u32) -> f64 {
        match step.checked_sub(self.start) {
            Some(since) if since < self.length => {
                self.height * (f64::from(since + 1) / f64::from(self.rise.max(1))).min(1.0)
            }
            _ => 0.0,
        }
    }
}

impl Year {
    pub(crate) fn of(shape: Shape, days: u32, seed: u64) -> Self {
        let mut random = Random(seed);
        let mut in_use = Vec::new();
        for day in 0..days {
            let weekday = day % 7;
            let bursts = bursts(shape, day, weekday, &mut random);
            for step in 0..DAY {
                // What was rewritten since the last compaction.
                let history = random.between(20.0, 40.0) * MIB;
                let base = base(shape, day, weekday, step, days);
                in_use.push(base + history + bursts.iter().map(|burst| burst.at(step)).sum::<f64>());
            }
        }
        Self { in_use }
    }
}

fn bursts(shape: Shape, day: u32, weekday: u32, random: &mut Random) -> Vec<Burst> {
    match shape {
        Shape::Bursty if day % 30 == 17 => vec![Burst { start: 60, rise: 12, length: 36, height: 3.0 * GIB }],
        Shape::Bursty if weekday < 5 => (0..random.whole(1, 3))
            .map(|_| Burst {
                start: random.whole(36, 110),
                rise: 6,
                length: random.whole(9, 30),
                height: random.between(0.2, 1.2) * GIB,
            })
            .collect(),
        Shape::Brimful => {
            let daily = Burst { start: 48, rise: 36, length: 84, height: random.between(0.06, 0.2) * GIB };
            let rollout = Burst { start: 60, rise: 3, length: 24, height: 0.3 * GIB };
            std::iter::once(daily).chain((day % 14 == 4).then_some(rollout)).collect()
        }
        Shape::Storm if day % 14 == 9 => (0..random.whole(3, 5))
            .map(|number| Burst { start: 12 + number * 24, rise: 8, length: 12, height: 5.0 * GIB })
            .collect(),
        _ => Vec::new(),
    }
}

/// Without bursts.
fn base(shape: Shape, day: u32, weekday: u32, step: u32, days: u32) -> f64 {
    let of_day = f64::from(step) / f64::from(DAY);
    let wave = (1.0 - (of_day * std::f64::consts::TAU).cos()) / 2.0;
    let progress = f64::from(day) / f64::from(days.max(1));
    match shape {
        Shape::Steady => 1.2 * GIB + 10.0 * MIB * wave,
        Shape::Bursty => 1.5 * GIB,
        Shape::Churn => 3.0 * GIB * (1.0 + 0.1 * progress) + if weekday < 5 { 1.5 } else { 0.4 } * GIB * wave,
        Shape::Leak => 2.0 * GIB + (f64::from(day % 90) + of_day) * 50.0 * MIB,
        Shape::Storm => 1.85 * GIB,
        Shape::Brimful => 6.7 * GIB,
    }
}

/// The file of one member: it grows where data finds no room among its free pages, and shrinks only when defragmented.
pub(crate) struct Database {
    size: f64,
    in_use: f64,
    contiguous: f64,
    /// Free pages that lie in rows too short for what is written.
    stranded: f64,
    alarm: bool,
}

impl Database {
    pub(crate) fn new(in_use: f64, contiguous: f64) -> Self {
        Self { size: in_use, in_use, contiguous, stranded: 0.0, alarm: false }
    }

    /// So much is to be in use now. Where the quota is reached by it, nothing more is taken until the database is defragmented.
    pub(crate) fn write(&mut self, wanted: f64) {
        if self.alarm {
            self.in_use = self.in_use.min(wanted);
            return;
        }
        let more = wanted - self.in_use;
        let room = (self.size - self.in_use - self.stranded).max(0.0);
        if more > room {
            self.size += more - room;
        }
        self.in_use = wanted;
        if more < 0.0 {
            // Freed pages join their free neighbours; a part is in rows too short for a value of several pages.
            self.stranded = (self.size - self.in_use) * (1.0 - self.contiguous);
        }
        if self.size > QUOTA {
            self.alarm = true;
            self.size = QUOTA;
            self.in_use = self.in_use.min(QUOTA);
        }
    }

    /// Writes the file anew; what that gave back. An alarm is lifted with it, as `auto-disalarm` or a person does.
    pub(crate) fn defragment(&mut self) -> f64 {
        let before = std::mem::replace(&mut self.size, self.in_use);
        (self.alarm, self.stranded) = (false, 0.0);
        before - self.size
    }

    /// Whether nothing is taken.
    pub(crate) const fn is_alarmed(&self) -> bool {
        self.alarm
    }

    pub(crate) fn usage(&self) -> f64 {
        self.size / QUOTA
    }

    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a size in bytes")]
    pub(crate) fn state(&self) -> State {
        State { db_size: self.size as u64, db_size_in_use: self.in_use as u64, quota: QUOTA as u64 }
    }
}
