//! How many members of an etcd are ready, as Kubernetes sees them.

use k8s_openapi::api::{apps, core::v1::Probe};
use kube::{
    api::{Api, DynamicObject},
    core::ApiResource,
};
use serde::Deserialize;

use crate::{
    controller::{Context, Error},
    defrag::ondemand::Readiness,
};

/// The part of a StatefulSet that says how many members are ready, and who says so.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
struct Members {
    spec: Spec,
    status: Status,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
struct Spec {
    replicas: Option<i32>,
    template: Template,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
struct Template {
    spec: PodSpec,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
struct PodSpec {
    containers: Vec<Container>,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct Container {
    readiness_probe: Option<Probe>,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct Status {
    ready_replicas: Option<i32>,
}

/// Asks the API server, since nothing is started on the word of a cache.
pub(crate) async fn readiness(context: &Context, namespace: &str, statefulset: &str) -> Result<Readiness, Error> {
    let kind = ApiResource::erase::<apps::v1::StatefulSet>(&());
    let api: Api<DynamicObject> = Api::namespaced_with(context.client.clone(), namespace, &kind);
    let Some(object) = api.get_opt(statefulset).await? else {
        return Ok(Readiness { ready: 0, wanted: 1, counts_alarms: false });
    };
    Ok(serde_json::from_value::<Members>(object.data).unwrap_or_default().readiness())
}

impl Members {
    fn readiness(&self) -> Readiness {
        let number =
            |value: Option<i32>, otherwise: u32| value.map_or(otherwise, |value| u32::try_from(value).unwrap_or(0));
        let mut probes = self.spec.template.spec.containers.iter().filter_map(|one| one.readiness_probe.as_ref());
        Readiness {
            ready: number(self.status.ready_replicas, 0),
            wanted: number(self.spec.replicas, 1),
            counts_alarms: probes.any(counts_alarms),
        }
    }
}

/// Whether a probe fails under NOSPACE: etcd's `/health` does unless that alarm is excluded, and so do `etcdctl endpoint health`
/// and the script of Bitnami's chart that calls it. `/readyz` and `/livez` do not.
fn counts_alarms(probe: &Probe) -> bool {
    let path = probe.http_get.as_ref().and_then(|get| get.path.as_deref()).unwrap_or_default();
    let command = probe.exec.iter().flat_map(|exec| exec.command.iter().flatten());
    let command = command.map(String::as_str).collect::<Vec<_>>().join(" ");
    path.starts_with("/health") && !path.contains("exclude=NOSPACE")
        || command.contains("endpoint health")
        || command.contains("healthcheck.sh")
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn who_counts_an_alarm_is_known_by_the_probe() {
        let members = |probe: serde_json::Value| {
            let object = json!({
                "spec": {"replicas": 3, "template": {"spec": {"containers": [{"name": "etcd", "readinessProbe": probe}]}}},
                "status": {"readyReplicas": 2},
            });
            serde_json::from_value::<Members>(object).unwrap().readiness()
        };
        let get = |path: &str| json!({"httpGet": {"path": path, "port": 2381}});
        let run = |command: &[&str]| json!({"exec": {"command": command}});
        for probe in [
            get("/health"),
            get("/health?serializable=true"),
            run(&["/bin/sh", "-ec", "etcdctl endpoint health"]),
            run(&["/opt/bitnami/scripts/etcd/healthcheck.sh"]),
        ] {
            assert_eq!(members(probe), Readiness { ready: 2, wanted: 3, counts_alarms: true });
        }
        for probe in
            [get("/health?exclude=NOSPACE"), get("/readyz"), run(&["etcdctl", "endpoint", "status"]), json!(null)]
        {
            assert_eq!(members(probe), Readiness { ready: 2, wanted: 3, counts_alarms: false });
        }
    }

    #[test]
    fn what_is_not_said_is_one_member_that_is_not_ready() {
        let members: Members = serde_json::from_value(json!({})).unwrap();
        assert_eq!(members.readiness(), Readiness { ready: 0, wanted: 1, counts_alarms: false });
    }
}
