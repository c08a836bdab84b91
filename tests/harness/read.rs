//! Reading objects without a `kubectl` for each look: that costs a tenth of a second of processor time, and most of what tests do
//! is to look again.

use std::{
    path::Path,
    sync::{LazyLock, OnceLock, mpsc},
    time::Duration,
};

use kube::Client;
use serde_json::Value;
use tokio::runtime::{Builder, Runtime};

/// It outlives every test, so none of them has to end it.
static RUNTIME: LazyLock<Runtime> = LazyLock::new(|| {
    Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap_or_else(|error| panic!("{error}"))
});

/// How long an answer may take.
const PATIENCE: Duration = Duration::from_secs(60);

/// Kinds by the names that `kubectl` takes for them, with their place in the API and the name there.
const KINDS: [(&[&str], &str, &str, bool); 14] = [
    (&["cronjob", "cronjobs"], "apis/batch/v1", "cronjobs", true),
    (&["job", "jobs"], "apis/batch/v1", "jobs", true),
    (&["statefulset", "statefulsets"], "apis/apps/v1", "statefulsets", true),
    (&["pod", "pods"], "api/v1", "pods", true),
    (&["secret", "secrets"], "api/v1", "secrets", true),
    (&["events.events.k8s.io"], "apis/events.k8s.io/v1", "events", true),
    (&["lease", "leases"], "apis/coordination.k8s.io/v1", "leases", true),
    (&["namespace", "namespaces"], "api/v1", "namespaces", false),
    (&["crd"], "apis/apiextensions.k8s.io/v1", "customresourcedefinitions", false),
    (&["defragpolicy"], "apis/etcd-defrag.io/v1alpha1", "defragpolicies", false),
    (&["policyreports.wgpolicyk8s.io"], "apis/wgpolicyk8s.io/v1alpha2", "policyreports", true),
    (&["reports.openreports.io"], "apis/openreports.io/v1alpha1", "reports", true),
    (
        &["validatingwebhookconfiguration"],
        "apis/admissionregistration.k8s.io/v1",
        "validatingwebhookconfigurations",
        false,
    ),
    (&["mutatingwebhookconfiguration"], "apis/admissionregistration.k8s.io/v1", "mutatingwebhookconfigurations", false),
];

/// The path in the API of what `kubectl get` is asked for; `None` for what only it understands.
pub(super) fn path(args: &[&str]) -> Option<String> {
    let (mut namespace, mut selector, mut everywhere, mut names) = (None, None, false, Vec::new());
    let mut args = args.iter();
    while let Some(&arg) = args.next() {
        match arg {
            "-n" => namespace = Some(*args.next()?),
            "-l" => selector = Some(*args.next()?),
            "-A" => everywhere = true,
            _ if arg.starts_with('-') => return None,
            _ => names.push(arg),
        }
    }
    let (kind, name) = match names[..] {
        [kind] => (kind, None),
        [kind, name] => (kind, Some(name)),
        _ => return None,
    };
    let (_, api, plural, namespaced) = KINDS.iter().find(|(names, ..)| names.contains(&kind))?;
    let mut path = format!("/{api}/");
    if *namespaced && !everywhere {
        path += &format!("namespaces/{}/", namespace.unwrap_or("default"));
    }
    path += plural;
    if let Some(name) = name {
        path += &format!("/{name}");
    }
    if let Some(selector) = selector {
        // Of what a selector may hold, only these mean something in a query.
        path += &format!("?labelSelector={}", selector.replace('%', "%25").replace('&', "%26").replace('+', "%2B"));
    }
    Some(path)
}

/// The object or the list at a path, as `kubectl get -o json` shows it: without managed fields. `None` where there is no answer
/// or an error.
pub(super) fn read(client: &OnceLock<Client>, kubeconfig: &Path, path: String) -> Option<Value> {
    let client = client.get_or_init(|| {
        let kubeconfig = kubeconfig.to_owned();
        wait(async move { super::client(&kubeconfig).await }).unwrap_or_else(|| panic!("no client"))
    });
    let client = client.clone();
    let mut object: Value = wait(async move {
        let request = http::Request::get(path).body(Vec::new()).ok()?;
        tokio::time::timeout(PATIENCE, client.request(request)).await.ok()?.ok()
    })
    .flatten()?;
    forget_managed_fields(&mut object);
    Some(object)
}

fn forget_managed_fields(object: &mut Value) {
    if let Some(metadata) = object.get_mut("metadata").and_then(Value::as_object_mut) {
        metadata.remove("managedFields");
    }
    if let Some(items) = object.get_mut("items").and_then(Value::as_array_mut) {
        items.iter_mut().for_each(forget_managed_fields);
    }
}

/// Waits for a future from wherever a test stands, in a runtime or not.
fn wait<T: Send + 'static>(future: impl Future<Output = T> + Send + 'static) -> Option<T> {
    let (sender, receiver) = mpsc::channel();
    RUNTIME.spawn(async move { sender.send(future.await) });
    receiver.recv().ok()
}
