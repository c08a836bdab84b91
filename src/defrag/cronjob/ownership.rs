//! Whose a CronJob is. Only what is ours, or what defrag.sh made for the same etcd, is ever written to.

use k8s_openapi::{
    api::{batch::v1::CronJob, core::v1::PodSpec},
    apimachinery::pkg::apis::meta::v1::{ManagedFieldsEntry, OwnerReference},
};
use kube::api::ObjectMeta;

use super::{MANAGED_BY, MANAGER, STATEFULSET, SUFFIX};
use crate::defrag::finding::quoted;

/// Whose a CronJob is, as seen from one StatefulSet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Ownership {
    /// We made it for this StatefulSet, or for an earlier one of the same name.
    Ours,
    /// kamaji-etcd's defrag.sh made it for this StatefulSet.
    Adoptable,
    /// Somebody else's.
    Foreign {
        /// What shows it, as the end of the sentence "it …".
        why: String,
    },
}

/// Marks that tools leave on what they keep in step. Taking over such an object would start a fight with the tool.
const TOOLS: &[&str] = &[
    MANAGED_BY,
    "helm.toolkit.fluxcd.io/name",
    "kustomize.toolkit.fluxcd.io/name",
    "argocd.argoproj.io/instance",
    "argocd.argoproj.io/tracking-id",
    "meta.helm.sh/release-name",
];

/// Whose the CronJob `live` is, as seen from the StatefulSet of this name in the same namespace.
#[must_use]
pub fn ownership(live: &CronJob, statefulset: &str) -> Ownership {
    let meta = &live.metadata;
    by_marks(meta, written_by_us(meta), statefulset).unwrap_or_else(|| match made_by_defrag_sh(live) {
        Ok(()) => Ownership::Adoptable,
        Err(why) => Ownership::Foreign { why },
    })
}

/// What owner, labels and annotations show; `None` where only the specification can tell. `written` is
/// [`written_by_us`], since caches drop the field managers.
pub(super) fn by_marks(meta: &ObjectMeta, written: bool, statefulset: &str) -> Option<Ownership> {
    let foreign = |why: String| Some(Ownership::Foreign { why });
    let owner = controller(meta);
    if let Some(owner) = owner
        && !is_statefulset(owner, statefulset)
    {
        return foreign(format!("is controlled by the {} {}", owner.kind, owner.name));
    }
    if marked(meta) {
        match annotation(meta, STATEFULSET) {
            Some(other) if other != statefulset => return foreign(format!("belongs to the StatefulSet {other}")),
            Some(_) => return Some(Ownership::Ours),
            None if owner.is_some() => return Some(Ownership::Ours),
            None => {}
        }
    }
    if written || named_by_controller(meta) {
        return Some(Ownership::Ours);
    }
    if let Some(owner) = owner {
        return foreign(format!(
            "is controlled by the StatefulSet {} but was not created by etcd-defrag-webhook",
            owner.name
        ));
    }
    for key in TOOLS {
        if let Some(value) = label(meta, key).or_else(|| annotation(meta, key)) {
            return foreign(format!("is managed by another tool, as its {key} shows ({value})"));
        }
    }
    if meta.name.as_deref() != Some(&format!("{statefulset}{SUFFIX}")) {
        return foreign("does not have the name that defrag.sh gives".to_owned());
    }
    None
}

/// Whether the metadata alone shows that we made this CronJob for some StatefulSet, and for which.
///
/// This is what an orphan has to show before it is deleted: our label, and besides it a StatefulSet as controller or our
/// annotation.
#[must_use]
pub fn statefulset_of_ours(meta: &ObjectMeta) -> Option<&str> {
    if !marked(meta) {
        return None;
    }
    statefulset_of(meta)
}

/// The StatefulSet that a CronJob names, be it ours or not.
#[must_use]
pub fn statefulset_of(meta: &ObjectMeta) -> Option<&str> {
    match controller(meta) {
        Some(owner) if owner.kind == "StatefulSet" && owner.api_version.starts_with("apps/") => Some(&owner.name),
        Some(_) => None,
        None => annotation(meta, STATEFULSET),
    }
}

/// Whether we keep this CronJob, by our label or else by what is left of it: a person may have removed the label, but not
/// our entry among the field managers, or not both other marks.
#[must_use]
pub fn is_ours(meta: &ObjectMeta) -> bool {
    marked(meta) || written_by_us(meta) || named_by_controller(meta)
}

/// Whether the StatefulSet that controls it is the one that our annotation names.
fn named_by_controller(meta: &ObjectMeta) -> bool {
    let named = annotation(meta, STATEFULSET);
    controller(meta).is_some_and(|owner| named.is_some_and(|name| is_statefulset(owner, name)))
}

fn marked(meta: &ObjectMeta) -> bool {
    label(meta, MANAGED_BY) == Some(MANAGER)
}

/// Whether our field manager has written it, by creating it or by applying.
pub(super) fn written_by_us(meta: &ObjectMeta) -> bool {
    entries_of_ours(meta).next().is_some()
}

/// What our field manager has set, whether by creating, changing or applying. Fields that are written through the
/// status are excluded: the right to write the status of a CronJob is not the right to make it ours.
pub(super) fn entries_of_ours(meta: &ObjectMeta) -> impl Iterator<Item = &ManagedFieldsEntry> {
    let entries = meta.managed_fields.iter().flatten();
    entries.filter(|entry| {
        entry.manager.as_deref() == Some(MANAGER) && entry.subresource.as_deref().unwrap_or_default().is_empty()
    })
}

/// The uid of the CronJob that controls a Job. Labels, annotations and other owners make no Job a run of it.
#[must_use]
pub fn controlling_cronjob(job: &ObjectMeta) -> Option<&str> {
    let owner = controller(job).filter(|owner| owner.kind == "CronJob" && owner.api_version.starts_with("batch/"))?;
    Some(&owner.uid)
}

/// Whether anything is its controller.
pub(super) fn has_controller(meta: &ObjectMeta) -> bool {
    controller(meta).is_some()
}

fn controller(meta: &ObjectMeta) -> Option<&OwnerReference> {
    meta.owner_references.iter().flatten().find(|owner| owner.controller == Some(true))
}

fn is_statefulset(owner: &OwnerReference, name: &str) -> bool {
    owner.kind == "StatefulSet" && owner.api_version.starts_with("apps/") && owner.name == name
}

fn label<'a>(meta: &'a ObjectMeta, key: &str) -> Option<&'a str> {
    meta.labels.as_ref()?.get(key).map(String::as_str)
}

/// The value of an annotation.
pub(super) fn annotation<'a>(meta: &'a ObjectMeta, key: &str) -> Option<&'a str> {
    meta.annotations.as_ref()?.get(key).map(String::as_str)
}

/// The pods of its runs.
pub(in crate::defrag) fn pod(cronjob: &CronJob) -> Option<&PodSpec> {
    cronjob.spec.job_template.spec.as_ref()?.template.spec.as_ref()
}

/// Whether this is the CronJob that defrag.sh makes: its name, one container of the engine's image, and endpoints that
/// are the pods of the StatefulSet that the name says, in this namespace. The rest of it people edit, so it proves nothing.
pub(super) fn made_by_defrag_sh(live: &CronJob) -> Result<(), String> {
    let foreign = |why: &str| Err(why.to_owned());
    let Some(statefulset) = live.metadata.name.as_deref().and_then(|name| name.strip_suffix(SUFFIX)) else {
        return foreign("does not have the name that defrag.sh gives");
    };
    let Some([container]) = pod(live).map(|pod| pod.containers.as_slice()) else {
        return foreign("does not have exactly one container, as defrag.sh's CronJob has");
    };
    if !is_engine(container.image.as_deref().unwrap_or_default()) {
        return foreign("does not run etcd-defrag");
    }
    let namespace = live.metadata.namespace.as_deref().unwrap_or_default();
    let args = container.args.as_deref().unwrap_or_default();
    let endpoints = flag(args, "--endpoints").unwrap_or_default();
    if endpoints.is_empty() {
        return foreign("runs etcd-defrag without --endpoints");
    }
    match endpoints.split(',').find(|endpoint| !is_member(endpoint.trim(), statefulset, namespace)) {
        None => Ok(()),
        Some(other) => Err(format!("defragments {}, which is not a pod of this StatefulSet", quoted(other))),
    }
}

/// Whether an image is the engine's, whatever its registry, tag and digest.
#[must_use]
pub fn is_engine(image: &str) -> bool {
    let repository = image.split('@').next().unwrap_or_default();
    let last = repository.rsplit('/').next().unwrap_or_default();
    last.split(':').next() == Some("etcd-defrag")
}

/// The value of a flag in either form, `--name=value` or `--name value`.
pub(super) fn flag<'a>(args: &'a [String], name: &str) -> Option<&'a str> {
    let mut args = args.iter();
    while let Some(arg) = args.next() {
        match arg.strip_prefix(name) {
            Some("") => return args.next().map(String::as_str),
            Some(rest) if rest.starts_with('=') => return rest.strip_prefix('='),
            _ => {}
        }
    }
    None
}

/// Whether a URL is `scheme://<statefulset>-<number>.<service>.<namespace>.svc…`.
fn is_member(url: &str, statefulset: &str, namespace: &str) -> bool {
    let host = url.split_once("://").map_or(url, |(_, rest)| rest);
    let host = host.split([':', '/']).next().unwrap_or_default();
    let mut labels = host.split('.');
    let number = labels.next().and_then(|pod| pod.strip_prefix(statefulset)?.strip_prefix('-'));
    number.is_some_and(|number| !number.is_empty() && number.bytes().all(|b| b.is_ascii_digit()))
        && labels.next().is_some_and(|service| !service.is_empty())
        && labels.next() == Some(namespace)
        && matches!(labels.next(), None | Some("svc"))
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn cronjob(value: Value) -> CronJob {
        serde_json::from_value(value).unwrap()
    }

    /// The facts of what defrag.sh applies: name, engine image, endpoints; and kubectl's annotation.
    fn by_script(endpoints: &str) -> Value {
        json!({
            "metadata": {
                "name": "kamaji-etcd-defrag-job", "namespace": "kamaji-system", "uid": "u",
                "annotations": {"kubectl.kubernetes.io/last-applied-configuration": "{}"},
                "managedFields": [{"manager": "kubectl-client-side-apply", "operation": "Update"}],
            },
            "spec": {"schedule": "0 0 * * *", "jobTemplate": {"spec": {"template": {"spec": {
                "restartPolicy": "OnFailure",
                "containers": [{
                    "name": "etcd-defrag", "image": "ghcr.io/ahrtr/etcd-defrag:v0.15.0",
                    "args": [format!("--endpoints={endpoints}"), "--cluster"],
                }],
            }}}}},
        })
    }

    const MEMBERS: &str = "https://kamaji-etcd-0.kamaji-etcd.kamaji-system.svc.cluster.local:2379,\
                           https://kamaji-etcd-1.kamaji-etcd.kamaji-system.svc.cluster.local:2379";

    fn why(ownership: Ownership) -> String {
        match ownership {
            Ownership::Foreign { why } => why,
            other => panic!("expected a foreign one, found {other:?}"),
        }
    }

    #[test]
    fn the_scripts_cronjob_is_adopted_for_its_own_statefulset_only() {
        assert_eq!(ownership(&cronjob(by_script(MEMBERS)), "kamaji-etcd"), Ownership::Adoptable);
        assert!(why(ownership(&cronjob(by_script(MEMBERS)), "kamaji")).contains("name"));
        let elsewhere = by_script("https://other-0.other.kamaji-system.svc.cluster.local:2379");
        assert!(why(ownership(&cronjob(elsewhere), "kamaji-etcd")).contains("not a pod of this StatefulSet"));
        let namesake = by_script("https://kamaji-etcd-0.kamaji-etcd.elsewhere.svc.cluster.local:2379");
        assert!(why(ownership(&cronjob(namesake), "kamaji-etcd")).contains("not a pod"));
        let mixed = by_script(&format!("{MEMBERS},https://10.0.0.1:2379"));
        assert!(why(ownership(&cronjob(mixed), "kamaji-etcd")).contains("10.0.0.1"));
    }

    #[test]
    fn a_script_result_that_a_tool_keeps_is_left_to_the_tool() {
        let mut helm = by_script(MEMBERS);
        helm["metadata"]["labels"] = json!({"app.kubernetes.io/managed-by": "Helm"});
        assert!(why(ownership(&cronjob(helm), "kamaji-etcd")).contains("Helm"));
        let mut argo = by_script(MEMBERS);
        argo["metadata"]["annotations"] = json!({"argocd.argoproj.io/tracking-id": "x:batch/CronJob:a/b"});
        assert!(why(ownership(&cronjob(argo), "kamaji-etcd")).contains("argocd"));
    }

    #[test]
    fn another_image_or_another_shape_is_foreign() {
        let container = |change: &dyn Fn(&mut Value)| {
            let mut value = by_script(MEMBERS);
            change(&mut value["spec"]["jobTemplate"]["spec"]["template"]["spec"]["containers"]);
            why(ownership(&cronjob(value), "kamaji-etcd"))
        };
        assert!(container(&|all| all[0]["image"] = json!("busybox")).contains("etcd-defrag"));
        assert!(container(&|all| all[0]["image"] = json!("example.com/not-etcd-defrag:v1")).contains("etcd-defrag"));
        assert!(container(&|all| all[0]["args"] = json!([])).contains("--endpoints"));
        assert!(container(&|all| *all = json!([all[0], all[0]])).contains("exactly one container"));
    }

    fn ours(meta: &Value) -> CronJob {
        let mut value = json!({"metadata": {"name": "etcd-defrag-job", "namespace": "ns"}});
        for (key, part) in meta.as_object().unwrap() {
            value["metadata"][key] = part.clone();
        }
        cronjob(value)
    }

    fn owner(kind: &str, name: &str) -> Value {
        json!([{"apiVersion": "apps/v1", "kind": kind, "name": name, "uid": "old", "controller": true}])
    }

    #[test]
    fn ours_stays_ours_when_parts_of_its_marks_are_edited_away() {
        let label = json!({"app.kubernetes.io/managed-by": "etcd-defrag-webhook"});
        let note = json!({"etcd-defrag.io/statefulset": "etcd"});
        for meta in [
            json!({"labels": label, "annotations": note, "ownerReferences": owner("StatefulSet", "etcd")}),
            json!({"labels": label, "ownerReferences": owner("StatefulSet", "etcd")}),
            json!({"labels": label, "annotations": note}),
            json!({"annotations": note, "ownerReferences": owner("StatefulSet", "etcd")}),
            json!({"managedFields": [{"manager": "etcd-defrag-webhook", "operation": "Apply"}]}),
            json!({"managedFields": [{"manager": "etcd-defrag-webhook", "operation": "Update"}]}),
        ] {
            assert_eq!(ownership(&ours(&meta), "etcd"), Ownership::Ours, "{meta}");
        }
    }

    /// Who may write the status of a CronJob chooses the name under which that is noted.
    #[test]
    fn what_is_written_by_way_of_the_status_makes_nothing_ours() {
        for operation in ["Apply", "Update"] {
            let entry = json!({"manager": "etcd-defrag-webhook", "operation": operation, "subresource": "status"});
            let forged = ours(&json!({"managedFields": [entry]}));
            assert!(!is_ours(&forged.metadata), "{operation}");
            assert_ne!(ownership(&forged, "etcd"), Ownership::Ours, "{operation}");
        }
    }

    #[test]
    fn a_mark_alone_or_another_controller_is_not_ours() {
        let label = json!({"app.kubernetes.io/managed-by": "etcd-defrag-webhook"});
        assert!(why(ownership(&ours(&json!({"labels": label})), "etcd")).contains("managed-by"));
        let other = json!({"labels": label, "ownerReferences": owner("EtcdCluster", "etcd")});
        assert_eq!(why(ownership(&ours(&other), "etcd")), "is controlled by the EtcdCluster etcd");
        let other = json!({"labels": label, "annotations": {"etcd-defrag.io/statefulset": "other"}});
        assert_eq!(why(ownership(&ours(&other), "etcd")), "belongs to the StatefulSet other");
        let plain = json!({"ownerReferences": owner("StatefulSet", "etcd")});
        assert!(why(ownership(&ours(&plain), "etcd")).contains("but was not created by etcd-defrag-webhook"));
    }

    #[test]
    fn an_orphan_needs_our_label_and_a_statefulset() {
        let label = json!({"app.kubernetes.io/managed-by": "etcd-defrag-webhook"});
        let of = |meta: Value| statefulset_of_ours(&ours(&meta).metadata).map(str::to_owned);
        assert_eq!(of(json!({"labels": label})), None);
        assert_eq!(of(json!({"ownerReferences": owner("StatefulSet", "etcd")})), None);
        assert_eq!(of(json!({"labels": label, "ownerReferences": owner("Deployment", "etcd")})), None);
        assert_eq!(
            of(json!({"labels": label, "ownerReferences": owner("StatefulSet", "etcd")})).as_deref(),
            Some("etcd")
        );
        let note = json!({"etcd-defrag.io/statefulset": "etcd"});
        assert_eq!(of(json!({"labels": label, "annotations": note})).as_deref(), Some("etcd"));
    }
}
