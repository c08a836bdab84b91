//! Watches of single objects.

use std::fmt::Debug;

use futures::Stream;
use kube::{
    Api, Resource,
    runtime::{
        WatchStreamExt as _,
        watcher::{self, Event, watcher},
    },
};
use serde::de::DeserializeOwned;

use super::watch::{WATCH_SECONDS, pauses};

/// One object that is watched by its name.
pub(crate) struct One<T> {
    /// Whether it is known whether it is there.
    pub(crate) known: bool,
    pub(crate) now: Option<T>,
    listed: Option<T>,
}

impl<T> Default for One<T> {
    fn default() -> Self {
        Self { known: false, now: None, listed: None }
    }
}

impl<T> One<T> {
    /// Takes in an event.
    pub(crate) fn take(&mut self, event: Event<T>) {
        match event {
            Event::Init => self.listed = None,
            Event::InitApply(object) => self.listed = Some(object),
            Event::InitDone => {
                self.known = true;
                self.now = self.listed.take();
            }
            Event::Apply(object) => self.now = Some(object),
            Event::Delete(_) => self.now = None,
        }
    }
}

/// The watch of one object.
pub(crate) fn by_name<K>(api: Api<K>, name: &str) -> impl Stream<Item = watcher::Result<Event<K>>> + Send + 'static
where
    K: Resource + Clone + DeserializeOwned + Debug + Send + 'static,
{
    let config = watcher::Config::default().timeout(WATCH_SECONDS).fields(&format!("metadata.name={name}"));
    watcher(api, config).backoff(pauses())
}
