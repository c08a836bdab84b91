//! Prometheus' answer to an instant query, read: <https://prometheus.io/docs/prometheus/latest/querying/api/>.

use std::collections::BTreeMap;

use serde::Deserialize;

use super::SeriesLabels;
use crate::defrag::finding::quoted;

/// One value of a series.
#[derive(Clone, Debug, PartialEq)]
pub struct Sample {
    /// The labels that say whose it is, and all others.
    pub labels: BTreeMap<String, String>,
    /// The value; NaN and the infinities are refused later, when it is known which member they belong to.
    pub value: f64,
}

/// Why an answer cannot be used, as text that follows "Prometheus".
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AnswerError {
    /// It is not what the API of Prometheus answers.
    #[error(
        "sent something that is not an answer to a query: {0}. Check that the URL is that of a Prometheus and has its path prefix"
    )]
    Unreadable(String),
    /// Prometheus could not answer.
    #[error("could not answer ({kind}): {text}")]
    Failed {
        /// Prometheus' own word, such as `bad_data`.
        kind: String,
        /// Its explanation.
        text: String,
    },
    /// The result is of another kind.
    #[error(
        "answered with a {0} and not with one value for each series; a query has to be an instant vector, such as etcd_mvcc_db_total_size_in_bytes"
    )]
    NotAVector(String),
}

#[derive(Deserialize)]
struct Envelope {
    status: String,
    #[serde(default)]
    data: Option<Data>,
    #[serde(default, rename = "errorType")]
    error_type: String,
    #[serde(default)]
    error: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Data {
    result_type: String,
    #[serde(default)]
    result: Box<serde_json::value::RawValue>,
}

#[derive(Deserialize)]
struct Series {
    metric: SeriesLabels,
    value: (f64, String),
}

/// The longest external text that is quoted.
const REPEATED: usize = 200;

fn brief(text: &str) -> String {
    crate::defrag::finding::shorten(text, REPEATED)
}

/// Reads an answer.
pub fn read(body: &[u8]) -> Result<Vec<Sample>, AnswerError> {
    let unreadable = |error: serde_json::Error| AnswerError::Unreadable(brief(&error.to_string()));
    let envelope: Envelope = serde_json::from_slice(body).map_err(unreadable)?;
    if envelope.status != "success" {
        return Err(AnswerError::Failed { kind: brief(&envelope.error_type), text: brief(&envelope.error) });
    }
    let data = envelope.data.ok_or_else(|| AnswerError::Unreadable("it has no data".to_owned()))?;
    if data.result_type != "vector" {
        return Err(AnswerError::NotAVector(brief(&data.result_type)));
    }
    let series: Vec<Series> = serde_json::from_str(data.result.get()).map_err(unreadable)?;
    series
        .into_iter()
        .map(|one| {
            let value = number(&one.value.1)
                .ok_or_else(|| AnswerError::Unreadable(format!("{} is not a number", quoted(&brief(&one.value.1)))))?;
            Ok(Sample { labels: one.metric, value })
        })
        .collect()
}

/// A number as Prometheus writes it.
fn number(text: &str) -> Option<f64> {
    match text {
        "+Inf" => Some(f64::INFINITY),
        "-Inf" => Some(f64::NEG_INFINITY),
        other => other.parse().ok(),
    }
}
