//! An API server in memory, for exactly the verbs that the controller uses, which fails in every way that it is told to.
//!
//! A mock, for what a real API server cannot be made to do at a given moment: conflicts, time-outs before and after a write
//! took effect, requests that arrive half a minute late, watches that end, hang, lag or repeat themselves, versions that are
//! gone. What it leaves out: validation but for what the controller runs into, and fields that the server fills in.

use std::{
    collections::{BTreeMap, HashSet},
    io,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use axum::{
    body::Body,
    http::{Method, Request, Response, Uri, header::CONTENT_TYPE},
};
use http_body_util::BodyExt as _;
use jiff::Timestamp;
use kube::Client;
use serde_json::{Value, json};
use tokio::{
    sync::watch,
    time::{Instant, sleep, sleep_until},
};

use etcd_defrag_webhook::runtime::clock::Clock;

use super::{
    events::{self, SLOTS},
    objects::{MANAGED_BY, MANAGER, ORPHANED_SINCE, STATEFULSET},
    store::{self, Class, Key, Patch, Refusal, Store, refusal, uid_of},
    watching,
};
use harness::random::Random;

/// So many seconds does a CronJob stay that was orphaned.
pub(crate) const KEPT: i64 = 600;
/// Later than this no request arrives.
const LATE: Duration = Duration::from_mins(2);

/// What goes wrong, and how often.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Faults {
    /// Requests refused or lost, in percent.
    pub(crate) requests: u64,
    /// Requests that take seconds, in percent.
    pub(crate) slow: u64,
    /// Watches that end early, hang, lag or repeat, in percent.
    pub(crate) watches: u64,
}

/// What was counted.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Counts {
    pub(crate) requests: u64,
    /// Requests to write that took effect, the Lease apart.
    pub(crate) writes: u64,
    /// Requests to write, the Lease apart, whatever became of them.
    pub(crate) attempts: u64,
    pub(crate) faults: u64,
}

/// The connection of one process.
#[derive(Debug)]
pub(crate) struct Link {
    /// The process's name in the Lease.
    identity: String,
    pub(crate) dead: AtomicBool,
    /// Until then its requests hang, and arrive afterwards.
    pub(crate) cut_off: Mutex<Instant>,
}

impl Link {
    pub(crate) fn new(identity: String) -> Arc<Self> {
        Arc::new(Self { identity, dead: AtomicBool::new(false), cut_off: Mutex::new(Instant::now()) })
    }

    pub(crate) fn is_dead(&self) -> bool {
        self.dead.load(Ordering::Relaxed)
    }
}

/// What the server holds.
pub(crate) struct State {
    pub(crate) store: Store,
    pub(crate) random: Random,
    pub(crate) faults: Faults,
    pub(crate) counts: Counts,
    /// Whether `DefragPolicy` is not installed.
    pub(crate) no_policies: bool,
    /// Counts how often every watch was ended.
    pub(crate) broken: u64,
    /// What the controller did that it must never do.
    pub(crate) violations: Vec<String>,
    /// The last writes, for the report of a failure.
    pub(crate) told: Vec<String>,
    /// Every question about one object, the Lease apart.
    pub(crate) asked: Vec<String>,
    /// How often a kind was asked for that is not installed.
    pub(crate) unknown: u64,
    /// StatefulSets that the controller was told to be there, by its own question and not by a watch.
    pub(crate) confirmed: HashSet<Key>,
    clock: Clock,
}

pub(crate) struct Server {
    state: Mutex<State>,
    pub(crate) changed: watch::Sender<()>,
}

/// A request, read.
#[derive(Debug)]
pub(crate) struct Call {
    method: Method,
    key: Key,
    status: bool,
    pub(crate) query: BTreeMap<String, String>,
    content: String,
    body: Value,
}

impl Server {
    pub(crate) fn new(seed: u64) -> Arc<Self> {
        Arc::new(Self { state: Mutex::new(State::new(seed)), changed: watch::channel(()).0 })
    }

    pub(crate) fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Changes something as a user or another controller would.
    pub(crate) fn with<T>(&self, change: impl FnOnce(&mut State) -> T) -> T {
        let result = change(&mut self.state());
        self.changed.send_replace(());
        result
    }

    /// The client of a process.
    pub(crate) fn client(self: &Arc<Self>, link: &Arc<Link>) -> Client {
        let (server, link) = (Arc::clone(self), Arc::clone(link));
        let service = tower::service_fn(move |request: Request<kube::client::Body>| {
            let (server, link) = (Arc::clone(&server), Arc::clone(&link));
            // A task of its own: a request that was sent arrives, whether or not somebody still waits for the answer.
            let answer = tokio::spawn(Arc::clone(&server).answer(link, request));
            async move {
                answer.await.unwrap_or_else(|error| {
                    server.state().violations.push(format!("the mock does not know what to answer: {error}"));
                    Err(lost())
                })
            }
        });
        Client::new(service, "default")
    }

    async fn answer(
        self: Arc<Self>,
        link: Arc<Link>,
        request: Request<kube::client::Body>,
    ) -> io::Result<Response<Body>> {
        let (head, body) = request.into_parts();
        if head.uri.path() == "/apis" {
            // No kind of report is installed here.
            return Ok(Response::new(Body::from(r#"{"kind":"APIGroupList","apiVersion":"v1","groups":[]}"#)));
        }
        let bytes = body.collect().await.map_err(io::Error::other)?.to_bytes();
        let content =
            head.headers.get(CONTENT_TYPE).map(|value| value.to_str().unwrap().to_owned()).unwrap_or_default();
        let body = if bytes.is_empty() { Value::Null } else { serde_json::from_slice(&bytes).unwrap() };
        let call = read(&head.method, &head.uri, content, body);
        if link.is_dead() {
            return Err(lost());
        }
        let writes = call.method != Method::GET && call.key.resource != "leases";
        let watches = call.query.contains_key("watch");
        let (fault, pause) = {
            let mut state = self.state();
            state.counts.requests += 1;
            state.counts.attempts += u64::from(writes);
            // It may arrive later, but it must not set out while somebody else leads.
            if writes && let Some(leader) = state.leader().filter(|leader| *leader != link.identity) {
                let violation = format!("{} wrote to {:?} while {leader} led", link.identity, call.key);
                state.violations.push(violation);
            }
            let faults = state.faults;
            let fault = if state.random.chance(faults.requests) { 1 + state.random.below(5u64) } else { 0 };
            let slow = state.random.chance(faults.slow);
            state.counts.faults += u64::from(fault > 0) + u64::from(slow);
            let pause = if slow { state.random.below(45_000u64) } else { state.random.below(20u64) };
            (fault, Duration::from_millis(pause))
        };
        let cut_off = *link.cut_off.lock().unwrap();
        sleep_until(cut_off).await;
        // Part of the time passes on the way there, and part on the way back.
        sleep(pause / 2).await;
        let outcome = match fault {
            1 => Err(refusal(409, "Conflict", "a conflict of the test")),
            2 => Err(refusal(429, "TooManyRequests", "too many requests")),
            3 => Err(refusal(500, "InternalError", "an error of the test")),
            4 => {
                // Lost on the way there.
                sleep(Duration::from_secs(10)).await;
                return Err(lost());
            }
            _ if watches => {
                let stream = watching::start(&self, &link, &call.key, &call.query);
                return match stream {
                    Ok(stream) => Ok(Response::new(Body::from_stream(stream))),
                    Err(refused) => Ok(respond(Err(refused))),
                };
            }
            _ if call.method == Method::GET => self.state().perform(&call),
            _ => self.with(|state| state.perform(&call)),
        };
        sleep(pause / 2).await;
        if fault == 5 || link.is_dead() {
            // Lost on the way back: what was asked for was done.
            sleep(Duration::from_secs(5)).await;
            return Err(lost());
        }
        Ok(respond(outcome))
    }
}

fn lost() -> io::Error {
    io::Error::new(io::ErrorKind::ConnectionReset, "the connection was lost")
}

fn respond(outcome: Result<Value, Refusal>) -> Response<Body> {
    let (code, body) = match outcome {
        Ok(body) => (200, body.to_string()),
        // As the API server answers for a path that it does not know.
        Err(refused) if refused.reason.is_empty() => (refused.code, refused.message),
        Err(refused) => (refused.code, status(&refused).to_string()),
    };
    Response::builder().status(code).body(Body::from(body)).unwrap()
}

pub(crate) fn status(refused: &Refusal) -> Value {
    json!({"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure", "message": refused.message,
        "reason": refused.reason, "code": refused.code})
}

fn read(method: &Method, uri: &Uri, content: String, body: Value) -> Call {
    let mut parts: Vec<&str> = uri.path().trim_matches('/').split('/').collect();
    parts.drain(..if parts[0] == "api" { 2 } else { 3 });
    let namespace = if parts[0] == "namespaces" && parts.len() > 2 { parts.drain(..2).nth(1).unwrap() } else { "" };
    let resource = store::RESOURCES.iter().find(|(name, ..)| *name == parts[0]);
    let (resource, ..) = resource.unwrap_or_else(|| panic!("the mock does not know {uri}"));
    let posted = body["metadata"]["name"].as_str().unwrap_or_default();
    let name = parts.get(1).copied().unwrap_or(if *method == Method::POST { posted } else { "" });
    Call {
        method: method.clone(),
        key: store::key(resource, namespace, name),
        status: parts.get(2).is_some_and(|sub| *sub == "status"),
        query: uri
            .query()
            .unwrap_or_default()
            .split('&')
            .filter_map(|pair| pair.split_once('='))
            .map(|(name, value)| (name.to_owned(), decoded(value)))
            .collect(),
        content,
        body,
    }
}

fn decoded(text: &str) -> String {
    let mut parts = text.split('%');
    let mut decoded = parts.next().unwrap_or_default().replace('+', " ");
    for part in parts {
        decoded.push(char::from(u8::from_str_radix(&part[..2], 16).unwrap()));
        decoded.push_str(&part[2..]);
    }
    decoded
}

/// Whether an object has the labels that a query selects.
pub(crate) fn selected(object: &Value, selector: Option<&String>) -> bool {
    let labels = &object["metadata"]["labels"];
    selector.is_none_or(|selector| match selector.split_once('=') {
        Some((name, value)) => labels[name] == value.trim_start_matches('='),
        None => !labels[selector].is_null(),
    })
}

/// What is answered about policies while their definition is not installed.
pub(crate) fn unknown() -> Refusal {
    refusal(404, "", "404 page not found\n")
}

/// The StatefulSet of a CronJob of ours that nothing controls.
fn orphaned(key: &Key, cronjob: &Value) -> Option<Key> {
    let meta = &cronjob["metadata"];
    let slot = (0..SLOTS.len()).find(|slot| events::cronjob(*slot) == *key)?;
    let controlled = meta["ownerReferences"].as_array().into_iter().flatten().any(|owner| owner["controller"] == true);
    let ours = meta["labels"][MANAGED_BY] == MANAGER && meta["annotations"][STATEFULSET] == SLOTS[slot].1;
    (ours && !controlled).then(|| events::statefulset(slot))
}

impl State {
    pub(crate) fn new(seed: u64) -> Self {
        // Long before the end of a day, with which texts may change.
        let (begun, time) = (Instant::now(), "2026-03-02T00:10:00Z".parse::<Timestamp>().unwrap());
        let clock: Clock = Arc::new(move || time + begun.elapsed());
        Self {
            store: Store::new(Arc::clone(&clock)),
            random: Random::seeded(seed),
            faults: Faults::default(),
            counts: Counts::default(),
            no_policies: false,
            broken: 0,
            violations: Vec::new(),
            told: Vec::new(),
            asked: Vec::new(),
            unknown: 0,
            confirmed: HashSet::new(),
            clock,
        }
    }

    /// The clock that the controller reads.
    pub(crate) fn clock(&self) -> Clock {
        Arc::clone(&self.clock)
    }

    /// Who holds the Lease.
    fn leader(&self) -> Option<String> {
        let (_, lease) = self.store.of("leases").next()?;
        lease.object["spec"]["holderIdentity"].as_str().filter(|holder| !holder.is_empty()).map(str::to_owned)
    }

    fn perform(&mut self, call: &Call) -> Result<Value, Refusal> {
        let key = &call.key;
        if key.resource == store::POLICIES && self.no_policies {
            self.unknown += 1;
            return Err(unknown());
        }
        if call.method == Method::GET && key.name.is_empty() {
            return Ok(self.list(key, call.query.get("labelSelector")));
        }
        if call.method == Method::GET {
            if key.resource != "leases" {
                self.asked.push(format!("the controller: GET {} {}/{}", key.resource, key.namespace, key.name));
            }
            let found = self.store.get(key).cloned();
            if found.is_some() && key.resource == store::STATEFULSETS {
                self.confirmed.insert(key.clone());
            }
            return found.ok_or_else(|| refusal(404, "NotFound", format!("{} not found", key.name)));
        }
        let before = self.store.objects.get(key).cloned();
        let manager = call.query.get("fieldManager").map_or("unknown", String::as_str);
        let result = match call.method {
            Method::POST => self.store.create(key, call.body.clone(), manager, Class::Plain),
            Method::PUT => self.store.update(key, manager, |object| *object = call.body.clone()),
            Method::PATCH => {
                let kind = match call.content.as_str() {
                    "application/apply-patch+yaml" => {
                        Patch::Apply { force: call.query.get("force").is_some_and(|force| force == "true") }
                    }
                    "application/json-patch+json" => Patch::Json,
                    "application/merge-patch+json" => Patch::Merge,
                    other => panic!("the mock does not know patches of type {other}"),
                };
                self.store.patch(key, call.status, &kind, manager, &call.body)
            }
            Method::DELETE => {
                let done = self.store.delete(key, Some(&call.body["preconditions"]["uid"]));
                done.map(|()| {
                    Arc::new(json!({"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success"}))
                })
            }
            ref other => panic!("the mock does not know {other}"),
        };
        if let Ok(now) = &result
            && key.resource != "leases"
        {
            self.counts.writes += 1;
            self.told.push(format!("the controller: {} {} {}/{}", call.method, key.resource, key.namespace, key.name));
            self.watch_over(key, before.as_ref(), now);
        }
        result.map(|object| (*object).clone())
    }

    /// Notes what the controller may never do, at the moment when it does it.
    fn watch_over(&mut self, key: &Key, before: Option<&store::Stored>, now: &Value) {
        if key.resource == store::STATEFULSETS || key.resource == store::NAMESPACES {
            self.violations.push(format!("wrote to {} {}/{}", key.resource, key.namespace, key.name));
        }
        let Some(before) = before else { return };
        match before.class {
            Class::Plain => self.violations.extend(self.too_early(key, &before.object)),
            Class::Foreign if before.object.as_ref() == now => {}
            Class::Foreign => {
                self.violations.push(format!("wrote to the foreign CronJob {}/{}", key.namespace, key.name));
            }
            Class::Adoptable => {
                let name = key.name.trim_end_matches("-defrag-job");
                let statefulset = store::key(store::STATEFULSETS, &key.namespace, name);
                // Between a question and the write that follows on it, a StatefulSet may go.
                let enrolled = self.confirmed.remove(&statefulset) || self.store.get(&statefulset).is_some();
                match self.store.objects.get_mut(key) {
                    Some(adopted) if uid_of(&adopted.object) == uid_of(&before.object) => {
                        adopted.class = Class::Plain;
                        if !enrolled {
                            self.violations.push(format!("adopted {}/{} for nobody", key.namespace, key.name));
                        }
                    }
                    _ => {
                        self.violations
                            .push(format!("deleted the CronJob of defrag.sh {}/{}", key.namespace, key.name));
                    }
                }
            }
        }
    }

    /// That a CronJob was deleted which had been orphaned and was to stay.
    fn too_early(&self, key: &Key, before: &Value) -> Option<String> {
        if key.resource != store::CRONJOBS || self.store.get(key).is_some_and(|now| uid_of(now) == uid_of(before)) {
            return None;
        }
        let statefulset = orphaned(key, before)?;
        // A decision from when there was one may arrive late.
        let gone = self.store.gone.get(&statefulset).filter(|_| self.store.get(&statefulset).is_none())?;
        let since = before["metadata"]["annotations"][ORPHANED_SINCE].as_str();
        let since = since.and_then(|since| since.parse::<Timestamp>().ok());
        let kept = since.is_some_and(|since| (self.clock())().duration_since(since).as_secs() >= KEPT);
        (gone.elapsed() > LATE && !kept)
            .then(|| format!("deleted {}/{}, orphaned since {since:?}, too early", key.namespace, key.name))
    }

    fn list(&self, key: &Key, selector: Option<&String>) -> Value {
        let within = |found: &Key| key.namespace.is_empty() || key.namespace == found.namespace;
        let found =
            self.store.of(key.resource).filter(|(key, stored)| within(key) && selected(&stored.object, selector));
        let items: Vec<&Value> = found.map(|(_, stored)| &*stored.object).collect();
        let (_, version, kind) = store::RESOURCES.iter().find(|(resource, ..)| *resource == key.resource).unwrap();
        json!({"kind": format!("{kind}List"), "apiVersion": version, "items": items,
            "metadata": {"resourceVersion": self.store.version.max(1).to_string()}})
    }
}
