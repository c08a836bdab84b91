//! Findings as SARIF 2.1.0, the part of it that code scanning services show.
//!
//! Source: <https://docs.oasis-open.org/sarif/sarif/v2.1.0/sarif-v2.1.0.html>.

use std::collections::BTreeSet;

use serde::Serialize;

use super::Assessed;
use crate::{
    cli::explain,
    defrag::finding::{Code, Finding, Severity},
};

#[derive(Serialize)]
pub(super) struct Log {
    #[serde(rename = "$schema")]
    schema: &'static str,
    version: &'static str,
    runs: [Run; 1],
}

#[derive(Serialize)]
struct Run {
    tool: Tool,
    results: Vec<SarifResult>,
}

#[derive(Serialize)]
struct Tool {
    driver: Driver,
}

#[derive(Serialize)]
struct Driver {
    name: &'static str,
    version: &'static str,
    rules: Vec<Rule>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Rule {
    id: Code,
    short_description: Text,
    help: Help,
    default_configuration: Configuration,
}

#[derive(Serialize)]
struct Text {
    text: String,
}

#[derive(Serialize)]
struct Help {
    text: &'static str,
    markdown: &'static str,
}

#[derive(Serialize)]
struct Configuration {
    level: &'static str,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct SarifResult {
    rule_id: Code,
    level: &'static str,
    message: Text,
    locations: [Location; 1],
    #[serde(skip_serializing_if = "Option::is_none")]
    properties: Option<Properties>,
}

/// What SARIF has no place for.
#[derive(Serialize)]
struct Properties {
    /// Which policy governs and why.
    policy: String,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Location {
    physical_location: Physical,
    logical_locations: [Logical; 1],
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Physical {
    artifact_location: Artifact,
    region: Region,
}

#[derive(Serialize)]
struct Artifact {
    uri: String,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Region {
    start_line: u64,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Logical {
    fully_qualified_name: String,
}

pub(super) fn log(assessed: &[Assessed]) -> Log {
    let codes: BTreeSet<Code> = assessed.iter().flat_map(|one| &one.findings).map(|found| found.code).collect();
    let results = assessed.iter().flat_map(|one| one.placed().map(|(line, found)| result(one, line, found))).collect();
    Log {
        schema: "https://json.schemastore.org/sarif-2.1.0.json",
        version: "2.1.0",
        runs: [Run {
            tool: Tool {
                driver: Driver {
                    name: env!("CARGO_PKG_NAME"),
                    version: env!("CARGO_PKG_VERSION"),
                    rules: codes.into_iter().map(rule).collect(),
                },
            },
            results,
        }],
    }
}

fn rule(code: Code) -> Rule {
    let page = code.page();
    Rule {
        id: code,
        short_description: Text { text: explain::summary(code).to_owned() },
        help: Help { text: page, markdown: page },
        default_configuration: Configuration { level: level(code.severity()) },
    }
}

fn result(assessed: &Assessed, line: u64, finding: &Finding) -> SarifResult {
    let Assessed { file, subject, .. } = assessed;
    SarifResult {
        rule_id: finding.code,
        level: level(finding.severity),
        message: Text { text: finding.message.clone() },
        locations: [Location {
            physical_location: Physical {
                artifact_location: Artifact { uri: uri(file) },
                region: Region { start_line: line },
            },
            logical_locations: [Logical { fully_qualified_name: format!("{}: {}", subject.name(), finding.field) }],
        }],
        properties: subject.governed().map(|policy| Properties { policy }),
    }
}

const fn level(severity: Severity) -> &'static str {
    match severity {
        Severity::Deny => "error",
        Severity::Warn => "warning",
    }
}

/// A path as a URI reference: bytes that mean something else in one are percent-encoded (RFC 3986).
fn uri(path: &str) -> String {
    let path = path.strip_prefix("./").unwrap_or(path);
    let encode = |byte: u8| match byte {
        b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' | b'/' => char::from(byte).to_string(),
        _ => format!("%{byte:02X}"),
    };
    path.bytes().map(encode).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_is_a_uri_reference() {
        assert_eq!(uri("./a b/ü#1.yaml"), "a%20b/%C3%BC%231.yaml");
    }
}
