//! Every schedule of the facts table, through the real API server.

use etcd_defrag_webhook::defrag::schedule::Schedule;
use k8s_openapi::api::batch::v1::CronJob;
use kube::{Api, api::PostParams};
use serde_json::json;

use harness::random::Random;

use super::{
    generated::{any_schedule, fields, known},
    support::world,
};
use harness::client;

/// Asks the API server in a dry run whether it takes a CronJob with this schedule and zone.
pub(crate) async fn asked(api: &Api<CronJob>, schedule: &str, zone: Option<&str>) -> bool {
    let cronjob: CronJob = serde_json::from_value(json!({
        "metadata": {"name": "asked"},
        "spec": {"schedule": schedule, "timeZone": zone, "jobTemplate": {"spec": {"template": {"spec": {
            "restartPolicy": "Never", "containers": [{"name": "c", "image": "example.org/c:1"}],
        }}}}},
    }))
    .unwrap();
    let parameters = PostParams { dry_run: true, ..PostParams::default() };
    match api.create(&parameters, &cronjob).await {
        Ok(_) => true,
        Err(kube::Error::Api(status)) if status.code == 422 => false,
        Err(error) => panic!("{schedule:?}: {error}"),
    }
}

/// `tests/data/schedules.txt` says `accept` or `refuse` for each; the real API server has to say the same.
#[tokio::test]
async fn every_string_of_the_table_agrees_with_the_api_server() {
    let world = world();
    let api = Api::<CronJob>::namespaced(client(world.plane.kubeconfig()).await, "default");
    let table = known();
    let mut disagreements = Vec::new();
    for (accepted, schedule) in &table {
        if asked(&api, schedule, None).await != *accepted {
            disagreements.push(format!("{schedule:?}: the table says accepted: {accepted}"));
        }
    }
    assert_eq!(disagreements, Vec::<String>::new());
    assert!(table.len() > 100, "only {} schedules were tried", table.len());
    println!("{} schedules of the table, 0 disagreements", table.len());
}

/// Half of them by the grammar, so that many are accepted.
#[tokio::test]
async fn a_sample_of_generated_schedules_agrees_with_the_api_server() {
    const SAMPLE: usize = 500;
    let world = world();
    let api = Api::<CronJob>::namespaced(client(world.plane.kubeconfig()).await, "default");
    let (table, mut random) = (known(), Random::new());
    let (mut disagreements, mut accepted) = (Vec::new(), 0);
    for index in 0..SAMPLE {
        let schedule = if index % 2 == 0 { fields(&mut random) } else { any_schedule(&mut random, &table) };
        let ours = Schedule::parse(&schedule).is_ok();
        accepted += usize::from(ours);
        if asked(&api, &schedule, None).await != ours {
            disagreements.push(format!("{schedule:?}: we say accepted: {ours}"));
        }
    }
    assert_eq!(disagreements, Vec::<String>::new());
    assert!((SAMPLE / 10..SAMPLE).contains(&accepted), "{accepted} of {SAMPLE} were accepted");
    println!("{SAMPLE} generated schedules, {accepted} accepted, 0 disagreements");
}
