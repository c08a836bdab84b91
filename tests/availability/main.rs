//! What nobody should notice: restarts, renewals and lost leaders, while StatefulSets are created and changed all the time
//! through the API server. The project's own pods from its own image, two replicas behind their Service, installed with
//! Helm on a real node.
//!
//! A binary of its own: what runs beside it would be in the figures.

#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used,
    reason = "a failed helper fails the test"
)]

mod installation;
mod load;
mod phase;
mod upgrade;

use std::{
    sync::{Mutex, PoisonError},
    thread::sleep,
    time::Duration,
};

use etcd_defrag_webhook::defrag::policy::DEFAULT_RULE;
use jiff::Timestamp;

use self::{
    installation::{Installation, NAME, NAMESPACE},
    phase::Phases,
    upgrade::{NO_POLICY, Next, VERSION, to_another_version, writers},
};
use harness::{CertManager, Node, Process, image_argument};

/// One test at a time: each measures the machine's answers.
static ALONE: Mutex<()> = Mutex::new(());

/// How long the load goes on while nothing happens, after a loss until things are looked at, and at the end of a phase: what a
/// change leaves behind shows in later calls. `AVAILABILITY_SECONDS=8` makes a drill of it.
fn a_while() -> Duration {
    let seconds = std::env::var("AVAILABILITY_SECONDS").map_or(4, |text| text.parse().expect("a number of seconds"));
    Duration::from_secs(seconds)
}

#[test]
fn restarts_renewals_and_lost_leaders_under_load() {
    let _alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
    let test = "restarts_renewals_and_lost_leaders_under_load";
    let Some(node) = Node::start_with_own_image(test, Vec::new) else { return };
    let _cert_manager = CertManager::start(&node);
    let installation = Installation::install(&node, "");
    figures_of_the_process(&installation);

    let mut phases = Phases::start(&node);
    phases.planned("nothing", || sleep(a_while()));
    phases.planned("rolling restart", || installation.restart());
    phases.planned("certificate renewed", || {
        let before = installation.expiries();
        installation.renew(NAME, &format!("{NAME}-tls"));
        installation.serves_another_than(&before);
    });
    phases.planned("CA renewed, then the certificate", || {
        let before = installation.expiries();
        installation.renew(&format!("{NAME}-ca"), &format!("{NAME}-ca"));
        installation.renew(NAME, &format!("{NAME}-tls"));
        installation.serves_another_than(&before);
    });
    phases.mishap("leader killed (SIGKILL)", || {
        let process = installation.process(&installation.leader().unwrap());
        let lost = Timestamp::now();
        process.kill();
        sleep(a_while());
        installation.settled();
        lost
    });
    phases.mishap("leader stopped (SIGSTOP) for 30 s", || {
        let leader = installation.leader().unwrap();
        let process = installation.process(&leader);
        let lost = Timestamp::now();
        process.signal("STOP");
        sleep(Duration::from_secs(30));
        assert_ne!(installation.leader().as_ref(), Some(&leader), "a leader that hangs has kept the Lease");
        process.signal("CONT");
        sleep(a_while());
        installation.settled();
        lost
    });
    phases.end();
    installation.uninstall();
}

/// The process makes its own certificate; a Secret that is lost is how all of it, CA and certificate, becomes new.
#[test]
fn a_ca_of_its_own_is_replaced_under_load() {
    let _alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
    let Some(node) = Node::start_with_own_image("a_ca_of_its_own_is_replaced_under_load", Vec::new) else { return };
    let installation = Installation::install(&node, "tls: {mode: self-signed}");
    let mut phases = Phases::start(&node);
    phases.planned("nothing", || sleep(a_while()));
    phases.planned("its own CA and certificate replaced", || {
        let before = installation.expiries();
        node.kubectl_ok(&["-n", NAMESPACE, "delete", "secret", &format!("{NAME}-tls")]);
        installation.serves_another_than(&before);
    });
    phases.planned("rolling restart", || installation.restart());
    phases.end();
    installation.uninstall();
}

/// Both versions answer for a while, of which one makes the CronJobs; what they want in a CronJob differs, and it is written
/// once for each version that comes to lead.
#[test]
fn an_upgrade_and_its_way_back_under_load() {
    let _alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
    let test = "an_upgrade_and_its_way_back_under_load";
    let mut next = None;
    let made = || vec![image_argument(&next.insert(Next::make()).image())];
    let Some(node) = Node::start_with_own_image(test, made) else { return };
    let next = next.unwrap();
    let _cert_manager = CertManager::start(&node);
    let installation = Installation::install(&node, NO_POLICY);
    let mut phases = Phases::start(&node);
    phases.planned("nothing", || sleep(a_while()));
    phases.planned("upgrade to the next version", || {
        to_another_version(&installation, &next.rule, || installation.upgrade(&next.chart(), NO_POLICY));
    });
    phases.planned("rollback to this version", || {
        to_another_version(&installation, DEFAULT_RULE, || installation.rollback());
    });
    phases.end();
    // Never back and forth.
    assert_eq!(writers(&node), [VERSION, &next.version, VERSION]);
    installation.uninstall();
}

/// What it takes to run it.
fn figures_of_the_process(installation: &Installation<'_>) {
    for replica in installation.replicas() {
        let Process { resident, .. } = installation.process(&replica.name);
        let tenths = (resident * 10) >> 20;
        println!(
            "{}: {}.{} MiB resident, ready {} s after the start of its container",
            replica.name,
            tenths / 10,
            tenths % 10,
            replica.ready_after
        );
        assert!(resident > 1 << 20, "no process of ours takes so little: {resident} bytes");
        assert!(replica.ready_after <= 15, "from start to ready: {} s", replica.ready_after);
    }
}
