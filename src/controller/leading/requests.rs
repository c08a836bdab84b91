//! What the leader passes on to those who ask Prometheus.

use std::{collections::HashMap, sync::Arc};

use tokio::time::Instant;

use super::{
    super::on_demand::{Candidate, Governed, LAST_ON_DEMAND},
    Leading, ObjectKey, statefulset_of,
};
use crate::defrag::{
    cronjob,
    ondemand::Facts,
    policy::{Labels, Source},
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
        let none = Labels::new();
        let mut policies: HashMap<Arc<str>, Governed> = HashMap::new();
        let mut candidates = Vec::new();
        for (key, object) in self.statefulsets.iter() {
            let Some(aim) = self.states.get(key).and_then(|state| state.aim.clone()) else { continue };
            let governing = self.snapshot.govern(&key.namespace, object.metadata.labels.as_ref().unwrap_or(&none));
            let Some(metrics) = governing.policy.metrics.as_ref().filter(|metrics| metrics.source == *source) else {
                continue;
            };
            let cached = self.cronjobs.get(&ObjectKey::new(&key.namespace, &cronjob::name(&key.name)));
            let Some(cached) = cached.filter(|cached| statefulset_of(&cached.meta) == Some(&key.name)) else {
                continue;
            };
            let policy: Arc<str> = governing.name().unwrap_or_default().into();
            let (active, on_demand) = self.runs.active(key);
            let governed = policies
                .entry(Arc::clone(&policy))
                .or_insert_with(|| Governed { on_demand: metrics.clone(), active: 0 });
            governed.active += on_demand;
            let ended = self.runs.ended(key).map(|run| run.ended).max();
            let started = cached.annotation(LAST_ON_DEMAND);
            let started = started.and_then(|note| note.split(' ').next()?.parse().ok());
            candidates.push(Candidate {
                key: key.clone(),
                object: Arc::clone(object),
                aim,
                policy,
                facts: Facts { active: active > 0, last_run: ended.max(started) },
                cronjob: cached.meta.clone(),
                strikes: self.on_demand.strikes(key),
            });
        }
        (candidates, policies)
    }

    /// Takes note of the end of a pass.
    pub(super) fn passed(&mut self, (started, news): (Vec<(ObjectKey, String)>, bool)) {
        for (key, uid) in started {
            self.runs.started(key, uid);
        }
        if news {
            self.statuses.touch(Instant::now());
        }
    }
}
