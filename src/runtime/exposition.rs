//! Metrics in the format that a scrape asks for.
//!
//! The registry writes `OpenMetrics`. Whoever does not ask for that, such as curl, older Prometheus servers and other
//! agents, is to get the text format of Prometheus, in which a counter is described under its full name.

use std::collections::HashSet;

use axum::http::{HeaderMap, header};

/// How metrics are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// `OpenMetrics` 1.0.
    OpenMetrics,
    /// The text format of Prometheus.
    Text,
}

impl Format {
    /// What the headers of a scrape ask for.
    #[must_use]
    pub fn asked_for(headers: &HeaderMap) -> Self {
        let mut accepted = headers.get_all(header::ACCEPT).iter().filter_map(|value| value.to_str().ok());
        if accepted.any(|value| value.contains("application/openmetrics-text")) {
            Self::OpenMetrics
        } else {
            Self::Text
        }
    }

    /// Its media type.
    #[must_use]
    pub const fn content_type(self) -> &'static str {
        match self {
            Self::OpenMetrics => "application/openmetrics-text; version=1.0.0; charset=utf-8",
            Self::Text => "text/plain; version=0.0.4; charset=utf-8",
        }
    }

    /// `text`, which is `OpenMetrics`, in this format.
    #[must_use]
    pub fn of_openmetrics(self, text: String) -> String {
        match self {
            Self::OpenMetrics => text,
            Self::Text => classic(&text),
        }
    }
}

fn classic(text: &str) -> String {
    // What a name is suffixed with in samples, by its type.
    let suffix = |kind: &str| match kind {
        "counter" => "_total",
        "info" => "_info",
        _ => "",
    };
    let kinds = text.lines().filter_map(|line| line.strip_prefix("# TYPE ")?.split_once(' '));
    let suffixes: Vec<(&str, &str)> = kinds.map(|(name, kind)| (name, suffix(kind))).collect();
    let full = |name: &str| {
        let suffix = suffixes.iter().find(|(described, _)| *described == name).map_or("", |(_, suffix)| suffix);
        format!("{name}{suffix}")
    };
    let sampled: HashSet<&str> =
        text.lines().filter(|line| !line.starts_with('#')).filter_map(|line| line.split(['{', ' ']).next()).collect();
    // A metric without a sample yet is left out: that format has no word for it.
    let has_samples = |name: &str| ["", "_bucket"].iter().any(|end| sampled.contains(format!("{name}{end}").as_str()));
    let mut classic = String::with_capacity(text.len());
    for line in text.lines() {
        let line = match line.strip_prefix("# ").and_then(|line| line.split_once(' ')) {
            Some((word @ ("HELP" | "TYPE"), rest)) => {
                let (name, rest) = rest.split_once(' ').unwrap_or((rest, ""));
                let name = full(name);
                if !has_samples(&name) {
                    continue;
                }
                let rest = if (word, rest) == ("TYPE", "info") { "gauge" } else { rest };
                format!("# {word} {name} {rest}")
            }
            _ if line.starts_with('#') => continue,
            _ => line.to_owned(),
        };
        classic.push_str(&line);
        classic.push('\n');
    }
    classic
}

#[cfg(test)]
mod tests {
    use axum::http::HeaderValue;
    use prometheus_client::{
        encoding::text::encode,
        metrics::{counter::Counter, family::Family, gauge::Gauge, histogram::Histogram, info::Info},
        registry::{Registry, Unit},
    };

    use super::*;

    #[test]
    fn who_asks_for_openmetrics_gets_it_and_others_the_text_format() {
        let asking = |accept: &'static str| {
            Format::asked_for(&HeaderMap::from_iter([(header::ACCEPT, HeaderValue::from_static(accept))]))
        };
        assert_eq!(asking("application/openmetrics-text;version=1.0.0,text/plain;q=0.5"), Format::OpenMetrics);
        assert_eq!(asking("*/*"), Format::Text);
        assert_eq!(Format::asked_for(&HeaderMap::new()), Format::Text);
    }

    #[test]
    fn the_text_format_describes_counters_under_their_full_name() {
        let (mut registry, mut text) = (Registry::with_prefix("x"), String::new());
        registry.register("build", "The version", Info::new([("version", "1")]));
        registry.register("runs", "Runs", Counter::<u64>::default());
        registry.register("none", "Nothing yet", Family::<[(&str, &str); 1], Gauge>::default());
        registry.register_with_unit("took", "Time", Unit::Seconds, Histogram::new([0.5]));
        encode(&mut text, &registry).unwrap();
        insta::assert_snapshot!(Format::Text.of_openmetrics(text.clone()), @r#"
        # HELP x_build_info The version.
        # TYPE x_build_info gauge
        x_build_info{version="1"} 1
        # HELP x_runs_total Runs.
        # TYPE x_runs_total counter
        x_runs_total 0
        # HELP x_took_seconds Time.
        # TYPE x_took_seconds histogram
        x_took_seconds_sum 0.0
        x_took_seconds_count 0
        x_took_seconds_bucket{le="0.5"} 0
        x_took_seconds_bucket{le="+Inf"} 0
        "#);
        assert_eq!(Format::OpenMetrics.of_openmetrics(text.clone()), text);
    }
}
