//! A whole StatefulSet, from its JSON to the assessment and to the CronJob.

use std::{fs, path::Path, sync::Arc};

use etcd_defrag_webhook::{
    admission::{Entry, answer::answer, review},
    defrag::{
        Surroundings, assess,
        finding::Finding,
        policy::{self, Compiled, DefragPolicy, Governing, PolicySet, PolicySnapshot},
        rule,
        statefulset::StatefulSet,
    },
};
use serde_json::{Value, json};

use crate::{
    harness::{Result, here, measure},
    now,
    table::Table,
};

/// From bytes to assessment, in nanoseconds.
const GOAL: f64 = 100_000.0;

fn annotated(object: &Value, annotations: &[(&str, &str)]) -> Value {
    let mut object = object.clone();
    for (key, value) in annotations {
        object["metadata"]["annotations"][format!("etcd-defrag.io/{key}")] = json!(value);
    }
    object
}

/// The object as an API server returns it: with a uid, who manages what, and a status.
fn stored(object: &Value) -> Value {
    let mut object = object.clone();
    let spec = object["spec"].clone();
    object["metadata"]["uid"] = json!("0e6bd1a3-7f1c-4a39-9d5e-0c6ee6a0c1c8");
    object["metadata"]["managedFields"] = json!([
        {"manager": "helm", "operation": "Apply", "apiVersion": "apps/v1", "time": "2026-11-01T00:00:00Z",
         "fieldsType": "FieldsV1", "fieldsV1": {"f:spec": owned(&spec)}},
        {"manager": "kube-controller-manager", "operation": "Update", "apiVersion": "apps/v1", "subresource": "status",
         "time": "2026-11-01T00:00:00Z", "fieldsType": "FieldsV1", "fieldsV1": {"f:status": {"f:replicas": {}}}},
    ]);
    object["status"] = json!({"replicas": 3, "readyReplicas": 3, "updatedReplicas": 3, "observedGeneration": 4});
    object
}

/// The tree of fields of a value.
fn owned(value: &Value) -> Value {
    match value {
        Value::Object(map) => map.iter().map(|(key, value)| (format!("f:{key}"), owned(value))).collect(),
        Value::Array(list) => list
            .iter()
            .enumerate()
            .map(|(index, value)| (format!("k:{{\"name\":\"{index}\"}}"), owned(value)))
            .collect(),
        _ => json!({}),
    }
}

pub fn judge(table: &mut Table, root: &Path) -> Result {
    let now = now()?;
    let governing = Governing::built_in();
    let kamaji: Value = serde_saphyr::from_str(&fs::read_to_string(root.join("examples/kamaji-etcd.yaml"))?)?;
    let tuned = [
        ("schedule", "H H(0-5) * * 1-5"),
        ("time-zone", "Europe/Rome"),
        ("quota-usage-above", "75%"),
        ("free-above", "512Mi"),
    ];
    let tuned = annotated(&kamaji, &tuned);
    let harmful = [
        ("schedule", "* * * * *"),
        ("time-zone", "Europe/Rom"),
        ("rule", "dbQuotaUsage > 80/100"),
        ("wait-between-members", "1 minute"),
    ];
    let inputs = [
        ("kamaji-etcd", kamaji.clone()),
        ("kamaji-etcd, four annotations", tuned.clone()),
        ("the same as the API server stores it", stored(&tuned)),
        ("kamaji-etcd, four harmful annotations", annotated(&kamaji, &harmful)),
    ];
    table.part(
        "judge a StatefulSet, from JSON",
        &["decode alone", "judge alone", "judge another with that rule", "serde_json::Value"],
    );
    let mut sound = Vec::new();
    for (name, object) in inputs {
        let bytes = serde_json::to_vec(&object)?;
        let decode = || serde_json::from_slice::<StatefulSet>(&bytes);
        let decoded = decode()?;
        let assessed = |object: &StatefulSet, around: &Surroundings<'_>| assess(object, &governing, around, now);
        let first = |object: &StatefulSet, around: &Surroundings<'_>| {
            rule::forget_analyses();
            assessed(object, around)
        };
        let unseen = Surroundings::default();
        let assessment = assessed(&decoded, &unseen);
        let refused = assessment.findings.iter().filter(|finding: &&Finding| finding.denies()).count();
        let times = measure(vec![
            here(|| decode().map(|object| first(&object, &unseen))),
            here(decode),
            here(|| first(&decoded, &unseen)),
            here(|| assessed(&decoded, &unseen)),
            here(|| serde_json::from_slice::<Value>(&bytes)),
        ])?;
        let said = if refused == 0 { String::new() } else { format!(", {refused} refusals") };
        let input = format!("{name} ({:.1} KiB{said})", bytes.len() as f64 / 1024.0);
        table.row(&input, &times.into_iter().map(Some).collect::<Vec<_>>(), Some(GOAL));
        if refused == 0 {
            sound.push((name, decoded));
        }
    }
    table.part("judge it and build the CronJob", &["and write its JSON"]);
    for (name, object) in sound {
        let built = || assess(&object, &governing, &Surroundings::nothing(), now);
        let times = measure(vec![here(built), here(|| serde_json::to_vec(&built().cronjob()))])?;
        table.row(name, &times.into_iter().map(Some).collect::<Vec<_>>(), None);
    }
    Ok(())
}

/// A policy that selects by a label of the namespace, as a platform team writes one for each of its tenants.
fn tenant(number: usize) -> Result<Arc<Compiled>> {
    let object: DefragPolicy = serde_json::from_value(json!({
        "apiVersion": "etcd-defrag.io/v1alpha1", "kind": "DefragPolicy", "metadata": {"name": format!("tenant-{number:03}")},
        "spec": {
            "namespaceSelector": {"matchLabels": {"tenant": format!("{number}")}},
            "selector": {"matchExpressions": [{"key": "tier", "operator": "NotIn", "values": ["scratch"]}]},
        },
    }))?;
    Ok(Arc::new(policy::compile(&object, now()?)))
}

/// A cluster with so many policies, of which only the one that is looked at last selects the namespace.
fn cluster(policies: usize) -> Result<PolicySnapshot> {
    let set: Result<Vec<_>> = (0..policies).map(tenant).collect();
    let labels = [("tenant".to_owned(), format!("{}", policies - 1))].into();
    Ok(PolicySnapshot::new(PolicySet::new(set?), Arc::new([("kamaji-system".to_owned(), labels)].into())))
}

/// The answer to a change of an annotation, from the bytes of its review, under one policy and under many.
pub fn admit(table: &mut Table, root: &Path) -> Result {
    let now = now()?;
    let old: Value = serde_saphyr::from_str(&fs::read_to_string(root.join("examples/kamaji-etcd.yaml"))?)?;
    let object = annotated(&old, &[("schedule", "H H(0-5) * * 1-5"), ("time-zone", "Europe/Rome")]);
    let review = json!({"kind": "AdmissionReview", "apiVersion": "admission.k8s.io/v1", "request": {
        "uid": "705ab4f5-6393-11e8-b7cc-42010a800002", "operation": "UPDATE", "namespace": "kamaji-system", "name": "kamaji-etcd",
        "resource": {"group": "apps", "version": "v1", "resource": "statefulsets"},
        "object": stored(&object), "oldObject": stored(&old),
    }});
    let body = serde_json::to_vec(&review)?;
    let (one, many) = (cluster(1)?, cluster(500)?);
    let decoded: StatefulSet = serde_json::from_value(object)?;
    let labels = decoded.metadata.labels.clone().unwrap_or_default();
    table.part("answer a review, from JSON, under one policy", &["under 500", "selection alone"]);
    for entry in [Entry::Validate, Entry::Mutate] {
        let answered = |snapshot| {
            let (uid, review) = review::read(&body).expect("a review");
            answer(entry, &uid, review, snapshot, now)
        };
        let times = measure(vec![
            here(|| answered(&one)),
            here(|| answered(&many)),
            here(|| many.govern("kamaji-system", &labels)),
        ])?;
        table.row(&entry.to_string(), &times.into_iter().map(Some).collect::<Vec<_>>(), None);
    }
    Ok(())
}
