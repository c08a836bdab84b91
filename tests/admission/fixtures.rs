//! StatefulSets and reviews to send.

use std::sync::Arc;

use etcd_defrag_webhook::defrag::policy::{self, Compiled, DefragPolicy, PolicySet, PolicySnapshot};
use jiff::Timestamp;
use serde_json::{Value, json};

pub(crate) use crate::breaches::set;

/// A labelled etcd in the shape that kamaji-etcd's chart gives it.
pub(crate) fn etcd() -> Value {
    let mut object: Value = serde_saphyr::from_str(include_str!("../fixtures/charts/kamaji-etcd.yaml")).unwrap();
    let metadata = &mut object["metadata"];
    metadata["uid"] = json!("8d8a4f4c-6c9b-4a52-9c0c-5a2f4c7f6b01");
    metadata["labels"] = json!({"etcd-defrag.io/enabled": "true", "app.kubernetes.io/name": "kamaji-etcd"});
    metadata["annotations"] = json!({"example.com/owner": "platform"});
    object
}

/// The same with annotations.
pub(crate) fn annotated(annotations: &[(&str, &str)]) -> Value {
    let mut object = etcd();
    for (key, value) in annotations {
        object["metadata"]["annotations"][*key] = json!(value);
    }
    object
}

/// The same with one value elsewhere.
pub(crate) fn with(pointer: &str, value: Value) -> Value {
    let mut object = etcd();
    set(&mut object, pointer, value);
    object
}

pub(crate) const UID: &str = "705ab4f5-6393-11e8-b7cc-42010a800002";

/// An `AdmissionReview` as the API server sends it.
pub(crate) fn review(operation: &str, sub_resource: &str, object: Value, old_object: Value) -> Value {
    let name = object["metadata"]["name"].clone();
    let mut request = json!({
        "uid": UID,
        "kind": {"group": "apps", "version": "v1", "kind": "StatefulSet"},
        "resource": {"group": "apps", "version": "v1", "resource": "statefulsets"},
        "requestKind": {"group": "apps", "version": "v1", "kind": "StatefulSet"},
        "requestResource": {"group": "apps", "version": "v1", "resource": "statefulsets"},
        "name": name,
        "namespace": "kamaji-system",
        "operation": operation,
        "userInfo": {"username": "kubernetes-admin", "groups": ["system:masters", "system:authenticated"]},
        "object": object,
        "oldObject": old_object,
        "dryRun": false,
        "options": {"kind": "UpdateOptions", "apiVersion": "meta.k8s.io/v1", "fieldManager": "kubectl-annotate"},
    });
    if !sub_resource.is_empty() {
        request["subResource"] = json!(sub_resource);
        request["requestSubResource"] = json!(sub_resource);
    }
    json!({"kind": "AdmissionReview", "apiVersion": "admission.k8s.io/v1", "request": request})
}

/// A policy as it is written.
pub(crate) fn policy(name: &str, spec: Value) -> Arc<Compiled> {
    let object = json!({
        "apiVersion": "etcd-defrag.io/v1alpha1", "kind": "DefragPolicy", "metadata": {"name": name}, "spec": spec,
    });
    let object: DefragPolicy = serde_json::from_value(object).unwrap();
    Arc::new(policy::compile(&object, Timestamp::UNIX_EPOCH))
}

/// A cluster with these policies, in which the namespace of [`etcd`] has the label `stage: production`.
pub(crate) fn cluster(policies: impl IntoIterator<Item = Arc<Compiled>>) -> PolicySnapshot {
    let labels = [("kubernetes.io/metadata.name", "kamaji-system"), ("stage", "production")];
    let labels = labels.map(|(key, value)| (key.to_owned(), value.to_owned())).into();
    PolicySnapshot::new(PolicySet::new(policies), Arc::new([("kamaji-system".to_owned(), labels)].into()))
}
