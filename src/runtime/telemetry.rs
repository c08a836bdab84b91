//! Logs and metrics.

use std::{
    fmt::{self, Write as _},
    io::{self, IsTerminal},
    str::FromStr,
};

use prometheus_client::{encoding::text::encode, metrics::info::Info, registry::Registry};
use tracing::field::Field;
use tracing_subscriber::{
    EnvFilter,
    field::MakeExt as _,
    fmt::{
        FormatFields,
        format::{self, Writer},
    },
};

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
            other => Err(format!("{other:?} is not a log format; write auto, text or json")),
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

/// Sends log lines to standard error, filtered by `RUST_LOG` (default `info`). What quotes an object or another program is
/// written with escapes for all but the characters that are `printable`, so that each event is one line.
///
/// # Errors
/// A text for people, where `RUST_LOG` cannot be read or logs were set up before.
pub fn init(format: LogFormat, printable: Printable) -> Result<(), String> {
    let filter = match std::env::var(EnvFilter::DEFAULT_ENV) {
        Ok(directives) if !directives.is_empty() => EnvFilter::try_new(&directives)
            .map_err(|error| format!("RUST_LOG is {directives:?}: {error}; write a level such as info or debug"))?,
        _ => EnvFilter::new(DEFAULT_FILTER),
    };
    let terminal = std::io::stderr().is_terminal();
    let colour = terminal && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty());
    let builder = tracing_subscriber::fmt().with_env_filter(filter).with_ansi(colour);
    let text = match format {
        LogFormat::Text => true,
        LogFormat::Auto => terminal,
        LogFormat::Json => false,
    };
    let done = if text {
        builder.fmt_fields(fields(printable)).with_writer(std::io::stderr).try_init()
    } else {
        let writer = move || JsonWriter { printable, to: std::io::stderr() };
        builder.json().flatten_event(true).with_writer(writer).try_init()
    };
    done.map_err(|error| error.to_string())
}

/// Whether a reader of the log sees a character as it is.
pub type Printable = fn(char) -> bool;

/// The fields of a line of text: the message, then the others by name.
fn fields(printable: Printable) -> impl for<'writer> FormatFields<'writer> + Send + Sync + 'static {
    let field = move |writer: &mut Writer<'_>, field: &Field, value: &dyn fmt::Debug| {
        let name = field.name();
        match name {
            "message" => {}
            // What the `log` crate says of its records stands in the line already.
            _ if name.starts_with("log.") => return Ok(()),
            _ => write!(writer, "{}=", name.strip_prefix("r#").unwrap_or(name))?,
        }
        for c in format!("{value:?}").chars() {
            if printable(c) {
                writer.write_char(c)?;
            } else {
                write!(writer, "{}", c.escape_default())?;
            }
        }
        Ok(())
    };
    format::debug_fn(field).delimited(" ")
}

/// Writes lines of JSON that mean the same, in which each character that is not printable is an escape of JSON.
struct JsonWriter<W> {
    printable: Printable,
    to: W,
}

impl<W: io::Write> io::Write for JsonWriter<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let text = String::from_utf8_lossy(bytes);
        let mut escaped = String::with_capacity(text.len());
        for c in text.chars() {
            // A line break is the end of the line: those in strings are escaped by now.
            if c == '\n' || (self.printable)(c) {
                escaped.push(c);
                continue;
            }
            for unit in c.encode_utf16(&mut [0; 2]) {
                // Writing to a String cannot fail.
                let _ = write!(escaped, "\\u{unit:04x}");
            }
        }
        self.to.write_all(escaped.as_bytes())?;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.to.flush()
    }
}

/// The metrics of the process; those of the webhook and of the reconciler are registered when they are started.
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

    /// All metrics in the requested format.
    ///
    /// # Errors
    ///
    /// The encoder's; none is known.
    pub fn encode(&self, format: Format) -> Result<String, fmt::Error> {
        let mut text = String::new();
        encode(&mut text, &self.registry)?;
        Ok(format.of_openmetrics(text))
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use super::*;

    #[test]
    fn log_formats_read_back() {
        for format in [LogFormat::Auto, LogFormat::Text, LogFormat::Json] {
            assert_eq!(format.to_string().parse(), Ok(format));
        }
        assert_eq!("xml".parse::<LogFormat>().unwrap_err(), "\"xml\" is not a log format; write auto, text or json");
    }

    /// A buffer that many lines go to.
    #[derive(Clone, Default)]
    struct Lines(Arc<Mutex<Vec<u8>>>);

    impl io::Write for Lines {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().write(bytes)
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    impl Lines {
        fn text(&self) -> String {
            String::from_utf8(self.0.lock().unwrap().clone()).unwrap()
        }
    }

    /// As the core says it, as far as these tests need it.
    fn printable(c: char) -> bool {
        !c.is_control() && c != '\u{202e}' && c != '\u{e0041}'
    }

    const HOSTILE: &str = "a\nERROR forged\u{1b}[2J\u{9b}H\u{202e}\u{e0041} \"é\"";

    fn hostile_event() {
        tracing::info!(reason = HOSTILE, error = %HOSTILE, r#type = ?HOSTILE, number = 1, "it says {HOSTILE}");
    }

    #[test]
    fn an_event_is_one_line_of_printable_text_whatever_it_quotes() {
        let lines = Lines::default();
        let writer = lines.clone();
        let subscriber = tracing_subscriber::fmt()
            .with_ansi(false)
            .without_time()
            .with_target(false)
            .fmt_fields(fields(printable))
            .with_writer(move || writer.clone())
            .finish();
        tracing::subscriber::with_default(subscriber, hostile_event);
        let seen = r#"a\nERROR forged\u{1b}[2J\u{9b}H\u{202e}\u{e0041} "é""#;
        let debug = r#""a\nERROR forged\u{1b}[2J\u{9b}H\u{202e}\u{e0041} \"é\"""#;
        assert_eq!(lines.text(), format!(" INFO it says {seen} reason={debug} error={seen} type={debug} number=1\n"));
    }

    #[test]
    fn a_line_of_json_means_the_same_in_printable_characters() {
        let lines = Lines::default();
        let to = lines.clone();
        let subscriber = tracing_subscriber::fmt()
            .json()
            .flatten_event(true)
            .with_writer(move || JsonWriter { printable, to: to.clone() })
            .finish();
        tracing::subscriber::with_default(subscriber, hostile_event);
        let text = lines.text();
        assert_eq!(text.lines().count(), 1, "{text}");
        assert!(text.trim_end().chars().all(printable), "{text:?}");
        let event: serde_json::Value = serde_json::from_str(&text).unwrap();
        assert_eq!((&event["reason"], &event["error"]), (&HOSTILE.into(), &HOSTILE.into()));
        assert_eq!(event["message"], format!("it says {HOSTILE}"));
    }
}
