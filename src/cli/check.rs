//! `check`: the judgement of manifests, for CI.

use std::{fmt::Write as _, path::PathBuf};

use clap::ValueEnum;
use jiff::Timestamp;
use serde::Serialize;
use serde_json::{Value, json};

use super::{
    Format, Outcome,
    input::{self, Place},
    output::{self, severity_style, wrap},
};
use crate::defrag::{
    self, Enrollment,
    finding::{Code, Finding, Severity},
    policy::Policy,
    statefulset::StatefulSet,
};

/// Judges StatefulSets in manifests
#[derive(Debug, clap::Args)]
pub struct Args {
    /// A manifest, a folder of manifests, or - for standard input
    #[arg(short, long = "filename", value_name = "FILE", required = true)]
    files: Vec<PathBuf>,
    /// The form of the report
    #[arg(short, long, value_enum, default_value_t)]
    output: Form,
}

/// The form of a report.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
enum Form {
    /// For people
    #[default]
    Text,
    /// JSON
    Json,
    /// YAML
    Yaml,
    /// SARIF 2.1.0, for code-scanning services
    Sarif,
}

#[derive(Serialize)]
struct Judged {
    namespace: String,
    name: String,
    enrolled: bool,
    findings: Vec<Finding>,
    #[serde(skip)]
    place: Place,
}

/// Runs the command.
pub fn run(args: &Args) -> anyhow::Result<Outcome> {
    let policy = Policy::built_in();
    let mut judged = Vec::new();
    for document in input::read(&args.files)? {
        if let Some(object) = document.statefulset()? {
            let judgement = defrag::resolve(&object, &policy, Timestamp::now());
            judged.push(Judged {
                namespace: object.namespace().to_owned(),
                name: object.name().to_owned(),
                enrolled: judgement.enrollment == Enrollment::Enrolled,
                findings: judgement.findings,
                place: document.place,
            });
        }
    }
    match args.output {
        Form::Text => output::print(&text(&judged))?,
        Form::Json => output::data(Format::Json, &judged)?,
        Form::Yaml => output::data(Format::Yaml, &judged)?,
        Form::Sarif => output::data(Format::Json, &sarif(&judged))?,
    }
    let refused = judged.iter().flat_map(|judged| &judged.findings).any(Finding::denies);
    Ok(if refused { Outcome::Refused } else { Outcome::Clean })
}

/// The findings of one object, as people read them.
#[must_use]
pub fn report(place: &Place, object: &StatefulSet, findings: &[Finding]) -> String {
    page(place, object.namespace(), object.name(), findings)
}

fn page(place: &Place, namespace: &str, name: &str, findings: &[Finding]) -> String {
    let mut page = String::new();
    for finding in findings {
        let style = severity_style(finding.severity);
        let (severity, code) = (finding.severity, finding.code);
        let _ = writeln!(page, "{place}: {namespace}/{name}: {style}{severity}{style:#} {code}\n    {}", finding.field);
        page.push_str(&wrap(&finding.message, "    "));
        page.push('\n');
    }
    page
}

fn text(judged: &[Judged]) -> String {
    let mut text: String =
        judged.iter().map(|judged| page(&judged.place, &judged.namespace, &judged.name, &judged.findings)).collect();
    let enrolled = judged.iter().filter(|judged| judged.enrolled).count();
    let count = |severity| judged.iter().flat_map(|judged| &judged.findings).filter(|f| f.severity == severity).count();
    let _ = writeln!(
        text,
        "{}, {enrolled} enrolled: {}, {}",
        plural(judged.len(), "StatefulSet"),
        plural(count(Severity::Deny), "refusal"),
        plural(count(Severity::Warn), "warning")
    );
    text
}

fn plural(count: usize, what: &str) -> String {
    format!("{count} {what}{}", if count == 1 { "" } else { "s" })
}

/// A SARIF log (OASIS, version 2.1.0) with a rule for each code and a result for each finding.
fn sarif(judged: &[Judged]) -> Value {
    let level = |severity| match severity {
        Severity::Deny => "error",
        Severity::Warn => "warning",
    };
    let rules: Vec<Value> = Code::ALL
        .iter()
        .map(|code| {
            json!({
                "id": code.as_str(),
                "defaultConfiguration": {"level": level(code.severity())},
                "help": {"text": code.page(), "markdown": code.page()},
            })
        })
        .collect();
    let results: Vec<Value> = judged
        .iter()
        .flat_map(|judged| judged.findings.iter().map(move |finding| (judged, finding)))
        .map(|(judged, finding)| {
            let name = format!("{}/{}", judged.namespace, judged.name);
            json!({
                "ruleId": finding.code.as_str(),
                "level": level(finding.severity),
                "message": {"text": format!("{name}: {}: {}", finding.field, finding.message)},
                "locations": [{
                    "physicalLocation": {
                        "artifactLocation": {"uri": judged.place.file},
                        "region": {"startLine": judged.place.line},
                    },
                    "logicalLocations": [{"fullyQualifiedName": format!("{name}/{}", finding.field)}],
                }],
            })
        })
        .collect();
    json!({
        "$schema": "https://json.schemastore.org/sarif-2.1.0.json",
        "version": "2.1.0",
        "runs": [{
            "tool": {"driver": {"name": env!("CARGO_PKG_NAME"), "version": env!("CARGO_PKG_VERSION"), "rules": rules}},
            "results": results,
        }],
    })
}
