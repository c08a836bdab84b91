//! `selftest`: is the installation at work? What `helm test` runs: two writes through the API server, both as dry-runs.

#![allow(clippy::doc_markdown, reason = "the help shows plain text")]

use anyhow::Context as _;
use axum::http::{self, StatusCode, header::WARNING};
use http_body_util::BodyExt as _;
use kube::{Client, api::PostParams, client::Body, core::Request};
use serde_json::{Value, json};

use super::{Exit, cluster, output};
use crate::{
    admission::{Entry, registration::webhook_name},
    defrag::keys::{ENABLED, Key},
};

/// The most that is read of an answer, in bytes.
const ANSWER_LIMIT: usize = 1 << 20;

/// Test the webhook through the API server, with dry-run writes
///
/// A labelled etcd with a schedule that fires every minute has to be refused, and one without a schedule has to be accepted
/// and get one. Nothing is stored. The exit code is 1 if the webhook does not work; the reason is printed.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// A namespace that is not excluded from the webhook, as kube-system and its own are
    #[arg(short, long, default_value = "default")]
    namespace: String,
    #[command(flatten)]
    access: cluster::Access,
}

pub(super) fn run(args: &Args) -> anyhow::Result<Exit> {
    cluster::run(test(args))
}

async fn test(args: &Args) -> anyhow::Result<Exit> {
    let namespace = args.namespace.as_str();
    let client = args.access.client().await?;
    let mut exit = Exit::Clean;
    for (schedule, check) in [(Some("* * * * *"), refused as fn(&Answer) -> Verdict), (None, filled_in)] {
        let answer = dry_run(&client, namespace, &statefulset(namespace, schedule)).await?;
        match check(&answer) {
            Ok(good) => output::print_line(&format!("ok: {good}"))?,
            Err(bad) => {
                output::say(&format!("FAILED: {bad}"));
                exit = Exit::Refused;
            }
        }
    }
    Ok(exit)
}

/// What an answer says of the installation: what works, or what does not and where to look.
type Verdict = Result<String, String>;

/// The answer of the API server to a write.
#[derive(Debug)]
struct Answer {
    code: StatusCode,
    /// The object where it was accepted, else a Status.
    body: Value,
    warnings: Vec<String>,
}

impl Answer {
    fn message(&self) -> &str {
        self.body.get("message").and_then(Value::as_str).unwrap_or("the API server gave no reason")
    }

    fn annotation(&self, key: Key) -> Option<&str> {
        self.body.get("metadata")?.get("annotations")?.get(key.annotation())?.as_str()
    }

    /// Trouble that any of the writes can meet.
    fn trouble(&self) -> Option<String> {
        let message = self.message();
        if message.contains("failed calling webhook") {
            return Some(format!(
                "the API server cannot reach the webhook, and refuses writes of etcd-defrag.io/ keys until it does: {message}. Check the pods, the certificate, and the caBundle of the ValidatingWebhookConfiguration; a firewall has to allow connections from the API server to the pods' webhook port"
            ));
        }
        match self.code {
            StatusCode::FORBIDDEN => Some(format!(
                "this test is not allowed to write: {message}. It needs the right to create StatefulSets in that namespace"
            )),
            StatusCode::NOT_FOUND => Some(format!("{message}. Name a namespace that exists with --namespace")),
            _ => None,
        }
    }
}

/// The verdict on the answer to a harmful schedule.
fn refused(answer: &Answer) -> Verdict {
    if answer.code == StatusCode::UNPROCESSABLE_ENTITY && answer.message().contains(&webhook_name(Entry::Create)) {
        return Ok("a schedule that fires every minute is refused".to_owned());
    }
    if let Some(trouble) = answer.trouble() {
        return Err(trouble);
    }
    if !answer.code.is_success() {
        return Err(format!("something else refused the write first ({}): {}", answer.code, answer.message()));
    }
    if answer.warnings.iter().any(|warning| warning.contains("schedule")) {
        return Ok(
            "a schedule that fires every minute is warned about; the policy there does not ask for Deny".to_owned()
        );
    }
    Err("a schedule that fires every minute was accepted without a warning. Either the webhook configurations are missing (kubectl get validatingwebhookconfigurations), or the API server cannot reach the webhook, which never blocks a create (its audit log says failed-open.validation), or the namespace is excluded, or the policy that governs it only audits".to_owned())
}

/// The verdict on the answer to an etcd that leaves its schedule to the policy.
fn filled_in(answer: &Answer) -> Verdict {
    if !answer.code.is_success() {
        return Err(answer
            .trouble()
            .unwrap_or_else(|| format!("a correct etcd was refused ({}): {}", answer.code, answer.message())));
    }
    match (answer.annotation(Key::Schedule), answer.annotation(Key::Defaulted)) {
        (Some(schedule), Some(_)) => {
            Ok(format!("an etcd without a schedule is accepted and given {schedule:?}"))
        }
        _ => Err("an etcd without a schedule was accepted and not given one: the API server did not reach the mutating webhook. Check the caBundle of the MutatingWebhookConfiguration; the reconciler uses the policy's schedule in any case".to_owned()),
    }
}

async fn dry_run(client: &Client, namespace: &str, object: &Value) -> anyhow::Result<Answer> {
    let path = format!("/apis/apps/v1/namespaces/{namespace}/statefulsets");
    let parameters = PostParams { dry_run: true, ..PostParams::default() };
    let request = Request::new(path).create(&parameters, serde_json::to_vec(object)?)?;
    let response = client.send(request.map(Body::from)).await.context("cannot reach the API server")?;
    let (head, body) = response.into_parts();
    let body = http_body_util::Limited::new(body, ANSWER_LIMIT).collect().await;
    let bytes = body.map_err(anyhow::Error::from_boxed).context("cannot read the API server's answer")?.to_bytes();
    Ok(Answer {
        code: head.status,
        body: serde_json::from_slice(&bytes).unwrap_or_default(),
        warnings: warnings(&head.headers),
    })
}

fn warnings(headers: &http::HeaderMap) -> Vec<String> {
    let values = headers.get_all(WARNING).iter();
    values.map(|value| String::from_utf8_lossy(value.as_bytes()).into_owned()).collect()
}

/// A small etcd, sound but for its schedule.
fn statefulset(namespace: &str, schedule: Option<&str>) -> Value {
    let name = "etcd-defrag-selftest";
    let labels = json!({"app.kubernetes.io/name": name});
    let annotations = schedule.map(|schedule| json!({Key::Schedule.annotation(): schedule}));
    json!({
        "apiVersion": "apps/v1",
        "kind": "StatefulSet",
        "metadata": {"name": name, "namespace": namespace, "labels": {ENABLED: "true"}, "annotations": annotations},
        "spec": {
            "replicas": 3,
            "serviceName": name,
            "selector": {"matchLabels": labels},
            "template": {
                "metadata": {"labels": labels},
                "spec": {
                    "securityContext": {"runAsNonRoot": true, "runAsUser": 65532, "seccompProfile": {"type": "RuntimeDefault"}},
                    "containers": [{
                        "name": "etcd",
                        "image": "quay.io/coreos/etcd:v3.6.12",
                        "command": [
                            "etcd", "--name=$(POD_NAME)", "--quota-backend-bytes=2147483648",
                            "--auto-compaction-mode=periodic", "--auto-compaction-retention=5m",
                            "--listen-client-urls=http://0.0.0.0:2379",
                            format!("--advertise-client-urls=http://$(POD_NAME).{name}.{namespace}.svc:2379"),
                        ],
                        "env": [{"name": "POD_NAME", "valueFrom": {"fieldRef": {"fieldPath": "metadata.name"}}}],
                        "ports": [{"name": "client", "containerPort": 2379}],
                        "securityContext": {"allowPrivilegeEscalation": false, "capabilities": {"drop": ["ALL"]}},
                    }],
                },
            },
        },
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(code: u16, body: Value, warnings: &[&str]) -> Answer {
        let code = StatusCode::from_u16(code).unwrap();
        Answer { code, body, warnings: warnings.iter().map(|&warning| warning.to_owned()).collect() }
    }

    fn said(code: u16, message: &str) -> Answer {
        answer(code, json!({"kind": "Status", "message": message}), &[])
    }

    #[test]
    fn each_state_of_an_installation_in_words() {
        let denied = "admission webhook \"create.etcd-defrag-webhook.etcd-defrag.io\" denied the request: …";
        let away = "failed calling webhook \"validate.etcd-defrag-webhook.etcd-defrag.io\": connection refused";
        let forbidden = "statefulsets.apps is forbidden: User \"x\" cannot create resource";
        let filled = json!({"metadata": {"annotations": {
            "etcd-defrag.io/schedule": "17 0 * * *", "etcd-defrag.io/defaulted": "schedule"}}});
        let warning = "299 - \"etcd-defrag.io/schedule fires every minute\"";
        let cases = [
            ("refused", refused(&said(422, denied))),
            ("warned about", refused(&answer(201, json!({}), &[warning]))),
            ("not looked at", refused(&answer(201, json!({}), &[]))),
            ("webhook away", refused(&said(500, away))),
            ("no right", refused(&said(403, forbidden))),
            ("no namespace", refused(&said(404, "namespaces \"x\" not found"))),
            ("another's refusal", refused(&said(422, "admission webhook \"other\" denied the request: no"))),
            ("filled in", filled_in(&answer(201, filled, &[]))),
            ("not filled in", filled_in(&answer(201, json!({}), &[]))),
            ("refused though sound", filled_in(&said(422, denied))),
        ];
        let words = cases.map(|(state, verdict)| match verdict {
            Ok(good) => format!("{state}\n  ok: {good}\n"),
            Err(bad) => format!("{state}\n  FAILED: {bad}\n"),
        });
        insta::assert_snapshot!(words.concat());
    }

    #[test]
    fn the_object_is_sound_but_for_its_schedule() {
        use crate::defrag::{Surroundings, assess, policy::Governing, statefulset::StatefulSet};
        let denials = |schedule| {
            let object: StatefulSet = serde_json::from_value(statefulset("default", schedule)).unwrap();
            let assessment = assess(&object, &Governing::built_in(), &Surroundings::default(), jiff::Timestamp::now());
            assessment
                .findings
                .iter()
                .filter(|finding| finding.denies())
                .map(|finding| finding.code.to_string())
                .collect()
        };
        let none: Vec<String> = denials(None);
        assert_eq!(none, Vec::<String>::new());
        assert_eq!(denials(Some("* * * * *")), ["schedule-too-often"]);
    }
}
