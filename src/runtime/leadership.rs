//! One leader among several replicas, by a Lease.
//!
//! Every update carries the resourceVersion that was read, so of two replicas that want the Lease the API server lets one
//! through. A leader trusts its Lease until a deadline on its own monotonic clock, earlier than anyone else may take the
//! Lease over: one that hangs or is cut off stops writing by itself. Others' clocks are never compared: a Lease has
//! lapsed when it was seen unchanged for its whole duration.

use std::time::Duration;

use jiff::Timestamp;
use k8s_openapi::{
    api::coordination::v1::{Lease, LeaseSpec},
    apimachinery::pkg::apis::meta::v1::MicroTime,
};
use kube::{
    Client,
    api::{Api, ObjectMeta, PostParams},
};
use tokio::{
    sync::watch,
    time::{Instant, sleep, sleep_until, timeout},
};
use tracing::{debug, info, warn};

use super::api_error;

/// Which Lease, under which name, and how fast.
#[derive(Clone, Debug)]
pub struct Config {
    /// The namespace of the Lease.
    pub namespace: String,
    /// The name of the Lease.
    pub name: String,
    /// Who this process is; no two processes may share it.
    pub identity: String,
    /// How long others wait before they take over a Lease that does not change.
    pub duration: Duration,
    /// How long after the start of its last renewal a leader still writes; shorter than `duration`.
    pub deadline: Duration,
    /// The time between two attempts to get or to renew the Lease.
    pub retry: Duration,
}

impl Config {
    /// The usual times: 15 s, 10 s and 2 s, as in Kubernetes' own components.
    #[must_use]
    pub fn new(namespace: impl Into<String>, name: impl Into<String>, identity: impl Into<String>) -> Self {
        Self {
            namespace: namespace.into(),
            name: name.into(),
            identity: identity.into(),
            duration: Duration::from_secs(15),
            deadline: Duration::from_secs(10),
            retry: Duration::from_secs(2),
        }
    }
}

/// Whether this process leads.
#[derive(Clone, Debug)]
pub struct Leadership {
    /// Until when this process may act as the leader; `None` where it does not lead.
    valid_until: watch::Receiver<Option<Instant>>,
}

/// Long enough for any process; more would be more than timers take.
const FOR_EVER: Duration = Duration::from_hours(20 * 365 * 24);

impl Leadership {
    /// The leadership of a process that has no rivals.
    #[must_use]
    pub fn always() -> Self {
        Self { valid_until: watch::channel(Some(Instant::now() + FOR_EVER)).1 }
    }

    /// Whether this process is the leader now. To be checked before each write.
    #[must_use]
    pub fn is_leader(&self) -> bool {
        self.valid_until.borrow().is_some_and(|until| Instant::now() < until)
    }

    /// Waits until this process leads; for ever where the election has ended.
    pub async fn gained(&mut self) {
        while !self.is_leader() {
            if self.valid_until.changed().await.is_err() {
                std::future::pending::<()>().await;
            }
        }
    }

    /// Waits until this process does not lead any more.
    pub async fn lost(&mut self) {
        loop {
            let Some(until) = *self.valid_until.borrow_and_update() else { return };
            if until <= Instant::now() {
                return;
            }
            tokio::select! {
                () = sleep_until(until) => {}
                changed = self.valid_until.changed() => {
                    if changed.is_err() {
                        sleep_until(until).await;
                    }
                }
            }
        }
    }
}

/// What to do about a Lease.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Decision {
    Create,
    Renew,
    TakeOver,
    Wait,
}

/// A Lease and since when it has looked like this.
#[derive(Clone, Debug)]
struct Observed {
    lease: Lease,
    since: Instant,
}

impl Observed {
    fn spec(&self) -> LeaseSpec {
        self.lease.spec.clone().unwrap_or_default()
    }

    fn holder(&self) -> Option<String> {
        self.spec().holder_identity.filter(|holder| !holder.is_empty())
    }
}

/// The candidacy of this process. It does nothing until [`Election::run`].
#[derive(Debug)]
pub struct Election {
    api: Api<Lease>,
    config: Config,
    valid_until: watch::Sender<Option<Instant>>,
    observed: Option<Observed>,
    /// Whether `observed` may be renewed without being read again.
    fresh: bool,
}

/// Stands for election: the handle to ask, and the candidacy to run.
#[must_use]
pub fn election(client: Client, config: Config) -> (Leadership, Election) {
    let (sender, valid_until) = watch::channel(None);
    let api = Api::namespaced(client, &config.namespace);
    (Leadership { valid_until }, Election { api, config, valid_until: sender, observed: None, fresh: false })
}

impl Election {
    /// Gets and renews the Lease until `stop` ends, and gives it back then, so that another replica is the leader at once.
    pub async fn run(mut self, stop: impl Future<Output = ()>) {
        let mut stop = std::pin::pin!(stop);
        loop {
            tokio::select! {
                () = &mut stop => break,
                () = self.attempt() => {}
            }
            tokio::select! {
                () = &mut stop => break,
                () = sleep(self.config.retry) => {}
            }
        }
        self.release().await;
    }

    async fn attempt(&mut self) {
        // A request that hangs must not outlast the leadership that it renews.
        match timeout(self.config.deadline / 2, self.step()).await {
            Ok(Ok(())) => {}
            Ok(Err(kube::Error::Api(status))) if status.is_conflict() || status.is_already_exists() => {
                debug!(lease = self.config.name, "another replica was faster");
                self.fresh = false;
            }
            Ok(Err(error)) => {
                warn!(
                    lease = self.config.name,
                    reason = api_error::describe(&error),
                    "could not acquire or renew the Lease"
                );
                self.fresh = false;
            }
            Err(_) => {
                warn!(lease = self.config.name, "the API server does not answer requests for the Lease");
                self.fresh = false;
            }
        }
    }

    async fn step(&mut self) -> Result<(), kube::Error> {
        if !self.fresh {
            let found = self.api.get_opt(&self.config.name).await?;
            self.observe(found);
        }
        let started = Instant::now();
        let decision = decide(self.observed.as_ref(), &self.config, started);
        if decision == Decision::Wait {
            self.set(None);
            return Ok(());
        }
        let lease = claim(self.observed.as_ref(), &self.config, decision, Timestamp::now());
        let written = match decision {
            Decision::Create => self.api.create(&PostParams::default(), &lease).await?,
            _ => self.api.replace(&self.config.name, &PostParams::default(), &lease).await?,
        };
        self.observe(Some(written));
        self.fresh = true;
        self.set(Some(started + self.config.deadline));
        Ok(())
    }

    /// Takes in a Lease; its clock starts again when it changed.
    fn observe(&mut self, found: Option<Lease>) {
        let now = Instant::now();
        self.observed = found.map(|lease| match self.observed.take() {
            Some(before) if before.lease.spec == lease.spec => Observed { lease, since: before.since },
            _ => Observed { lease, since: now },
        });
    }

    fn set(&self, valid_until: Option<Instant>) {
        let led = self.valid_until.borrow().is_some_and(|until| Instant::now() < until);
        if led != valid_until.is_some() {
            let (lease, identity) = (&self.config.name, &self.config.identity);
            info!(lease, identity, "{}", if led { "no longer the leader" } else { "leading" });
        }
        self.valid_until.send_replace(valid_until);
    }

    async fn release(mut self) {
        let led = self.valid_until.borrow().is_some();
        self.set(None);
        if !led {
            return;
        }
        let Some(observed) = self.observed.take() else { return };
        let mut lease = observed.lease.clone();
        lease.spec = Some(LeaseSpec {
            holder_identity: None,
            lease_duration_seconds: Some(1),
            renew_time: Some(MicroTime(Timestamp::now())),
            ..observed.spec()
        });
        match timeout(self.config.retry, self.api.replace(&self.config.name, &PostParams::default(), &lease)).await {
            Ok(Ok(_)) => {}
            Ok(Err(error)) => debug!(%error, "the Lease was not released; it expires by itself"),
            Err(_) => debug!("the Lease was not released in time; it expires by itself"),
        }
    }
}

fn decide(observed: Option<&Observed>, config: &Config, now: Instant) -> Decision {
    let Some(observed) = observed else { return Decision::Create };
    match observed.holder() {
        None => Decision::TakeOver,
        Some(holder) if holder == config.identity => Decision::Renew,
        Some(_) => {
            let seconds = observed.spec().lease_duration_seconds.and_then(|seconds| u64::try_from(seconds).ok());
            let duration = seconds.map_or(config.duration, Duration::from_secs);
            if now.saturating_duration_since(observed.since) >= duration { Decision::TakeOver } else { Decision::Wait }
        }
    }
}

/// The Lease to write.
fn claim(observed: Option<&Observed>, config: &Config, decision: Decision, now: Timestamp) -> Lease {
    let before = observed.map(Observed::spec).unwrap_or_default();
    let renews = decision == Decision::Renew;
    let transitions = before.lease_transitions.unwrap_or(0);
    let spec = LeaseSpec {
        acquire_time: if renews { before.acquire_time.clone() } else { Some(MicroTime(now)) },
        holder_identity: Some(config.identity.clone()),
        lease_duration_seconds: Some(i32::try_from(config.duration.as_secs()).unwrap_or(i32::MAX)),
        lease_transitions: Some(if decision == Decision::TakeOver {
            transitions.saturating_add(1)
        } else {
            transitions
        }),
        renew_time: Some(MicroTime(now)),
        ..before
    };
    let metadata = observed.map_or_else(
        || ObjectMeta {
            name: Some(config.name.clone()),
            namespace: Some(config.namespace.clone()),
            ..ObjectMeta::default()
        },
        |observed| observed.lease.metadata.clone(),
    );
    Lease { metadata, spec: Some(spec) }
}

#[cfg(test)]
mod tests;
