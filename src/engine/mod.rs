//! The built-in runner: `etcd-defrag-webhook defrag` in the pod of a Job, with the flags of etcd-defrag.
//!
//! [`crate::defrag::runner`] decides, and this module talks to etcd: [`run()`] is one run from the first connection to
//! the result.

mod client;
mod cluster;
mod connect;
mod error;
mod log;
mod messages;
mod options;
mod report;
mod run;
mod turns;

pub use self::{
    options::{Login, Options, OptionsError, Tls, rule},
    report::{TERMINATION_LOG, write_result},
    run::run,
};
