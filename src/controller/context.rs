//! What every look shares, and how it may end early.

use std::{path::PathBuf, time::Duration};

use kube::Client;
use tokio::task::JoinError;

use super::metrics::ReconcileMetrics;
use crate::runtime::{api_error, clock::Clock, cores::Cores, leadership::Leadership};

/// How the reconciler runs.
#[derive(Clone)]
pub struct Options {
    /// How many StatefulSets are looked at at once; at least one.
    pub concurrency: usize,
    /// The only namespace to look at; `None` for all.
    pub namespace: Option<String>,
    /// Who this process is, as Events name it.
    pub identity: String,
    /// The folder with the files that policies name in `metrics.prometheus`.
    pub prometheus_files: PathBuf,
    /// Where assessments are made.
    pub cores: Cores,
    /// The time of an assessment, and by which an orphaned CronJob is deleted.
    pub clock: Clock,
}

/// Why a look at a StatefulSet ended early.
#[derive(Debug, thiserror::Error)]
pub(super) enum Error {
    #[error("{}", api_error::describe(.0))]
    Kube(#[from] kube::Error),
    #[error("a patch could not be made: {0}")]
    Patch(#[source] serde_json::Error),
    #[error("another replica leads")]
    NotLeading,
    #[error("no end after {0:?}")]
    TimedOut(Duration),
    #[error("the assessment ended unexpectedly, which is a bug: {0}")]
    NotAssessed(#[source] JoinError),
}

/// What every look shares.
pub(super) struct Context {
    pub(super) client: Client,
    pub(super) leadership: Leadership,
    pub(super) identity: String,
    pub(super) metrics: ReconcileMetrics,
    pub(super) prometheus_files: PathBuf,
    pub(super) cores: Cores,
    pub(super) clock: Clock,
}

impl Context {
    /// To be asked right before each write.
    pub(super) fn may_write(&self) -> Result<(), Error> {
        if self.leadership.is_leader() { Ok(()) } else { Err(Error::NotLeading) }
    }
}
