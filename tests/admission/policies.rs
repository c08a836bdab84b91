//! Admission under policies, as reviews through the router: what each action does with each finding, the ratchet, and
//! which policy it is that governs.

use etcd_defrag_webhook::{
    admission::{Entry, audit},
    defrag::{
        finding::{Code, Severity},
        policy::PolicySnapshot,
    },
};
use serde_json::{Value, json};

use crate::{
    breaches::{ACTIONS, Breach, actions_for, broken, cases, tame, touched},
    fixtures::{cluster, policy, review},
    reviews::answer_under,
};

fn with_actions(mut spec: Value, actions: &[&str]) -> PolicySnapshot {
    spec["validationActions"] = json!(actions);
    let policy = policy("platform", spec);
    assert!(policy.is_valid(), "{:?}", policy.findings);
    cluster([policy])
}

/// What an answer says of a finding, and that it says nothing else that refuses.
#[derive(Debug, PartialEq)]
struct Said {
    refused: bool,
    warned: bool,
    audited: bool,
}

fn said(answer: &Value, code: Code) -> Said {
    let causes = answer["status"]["details"]["causes"].as_array().cloned().unwrap_or_default();
    let names = |message: &Value| message.as_str().unwrap().ends_with(&format!("[{code}]"));
    let refused = causes.iter().any(|cause| names(&cause["message"]));
    assert_eq!(answer["allowed"], causes.is_empty(), "{answer}");
    if refused {
        assert_eq!((&answer["status"]["code"], &answer["status"]["reason"]), (&json!(422), &json!("Invalid")));
    }
    let warnings = warnings(answer);
    let audited = answer["auditAnnotations"][audit::KEY].as_str().is_some_and(|value| {
        assert!(value.len() <= audit::LIMIT);
        let list: Vec<Value> = serde_json::from_str(value).unwrap();
        assert!(list.iter().all(|one| one["policy"] == "platform"), "{value}");
        list.iter().any(|one| one["code"] == code.as_str())
    });
    Said { refused, warned: warnings.iter().any(|line| line.starts_with(&format!("{code}: "))), audited }
}

fn warnings(answer: &Value) -> Vec<String> {
    let lines: Vec<String> = serde_json::from_value(answer["warnings"].clone()).unwrap_or_default();
    assert!(lines.iter().all(|line| line.chars().count() <= 120), "{lines:?}");
    lines
}

async fn create(snapshot: &PolicySnapshot, object: &Value) -> Value {
    answer_under(snapshot, Entry::Validate, &review("CREATE", "", object.clone(), json!(null))).await
}

async fn update(snapshot: &PolicySnapshot, old: &Value, object: &Value) -> Value {
    answer_under(snapshot, Entry::Validate, &review("UPDATE", "", object.clone(), old.clone())).await
}

#[test]
fn the_matrix_has_every_finding_that_a_policy_can_refuse() {
    let cases = cases();
    for code in Code::ALL.iter().filter(|code| code.severity() == Severity::Deny || code.is_limit()) {
        let elsewhere = [
            // A warning under every policy.
            Code::VolumeTight,
            // Not weighed by actions: see access_through_the_status_is_refused_under_every_policy.
            Code::AccessThroughStatus,
            // Of the CronJobs that are there, which no webhook sees.
            Code::NothingInForce,
            // Of a policy itself.
            Code::EngineTooOld,
            Code::DefinitionRefused,
        ];
        let weighed = cases.iter().any(|case| case.code == *code);
        assert_eq!(weighed, !elsewhere.contains(code), "{code}");
    }
}

/// Each action × each finding × create, update and ratcheted update.
#[tokio::test]
async fn each_action_does_its_own_with_each_finding() {
    for case in cases() {
        let code = case.code;
        let bad = broken(&case.breach);
        for actions in actions_for(code) {
            let snapshot = with_actions(case.spec.clone(), actions);
            let (deny, warn, audit) =
                (actions.contains(&"Deny"), actions.contains(&"Warn"), actions.contains(&"Audit"));
            let clean = create(&snapshot, &tame()).await;
            assert_eq!(said(&clean, code), Said { refused: false, warned: false, audited: false }, "{code}: {clean}");
            assert!(clean["auditAnnotations"].is_null(), "{clean}");

            let brought_in = Said { refused: deny, warned: warn, audited: audit };
            let answer = create(&snapshot, &bad).await;
            assert_eq!(said(&answer, code), brought_in, "create, {actions:?}, {code}: {answer}");
            let governed = "etcd-defrag: governed by DefragPolicy platform (priority 0, the highest that selects it)";
            assert!(warnings(&answer).iter().any(|line| line == governed), "{code}: {answer}");
            let answer = update(&snapshot, &tame(), &touched(bad.clone())).await;
            assert_eq!(said(&answer, code), brought_in, "update, {actions:?}, {code}: {answer}");

            let standing = Said { refused: false, warned: deny || warn, audited: audit };
            let answer = update(&snapshot, &bad, &touched(bad.clone())).await;
            assert_eq!(said(&answer, code), standing, "ratcheted update, {actions:?}, {code}: {answer}");
            let answer = update(&snapshot, &bad, &touched(tame())).await;
            assert_eq!(said(&answer, code), Said { refused: false, warned: false, audited: false }, "repair, {code}");
        }
    }
}

#[tokio::test]
async fn where_nothing_runs_although_nothing_refuses_the_writer_is_told() {
    let snapshot = with_actions(json!({}), &["Warn"]);
    let told = "etcd-defrag: until this is fixed no CronJob is created, and an existing one keeps its settings";
    for (key, value, stops) in [("schedule", "0 0 31 2 *", true), ("schedule", "*/5 * * * *", false)] {
        let answer = create(&snapshot, &broken(&Breach::Annotation(key, value))).await;
        assert_eq!(warnings(&answer).iter().any(|line| line == told), stops, "{answer}");
        assert_eq!(warnings(&answer).iter().any(|line| line.contains("next runs")), !stops, "{answer}");
    }
}

/// A rescue is never blocked, whatever the policy: not even where it brings in what the policy denies.
#[tokio::test]
async fn no_edit_elsewhere_is_refused_or_patched_under_any_policy() {
    for case in cases().into_iter().filter(|case| case.breach.is_in_spec()) {
        for actions in ACTIONS {
            let snapshot = with_actions(case.spec.clone(), actions);
            for (old, new) in [(tame(), broken(&case.breach)), (broken(&case.breach), tame())] {
                for labels in [json!({"etcd-defrag.io/enabled": "true"}), json!({}), json!({"tier": "gold"})] {
                    let (mut old, mut new) = (old.clone(), new.clone());
                    old["metadata"]["labels"] = labels.clone();
                    new["metadata"]["labels"] = labels;
                    for entry in Entry::ALL {
                        let answer =
                            answer_under(&snapshot, entry, &review("UPDATE", "", new.clone(), old.clone())).await;
                        assert_eq!(answer["allowed"], true, "{entry}, {actions:?}, {}: {answer}", case.code);
                        assert!(answer["patch"].is_null(), "{entry}, {}: {answer}", case.code);
                    }
                }
            }
            let (old, new) = (tame(), broken(&case.breach));
            let answer = answer_under(&snapshot, Entry::Mutate, &review("UPDATE", "", new, old)).await;
            let expected = Said {
                refused: false,
                warned: actions.contains(&"Deny") || actions.contains(&"Warn"),
                audited: actions.contains(&"Audit"),
            };
            assert_eq!(said(&answer, case.code), expected, "{actions:?}, {}: {answer}", case.code);
        }
    }
}

fn allowed(answer: &Value) -> bool {
    answer["allowed"].as_bool().unwrap()
}

/// The object was sound when it was written; the policy has become stricter since.
#[tokio::test]
async fn a_stricter_policy_blocks_no_change_that_adds_nothing() {
    let lax = cluster([policy("platform", json!({}))]);
    let strict = cluster([policy(
        "platform",
        json!({
            "limits": {"maxInterval": "26h", "singleMember": "Deny", "lockedKeys": ["time-zone"]}, "defaults": {"timeZone": "UTC"},
        }),
    )]);
    let mut old = broken(&Breach::Annotation("schedule", "0 0 * * 0"));
    old["metadata"]["annotations"]["etcd-defrag.io/time-zone"] = json!("Europe/Rome");
    old["spec"]["replicas"] = json!(1);
    assert!(allowed(&create(&lax, &old).await) && !allowed(&create(&strict, &old).await));
    assert!(allowed(&update(&strict, &old, &touched(old.clone())).await));
    for (key, value) in [("schedule", "0 1 * * 0"), ("time-zone", "Europe/Berlin"), ("suspend", "yes")] {
        let mut worse = old.clone();
        worse["metadata"]["annotations"][format!("etcd-defrag.io/{key}")] = json!(value);
        let answer = update(&strict, &old, &worse).await;
        let causes = answer["status"]["details"]["causes"].as_array().unwrap();
        assert_eq!(causes.len(), 1, "{answer}");
        assert_eq!(causes[0]["field"], format!("metadata.annotations[etcd-defrag.io/{key}]"));
    }
}

/// A label of the platform's moves the object under a stricter policy in the write that changes a key of ours.
#[tokio::test]
async fn moving_under_another_policy_adds_no_violation_by_itself() {
    let snapshot = cluster([
        policy("lax", json!({"validationActions": ["Warn"]})),
        policy(
            "strict",
            json!({"priority": 9, "selector": {"matchLabels": {"tier": "gold"}}, "limits": {"maxInterval": "26h"}}),
        ),
    ]);
    let old = broken(&Breach::Annotation("schedule", "0 0 * * 0"));
    let mut moved = touched(old.clone());
    moved["metadata"]["labels"]["tier"] = json!("gold");
    let answer = update(&snapshot, &old, &moved).await;
    assert!(allowed(&answer), "{answer}");
    let lines = warnings(&answer);
    assert!(lines.iter().any(|line| line.starts_with("schedule-too-rare: ")), "{lines:?}");
    assert!(lines.iter().any(|line| line.contains("DefragPolicy strict (priority 9")), "{lines:?}");
    moved["metadata"]["annotations"]["etcd-defrag.io/schedule"] = json!("0 0 * * 1");
    assert!(!allowed(&update(&snapshot, &old, &moved).await));
    // And back again.
    let mut back = moved.clone();
    back["metadata"]["labels"]["tier"] = json!("bronze");
    assert!(allowed(&update(&snapshot, &moved, &back).await));
}

/// The default of the policy breaks a limit of the policy: whoever follows it does not bring that in, whatever text the
/// annotation has.
#[tokio::test]
async fn following_a_policy_that_contradicts_itself_is_no_new_violation() {
    let snapshot =
        cluster([policy("odd", json!({"defaults": {"schedule": "0 0 * * 0"}, "limits": {"maxInterval": "26h"}}))]);
    let mut old = tame();
    old["metadata"]["annotations"]["etcd-defrag.io/schedule"] = json!("0 0 * * *");
    old["metadata"]["annotations"]["etcd-defrag.io/defaulted"] = json!("schedule");
    let mut new = touched(old.clone());
    new["metadata"]["annotations"]["etcd-defrag.io/schedule"] = json!("0 0 * * 0");
    let answer = update(&snapshot, &old, &new).await;
    assert!(allowed(&answer), "{answer}");
    assert!(!allowed(&create(&snapshot, &new).await));
}

#[tokio::test]
async fn the_policy_with_the_highest_priority_governs_then_the_first_name() {
    let window = |from: &str, to: &str| json!({"windows": [{"from": from, "to": to}]});
    let production = json!({"matchLabels": {"stage": "production"}});
    let everything = policy("a-everything", json!({"priority": -5, "limits": window("00:00", "01:00")}));
    let here = policy("production", json!({"namespaceSelector": production, "limits": window("02:00", "03:00")}));
    let twin = policy("q-twin", json!({"namespaceSelector": production, "limits": window("04:00", "05:00")}));
    let elsewhere = policy(
        "b-elsewhere",
        json!({
            "priority": 99, "namespaceSelector": {"matchLabels": {"stage": "test"}}, "limits": window("06:00", "07:00"),
        }),
    );
    let gold = policy(
        "gold",
        json!({
            "priority": 7, "selector": {"matchLabels": {"tier": "gold"}}, "limits": window("08:00", "09:00"),
        }),
    );
    let all = || [&twin, &elsewhere, &gold, &here, &everything].map(Clone::clone);
    let cases = [
        (cluster(all()), false, "02:30", "production (priority 0, the highest that selects it)"),
        (cluster(all()), true, "08:30", "gold (priority 7, the highest that selects it)"),
        (cluster([twin.clone(), elsewhere.clone()]), true, "04:30", "q-twin (priority 0, "),
        (cluster([everything.clone(), elsewhere.clone()]), true, "00:30", "a-everything (priority -5, "),
    ];
    for (snapshot, is_gold, open, governed) in cases {
        for time in ["00:30", "02:30", "04:30", "06:30", "08:30"] {
            let (hour, minute) = time.split_once(':').unwrap();
            let mut object = tame();
            object["metadata"]["annotations"]["etcd-defrag.io/schedule"] =
                json!(format!("{} {} * * *", minute, hour.trim_start_matches('0').parse::<u8>().unwrap_or_default()));
            object["metadata"]["labels"]["tier"] = json!(if is_gold { "gold" } else { "bronze" });
            let answer = create(&snapshot, &object).await;
            assert_eq!(allowed(&answer), time == open, "{time} under {governed}: {answer}");
            let line = format!("governed by DefragPolicy {governed}");
            assert!(warnings(&answer).iter().any(|said| said.contains(&line)), "{answer}");
        }
    }
    let nobody = create(&cluster([elsewhere]), &tame()).await;
    let line = "etcd-defrag: governed by the built-in policy, since no DefragPolicy selects it";
    assert!(warnings(&nobody).iter().any(|said| said == line), "{nobody}");
    let quiet = create(&cluster([]), &tame()).await;
    assert!(!warnings(&quiet).iter().any(|said| said.contains("governed")), "{quiet}");
}

#[tokio::test]
async fn a_policy_with_the_longest_name_is_still_named_whole() {
    let name = "p".repeat(63);
    let answer = create(&cluster([policy(&name, json!({"priority": i32::MIN}))]), &tame()).await;
    assert!(warnings(&answer).iter().any(|line| line.contains(&name)), "{answer}");
}

#[tokio::test]
async fn locked_keys_and_windows_hold_for_what_is_written_and_for_what_is_filled_in() {
    let snapshot = cluster([policy(
        "platform",
        json!({
            "defaults": {"schedule": "30 3 * * *", "timeZone": "Europe/Rome"},
            "limits": {"lockedKeys": ["schedule", "time-zone"], "windows": [{"from": "03:00", "to": "04:00"}]},
        }),
    )]);
    let filled = filled_in(&snapshot, Entry::Mutate, "CREATE", &tame(), None).await;
    let annotations = &filled["metadata"]["annotations"];
    assert_eq!(annotations["etcd-defrag.io/schedule"], "30 3 * * *");
    assert_eq!(annotations["etcd-defrag.io/time-zone"], "Europe/Rome");
    assert_eq!(annotations["etcd-defrag.io/defaulted"], "schedule,time-zone,rule");
    assert!(allowed(&create(&snapshot, &filled).await));
    // The same value in a person's own hand says nothing else than the policy.
    assert!(allowed(&create(&snapshot, &broken(&Breach::Annotation("schedule", "30 3 * * *"))).await));
    let answer = create(&snapshot, &broken(&Breach::Annotation("schedule", "30 12 * * *"))).await;
    insta::assert_snapshot!(answer["status"]["message"].as_str().unwrap());
    assert_eq!(answer["status"]["details"]["causes"].as_array().unwrap().len(), 1, "{answer}");
}

/// The object as the answer of a mutating entry leaves it.
pub(crate) async fn filled_in(
    snapshot: &PolicySnapshot,
    entry: Entry,
    operation: &str,
    object: &Value,
    old: Option<&Value>,
) -> Value {
    let request = review(operation, "", object.clone(), old.cloned().unwrap_or_default());
    let answer = answer_under(snapshot, entry, &request).await;
    assert!(allowed(&answer), "{answer}");
    let mut result = object.clone();
    if !answer["patch"].is_null() {
        let patch: k8s_openapi::ByteString = serde_json::from_value(answer["patch"].clone()).unwrap();
        let patch: json_patch::Patch = serde_json::from_slice(&patch.0).unwrap();
        assert!(!patch.is_empty());
        json_patch::patch(&mut result, &patch).unwrap();
    }
    result
}

/// Who may only write the status does not choose Secrets and addresses, whatever the policy's actions.
#[tokio::test]
async fn access_through_the_status_is_refused_under_every_policy() {
    let with = |mut object: Value, key: &str, value: Value| {
        object["metadata"]["annotations"][format!("etcd-defrag.io/{key}")] = value;
        object
    };
    let values = [
        ("ca-secret", "other"),
        ("client-secret", "other"),
        ("username-secret", "other:user,password"),
        ("endpoints", "https://attacker.example:2379"),
        ("service", "attacker"),
        ("client-port", "2380"),
        ("cluster-domain", "attacker.example"),
    ];
    for actions in ACTIONS {
        let snapshot = with_actions(json!({}), actions);
        let causes = async |sub_resource: &str, old: &Value, object: &Value| -> usize {
            let review = review("UPDATE", sub_resource, object.clone(), old.clone());
            let answer = answer_under(&snapshot, Entry::Status, &review).await;
            let causes = answer["status"]["details"]["causes"].as_array().cloned().unwrap_or_default();
            let ours = |cause: &&Value| cause["message"].as_str().unwrap().ends_with("[access-through-status]");
            causes.iter().filter(ours).count()
        };
        for (key, value) in values {
            let set = with(tame(), key, json!(value));
            assert_eq!(causes("status", &tame(), &set).await, 1, "{actions:?} {key}");
            assert_eq!(causes("", &tame(), &set).await, 0, "{actions:?} {key}: on the object itself");
            assert_eq!(causes("status", &set, &tame()).await, 0, "{actions:?} {key}: taken away");
            assert_eq!(causes("status", &set, &touched(set.clone())).await, 0, "{actions:?} {key}: it stands");
            for label in [json!(null), json!("false")] {
                let mut out = set.clone();
                out["metadata"]["labels"]["etcd-defrag.io/enabled"] = label;
                if out["metadata"]["labels"]["etcd-defrag.io/enabled"].is_null() {
                    out["metadata"]["labels"].as_object_mut().unwrap().remove("etcd-defrag.io/enabled");
                }
                assert_eq!(causes("status", &out, &set).await, 1, "{actions:?} {key}: enrolled through the status");
                assert_eq!(causes("", &out, &set).await, 0, "{actions:?} {key}: enrolled");
                // Nor is it planted where it waits for somebody else to enrol it.
                let mut without = out.clone();
                without["metadata"]["annotations"].as_object_mut().unwrap().remove(&format!("etcd-defrag.io/{key}"));
                assert_eq!(causes("status", &without, &out).await, 1, "{actions:?} {key}: planted");
                assert_eq!(causes("", &without, &out).await, 0, "{actions:?} {key}: on the object itself");
                assert_eq!(causes("status", &out, &without).await, 0, "{actions:?} {key}: taken away");
            }
        }
        assert_eq!(causes("status", &tame(), &with(tame(), "suspend", json!("true"))).await, 0, "{actions:?}");
    }
}
