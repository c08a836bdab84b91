//! A steady stream of writes through the API server, each of which asks every webhook that is registered.

use std::{
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use k8s_openapi::api::apps::v1::StatefulSet;
use kube::{Api, api::PostParams};

use crate::support::etcd;
use harness::{ControlPlane, client};

/// Between the starts of two writes.
const PACE: Duration = Duration::from_millis(50);

/// A stream of writes under way.
pub(crate) struct Load {
    stop: Arc<AtomicBool>,
    done: Arc<AtomicUsize>,
    failed: Arc<Mutex<Vec<String>>>,
    running: JoinHandle<()>,
}

impl Load {
    /// Creates etcds in the namespace `default`, without storing them, until it is ended. 20 a second.
    pub(crate) fn start(plane: &ControlPlane) -> Self {
        let (stop, done) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicUsize::new(0)));
        let failed = Arc::new(Mutex::new(Vec::new()));
        let kubeconfig = plane.kubeconfig().to_owned();
        let running = thread::spawn({
            let (stop, done, failed) = (Arc::clone(&stop), Arc::clone(&done), Arc::clone(&failed));
            move || {
                let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
                runtime.block_on(async {
                    let api: Api<StatefulSet> = Api::namespaced(client(&kubeconfig).await, "default");
                    let object: StatefulSet = serde_json::from_value(etcd("default", "load", &[])).unwrap();
                    let parameters = PostParams { dry_run: true, ..PostParams::default() };
                    while !stop.load(Ordering::Relaxed) {
                        let begun = Instant::now();
                        if let Err(error) = api.create(&parameters, &object).await {
                            let text = match error {
                                kube::Error::Api(status) => status.message.clone(),
                                other => other.to_string(),
                            };
                            failed.lock().unwrap_or_else(PoisonError::into_inner).push(text);
                        }
                        done.fetch_add(1, Ordering::Relaxed);
                        tokio::time::sleep(PACE.saturating_sub(begun.elapsed())).await;
                    }
                });
            }
        });
        Self { stop, done, failed, running }
    }

    /// Ends it: how many writes there were, and what the API server said to those that failed.
    pub(crate) fn end(self) -> (usize, Vec<String>) {
        self.stop.store(true, Ordering::Relaxed);
        self.running.join().unwrap();
        let failed = std::mem::take(&mut *self.failed.lock().unwrap_or_else(PoisonError::into_inner));
        (self.done.load(Ordering::Relaxed), failed)
    }

    /// Ends it; every write must have gone through.
    #[track_caller]
    pub(crate) fn end_without_failure(self, what: &str) {
        let (done, failed) = self.end();
        println!("{what}: {done} writes, {} failed", failed.len());
        assert!(done > 20, "{what}: only {done} writes were tried");
        assert!(failed.is_empty(), "{what}: {} of {done} writes failed: {failed:#?}", failed.len());
    }
}
