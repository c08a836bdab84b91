//! The pause of the whole fleet, as the leader knows it.

use std::sync::{Arc, Mutex, PoisonError};

use futures::{StreamExt as _, stream::BoxStream};
use jiff::Timestamp;
use k8s_openapi::api::core::v1::ConfigMap;
use kube::{
    Client,
    api::Api,
    runtime::watcher::{self, Event},
};
use tracing::{error, info, warn};

use super::metrics::ReconcileMetrics;
use crate::{
    defrag::pause::{NAME, Pause},
    runtime::{
        watch::why,
        watched::{One, by_name},
    },
};

/// The switch that everything asks before it starts a run.
#[derive(Debug, Default)]
pub(crate) struct Switch(Mutex<Option<Arc<Pause>>>);

impl Switch {
    /// What keeps the fleet from running; `None` where nothing does.
    pub(crate) fn now(&self) -> Option<Arc<Pause>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn set(&self, pause: Option<Arc<Pause>>) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = pause;
    }
}

/// The watch of the ConfigMap.
pub(super) type Watch = BoxStream<'static, watcher::Result<Event<ConfigMap>>>;

/// Watches the one ConfigMap by its name.
pub(super) fn watch(client: &Client, namespace: &str) -> Watch {
    by_name(Api::<ConfigMap>::namespaced(client.clone(), namespace), NAME).boxed()
}

/// The state from the watch.
#[derive(Default)]
pub(super) struct Told {
    map: One<ConfigMap>,
    /// Why it is not known whether there is one.
    forbidden: bool,
}

impl Told {
    /// Whether it is known whether the fleet is paused. Before that nothing is written and nothing starts.
    pub(super) const fn known(&self) -> bool {
        self.map.known || self.forbidden
    }

    /// Takes in an event; whether something about the pause has changed.
    pub(super) fn take(
        &mut self,
        event: watcher::Result<Event<ConfigMap>>,
        switch: &Switch,
        metrics: &ReconcileMetrics,
        now: Timestamp,
    ) -> bool {
        let known_before = self.known();
        let mut unknown = None;
        match event {
            Ok(event) => {
                self.map.take(event);
                if self.map.known {
                    self.forbidden = false;
                }
            }
            // What was known last stays, should the right be taken away later.
            Err(watcher::Error::InitialListFailed(kube::Error::Api(status)))
                if !self.map.known && matches!(status.code, 401 | 403) =>
            {
                self.forbidden = true;
                unknown = Some(Pause::unknown(&status.message));
            }
            Err(failure) => {
                warn!(reason = why(&failure), "the watch of the ConfigMap {NAME} was interrupted and continues");
                return false;
            }
        }
        if !self.known() {
            return false;
        }
        let pause = unknown.or_else(|| self.map.now.as_ref().map(Pause::of)).map(Arc::new);
        let before = switch.now();
        if known_before && before == pause {
            return false;
        }
        match &pause {
            Some(pause) if self.forbidden => error!("the fleet is paused {}", pause.in_words()),
            Some(pause) => warn!("the fleet is paused {}", pause.in_words()),
            None if before.is_some() => info!("the fleet is no longer paused"),
            None => {}
        }
        metrics.paused_since.set(pause.as_ref().map_or(0, |pause| pause.since.unwrap_or(now).as_second()));
        switch.set(pause);
        true
    }
}

#[cfg(test)]
mod tests {
    use kube::core::response::Status;
    use serde_json::json;

    use super::*;

    fn map(reason: &str) -> ConfigMap {
        let metadata = json!({"name": NAME, "creationTimestamp": "1970-01-01T00:01:00Z"});
        serde_json::from_value(json!({"metadata": metadata, "data": {"reason": reason}})).unwrap()
    }

    fn refused(code: u16) -> watcher::Result<Event<ConfigMap>> {
        let status = Status { code, message: "you may not".to_owned(), ..Status::default() };
        Err(watcher::Error::InitialListFailed(kube::Error::Api(status.boxed())))
    }

    /// What is known and reported after these events: whether it is known, the reason, and the metric.
    fn after(events: Vec<watcher::Result<Event<ConfigMap>>>) -> (bool, Option<String>, i64) {
        let (mut told, switch, metrics) = (Told::default(), Switch::default(), ReconcileMetrics::default());
        let now = Timestamp::from_second(7).unwrap();
        for event in events {
            told.take(event, &switch, &metrics, now);
        }
        let reason = switch.now().and_then(|pause| pause.reason.clone());
        (told.known(), reason, metrics.paused_since.get())
    }

    #[test]
    fn the_fleet_is_paused_while_the_configmap_is_there() {
        let is = |reason: &str, since| (true, Some(reason.to_owned()), since);
        let listed = || vec![Ok(Event::Init), Ok(Event::InitApply(map("a"))), Ok(Event::InitDone)];
        let then = |event| listed().into_iter().chain([event]).collect();
        assert_eq!(after(vec![Ok(Event::Init), Ok(Event::InitApply(map("a")))]), (false, None, 0), "half a list");
        assert_eq!(after(vec![Ok(Event::Init), Ok(Event::InitDone)]), (true, None, 0));
        assert_eq!(after(listed()), is("a", 60));
        assert_eq!(after(then(Ok(Event::Apply(map("b"))))), is("b", 60));
        assert_eq!(after(then(Ok(Event::Delete(map("a"))))), (true, None, 0));
    }

    #[test]
    fn what_cannot_be_read_counts_as_a_pause_and_what_was_known_stays() {
        let (known, reason, since) = after(vec![refused(403)]);
        assert!(known && since == 7);
        insta::assert_snapshot!(reason.unwrap(), @"the ConfigMap etcd-defrag-webhook-pause cannot be read, so the fleet counts as paused: you may not");
        assert_eq!(after(vec![refused(500)]), (false, None, 0), "an API server in trouble is asked again");
        let given = vec![refused(403), Ok(Event::Init), Ok(Event::InitDone)];
        assert_eq!(after(given), (true, None, 0), "the right was given");
        let taken = vec![Ok(Event::Init), Ok(Event::InitDone), refused(403)];
        assert_eq!(after(taken), (true, None, 0));
    }
}
