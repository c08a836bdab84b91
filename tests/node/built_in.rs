//! `job.engine: BuiltIn`: our own image in the pod of a Job, under Pod Security "restricted", and what becomes of its result.

use std::process::Command;

use etcd_defrag_webhook::defrag::{
    cronjob::{
        CONTAINER,
        last_run::{LastRun, Outcome},
        names::{FAILED_RUNS, LAST_RUN},
    },
    run_result::{self, RunResult},
};
use serde_json::{Value, json};

use super::support::{
    Before, OWN_IMAGE, RUN, SOON, World, container, event, incident, namespace, policy, waste, world,
};
use harness::{EtcdPods, PodsOptions, binary, eventually, example_etcd};

/// Three members with TLS in a namespace whose policy has them defragmented by our own runner.
pub(super) fn etcd<'a>(world: &'a World, purpose: &str, options: PodsOptions) -> EtcdPods<'a> {
    let namespace = namespace(&world.node, purpose);
    policy(
        &world.node,
        &json!({
            "apiVersion": "etcd-defrag.io/v1alpha1", "kind": "DefragPolicy", "metadata": {"name": &namespace},
            "spec": {
                "namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": &namespace}},
                "limits": {"minCommandTimeout": "10s"},
                // What is put off is no failure: the first one would suspend the CronJob.
                "job": {"engine": "BuiltIn", "failureBudget": 1, "deadlineSlackSeconds": 60},
            },
        }),
    );
    // A replica learns of a policy after the API server.
    let probe = example_etcd(&namespace, "probe", &[]).to_string();
    eventually("the policy to govern", SOON, || {
        let output = world.node.kubectl_stdin(["create", "--dry-run=server", "-f", "-"], &probe);
        let governed = format!("governed by DefragPolicy {namespace} ");
        String::from_utf8_lossy(&output.stderr).contains(&governed).then_some(())
    });
    let options = options.annotated("wait-between-members", "1s");
    let pods = EtcdPods::start(&world.node, &namespace, options);
    let cronjob = pods.cronjob();
    let container = container(&cronjob);
    println!("{}", container["args"]);
    assert_eq!(container["image"], OWN_IMAGE);
    assert_eq!(container["args"][0], "defrag");
    assert_eq!(container["securityContext"]["readOnlyRootFilesystem"], true);
    assert_eq!(cronjob["spec"]["jobTemplate"]["spec"]["template"]["spec"]["securityContext"]["runAsUser"], 65532);
    pods
}

/// Changes how long a member may take.
pub(super) fn command_timeout(pods: &EtcdPods<'_>, timeout: &str) {
    pods.annotate("command-timeout", timeout);
    let wanted = format!("--command-timeout={timeout}");
    eventually("the CronJob to follow", SOON, || {
        container(&pods.cronjob())["args"].to_string().contains(&wanted).then_some(())
    });
}

/// How the runner ended in the pod of a Job: its status, and the result that it left there.
pub(super) fn ended(pods: &EtcdPods<'_>, world: &World, job: &str) -> (u64, RunResult) {
    let selector = format!("job-name={job}");
    let ran = world.node.get(&["-n", pods.namespace(), "pods", "-l", &selector]).unwrap();
    let statuses = ran["items"][0]["status"]["containerStatuses"].as_array().unwrap();
    let terminated = &statuses.iter().find(|status| status["name"] == CONTAINER).unwrap()["state"]["terminated"];
    println!("{terminated}");
    let result = RunResult::read(terminated["message"].as_str().unwrap_or_default());
    let result = result.unwrap_or_else(|error| panic!("{error}: {terminated}\n{}", pods.job_log(job)));
    (terminated["exitCode"].as_u64().unwrap(), result)
}

/// What the CronJob says of a run.
fn last_run(pods: &EtcdPods<'_>, job: &str) -> LastRun {
    eventually(&format!("the CronJob to tell of the run {job}"), SOON, || {
        let text = note(&pods.cronjob(), LAST_RUN)?;
        Some(LastRun::read(&text).unwrap_or_else(|| panic!("{text}"))).filter(|run| run.job == job)
    })
}

fn note(cronjob: &Value, key: &str) -> Option<String> {
    Some(cronjob["metadata"]["annotations"].get(key)?.as_str()?.to_owned())
}

/// The line that `status` has for it.
fn row(pods: &EtcdPods<'_>, world: &World) -> String {
    let mut command = Command::new(binary());
    command.args(["status", "-n", pods.namespace()]).env("KUBECONFIG", world.node.kubeconfig());
    let output = command.output().unwrap();
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    println!("{said}");
    assert!(output.status.success(), "{said}{}", String::from_utf8_lossy(&output.stderr));
    said.lines().find(|line| line.starts_with(pods.name())).unwrap_or_default().to_owned()
}

/// Has it defragmented by a Job made of its CronJob, and looks at everything that has to hold, and be told, then.
fn defragments(world: &World, pods: &EtcdPods<'_>, job: &str) {
    let before = Before::of(pods);
    let log = pods.run_job(job, RUN);
    println!("{log}");
    before.done(&world.node, &log, job);

    let (code, result) = ended(pods, world, job);
    assert_eq!((code, result.outcome), (0, run_result::Outcome::Done));
    let was = before.sizes();
    let reclaimed = result.reclaimed();
    assert!(reclaimed > was / 2 && reclaimed < was, "{reclaimed} bytes reclaimed of {was}");
    let order: Vec<String> = pods.defragmentations().into_iter().map(|run| run.pod).collect();
    let told: Vec<&str> = result.members.iter().map(|member| member.name.as_str()).collect();
    assert_eq!(told, order, "the result has another order than the members' logs");
    assert_eq!(Some(&result.leader_from), order.last());

    let event = event(&world.node, pods, "Defragmented");
    println!("{event}");
    assert_eq!(event, format!("The run {job}: {result}."));
    assert!(event.contains("3 of 3 members") && event.contains("MiB reclaimed"), "{event}");
    let run = last_run(pods, job);
    let members = run.members.unwrap();
    assert_eq!((run.outcome, members.members, members.defragmented), (Outcome::Defragmented, 3, 3));
    assert_eq!(members.reclaimed, reclaimed);
    let row = row(pods, world);
    assert!(row.contains(&format!(" {}", run.in_short())) && row.contains("3/3 -"), "{row}");
    let ended = world.serve.metric("etcd_defrag_webhook_runs_total{outcome=\"defragmented\"}");
    assert!(ended.is_some_and(|runs| runs >= 1.0), "{ended:?}");
}

#[test]
fn our_own_runner_defragments_in_a_pod_and_its_result_is_told() {
    let Some(world) = world("our_own_runner_defragments_in_a_pod_and_its_result_is_told") else { return };
    // A login, too, with characters that mean something to the kubelet.
    let options = PodsOptions { password: Some("a$(POD_NAME) b:c,d".to_owned()), ..PodsOptions::default() };
    let options = options.annotated("username-secret", "kamaji-etcd-root-user:username,password");
    let pods = etcd(&world, "built-in", options);
    waste(&pods);
    defragments(&world, &pods, "by-hand");
}

/// A member that does not answer: nothing is touched, and nothing counts as failed. The next run finds it well.
#[test]
fn our_own_runner_puts_off_what_is_not_healthy() {
    let Some(world) = world("our_own_runner_puts_off_what_is_not_healthy") else { return };
    let pods = etcd(&world, "put-off", PodsOptions { liveness: None, ..PodsOptions::default() });
    waste(&pods);
    // The run waits until that no longer fits before its deadline.
    command_timeout(&pods, "10s");
    let silent = pods.follower();
    let process = world.node.etcd_process(pods.namespace(), &silent);
    process.signal("STOP");
    pods.create_job("put-off");
    let end = pods.job_end("put-off", RUN);
    let log = pods.job_log("put-off");
    println!("{log}\n{end:?}");
    process.signal("CONT");
    assert_eq!((end.succeeded, end.reason.as_str()), (false, "PodFailurePolicy"), "{log}");
    assert_eq!(pods.defragmentations(), []);
    let (code, result) = ended(&pods, &world, "put-off");
    incident(&pods, &format!("{silent} does not answer"), &format!("exit {code}: {result}"));
    assert_eq!((code, result.outcome), (u64::from(run_result::EXIT_DEFERRED), run_result::Outcome::Deferred));
    let report = event(&world.node, &pods, "Deferred");
    println!("{report}");
    assert!(report.contains("before any member was changed") && report.contains(&silent), "{report}");
    // The last attempt may have met a name server that was busy for as long.
    assert!(log.contains("no TLS handshake within 2s"), "{log}");
    assert!(report.contains("within 2s (--dial-timeout)"), "{report}");
    assert_eq!(last_run(&pods, "put-off").outcome, Outcome::Deferred);
    assert!(row(&pods, &world).contains("deferred"));

    pods.wait_ready();
    eventually("all members to be well", RUN, || pods.etcdctl(&["endpoint", "health"]).status.success().then_some(()));
    let cronjob = pods.cronjob();
    assert_eq!((&cronjob["spec"]["suspend"], note(&cronjob, FAILED_RUNS)), (&json!(false), None));
    command_timeout(&pods, "1m0s");
    defragments(&world, &pods, "again");
    let events = world.node.get(&["-n", pods.namespace(), "events.events.k8s.io"]).unwrap().to_string();
    for failure in ["DefragmentationFailed", "FailureBudgetSpent"] {
        assert!(!events.contains(failure), "{events}");
    }
}
