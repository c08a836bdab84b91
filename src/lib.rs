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
//! point one way: [`defrag`] knows nothing of the others; [`admission`] and [`controller`] know it; [`runtime`] carries
//! them; [`cli`] wires everything.

pub mod admission;
pub mod cli;
pub mod controller;
pub mod defrag;
pub mod runtime;
