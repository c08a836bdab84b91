//! The watches of the API server in memory, and what goes wrong with them.

use std::{
    collections::{BTreeMap, VecDeque},
    io,
    sync::Arc,
    time::Duration,
};

use futures::{Stream, stream};
use serde_json::{Value, json};
use tokio::{
    sync::watch,
    time::{Instant, sleep, sleep_until},
};

use super::{
    server::{Link, Server, State, selected, status, unknown},
    store::{self, Change, Key, Refusal, refusal},
};

/// One watch.
struct Watching {
    server: Arc<Server>,
    link: Arc<Link>,
    key: Key,
    selector: Option<String>,
    /// Everything up to this version has been told.
    version: u64,
    changed: watch::Receiver<()>,
    lines: VecDeque<String>,
    ends: Instant,
    /// How often every watch had been ended when this one began.
    broken: u64,
    flaw: Flaw,
    over: bool,
}

/// What is wrong with a watch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Flaw {
    None,
    /// It ends after so many events, without or with a word.
    Ends(u64),
    Gone(u64),
    /// It says nothing any more, and does not end.
    Silent,
    /// Each batch comes so many milliseconds late.
    Late(u64),
    /// Each event comes twice.
    Twice,
}

pub(crate) fn start(
    server: &Arc<Server>,
    link: &Arc<Link>,
    key: &Key,
    query: &BTreeMap<String, String>,
) -> Result<impl Stream<Item = io::Result<String>> + use<>, Refusal> {
    let version: u64 = query["resourceVersion"].parse().unwrap();
    let seconds: u64 = query.get("timeoutSeconds").map_or(290, |seconds| seconds.parse().unwrap());
    let mut state = server.state();
    if key.resource == store::POLICIES && state.no_policies {
        return Err(unknown());
    }
    let mut flaw = flaw(&mut state);
    state.counts.faults += u64::from(flaw != Flaw::None);
    if version < state.store.oldest {
        // Said in an event, as the real server does since its watch cache.
        flaw = Flaw::Gone(0);
    }
    let watching = Watching {
        server: Arc::clone(server),
        link: Arc::clone(link),
        key: key.clone(),
        selector: query.get("labelSelector").cloned(),
        version,
        changed: server.changed.subscribe(),
        lines: VecDeque::new(),
        ends: Instant::now() + Duration::from_secs(seconds),
        broken: state.broken,
        flaw,
        over: false,
    };
    drop(state);
    Ok(stream::unfold(watching, |mut watching| async move {
        let line = watching.next().await?;
        Some((Ok(line), watching))
    }))
}

fn flaw(state: &mut State) -> Flaw {
    if !state.random.chance(state.faults.watches) {
        return Flaw::None;
    }
    match state.random.below(5u64) {
        0 => Flaw::Ends(state.random.below(4)),
        1 => Flaw::Gone(state.random.below(4)),
        2 => Flaw::Silent,
        3 => Flaw::Late(state.random.below(15_000)),
        _ => Flaw::Twice,
    }
}

fn expired() -> Refusal {
    refusal(410, "Expired", "too old resource version")
}

impl Watching {
    /// The next line; `None` at the end.
    async fn next(&mut self) -> Option<String> {
        loop {
            if self.over && self.lines.is_empty() || self.link.is_dead() {
                return None;
            }
            let cut_off = *self.link.cut_off.lock().unwrap();
            sleep_until(cut_off).await;
            match &mut self.flaw {
                Flaw::Ends(0) => return None,
                Flaw::Gone(0) => {
                    self.flaw = Flaw::Ends(0);
                    return Some(line("ERROR", &status(&expired())));
                }
                Flaw::Silent => sleep(Duration::from_secs(1000)).await,
                Flaw::Ends(left) | Flaw::Gone(left) if !self.lines.is_empty() => *left -= 1,
                _ => {}
            }
            if let Some(line) = self.lines.pop_front() {
                return Some(line);
            }
            self.collect();
            if !self.lines.is_empty() {
                if let Flaw::Late(by) = self.flaw {
                    sleep(Duration::from_millis(by)).await;
                }
                continue;
            }
            if self.over {
                return None;
            }
            tokio::select! {
                _ = self.changed.changed() => {}
                () = sleep_until(self.ends) => {
                    let (_, version, kind) = store::RESOURCES.iter().find(|(name, ..)| *name == self.key.resource).unwrap();
                    let bookmark = json!({"kind": kind, "apiVersion": version,
                        "metadata": {"resourceVersion": self.version.to_string(), "annotations": {}}});
                    self.lines.push_back(line("BOOKMARK", &bookmark));
                    self.over = true;
                }
            }
        }
    }

    /// Takes in what has changed.
    fn collect(&mut self) {
        let server = Arc::clone(&self.server);
        let state = server.state();
        if state.broken != self.broken {
            self.over = true;
            return;
        }
        // The last that is told of a kind is that its objects are deleted.
        self.over |= state.no_policies && self.key.resource == store::POLICIES;
        let start = state.store.log.partition_point(|change| change.version <= self.version);
        for change in &state.store.log[start..] {
            if change.key.resource == self.key.resource
                && (self.key.namespace.is_empty() || self.key.namespace == change.key.namespace)
                && let Some(line) = self.told(change)
            {
                if self.flaw == Flaw::Twice {
                    self.lines.push_back(line.clone());
                }
                self.lines.push_back(line);
            }
        }
        self.version = state.store.version.max(self.version);
    }

    fn told(&self, change: &Change) -> Option<String> {
        let matches = |object: &Option<Arc<Value>>| {
            object.as_ref().filter(|object| selected(object, self.selector.as_ref())).cloned()
        };
        match (matches(&change.before), matches(&change.after)) {
            (_, Some(after)) if change.before.is_some() && matches(&change.before).is_some() => {
                Some(line("MODIFIED", &after))
            }
            (_, Some(after)) => Some(line("ADDED", &after)),
            (Some(before), None) => {
                let mut last = (*before).clone();
                last["metadata"]["resourceVersion"] = json!(change.version.to_string());
                Some(line("DELETED", &last))
            }
            (None, None) => None,
        }
    }
}

fn line(type_: &str, object: &Value) -> String {
    format!("{}\n", json!({"type": type_, "object": object}))
}
