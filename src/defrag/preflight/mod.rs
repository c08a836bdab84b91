//! Whether a run could connect to its etcd, checked before the first night: one Job from the CronJob's template that
//! checks and changes nothing.
//!
//! The result of a preflight is written to the CronJob ([`Record`]), so that the next leader does not repeat it.
//! [`when`] decides when one is due.

mod access;
pub mod advice;
mod job;
mod names;
mod order;
mod record;
mod when;

pub use self::{
    access::{Access, quota_of_our_own},
    job::{job, job_name},
    names::{ANNOTATION, DEADLINE, LABEL, STALE},
    order::{PLACES, Waiting, in_order, is_sample_full, rollout_at},
    record::{Outcome, Record, WELL, well},
    when::{When, Why, tries, when},
};
