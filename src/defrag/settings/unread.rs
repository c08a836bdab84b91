//! Labels and annotations of ours that stand where nobody reads them.

use crate::defrag::{
    field::Field,
    finding::{Code, Finding},
    keys::{ENABLED, Key, is_near_enabled, name_of},
    statefulset::StatefulSet,
};

/// The most keys that one message names.
const SHOWN: usize = 5;

/// Those of the pod template, and those of an object that does not carry the label.
#[must_use]
pub fn unread(object: &StatefulSet) -> Vec<Finding> {
    let mut findings = on_pod_template(object);
    findings.extend(without_label(object));
    findings
}

/// Those of the pod template.
#[must_use]
pub fn on_pod_template(object: &StatefulSet) -> Vec<Finding> {
    let template = &object.spec.template.metadata;
    let of = |part: &str, keys: &[&str]| {
        let first = keys.first()?;
        let names = named(keys);
        Some(Finding::new(
            Code::SettingUnread,
            format!("spec.template.metadata.{part}[{first}]"),
            format!("{names} on the pod template: nobody reads it there"),
            format!(
                "The pod template carries the {} {names}, and nobody reads settings there: they are those of the StatefulSet \
                 itself, so that none of them restarts a member. Move them to metadata.{part} of the StatefulSet.",
                if keys.len() == 1 { part.trim_end_matches('s') } else { part }
            ),
        ))
    };
    let parts = [("labels", &template.labels), ("annotations", &template.annotations)];
    parts.iter().filter_map(|(part, ours)| of(part, &ours.0.keys().map(String::as_str).collect::<Vec<_>>())).collect()
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
        format!("{names} without the label: nobody reads it"),
        format!(
            "The StatefulSet carries {names} and not the label {ENABLED}, so nobody reads them and it has no CronJob. Add the \
             label {ENABLED}: \"true\", or remove them."
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
    fn what_stands_where_nobody_reads_it() {
        let mut all = String::new();
        for yaml in [
            "{metadata: {name: e}, spec: {template: {metadata: {labels: {etcd-defrag.io/enabled: 'true', app: e},
              annotations: {etcd-defrag.io/schedule: x, etcd-defrag.io/rule: y, other: z}}}}}",
            "{metadata: {name: e, annotations: {etcd-defrag.io/schedule: x, other: z}}}",
            "{metadata: {name: e, labels: {etcd-defrag.io/enable: 'true'}}}",
            "{metadata: {name: e, labels: {etcd-defrag.io/Enabled: 'true'}, annotations: {etcd-defrag.io/schedule: x}}}",
            "{metadata: {name: e, annotations: {etcd-defrag.io/enabled: 'true'}}}",
        ] {
            let _ = write!(all, "{yaml}\n{}", page(yaml));
        }
        insta::assert_snapshot!(all);
        for yaml in [
            "{metadata: {name: e, labels: {etcd-defrag.io/enabled: 'true'}, annotations: {etcd-defrag.io/schedule: x}}}",
            "{metadata: {name: e, labels: {etcd-defrag.io/enabled: 'false'}, annotations: {etcd-defrag.io/schedule: x}}}",
            "{metadata: {name: e, labels: {app: e}}, spec: {template: {metadata: {labels: {app: e}}}}}",
        ] {
            assert_eq!(page(yaml), "", "{yaml}");
        }
    }
}
