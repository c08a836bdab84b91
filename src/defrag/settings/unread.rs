//! Our labels and annotations in places where they are not read.

use crate::defrag::{
    field::Field,
    finding::{Code, Finding, quoted},
    keys::{self, ENABLED, Key, PREFIX, is_near_enabled, name_of},
    statefulset::{Ours, StatefulSet},
};

/// The most keys that one message names.
const SHOWN: usize = 5;

/// Those in the wrong place, and those of an object that does not carry the label.
#[must_use]
pub fn unread(object: &StatefulSet) -> Vec<Finding> {
    let mut findings = misplaced(object);
    findings.extend(without_label(object));
    findings
}

/// Those of the pod template and of volume claim templates, and those that are not under our prefix.
#[must_use]
pub fn misplaced(object: &StatefulSet) -> Vec<Finding> {
    const TEMPLATE: &str = "The pod template";
    let template = &object.spec.template.metadata;
    let mut findings = on_template("spec.template", TEMPLATE, &template.labels, &template.annotations);
    for (index, claim) in object.spec.volume_claim_templates.iter().enumerate() {
        let meta = &claim.metadata;
        let place = format!("spec.volumeClaimTemplates[{index}]");
        let what = format!("The volume claim template {}", quoted(&meta.name));
        findings.extend(on_template(&place, &what, &meta.labels, &meta.annotations));
    }
    findings.extend(elsewhere(object));
    findings
}

/// Those of a template at `place`, which `what` names.
fn on_template(place: &str, what: &str, labels: &Ours, annotations: &Ours) -> Vec<Finding> {
    let of = |part: &str, ours: &Ours| {
        let keys: Vec<&str> = ours.0.keys().map(String::as_str).collect();
        let first = keys.first()?;
        let names = named(&keys);
        let mut brief = what.to_owned();
        brief.replace_range(..1, "t");
        Some(Finding::new(
            Code::SettingUnread,
            format!("{place}.metadata.{part}[{first}]"),
            format!("{names} on {brief}: it is not read there"),
            format!(
                "{what} carries the {} {names}, and settings are not read there. They belong to the StatefulSet itself, where a \
                 change of them restarts no member. Move them to metadata.{part} of the StatefulSet.",
                if keys.len() == 1 { part.trim_end_matches('s') } else { part }
            ),
        ))
    };
    of("labels", labels).into_iter().chain(of("annotations", annotations)).collect()
}

/// Those under another prefix or under none, which are other keys for Kubernetes.
fn elsewhere(object: &StatefulSet) -> Option<Finding> {
    let is_enrolled = object.label(ENABLED).is_some();
    let labels = object.metadata.labels.iter().flatten().map(|(key, _)| (key.as_str(), false));
    let annotations = object.metadata.annotations.iter().flatten().map(|(key, _)| (key.as_str(), true));
    // Without any prefix they may well be of others, where nothing is ours.
    let meant = |(key, is_annotation)| Some((key, is_annotation, keys::meant(key)?));
    let found: Vec<(&str, bool, &str)> =
        labels.chain(annotations).filter_map(meant).filter(|(key, ..)| is_enrolled || key.contains("defrag")).collect();
    let (first, is_annotation, _) = *found.first()?;
    let names = named(&found.iter().map(|(key, ..)| *key).collect::<Vec<_>>());
    let right: Vec<&str> = found.iter().map(|(.., right)| *right).filter(|right| !right.is_empty()).collect();
    let write = if right.is_empty() { format!("a key such as {}", Key::Schedule.annotation()) } else { named(&right) };
    let field =
        if is_annotation { Field::UnknownAnnotation(first.to_owned()) } else { Field::Label(first.to_owned().into()) };
    let (noun, it) = if found.len() == 1 { ("key", "it is") } else { ("keys", "they are") };
    Some(Finding::new(
        Code::SettingUnread,
        field,
        format!("not under {PREFIX}, so not read: {names}"),
        format!(
            "The StatefulSet carries the {noun} {names}. Settings are read under the prefix {PREFIX} only, so {it} not read. Where \
             {it} meant for the defragmentation of this etcd, write {write}."
        ),
    ))
}

/// The first key that is meant as the label and is another one for Kubernetes, and whether it is an annotation, where the label
/// itself is missing.
fn meant_as_label(object: &StatefulSet) -> Option<(&str, bool)> {
    let labels = object.metadata.labels.iter().flatten().map(|(key, _)| (key.as_str(), false));
    let annotations = object.metadata.annotations.iter().flatten().map(|(key, _)| (key.as_str(), true));
    let mut keys = labels.chain(annotations).filter(|_| object.label(ENABLED).is_none());
    keys.find(|(key, _)| name_of(key).is_some_and(is_near_enabled))
}

/// Whether a finding says of a key what [`unread`] says: that it is meant as the label.
#[must_use]
pub fn says_again(finding: &Finding, object: &StatefulSet) -> bool {
    let key = match &finding.field {
        Field::Label(key) => key.as_ref(),
        Field::UnknownAnnotation(key) => key,
        Field::Annotation(_) | Field::Default(_) | Field::Path(_) => return false,
    };
    finding.code == Code::AnnotationUnknown && meant_as_label(object).is_some_and(|(meant, _)| meant == key)
}

/// Annotations of ours without the label, and labels of ours that are not that one.
fn without_label(object: &StatefulSet) -> Option<Finding> {
    if object.label(ENABLED).is_some() {
        return None;
    }
    if let Some((key, is_annotation)) = meant_as_label(object) {
        let (found, why) = if is_annotation {
            (format!("the annotation {key}"), "An etcd is enrolled by a label and by no annotation")
        } else {
            (format!("the label {key}"), "For Kubernetes that is another label")
        };
        let field =
            if is_annotation { Field::UnknownAnnotation(key.to_owned()) } else { Field::Label(key.to_owned().into()) };
        return Some(Finding::new(
            Code::SettingUnread,
            field,
            format!("{found} enrols nothing; write the label {ENABLED}"),
            format!(
                "The StatefulSet carries {found}. {why}, so it enrols nothing and no setting is read. Remove it, and write \
                 {ENABLED}: \"true\" in metadata.labels."
            ),
        ));
    }
    let annotations = object.metadata.annotations.iter().flatten().map(|(key, _)| key.as_str());
    let labels = object.metadata.labels.iter().flatten().map(|(key, _)| key.as_str());
    let keys: Vec<&str> = annotations.chain(labels).filter(|key| name_of(key).is_some()).collect();
    let names = (!keys.is_empty()).then(|| named(&keys))?;
    Some(Finding::new(
        Code::SettingUnread,
        Field::ENABLED,
        format!("{names} without the label: it is not read"),
        format!(
            "The StatefulSet carries {names} and not the label {ENABLED}, so they are not read, and it has no CronJob. Add the \
             label {ENABLED}: \"true\", or remove them."
        ),
    ))
}

/// The label on an object of another kind that is like a StatefulSet in its pod template.
#[must_use]
pub fn on_other_kind(kind: &str, object: &StatefulSet) -> Option<Finding> {
    object.label(ENABLED)?;
    Some(Finding::new(
        Code::SettingUnread,
        Field::ENABLED,
        format!("the label on a {kind} enrols nothing; only StatefulSets are read"),
        format!(
            "This {kind} carries the label {ENABLED}, and only StatefulSets are read, so it gets no CronJob. The members of an etcd need \
             names and volumes of their own, which a {kind} does not give: run the etcd as a StatefulSet and label that, or remove the \
             label."
        ),
    ))
}

/// The label and settings on an object that runs no etcd, such as a Service, but for those that a StatefulSet has, too (`is_read`).
#[must_use]
pub fn on_bystander(kind: &str, object: &StatefulSet, is_read: impl Fn(&str, &str) -> bool) -> Option<Finding> {
    let label = object.label(ENABLED).filter(|value| !is_read(ENABLED, value)).map(|_| (ENABLED, Field::ENABLED));
    let is_stray =
        |key: &&Key| object.annotation(key.annotation()).is_some_and(|value| !is_read(key.annotation(), value));
    let set = Key::ALL.iter().filter(is_stray).map(|key| (key.annotation(), key.field()));
    let found: Vec<(&str, Field)> = label.into_iter().chain(set).collect();
    let (_, field) = found.first()?;
    let names = named(&found.iter().map(|(key, _)| *key).collect::<Vec<_>>());
    Some(Finding::new(
        Code::SettingUnread,
        field.clone(),
        format!("{names} on a {kind}; only StatefulSets are read"),
        format!(
            "This {kind} carries {names}, and only StatefulSets are read, so it has no effect. Move it to metadata of the \
             StatefulSet of the etcd, or remove it."
        ),
    ))
}

/// Our keys in a field of a StatefulSet that has no labels or annotations of it, such as `metadata.annotation`. `path`
/// is that field, empty for the object itself.
#[must_use]
pub fn in_field(path: &str, keys: &[&str]) -> Option<Finding> {
    let first = keys.first()?;
    let names = named(keys);
    let is_label = keys.iter().all(|key| name_of(key).is_some_and(is_near_enabled));
    let right = if is_label { "metadata.labels" } else { "metadata.annotations" };
    let field = format!("{path}[{first}]");
    let path = if path.is_empty() { "the object itself" } else { path };
    Some(Finding::new(
        Code::SettingUnread,
        field,
        format!("settings in {path} are not read; move to {right}: {names}"),
        format!(
            "In {path} there is {names}, and settings are not read there: they are annotations of the StatefulSet, and {ENABLED} is a label. \
             Move them to {right}."
        ),
    ))
}

/// Those among `keys` that nothing is made of beside `endpoints`.
pub(super) fn beside_endpoints(keys: impl Iterator<Item = Key>) -> Vec<Finding> {
    let endpoints = Key::Endpoints.annotation();
    keys.filter(|key| matches!(key, Key::Service | Key::ClientPort | Key::ClusterDomain))
        .map(|key| {
            let name = key.name();
            Finding::new(
                Code::SettingUnread,
                key.field(),
                format!("{name} is not used beside {endpoints}"),
                format!(
                    "{} is not used: it is for composing the URLs of the members, and {endpoints} has them whole. Remove one of \
                     the two.",
                    key.annotation()
                ),
            )
        })
        .collect()
}

/// That the share below which the alarm is lifted is not used, because nothing lifts the alarm.
pub(super) fn without_disalarm() -> Finding {
    let (share, switch) = (Key::DisalarmBelow.annotation(), Key::AutoDisalarm.annotation());
    Finding::new(
        Code::SettingUnread,
        Key::DisalarmBelow.field(),
        format!("{} is not used without {switch}", Key::DisalarmBelow.name()),
        format!(
            "{share} is not used: it says below which share of the quota the alarm NOSPACE is lifted after a run, and no run lifts it \
             unless {switch} is \"true\". Write {switch}: \"true\", or remove {share}."
        ),
    )
}

fn named(keys: &[&str]) -> String {
    let mut names: Vec<String> = keys.iter().take(SHOWN).map(|key| (*key).to_owned()).collect();
    if keys.len() > SHOWN {
        names.push(format!("{} more", keys.len() - SHOWN));
    }
    names.join(", ")
}

#[cfg(test)]
mod tests {
    use std::fmt::Write as _;

    use super::*;

    fn page(yaml: &str) -> String {
        let object: StatefulSet = serde_saphyr::from_str(yaml).unwrap();
        let lines =
            unread(&object).into_iter().map(|f| format!("{} {}\n  at {}\n  {}\n", f.code, f.brief, f.field, f.message));
        lines.collect()
    }

    #[test]
    fn the_label_on_another_kind() {
        let of = |yaml: &str| on_other_kind("Deployment", &serde_saphyr::from_str(yaml).unwrap());
        let finding = of("{metadata: {name: e, labels: {etcd-defrag.io/enabled: 'true'}}}").unwrap();
        insta::assert_snapshot!(format!("{}\n{}", finding.brief, finding.message));
        assert_eq!(of("{metadata: {name: e, labels: {app: etcd}, annotations: {etcd-defrag.io/rule: x}}}"), None);
    }

    #[test]
    fn what_stands_where_nobody_reads_it() {
        let mut all = String::new();
        for yaml in [
            "{metadata: {name: e}, spec: {template: {metadata: {labels: {etcd-defrag.io/enabled: 'true', app: e},
              annotations: {etcd-defrag.io/schedule: x, etcd-defrag.io/rule: y, other: z}}}}}",
            "{metadata: {name: e, annotations: {etcd-defrag.io/schedule: x, other: z}}}",
            "{metadata: {name: e, labels: {etcd-defrag.io/enable: 'true'}}}",
            "{metadata: {name: e, labels: {etcd-defrag.io/Enabled: 'true'}, annotations: {etcd-defrag.io/schedule: x}}}",
            "{metadata: {name: e, annotations: {etcd-defrag.io/enabled: 'true'}}}",
            "{metadata: {name: e, labels: {etcd-defrag.io/enabled: 'true'}}, spec: {volumeClaimTemplates: [{metadata: {name: data,
              annotations: {etcd-defrag.io/schedule: x, other: y}}}]}}",
            "{metadata: {name: e, labels: {etcd-defrag.io/enabled: 'true'}, annotations: {etcd-defrag.io.schedule: x,
              etcd-defrag.com/rule: y, time-zone: UTC, other/schedule: z}}}",
            "{metadata: {name: e, labels: {etcd-defrag/enabled: 'true'}, annotations: {schedule: x}}}",
            "{metadata: {name: e, labels: {etcd-defrag.io/enabled: 'true'}, annotations: {etcd-defrag.io: x}}}",
        ] {
            let _ = write!(all, "{yaml}\n{}", page(yaml));
        }
        insta::assert_snapshot!(all);
        for yaml in [
            "{metadata: {name: e, labels: {etcd-defrag.io/enabled: 'true'}, annotations: {etcd-defrag.io/schedule: x}}}",
            "{metadata: {name: e, labels: {etcd-defrag.io/enabled: 'false'}, annotations: {etcd-defrag.io/schedule: x}}}",
            "{metadata: {name: e, labels: {app: e}}, spec: {template: {metadata: {labels: {app: e}}}}}",
            "{metadata: {name: e, annotations: {schedule: x, time-zone: UTC, backup.example.org/schedule: y}}}",
        ] {
            assert_eq!(page(yaml), "", "{yaml}");
        }
    }
}
