use serde_json::{Value, json};

use super::*;
use crate::defrag::{assess, keys::PREFIX, statefulset::StatefulSet};

fn kamaji() -> Value {
    serde_saphyr::from_str(include_str!("../../../examples/kamaji-etcd.yaml")).unwrap()
}

fn annotate(mut object: Value, annotations: &[(&str, &str)]) -> Value {
    for (key, value) in annotations {
        object["metadata"]["annotations"][format!("{PREFIX}{key}")] = json!(value);
    }
    object
}

fn cronjob(object: Value) -> CronJob {
    let object: StatefulSet = serde_json::from_value(object).unwrap();
    built_under(&object, Policy::built_in())
}

fn built_under(object: &StatefulSet, policy: Policy) -> CronJob {
    let now = "2026-11-24T00:00:00Z".parse().unwrap();
    let assessment = assess(object, &Governing::of(policy), &Surroundings::nothing(), now);
    assessment.cronjob().cloned().unwrap_or_else(|| panic!("{:#?}", assessment.findings))
}

fn spec(object: Value) -> Value {
    serde_json::to_value(cronjob(object).spec).unwrap()
}

#[test]
fn a_kamaji_etcd_gets_this_cronjob() {
    let mut object = kamaji();
    object["metadata"]["uid"] = json!("7d0a8a0e-0000-4000-8000-000000000001");
    insta::assert_snapshot!(serde_saphyr::to_string(&cronjob(object)).unwrap());
}

#[test]
fn settings_reach_the_engine_and_the_schedule() {
    let object = annotate(
        kamaji(),
        &[
            ("schedule", "14 9 * * 1-5"),
            ("time-zone", "Europe/Rome"),
            ("free-above", "1Gi"),
            ("auto-disalarm", "true"),
            ("disalarm-below", "85%"),
            ("move-leader", "false"),
            ("wait-between-members", "1m"),
            ("command-timeout", "10m"),
            ("username-secret", "root:user,pass"),
        ],
    );
    insta::assert_snapshot!(serde_saphyr::to_string(&cronjob(object)).unwrap());
}

#[test]
fn an_owner_is_named_only_where_its_uid_is_known() {
    assert_eq!(cronjob(kamaji()).metadata.owner_references, None);
}

/// What an upgrade does not change it does not write, and leaders of two versions agree where both want the same.
#[test]
fn nothing_in_it_names_the_version_of_the_program() {
    let text = serde_json::to_string(&cronjob(kamaji())).unwrap();
    assert!(!text.contains(env!("CARGO_PKG_VERSION")), "{text}");
}

#[test]
fn no_members_or_a_pause_suspend() {
    assert_eq!(spec(kamaji())["suspend"], json!(false));
    assert_eq!(spec(annotate(kamaji(), &[("suspend", "true")]))["suspend"], json!(true));
    let mut none = kamaji();
    none["spec"]["replicas"] = json!(0);
    assert_eq!(spec(none)["suspend"], json!(true));
}

#[test]
fn the_deadline_leaves_room_for_every_member() {
    let object = annotate(kamaji(), &[("command-timeout", "10m"), ("wait-between-members", "1m")]);
    let deadline = spec(object)["jobTemplate"]["spec"]["activeDeadlineSeconds"].as_u64().unwrap();
    assert!(deadline > 3 * (600 + 60), "{deadline}");
}

#[test]
fn a_policy_shapes_the_job_and_the_pod_stays_restricted() {
    let object: crate::defrag::policy::DefragPolicy = serde_json::from_value(json!({
        "apiVersion": "etcd-defrag.io/v1alpha1", "kind": "DefragPolicy", "metadata": {"name": "p"},
        "spec": {"job": {
            "image": "registry.example/etcd-defrag:v0.42.0@sha256:0000000000000000000000000000000000000000000000000000000000000000",
            "imagePullPolicy": "Always",
            "imagePullSecrets": [{"name": "pull"}],
            "serviceAccountName": "defrag",
            "resources": {"requests": {"cpu": "0.1", "memory": "1024Ki"}},
            "nodeSelector": {"pool": "system"},
            "tolerations": [{"key": "system", "operator": "Exists", "effect": "NoSchedule"}],
            "affinity": {"nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": {"nodeSelectorTerms": [
                {"matchExpressions": [{"key": "zone", "operator": "In", "values": ["a"]}]},
            ]}}},
            "topologySpreadConstraints": [{"maxSkew": 1, "topologyKey": "zone", "whenUnsatisfiable": "ScheduleAnyway"}],
            "priorityClassName": "low",
            "runtimeClassName": "gvisor",
            "podLabels": {"team": "platform", "app.kubernetes.io/managed-by": "somebody-else"},
            "podAnnotations": {
                "note": "x", "linkerd.io/inject": "enabled",
                "container.apparmor.security.beta.kubernetes.io/etcd-defrag": "unconfined",
            },
            "successfulJobsHistoryLimit": 1,
            "failedJobsHistoryLimit": 5,
            "ttlSecondsAfterFinished": 60,
            "startingDeadlineSeconds": 120,
            "deadlineSlackSeconds": 900,
        }},
    }))
    .unwrap();
    let compiled = crate::defrag::policy::compile(&object, "2026-11-24T00:00:00Z".parse().unwrap());
    assert_eq!(compiled.findings, []);
    let etcd: StatefulSet = serde_json::from_value(kamaji()).unwrap();
    let built = built_under(&etcd, (*compiled.policy).clone());
    insta::assert_snapshot!(serde_saphyr::to_string(&built).unwrap());
}

/// OpenShift assigns the numbers, and refuses a pod that asks for others; `runAsNonRoot` alone is what "restricted" asks for.
#[test]
fn a_platform_may_say_who_the_pod_runs_as() {
    let etcd: StatefulSet = serde_json::from_value(kamaji()).unwrap();
    let context = |job: Value| {
        let object = json!({"apiVersion": "etcd-defrag.io/v1alpha1", "kind": "DefragPolicy", "metadata": {"name": "p"},
            "spec": {"job": job}});
        let object: crate::defrag::policy::DefragPolicy = serde_json::from_value(object).unwrap();
        let compiled = crate::defrag::policy::compile(&object, "2026-11-24T00:00:00Z".parse().unwrap());
        assert_eq!(compiled.findings, []);
        let built = serde_json::to_value(built_under(&etcd, (*compiled.policy).clone())).unwrap();
        built["spec"]["jobTemplate"]["spec"]["template"]["spec"]["securityContext"].clone()
    };
    let seccomp = json!({"type": "RuntimeDefault"});
    let fixed = json!({"fsGroup": 65532, "runAsGroup": 65532, "runAsNonRoot": true, "runAsUser": 65532, "seccompProfile": seccomp});
    assert_eq!(context(json!({})), fixed);
    assert_eq!(context(json!({"securityContext": "Fixed"})), fixed);
    assert_eq!(
        context(json!({"securityContext": "Platform"})),
        json!({"runAsNonRoot": true, "seccompProfile": seccomp})
    );
}

/// Native sidecars end with the Job; whether there is one is left to the mesh and to the policy.
#[test]
fn a_policy_may_let_the_pod_join_a_mesh() {
    let etcd: StatefulSet = serde_json::from_value(kamaji()).unwrap();
    let meta = |mesh: &str| {
        let keys =
            json!({"linkerd.io/inject": "enabled", "config.beta.linkerd.io/proxy-enable-native-sidecar": "true"});
        let object = json!({"apiVersion": "etcd-defrag.io/v1alpha1", "kind": "DefragPolicy", "metadata": {"name": "p"},
            "spec": {"job": {"mesh": mesh, "podLabels": {"sidecar.istio.io/inject": "true"}, "podAnnotations": keys}}});
        let object: crate::defrag::policy::DefragPolicy = serde_json::from_value(object).unwrap();
        let compiled = crate::defrag::policy::compile(&object, "2026-11-24T00:00:00Z".parse().unwrap());
        assert_eq!(compiled.findings, []);
        let built = serde_json::to_value(built_under(&etcd, (*compiled.policy).clone())).unwrap();
        let meta = &built["spec"]["jobTemplate"]["spec"]["template"]["metadata"];
        (meta["labels"]["sidecar.istio.io/inject"].clone(), meta["annotations"].clone())
    };
    let native = "config.beta.linkerd.io/proxy-enable-native-sidecar";
    assert_eq!(meta("Join"), (json!("true"), json!({"linkerd.io/inject": "enabled", native: "true"})));
    // The definition refuses these keys here; a policy that never saw it must not add a sidecar either.
    let excluded = json!({"linkerd.io/inject": "disabled", "sidecar.istio.io/inject": "false", native: "true"});
    assert_eq!(meta("Exclude"), (json!("false"), excluded));
}

#[test]
fn names_fit_and_do_not_collide() {
    assert_eq!(name("kamaji-etcd"), "kamaji-etcd-defrag-job");
    let exact = "a".repeat(NAME_LIMIT - SUFFIX.len());
    assert_eq!(name(&exact), format!("{exact}{SUFFIX}"));
    let long: Vec<String> = ["a", "b"].iter().map(|end| name(&format!("{}{end}", "x".repeat(60)))).collect();
    assert_ne!(long[0], long[1]);
    for name in long {
        assert!(name.len() <= NAME_LIMIT && name.ends_with(SUFFIX), "{name}");
    }
    assert!(!name(&format!("{}-{}", "x".repeat(30), "y".repeat(60))).contains("--"));
}

#[test]
fn the_built_in_engine_runs_our_own_image_with_the_same_arguments() {
    let object: StatefulSet = serde_json::from_value(kamaji()).unwrap();
    let mut policy = Policy::built_in();
    policy.job.shape.engine = Engine::BuiltIn;
    let built = |policy: &Policy, around: &Surroundings<'_>| {
        let now = "2026-11-24T00:00:00Z".parse().unwrap();
        let assessment = assess(&object, &Governing::of(policy.clone()), around, now);
        assessment.cronjob().cloned().unwrap_or_else(|| panic!("{:#?}", assessment.findings))
    };
    let container = |cronjob: &CronJob| {
        let job = cronjob.spec.job_template.spec.clone().unwrap();
        job.template.spec.unwrap().containers.into_iter().next().unwrap()
    };
    let nothing = Surroundings::nothing();
    let theirs = container(&built_under(&object, Policy::built_in())).args.unwrap();
    let cronjob = built(&policy, &nothing);
    let mut ours = container(&cronjob).args.unwrap();
    assert_eq!(ours.remove(0), "defrag");
    let deadline = ours.pop().unwrap();
    assert_eq!(ours, theirs);
    // The Job's own deadline without half of the slack of 5 minutes.
    let job = cronjob.spec.job_template.spec.as_ref().unwrap().active_deadline_seconds.unwrap();
    let expected = Duration::from_secs(u64::try_from(job).unwrap() - 150);
    assert_eq!(deadline, format!("--deadline={}", duration::format_go(expected)));

    // Our own image is the one that is known, and is kept by whoever does not know it; a policy may name another one.
    let image = |policy: &Policy, around: &Surroundings<'_>| container(&built(policy, around)).image.unwrap();
    assert_eq!(image(&policy, &nothing), OWN_IMAGE);
    let known = Surroundings { own_image: Some("mirror/us@sha256:00"), ..nothing };
    assert_eq!(image(&policy, &known), "mirror/us@sha256:00");
    let mut live = built(&policy, &known);
    live.metadata.uid = Some("uid".to_owned());
    let live = [Live::of(live).unwrap()];
    assert_eq!(live[0].own_image.as_deref(), Some("mirror/us@sha256:00"));
    let mut mirrored = policy.clone();
    mirrored.job.shape.image = Some("mirror/us:1".to_owned());
    assert_eq!(image(&mirrored, &known), "mirror/us:1");
    mirrored.job.shape.image = Some("mirror/ahrtr/etcd-defrag:v0.30.0".to_owned());
    assert_eq!(image(&mirrored, &known), "mirror/us@sha256:00");
    assert_eq!(image(&Policy::built_in(), &known), engine::IMAGE);
}
