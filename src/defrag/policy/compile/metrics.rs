//! `spec.metrics`, parsed. A value that cannot be parsed disables runs on demand until it is fixed; scheduled runs
//! continue.

use std::time::Duration;

use super::{
    super::{
        Limits,
        api::metrics,
        metrics::{Credentials, OnDemand, Source},
    },
    read::Reader,
};
use crate::defrag::{
    duration,
    finding::{Code, quoted},
    ondemand::{Pace, Queries},
    ratio,
};

impl Reader {
    /// Reads which Prometheus to query; `None` if there is none, or it cannot be parsed.
    pub(super) fn metrics(&mut self, written: &metrics::MetricsSource, limits: &Limits) -> Option<OnDemand> {
        let written = written.prometheus.as_ref()?;
        let before = self.findings.len();
        let source = self.source(written);
        let cooldown = self.time("cooldown", &written.cooldown, "24h");
        let emergency_above = ratio::parse(&written.emergency_above).unwrap_or_else(|error| {
            self.off("emergencyAbove", &written.emergency_above, &error.to_string(), "95%");
            1.0
        });
        let max_concurrent = u32::try_from(written.max_concurrent).ok().filter(|most| *most > 0).unwrap_or_else(|| {
            self.off("maxConcurrent", &written.max_concurrent.to_string(), "is not at least 1", "1");
            1
        });
        (self.findings.len() == before).then(|| OnDemand {
            source,
            pace: Pace {
                cooldown,
                emergency_cooldown: limits.min_interval.min(cooldown),
                emergency_above,
                windows: limits.windows.clone(),
            },
            max_concurrent,
        })
    }

    fn source(&mut self, written: &metrics::Prometheus) -> Source {
        let https = written.url.starts_with("https://");
        if !https && !written.url.starts_with("http://") || written.url.contains(['@', '?', '#', ' ']) {
            let why = "is not an http or https URL without user and query";
            self.off("url", &written.url, why, "http://prometheus.monitoring.svc:9090");
        }
        if https && written.ca_file.is_none() {
            self.off("caFile", "", "is missing, and an https URL needs it", "ca.crt");
        }
        let credentials = match (&written.bearer_token_file, &written.basic_auth) {
            (None, None) => None,
            (Some(file), None) => Some(Credentials::Bearer(file.clone())),
            (None, Some(basic)) => Some(Credentials::Basic {
                username: basic.username.clone(),
                password_file: basic.password_file.clone(),
            }),
            (Some(file), Some(_)) => {
                self.off(
                    "basicAuth",
                    file,
                    "is set together with bearerTokenFile, and only one can be sent",
                    "one of the two",
                );
                None
            }
        };
        if credentials.is_some() && !https {
            let why = "would send a token or password that everybody on the network path could read";
            self.off("url", &written.url, why, "https://…");
        }
        let password = match &credentials {
            Some(Credentials::Bearer(file) | Credentials::Basic { password_file: file, .. }) => Some(file),
            None => None,
        };
        for file in [written.ca_file.as_ref(), password].into_iter().flatten() {
            if !is_file_name(file) {
                self.off("caFile", file, "is not a name of a file in the folder of --prometheus-files", "ca.crt");
            }
        }
        Source {
            url: written.url.trim_end_matches('/').to_owned(),
            ca_file: written.ca_file.clone(),
            credentials,
            interval: self.time("interval", &written.interval, "1m"),
            timeout: self.time("timeout", &written.timeout, "10s"),
            fresh: self.time("staleAfter", &written.stale_after, "5m"),
            queries: Queries {
                quota: written.queries.quota.clone(),
                in_use: written.queries.in_use.clone(),
                size: written.queries.size.clone(),
                corrupt: written.queries.corrupt.clone(),
                namespace: written.labels.namespace.clone(),
                pod: written.labels.pod.clone(),
            },
        }
    }

    fn time(&mut self, name: &str, text: &str, example: &str) -> Duration {
        let read = duration::parse_unsigned(text).map_err(|error| error.to_string());
        read.and_then(|time| if time.is_zero() { Err("it is nothing".to_owned()) } else { Ok(time) }).unwrap_or_else(
            |error| {
                self.off(name, text, &format!("is not a Go duration: {error}"), example);
                Duration::from_hours(1)
            },
        )
    }

    fn off(&mut self, name: &str, found: &str, why: &str, example: &str) {
        self.refuse(
            Code::ValueInvalid,
            format!("spec.metrics.prometheus.{name}"),
            format!("{name} {why}"),
            format!(
                "{} {why}. Write for example {example}. Until then no run starts on demand; scheduled runs continue.",
                quoted(found)
            ),
        );
    }
}

/// Whether a text is the name of a file and leads out of no folder.
fn is_file_name(text: &str) -> bool {
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-');
    !text.is_empty() && text.len() <= 253 && !text.starts_with("..") && text != "." && text.bytes().all(allowed)
}
