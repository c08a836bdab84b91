//! A platform that assigns users and groups, as OpenShift does it: pods that ask for numbers of their own are refused there.

use std::{process::Command, time::Duration};

use serde_json::{Value, json};

use super::support::{NAMESPACE, RELEASE, find, render};
use harness::{ControlPlane, binary, eventually};

/// The first number of the namespace's range.
const ASSIGNED: i64 = 1_000_650_000;

/// What OpenShift's "restricted-v2" does to a pod, in CEL: numbers that are missing are assigned, others are refused.
const PLATFORM: &str = r#"
apiVersion: admissionregistration.k8s.io/v1
kind: MutatingAdmissionPolicy
metadata: {name: assign}
spec:
  failurePolicy: Fail
  reinvocationPolicy: Never
  matchConstraints:
    resourceRules: [{apiGroups: [""], apiVersions: [v1], operations: [CREATE], resources: [pods]}]
  mutations:
    - patchType: ApplyConfiguration
      applyConfiguration:
        expression: >-
          Object{spec: Object.spec{securityContext: Object.spec.securityContext{
            runAsUser: object.spec.?securityContext.?runAsUser.orValue(1000650000),
            fsGroup: object.spec.?securityContext.?fsGroup.orValue(1000650000)}}}
---
apiVersion: admissionregistration.k8s.io/v1
kind: MutatingAdmissionPolicyBinding
metadata: {name: assign}
spec:
  policyName: assign
  matchResources: {namespaceSelector: {matchLabels: {platform: assigns}}}
---
apiVersion: admissionregistration.k8s.io/v1
kind: ValidatingAdmissionPolicy
metadata: {name: assigned}
spec:
  failurePolicy: Fail
  matchConstraints:
    resourceRules: [{apiGroups: [""], apiVersions: [v1], operations: [CREATE], resources: [pods]}]
  validations:
    - expression: >-
        [object.spec.?securityContext.?runAsUser, object.spec.?securityContext.?fsGroup].all(number, number.orValue(0) == 1000650000)
        && object.spec.?securityContext.?runAsGroup.orValue(1000650000) == 1000650000
      message: numbers have to be those of the namespace
---
apiVersion: admissionregistration.k8s.io/v1
kind: ValidatingAdmissionPolicyBinding
metadata: {name: assigned}
spec:
  policyName: assigned
  validationActions: [Deny]
  matchResources: {namespaceSelector: {matchLabels: {platform: assigns}}}
"#;

/// The pod that a template makes, in the chart's namespace.
fn pod(name: &str, template: &Value) -> Value {
    let mut spec = template["spec"].clone();
    // The account is not what this is about.
    spec.as_object_mut().unwrap().remove("serviceAccountName");
    json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name, "namespace": NAMESPACE}, "spec": spec})
}

/// The pods of the chart with these values: those of the Deployment, and that of `helm test`.
fn pods_of_chart(values: &str) -> Vec<Value> {
    let rendered = render(values);
    let deployment = find(&rendered, &format!("Deployment {RELEASE}"));
    let test = find(&rendered, &format!("Pod {RELEASE}-test"));
    vec![pod("webhook", &deployment["spec"]["template"]), pod("test", test)]
}

/// The pod of a run under a policy with this `job`.
fn pod_of_run(job: &str) -> Value {
    let dir = tempfile::tempdir().unwrap();
    let policy = dir.path().join("policy.yaml");
    let text = format!(
        "apiVersion: etcd-defrag.io/v1alpha1\nkind: DefragPolicy\nmetadata: {{name: p}}\nspec: {{job: {job}}}\n"
    );
    std::fs::write(&policy, text).unwrap();
    let example = concat!(env!("CARGO_MANIFEST_DIR"), "/examples/kamaji-etcd.yaml");
    let output = Command::new(binary()).args(["render", "-o", "json", "-f", example, "--policy"]).arg(&policy).output();
    let list: Value = serde_json::from_slice(&output.unwrap().stdout).unwrap();
    let cronjob = list["items"].as_array().unwrap().iter().find(|object| object["kind"] == "CronJob").unwrap();
    pod("run", &cronjob["spec"]["jobTemplate"]["spec"]["template"])
}

#[test]
fn a_platform_that_assigns_users_takes_the_pods_that_leave_it_to_it() {
    let plane = ControlPlane::start();
    plane.apply(include_str!("../../deploy/manifests/00-namespace.yaml"));
    plane.kubectl_ok(&["label", "namespace", NAMESPACE, "platform=assigns"]);
    plane.apply(PLATFORM);
    let create = |pod: &Value| {
        let output = plane.kubectl_stdin(["create", "--dry-run=server", "-o", "json", "-f", "-"], &pod.to_string());
        match serde_json::from_slice::<Value>(&output.stdout) {
            Ok(made) => Ok(made["spec"]["securityContext"].clone()),
            Err(_) => Err(String::from_utf8_lossy(&output.stderr).into_owned()),
        }
    };
    let mut fixed = pods_of_chart("");
    fixed.push(pod_of_run("{}"));
    // Policies of the API server take effect after a moment.
    eventually("the platform to refuse", Duration::from_mins(1), || create(&fixed[0]).err());
    for pod in &fixed {
        let said = create(pod).unwrap_err();
        assert!(said.contains("numbers have to be those of the namespace"), "{}: {said}", pod["metadata"]["name"]);
    }
    let mut left = pods_of_chart("podSecurityContext: {runAsUser: null, runAsGroup: null, fsGroup: null}");
    left.push(pod_of_run("{securityContext: Platform}"));
    for pod in &left {
        // The namespace enforces Pod Security "restricted" besides.
        let context = create(pod).unwrap_or_else(|said| panic!("{}: {said}", pod["metadata"]["name"]));
        let numbers = json!([context["runAsUser"], context["fsGroup"], context["runAsNonRoot"]]);
        assert_eq!(numbers, json!([ASSIGNED, ASSIGNED, true]), "{}", pod["metadata"]["name"]);
    }
}
