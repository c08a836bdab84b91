//! What a policy's status says: who complies, and whether the policy itself is sound and governs anything.
//!
//! [`tally`] and [`status`] are pure; [`StatusWriter`] says when a status is due, and [`write`] writes the ones that changed.

use std::{
    collections::{BTreeSet, HashMap},
    fmt::Write as _,
    sync::Arc,
    time::Duration,
};

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};
use kube::{
    api::{Api, ListParams, Patch, PatchParams},
    core::DeserializeGuard,
};
use serde_json::json;
use tokio::{
    task::JoinSet,
    time::{Instant, timeout},
};
use tracing::{debug, warn};

use super::{
    engine::{self, Images},
    policy_snapshot::Batch,
};
use crate::{
    controller::{Context, Error, ObjectKey, object_state::LastLook, on_demand::Reach},
    defrag::{
        cronjob::MANAGER,
        finding::Finding,
        policy::{
            Compiled, DefragPolicy, Labels, PolicySnapshot,
            api::{DefragPolicyStatus, Violation},
        },
        text::counted,
    },
};

/// So many violations are listed.
const VIOLATIONS_TOLD: usize = 20;
/// How many findings of the policy itself are in a condition.
const FINDINGS_TOLD: usize = 5;
/// The longest message of a condition or violation, in characters; the API server takes more of the first.
const MESSAGE_LIMIT: usize = 4096;
/// A status is written when nothing has changed for this long …
const QUIET: Duration = Duration::from_millis(500);
/// … and at the latest this long after the first change, unless looks are still under way …
const LATEST: Duration = Duration::from_secs(10);
/// … which are waited for no longer than this.
const PATIENCE: Duration = Duration::from_secs(30);
/// So long may one request take.
const REQUEST: Duration = Duration::from_secs(30);
/// After so long they are read again: a write of the leader before, late on its way, or of a person may have changed one.
const RESYNC: Duration = Duration::from_mins(5);

/// What the StatefulSets that a policy selects came to.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Tally {
    /// How many enrolled StatefulSets it selects.
    selected: usize,
    /// How many of them it governs, and how many of those violate it.
    matched: usize,
    violating: usize,
    violations: Vec<Violation>,
    /// The policies that govern the others.
    others: BTreeSet<String>,
    /// Whether the Prometheus that it names answers, once that is known.
    pub(crate) prometheus: Option<Reach>,
}

/// Counts for each policy, by its name, the enrolled StatefulSets.
pub(crate) fn tally<'a>(
    snapshot: &PolicySnapshot,
    enrolled: impl Iterator<Item = (&'a ObjectKey, Labels, &'a LastLook)>,
) -> HashMap<String, Tally> {
    let mut tallies: HashMap<String, Tally> = HashMap::new();
    for (key, labels, last_look) in enrolled {
        let selecting = snapshot.selecting(&key.namespace, &labels);
        let Some((governing, shadowed)) = selecting.split_first() else { continue };
        for policy in shadowed {
            let tally = tallies.entry(policy.name.clone()).or_default();
            tally.selected += 1;
            tally.others.insert(governing.name.clone());
        }
        let tally = tallies.entry(governing.name.clone()).or_default();
        tally.selected += 1;
        tally.matched += 1;
        let mut denials = last_look.denials().peekable();
        tally.violating += usize::from(denials.peek().is_some());
        let room = VIOLATIONS_TOLD.saturating_sub(tally.violations.len());
        tally.violations.extend(denials.take(room).map(|(code, message)| Violation {
            namespace: key.namespace.clone(),
            name: key.name.clone(),
            code: code.as_str().to_owned(),
            message: cut(message),
        }));
    }
    tallies
}

/// The status of a policy. Conditions that hold as before keep the time of `before`.
fn status(
    policy: &Compiled,
    tally: &Tally,
    images: Images<'_>,
    before: &DefragPolicyStatus,
    now: Timestamp,
) -> DefragPolicyStatus {
    let count = |number: usize| i32::try_from(number).unwrap_or(i32::MAX);
    let (valid, governing) = (validity(policy), government(tally));
    let ready = if valid.0 {
        (true, governing.1, format!("The policy is in force. {}", governing.2))
    } else {
        (
            false,
            valid.1,
            "Values of the policy are not in force as they are written; see the condition Valid.".to_owned(),
        )
    };
    let condition = |type_: &str, (holds, reason, message): (bool, &str, String)| {
        let status = if holds { "True" } else { "False" };
        let since = before.conditions.iter().find(|old| old.type_ == type_ && old.status == status);
        Condition {
            type_: type_.to_owned(),
            status: status.to_owned(),
            reason: reason.to_owned(),
            message: cut(&message),
            observed_generation: policy.generation,
            last_transition_time: since.map_or(Time(now), |old| old.last_transition_time.clone()),
        }
    };
    let (engine_image, follows) = engine::followed(&policy.policy.job.shape, images);
    let mut conditions = vec![condition("Ready", ready), condition("Valid", valid), condition("Governing", governing)];
    conditions.push(condition("EngineFollowsRelease", follows));
    conditions.extend(
        tally
            .prometheus
            .as_ref()
            .map(|reach| condition("PrometheusReachable", (reach.holds, reach.reason, reach.message.clone()))),
    );
    DefragPolicyStatus {
        observed_generation: policy.generation,
        matched: count(tally.matched),
        compliant: count(tally.matched - tally.violating),
        violating: count(tally.violating),
        violations: tally.violations.clone(),
        engine_image: Some(engine_image),
        conditions,
    }
}

/// Whether the values of the policy are in force as they are written.
fn validity(policy: &Compiled) -> (bool, &'static str, String) {
    let told = |findings: &[&Finding]| {
        let mut text = String::new();
        for finding in findings.iter().take(FINDINGS_TOLD) {
            // Writing to a String cannot fail.
            let _ = write!(
                text,
                "{}{} ({}): {}",
                if text.is_empty() { "" } else { " " },
                finding.code,
                finding.field,
                finding.message
            );
        }
        if findings.len() > FINDINGS_TOLD {
            let _ = write!(text, " And {} more.", findings.len() - FINDINGS_TOLD);
        }
        text
    };
    let (denials, warnings): (Vec<&Finding>, Vec<&Finding>) =
        policy.findings.iter().partition(|finding| finding.denies());
    match (denials.as_slice(), warnings.as_slice()) {
        ([], []) => (true, "Valid", "Every value is valid, and none contradicts another.".to_owned()),
        ([], warnings) => (true, "ValidWithWarnings", told(warnings)),
        (denials, _) => (false, "Invalid", told(denials)),
    }
}

/// Whether it governs anything, and if not why.
fn government(tally: &Tally) -> (bool, &'static str, String) {
    let others = || tally.others.iter().take(FINDINGS_TOLD).cloned().collect::<Vec<_>>().join(", ");
    if tally.selected == 0 {
        let message = "No enrolled StatefulSet matches selector and namespaceSelector. Check both, and that the StatefulSets \
                       carry the label etcd-defrag.io/enabled, unless enrollment is All.";
        return (false, "MatchesNothing", message.to_owned());
    }
    if tally.matched == 0 {
        let message = format!(
            "{} that it selects: each is governed by another policy of higher priority, or of the same and with a name that \
             comes first: {}. Give this one a higher priority, or remove it.",
            counted(tally.selected, "enrolled StatefulSet"),
            others()
        );
        return (false, "Shadowed", message);
    }
    let message = if tally.matched == tally.selected {
        format!("It governs {}.", counted(tally.matched, "enrolled StatefulSet"))
    } else {
        format!(
            "It governs {} of {} that match; the others are governed by {}.",
            tally.matched,
            counted(tally.selected, "enrolled StatefulSet"),
            others()
        )
    };
    (true, "Governing", message)
}

fn cut(text: &str) -> String {
    crate::defrag::finding::shorten(text, MESSAGE_LIMIT)
}

/// The uid of a policy and its name: one that is made again has no status yet.
type Identity = (String, Option<String>);
/// The status of each policy at the API server.
type KnownStatuses = HashMap<Identity, DefragPolicyStatus>;

/// When statuses are due, and what they were.
#[derive(Default)]
pub(crate) struct StatusWriter {
    dirty: Option<Batch>,
    /// Since when looks under way are waited for.
    waiting: Option<Instant>,
    /// `None` until they have been listed.
    known: Option<KnownStatuses>,
    /// When they are listed again.
    resync: Option<Instant>,
    writes: JoinSet<Option<KnownStatuses>>,
}

impl StatusWriter {
    /// Something changed that may be in a status.
    pub(crate) fn touch(&mut self, now: Instant) {
        self.dirty = Some(Batch::with(now, self.dirty, QUIET, LATEST));
    }

    /// When statuses are to be written; never while some are.
    pub(crate) fn due(&self) -> Option<Instant> {
        let due = self.dirty.as_ref().map(Batch::due).into_iter().chain(self.resync).min();
        due.filter(|_| self.writes.is_empty())
    }

    /// Waits longer, because looks that a status counts are under way; `false` where that has gone on for too long.
    pub(crate) fn postpone(&mut self, now: Instant) -> bool {
        self.forget(now);
        let since = *self.waiting.get_or_insert(now);
        let patient = now.saturating_duration_since(since) < PATIENCE;
        if patient {
            self.dirty = Some(Batch::with(now, None, QUIET, LATEST));
        }
        patient
    }

    /// Forgets what the statuses were, once that is too long ago.
    fn forget(&mut self, now: Instant) {
        if self.resync.take_if(|due| *due <= now).is_some() {
            self.known = None;
        }
    }

    /// Begins to write the statuses that changed.
    pub(crate) fn start(&mut self, context: Arc<Context>, snapshot: &PolicySnapshot, tallies: HashMap<String, Tally>) {
        self.dirty = None;
        self.waiting = None;
        let policies: Vec<_> = snapshot.policies().iter().cloned().collect();
        let now = Instant::now();
        self.forget(now);
        if policies.is_empty() {
            self.known = None;
            return;
        }
        let known = self.known.take();
        if known.is_none() {
            self.resync = Some(now + RESYNC);
        }
        self.writes.spawn(async move {
            match write(&context, &policies, &tallies, known).await {
                Ok(known) => Some(known),
                Err(error) => {
                    warn!(%error, "could not write the status of policies; this is retried");
                    None
                }
            }
        });
    }

    /// Waits until the writes under way have ended.
    pub(crate) async fn ended(&mut self) {
        let Some(ended) = self.writes.join_next().await else { return };
        self.known = ended.ok().flatten();
        if self.known.is_none() {
            self.dirty = Some(Batch::with(Instant::now(), None, LATEST, LATEST));
        }
    }

    /// Whether writes are under way.
    pub(crate) fn is_writing(&self) -> bool {
        !self.writes.is_empty()
    }
}

/// Writes the statuses that are not as they should be; what each of them is then.
async fn write(
    context: &Context,
    policies: &[Arc<Compiled>],
    tallies: &HashMap<String, Tally>,
    known: Option<KnownStatuses>,
) -> Result<KnownStatuses, Error> {
    let mut known = match known {
        Some(known) => known,
        None => list(context).await?,
    };
    let (none, fresh) = (Tally::default(), DefragPolicyStatus::default());
    let api: Api<DefragPolicy> = Api::all(context.client.clone());
    let params = PatchParams { field_manager: Some(MANAGER.to_owned()), ..PatchParams::default() };
    let (mut now_known, mut conflict) = (KnownStatuses::new(), None);
    for policy in policies {
        let identity = (policy.name.clone(), policy.uid.clone());
        let tally = tallies.get(&policy.name).unwrap_or(&none);
        let before = known.remove(&identity);
        let images = Images { own: context.own_image.as_deref(), engine: context.engine_image.as_deref() };
        let wanted = status(policy, tally, images, before.as_ref().unwrap_or(&fresh), Timestamp::now());
        if before.as_ref() != Some(&wanted) {
            context.may_write()?;
            let patch = json!({"metadata": {"uid": policy.uid}, "status": {
                "observedGeneration": wanted.observed_generation,
                "matched": wanted.matched,
                "compliant": wanted.compliant,
                "violating": wanted.violating,
                // Also where it is empty: a merge leaves out nothing.
                "violations": wanted.violations,
                "engineImage": wanted.engine_image,
                "conditions": wanted.conditions,
            }});
            match in_time(api.patch_status(&policy.name, &params, &Patch::Merge(&patch))).await? {
                Ok(_) => debug!(policy = policy.name, "wrote the status"),
                // The watch will say so.
                Err(kube::Error::Api(status)) if status.is_not_found() => continue,
                // Made again, which the watch will say, or changed by others at the same moment, which it need not.
                Err(kube::Error::Api(status)) if status.is_conflict() => {
                    conflict = Some(kube::Error::Api(status));
                    continue;
                }
                Err(error) => return Err(error.into()),
            }
        }
        now_known.insert(identity, wanted);
    }
    conflict.map_or(Ok(now_known), |error| Err(error.into()))
}

async fn in_time<T>(request: impl Future<Output = T>) -> Result<T, Error> {
    timeout(REQUEST, request).await.map_err(|_| Error::TimedOut(REQUEST))
}

async fn list(context: &Context) -> Result<KnownStatuses, Error> {
    let api: Api<DeserializeGuard<DefragPolicy>> = Api::all(context.client.clone());
    let all = in_time(api.list(&ListParams::default())).await??;
    let readable = all.items.into_iter().filter_map(|object| object.0.ok());
    Ok(readable
        .filter_map(|policy| {
            let identity = (policy.metadata.name?, policy.metadata.uid);
            Some((identity, policy.status?))
        })
        .collect())
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::defrag::{
        finding::Code,
        keys::Key,
        policy::{PolicySet, compile},
    };

    fn policy(name: &str, spec: &serde_json::Value) -> Arc<Compiled> {
        let object = json!({"apiVersion": "etcd-defrag.io/v1alpha1", "kind": "DefragPolicy",
            "metadata": {"name": name, "generation": 3}, "spec": spec});
        Arc::new(compile(&serde_json::from_value(object).unwrap(), Timestamp::UNIX_EPOCH))
    }

    fn told(policy: &Compiled, tally: &Tally, before: &DefragPolicyStatus, now: Timestamp) -> DefragPolicyStatus {
        status(policy, tally, Images::default(), before, now)
    }

    fn reasons(status: &DefragPolicyStatus) -> Vec<(&str, &str, &str)> {
        status.conditions.iter().map(|one| (one.type_.as_str(), one.status.as_str(), one.reason.as_str())).collect()
    }

    fn found(findings: &[Finding]) -> LastLook {
        LastLook::of(findings, None)
    }

    #[test]
    fn each_policy_says_what_it_governs_and_why_not() {
        let a = policy("a", &json!({"priority": 5, "selector": {"matchLabels": {"tier": "prod"}}}));
        let b = policy("b", &json!({"priority": 1, "selector": {"matchLabels": {"tier": "prod"}}}));
        let c = policy("c", &json!({}));
        let d = policy("d", &json!({"selector": {"matchLabels": {"tier": "none"}}}));
        let snapshot = PolicySnapshot::new(PolicySet::new([&a, &b, &c, &d].map(Arc::clone)), Arc::default());
        let prod = Labels::from([("tier".to_owned(), "prod".to_owned())]);
        let bad = Finding::new(Code::ScheduleInvalid, Key::Schedule.field(), "short", "long");
        let objects = [
            (ObjectKey::new("ns", "one"), prod.clone(), found(&[bad])),
            (ObjectKey::new("ns", "two"), prod, found(&[])),
            (ObjectKey::new("ns", "three"), Labels::new(), found(&[])),
        ];
        let tallies = tally(&snapshot, objects.iter().map(|(key, labels, last_look)| (key, labels.clone(), last_look)));
        let of = |policy: &Compiled| {
            let tally = tallies.get(&policy.name).cloned().unwrap_or_default();
            told(policy, &tally, &DefragPolicyStatus::default(), Timestamp::UNIX_EPOCH)
        };
        let first = of(&a);
        assert_eq!((first.matched, first.compliant, first.violating), (2, 1, 1));
        assert_eq!(first.violations[0].name, "one");
        assert_eq!(
            reasons(&of(&b)),
            [
                ("Ready", "True", "Shadowed"),
                ("Valid", "True", "Valid"),
                ("Governing", "False", "Shadowed"),
                ("EngineFollowsRelease", "True", "NotSet")
            ]
        );
        assert!(of(&b).conditions[2].message.contains("comes first: a."));
        assert!(of(&c).conditions[2].message.contains("governs 1 of 3 enrolled StatefulSets"));
        assert_eq!(reasons(&of(&d))[2], ("Governing", "False", "MatchesNothing"));
    }

    #[test]
    fn what_is_wrong_with_a_policy_is_told_in_the_words_of_the_finding() {
        let policy = policy("bad", &json!({"defaults": {"schedule": "0 0 31 2 *"}}));
        let status = told(&policy, &Tally::default(), &DefragPolicyStatus::default(), Timestamp::UNIX_EPOCH);
        assert_eq!(reasons(&status)[..2], [("Ready", "False", "Invalid"), ("Valid", "False", "Invalid")]);
        let finding = policy.findings.iter().find(|finding| finding.denies()).unwrap();
        assert!(status.conditions[1].message.contains(&finding.message), "{}", status.conditions[1].message);
        assert_eq!(status.observed_generation, Some(3));
    }

    #[test]
    fn a_condition_keeps_its_time_until_it_changes() {
        let policy = policy("a", &json!({}));
        let first = told(&policy, &Tally::default(), &DefragPolicyStatus::default(), Timestamp::UNIX_EPOCH);
        let later = Timestamp::UNIX_EPOCH + jiff::SignedDuration::from_hours(1);
        assert_eq!(told(&policy, &Tally::default(), &first, later), first);
        let one = Tally { selected: 1, matched: 1, ..Tally::default() };
        let governs = told(&policy, &one, &first, later);
        assert_eq!(governs.conditions[0].last_transition_time, first.conditions[0].last_transition_time);
        assert_eq!(governs.conditions[2].last_transition_time, Time(later));
    }

    #[test]
    fn only_the_first_violations_are_listed() {
        let a = policy("a", &json!({}));
        let snapshot = PolicySnapshot::new(PolicySet::new([a]), Arc::default());
        let finding = || Finding::new(Code::ScheduleInvalid, "x", "short", "long");
        let objects: BTreeMap<ObjectKey, LastLook> = (0..50)
            .map(|index| (ObjectKey::new("ns", &format!("etcd-{index}")), found(&[finding(), finding()])))
            .collect();
        let none = Labels::new();
        let tallies = tally(&snapshot, objects.iter().map(|(key, last_look)| (key, none.clone(), last_look)));
        let tally = tallies.get("a").unwrap();
        assert_eq!((tally.violating, tally.violations.len()), (50, VIOLATIONS_TOLD));
    }
}
