//! What may be in force for one StatefulSet. The last good settings stay in force, so that depends on what came before, and
//! on how much of it the controller has seen: it may miss what follows on something else too soon, and sees StatefulSets,
//! namespaces and policies each in their order, but not in that of each other.

use std::collections::BTreeSet;

use serde_json::Value;

use super::{
    cronjob,
    facts::{Facts, Look},
    remember,
    settings::{self, Governing, Settings},
};
use crate::objects::IN_FORCE;

/// The settings in force and the policy that governed when they came in force. Without a CronJob nothing is in force.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct InForce {
    pub(crate) settings: Settings,
    pub(crate) policy: Option<String>,
}

/// What happened since everything was at rest last.
#[derive(Debug, Default)]
pub(crate) struct History {
    /// The StatefulSet in every state that it was in; `None` while there is none.
    pub(crate) looks: Vec<Option<Look>>,
    /// What was in force then, and what somebody's hands may have made of it since.
    pub(crate) given: BTreeSet<Option<InForce>>,
    /// The facts that a CronJob may go by.
    pub(crate) facts: Vec<Facts>,
    /// Whether the CronJob was suspended or not, or both.
    pub(crate) suspended: BTreeSet<bool>,
    /// What is said to be in force may not count, so that it is read back from the rest of the CronJob.
    pub(crate) doubtful: bool,
    /// There was nothing left to be read back.
    pub(crate) lost: bool,
}

impl History {
    /// Takes note of a StatefulSet as it is now.
    pub(crate) fn see(&mut self, object: Option<&Value>) {
        let look = object.map(Look::at);
        let last = self.looks.last().and_then(Option::as_ref);
        if let (Some(last), Some(look)) = (last, &look)
            && last.uid != look.uid
        {
            self.looks.push(None);
        }
        if let Some(Look { facts, .. }) = &look
            && facts.are_readable()
        {
            remember(&mut self.facts, facts.clone());
        }
        remember(&mut self.looks, look);
    }

    /// Takes note of our CronJob as it is now.
    pub(crate) fn see_cronjob(&mut self, live: Option<&Value>) {
        let Some(live) = live else {
            self.given.insert(None);
            return;
        };
        let notes = &live["metadata"]["annotations"];
        self.suspended.insert(live["spec"]["suspend"] == true);
        // Suspended for want of members, or of anything that could be in force, it says nothing of what was asked for.
        let codes = notes["etcd-defrag.io/findings"].as_str().unwrap_or_default();
        let container = &live["spec"]["jobTemplate"]["spec"]["template"]["spec"]["containers"][0];
        if container["args"][0] == "--endpoints="
            || codes.split(',').any(|code| code == "nothing-in-force")
            || !notes["etcd-defrag.io/paused"].is_null()
        {
            self.suspended.insert(false);
        }
        if self.doubtful || notes[IN_FORCE].is_null() {
            let shown = cronjob::shown(&live["spec"]);
            self.lost |= shown.is_empty();
            let policy = notes["etcd-defrag.io/policy"].as_str().map(str::to_owned);
            self.given.extend(shown.into_iter().map(|settings| Some(InForce { settings, policy: policy.clone() })));
        }
    }

    /// What may be in force now that `policy` governs: everything that any order of looks leads to, and then the last look.
    pub(crate) fn possible<'a>(
        &self,
        policy: &Governing,
        policies: impl Fn(&Look) -> &'a [Governing],
    ) -> BTreeSet<Option<InForce>> {
        let mut reached = self.given.clone();
        let mut new: Vec<Option<InForce>> = reached.iter().cloned().collect();
        while let Some(record) = new.pop() {
            for look in &self.looks {
                let after: Vec<_> = match look {
                    None => vec![None],
                    Some(look) => {
                        policies(look).iter().flat_map(|policy| next(record.as_ref(), look, policy)).collect()
                    }
                };
                new.extend(after.into_iter().filter(|one| reached.insert(one.clone())));
            }
        }
        match self.looks.last().and_then(Option::as_ref) {
            None => BTreeSet::from([None]),
            Some(look) => reached.iter().flat_map(|record| next(record.as_ref(), look, policy)).collect(),
        }
    }
}

/// What is in force after a look.
fn next(record: Option<&InForce>, look: &Look, policy: &Governing) -> Vec<Option<InForce>> {
    let under = |settings: Settings| Some(InForce { settings, policy: policy.name.clone() });
    let rulings = settings::rulings(look, policy);
    if rulings.is_empty() {
        return vec![None];
    }
    let each = rulings.into_iter().flat_map(|ruling| match record {
        // Nothing is made from what is refused.
        None => vec![(!ruling.prevented).then(|| under(ruling.current)).flatten()],
        Some(_) if !ruling.refused => vec![under(ruling.current)],
        Some(last) => {
            let same = (last.policy == policy.name).then(|| Some(last.clone()));
            // Under the same policy the last good ones stay; where there are none, something may have become acceptable.
            let instead = if same.is_none() || last.settings.held { ruling.instead } else { Vec::new() };
            same.into_iter().chain(instead.into_iter().map(under)).collect()
        }
    });
    each.collect()
}
