//! The objects of a sequence in all their variants. What each variant comes to is written down in the oracle.

use serde_json::{Map, Value, json};

use super::{events::SLOTS, store::Key};

/// The engine as defrag.sh runs it.
pub(crate) const ENGINE: &str = "ghcr.io/ahrtr/etcd-defrag:v0.14.0";
pub(crate) const PREFIX: &str = "etcd-defrag.io/";
/// What is in force, on our CronJob.
pub(crate) const IN_FORCE: &str = "etcd-defrag.io/in-force";
pub(crate) const MANAGED_BY: &str = "app.kubernetes.io/managed-by";
pub(crate) const MANAGER: &str = "etcd-defrag-webhook";
/// Names the StatefulSet of our CronJob.
pub(crate) const STATEFULSET: &str = "etcd-defrag.io/statefulset";
/// Since when the StatefulSet of our CronJob is gone without it.
pub(crate) const ORPHANED_SINCE: &str = "etcd-defrag.io/orphaned-since";
/// A rule for a quota of 8 GiB, which no database under a quota of 4 GiB makes true.
pub(crate) const LARGE_RULE: &str = "dbSize > 5*1024*1024*1024 && dbSizeFree > 200*1024*1024";

pub(crate) const LABELS: &[(Option<&str>, bool)] = &[
    (Some("true"), false),
    (Some("true"), true),
    (Some("false"), false),
    (None, true),
    (None, false),
    (Some("yes"), false),
];
pub(crate) const SETTINGS: &[&[(&str, &str)]] = &[
    &[],
    &[("schedule", "5 3 * * *")],
    &[("schedule", "7 7 * * *"), ("wait-between-members", "45s")],
    &[("suspend", "true")],
    &[("schedule", "0 */2 * * *")],
    &[("schedule", "* * * * *")],
    &[("shedule", "5 3 * * *")],
    &[("suspend", "yes")],
    &[("rule", LARGE_RULE)],
    &[("rule", LARGE_RULE), ("schedule", "7 7 * * *")],
];
/// Sound, none running, another number of members, a volume that is too small (refused, but not for what the settings say),
/// no etcd.
pub(crate) const TEMPLATES: usize = 5;
pub(crate) const MEMBERS: &[u64] = &[3, 5, 0];
/// Quotas in the pod template; the last one is in a Secret, where nobody sees it.
pub(crate) const QUOTAS: &[&str] = &["8589934592", "4294967296", "$(QUOTA)"];
/// The Secret behind the volume of certificates. From the last name nobody can tell which one holds a client's.
pub(crate) const SECRETS: &[&str] = &["kamaji-etcd-certs", "renewed-certs", "renamed"];
pub(crate) const SUSPENSIONS: &[Option<&str>] = &[Some("true"), None, Some("false"), Some("yes")];
pub(crate) const EDITS: usize = 14;
/// The edits that say when a CronJob was orphaned: long ago, in times to come, at no time.
pub(crate) const MARKS: [usize; 3] = [11, 12, 13];
pub(crate) const FORGERIES: usize = 4;
pub(crate) const POLICIES_SAY: usize = 10;

pub(crate) fn object(slot: usize, label: usize, setting: usize) -> Value {
    let mut object: Value = serde_saphyr::from_str(include_str!("../../examples/kamaji-etcd.yaml")).unwrap();
    let (namespace, name) = SLOTS[slot];
    object["metadata"] = json!({"namespace": namespace, "name": name});
    labelled(&mut object, label);
    annotated(&mut object, setting);
    ready(&mut object);
    object
}

/// All members are ready, as a run on request asks for.
fn ready(object: &mut Value) {
    object["status"] = json!({"readyReplicas": object["spec"]["replicas"]});
}

pub(crate) fn labelled(object: &mut Value, label: usize) {
    let (enabled, team) = LABELS[label];
    let mut labels = json!({});
    if let Some(enabled) = enabled {
        labels["etcd-defrag.io/enabled"] = json!(enabled);
    }
    if team {
        labels["team"] = json!("blue");
    }
    object["metadata"]["labels"] = labels;
}

pub(crate) fn annotated(object: &mut Value, setting: usize) {
    let mut annotations = json!({});
    for (key, value) in SETTINGS[setting] {
        annotations[format!("{PREFIX}{key}")] = json!(value);
    }
    object["metadata"]["annotations"] = annotations;
}

/// Sets or removes the emergency stop beside the other settings.
pub(crate) fn stopped(object: &mut Value, suspension: usize) {
    let annotations = &mut object["metadata"]["annotations"];
    match SUSPENSIONS[suspension] {
        Some(value) => annotations["etcd-defrag.io/suspend"] = json!(value),
        None => without(annotations, "etcd-defrag.io/suspend"),
    }
}

pub(crate) fn templated(object: &mut Value, template: usize) {
    let sound: Value = serde_saphyr::from_str(include_str!("../../examples/kamaji-etcd.yaml")).unwrap();
    object["spec"] = sound["spec"].clone();
    let spec = &mut object["spec"];
    match template {
        1 => spec["replicas"] = json!(0),
        2 => spec["replicas"] = json!(5),
        3 => spec["volumeClaimTemplates"][0]["spec"]["resources"]["requests"]["storage"] = json!("1Gi"),
        4 => spec["template"]["spec"]["containers"] = json!([{"name": "web", "image": "nginx:1"}]),
        _ => {}
    }
    ready(object);
}

pub(crate) fn scaled(object: &mut Value, members: usize) {
    object["spec"]["replicas"] = json!(MEMBERS[members]);
    ready(object);
}

/// Gives the etcd another quota, if there is an etcd.
pub(crate) fn limited(object: &mut Value, quota: usize) {
    let etcd = &mut object["spec"]["template"]["spec"]["containers"][0];
    let Some(words) = etcd.get_mut("command").and_then(Value::as_array_mut) else { return };
    words.retain(|word| !word.as_str().unwrap().starts_with("--quota-backend-bytes="));
    words.push(json!(format!("--quota-backend-bytes={}", QUOTAS[quota])));
    let hidden = json!({"name": "QUOTA", "valueFrom": {"secretKeyRef": {"name": "quota", "key": "bytes"}}});
    let variables = etcd["env"].as_array_mut().unwrap();
    if !variables.iter().any(|variable| variable["name"] == "QUOTA") {
        variables.push(hidden);
    }
}

/// Mounts the certificates from another Secret.
pub(crate) fn certified(object: &mut Value, secret: usize) {
    object["spec"]["template"]["spec"]["volumes"][0]["secret"]["secretName"] = json!(SECRETS[secret]);
}

fn without(value: &mut Value, key: &str) {
    value.as_object_mut().map(|fields| fields.remove(key));
}

/// Changes a CronJob by hand, but for what is in force on it.
pub(crate) fn edited(object: &mut Value, edit: usize) {
    let meta = &mut object["metadata"];
    let pod = "/spec/jobTemplate/spec/template/spec/containers";
    match edit {
        0 => object["spec"]["schedule"] = json!("1 1 1 1 *"),
        1 => without(&mut meta["labels"], MANAGED_BY),
        2 => without(&mut meta["annotations"], STATEFULSET),
        3 => without(meta, "ownerReferences"),
        4 => object["spec"]["timeZone"] = json!("Etc/UTC"),
        5 => meta["labels"]["theirs"] = json!("kept"),
        6 => object["spec"]["suspend"] = json!(true),
        7 => meta["annotations"]["etcd-defrag.io/findings"] = json!("stale"),
        8 => object.pointer_mut(pod).unwrap()[0]["args"] = json!(["--cluster"]),
        9 => object.pointer_mut(pod).unwrap().as_array_mut().unwrap().push(json!({"name": "sidecar", "image": "x"})),
        11 => meta["annotations"][ORPHANED_SINCE] = json!("2020-01-01T00:00:00Z"),
        12 => meta["annotations"][ORPHANED_SINCE] = json!("2999-01-01T00:00:00Z"),
        13 => meta["annotations"][ORPHANED_SINCE] = json!("soon"),
        _ => object["status"]["lastScheduleTime"] = json!("2026-01-01T00:00:00Z"),
    }
}

/// Changes by hand what is said on a CronJob to be in force, where that is said: another schedule than was ever accepted,
/// no JSON, a version that nobody knows, nothing.
pub(crate) fn forged(object: &mut Value, forgery: usize) {
    let annotations = &mut object["metadata"]["annotations"];
    let Some(text) = annotations[IN_FORCE].as_str() else { return };
    let mut record: Value = serde_json::from_str(text).unwrap_or_else(|_| Value::Object(Map::new()));
    match forgery {
        0 => record["settings"]["schedule"] = json!("* * * * *"),
        2 => record["version"] = json!(1_000_000),
        _ => {}
    }
    match forgery {
        0 | 2 => annotations[IN_FORCE] = json!(record.to_string()),
        1 => annotations[IN_FORCE] = json!("{\"version\":1,"),
        _ => without(annotations, IN_FORCE),
    }
}

pub(crate) fn endpoints(slot: usize) -> String {
    let (namespace, name) = SLOTS[slot];
    format!("--endpoints=https://{name}-0.kamaji-etcd.{namespace}.svc.cluster.local:2379")
}

pub(crate) fn by_hand(key: &Key, image: &str, arg: &str) -> Value {
    let pod = json!({"restartPolicy": "Never", "containers": [{"name": "run", "image": image, "args": [arg]}]});
    json!({
        "metadata": {"name": key.name, "namespace": key.namespace},
        "spec": {"schedule": "11 11 11 11 *", "jobTemplate": {"spec": {"template": {"spec": pod}}}},
    })
}

/// A policy. A label of its own tells which of the variants it is.
pub(crate) fn policy(name: &str, priority: u64, selects: usize, says: usize) -> Value {
    let mut spec = match says {
        0 => json!({"defaults": {"schedule": "3 2 * * *"}}),
        1 => json!({"defaults": {"schedule": "4 2 * * *"}, "job": {"podLabels": {"team": "platform"}}}),
        2 | 3 => json!({"enrollment": "All", "allowOptOut": says == 3}),
        4 => json!({"defaults": {"schedule": "0 0 31 2 *"}}),
        5 => {
            json!({"defaults": {"schedule": "0 * * * *"}, "limits": {"minInterval": "12h", "minIntervalWithoutFloor": "12h"}})
        }
        6 => json!({"validationActions": ["Warn"], "limits": {"windows": [{"from": "22:00", "to": "06:00"}]}}),
        7 => json!({"limits": {"windows": [{"from": "22:00", "to": "06:00"}], "minWaitBetweenMembers": "40s"}}),
        8 => json!({"defaults": {"suspend": false}, "limits": {"lockedKeys": ["suspend"]}}),
        _ => json!({"limits": {"windows": [{"from": "04:00", "to": "05:00"}]}}),
    };
    spec["priority"] = json!(priority);
    match selects {
        0 => {}
        1 => spec["namespaceSelector"] = json!({"matchLabels": {"tier": "gold"}}),
        2 => spec["selector"] = json!({"matchLabels": {"team": "blue"}}),
        _ => spec["selector"] = json!({"matchLabels": {"no": "object"}}),
    }
    json!({"metadata": {"name": name, "labels": {"says": says.to_string()}}, "spec": spec})
}

/// A copy under another name, as `kubectl get` and `create` make one.
pub(crate) fn copied(object: &Value, name: &str) -> Value {
    let mut copy = object.clone();
    copy["metadata"]["name"] = json!(name);
    without(&mut copy["metadata"], "uid");
    copy
}
