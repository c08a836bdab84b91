//! Labels and annotations of ours that stand where nobody reads them.

use crate::defrag::{
    field::Field,
    finding::{Code, Finding},
    keys::{ENABLED, name_of},
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

/// Annotations of ours without the label, and labels of ours that are not that one.
fn without_label(object: &StatefulSet) -> Option<Finding> {
    if object.label(ENABLED).is_some() {
        return None;
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
