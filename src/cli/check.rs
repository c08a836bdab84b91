//! `check`: findings for manifests, for people and for CI.

mod sarif;

use anyhow::Context as _;
use clap::ValueEnum;
use jiff::Timestamp;
use serde::Serialize;

use super::{
    Outcome,
    input::{Document, Files},
    output,
};
use crate::defrag::{
    finding::Finding,
    judgement::{Enrollment, Judgement, resolve},
    policy::Policy,
    statefulset::StatefulSet,
};

/// Judge manifests and print the findings
///
/// No cluster is contacted. The exit code is 1 where a StatefulSet would be refused.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    #[command(flatten)]
    files: Files,
    /// How to print the findings; sarif is SARIF 2.1.0, as code scanning services read it
    #[arg(short, long, value_enum, default_value = "text")]
    output: Format,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Format {
    Text,
    Json,
    Yaml,
    Sarif,
}

/// A StatefulSet of the input, judged.
struct Judged {
    document: Document,
    object: StatefulSet,
    judgement: Judgement,
}

impl Judged {
    fn enrolled(&self) -> bool {
        self.judgement.enrollment == Enrollment::Enrolled
    }
}

/// The machine-readable form of one StatefulSet.
#[derive(Serialize)]
struct Entry<'a> {
    namespace: &'a str,
    name: &'a str,
    enrolled: bool,
    findings: &'a [Finding],
}

pub(super) fn run(args: &Args) -> anyhow::Result<Outcome> {
    let policy = Policy::built_in();
    let now = Timestamp::now();
    let mut judged = Vec::new();
    for document in args.files.read()? {
        if let Some(object) = args.files.statefulset(&document)? {
            let judgement = resolve(&object, &policy, now);
            judged.push(Judged { document, object, judgement });
        }
    }
    Files::note_if_none(judged.len());
    output::print(&match args.output {
        Format::Text => text(&judged),
        Format::Json => output::json(&entries(&judged))?,
        Format::Yaml => output::yaml(&serde_json::to_value(entries(&judged)).context("cannot write the findings")?)?,
        Format::Sarif => output::json(&sarif::log(&judged))?,
    })?;
    let refused = judged.iter().any(|judged| judged.judgement.denials().next().is_some());
    Ok(if refused { Outcome::Refused } else { Outcome::Clean })
}

fn entries(judged: &[Judged]) -> Vec<Entry<'_>> {
    judged
        .iter()
        .map(|judged| Entry {
            namespace: judged.object.namespace(),
            name: judged.object.name(),
            enrolled: judged.enrolled(),
            findings: &judged.judgement.findings,
        })
        .collect()
}

fn text(judged: &[Judged]) -> String {
    let mut text = String::new();
    for Judged { document, object, judgement } in judged {
        for finding in &judgement.findings {
            let line = document.line(&finding.field);
            let place = format!("{}:{line}: {}/{}", document.file(), object.namespace(), object.name());
            text += &output::finding(&place, finding);
            text.push('\n');
        }
    }
    text + &summary(judged) + "\n"
}

fn summary(judged: &[Judged]) -> String {
    let count = |number: usize, one: &str| format!("{number} {one}{}", if number == 1 { "" } else { "s" });
    let refused = judged.iter().filter(|judged| judged.judgement.denials().next().is_some()).count();
    let findings = judged.iter().flat_map(|judged| &judged.judgement.findings);
    let (denials, warnings): (Vec<_>, Vec<_>) = findings.partition(|finding| finding.denies());
    format!(
        "{}, {} enrolled, {refused} refused: {}, {}",
        count(judged.len(), "StatefulSet"),
        judged.iter().filter(|judged| judged.enrolled()).count(),
        count(denials.len(), "denial"),
        count(warnings.len(), "warning")
    )
}
