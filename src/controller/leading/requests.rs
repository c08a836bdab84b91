//! What the leader passes on to those who ask Prometheus.

use std::{collections::HashMap, sync::Arc};

use jiff::Timestamp;
use tokio::time::Instant;

use super::{
    super::{
        on_demand::{Candidate, Governed, LAST_ON_DEMAND, Started},
        runs::CronJobId,
    },
    Leading,
};
use crate::defrag::{
    ondemand::{Facts, Places},
    policy::Source,
};

impl Leading {
    /// Asks each Prometheus whose time has come for all etcds whose policies name it.
    pub(super) fn ask_prometheus(&mut self) {
        for source in self.on_demand.take_due(Instant::now()) {
            let (candidates, policies) = self.candidates(&source);
            self.on_demand.ask(Arc::clone(&self.context), source, candidates, policies);
        }
    }

    /// The etcds that a Prometheus is asked for, and the policies that govern them.
    fn candidates(&self, source: &Source) -> (Vec<Candidate>, HashMap<Arc<str>, Governed>) {
        let now = Timestamp::now();
        let mut policies: HashMap<Arc<str>, Governed> = HashMap::new();
        let mut candidates = Vec::new();
        for (key, kept) in self.statefulsets.iter() {
            let governing = self.snapshot.govern(&key.namespace, &kept.labels());
            let Some(metrics) = governing.policy.metrics.as_ref().filter(|metrics| metrics.source == *source) else {
                continue;
            };
            let (Some(cached), Some(runs)) = (self.cronjob_of(key), self.runs_of(key)) else { continue };
            let policy: Arc<str> = governing.name().unwrap_or_default().into();
            let governed = policies.entry(Arc::clone(&policy)).or_insert_with(|| Governed {
                on_demand: metrics.clone(),
                places: Places::new(metrics.max_concurrent),
            });
            // A run goes on whatever becomes of the settings, and so it holds its place.
            let longest = cached.deadline.unwrap_or(governing.policy.limits.max_deadline);
            if let Some(place) = self.runs.place(&runs, longest, now) {
                governed.places.take(&key.namespace, place);
            }
            let Some(aim) = self.states.get(key).and_then(|state| state.aim.clone()) else { continue };
            let Some(object) = kept.object() else { continue };
            let ended = self.runs.ended(Some(&runs)).map(|run| run.ended).max();
            let started = cached.annotation(LAST_ON_DEMAND);
            let started = started.and_then(|note| note.split(' ').next()?.parse().ok());
            governed.places.note(&key.namespace, started.max(self.on_demand.served(&policy, &key.namespace)));
            candidates.push(Candidate {
                key: key.clone(),
                object,
                aim,
                policy,
                facts: Facts { active: self.runs.is_active(&runs), last_run: ended.max(started) },
                cronjob: cached.meta,
                strikes: self.on_demand.strikes(key),
            });
        }
        (candidates, policies)
    }

    /// Takes note of the end of a pass.
    pub(super) fn passed(&mut self, (started, news): (Vec<Started>, bool)) {
        for run in started {
            let of = CronJobId::new(&run.key.namespace, &run.cronjob);
            self.runs.started(of, run.job, Some(run.place), run.at);
        }
        if news {
            self.statuses.touch(Instant::now());
        }
    }
}
