//! Whether a run would reach its etcd, tried before the first night: one Job from the CronJob's template that checks and changes
//! nothing.
//!
//! What a preflight found is written on the CronJob ([`Record`]), so that whoever leads next does not try it again. When one
//! is due, [`when`] says.

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
