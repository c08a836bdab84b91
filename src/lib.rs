//! Creates a defragmentation CronJob for each labelled etcd StatefulSet, keeps it correct, and refuses harmful settings
//! when they are written.
//!
//! ```text
//! kubectl ── API server ──► admission ──┐                               ┌─► warnings, a patch, or a refusal
//!                                       ├─► defrag::assess ─────────────┤
//!            API server ──► controller ─┤   (pure: StatefulSet, policy, ├─► the CronJob ─► server-side apply
//! manifests ───────────────► cli ───────┘    Surroundings, now)         └─► findings ─► Events, reports, metrics
//! ```
//!
//! One function, [`defrag::assess()`], assesses a StatefulSet, and webhook, reconciler and command line all call it.
//! Imports have one direction, which `tests/layers.rs` checks: [`defrag`] and [`runtime`] import none of the others;
//! [`admission`], [`controller`] and [`engine`], which runs in the pod of a Job and defragments, import both and not
//! each other; [`cli`] imports all of them.

pub mod admission;
pub mod cli;
pub mod controller;
pub mod defrag;
pub mod engine;
pub mod runtime;
