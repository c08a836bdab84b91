//! Every schedule of the facts table, through the real API server.

use std::path::Path;

use k8s_openapi::api::batch::v1::CronJob;
use kube::{
    Api, Client, Config,
    api::PostParams,
    config::{KubeConfigOptions, Kubeconfig},
};
use serde_json::json;

use crate::harness::ControlPlane;

/// A client of the control plane, as its administrator.
pub(crate) async fn client(kubeconfig: &Path) -> Client {
    let kubeconfig = Kubeconfig::read_from(kubeconfig).unwrap();
    let config = Config::from_custom_kubeconfig(kubeconfig, &KubeConfigOptions::default()).await.unwrap();
    Client::try_from(config).unwrap()
}

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
    let plane = ControlPlane::start();
    let api = Api::<CronJob>::namespaced(client(plane.kubeconfig()).await, "default");
    let mut disagreements = Vec::new();
    let mut count = 0;
    for line in include_str!("../data/schedules.txt").lines().filter(|line| !line.is_empty() && !line.starts_with('#'))
    {
        let (verdict, text) = line.split_once(' ').unwrap();
        let schedule: String = serde_json::from_str(text).unwrap();
        let theirs = asked(&api, &schedule, None).await;
        if theirs != (verdict == "accept") {
            disagreements.push(format!("{schedule:?}: the table says {verdict}"));
        }
        count += 1;
    }
    assert_eq!(disagreements, Vec::<String>::new());
    assert!(count > 100, "only {count} schedules were tried");
    println!("{count} schedules, 0 disagreements");
}
