//! What every look shares, and how it may end early.

use std::{path::PathBuf, sync::Arc, time::Duration};

use kube::Client;
use tokio::task::JoinError;

use super::{metrics::ReconcileMetrics, pause::Switch};
use crate::runtime::{api_error, clock::Clock, cores::Cores, leadership::Leadership};

/// How the reconciler runs.
#[derive(Clone)]
pub struct Options {
    /// How many StatefulSets are reconciled at once; at least one.
    pub concurrency: usize,
    /// The only namespace to look at; `None` for all.
    pub namespace: Option<String>,
    /// The namespace of this process, in which the ConfigMap is that pauses the fleet.
    pub own_namespace: String,
    /// Who this process is, as Events name it.
    pub identity: String,
    /// The folder with the files that policies name in `metrics.prometheus`.
    pub prometheus_files: PathBuf,
    /// Our own image, for the runs of policies that say `BuiltIn`; where it is not known, what it is called when it is built.
    pub own_image: Option<Arc<str>>,
    /// The image of etcd-defrag, for the runs of policies without an image; `None` for the newest that is known.
    pub engine_image: Option<Arc<str>>,
    /// Where assessments are made.
    pub cores: Cores,
    /// Whether preflights are made where policies do not turn them off.
    pub preflight: bool,
    /// The time of an assessment, and by which an orphaned CronJob is deleted.
    pub clock: Clock,
}

/// Why a look at a StatefulSet ended early.
#[derive(Debug, thiserror::Error)]
pub(super) enum Error {
    #[error("{}", api_error::describe(.0))]
    Kube(#[from] kube::Error),
    #[error("could not compute a patch: {0}")]
    Patch(#[source] serde_json::Error),
    #[error("another replica is the leader")]
    NotLeading,
    #[error("not finished after {0:?}")]
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
    pub(super) own_image: Option<Arc<str>>,
    pub(super) engine_image: Option<Arc<str>>,
    pub(super) cores: Cores,
    pub(super) clock: Clock,
    /// Whether preflights are made at all.
    pub(super) preflight: bool,
    /// What keeps the whole fleet from running.
    pub(super) pause: Switch,
}

impl Context {
    /// Whether the fleet is paused. To be asked before any run is started, of whatever kind.
    pub(super) fn is_paused(&self) -> bool {
        self.pause.now().is_some()
    }

    /// To be asked right before each write.
    pub(super) fn may_write(&self) -> Result<(), Error> {
        if self.leadership.is_leader() { Ok(()) } else { Err(Error::NotLeading) }
    }
}
