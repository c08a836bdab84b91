//! End to end: the real binary against a real API server, controller manager and etcd.

#[path = "../harness/mod.rs"]
mod harness;

mod accepted;
mod admission;
mod controlplane;
mod cronjob;
mod failures;
mod jobs;
mod lifecycle;
mod rescue;
mod schedules;
mod support;
