//! The pure core: what a StatefulSet says, what is wrong with it and which CronJob it gets. No clock, no client.
//!
//! ```text
//! StatefulSet ──┬─ settings (and policy) ──┐
//!               └─ etcd ─► facts ──────────┼─► assess ─► findings, Plan ─► cronjob
//! Surroundings ─── cronjob::live, record ──┘
//! ```
//!
//! [`assess()`] is the only way to a [`Plan`], and a CronJob is built from a [`Plan`] only.

pub mod assess;
pub mod budget;
pub mod cronjob;
pub mod defaulting;
pub mod dns;
pub mod duration;
pub mod engine;
pub mod etcd;
pub mod facts;
pub mod field;
pub mod finding;
pub mod form;
pub mod keys;
pub mod measure;
pub mod not_started;
pub mod ondemand;
pub mod pause;
pub mod policy;
pub mod preflight;
pub mod quantity;
pub mod ratio;
pub mod retry;
pub mod rule;
pub mod run_result;
pub mod runner;
pub mod schedule;
pub mod settings;
pub mod statefulset;
pub mod text;

pub use assess::{
    Assessment, Enrollment, Neighbours, Other, Plan, Service, Surroundings, Verdict, assess, assess_before_enrolment,
    gives_way, labelled_in_vain,
};
