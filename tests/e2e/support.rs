//! A control plane with `serve` that tests share, and words to talk to it.

use std::{process::Output, sync::OnceLock, time::Duration};

use serde_json::{Value, json};

pub(crate) use harness::example_etcd as etcd;
use harness::{CONTROLLER_MANAGER, ControlPlane, Serve, ServeOptions, eventually, make_namespace, with_its_own_rights};

/// What the reconciler needs at most for one step, with room for a busy machine, on which a leader can lose its Lease: that is
/// taken over after 15 s, and looked at every 2 s.
pub(crate) const SOON: Duration = Duration::from_secs(40);

/// A control plane with `serve` running against it.
pub(crate) struct World {
    // Dropped first: it must not outlive its API server.
    _serve: Serve,
    pub(crate) plane: ControlPlane,
}

/// The shared world: the first test that asks starts it, and it ends with this program.
pub(crate) fn world() -> &'static World {
    static WORLD: OnceLock<World> = OnceLock::new();
    WORLD.get_or_init(World::start)
}

/// Another one, shared in the same way, where no webhook is registered and the kind `DefragPolicy` is known: what would be
/// refused gets through, as it does while the webhooks are away.
pub(crate) fn asleep() -> &'static World {
    static WORLD: OnceLock<World> = OnceLock::new();
    WORLD.get_or_init(|| {
        let plane = ControlPlane::start();
        let options = ServeOptions { register: false, ..with_its_own_rights(&plane) };
        plane.apply(include_str!("../../deploy/manifests/05-defragpolicies.crd.yaml"));
        plane.wait_established("defragpolicies.etcd-defrag.io");
        World { _serve: Serve::start_with(&plane, &options), plane }
    })
}

impl World {
    /// One of its own making.
    pub(crate) fn with(serve: Serve, plane: ControlPlane) -> Self {
        Self { _serve: serve, plane }
    }

    /// One that no other test sees, for what would keep it too busy.
    pub(crate) fn start() -> Self {
        let plane = ControlPlane::start();
        let serve = Serve::start_with(&plane, &with_its_own_rights(&plane));
        Self { _serve: serve, plane }
    }
}

/// A control plane without the controller of StatefulSets, which would take the readiness back that tests write.
pub(crate) fn without_statefulset_controller() -> ControlPlane {
    ControlPlane::start_with(&[(CONTROLLER_MANAGER, "--controllers=*,-statefulset-controller")])
}

/// Says that all members are ready, as the StatefulSet controller does.
pub(crate) fn ready(ns: &Namespace<'_>, name: &str) {
    let status = json!({"status": {"replicas": 3, "readyReplicas": 3}}).to_string();
    ns.run(&["patch", "statefulset", name, "--subresource=status", "--type=merge", "-p", &status]);
}

/// Makes an etcd whose schedule is due in the minute that comes; its CronJob, which is there before that.
pub(crate) fn due_soon(ns: &Namespace<'_>, name: &str) -> Value {
    // On a busy machine the minute may have begun before the CronJob is there; then it is another one.
    loop {
        let due = jiff::Timestamp::now() + jiff::SignedDuration::from_secs(65);
        let due = due.to_zoned(jiff::tz::TimeZone::UTC).with().second(0).subsec_nanosecond(0).build().unwrap();
        let schedule = format!("{} {} * * *", due.minute(), due.hour());
        ns.accepts(&etcd(&ns.name, name, &[("schedule", &schedule), ("time-zone", "Etc/UTC")]));
        let cronjob = ns.cronjob_that(name, "have the schedule", |cronjob| cronjob["spec"]["schedule"] == schedule);
        if jiff::Timestamp::now() < due.timestamp() {
            return cronjob;
        }
    }
}

/// Writes into the status of a Job's pod how its container ended, as the kubelet does.
pub(crate) fn end_pod(ns: &Namespace<'_>, job: &str, exit_code: i32, message: &str) {
    let pod = eventually("the pod of the Job", SOON, || {
        let pods = ns.plane.get(&["-n", &ns.name, "pods", "-l", &format!("job-name={job}")])?;
        pods["items"].as_array()?.first()?["metadata"]["name"].as_str().map(str::to_owned)
    });
    let at = jiff::Timestamp::now().to_string();
    let (phase, reason) = if exit_code == 0 { ("Succeeded", "Completed") } else { ("Failed", "Error") };
    let terminated =
        json!({"exitCode": exit_code, "reason": reason, "message": message, "startedAt": at, "finishedAt": at});
    let container = json!({"name": "etcd-defrag", "image": "x", "imageID": "", "ready": false, "restartCount": 0,
        "state": {"terminated": terminated}});
    let patch = json!({"status": {"phase": phase, "containerStatuses": [container]}}).to_string();
    ns.run(&["patch", "pod", &pod, "--subresource=status", "--type=merge", "-p", &patch]);
}

/// A namespace of a test's own on a control plane.
pub(crate) struct Namespace<'a> {
    pub(crate) plane: &'a ControlPlane,
    pub(crate) name: String,
}

impl Drop for Namespace<'_> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.plane.keep();
        }
    }
}

/// Makes a namespace that enforces Pod Security "restricted".
pub(crate) fn namespace<'a>(plane: &'a ControlPlane, purpose: &str) -> Namespace<'a> {
    let name = make_namespace(plane, purpose);
    Namespace { plane, name }
}

/// The same object without the label.
pub(crate) fn unlabelled(mut object: Value) -> Value {
    object["metadata"]["labels"].as_object_mut().unwrap().remove("etcd-defrag.io/enabled");
    object
}

pub(crate) fn stderr(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

impl Namespace<'_> {
    /// `kubectl -n NAMESPACE ARGS`, whether it succeeds or not.
    pub(crate) fn kubectl(&self, args: &[&str]) -> Output {
        self.plane.kubectl(["-n", &self.name].iter().chain(args))
    }

    /// The same, which has to succeed.
    #[track_caller]
    pub(crate) fn run(&self, args: &[&str]) -> String {
        let output = self.kubectl(args);
        assert!(output.status.success(), "kubectl {}: {}", args.join(" "), stderr(&output));
        format!("{}{}", String::from_utf8_lossy(&output.stdout), stderr(&output))
    }

    /// The same, which has to be refused; returns what kubectl prints.
    #[track_caller]
    pub(crate) fn refused(&self, args: &[&str]) -> String {
        let output = self.kubectl(args);
        assert!(!output.status.success(), "kubectl {} was accepted", args.join(" "));
        stderr(&output)
    }

    /// Applies an object, which has to be accepted; returns kubectl's words, warnings included.
    #[track_caller]
    pub(crate) fn accepts(&self, object: &Value) -> String {
        let output = self.plane.kubectl_stdin(["apply", "-f", "-"], &object.to_string());
        assert!(output.status.success(), "refused: {}", stderr(&output));
        format!("{}{}", String::from_utf8_lossy(&output.stdout), stderr(&output))
    }

    /// Applies an object, which has to be refused; returns kubectl's words.
    #[track_caller]
    pub(crate) fn rejects(&self, object: &Value) -> String {
        let output = self.plane.kubectl_stdin(["apply", "-f", "-"], &object.to_string());
        assert!(!output.status.success(), "accepted: {}", String::from_utf8_lossy(&output.stdout));
        stderr(&output)
    }

    /// An object, if it is there.
    pub(crate) fn get(&self, kind: &str, name: &str) -> Option<Value> {
        self.plane.get(&["-n", &self.name, kind, name])
    }

    /// Waits for the CronJob of a StatefulSet.
    #[track_caller]
    pub(crate) fn cronjob(&self, statefulset: &str) -> Value {
        self.cronjob_that(statefulset, "exist", |_| true)
    }

    /// Waits until the CronJob of a StatefulSet is as wanted.
    #[track_caller]
    pub(crate) fn cronjob_that(&self, statefulset: &str, what: &str, wanted: impl Fn(&Value) -> bool) -> Value {
        let name = format!("{statefulset}-defrag-job");
        eventually(&format!("CronJob {}/{name} to {what}", self.name), SOON, || {
            self.get("cronjob", &name).filter(|cronjob| wanted(cronjob))
        })
    }

    /// Waits until the CronJob of a StatefulSet is made under a policy.
    #[track_caller]
    pub(crate) fn governed(&self, statefulset: &str, policy: &str) -> Value {
        self.cronjob_that(statefulset, "follow the policy", |cronjob| {
            cronjob["metadata"]["annotations"]["etcd-defrag.io/policy"] == policy
        })
    }

    /// Waits until the StatefulSet has no CronJob.
    #[track_caller]
    pub(crate) fn no_cronjob(&self, statefulset: &str) {
        let name = format!("{statefulset}-defrag-job");
        eventually(&format!("CronJob {}/{name} to go", self.name), SOON, || {
            self.get("cronjob", &name).is_none().then_some(())
        });
    }

    /// Waits for an event on an object whose reason and note are as wanted; returns the note.
    #[track_caller]
    pub(crate) fn event(&self, object: &str, reason: &str) -> String {
        self.event_that_says(object, reason, "")
    }

    /// The same, of those whose note has these words.
    #[track_caller]
    pub(crate) fn event_that_says(&self, object: &str, reason: &str, words: &str) -> String {
        eventually(&format!("event {reason} on {}/{object} that says {words:?}", self.name), SOON, || {
            let events = self.plane.get(&["-n", &self.name, "events.events.k8s.io"])?;
            events["items"].as_array()?.iter().find_map(|event| {
                let note = event["note"].as_str().unwrap_or_default();
                (event["regarding"]["name"] == object && event["reason"] == reason && note.contains(words))
                    .then(|| note.to_owned())
            })
        })
    }
}
