//! What happens when the fleet is paused, and when it is resumed.

use k8s_openapi::api::core::v1::ConfigMap;
use kube::runtime::watcher::{self, Event as Watch};

use super::Leading;

impl Leading {
    /// Follows the pause of the fleet: each etcd is reconciled again if something about it has changed.
    pub(super) fn take_pause(&mut self, event: watcher::Result<Watch<ConfigMap>>) {
        let context = &self.context;
        if self.pause.take(event, &context.pause, &context.metrics, (context.clock)()) {
            self.statefulsets.iter().for_each(|(key, _)| self.queue.add(key));
        }
    }
}
