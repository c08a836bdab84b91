//! A node with `serve` beside it, shared by the tests that run at the same time, and what a good run looks like.

use std::{
    sync::{Arc, Mutex, PoisonError, Weak},
    thread,
    time::{Duration, Instant},
};

use etcd_defrag_webhook::defrag::policy;
use serde_json::{Value, json};

pub(crate) use harness::make_namespace as namespace;
use harness::{
    ControlPlane, Defragmentation, Engine, EtcdPods, Fill, MemberStatus, Node, Process, Serve, etcd_defrag, eventually,
    with_its_own_rights,
};

/// What the reconciler, the kubelet and the Job controller need at most for one step, with room for a busy machine.
pub(crate) const SOON: Duration = Duration::from_secs(30);
/// The same for a whole run.
pub(crate) const RUN: Duration = Duration::from_mins(5);
/// Our own image as the node knows it; nothing but `serve` says that it is called so.
pub(crate) const OWN_IMAGE: &str = concat!("docker.io/library/etcd-defrag-webhook:", env!("CARGO_PKG_VERSION"));

/// A node with `serve` on the machine beside it.
pub(crate) struct World {
    // Dropped first: it must not outlive its API server.
    pub(crate) serve: Serve,
    pub(crate) node: Node,
}

/// The shared world. It lives as long as a test holds it, so nothing is left behind after the last one. `None` where no
/// node can run.
pub(crate) fn world(test: &str) -> Option<Arc<World>> {
    static WORLD: Mutex<Weak<World>> = Mutex::new(Weak::new());
    let mut shared = WORLD.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(world) = shared.upgrade() {
        return Some(world);
    }
    let node = Node::start_with_own_image(test, Vec::new)?;
    if let Err(reason) = etcd_defrag() {
        println!("{reason}: the runner of our own defragments, by a policy with job.engine: BuiltIn");
    }
    policy(&node, &Engine::here().policy());
    let mut options = with_its_own_rights(&node);
    options.args.extend([format!("--own-image={OWN_IMAGE}"), "--preflight=true".to_owned()]);
    let serve = Serve::start_with(&node, &options);
    let world = Arc::new(World { serve, node });
    *shared = Arc::downgrade(&world);
    Some(world)
}

/// Applies a policy, and before it the definition, which other tests may have applied already. Unless it says otherwise there
/// are no preflights under it: their Jobs would be beside those that tests count.
pub(crate) fn policy(node: &Node, object: &Value) {
    static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());
    let applying = ONE_AT_A_TIME.lock().unwrap_or_else(PoisonError::into_inner);
    node.apply(&serde_json::to_string(&policy::crd()).unwrap());
    node.wait_established("defragpolicies.etcd-defrag.io");
    drop(applying);
    let mut object = object.clone();
    let preflight = &mut object["spec"]["job"]["preflight"];
    if preflight.is_null() {
        *preflight = json!(false);
    }
    node.apply(&object.to_string());
}

/// Has the policy that the chart brings govern the etcd of this namespace, and waits until its CronJob follows.
pub(crate) fn chart_policy(node: &Node, pods: &EtcdPods<'_>) {
    let namespace = pods.namespace();
    let mut object: Value =
        serde_saphyr::from_str(include_str!("../../deploy/manifests/50-default-policy.yaml")).unwrap();
    object["metadata"]["name"] = namespace.into();
    object["spec"]["namespaceSelector"] = json!({"matchLabels": {"kubernetes.io/metadata.name": namespace}});
    object["spec"]["job"]["engine"] = Engine::here().name().into();
    policy(node, &object);
    eventually("the CronJob to follow the policy of the chart", SOON, || {
        (pods.cronjob()["metadata"]["annotations"]["etcd-defrag.io/policy"] == namespace).then_some(())
    });
}

/// Waits for an event of ours on the StatefulSet of an etcd whose note is as wanted; returns the note.
#[track_caller]
pub(crate) fn event(plane: &ControlPlane, pods: &EtcdPods<'_>, reason: &str) -> String {
    first_event(plane, pods, &[reason])
}

/// The same for any of these reasons.
#[track_caller]
pub(crate) fn first_event(plane: &ControlPlane, pods: &EtcdPods<'_>, reasons: &[&str]) -> String {
    let (namespace, name) = (pods.namespace(), pods.name());
    eventually(&format!("event {reasons:?} on {namespace}/{name}"), SOON, || {
        let events = plane.get(&["-n", namespace, "events.events.k8s.io"])?;
        events["items"].as_array()?.iter().find_map(|event| {
            (event["regarding"]["name"] == name && reasons.iter().any(|reason| event["reason"] == *reason))
                .then(|| event["note"].as_str().unwrap_or_default().to_owned())
        })
    })
}

/// Fills an etcd to four fifths of its quota and makes nearly all of it free again, so that the rule of the built-in
/// policy fires: more than 80 % of the quota with at least 32 MiB to reclaim.
pub(crate) fn waste(pods: &EtcdPods<'_>) {
    pods.fill(Fill::to(pods.options().quota, 82));
}

/// Deletes as much as [`waste`], and leaves half of it: what a defragmentation has to copy.
pub(crate) fn waste_and_keep(pods: &EtcdPods<'_>) {
    let fill = Fill::small_to(pods.options().quota, 82);
    pods.fill(Fill { keep: fill.keys / 2, ..fill });
}

/// Waits until a member is being defragmented and gives it so few percent of a processor that it is for long. It is slow before,
/// so that there is a middle; but where it were as slow as that, it might not answer in time to be begun.
pub(crate) fn slow_once_begun(node: &Node, pods: &EtcdPods<'_>, pod: &str, job: &str, percent: u32) -> Process {
    let namespace = pods.namespace();
    let etcd = node.etcd_process(namespace, pod);
    node.throttle(namespace, pod, Some(10));
    pods.create_job(job);
    let start = Instant::now();
    // Over within a second or two, and so too short for the members' logs as kubectl gives them.
    while !EtcdPods::is_copied(&etcd) {
        assert!(start.elapsed() < RUN, "{namespace}/{pod} was not defragmented by {job}:\n{}", pods.job_log(job));
        thread::sleep(Duration::from_millis(5));
    }
    node.throttle(namespace, pod, Some(percent));
    etcd
}

/// A row of `make incidents`: what happened, what the runner did, and how many members were blocked at the same time.
#[track_caller]
pub(crate) fn incident(pods: &EtcdPods<'_>, what: &str, did: &str) {
    let most = Defragmentation::most_at_once(&pods.defragmentations());
    println!("INCIDENT: | {what} | {} | {most} |", did.trim());
    assert!(most <= 1, "{most} members were blocked at the same time");
}

/// Has an etcd defragmented by a Job made of its CronJob, and looks at everything that has to hold then.
pub(crate) fn defragments(node: &Node, pods: &EtcdPods<'_>) {
    waste(pods);
    let before = Before::of(pods);
    let log = pods.run_job("by-hand", RUN);
    before.defragmented(node, &log, "by-hand");
    incident(pods, &format!("nothing, with {} members", pods.pods().len()), log.lines().last().unwrap_or_default());
}

/// An etcd before a run.
pub(crate) struct Before<'a> {
    pods: &'a EtcdPods<'a>,
    statuses: Vec<MemberStatus>,
}

impl<'a> Before<'a> {
    pub(crate) fn of(pods: &'a EtcdPods<'a>) -> Self {
        Self { pods, statuses: pods.status() }
    }

    /// Bytes of all members.
    pub(crate) fn sizes(&self) -> u64 {
        self.statuses.iter().map(|member| member.db_size).sum()
    }

    /// Looks at what a Job of this machine's engine has done.
    pub(crate) fn defragmented(&self, node: &Node, log: &str, job: &str) {
        let own = container(&self.pods.cronjob())["image"] == OWN_IMAGE;
        assert_eq!(own, Engine::here() == Engine::BuiltIn, "{}", self.pods.cronjob());
        self.done(node, log, job);
    }

    /// Looks at what a Job has done, whatever runs in it.
    pub(crate) fn done(&self, node: &Node, log: &str, job: &str) {
        let pods = self.pods;
        self.smaller(log);
        self.one_at_a_time();
        assert_eq!(pods.restarts(), vec![0; pods.pods().len()], "a member was restarted");
        let selector = format!("job-name={job}");
        let ran = node.get(&["-n", pods.namespace(), "pods", "-l", &selector]).unwrap();
        let ran = ran["items"].as_array().unwrap();
        assert_eq!(ran.len(), 1, "the pods of the Job: {ran:?}");
        assert_eq!(ran[0]["status"]["phase"], "Succeeded");
    }

    fn smaller(&self, log: &str) {
        for ((pod, before), after) in self.pods.pods().iter().zip(&self.statuses).zip(self.pods.status()) {
            println!(
                "{}/{pod}: {:.1} MiB before, {:.1} MiB after, {:.1} MiB in use",
                self.pods.namespace(),
                mib(before.db_size),
                mib(after.db_size),
                mib(after.db_size_in_use)
            );
            assert!(after.db_size < before.db_size / 2, "{pod} is not smaller: {before:?} {after:?}\n{log}");
            assert!(log.contains(&before.endpoint), "{} is not in the log:\n{log}", before.endpoint);
            assert_eq!(after.errors, Vec::<String>::new());
        }
    }

    /// By the members' own logs: each once, never two at a time, the leader last, and no longer the leader then.
    fn one_at_a_time(&self) {
        let runs = self.pods.defragmentations();
        for run in &runs {
            let took = run.to.map(|to| run.from.until(to).unwrap().get_milliseconds());
            println!("{}/{}: blocked for {} ms", self.pods.namespace(), run.pod, took.unwrap_or_default());
        }
        for pair in runs.windows(2) {
            assert!(pair[0].to.is_some_and(|to| to < pair[1].from), "two members at a time: {runs:?}");
        }
        let mut order: Vec<&str> = runs.iter().map(|run| run.pod.as_str()).collect();
        order.sort_unstable();
        assert_eq!(order, self.pods.pods(), "not each member once: {runs:?}");
        let (Some(last), true) = (runs.last(), runs.len() > 1) else { return };
        let log = self.pods.log(&last.pod, false);
        let gave = log.iter().rfind(|line| line.message == "leadership transfer finished");
        let gave = gave.unwrap_or_else(|| panic!("the last one was not the leader before: {runs:?}"));
        assert!(gave.time < last.from, "the leader was moved after its defragmentation");
        let between = log.iter().filter(|line| line.time > gave.time && Some(line.time) < last.to);
        let again: Vec<_> = between.filter(|line| line.message.contains("became leader")).collect();
        assert!(again.is_empty(), "it was the leader again: {again:?}");
    }
}

fn mib(bytes: u64) -> f64 {
    #[expect(clippy::cast_precision_loss, reason = "for people")]
    let bytes = bytes as f64;
    bytes / f64::from(1 << 20)
}

/// The pod template of a Job or CronJob.
pub(crate) fn container(cronjob: &Value) -> &Value {
    &cronjob["spec"]["jobTemplate"]["spec"]["template"]["spec"]["containers"][0]
}
