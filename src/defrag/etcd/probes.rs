//! The probes that watch over a member, and what each is answered while the member defragments or is out of space.
//!
//! A defragmentation holds the lock of the backend: every read of a key waits for its end. What needs no key is answered: the kernel
//! accepts connections, and etcd serves its gRPC health service, `/metrics` and `/version`.
//! Sources: etcd's `server/storage/backend/backend.go`, `server/etcdserver/api/v3rpc/health.go` and `api/etcdhttp`, and
//! `pkg/kubelet/prober/worker.go` of Kubernetes.

use super::{
    context::Context,
    patience::{self, Patience},
    types::Liveness,
};
use crate::defrag::statefulset::Probe;

/// The liveness probe, with Kubernetes' defaults for what it leaves open. `None` where there is none, and where it is answered while
/// the member defragments.
pub(super) fn liveness(context: &Context<'_>) -> Option<Liveness> {
    let probe = context.container().liveness_probe.as_ref()?;
    let at_least_one =
        |value: Option<i32>, default| value.and_then(|v| u64::try_from(v).ok()).filter(|v| *v > 0).unwrap_or(default);
    let patient = at_least_one(probe.timeout_seconds, 1);
    let (timeout, gives_up) = match failure(context, probe)? {
        Failure::Own(own) if own.seconds < patient => (own.seconds, Some(own.what)),
        Failure::Timeout | Failure::Own(_) => (patient, None),
        Failure::Refusal => (0, None),
    };
    let period = at_least_one(probe.period_seconds, 10);
    let threshold = at_least_one(probe.failure_threshold, 3);
    // The kubelet probes one after the other: an attempt that waits longer than the period delays the next one. The first may begin
    // together with the defragmentation.
    let interval = period.max(timeout);
    let seconds = (threshold - 1) * interval + timeout;
    let field = context.etcd.part("livenessProbe");
    Some(Liveness { seconds, period, threshold, timeout, gives_up, interval, field })
}

/// How an attempt fails while the member defragments.
enum Failure {
    /// It gets no answer in time.
    Timeout,
    /// What it asks gives up by itself, perhaps sooner.
    Own(Patience),
    /// The answer says at once that the member does not serve.
    Refusal,
}

/// How an attempt of the liveness probe fails while the member defragments; `None` where it does not.
fn failure(context: &Context<'_>, probe: &Probe) -> Option<Failure> {
    if probe.tcp_socket.is_some() {
        return None;
    }
    if probe.grpc.is_some() {
        let options = context.options();
        let gates = options.get("feature-gates").map(|gates| gates.value.as_str()).unwrap_or_default();
        let stops = options.is_on("experimental-stop-grpc-service-on-defrag")
            || gates.split(',').any(|gate| gate.trim() == "StopGRPCServiceOnDefrag=true");
        return stops.then_some(Failure::Refusal);
    }
    let path = probe.http_get.as_ref().map(|get| path_of(&get.path));
    let (needs_no_key, own) = match (&probe.http_get, &probe.exec) {
        (Some(get), _) => {
            (matches!(path, Some("/metrics" | "/version")), Patience::of_request(&get.path, context.options()))
        }
        (None, Some(exec)) => {
            (patience::needs_no_key(&exec.command), Patience::of_command(&exec.command, context.options()))
        }
        (None, None) => (false, None),
    };
    (!needs_no_key).then(|| own.map_or(Failure::Timeout, Failure::Own))
}

/// The field path of the readiness probe, where it may fail while the alarm NOSPACE is raised.
pub(super) fn unready_without_space(context: &Context<'_>) -> Option<String> {
    let probe = context.container().readiness_probe.as_ref()?;
    let counts = if let Some(get) = &probe.http_get {
        // Only `/health` counts this alarm, and what is not of etcd may ask it.
        !matches!(path_of(&get.path), "/readyz" | "/livez" | "/metrics" | "/version") && !leaves_out(&get.path)
    } else if let Some(exec) = &probe.exec {
        let words = exec.command.join(" ");
        let asks_nothing = patience::needs_no_key(&exec.command);
        !asks_nothing && !["/readyz", "/livez"].iter().any(|path| words.contains(path)) && !leaves_out(&words)
    } else {
        false
    };
    counts.then(|| context.etcd.part("readinessProbe"))
}

fn path_of(path: &str) -> &str {
    path.split('?').next().unwrap_or_default()
}

/// Whether a request of `/health` leaves out the alarm.
fn leaves_out(text: &str) -> bool {
    text.contains("exclude=NOSPACE")
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use crate::defrag::{
        etcd::{Etcd, Overrides, discover},
        statefulset::StatefulSet,
    };

    fn etcd(probe: &str, value: &Value, args: &[&str]) -> Etcd {
        let mut container =
            json!({"name": "etcd", "image": "quay.io/coreos/etcd:v3.6.1", "command": ["etcd"], "args": args});
        container[probe] = value.clone();
        let spec = json!({"serviceName": "etcd", "template": {"spec": {"containers": [container]}}});
        let sts: StatefulSet = serde_json::from_value(json!({"metadata": {"name": "etcd"}, "spec": spec})).unwrap();
        discover(&sts, &Overrides::default()).etcd.unwrap()
    }

    #[test]
    fn the_silence_after_which_a_member_is_restarted() {
        let get = json!({"path": "/livez", "port": 2381});
        for (period, timeout, threshold, seconds) in [
            (None, None, None, Some(21)),
            (Some(10), Some(5), Some(8), Some(75)),
            (Some(5), Some(30), Some(5), Some(150)),
            (Some(30), Some(30), Some(5), Some(150)),
            (Some(10), Some(15), Some(3), Some(45)),
            (Some(10), Some(15), Some(1), Some(15)),
            (Some(0), Some(0), Some(-1), Some(21)),
        ] {
            let probe = json!({
                "httpGet": get, "periodSeconds": period, "timeoutSeconds": timeout, "failureThreshold": threshold
            });
            assert_eq!(etcd("livenessProbe", &probe, &[]).liveness.map(|probe| probe.seconds), seconds, "{probe}");
        }
        let most = json!({
            "exec": {"command": ["x"]}, "periodSeconds": i32::MAX, "timeoutSeconds": i32::MAX, "failureThreshold": i32::MAX
        });
        assert!(etcd("livenessProbe", &most, &[]).liveness.unwrap().seconds > 1 << 60);
    }

    #[test]
    fn what_gives_up_before_the_kubelet_does() {
        let exec = |command: &[&str]| json!({"exec": {"command": command}});
        let words = |text: &str| exec(&text.split(' ').collect::<Vec<_>>());
        let script = |text: &str| exec(&["/bin/sh", "-ec", text]);
        let get = |path: &str| json!({"httpGet": {"path": path, "port": 2379}});
        for (probe, args, seconds) in [
            (words("etcdctl endpoint health"), &[][..], 25),
            (words("/usr/local/bin/etcdctl --command-timeout=20s endpoint health"), &[], 60),
            (words("etcdctl endpoint health --command-timeout 60s"), &[], 90),
            (words("/opt/bitnami/scripts/etcd/healthcheck.sh"), &[], 25),
            (script("ETCDCTL_API=3 etcdctl --endpoints=http://127.0.0.1:2379 get foo"), &[], 25),
            (script("ETCDCTL_COMMAND_TIMEOUT=12s etcdctl get foo"), &[], 36),
            (script("timeout 3 etcdctl get foo"), &[], 23),
            (script("curl -sf http://localhost:2379/health"), &[], 27),
            (script("curl -m 4 -sf http://localhost:2379/livez"), &[], 24),
            (script("wget -T 2 -qO- http://localhost:2379/health | grep true"), &[], 22),
            (script("/probe.sh"), &[], 90),
            (get("/health"), &[], 27),
            (get("/health?exclude=NOSPACE"), &[], 27),
            (get("/health"), &["--election-timeout=5000"], 45),
            (get("/health"), &["--election-timeout=x"], 27),
            (get("/health?serializable=true"), &[], 90),
            (get("/healthz"), &[], 90),
            (get("/livez"), &[], 90),
        ] {
            let mut whole = probe;
            whole["timeoutSeconds"] = json!(30);
            let found = etcd("livenessProbe", &whole, args).liveness.unwrap();
            assert_eq!((found.seconds, found.gives_up.is_some()), (seconds, seconds != 90), "{whole} {args:?}");
        }
    }

    #[test]
    fn what_needs_no_key_is_answered_while_a_member_defragments() {
        let grpc = json!({"grpc": {"port": 2379}});
        let get = |path: &str| json!({"httpGet": {"path": path, "port": 2381}});
        for (probe, args, seconds) in [
            (json!({"tcpSocket": {"port": 2379}}), &[][..], None),
            (grpc.clone(), &[], None),
            (grpc.clone(), &["--feature-gates=A=true, StopGRPCServiceOnDefrag=true"], Some(20)),
            (grpc.clone(), &["--feature-gates=StopGRPCServiceOnDefrag=false"], None),
            (grpc.clone(), &["--experimental-stop-grpc-service-on-defrag"], Some(20)),
            (grpc, &["--experimental-stop-grpc-service-on-defrag=false"], None),
            (get("/metrics"), &[], None),
            (get("/version"), &[], None),
            (get("/health"), &[], Some(21)),
            (get("/health?serializable=true"), &[], Some(21)),
            (get("/livez"), &[], Some(21)),
            (json!({"exec": {"command": ["etcdctl", "endpoint", "health"]}}), &[], Some(21)),
            (json!({"exec": {"command": ["/bin/sh", "-c", "nc -z localhost 2379"]}}), &[], None),
            (json!({"exec": {"command": ["true"]}}), &[], None),
            (json!({"exec": {"command": ["/bin/sh", "-c", "pgrep etcd"]}}), &[], None),
        ] {
            let found = etcd("livenessProbe", &probe, args).liveness.map(|probe| probe.seconds);
            assert_eq!(found, seconds, "{probe} {args:?}");
        }
    }

    #[test]
    fn readiness_that_counts_the_alarm() {
        let get = |path: &str| json!({"httpGet": {"path": path, "port": 2381}});
        let exec = |script: &str| json!({"exec": {"command": ["sh", "-c", script]}});
        for (probe, counts) in [
            (get("/health"), true),
            (get("/health?serializable=true"), true),
            (get("/health?exclude=NOSPACE&serializable=true"), false),
            (get("/readyz"), false),
            (get("/readyz?verbose"), false),
            (get("/livez"), false),
            (get("/healthz"), true),
            (exec("etcdctl endpoint health"), true),
            (exec("/opt/bitnami/scripts/etcd/healthcheck.sh"), true),
            (exec("curl -f localhost:2381/readyz"), false),
            (exec("wget localhost:2381/health?exclude=NOSPACE"), false),
            (exec("nc -z localhost 2379"), false),
            (json!({"tcpSocket": {"port": 2379}}), false),
            (json!({"grpc": {"port": 2379}}), false),
        ] {
            let field = etcd("readinessProbe", &probe, &[]).unready_without_space;
            let expected = counts.then_some("spec.template.spec.containers[0].readinessProbe");
            assert_eq!(field.as_deref(), expected, "{probe}");
        }
        assert_eq!(etcd("livenessProbe", &get("/health"), &[]).unready_without_space, None);
    }
}
