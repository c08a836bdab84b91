//! Where the serving certificate comes from: files, a Secret of our own, or memory for development.

use std::{path::PathBuf, sync::Arc, time::Duration};

use anyhow::Context as _;
use jiff::Timestamp;
use kube::Client;

use crate::{
    defrag::cronjob::MANAGER,
    runtime::{
        mtls::{self, Clients},
        selfsigned::{self, rotation},
        shutdown::Shutdown,
        telemetry::ProcessMetrics,
        tls::{self, Certificates},
    },
};

/// How long API servers get to learn of a new CA from their watches before a certificate of it is served.
const SPREAD: Duration = Duration::from_secs(20);

/// The arguments about certificates.
#[derive(Debug, clap::Args)]
pub(super) struct TlsArgs {
    /// The serving certificate with its chain, in PEM; followed when it changes
    #[arg(long, value_name = "FILE", requires = "tls_key")]
    tls_cert: Option<PathBuf>,
    /// The key of the serving certificate, in PEM
    #[arg(long, value_name = "FILE", requires = "tls_cert")]
    tls_key: Option<PathBuf>,
    /// Create the serving certificate and its CA, store both in a Secret, renew them in time, and write the CA to the
    /// webhook configurations
    #[arg(long, conflicts_with_all = ["tls_cert", "register_webhooks"])]
    tls_self_signed: bool,
    /// The Secret for --tls-self-signed, in --namespace
    #[arg(long, value_name = "NAME", default_value = "etcd-defrag-webhook-tls")]
    tls_secret: String,
    /// The Service that the certificate of --tls-self-signed is for, in --namespace
    #[arg(long, value_name = "NAME", default_value = "etcd-defrag-webhook")]
    tls_service: String,
    /// The name of the mutating and the validating webhook configuration, whose CA bundle --tls-self-signed updates
    #[arg(long, value_name = "NAME", default_value = "etcd-defrag-webhook")]
    webhook_configuration: String,
    /// Admit only clients with a certificate of a CA in this file, in PEM; followed when it changes
    #[arg(long, value_name = "FILE")]
    tls_client_ca: Option<PathBuf>,
    /// The name that the client's certificate must have, as common name or DNS name; may be repeated, and one is enough
    #[arg(long = "tls-client-name", value_name = "NAME", requires = "tls_client_ca")]
    tls_client_names: Vec<String>,
    /// For development: register the webhooks under this URL; without --tls-cert the certificate is created in memory
    #[arg(long, value_name = "URL")]
    pub(super) register_webhooks: Option<String>,
    /// The CA of --tls-cert for --register-webhooks, in PEM
    #[arg(long, value_name = "FILE", requires = "tls_cert")]
    ca_bundle: Option<PathBuf>,
}

/// The serving certificate, and what else is known of it.
pub(super) struct Source {
    pub(super) certificates: Arc<Certificates>,
    /// The CA that it is trusted by, where it is registered from here.
    pub(super) ca: Option<String>,
    /// What keeps it, where that is this process.
    pub(super) rotation: Option<rotation::Rotation>,
}

impl TlsArgs {
    /// Who may call, where not everybody may.
    pub(super) async fn clients(&self, shutdown: &Shutdown) -> Option<Arc<Clients>> {
        let authority = self.tls_client_ca.clone()?;
        let config = mtls::Config { authority, names: self.tls_client_names.clone() };
        Some(Clients::follow(config, tls::POLL, shutdown.token()).await)
    }

    /// Finds the certificate, or begins to wait for it.
    pub(super) async fn source(
        &self,
        client: &Client,
        namespace: &str,
        metrics: &ProcessMetrics,
        shutdown: &Shutdown,
    ) -> anyhow::Result<Source> {
        if self.tls_self_signed {
            let certificates = Certificates::empty(metrics.tls.clone());
            let config = rotation::Config {
                namespace: namespace.to_owned(),
                secret: self.tls_secret.clone(),
                service: self.tls_service.clone(),
                manager: MANAGER.to_owned(),
                configuration: self.webhook_configuration.clone(),
                spread: SPREAD,
            };
            let rotation = rotation::Rotation::new(client.clone(), config, Arc::clone(&certificates));
            return Ok(Source { certificates, ca: None, rotation: Some(rotation) });
        }
        if let (Some(certificate), Some(key)) = (self.tls_cert.clone(), self.tls_key.clone()) {
            let read = |file: &PathBuf| {
                std::fs::read_to_string(file).with_context(|| format!("cannot read {}", file.display()))
            };
            let ca = self.ca_bundle.as_ref().map(read).transpose()?;
            let files = tls::Files { certificate, key };
            let clock = Arc::new(Timestamp::now);
            let certificates =
                Certificates::follow(files, metrics.tls.clone(), clock, tls::POLL, shutdown.token()).await;
            return Ok(Source { certificates, ca, rotation: None });
        }
        let Some(url) = &self.register_webhooks else {
            anyhow::bail!(
                "no certificate: name one with --tls-cert and --tls-key, let this process create its own with \
                 --tls-self-signed, or use --register-webhooks for development"
            );
        };
        let host =
            url.split_once("://").map_or(url.as_str(), |(_, rest)| rest).split([':', '/']).next().unwrap_or_default();
        let pair = selfsigned::issue(&[host.to_owned()])?;
        let certificates =
            Certificates::from_pem(&pair.cert_pem, &pair.key_pem, metrics.tls.clone(), Timestamp::now())?;
        Ok(Source { certificates, ca: Some(pair.ca_pem), rotation: None })
    }
}
