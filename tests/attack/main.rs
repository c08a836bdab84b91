//! Two replicas with the chart's limits on a real node, attacked by a tenant who may edit StatefulSets and by a pod that reaches
//! the port: what another tenant notices, what the replicas take, and how soon all is as before.
//!
//! `make attack` runs it; elsewhere each test says that it is skipped.

#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used,
    reason = "a failed helper fails the test"
)]

#[path = "../support/adversary.rs"]
mod adversary;
mod allow_all;
#[path = "../support/caller.rs"]
mod caller;
mod configurations;
#[path = "../support/crowd.rs"]
mod crowd;
#[allow(dead_code, reason = "the tests of availability use the rest of it")]
#[path = "../availability/installation.rs"]
mod installation;
mod pod;
mod stage;
mod tenant;
mod verdict;
mod victim;

use std::{
    fs,
    path::Path,
    sync::{Mutex, PoisonError},
    time::Duration,
};

use harness::{API_SERVER, CertManager, Node};

use self::{
    installation::{Installation, NAME, NAMESPACE},
    stage::Stage,
};

/// One at a time: each measures the machine's answers.
static ALONE: Mutex<()> = Mutex::new(());

/// How long each attack goes on; `None` after having said that the given test is skipped.
fn lasts(test: &str) -> Option<Duration> {
    let Some(seconds) = std::env::var_os("ATTACK_SECONDS") else {
        println!("SKIPPED: {test}: a drill of its own, for attacks take long: make attack");
        return None;
    };
    Some(Duration::from_secs(seconds.to_str().and_then(|text| text.parse().ok()).expect("a number of seconds")))
}

#[test]
fn two_replicas_under_attack() {
    let test = "two_replicas_under_attack";
    let _alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
    let Some(lasts) = lasts(test) else { return };
    let Some(node) = Node::start_with_own_image(test, Vec::new) else { return };
    let _cert_manager = CertManager::start(&node);
    let installation = Installation::install(&node, "");
    let mut stage = Stage::set(&installation, lasts);
    stage.at_rest();
    // A part of their names, to look at some of them.
    let only = std::env::var("ATTACK").unwrap_or_default();
    for attack in tenant::attacks(&node, stage.runtime()).iter().filter(|attack| attack.name.contains(&only)) {
        stage.tenant(attack);
    }
    let pod = pod::Attacker::start(&node);
    for attack in pod::ATTACKS.into_iter().filter(|attack| attack.name.contains(&only)) {
        // Of writes one in a hundred may be refused where strangers may call.
        stage.pod(&pod, attack, 0.01);
    }
    stage.end();
}

/// Whoever has no certificate cannot call, and takes no place of the API server's.
#[test]
fn two_replicas_that_know_who_calls_under_attack() {
    let test = "two_replicas_that_know_who_calls_under_attack";
    let _alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
    let Some(lasts) = lasts(test) else { return };
    let dir = tempfile::tempdir().unwrap();
    let ca = caller::authority(dir.path(), "clients");
    caller::client(dir.path(), &ca, caller::CLIENT);
    let file = caller::admission_configuration(dir.path(), &format!("{NAME}.{NAMESPACE}.svc"));
    let extra = format!("--extra={API_SERVER}=--admission-control-config-file={file}");
    let Some(node) = Node::start_with_own_image(test, || vec![extra]) else { return };
    let _cert_manager = CertManager::start(&node);
    trusted(&node, &dir.path().join("clients.crt"));
    let values = format!("tls: {{clientCA: {{secretName: clients, names: [{}]}}}}", caller::CLIENT);
    let installation = Installation::install(&node, &values);
    let mut stage = Stage::set(&installation, lasts);
    let pod = pod::Attacker::start(&node);
    for attack in pod::ATTACKS {
        stage.pod(&pod, attack, 0.0);
    }
    stage.end();
}

/// The Secret with the CA of clients.
fn trusted(node: &Node, ca: &Path) {
    node.apply(include_str!("../../deploy/manifests/00-namespace.yaml"));
    let secret = serde_json::json!({
        "apiVersion": "v1", "kind": "Secret", "metadata": {"name": "clients", "namespace": NAMESPACE},
        "stringData": {"ca.crt": fs::read_to_string(ca).unwrap()},
    });
    node.apply(&secret.to_string());
}
