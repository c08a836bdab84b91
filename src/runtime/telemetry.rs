//! Logs and metrics.

use std::{fmt, io::IsTerminal, str::FromStr};

use prometheus_client::{encoding::text::encode, metrics::info::Info, registry::Registry};
use tracing_subscriber::EnvFilter;

use super::{exposition::Format, tls};

/// The prefix of every metric.
pub const PREFIX: &str = "etcd_defrag_webhook";

/// How log lines look.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum LogFormat {
    /// Text on a terminal, JSON elsewhere.
    #[default]
    Auto,
    /// One line of text.
    Text,
    /// One JSON object.
    Json,
}

impl FromStr for LogFormat {
    type Err = String;

    fn from_str(s: &str) -> Result<Self, String> {
        match s {
            "auto" => Ok(Self::Auto),
            "text" => Ok(Self::Text),
            "json" => Ok(Self::Json),
            other => Err(format!("{other:?} is no log format; write auto, text or json")),
        }
    }
}

impl fmt::Display for LogFormat {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Auto => "auto",
            Self::Text => "text",
            Self::Json => "json",
        })
    }
}

/// The client's own line for each request that fails says less than ours, and says it every time.
const DEFAULT_FILTER: &str = "info,kube_client::client::builder=off";

/// Sends log lines to standard error, filtered by `RUST_LOG` (default `info`).
///
/// # Errors
/// A text for people, where `RUST_LOG` cannot be read or logs were set up before.
pub fn init(format: LogFormat) -> Result<(), String> {
    let filter = match std::env::var(EnvFilter::DEFAULT_ENV) {
        Ok(directives) if !directives.is_empty() => EnvFilter::try_new(&directives)
            .map_err(|error| format!("RUST_LOG is {directives:?}: {error}; write a level such as info or debug"))?,
        _ => EnvFilter::new(DEFAULT_FILTER),
    };
    let terminal = std::io::stderr().is_terminal();
    let colour = terminal && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty());
    let builder = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).with_ansi(colour);
    let done = match format {
        LogFormat::Text => builder.try_init(),
        LogFormat::Auto if terminal => builder.try_init(),
        LogFormat::Auto | LogFormat::Json => builder.json().flatten_event(true).try_init(),
    };
    done.map_err(|error| error.to_string())
}

/// The metrics of the process; those of the webhook and of the reconciler are registered by whoever starts them.
#[derive(Debug)]
pub struct ProcessMetrics {
    registry: Registry,
    /// Those of the serving certificate.
    pub tls: tls::TlsMetrics,
}

impl Default for ProcessMetrics {
    fn default() -> Self {
        let mut registry = Registry::with_prefix(PREFIX);
        let build = Info::new(vec![("version", env!("CARGO_PKG_VERSION"))]);
        registry.register("build", "The version that runs", build);
        let tls = tls::TlsMetrics::register(&mut registry);
        Self { registry, tls }
    }
}

impl ProcessMetrics {
    /// Where further metrics are registered before they are served.
    pub const fn registry_mut(&mut self) -> &mut Registry {
        &mut self.registry
    }

    /// All metrics in the format that is asked for.
    ///
    /// # Errors
    /// The encoder's; none is known.
    pub fn encode(&self, format: Format) -> Result<String, fmt::Error> {
        let mut text = String::new();
        encode(&mut text, &self.registry)?;
        Ok(format.of_openmetrics(text))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn log_formats_read_back() {
        for format in [LogFormat::Auto, LogFormat::Text, LogFormat::Json] {
            assert_eq!(format.to_string().parse(), Ok(format));
        }
        assert_eq!("xml".parse::<LogFormat>().unwrap_err(), "\"xml\" is no log format; write auto, text or json");
    }
}
