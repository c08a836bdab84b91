//! What the rights in `deploy/manifests` let the process and people do, asked of the real API server.

use etcd_defrag_webhook::defrag::policy;

use super::{policies, support::SOON};
use harness::{ControlPlane, eventually};

const PROCESS: &str = "system:serviceaccount:etcd-defrag-system:etcd-defrag-webhook";

fn may(plane: &ControlPlane, user: &str, what: &[&str]) -> bool {
    let who = format!("--as={user}");
    let args = ["auth", "can-i", "-q", &who].into_iter().chain(what.iter().copied());
    plane.kubectl(args).status.success()
}

#[test]
fn the_process_reads_no_secret_writes_no_statefulset_and_people_edit_policies_by_their_role() {
    let plane = ControlPlane::start();
    plane.apply(include_str!("../../deploy/manifests/00-namespace.yaml"));
    plane.apply(include_str!("../../deploy/manifests/10-rbac.yaml"));
    plane.apply(&serde_json::to_string(&policy::crd()).unwrap());
    plane.wait_established("defragpolicies.etcd-defrag.io");

    let default: &[&str] = &["-n", "default"];
    for allowed in [
        "watch statefulsets.apps",
        "create cronjobs.batch",
        "patch cronjobs.batch --subresource=status",
        "watch jobs.batch",
        "create jobs.batch",
        "list pods",
        "list events",
    ] {
        let what: Vec<&str> = allowed.split(' ').chain(default.iter().copied()).collect();
        eventually(allowed, SOON, || may(&plane, PROCESS, &what).then_some(()));
    }
    for forbidden in [
        "get secrets",
        "list secrets",
        "watch secrets",
        "create statefulsets.apps",
        "update statefulsets.apps",
        "patch statefulsets.apps",
        "delete statefulsets.apps",
        "patch statefulsets.apps --subresource=status",
        "get pods",
        "create pods",
        "delete pods",
        "create pods --subresource=exec",
        "get pods --subresource=log",
        "get jobs.batch",
        "patch jobs.batch",
        "patch jobs.batch --subresource=status",
        "delete jobs.batch",
        "update cronjobs.batch",
        "get events",
        "watch events",
        "get events.events.k8s.io",
        "list events.events.k8s.io",
        "patch events.events.k8s.io",
        "get configmaps",
        "update leases.coordination.k8s.io",
        "create serviceaccounts --subresource=token",
        "create rolebindings.rbac.authorization.k8s.io",
    ] {
        let what: Vec<&str> = forbidden.split(' ').chain(default.iter().copied()).collect();
        assert!(!may(&plane, PROCESS, &what), "{forbidden}");
    }
    for forbidden in [
        "create defragpolicies.etcd-defrag.io",
        "patch defragpolicies.etcd-defrag.io",
        "delete defragpolicies.etcd-defrag.io",
        "get defragpolicies.etcd-defrag.io",
        "get namespaces",
        "patch namespaces",
        "escalate clusterroles.rbac.authorization.k8s.io",
        "patch validatingwebhookconfigurations.admissionregistration.k8s.io",
    ] {
        assert!(!may(&plane, PROCESS, &forbidden.split(' ').collect::<Vec<_>>()), "{forbidden}");
    }
    // What ends at a name, in its own namespace.
    let own = &["-n", "etcd-defrag-system"];
    for (allowed, what) in [
        (true, "update leases.coordination.k8s.io/etcd-defrag-webhook"),
        (true, "create leases.coordination.k8s.io"),
        (true, "update secrets/etcd-defrag-webhook-tls"),
        (false, "update leases.coordination.k8s.io/other"),
        (false, "delete leases.coordination.k8s.io/etcd-defrag-webhook"),
        (false, "list leases.coordination.k8s.io"),
        (false, "get secrets"),
        (false, "get secrets/etcd-defrag-webhook-tls"),
        (false, "update secrets/other"),
        (false, "create cronjobs.batch --subresource=status"),
    ] {
        let what: Vec<&str> = what.split(' ').chain(own.iter().copied()).collect();
        eventually(&format!("{allowed}: {what:?}"), SOON, || (may(&plane, PROCESS, &what) == allowed).then_some(()));
    }
    people_edit_policies_by_their_role(&plane);
}

fn people_edit_policies_by_their_role(plane: &ControlPlane) {
    for role in ["view", "edit", "admin"] {
        let (name, who) = (format!("people-{role}"), format!("--user={role}or"));
        plane.kubectl_ok(&["create", "clusterrolebinding", &name, &format!("--clusterrole={role}"), &who]);
    }
    let policies = "defragpolicies.etcd-defrag.io";
    // The controller manager adds our roles to theirs a moment later.
    eventually("the roles to be aggregated", SOON, || {
        may(plane, "adminor", &["deletecollection", policies]).then_some(())
    });
    for (user, verbs, others) in [
        ("viewor", &["get", "list", "watch"][..], &["create", "patch", "delete", "deletecollection"][..]),
        ("editor", &["get", "watch", "create", "update", "patch", "delete"], &["deletecollection"]),
        ("adminor", &["get", "create", "delete", "deletecollection"], &[]),
        ("nobody", &[], &["get", "list", "create"]),
    ] {
        assert!(verbs.iter().all(|verb| may(plane, user, &[verb, policies])), "{user}");
        assert!(!others.iter().any(|verb| may(plane, user, &[verb, policies])), "{user}");
    }
    // Whose right it is, not only what is said of it.
    let written = policies::manifest("p", &serde_json::json!({}));
    for (user, accepted) in [("viewor", false), ("editor", true)] {
        let who = format!("--as={user}");
        let output = plane.kubectl_stdin(["create", "--dry-run=server", &who, "-f", "-"], &written);
        assert_eq!(output.status.success(), accepted, "{user}: {}", String::from_utf8_lossy(&output.stderr));
    }
}
