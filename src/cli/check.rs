//! `check`: findings for manifests, for people and for CI.

mod assessed;
mod sarif;

use anyhow::Context as _;
use clap::ValueEnum;
use jiff::Timestamp;
use serde::Serialize;

use self::assessed::{Judged, Subject};
use super::{
    Outcome,
    around::Around,
    input::Files,
    output,
    policies::{Policies, as_acted_on},
};
use crate::defrag::{Enrollment, Surroundings, assess, finding::Finding};

/// Judge manifests and print the findings
///
/// No cluster is contacted. With --policy, the policies themselves are judged too. The exit code is 1 where a StatefulSet
/// would be refused, or where a value of a policy cannot be followed. Where the policy's validationActions do not deny,
/// findings are warnings.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    #[command(flatten)]
    files: Files,
    #[command(flatten)]
    policies: Policies,
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

/// The machine-readable form of one object. `kind` and `policy` are there where policies were named, so that the form
/// without them stays what it was.
#[derive(Serialize)]
struct Entry<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    kind: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    namespace: Option<&'a str>,
    name: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    enrolled: Option<bool>,
    /// The policy that governs, `null` for the built-in one.
    #[serde(skip_serializing_if = "Option::is_none")]
    policy: Option<Governor<'a>>,
    findings: &'a [Finding],
}

/// The name of a policy; nothing for the built-in one, which is written as `null`.
#[derive(Serialize)]
struct Governor<'a>(Option<&'a str>);

pub(super) fn run(args: &Args) -> anyhow::Result<Outcome> {
    let now = Timestamp::now();
    let (documents, known) = args.policies.load_with(&args.files, false, now)?;
    let mut judged: Vec<Judged> = known
        .policies
        .into_iter()
        .map(|(document, compiled)| Judged {
            document,
            subject: Subject::Policy(compiled.name.clone()),
            findings: compiled.findings.clone(),
        })
        .collect();
    let around = Around::of(&documents)?;
    for document in documents {
        let Some(object) = args.files.statefulset(&document)? else { continue };
        let governing = known.snapshot.govern(object.namespace(), &object.labels());
        // Manifests alone say nothing of what else is in the cluster.
        let seen = if around.is_empty() { Surroundings::default() } else { around.surroundings(&object) };
        let assessment = assess(&object, &governing, &seen, now);
        judged.push(Judged {
            document,
            findings: as_acted_on(&governing.policy, assessment.findings),
            subject: Subject::StatefulSet {
                object: Box::new(object),
                enrolled: assessment.enrollment == Enrollment::Enrolled,
                governing: args.policies.given().then_some(governing),
            },
        });
    }
    Files::note_if_none(statefulsets(&judged).count());
    output::print(&match args.output {
        Format::Text => text(&judged),
        Format::Json => output::json(&entries(&judged))?,
        Format::Yaml => output::yaml(&serde_json::to_value(entries(&judged)).context("cannot write the findings")?)?,
        Format::Sarif => output::json(&sarif::log(&judged))?,
    })?;
    Ok(if judged.iter().any(Judged::refused) { Outcome::Refused } else { Outcome::Clean })
}

fn statefulsets(judged: &[Judged]) -> impl Iterator<Item = &Judged> {
    judged.iter().filter(|judged| matches!(judged.subject, Subject::StatefulSet { .. }))
}

fn entries(judged: &[Judged]) -> Vec<Entry<'_>> {
    judged
        .iter()
        .map(|Judged { subject, findings, .. }| match subject {
            Subject::Policy(name) => {
                Entry { kind: Some("DefragPolicy"), namespace: None, name, enrolled: None, policy: None, findings }
            }
            Subject::StatefulSet { object, enrolled, governing } => Entry {
                kind: governing.as_ref().map(|_| "StatefulSet"),
                namespace: Some(object.namespace()),
                name: object.name(),
                enrolled: Some(*enrolled),
                policy: governing.as_ref().map(|governing| Governor(governing.name())),
                findings,
            },
        })
        .collect()
}

fn text(judged: &[Judged]) -> String {
    let mut text = String::new();
    for Judged { document, subject, findings } in judged {
        let place = |field: &str| format!("{}:{}: {}", document.file(), document.line(field), subject.name());
        if let Some(governing) = subject.governing() {
            text += &output::placed(&place("metadata.name"), &governing.why());
            text.push('\n');
        }
        for finding in findings {
            text += &output::finding(&place(&finding.field.to_string()), finding);
            text.push('\n');
        }
    }
    text + &summary(judged) + "\n"
}

fn summary(judged: &[Judged]) -> String {
    let count = |number: usize, one: &str| format!("{number} {one}{}", if number == 1 { "" } else { "s" });
    let found = statefulsets(judged).count();
    let enrolled =
        judged.iter().filter(|judged| matches!(judged.subject, Subject::StatefulSet { enrolled: true, .. })).count();
    let policies = match judged.len() - found {
        0 => String::new(),
        1 => "1 DefragPolicy, ".to_owned(),
        more => format!("{more} DefragPolicies, "),
    };
    let findings = judged.iter().flat_map(|judged| &judged.findings);
    let (denials, warnings): (Vec<_>, Vec<_>) = findings.partition(|finding| finding.denies());
    format!(
        "{policies}{}, {enrolled} enrolled, {} refused: {}, {}",
        count(found, "StatefulSet"),
        statefulsets(judged).filter(|judged| judged.refused()).count(),
        count(denials.len(), "denial"),
        count(warnings.len(), "warning")
    )
}
