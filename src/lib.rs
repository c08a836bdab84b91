//! Label an etcd StatefulSet, and a safe, current, correctly aimed defragmentation CronJob exists for it from then on; a
//! setting that would hurt that etcd is refused when it is written.
//!
//! ```text
//! kubectl ── API server ──► admission ──┐                               ┌─► warnings, a patch, or a refusal
//!                                       ├─► defrag::assess ─────────────┤
//!            API server ──► controller ─┤   (pure: StatefulSet, policy, ├─► the CronJob ─► server-side apply
//! manifests ───────────────► cli ───────┘    Surroundings, now)         └─► findings ─► Events, reports, metrics
//! ```
//!
//! One function, [`defrag::assess()`], assesses a StatefulSet, and webhook, reconciler and command line all call it. Imports
//! point one way, and `tests/layers.rs` reads them: [`defrag`] and [`runtime`], the ground, know nobody; [`admission`],
//! [`controller`] and [`engine`], which runs in the pod of a Job and defragments, stand on both and do not know each other;
//! [`cli`] is on top and wires everything.

pub mod admission;
pub mod cli;
pub mod controller;
pub mod defrag;
pub mod engine;
pub mod runtime;
