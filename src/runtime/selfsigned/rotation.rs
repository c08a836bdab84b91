//! Keeps the Secret, the certificate that is served, and the CA bundle in the webhook configurations in step.
//!
//! Every replica does the same. Each write carries the version that was read, so of two replicas that want the same change
//! the API server lets one through; the other one sees what came of it and finds nothing left to do.

use std::{
    fmt::{self, Debug},
    sync::Arc,
    time::Duration,
};

use futures::{StreamExt as _, stream::BoxStream};
use jiff::Timestamp;
use k8s_openapi::api::{
    admissionregistration::v1::{MutatingWebhookConfiguration, ValidatingWebhookConfiguration},
    core::v1::Secret,
};
use kube::{
    Api, Client, Resource,
    api::{Patch, PatchParams, PostParams},
    runtime::watcher::{self, Event},
};
use serde::de::DeserializeOwned;
use tokio::time::{Instant, MissedTickBehavior, interval, timeout};
use tracing::{error, info, warn};

use super::{
    Pair,
    bundle::ObservedBundles,
    bundle_status::{Bundle, BundleStatus, KINDS},
    issue_between,
    plan::{BACKDATED, LIFETIME, Plan, Situation, plan},
    secret_store::{Found, Leaf, Stored, read},
};
use crate::runtime::{
    api_error,
    backoff::Pauses,
    tls::{self, Certificates},
    watch::why,
    watched::{One, by_name},
};

/// How often the time is checked.
const TICK: Duration = Duration::from_secs(1);

/// How long a replica that has nothing to serve waits before it issues a certificate: one that still serves the lost one
/// knows better, and sees the loss at the same moment.
const YIELD: Duration = Duration::from_secs(1);

/// How long one write may take.
const PATIENCE: Duration = Duration::from_secs(10);

/// The pauses before a write is tried again, or something is repaired again.
const PAUSES: Pauses = Pauses::new(Duration::from_secs(1), Duration::from_secs(30));

/// Where everything is.
#[derive(Clone, Debug)]
pub struct Config {
    /// The namespace of the Secret and of the Service.
    pub namespace: String,
    /// The name of the Secret.
    pub secret: String,
    /// The name of the Service that the certificate is for.
    pub service: String,
    /// Who makes the Secret and the CA: label value and field manager.
    pub manager: String,
    /// The name of the mutating and of the validating configuration.
    pub configuration: String,
    /// How long both configurations must have held a new CA before anything is served that needs it: API servers learn of
    /// a change from a watch.
    pub spread: Duration,
}

impl Config {
    /// The name in the certificate, which is the one that the API server asks for.
    #[must_use]
    pub fn host(&self) -> String {
        format!("{}.{}.svc", self.service, self.namespace)
    }
}

/// What one of the three watches says.
enum Watched {
    Secret(Box<watcher::Result<Event<Secret>>>),
    Configuration(usize, watcher::Result<Event<ObservedBundles>>),
}

/// The rotation of the certificate of one process.
pub struct Rotation {
    client: Client,
    config: Config,
    certificates: Arc<Certificates>,
    bundle_status: BundleStatus,
    secret: One<Secret>,
    configurations: [One<ObservedBundles>; 2],
    /// The last sound content, which is served.
    known: Option<Stored>,
    /// Since when nothing sound is in the Secret.
    lost: Option<Instant>,
    /// The bundle that is in every configuration, and since when.
    spread: Option<(String, Instant)>,
    /// A write was answered, and its event is still to come.
    written: Option<Instant>,
    pauses: Pauses,
    repairs: [Pauses; 2],
    said: Option<String>,
}

impl fmt::Debug for Rotation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Rotation").field("config", &self.config).finish_non_exhaustive()
    }
}

impl Rotation {
    /// A rotation that gives `certificates` what to serve; it does nothing until [`Self::run`].
    #[must_use]
    pub fn new(client: Client, config: Config, certificates: Arc<Certificates>) -> Self {
        Self {
            client,
            config,
            certificates,
            bundle_status: BundleStatus::default(),
            secret: One::default(),
            configurations: [One::default(), One::default()],
            known: None,
            lost: None,
            spread: None,
            written: None,
            pauses: PAUSES,
            repairs: [PAUSES, PAUSES],
            said: None,
        }
    }

    /// The status of the CA bundle.
    #[must_use]
    pub fn bundle_status(&self) -> BundleStatus {
        self.bundle_status.clone()
    }

    /// Keeps everything in step until it is dropped.
    pub async fn run(mut self) {
        let mut watched = self.watches();
        let mut ticks = interval(TICK);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                Some(event) = watched.next() => self.take(event),
                _ = ticks.tick() => {}
            }
            self.step().await;
        }
    }

    fn watches(&self) -> BoxStream<'static, Watched> {
        let name = &self.config.configuration;
        let secrets: Api<Secret> = Api::namespaced(self.client.clone(), &self.config.namespace);
        let mutating: Api<MutatingWebhookConfiguration> = Api::all(self.client.clone());
        let validating: Api<ValidatingWebhookConfiguration> = Api::all(self.client.clone());
        futures::stream::select(
            by_name(secrets, &self.config.secret).map(|event| Watched::Secret(Box::new(event))),
            futures::stream::select(
                by_name(mutating, name).map(|event| Watched::Configuration(0, event.map(observed))),
                by_name(validating, name).map(|event| Watched::Configuration(1, event.map(observed))),
            ),
        )
        .boxed()
    }

    fn take(&mut self, event: Watched) {
        match event {
            Watched::Secret(event) => match *event {
                Ok(event) => {
                    self.written = None;
                    self.secret.take(event);
                }
                Err(failure) => {
                    let reason = format!("{} cannot be watched: {}", self.secret_name(), why(&failure));
                    if matches!(failure, watcher::Error::InitialListFailed(_)) {
                        self.certificates.note(Some(reason));
                    } else {
                        warn!(reason, "the watch continues by itself");
                    }
                }
            },
            Watched::Configuration(index, Ok(event)) => {
                if let Some(one) = self.configurations.get_mut(index) {
                    one.take(event);
                }
            }
            Watched::Configuration(index, Err(failure)) => {
                let reason = why(&failure);
                match failure {
                    watcher::Error::InitialListFailed(kube::Error::Api(_)) => {
                        self.set_bundle_status(index, Bundle::Failed(format!("it cannot be watched: {reason}")));
                    }
                    // The API server is away, as the watch of the Secret says as well.
                    watcher::Error::InitialListFailed(_) => {}
                    _ => warn!(reason, configuration = self.configuration_name(index), "the watch continues by itself"),
                }
            }
        }
    }

    async fn step(&mut self) {
        if !self.secret.known {
            return;
        }
        let secret = self.secret.now.clone();
        let now = Timestamp::now();
        let found = read(secret.as_ref(), &self.config.host(), now);
        self.serve(&found, now);
        // The bundle first: what is served next waits for it.
        self.keep_bundles().await;
        let waits_for_event = self.written.is_some_and(|since| since.elapsed() < PATIENCE);
        if waits_for_event || !self.pauses.are_over() {
            return;
        }
        let situation = Situation { found: &found, known: self.known.as_ref(), spread: self.has_spread(), now };
        self.carry_out(plan(situation), secret, now).await;
    }

    /// Serves what is in the Secret, or says why not.
    fn serve(&mut self, found: &Found, now: Timestamp) {
        let Found::Sound(stored) = found else {
            self.lost.get_or_insert_with(Instant::now);
            return;
        };
        self.lost = None;
        let same = self.known.as_ref().is_some_and(|known| known.current == stored.current);
        if !same
            && let Err(reason) =
                self.certificates.install(stored.current.certificate.as_bytes(), stored.current.key.as_bytes(), now)
        {
            self.certificates.note(Some(format!("{}: {reason}", self.secret_name())));
            return;
        }
        self.certificates.note(None);
        self.known = Some((**stored).clone());
    }

    /// Whether every configuration that is there has held the bundle for long enough.
    fn has_spread(&self) -> bool {
        let Some(known) = &self.known else { return false };
        let since = self.spread.as_ref().filter(|(bundle, _)| *bundle == known.bundle()).map(|(_, since)| since);
        since.is_some_and(|since| since.elapsed() >= self.config.spread)
    }

    async fn carry_out(&mut self, plan: Plan, before: Option<Secret>, now: Timestamp) {
        let name = self.secret_name();
        let (stored, what) = match plan {
            Plan::Keep => return self.said = None,
            Plan::Wait(reason) => return self.certificates.note(Some(format!("{name}: {reason}"))),
            Plan::Issue { .. } if self.lost.is_some_and(|since| since.elapsed() < YIELD) => return,
            Plan::Issue { because } => match self.fresh(now) {
                Some((pair, leaf)) => (Stored::begun(&pair, leaf, now), format!("a certificate was issued: {because}")),
                None => return,
            },
            Plan::Prepare { base, because } => match self.fresh(now) {
                Some((pair, leaf)) => {
                    (base.prepared(&pair, leaf), format!("the next certificate was issued: {because}"))
                }
                None => return,
            },
            Plan::Promote(stored) => (*stored, "the next certificate is served from now on".to_owned()),
            Plan::Prune(stored) => (*stored, "the old CA is no longer trusted".to_owned()),
        };
        let (namespace, secret_name) = (self.config.namespace.clone(), self.config.secret.clone());
        let wanted = stored.secret(&namespace, &secret_name, &self.config.manager, before.as_ref());
        let api: Api<Secret> = Api::namespaced(self.client.clone(), &namespace);
        let parameters = PostParams { field_manager: Some(self.config.manager.clone()), ..PostParams::default() };
        let written = timeout(PATIENCE, async {
            match before {
                None => api.create(&parameters, &wanted).await,
                Some(_) => api.replace(&secret_name, &parameters, &wanted).await,
            }
        });
        match written.await {
            Ok(Ok(_)) => {
                info!(secret = name, "{what}");
                self.written = Some(Instant::now());
                self.said = None;
            }
            // Another replica was faster, and the watch brings what it wrote.
            Ok(Err(kube::Error::Api(status))) if matches!(status.code, 404 | 409) => {
                self.pauses.start();
            }
            Ok(Err(failure)) => self.failed(&api_error::describe(&failure)),
            Err(_) => self.failed("the API server does not answer"),
        }
    }

    fn failed(&mut self, reason: &str) {
        self.pauses.start();
        let reason = format!("{} cannot be written: {reason}", self.secret_name());
        if self.said.as_ref() != Some(&reason) {
            self.certificates.note(Some(reason.clone()));
            self.said = Some(reason);
        }
    }

    /// A fresh pair. That none can be made is a name that is no DNS name, which does not get better.
    fn fresh(&mut self, now: Timestamp) -> Option<(Pair, Leaf)> {
        let (from, until) = (now - BACKDATED, now + LIFETIME);
        let authority = format!("{} CA of {now:.0}", self.config.manager);
        let made = issue_between(&[self.config.host()], &authority, from, until)
            .map_err(|failure| failure.to_string())
            .and_then(|pair| {
                tls::verify(pair.cert_pem.as_bytes(), pair.key_pem.as_bytes(), now)
                    .map(|validity| (pair, validity))
                    .map_err(|failure| failure.to_string())
            });
        match made {
            Ok((pair, (not_before, not_after))) => {
                let leaf =
                    Leaf { certificate: pair.cert_pem.clone(), key: pair.key_pem.clone(), not_before, not_after };
                Some((pair, leaf))
            }
            Err(reason) => {
                self.pauses.start();
                self.certificates.note(Some(reason));
                None
            }
        }
    }

    /// Gives both configurations the bundle, and notes since when they have it.
    async fn keep_bundles(&mut self) {
        let Some(bundle) = self.known.as_ref().map(Stored::bundle) else { return };
        let mut everywhere = true;
        for index in 0..KINDS.len() {
            everywhere &= self.keep_bundle(index, &bundle).await;
        }
        if !everywhere {
            self.spread = None;
        } else if self.spread.as_ref().is_none_or(|(before, _)| *before != bundle) {
            self.spread = Some((bundle, Instant::now()));
        }
    }

    /// Whether the configuration holds the bundle, or is not there.
    async fn keep_bundle(&mut self, index: usize, bundle: &str) -> bool {
        let Some(one) = self.configurations.get(index).filter(|one| one.known) else { return false };
        let Some(observed) = one.now.clone() else {
            if self.set_bundle_status(index, Bundle::Absent) {
                warn!(
                    configuration = self.configuration_name(index),
                    "it does not exist, so the API server does not call its webhooks; to restore it, apply the manifests or the chart again"
                );
            }
            return true;
        };
        let Some(patch) = observed.patch(bundle) else {
            self.set_bundle_status(index, Bundle::InPlace);
            return true;
        };
        if !self.repairs.get(index).is_some_and(Pauses::are_over) {
            return false;
        }
        let (client, name) = (self.client.clone(), self.config.configuration.clone());
        let manager = &self.config.manager;
        let written = timeout(PATIENCE, async {
            if index == 0 {
                write::<MutatingWebhookConfiguration>(client, &name, manager, patch).await
            } else {
                write::<ValidatingWebhookConfiguration>(client, &name, manager, patch).await
            }
        });
        let outcome = match written.await {
            Ok(Ok(())) => {
                let configuration = self.configuration_name(index);
                if observed.had_any() {
                    info!(configuration, "the CA bundle was replaced");
                } else {
                    info!(configuration, "the CA bundle was filled in");
                }
                None
            }
            Ok(Err(kube::Error::Api(status))) if matches!(status.code, 404 | 409) => None,
            Ok(Err(failure)) => Some(api_error::describe(&failure)),
            Err(_) => Some("the API server does not answer".to_owned()),
        };
        if let Some(pauses) = self.repairs.get_mut(index) {
            pauses.start();
        }
        if let Some(reason) = outcome {
            self.set_bundle_status(index, Bundle::Failed(format!("it cannot be written: {reason}")));
        }
        false
    }

    /// Sets the status of a configuration; a new failure is logged. Whether anything is new.
    fn set_bundle_status(&self, index: usize, bundle: Bundle) -> bool {
        let reason = if let Bundle::Failed(reason) = &bundle { Some(reason.clone()) } else { None };
        let new = self.bundle_status.set(index, bundle);
        if new && let Some(reason) = reason {
            let configuration = self.configuration_name(index);
            error!(configuration, reason, "the API server may not trust this webhook: its CA bundle cannot be updated");
        }
        new
    }

    fn secret_name(&self) -> String {
        format!("Secret {}/{}", self.config.namespace, self.config.secret)
    }

    fn configuration_name(&self, index: usize) -> String {
        format!("{} {}", KINDS.get(index).unwrap_or(&""), self.config.configuration)
    }
}

async fn write<K>(client: Client, name: &str, manager: &str, patch: json_patch::Patch) -> Result<(), kube::Error>
where
    K: Resource<DynamicType = (), Scope = kube::core::ClusterResourceScope> + Clone + DeserializeOwned + Debug,
{
    let parameters = PatchParams { field_manager: Some(manager.to_owned()), ..PatchParams::default() };
    Api::<K>::all(client).patch(name, &parameters, &Patch::Json::<()>(patch)).await.map(drop)
}

fn observed<K: Into<ObservedBundles>>(event: Event<K>) -> Event<ObservedBundles> {
    match event {
        Event::Init => Event::Init,
        Event::InitApply(object) => Event::InitApply(object.into()),
        Event::InitDone => Event::InitDone,
        Event::Apply(object) => Event::Apply(object.into()),
        Event::Delete(object) => Event::Delete(object.into()),
    }
}
