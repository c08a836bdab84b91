//! What the API server accepts and refuses with the webhooks registered.

use k8s_openapi::api::apps::v1::StatefulSet;
use kube::{Api, api::PostParams};
use serde_json::{Value, json};

use super::support::{SOON, etcd, namespace, stderr, unlabelled, world};
use harness::{client, eventually};

#[test]
fn a_sound_etcd_is_accepted_and_told_what_is_in_force() {
    let world = world();
    let ns = namespace(&world.plane, "sound");
    let said = ns.accepts(&etcd(&ns.name, "kamaji-etcd", &[]));
    assert!(said.contains("Warning: etcd-defrag: next runs "), "{said}");
    assert!(said.contains("quota 8 GiB"), "{said}");
    let live = ns.get("statefulset", "kamaji-etcd").unwrap();
    assert_eq!(live["metadata"]["annotations"]["etcd-defrag.io/schedule"], "0 0 * * *");
    assert_eq!(live["metadata"]["annotations"]["etcd-defrag.io/defaulted"], "schedule,rule");
}

#[test]
fn every_harmful_setting_is_refused_in_one_go() {
    let world = world();
    let ns = namespace(&world.plane, "harmful");
    let said = ns.rejects(&etcd(
        &ns.name,
        "kamaji-etcd",
        &[
            ("schedule", "0 0 31 2 *"),
            ("command-timeout", "5s"),
            ("shedule", "0 0 * * *"),
            ("rule", "dbQuotaUsage > 80/100"),
        ],
    ));
    for code in
        ["etcd-defrag.io/schedule", "etcd-defrag.io/command-timeout", "etcd-defrag.io/shedule", "etcd-defrag.io/rule"]
    {
        assert!(said.contains(code), "{code} is missing in: {said}");
    }
    assert!(ns.get("statefulset", "kamaji-etcd").is_none());
}

#[tokio::test]
async fn a_refusal_is_a_422_with_a_cause_for_each_finding() {
    let world = world();
    let ns = namespace(&world.plane, "causes");
    let object = etcd(&ns.name, "kamaji-etcd", &[("schedule", "* * * * *"), ("suspend", "yes")]);
    let object: StatefulSet = serde_json::from_value(object).unwrap();
    let api = Api::<StatefulSet>::namespaced(client(world.plane.kubeconfig()).await, &ns.name);
    let Err(kube::Error::Api(status)) = api.create(&PostParams::default(), &object).await else {
        panic!("it was not refused");
    };
    assert_eq!((status.code, status.reason.as_str()), (422, "Invalid"));
    let fields: Vec<String> =
        status.details.iter().flat_map(|details| &details.causes).map(|cause| cause.field.clone()).collect();
    assert_eq!(
        fields,
        ["metadata.annotations[etcd-defrag.io/suspend]", "metadata.annotations[etcd-defrag.io/schedule]"]
    );
}

#[test]
fn annotate_is_judged_and_an_unchanged_object_is_not_touched_by_a_refusal() {
    let world = world();
    let ns = namespace(&world.plane, "annotate");
    ns.accepts(&etcd(&ns.name, "e", &[]));
    ns.run(&["annotate", "statefulset", "e", "etcd-defrag.io/schedule=15 3 * * *", "--overwrite"]);
    let live = ns.get("statefulset", "e").unwrap();
    assert_eq!(live["metadata"]["annotations"]["etcd-defrag.io/defaulted"], "rule");
    ns.cronjob_that("e", "follow the annotation", |cronjob| cronjob["spec"]["schedule"] == "15 3 * * *");
    let said = ns.refused(&["annotate", "statefulset", "e", "etcd-defrag.io/schedule=0 0 * * 7", "--overwrite"]);
    assert!(said.contains("0 0 * * 0"), "the refusal suggests no cure: {said}");
    assert_eq!(ns.get("statefulset", "e").unwrap()["metadata"]["annotations"]["etcd-defrag.io/schedule"], "15 3 * * *");
    ns.run(&["annotate", "statefulset", "e", "etcd-defrag.io/schedule-"]);
    let live = ns.get("statefulset", "e").unwrap();
    assert_eq!(live["metadata"]["annotations"]["etcd-defrag.io/schedule"], "0 0 * * *");
}

#[test]
fn an_annotation_cannot_be_changed_unjudged_through_the_status() {
    let world = world();
    let ns = namespace(&world.plane, "status");
    ns.accepts(&etcd(&ns.name, "e", &[]));
    ns.cronjob("e");
    let patch = r#"{"metadata":{"annotations":{"etcd-defrag.io/schedule":"* * * * *"}}}"#;
    let said = ns.refused(&["patch", "statefulset", "e", "--subresource=status", "--type=merge", "-p", patch]);
    assert!(said.contains("metadata.annotations[etcd-defrag.io/schedule]"), "{said}");
    let mut live = ns.get("statefulset", "e").unwrap();
    live["metadata"]["annotations"]["etcd-defrag.io/schedule"] = json!("* * * * *");
    let output = ns.plane.kubectl_stdin(["replace", "--subresource=status", "-f", "-"], &live.to_string());
    assert!(!output.status.success(), "a PUT to the status slipped an annotation in");
    assert_eq!(ns.get("statefulset", "e").unwrap()["metadata"]["annotations"]["etcd-defrag.io/schedule"], "0 0 * * *");
    let through_status = |patch| {
        let patched = ns.kubectl(&["patch", "statefulset", "e", "--subresource=status", "--type=merge", "-p", patch]);
        assert!(patched.status.success(), "{}", stderr(&patched));
        stderr(&patched)
    };
    // A value of the policy's does not become somebody's that way, and nobody is left to believe it.
    let said = through_status(r#"{"metadata":{"annotations":{"etcd-defrag.io/schedule":"15 3 * * *"}}}"#);
    assert!(said.contains("schedule keeps following the policy: set it on the StatefulSet"), "{said}");
    assert_eq!(ns.get("cronjob", "e-defrag-job").unwrap()["spec"]["schedule"], "0 0 * * *");
    assert_eq!(through_status(r#"{"status":{"replicas":3}}"#), "");
}

#[test]
fn secrets_and_addresses_are_not_chosen_through_the_status() {
    let world = world();
    let ns = namespace(&world.plane, "access");
    ns.accepts(&etcd(&ns.name, "e", &[("client-secret", "kamaji-etcd-root-client-certs")]));
    let through = |sub: Option<&str>, annotations: Value, labels: Value| {
        let patch = json!({"metadata": {"annotations": annotations, "labels": labels}}).to_string();
        let mut args = vec!["patch", "statefulset", "e", "--type=merge", "-p", &patch];
        args.extend(sub);
        ns.kubectl(&args)
    };
    let status = Some("--subresource=status");
    let stolen = json!({"etcd-defrag.io/username-secret": "other:user,password",
        "etcd-defrag.io/endpoints": "http://attacker.example:2379"});
    let refused = through(status, stolen.clone(), json!({}));
    assert!(!refused.status.success());
    insta::assert_snapshot!(stderr(&refused).replace(&ns.name, "NAMESPACE"));

    // Neither is the way round: first the annotations while it is not enrolled, then the label, by whomever.
    let enabled = |value: &str| json!({"etcd-defrag.io/enabled": value});
    assert!(through(status, json!({}), enabled("false")).status.success());
    let planted = through(status, json!({"etcd-defrag.io/client-secret": "other"}), json!({}));
    assert!(stderr(&planted).contains("[access-through-status]"), "{}", stderr(&planted));
    let refused = through(status, json!({}), enabled("true"));
    assert!(stderr(&refused).contains("[access-through-status]"), "{}", stderr(&refused));
    assert!(
        through(None, json!({"etcd-defrag.io/client-secret": "kamaji-etcd-root-client-certs"}), json!({}))
            .status
            .success()
    );
    assert!(through(None, json!({}), enabled("true")).status.success());

    // Everything else goes through: what stands, what is taken away, any other key, and the object itself.
    eventually("a status to be replaced that nobody wrote meanwhile", SOON, || {
        let mut live = ns.get("statefulset", "e")?;
        live["metadata"]["annotations"]["etcd-defrag.io/defrag-now"] = json!("please");
        let output = ns.plane.kubectl_stdin(["replace", "--subresource=status", "-f", "-"], &live.to_string());
        assert!(output.status.success() || stderr(&output).contains("Conflict"), "{}", stderr(&output));
        output.status.success().then_some(())
    });
    let suspend = through(status, json!({"etcd-defrag.io/suspend": "true"}), json!({}));
    assert!(suspend.status.success(), "{}", stderr(&suspend));
    let gone = through(status, json!({"etcd-defrag.io/client-secret": null}), json!({}));
    assert!(gone.status.success(), "{}", stderr(&gone));
    let itself = through(None, json!({"etcd-defrag.io/client-secret": "kamaji-etcd-root-client-certs"}), json!({}));
    assert!(itself.status.success(), "{}", stderr(&itself));
}

#[test]
fn dry_run_judges_and_writes_nothing() {
    let world = world();
    let ns = namespace(&world.plane, "dry");
    let args = ["apply", "--dry-run=server", "-f", "-"];
    let sound = ns.plane.kubectl_stdin(args, &etcd(&ns.name, "e", &[]).to_string());
    assert!(sound.status.success(), "{}", super::support::stderr(&sound));
    let harmful = ns.plane.kubectl_stdin(args, &etcd(&ns.name, "e", &[("schedule", "@reboot")]).to_string());
    assert!(!harmful.status.success());
    assert!(ns.get("statefulset", "e").is_none());
    assert!(ns.get("cronjob", "e-defrag-job").is_none());
}

#[test]
fn two_managers_apply_server_side_without_conflict() {
    let world = world();
    let ns = namespace(&world.plane, "ssa");
    let apply = |object: &serde_json::Value, manager: &str| {
        let manager = format!("--field-manager={manager}");
        let args = ["apply", "--server-side", &manager, "-f", "-"];
        let output = ns.plane.kubectl_stdin(args, &object.to_string());
        assert!(output.status.success(), "{manager}: {}", super::support::stderr(&output));
    };
    apply(&etcd(&ns.name, "e", &[]), "gitops");
    let tuning = json!({
        "apiVersion": "apps/v1", "kind": "StatefulSet",
        "metadata": {"name": "e", "namespace": ns.name, "annotations": {"etcd-defrag.io/schedule": "7 7 * * *"}},
    });
    apply(&tuning, "platform");
    apply(&etcd(&ns.name, "e", &[]), "gitops");
    apply(&tuning, "platform");
    let live = ns.get("statefulset", "e").unwrap();
    assert_eq!(live["metadata"]["annotations"]["etcd-defrag.io/schedule"], "7 7 * * *");
    ns.cronjob_that("e", "follow the second manager", |cronjob| cronjob["spec"]["schedule"] == "7 7 * * *");
}

#[test]
fn an_etcd_without_the_label_is_none_of_our_business() {
    let world = world();
    let ns = namespace(&world.plane, "foreign");
    let mark = ns.plane.audit_mark();
    ns.accepts(&unlabelled(etcd(&ns.name, "e", &[("schedule", "nonsense")])));
    let said = ns.refused(&["label", "statefulset", "e", "etcd-defrag.io/enabled=true"]);
    assert!(said.contains("etcd-defrag.io/schedule"), "{said}");
    ns.run(&["annotate", "statefulset", "e", "etcd-defrag.io/schedule-"]);
    let said = ns.refused(&["label", "statefulset", "e", "etcd-defrag.io/enabled=yes"]);
    assert!(said.contains("\"true\" or \"false\"") || said.contains("\"true\" nor \"false\""), "{said}");
    ns.run(&["label", "statefulset", "e", "etcd-defrag.io/enabled=true"]);
    ns.cronjob("e");
    assert!(ns.plane.audit_since(mark).in_namespace(&ns.name).writes().count(|event| event.resource == "cronjobs") > 0);
}

#[test]
fn the_ratchet_lets_a_violating_object_get_better_but_not_worse() {
    let world = world();
    let ns = namespace(&world.plane, "ratchet");
    let mut object = etcd(&ns.name, "e", &[]);
    ns.accepts(&object);
    // A rescue may shrink the members' disks on paper: the change itself is nobody's business but the owner's.
    object["spec"]["template"]["spec"]["containers"][0]["image"] = json!("quay.io/coreos/etcd:v3.5.5");
    let said = ns.accepts(&object);
    assert!(said.contains("etcd-version-unsafe"), "the edit was not warned about: {said}");
    ns.run(&["annotate", "statefulset", "e", "etcd-defrag.io/schedule=15 3 * * *", "--overwrite"]);
    let said = ns.refused(&["annotate", "statefulset", "e", "etcd-defrag.io/schedule=* * * * *", "--overwrite"]);
    assert!(said.contains("etcd-defrag.io/schedule") && !said.contains("3.5.5"), "{said}");
}
