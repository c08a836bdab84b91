//! Standard reports of compliance, as dashboards of other policy engines show them: one for each enrolled StatefulSet, where
//! the definition of one of the two kinds of report is installed.
//!
//! What a report says is made here and is pure; [`follow`] finds the kind and watches, [`keep`] writes.

pub(super) mod follow;
pub(super) mod keep;
#[cfg(test)]
mod tests;

use std::{
    borrow::Cow,
    collections::{BTreeMap, BTreeSet},
};

use jiff::Timestamp;
use k8s_openapi::{api::core::v1::ObjectReference, apimachinery::pkg::apis::meta::v1::OwnerReference};
use kube::{
    api::ObjectMeta,
    core::{ApiResource, DynamicObject, GroupVersionKind, TypeMeta},
};
use serde::{Deserialize, Serialize};

use super::watch::cache::Cached;
use crate::defrag::{
    cronjob::{self, MANAGED_BY, MANAGER, drift::fingerprint},
    finding::Finding,
    policy::Governing,
    statefulset::StatefulSet,
};

/// What results are sorted under.
const CATEGORY: &str = "etcd defragmentation";
/// The rule of the result that says that nothing refuses; all other rules are codes of findings.
const COMPLIANT: &str = "compliant";
/// The policy of results where no policy object governs. No object can have this name.
const BUILT_IN: &str = "built-in policy";
/// How many results are listed; the summary counts all.
const RESULTS_TOLD: usize = 100;

/// A kind of report.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// `Report` of openreports.io.
    OpenReports,
    /// `PolicyReport` of wgpolicyk8s.io, its predecessor.
    PolicyReport,
}

impl Kind {
    /// The one to prefer first.
    const ALL: [Self; 2] = [Self::OpenReports, Self::PolicyReport];

    fn resource(self) -> ApiResource {
        let (group, version, kind, plural) = match self {
            Self::OpenReports => ("openreports.io", "v1alpha1", "Report", "reports"),
            Self::PolicyReport => ("wgpolicyk8s.io", "v1alpha2", "PolicyReport", "policyreports"),
        };
        ApiResource::from_gvk_with_plural(&GroupVersionKind::gvk(group, version, kind), plural)
    }
}

/// The part of a report that is ours. Both kinds share it, but for `source`, which only openreports.io has.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
struct Body {
    #[serde(skip_serializing_if = "Option::is_none")]
    source: Option<String>,
    scope: ObjectReference,
    summary: Summary,
    results: Vec<ResultRow>,
}

/// How many results of each kind there are. `error` and `skip` are always 0: whatever is not understood refuses.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
struct Summary {
    pass: usize,
    fail: usize,
    warn: usize,
    error: usize,
    skip: usize,
}

/// One result.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
struct ResultRow {
    source: String,
    policy: String,
    rule: String,
    category: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    severity: Option<String>,
    result: String,
    scored: bool,
    message: String,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    properties: BTreeMap<String, String>,
    timestamp: Stamp,
}

/// When a result was first found.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
struct Stamp {
    seconds: i64,
    nanos: i32,
}

/// A report as it should be.
#[derive(Clone, Debug)]
pub(super) struct Report {
    kind: Kind,
    meta: ObjectMeta,
    body: Body,
}

/// A report as it is, as far as it matters.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Shown {
    uid: Option<String>,
    /// The StatefulSet that it is about.
    pub(super) statefulset: String,
    /// The fingerprint of what is ours in it, times apart.
    print: u64,
}

impl Cached for Shown {
    fn differs(&self, old: &Self) -> bool {
        self != old
    }

    fn filed_under(&self) -> BTreeSet<Cow<'_, str>> {
        BTreeSet::from([Cow::Borrowed(self.statefulset.as_str())])
    }
}

/// The name of the report of a StatefulSet. Other engines name theirs by the uid alone.
pub(super) fn name(uid: &str) -> String {
    format!("etcd-defrag-{uid}")
}

impl Report {
    /// The report of a StatefulSet with these findings; `None` where it has no uid and so does not exist yet.
    pub(super) fn of(kind: Kind, object: &StatefulSet, governing: &Governing, findings: &[Finding]) -> Option<Self> {
        let uid = object.metadata.uid.as_deref()?;
        let policy = governing.name().unwrap_or(BUILT_IN);
        let (denials, warnings): (Vec<&Finding>, Vec<&Finding>) = findings.iter().partition(|finding| finding.denies());
        let mut results = Vec::new();
        if denials.is_empty() {
            results.push(compliant(policy));
        }
        results.extend(denials.iter().chain(&warnings).map(|finding| row(policy, finding)));
        let summary = Summary {
            pass: usize::from(denials.is_empty()),
            fail: denials.len(),
            warn: warnings.len(),
            ..Summary::default()
        };
        results.truncate(RESULTS_TOLD);
        // It is no controller: that is for what acts by its owner.
        let owner = OwnerReference { controller: None, ..cronjob::owner(object.name(), uid) };
        Some(Self {
            kind,
            meta: ObjectMeta {
                name: Some(name(uid)),
                namespace: Some(object.namespace().to_owned()),
                labels: Some(BTreeMap::from([(MANAGED_BY.to_owned(), MANAGER.to_owned())])),
                owner_references: Some(vec![owner]),
                ..ObjectMeta::default()
            },
            body: Body {
                source: (kind == Kind::OpenReports).then(|| MANAGER.to_owned()),
                scope: ObjectReference {
                    api_version: Some("apps/v1".to_owned()),
                    kind: Some("StatefulSet".to_owned()),
                    namespace: Some(object.namespace().to_owned()),
                    name: Some(object.name().to_owned()),
                    uid: Some(uid.to_owned()),
                    ..ObjectReference::default()
                },
                summary,
                results,
            },
        })
    }

    /// Whether a live report says the same, whenever it was found.
    fn is_told_by(&self, shown: &Shown) -> bool {
        shown.print == print(&self.meta, &self.body)
    }

    /// The object to apply. A result that is in the live report already keeps its time; a new one is of `now`.
    fn dated(mut self, live: Option<&DynamicObject>, now: Timestamp) -> DynamicObject {
        let before = live.map(body).unwrap_or_default();
        for result in &mut self.body.results {
            let undated = result.clone();
            let known = before
                .results
                .iter()
                .find(|old| ResultRow { timestamp: Stamp::default(), ..(*old).clone() } == undated);
            let fresh = Stamp { seconds: now.as_second(), nanos: 0 };
            result.timestamp = known.map_or(fresh, |known| known.timestamp);
        }
        let resource = self.kind.resource();
        DynamicObject {
            types: Some(TypeMeta { api_version: resource.api_version, kind: resource.kind }),
            metadata: self.meta,
            data: serde_json::to_value(&self.body).unwrap_or_default(),
        }
    }
}

impl Shown {
    /// What matters of a live report.
    pub(super) fn of(object: &DynamicObject) -> Self {
        let mut body = body(object);
        for result in &mut body.results {
            result.timestamp = Stamp::default();
        }
        Self {
            uid: object.metadata.uid.clone(),
            statefulset: body.scope.name.clone().unwrap_or_default(),
            print: print(&object.metadata, &body),
        }
    }
}

/// Of the metadata only what we ask for counts: others may add labels and owners.
fn print(meta: &ObjectMeta, body: &Body) -> u64 {
    let marked = meta.labels.iter().flatten().any(|(key, value)| key == MANAGED_BY && value == MANAGER);
    let owned = meta.owner_references.iter().flatten().any(|owner| Some(&owner.uid) == body.scope.uid.as_ref());
    fingerprint(&(marked, owned, body))
}

/// The part of a live report that is ours; nothing where it cannot be understood, which no report of ours equals.
fn body(object: &DynamicObject) -> Body {
    serde_json::from_value(object.data.clone()).unwrap_or_default()
}

fn row(policy: &str, finding: &Finding) -> ResultRow {
    let (result, severity) = if finding.denies() { ("fail", "high") } else { ("warn", "medium") };
    ResultRow {
        source: MANAGER.to_owned(),
        policy: policy.to_owned(),
        rule: finding.code.as_str().to_owned(),
        category: CATEGORY.to_owned(),
        severity: Some(severity.to_owned()),
        result: result.to_owned(),
        scored: finding.denies(),
        message: finding.message.clone(),
        properties: BTreeMap::from([("field".to_owned(), finding.field.to_string())]),
        timestamp: Stamp::default(),
    }
}

fn compliant(policy: &str) -> ResultRow {
    ResultRow {
        source: MANAGER.to_owned(),
        policy: policy.to_owned(),
        rule: COMPLIANT.to_owned(),
        category: CATEGORY.to_owned(),
        result: "pass".to_owned(),
        scored: true,
        message: "No setting of this etcd is refused.".to_owned(),
        ..ResultRow::default()
    }
}
