//! What a pass is given: the etcds to look at, the policies that govern them, and the annotations by which it knows them.

use std::sync::Arc;

use kube::api::ObjectMeta;

use super::super::ObjectKey;
use crate::defrag::{
    ondemand::{Aim, Facts, Places},
    policy::OnDemand,
    statefulset::StatefulSet,
};

/// The annotation of a Job on demand that takes the place kept for etcds above `emergencyAbove`, and its value.
pub(crate) const PLACE: &str = "etcd-defrag.io/place";
/// See [`PLACE`].
pub(crate) const KEPT: &str = "kept";

/// An etcd to look at.
pub(crate) struct Candidate {
    pub(crate) key: ObjectKey,
    pub(crate) object: Arc<StatefulSet>,
    pub(crate) aim: Arc<Aim>,
    /// The name of the policy that governs it.
    pub(crate) policy: Arc<str>,
    pub(crate) facts: Facts,
    /// The metadata of its CronJob as the watch saw it.
    pub(crate) cronjob: ObjectMeta,
    /// How often in a row the same refusal was found.
    pub(crate) strikes: (&'static str, u32),
}

/// A policy, and who holds the places for runs on demand under it.
pub(crate) struct Governed {
    pub(crate) on_demand: OnDemand,
    pub(crate) places: Places,
}
