//! The reconciler: for each enrolled StatefulSet exactly one CronJob, as the assessment says.
//!
//! ```text
//! watches ──► caches ──► queue ──► one look at one StatefulSet                  (as many at once as `concurrency`)
//!   StatefulSets, CronJobs, Jobs     observe ─► assess ─► ensure ─► record events
//! ```
//!
//! Only observe, ensure and record events see a client; assess is the pure core, on a thread that carries nothing else. A
//! look at an object that is as it should be asks and writes nothing: the caches answer. A stale cache never decides over
//! what exists: before an object is changed or deleted, the live one is read, and the write is bound to its uid, or the write is
//! bound to the version that the cache shows; a CronJob that the caches do not show is created, which fails where there is one.

mod compliance;
mod context;
mod events;
mod leading;
pub mod metrics;
mod object_state;
pub mod on_demand;
mod pause;
pub mod policies;
mod preflight;
mod queue;
mod reconcile;
mod retry;
mod runs;
mod watch;

use std::sync::Arc;

use kube::Client;
use tokio::sync::oneshot;
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

pub use self::context::Options;
pub(crate) use self::watch::ObjectKey;
use self::{
    context::{Context, Error},
    leading::Leading,
    metrics::ReconcileMetrics,
    policies::policy_snapshot::PolicySnapshots,
};
use crate::runtime::leadership::{self, Leadership};

/// Runs the reconciler until `shutdown` is cancelled: takes part in the election, if there is one, and as the leader
/// keeps every CronJob in its desired state. A changed policy takes effect when it has settled.
///
/// At the end, reconciliations in progress are completed, and the Lease is released after the last write.
pub async fn run(
    client: Client,
    mut snapshots: PolicySnapshots,
    options: Options,
    lease: Option<leadership::Config>,
    metrics: ReconcileMetrics,
    shutdown: CancellationToken,
) {
    // Before the policies are known, a CronJob could only be written to be written again.
    tokio::select! {
        () = shutdown.cancelled() => return,
        () = snapshots.synced() => {}
    }
    // Dropped when the work has ended, also when this future is dropped: only then may another replica begin.
    let (work, work_ended) = oneshot::channel::<()>();
    let (mut leadership, election) = match lease {
        Some(config) => {
            let (leadership, election) = leadership::election(client.clone(), config);
            let stop = async {
                let _ = work_ended.await;
            };
            (leadership, Some(tokio::spawn(election.run(stop))))
        }
        None => (Leadership::always(), None),
    };
    let context = Arc::new(Context {
        client,
        leadership: leadership.clone(),
        identity: options.identity.clone(),
        metrics: metrics.clone(),
        prometheus_files: options.prometheus_files.clone(),
        own_image: options.own_image.clone(),
        engine_image: options.engine_image.clone(),
        cores: options.cores.clone(),
        clock: Arc::clone(&options.clock),
        preflight: options.preflight,
        pause: pause::Switch::default(),
    });
    loop {
        tokio::select! {
            () = shutdown.cancelled() => break,
            () = leadership.gained() => {}
        }
        info!("the reconciler starts");
        metrics.leader.set(1);
        let leading = Leading::new(Arc::clone(&context), &options, snapshots.subscribe());
        let end = leading.run(&mut leadership, &shutdown).await;
        for gauge in [&metrics.leader, &metrics.enrolled, &metrics.refused, &metrics.foreign, &metrics.paused_since] {
            gauge.set(0);
        }
        metrics.etcds.clear();
        match end {
            leading::End::Shutdown => break,
            leading::End::LeadershipLost => {
                warn!("the reconciler stops, because another replica may be the leader now");
            }
        }
    }
    drop(work);
    if let Some(election) = election
        && let Err(error) = election.await
    {
        warn!(%error, "the election failed");
    }
}
