//! Facts apart from settings: whatever is refused, the CronJob follows its etcd, and the settings that were good stay in force.
//!
//! No webhook is registered here: what it would refuse gets through, as it does while it sleeps.

mod subject;

use serde_json::{Value, json};

use self::subject::*;
use super::{lifecycle::defrag_sh_cronjob, support::asleep};

/// Changes every fact there is, one after the other, while something is refused; returns what is shown in the end.
async fn follows_every_fact(subject: &Subject<'_>, mut wanted: Shown, quota: u64) -> Shown {
    subject.scale(5).await;
    wanted.members = members(5);
    subject.shows("scaled up", &wanted).await;
    subject.scale(3).await;
    wanted.members = members(3);
    subject.shows("scaled down", &wanted).await;

    subject.annotate("suspend", Some("true")).await;
    wanted.suspended = true;
    subject.shows("suspended", &wanted).await;
    subject.annotate("suspend", None).await;
    wanted.suspended = false;
    subject.shows("resumed", &wanted).await;

    subject.scale(0).await;
    subject.settles("scaled to zero", |cronjob| cronjob["spec"]["suspend"] == true, true).await;
    subject.scale(3).await;
    subject.shows("scaled back from zero", &wanted).await;

    subject.replace("\"kamaji-etcd-certs\"", "\"renewed-certs\"").await;
    wanted.secrets = secrets("renewed");
    subject.shows("the Secret of the certificate has another name", &wanted).await;

    subject.replace(&format!("bytes={}", wanted.quota), &format!("bytes={quota}")).await;
    (wanted.quota, wanted.timeout) = (quota, timeout(quota));
    subject.shows("the quota was changed", &wanted).await;
    wanted
}

#[tokio::test]
async fn with_nothing_refused_every_fact_is_followed() {
    let world = asleep();
    let (subject, wanted) = Subject::made(world, "sound", "annotation-unknown").await;
    follows_every_fact(&subject, wanted, 4 * GIB).await;
}

#[tokio::test]
async fn under_a_policy_that_became_stricter_facts_are_followed_and_the_last_good_settings_stay() {
    let world = asleep();
    let (subject, mut wanted) = Subject::made(world, "stricter", "schedule-too-often").await;

    subject.govern("first", round("first", strict()));
    wanted.told = true;
    subject.shows("refused", &wanted).await;
    subject.warned("schedule-too-often");
    let mut wanted = follows_every_fact(&subject, wanted, 4 * GIB).await;

    // The Job is the policy's alone.
    subject.govern("first", round("second", strict()));
    wanted.round = "second".to_owned();
    subject.shows("another Job", &wanted).await;
    let (_, record) = subject.in_force().await;
    assert_eq!((&record["version"], &record["policy"]), (&json!(1), &json!(subject.policy("first"))), "{record}");
    assert_eq!(record["settings"]["schedule"], SCHEDULE, "{record}");

    subject.govern("first", round("third", json!({})));
    (wanted.told, wanted.round) = (false, "third".to_owned());
    subject.shows("allowed again", &wanted).await;
}

#[tokio::test]
async fn with_a_rule_that_a_new_quota_made_wrong_facts_are_followed_and_the_rule_stays() {
    let world = asleep();
    let subject = Subject::new(world, "quota", "rule-never-true").await;
    let rule = "dbSize > 3*1024*1024*1024 && dbSizeFree > 100*1024*1024";
    subject.make(&settings("rule", rule), 4 * GIB).await;
    let mut wanted = Shown { rule: rule.to_owned(), ..Shown::good(4 * GIB) };
    subject.shows("made", &wanted).await;

    subject.replace(&format!("bytes={}", 4 * GIB), &format!("bytes={}", 2 * GIB)).await;
    (wanted.told, wanted.quota, wanted.timeout) = (true, 2 * GIB, timeout(2 * GIB));
    subject.shows("refused", &wanted).await;
    subject.warned("rule-never-true");
    let mut wanted = follows_every_fact(&subject, wanted, GIB + GIB / 2).await;

    subject.annotate("rule", Some(RULE)).await;
    (wanted.told, wanted.rule) = (false, RULE.to_owned());
    subject.shows("the rule was put right", &wanted).await;
}

#[tokio::test]
async fn with_a_mistyped_annotation_facts_are_followed_and_the_last_good_settings_stay() {
    let world = asleep();
    let subject = Subject::new(world, "mistyped", "annotation-unknown").await;
    subject.make(&settings("schedule", "H H(2-4) * * *"), 8 * GIB).await;
    let made = subject.settles("made", |cronjob| cronjob["spec"]["suspend"] == false, true).await;
    let resolved = made["spec"]["schedule"].as_str().unwrap().to_owned();
    assert!(!resolved.contains('H'), "{resolved}");
    let mut wanted = Shown { schedule: resolved, ..Shown::good(8 * GIB) };
    subject.shows("made", &wanted).await;

    subject.annotate("shedule", Some("9 9 * * *")).await;
    wanted.told = true;
    subject.shows("refused", &wanted).await;
    subject.warned("annotation-unknown");
    // Nobody knows what else was meant: all settings stay, those too that were changed to something acceptable.
    subject.annotate("schedule", Some("9 9 * * *")).await;
    let mut wanted = follows_every_fact(&subject, wanted, 4 * GIB).await;

    subject.annotate("shedule", None).await;
    (wanted.told, wanted.schedule) = (false, "9 9 * * *".to_owned());
    subject.shows("the mistake was removed", &wanted).await;
}

#[tokio::test]
async fn under_another_policy_facts_are_followed_and_only_what_it_refuses_becomes_its_default() {
    let world = asleep();
    let (subject, mut wanted) = Subject::made(world, "exchanged", "schedule-too-often").await;

    let mut weekly = round("second", strict());
    weekly["priority"] = json!(1);
    weekly["defaults"] = json!({"schedule": "0 4 * * 0", "waitBetweenMembers": "50s"});
    subject.govern("second", weekly);
    let default = Shown { schedule: "0 4 * * 0".to_owned(), ..wanted.clone() };
    wanted = Shown { told: true, round: "second".to_owned(), ..default };
    subject.shows("refused", &wanted).await;
    subject.warned("schedule-too-often");
    subject.ns.plane.kubectl_ok(&["delete", "defragpolicy", &subject.policy("first")]);
    let mut wanted = follows_every_fact(&subject, wanted, 4 * GIB).await;

    let (_, record) = subject.in_force().await;
    assert_eq!(record["policy"], json!(subject.policy("second")), "{record}");

    subject.annotate("schedule", Some("30 3 * * 6")).await;
    (wanted.told, wanted.schedule) = (false, "30 3 * * 6".to_owned());
    subject.shows("an acceptable schedule", &wanted).await;
}

#[tokio::test]
async fn under_another_policy_whose_own_default_is_refused_the_cronjob_is_suspended_until_there_is_one() {
    let world = asleep();
    let (subject, _) = Subject::made(world, "nothing-acceptable", "schedule-too-often").await;

    let mut without = strict();
    without["priority"] = json!(1);
    subject.govern("second", without.clone());
    let state = |cronjob: &Value| {
        let shown = Shown::of(cronjob, "schedule-too-often");
        (shown.suspended, shown.members.len(), shown.told)
    };
    subject.settles("suspended", state, (true, 3, true)).await;
    subject.warned("suspended");
    subject.scale(5).await;
    subject.settles("scaled up", state, (true, 5, true)).await;

    without["defaults"] = json!({"schedule": "0 4 * * 0"});
    subject.govern("second", without);
    let resumed = subject.settles("resumed", state, (false, 5, true)).await;
    assert_eq!(resumed["spec"]["schedule"], "0 4 * * 0");
}

/// What somebody may write into the annotation that tells what is in force.
fn forgeries(policy: &str) -> Vec<(&'static str, Option<String>)> {
    let record = |version: u32, settings: Value| {
        let facts = json!({"endpoints": ["http://elsewhere.example:2379"], "quota": 1});
        Some(json!({"version": version, "policy": policy, "settings": settings, "facts": facts}).to_string())
    };
    let every_minute = json!({"schedule": "* * * * *", "rule": "dbSize > 0"});
    vec![
        ("another schedule and rule", record(1, every_minute.clone())),
        ("a version that does not exist", record(1000, every_minute)),
        ("a key that does not exist", record(1, json!({"schedule": SCHEDULE, "image": "elsewhere.example/image"}))),
        ("no JSON", Some("garbage".to_owned())),
        ("far too much", record(1, json!({"schedule": "* ".repeat(10_000)}))),
        ("nothing", Some(String::new())),
        ("removed", None),
    ]
}

/// Writes each of them; the CronJob has to be told what is in force again, and its specification never changes.
async fn survives_forgeries(subject: &Subject<'_>, told: bool, same: bool) {
    let (before, _) = subject.in_force().await;
    let good = subject.live().await.unwrap();
    for (what, forged) in forgeries(&subject.policy("first")) {
        let change = forged.as_ref().map_or(format!("{IN_FORCE}-"), |forged| format!("{IN_FORCE}={forged}"));
        subject.ns.run(&["annotate", "cronjob", CRONJOB, "--overwrite", &change]);
        let forged = forged.map_or(Value::Null, Value::String);
        let restored = |cronjob: &Value| {
            let found = &cronjob["metadata"]["annotations"][IN_FORCE];
            if same { *found == before } else { *found != forged }
        };
        let live = subject.settles(what, restored, true).await;
        assert_eq!(live["spec"], good["spec"], "{what}");
        assert_eq!(live["metadata"]["generation"], good["metadata"]["generation"], "{what}: the specification changed");
        assert_eq!(Shown::of(&live, subject.code).told, told, "{what}");
        let (text, record) = subject.in_force().await;
        assert_eq!(record["version"], 1, "{what}: {text}");
        assert_eq!(record["policy"], json!(subject.policy("first")), "{what}: {text}");
        assert_eq!(record["settings"]["schedule"], SCHEDULE, "{what}: {text}");
        assert_eq!(record["settings"]["rule"], RULE, "{what}: {text}");
    }
}

#[tokio::test]
async fn what_is_in_force_cannot_be_forged_and_is_written_again_where_it_is_lost() {
    let world = asleep();
    let (subject, mut wanted) = Subject::made(world, "forged", "annotation-unknown").await;
    survives_forgeries(&subject, false, true).await;

    subject.annotate("shedule", Some("9 9 * * *")).await;
    wanted.told = true;
    subject.shows("refused", &wanted).await;
    // What was lost is read back from the specification, and may be said in other words.
    survives_forgeries(&subject, true, false).await;

    // With what is in force at hand an edit is repaired, refusal or not.
    let edit = json!({"spec": {"schedule": "* * * * *", "suspend": true}}).to_string();
    subject.ns.run(&["patch", "cronjob", CRONJOB, "--type=merge", "-p", &edit]);
    subject.shows("repaired", &wanted).await;
    let wanted = follows_every_fact(&subject, wanted, 4 * GIB).await;

    subject.annotate("shedule", None).await;
    subject.shows("the mistake was removed", &Shown { told: false, ..wanted }).await;
}

/// While one fact cannot be read, none of them is followed but that it is to pause; settings are.
async fn keeps_all_facts(subject: &Subject<'_>, hide: impl FnOnce(&mut Value)) {
    subject.make(&SETTINGS, 8 * GIB).await;
    let mut wanted = Shown::good(8 * GIB);
    subject.shows("made", &wanted).await;
    let sound = subject.template().await;
    let mut hidden = sound.clone();
    hide(&mut hidden["spec"]["containers"][0]);
    subject.patch(json!({"spec": {"template": hidden}})).await;
    wanted.told = true;
    subject.shows("a fact is hidden", &wanted).await;
    subject.warned(subject.code);

    // What follows each of these shows that they were looked at.
    subject.scale(5).await;
    subject.replace("\"kamaji-etcd-certs\"", "\"renewed-certs\"").await;
    subject.annotate("suspend", Some("true")).await;
    wanted.suspended = true;
    subject.shows("suspended", &wanted).await;
    subject.annotate("suspend", None).await;
    wanted.suspended = false;
    subject.shows("resumed", &wanted).await;
    subject.scale(0).await;
    subject.shows("scaled to zero", &Shown { suspended: true, ..wanted.clone() }).await;
    subject.scale(5).await;
    subject.shows("scaled back from zero", &wanted).await;
    subject.annotate("schedule", Some("9 9 * * *")).await;
    wanted = Shown { schedule: "9 9 * * *".to_owned(), ..wanted };
    subject.shows("a setting was changed", &wanted).await;
    let forged = format!("{IN_FORCE}={}", forgeries(&subject.policy("first"))[0].1.as_ref().unwrap());
    subject.ns.run(&["annotate", "cronjob", CRONJOB, "--overwrite", &forged]);
    let restored = |cronjob: &Value| {
        cronjob["metadata"]["annotations"][IN_FORCE].as_str().is_some_and(|text| !text.contains("elsewhere"))
    };
    let live = subject.settles("a forgery was undone", restored, true).await;
    assert_eq!(Shown::of(&live, subject.code), wanted);

    subject.patch(json!({"spec": {"template": sound}})).await;
    (wanted.told, wanted.members) = (false, members(5));
    subject.shows("all facts can be read again", &wanted).await;
}

#[tokio::test]
async fn while_the_quota_is_hidden_no_fact_is_followed_but_what_pauses() {
    let world = asleep();
    let subject = Subject::new(world, "quota-hidden", "quota-unknown").await;
    let hide = |container: &mut Value| {
        container["command"].as_array_mut().unwrap().retain(|word| !word.as_str().unwrap().contains("--quota-backend"));
        let secret = json!({"secretKeyRef": {"name": "quota", "key": "bytes"}});
        let variable = json!({"name": "ETCD_QUOTA_BACKEND_BYTES", "valueFrom": secret});
        container["env"].as_array_mut().unwrap().push(variable);
    };
    keeps_all_facts(&subject, hide).await;
}

#[tokio::test]
async fn while_no_etcd_is_found_no_fact_is_followed_but_what_pauses() {
    let world = asleep();
    let subject = Subject::new(world, "etcd-hidden", "etcd-not-found").await;
    let hide = |container: &mut Value| *container = json!({"name": "web", "image": "nginx:1"});
    keeps_all_facts(&subject, hide).await;
}

#[tokio::test]
async fn whichever_fact_cannot_be_read_all_the_others_stay() {
    let world = asleep();
    let (subject, _) = Subject::made(world, "unreadable", "").await;
    let sound = json!({"spec": {"replicas": 3, "template": subject.template().await}});
    let with = |change: &dyn Fn(&mut Value)| {
        let mut template = sound["spec"]["template"].clone();
        change(&mut template["spec"]);
        json!({"spec": {"replicas": 5, "template": template}})
    };
    let annotated = |key: &str, value: &str| json!({"metadata": {"annotations": {format!("etcd-defrag.io/{key}"): value}}, "spec": {"replicas": 5}});
    let user = json!({"name": "ETCDCTL_USER", "value": "root:secret"});
    let elsewhere = json!(["etcd", "--config-file=/etc/etcd/etcd.yaml"]);
    for (code, change) in [
        ("value-invalid", annotated("client-port", "http")),
        ("quota-mismatch", annotated("quota", "3Gi")),
        ("secret-reference-invalid", annotated("username-secret", "root")),
        ("too-many-members", json!({"spec": {"replicas": 11}})),
        ("tls-secret-unknown", with(&|pod| pod["volumes"] = json!([{"name": "certs", "emptyDir": {}}]))),
        ("credentials-unknown", with(&|pod| pod["containers"][0]["env"].as_array_mut().unwrap().push(user.clone()))),
        ("endpoints-unknown", with(&|pod| pod["containers"][0]["command"] = elsewhere.clone())),
    ] {
        let look = |cronjob: &Value| Shown::of(cronjob, code);
        let mut wanted = Shown { told: true, ..Shown::good(8 * GIB) };
        subject.patch(change).await;
        subject.settles(code, look, wanted.clone()).await;
        subject.annotate("suspend", Some("true")).await;
        wanted.suspended = true;
        subject.settles(&format!("{code}, suspended"), look, wanted).await;
        for key in ["suspend", "client-port", "quota", "username-secret"] {
            subject.annotate(key, None).await;
        }
        subject.patch(sound.clone()).await;
        subject.settles(&format!("{code}, put right"), look, Shown::good(8 * GIB)).await;
    }
}

#[tokio::test]
async fn a_suspend_that_is_neither_true_nor_false_changes_nothing_and_stops_nothing() {
    let world = asleep();
    let subject = Subject::new(world, "suspend-unclear", "boolean-invalid").await;
    subject.make(&SETTINGS, 8 * GIB).await;
    subject.annotate("suspend", Some("true")).await;
    let mut wanted = Shown { suspended: true, ..Shown::good(8 * GIB) };
    subject.shows("suspended", &wanted).await;
    for (value, replicas) in [("no", 5), ("False", 3)] {
        subject.annotate("suspend", Some(value)).await;
        subject.scale(replicas).await;
        wanted = Shown { members: members(replicas), told: true, ..wanted };
        subject.shows("still suspended", &wanted).await;
    }
    subject.annotate("suspend", Some("false")).await;
    wanted = Shown { suspended: false, told: false, ..wanted };
    subject.shows("resumed", &wanted).await;
    for (value, replicas) in [("yes", 5), ("True", 3)] {
        subject.annotate("suspend", Some(value)).await;
        subject.scale(replicas).await;
        wanted = Shown { members: members(replicas), told: true, ..wanted };
        subject.shows("still not suspended", &wanted).await;
    }
}

#[tokio::test]
async fn a_suspend_that_the_policy_locks_is_the_policys_to_say() {
    let world = asleep();
    let (subject, mut wanted) = Subject::made(world, "suspend-locked", "key-locked").await;
    let locked = json!({"defaults": {"suspend": false}, "limits": {"lockedKeys": ["suspend"]}});
    subject.govern("first", round("second", locked));
    wanted.round = "second".to_owned();
    subject.shows("locked", &wanted).await;
    subject.annotate("suspend", Some("true")).await;
    subject.scale(5).await;
    wanted = Shown { members: members(5), told: true, ..wanted };
    subject.shows("asked for in vain", &wanted).await;
}

#[tokio::test]
async fn with_a_label_that_makes_no_sense_the_cronjob_stays_and_follows_its_etcd() {
    let world = asleep();
    let (subject, mut wanted) = Subject::made(world, "label", "enabled-invalid").await;
    subject.patch(json!({"metadata": {"labels": {"etcd-defrag.io/enabled": "perhaps"}}})).await;
    wanted.told = true;
    subject.shows("unclear", &wanted).await;
    subject.warned("enabled-invalid");
    follows_every_fact(&subject, wanted, 4 * GIB).await;
    let codes = subject.live().await.unwrap()["metadata"]["annotations"]["etcd-defrag.io/findings"].clone();
    assert_eq!(codes, "enabled-invalid");
}

#[tokio::test]
async fn where_nothing_was_ever_in_force_no_cronjob_is_made() {
    let world = asleep();
    let subject = Subject::new(world, "never", "annotation-unknown").await;
    subject.make(&[("shedule", "9 9 * * *")], 8 * GIB).await;
    subject.warned("annotation-unknown");
    subject.scale(5).await;
    subject.looked_at("other");
    assert_eq!(subject.live().await, None, "made from settings that are refused");
    subject.annotate("shedule", None).await;
    subject.settles("put right", |cronjob| cronjob["spec"]["suspend"] == false, true).await;

    // And one that was deleted meanwhile is not made again from them.
    subject.annotate("shedule", Some("9 9 * * *")).await;
    subject.settles("refused", |cronjob| Shown::of(cronjob, subject.code).told, true).await;
    subject.ns.run(&["delete", "cronjob", CRONJOB]);
    subject.looked_at("another");
    assert_eq!(subject.live().await, None, "made again while something is refused");
    subject.annotate("shedule", None).await;
    subject.settles("put right", |cronjob| cronjob["spec"]["suspend"] == false, true).await;
}

#[tokio::test]
async fn the_cronjob_of_defrag_sh_is_adopted_only_when_nothing_is_refused() {
    let world = asleep();
    let subject = Subject::new(world, "adopted-later", "annotation-unknown").await;
    subject.ns.accepts(&defrag_sh_cronjob(&subject.ns.name, NAME, "kamaji-etcd"));
    let theirs = subject.live().await.unwrap();
    subject.make(&[("shedule", "9 9 * * *")], 8 * GIB).await;
    subject.warned("annotation-unknown");
    subject.scale(5).await;
    subject.looked_at("other");
    assert_eq!(subject.live().await.unwrap()["metadata"]["resourceVersion"], theirs["metadata"]["resourceVersion"]);
    subject.annotate("shedule", None).await;
    let ours = |cronjob: &Value| cronjob["metadata"]["ownerReferences"][0]["kind"] == "StatefulSet";
    let adopted = subject.settles("put right", ours, true).await;
    assert_eq!(adopted["metadata"]["uid"], theirs["metadata"]["uid"]);
}
