//! Policies from manifests, for the commands that need no cluster.

#![allow(clippy::doc_markdown, reason = "the help shows plain text")]

use std::{
    cell::OnceCell,
    collections::{BTreeMap, BTreeSet},
    path::{Path, PathBuf},
    sync::Arc,
};

use anyhow::bail;
use jiff::Timestamp;
use serde_json::Value;

use super::{
    Exit,
    definition::Definition,
    input::{self, Document, Files, Kept, join},
    output,
};
use crate::defrag::{
    finding::{Code, Finding, Severity, quoted},
    policy::{self, Compiled, DefragPolicy, Governing, Labels, Policy, PolicySet, PolicySnapshot},
    statefulset::StatefulSet,
};

/// The label that the API server gives to every namespace: its name.
const NAME_LABEL: &str = "kubernetes.io/metadata.name";

/// The policies to use.
#[derive(Debug, clap::Args)]
pub(super) struct Policies {
    /// Check under the DefragPolicies in these manifests instead of the built-in policy; Namespaces in any manifest have
    /// the labels that policies select by
    #[arg(long = "policy", value_name = "FILE", num_args = 1..)]
    policy: Vec<PathBuf>,
}

/// What was read of policies and namespaces.
#[derive(Debug)]
pub(super) struct LoadedPolicies {
    /// Each policy with its document.
    pub(super) policies: Vec<(Document, Arc<Compiled>)>,
    /// Which of them governs what.
    pub(super) snapshot: PolicySnapshot,
}

impl Policies {
    /// Whether any were named.
    pub(super) fn given(&self) -> bool {
        !self.policy.is_empty()
    }

    /// Reads the manifests and the policies to assess them under; with `follow`, those among the manifests where none are named.
    pub(super) fn load_with(
        &self,
        files: &Files,
        follow: bool,
        now: Timestamp,
    ) -> anyhow::Result<(Vec<Kept>, LoadedPolicies)> {
        self.read_stdin_once(files)?;
        let documents = files.read()?;
        let loaded = self.load(&documents, follow, now)?;
        Ok((documents, loaded))
    }

    /// Refuses what would read standard input twice.
    pub(super) fn read_stdin_once(&self, files: &Files) -> anyhow::Result<()> {
        if files.include_stdin() && self.policy.iter().any(|file| file == Path::new("-")) {
            bail!("standard input can be read once: give either -f or --policy a file");
        }
        Ok(())
    }

    /// Reads the policies, and the namespaces of them and of `manifests`. Without files, the built-in policy governs.
    pub(super) fn load(&self, manifests: &[Kept], follow: bool, now: Timestamp) -> anyhow::Result<LoadedPolicies> {
        let follow = follow && !self.given();
        let named = input::read(&self.policy, false)?;
        let namespaces = namespaces(named.iter().chain(manifests));
        let mut policies = Vec::new();
        let definition = OnceCell::new();
        for kept in if follow { manifests } else { &named } {
            if kept.is_policy() {
                let document = kept.open();
                let object = defrag_policy(&document)?;
                let mut compiled = policy::compile(&object, now);
                if let Some(definition) = definition.get_or_init(Definition::current) {
                    let refused = definition.findings(&document.value, &compiled.findings);
                    compiled.findings.extend(refused);
                }
                policies.push((document, Arc::new(compiled)));
            }
        }
        if self.given() && policies.is_empty() {
            bail!("there is no DefragPolicy in the files of --policy");
        }
        twice(&policies)?;
        if !self.given()
            && !follow
            && let Some(unused) = manifests.iter().find(|kept| kept.is_policy()).map(Kept::open)
        {
            output::note(&format!(
                "{}:{} is a DefragPolicy and is not used; to use it, name its file with --policy",
                unused.file(),
                unused.line("")
            ));
        }
        let set = PolicySet::new(policies.iter().map(|(_, compiled)| Arc::clone(compiled)));
        Ok(LoadedPolicies { policies, snapshot: PolicySnapshot::new(set, Arc::new(namespaces)) })
    }
}

impl LoadedPolicies {
    /// That the labels of the namespace are not in the input, where it depends on them which policy governs; `by` is the one that
    /// an object is checked by.
    pub(super) fn labels_unknown(&self, object: &StatefulSet, by: &Governing) -> Option<Finding> {
        let undecided = self.snapshot.undecided(object.namespace(), &object.labels());
        let names: Vec<String> = undecided.iter().map(|(policy, _)| quoted(&policy.name)).collect();
        let keys: BTreeSet<&str> = undecided.iter().flat_map(|(_, keys)| keys).map(String::as_str).collect();
        let keys = keys.into_iter().collect::<Vec<_>>().join(", ");
        let (namespace, names) = (quoted(object.namespace()), names.join(", "));
        let (select, governs) = match undecided.len() {
            0 => return None,
            1 => (format!("the DefragPolicy {names} selects"), "it governs"),
            _ => (format!("the DefragPolicies {names} select"), "one of them governs"),
        };
        let checked =
            by.name().map_or_else(|| "the built-in policy".to_owned(), |name| format!("DefragPolicy {}", quoted(name)));
        Some(Finding::new(
            Code::NamespaceLabelsUnknown,
            "metadata.namespace",
            format!("the labels of Namespace {namespace} are not in the input; whether {names} governs is unknown"),
            format!(
                "The labels of the Namespace {namespace} are not in the input, and {select} namespaces by them ({keys}): whether \
                 {governs} this StatefulSet is unknown. It was checked as if governed by {checked}. Add the manifest of the Namespace \
                 to the files of -f."
            ),
        ))
    }

    /// Says on standard error what is wrong with the policies.
    pub(super) fn say_findings(&self) -> Exit {
        for (document, compiled) in &self.policies {
            for finding in &compiled.findings {
                let line = document.line(&finding.field.to_string());
                let place = format!("{}:{line}: DefragPolicy {}", document.file(), compiled.name);
                output::say_finding(&place, finding);
            }
        }
        if self.policies.iter().all(|(_, compiled)| compiled.is_valid()) { Exit::Clean } else { Exit::Refused }
    }
}

/// The findings as severe as the policy's actions make them: without Deny every write is accepted, and what would
/// refuse is only a warning.
pub(super) fn as_acted_on(policy: &Policy, findings: Vec<Finding>) -> Vec<Finding> {
    if policy.actions.deny {
        return findings;
    }
    findings.into_iter().map(|finding| finding.with_severity(Severity::Warn)).collect()
}

/// Names are unique in a cluster: the second would replace the first.
fn twice(policies: &[(Document, Arc<Compiled>)]) -> anyhow::Result<()> {
    let mut seen = BTreeMap::new();
    for (document, compiled) in policies {
        let place = format!("{}:{}", document.file(), document.line("metadata.name"));
        if let Some(first) = seen.insert(compiled.name.as_str(), place.clone()) {
            bail!(
                "{place}: a DefragPolicy {} is at {first} already; a cluster has only one of a name, so rename or remove one",
                compiled.name
            );
        }
    }
    Ok(())
}

/// The labels of each namespace that is described, as the API server would complete them.
fn namespaces<'a>(objects: impl Iterator<Item = &'a Kept>) -> BTreeMap<String, Labels> {
    objects
        .filter(|kept| kept.kind() == (Some("v1"), Some("Namespace")))
        .filter_map(|kept| {
            let document = kept.open();
            let metadata = document.value.get("metadata")?;
            let name = metadata.get("name")?.as_str()?;
            let written = metadata.get("labels").and_then(Value::as_object).into_iter().flatten();
            let mut labels: Labels =
                written.filter_map(|(key, value)| Some((key.clone(), value.as_str()?.to_owned()))).collect();
            labels.insert(NAME_LABEL.to_owned(), name.to_owned());
            Some((name.to_owned(), labels))
        })
        .collect()
}

/// The DefragPolicy that a document is. A field that no policy has is an error, as it is to the API server
/// under kubectl's strict validation: what it was meant to limit would be unlimited without a word.
fn defrag_policy(document: &Document) -> anyhow::Result<DefragPolicy> {
    let (version, _) = document.kind();
    if version != Some("etcd-defrag.io/v1alpha1") {
        bail!(
            "{}: a DefragPolicy of apiVersion \"{}\"; the only version there is is etcd-defrag.io/v1alpha1",
            document.place("apiVersion"),
            version.unwrap_or_default()
        );
    }
    let schema = schema();
    let mut unknown = Vec::new();
    for part in ["spec", "status"] {
        if let (Some(value), Some(schema)) = (document.value.get(part), schema.pointer(&format!("/properties/{part}")))
        {
            unknown_fields(value, schema, part, &mut unknown);
        }
    }
    for (key, _) in document.value.as_object().into_iter().flatten() {
        if !["apiVersion", "kind", "metadata", "spec", "status"].contains(&key.as_str()) {
            let near = near(key, ["spec", "metadata"].into_iter());
            unknown.push(Unknown { parent: String::new(), name: key.clone(), near });
        }
    }
    if !unknown.is_empty() {
        unknown.sort_by_key(|unknown| document.line(&unknown.path()));
        let mut elsewhere = BTreeMap::new();
        paths(&schema, "", &mut elsewhere);
        let lines: Vec<String> = unknown
            .into_iter()
            .map(|unknown| {
                let field = unknown.path();
                let near = unknown.near.map(|name| join(&unknown.parent, &name));
                let advice = near.or_else(|| elsewhere.get(&plain(&unknown.name)).cloned()).map_or_else(
                    || "remove it; kubectl explain defragpolicy.spec --recursive lists all fields".to_owned(),
                    |near| format!("did you mean {near}?"),
                );
                format!("{}: there is no field {field} in a DefragPolicy: {advice}", document.place(&field))
            })
            .collect();
        return Err(output::Several(lines).into());
    }
    if document.value.get("spec").is_none() {
        bail!("{}: the DefragPolicy has no spec; an empty one, {{}}, is the built-in policy", document.place(""));
    }
    let object: DefragPolicy = document.typed()?;
    if object.metadata.name.as_deref().is_none_or(str::is_empty) {
        bail!("{}: the DefragPolicy has no metadata.name", document.place("metadata"));
    }
    Ok(object)
}

fn schema() -> Value {
    let mut crd = serde_json::to_value(policy::crd()).unwrap_or_default();
    crd.pointer_mut("/spec/versions/0/schema/openAPIV3Schema").map(Value::take).unwrap_or_default()
}

/// A field that the schema does not have.
struct Unknown {
    /// The path of its parent; empty for the document itself.
    parent: String,
    name: String,
    /// The nearest name that the schema has there.
    near: Option<String>,
}

impl Unknown {
    fn path(&self) -> String {
        join(&self.parent, &self.name)
    }
}

/// Every field of `value` that the schema does not have.
fn unknown_fields(value: &Value, schema: &Value, path: &str, found: &mut Vec<Unknown>) {
    match value {
        Value::Array(items) => {
            let Some(schema) = schema.get("items") else { return };
            for (index, item) in items.iter().enumerate() {
                unknown_fields(item, schema, &format!("{path}[{index}]"), found);
            }
        }
        Value::Object(fields) => {
            let known = schema.get("properties").and_then(Value::as_object);
            let any = schema.get("additionalProperties");
            for (name, value) in fields {
                match known.and_then(|known| known.get(name)).or(any) {
                    Some(schema) => unknown_fields(value, schema, &join(path, name), found),
                    None => {
                        if let Some(known) = known {
                            let near = near(name, known.keys().map(String::as_str));
                            found.push(Unknown { parent: path.to_owned(), name: name.clone(), near });
                        }
                    }
                }
            }
        }
        _ => {}
    }
}

/// A name as people might write it elsewhere: `time-zone` for `timeZone`.
fn plain(name: &str) -> String {
    name.chars().filter(char::is_ascii_alphanumeric).collect::<String>().to_lowercase()
}

fn near<'a>(name: &str, known: impl Iterator<Item = &'a str>) -> Option<String> {
    let wanted = plain(name);
    let begins = |known: &&str| wanted.len() >= 3 && plain(known).starts_with(&wanted);
    let known: Vec<&str> = known.collect();
    if let Some(whole) = known.iter().copied().find(begins) {
        return Some(whole.to_owned());
    }
    known
        .into_iter()
        .map(|known| (strsim::damerau_levenshtein(&wanted, &plain(known)), known))
        .filter(|(distance, known)| *distance <= known.len() / 4)
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, known)| known.to_owned())
}

/// The path of each field of our own, by its plain name; the outermost where there are several.
fn paths(schema: &Value, path: &str, found: &mut BTreeMap<String, String>) {
    let fields = schema.get("properties").and_then(Value::as_object).into_iter().flatten();
    for (name, schema) in fields.filter(|(name, _)| *name != "affinity" && *name != "status") {
        let field = join(path, name);
        found.entry(plain(name)).or_insert_with(|| field.clone());
        paths(schema, &field, found);
    }
}
