//! Every finding that a policy can refuse, with an object that brings it in: the rows of the matrix of admission.

#![allow(clippy::indexing_slicing, clippy::unwrap_used, reason = "a test that cannot go on fails")]
#![allow(dead_code, reason = "not every test needs all of it")]

use etcd_defrag_webhook::defrag::finding::Code;
use serde_json::{Value, json};

/// What a policy can be told to do about a finding.
pub const ACTIONS: [&[&str]; 5] = [&["Deny"], &["Warn"], &["Audit"], &["Deny", "Audit"], &["Warn", "Audit"]];

/// How an object that nothing is wrong with comes to break one thing.
pub enum Breach {
    /// An annotation of ours has this value.
    Annotation(&'static str, &'static str),
    /// The value at a pointer is this.
    At(&'static str, Value),
    /// The flag for the quota has this value.
    Quota(&'static str),
}

impl Breach {
    /// Whether it is a change of the specification, which no policy refuses in an update.
    pub fn is_in_spec(&self) -> bool {
        match self {
            Self::Annotation(..) => false,
            Self::At(pointer, _) => pointer.starts_with("/spec"),
            Self::Quota(_) => true,
        }
    }
}

/// One thing that a policy can object to.
pub struct Case {
    pub code: Code,
    /// The policy under which it is refused, less its actions.
    pub spec: Value,
    pub breach: Breach,
}

/// The actions to try with a finding.
pub fn actions_for(code: Code) -> impl Iterator<Item = &'static [&'static str]> {
    // Giving up on a proof takes all the time that it may have.
    let slow = code == Code::RuleUndecided;
    ACTIONS.into_iter().filter(move |actions| !slow || matches!(actions, ["Deny"] | ["Warn", "Audit"]))
}

fn annotation(code: Code, spec: Value, key: &'static str, value: &'static str) -> Case {
    Case { code, spec, breach: Breach::Annotation(key, value) }
}

fn at(code: Code, spec: Value, pointer: &'static str, value: Value) -> Case {
    Case { code, spec, breach: Breach::At(pointer, value) }
}

fn quota(code: Code, spec: Value, value: &'static str) -> Case {
    Case { code, spec, breach: Breach::Quota(value) }
}

/// A policy that says nothing.
fn none() -> Value {
    json!({})
}

pub fn cases() -> Vec<Case> {
    [limits(), mistakes()].into_iter().flatten().collect()
}

/// What breaks a bound, by a setting that could run.
fn limits() -> Vec<Case> {
    let limit = |name: &str, value: Value| json!({"limits": {name: value}});
    let sidecar = json!([
        tame()["spec"]["template"]["spec"]["containers"][0],
        {"name": "nightly", "image": "registry.example/etcd-defrag:v0.41"},
    ]);
    let window = json!([{"from": "22:00", "to": "06:00"}]);
    let undecided = "dbSizeFree > 200*1024*1024 || dbQuotaUsage > 0.8 && dbSizeFree > 32*1024*1024 || \
                     dbSizeFree * dbSizeInUse == 209715201";
    vec![
        annotation(Code::ScheduleTooOften, none(), "schedule", "*/5 * * * *"),
        annotation(Code::ScheduleTooRare, limit("maxInterval", json!("26h")), "schedule", "0 0 * * 0"),
        annotation(Code::ScheduleOutsideWindow, limit("windows", window), "schedule", "0 12 * * *"),
        annotation(Code::RuleMissesQuota, none(), "rule", "dbSizeFree > 1536*1024*1024"),
        annotation(Code::RuleFutile, limit("futileRule", json!("Deny")), "rule", "dbQuotaUsage > 0.8"),
        annotation(Code::RuleUndecided, limit("unprovenRule", json!("Deny")), "rule", undecided),
        annotation(Code::CommandTimeoutTooShort, none(), "command-timeout", "5s"),
        annotation(Code::CommandTimeoutTooLong, none(), "command-timeout", "2h"),
        annotation(Code::WaitTooLong, none(), "wait-between-members", "1h"),
        annotation(Code::DeadlineTooLong, limit("maxDeadline", json!("30m")), "command-timeout", "10m"),
        annotation(Code::CompactionRedundant, limit("redundantCompaction", json!("Deny")), "compaction", "true"),
        annotation(Code::WaitTooShort, limit("minWaitBetweenMembers", json!("20s")), "wait-between-members", "5s"),
        annotation(Code::QuotaUsageOutOfRange, none(), "quota-usage-above", "95%"),
        annotation(Code::FreeBelowMinimum, limit("minFree", json!("100Mi")), "free-above", "64Mi"),
        annotation(
            Code::KeyLocked,
            json!({"defaults": {"schedule": "0 3 * * *"}, "limits": {"lockedKeys": ["schedule"]}}),
            "schedule",
            "0 4 * * *",
        ),
        quota(
            Code::QuotaAboveSuggested,
            json!({"limits": {"aboveSuggestedQuota": "Deny", "suggestedQuota": "4Gi"}}),
            "6442450944",
        ),
        // The volume of a StatefulSet cannot be changed; its quota can.
        quota(Code::VolumeTooSmall, none(), "17179869184"),
        at(
            Code::LivenessTooEager,
            limit("eagerLivenessProbe", json!("Deny")),
            "/spec/template/spec/containers/0/livenessProbe/failureThreshold",
            json!(1),
        ),
        at(
            Code::EtcdVersionUnknown,
            limit("unknownVersion", json!("Deny")),
            "/spec/template/spec/containers/0/image",
            json!("quay.io/coreos/etcd:latest"),
        ),
        at(Code::SingleMember, limit("singleMember", json!("Deny")), "/spec/replicas", json!(1)),
        at(Code::EvenMembers, limit("evenMembers", json!("Deny")), "/spec/replicas", json!(4)),
        at(
            Code::RivalDefragmenter,
            limit("rivalDefragmenter", json!("Deny")),
            "/spec/template/spec/containers",
            sidecar,
        ),
        at(
            Code::OptOutRefused,
            json!({"enrollment": "All"}),
            "/metadata/labels/etcd-defrag.io~1enabled",
            json!("false"),
        ),
    ]
}

/// The client URLs of the example with the scheme that it does not listen for.
const PLAIN: &str = "http://kamaji-etcd-0.kamaji-etcd.kamaji-system.svc:2379,\
                     http://kamaji-etcd-1.kamaji-etcd.kamaji-system.svc:2379,\
                     http://kamaji-etcd-2.kamaji-etcd.kamaji-system.svc:2379";

/// What cannot be understood, or would hurt under any policy.
fn mistakes() -> Vec<Case> {
    let mut elsewhere = tame()["spec"]["template"]["spec"]["containers"][0].clone();
    elsewhere["command"].as_array_mut().unwrap().pop();
    elsewhere["envFrom"] = json!([{"configMapRef": {"name": "settings"}}]);
    let can_fail = "dbSizeFree > 200*1024*1024 || dbQuotaUsage > 0.8 && dbSizeFree > 32*1024*1024 || 1/0 > 1";
    vec![
        annotation(Code::AnnotationUnknown, none(), "shedule", "0 0 * * *"),
        annotation(Code::BooleanInvalid, none(), "suspend", "yes"),
        annotation(Code::DurationInvalid, none(), "wait-between-members", "1 minute"),
        annotation(Code::ScheduleInvalid, none(), "schedule", "0 25 * * *"),
        annotation(Code::ScheduleNeverFires, none(), "schedule", "0 0 31 2 *"),
        annotation(Code::TimeZoneInvalid, none(), "time-zone", "Europe/Rom"),
        annotation(Code::RuleInvalid, none(), "rule", "dbSize >"),
        annotation(Code::RuleCanFail, none(), "rule", can_fail),
        annotation(Code::RuleAlwaysTrue, none(), "rule", "dbSize >= 0"),
        annotation(Code::RuleNeverTrue, none(), "rule", "dbQuotaUsage > 80"),
        annotation(Code::ThresholdInvalid, none(), "quota-usage-above", "eighty"),
        annotation(Code::DisalarmInvalid, none(), "disalarm-below", "100%"),
        annotation(Code::SecretReferenceInvalid, none(), "username-secret", "root"),
        annotation(Code::ValueInvalid, none(), "client-port", "http"),
        annotation(Code::QuotaMismatch, none(), "quota", "3Gi"),
        annotation(Code::EndpointsMismatch, none(), "endpoints", PLAIN),
        annotation(
            Code::MembersLeftOut,
            none(),
            "endpoints",
            "https://kamaji-etcd-0.kamaji-etcd.kamaji-system.svc:2379",
        ),
        at(
            Code::EtcdVersionUnsafe,
            none(),
            "/spec/template/spec/containers/0/image",
            json!("quay.io/coreos/etcd:v3.5.5"),
        ),
        at(
            Code::SettingsConflict,
            none(),
            "/metadata/annotations",
            json!({"etcd-defrag.io/rule": "dbSizeFree > 200*1024*1024", "etcd-defrag.io/free-above": "200Mi"}),
        ),
        at(Code::EtcdNotFound, none(), "/spec/template/spec/containers", json!([{"name": "web", "image": "nginx:1"}])),
        at(
            Code::EndpointsUnknown,
            none(),
            "/spec/template/spec/containers/0/command",
            json!(["etcd", "--config-file=/etc/etcd/etcd.yaml"]),
        ),
        at(
            Code::EtcdUnreachable,
            none(),
            "/spec/template/spec/containers/0/args",
            json!(["--listen-client-urls=https://127.0.0.1:2379"]),
        ),
        at(
            Code::MembersElsewhere,
            none(),
            "/spec/template/spec/containers/0/args",
            json!([
                "--initial-cluster=kamaji-etcd-0=https://kamaji-etcd-0.x:2380,b-0=https://b-0.x:2380,c-0=https://c-0.x:2380"
            ]),
        ),
        at(Code::QuotaUnknown, none(), "/spec/template/spec/containers/0", elsewhere),
        quota(Code::QuotaInvalid, none(), "2Gi"),
        at(Code::TlsSecretUnknown, none(), "/spec/template/spec/volumes/0", json!({"name": "certs", "emptyDir": {}})),
        at(
            Code::CredentialsUnknown,
            none(),
            "/spec/template/spec/containers/0/env/2",
            json!({"name": "ETCDCTL_USER", "value": "root:secret"}),
        ),
        at(Code::TooManyMembers, none(), "/spec/replicas", json!(11)),
        at(Code::TooMuchToRead, none(), "/spec/template/spec/containers/0/args", json!(vec!["-v"; 2048])),
        at(Code::EnabledInvalid, none(), "/metadata/labels/etcd-defrag.io~1enabled", json!("yes")),
    ]
}

/// An etcd without any finding under the built-in policy but that its Secret is assumed.
pub fn tame() -> Value {
    let mut object: Value = serde_saphyr::from_str(include_str!("../../examples/kamaji-etcd.yaml")).unwrap();
    object["metadata"]["annotations"] = json!({"example.com/owner": "platform"});
    // The members of the example have its name, and some tests give another.
    let words = object["spec"]["template"]["spec"]["containers"][0]["command"].as_array_mut().unwrap();
    words.retain(|word| !word.as_str().unwrap().starts_with("--initial-cluster="));
    // The place for one more variable.
    set(&mut object, "/spec/template/spec/containers/0/env/2", json!({"name": "TZ", "value": "Etc/UTC"}));
    set_quota(&mut object, "2147483648");
    set(&mut object, "/spec/template/spec/containers/0/livenessProbe/failureThreshold", json!(6));
    object
}

fn set_quota(object: &mut Value, value: &str) {
    const FLAG: &str = "--quota-backend-bytes=";
    let command = object["spec"]["template"]["spec"]["containers"][0]["command"].as_array_mut().unwrap();
    let at = command.iter().position(|word| word.as_str().unwrap().starts_with(FLAG)).unwrap();
    command[at] = json!(format!("{FLAG}{value}"));
}

pub fn broken(breach: &Breach) -> Value {
    let mut object = tame();
    match breach {
        Breach::Annotation(key, value) => {
            object["metadata"]["annotations"][format!("etcd-defrag.io/{key}")] = json!(value);
        }
        Breach::At(pointer, value) => set(&mut object, pointer, value.clone()),
        Breach::Quota(value) => set_quota(&mut object, value),
    }
    object
}

/// The object under another name and in another namespace; what it says of its members' addresses is then said of those.
pub fn moved(mut object: Value, namespace: &str, name: &str) -> Value {
    object["metadata"]["namespace"] = json!(namespace);
    object["metadata"]["name"] = json!(name);
    if let Some(Value::String(urls)) = object.pointer_mut("/metadata/annotations/etcd-defrag.io~1endpoints") {
        let hosts = urls.replace("//kamaji-etcd-", &format!("//{name}-"));
        *urls = hosts.replace(".kamaji-system.", &format!(".{namespace}."));
    }
    object
}

/// The same object after a change of our keys that nothing is wrong with.
pub fn touched(mut object: Value) -> Value {
    object["metadata"]["annotations"]["etcd-defrag.io/defrag-now"] = json!("please");
    object
}

/// Sets the value at a JSON pointer; its parent must exist. A list grows as far as it has to.
pub fn set(object: &mut Value, pointer: &str, value: Value) {
    let (parent, key) = pointer.rsplit_once('/').unwrap();
    let key = key.replace("~1", "/").replace("~0", "~");
    match object.pointer_mut(parent).unwrap() {
        Value::Array(items) => {
            let at = key.parse::<usize>().unwrap();
            items.resize(items.len().max(at + 1), Value::Null);
            items[at] = value;
        }
        parent => parent[key] = value,
    }
}
