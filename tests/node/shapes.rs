//! Etcds of many shapes, each labelled, filled, emptied and defragmented.

use super::support::{defragments, namespace, world};
use crate::harness::{EtcdPods, PodsOptions, Secrets};

/// Nothing but the label: every setting is the built-in one, the 30 s between members included.
#[test]
fn one_label() {
    let Some(world) = world("one_label") else { return };
    let pods = EtcdPods::start(&world.node, &namespace(&world.node, "label"), PodsOptions::default());
    defragments(&world.node, &pods);
}

/// What the other shapes have in common: no long waits.
fn quick(options: PodsOptions) -> PodsOptions {
    options.annotated("wait-between-members", "1s")
}

#[test]
fn a_password_secret() {
    let Some(world) = world("a_password_secret") else { return };
    let options = PodsOptions { password: Some("a$(POD_NAME) b,c".to_owned()), ..PodsOptions::default() };
    let options = quick(options).annotated("username-secret", "kamaji-etcd-root-user:username,password");
    let pods = EtcdPods::start(&world.node, &namespace(&world.node, "rbac"), options);
    defragments(&world.node, &pods);
}
