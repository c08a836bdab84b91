//! `check`: findings for manifests, for people and for CI.

mod assessed;
mod github;
mod junit;
mod placed;
mod sarif;

use anyhow::Context as _;
use clap::ValueEnum;
use jiff::Timestamp;
use serde::Serialize;

use self::{
    assessed::{Assessed, Subject},
    placed::Placed,
};
use super::{
    Exit,
    around::Around,
    input::{Document, Files, Trouble},
    output::{self, Page},
    policies::{Policies, as_acted_on},
};
use crate::defrag::{
    Enrollment, assess, assess_before_enrolment, finding::Finding, statefulset::StatefulSet, text::counted,
};

/// Check manifests and print the findings
///
/// No cluster is contacted. With --policy, the policies themselves are checked too. An etcd without the label is checked as if it
/// had it, which refuses nothing. The exit code is 1 if a StatefulSet would be refused, or if a value of a policy is
/// invalid, and 2 if something cannot be read; what can be read is still checked. If the policy's validationActions do not
/// deny, findings are warnings. With --strict, warnings end with 1 as well.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    #[command(flatten)]
    files: Files,
    #[command(flatten)]
    policies: Policies,
    /// How to print the findings; sarif is SARIF 2.1.0, for code scanning services; junit is the XML for CI systems; github is the
    /// annotations of GitHub Actions
    #[arg(short, long, value_enum, default_value = "text")]
    output: Format,
    /// Exit with 1 for warnings, too
    #[arg(long)]
    strict: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Format {
    Text,
    Json,
    Yaml,
    Sarif,
    Junit,
    Github,
}

/// The machine-readable form of one object. `kind` and `policy` are there where policies were named, so that the form
/// without them stays what it was.
#[derive(Serialize)]
struct CheckedObject<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    kind: Option<&'a str>,
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

pub(super) fn run(args: &Args) -> anyhow::Result<Exit> {
    let now = Timestamp::now();
    args.policies.read_stdin_once(&args.files)?;
    let (documents, mut troubles) = args.files.read_each();
    let loaded = args.policies.load(&documents, false, now)?;
    let mut assessed: Vec<Assessed> = loaded
        .policies
        .iter()
        .map(|(document, compiled)| Assessed {
            document: document.clone(),
            subject: Subject::Policy(compiled.name.clone()),
            findings: compiled.findings.clone(),
        })
        .collect();
    let around = Around::of_readable(&documents, args.files.namespace(), &mut troubles);
    let mut placed = Placed::of(&documents);
    let mut found = Vec::new();
    for document in documents {
        match args.files.statefulset(&document) {
            Ok(object) => {
                let governed = object.map(|object| {
                    let governing = loaded.snapshot.govern(object.namespace(), &object.labels());
                    (object, governing)
                });
                found.push((document, governed));
            }
            Err(trouble) => troubles.push(trouble),
        }
    }
    let governed = found.iter().filter_map(|(_, governed)| governed.as_ref());
    let around = around.among(governed.map(|(object, governing)| (object, &*governing.policy)));
    for (document, governed) in found {
        let Some((object, governing)) = governed else {
            assessed.extend(other(document, &placed, args.files.namespace()));
            continue;
        };
        let surroundings = around.of_manifests(&object);
        let assessment = assess(&object, &governing, &surroundings, now);
        let before = assess_before_enrolment(&object, &governing, &surroundings, now);
        let concerns_us = before.is_some() || assessment.enrollment != Enrollment::NotEnrolled;
        let unknown = loaded.labels_unknown(&object, &governing).filter(|_| concerns_us);
        let undecided = unknown.is_some();
        let mut found = before.unwrap_or(assessment.findings);
        found.extend(placed.statefulset(&document, &object, concerns_us));
        assessed.push(Assessed {
            document,
            findings: unknown.into_iter().chain(as_acted_on(&governing.policy, found)).collect(),
            subject: Subject::StatefulSet {
                object: Box::new(object),
                enrolment: assessment.enrollment,
                governing: args.policies.given().then_some(governing),
                undecided,
            },
        });
    }
    let placed_troubles: Vec<Trouble> = troubles.iter().map(Trouble::of).collect();
    let troubles: Vec<String> = placed_troubles.iter().map(ToString::to_string).collect();
    let unreadable = (!troubles.is_empty()).then(|| output::Several(troubles.clone()));
    if assessed.is_empty()
        && !matches!(args.output, Format::Junit | Format::Github)
        && let Some(unreadable) = unreadable
    {
        return Err(unreadable.into());
    }
    Files::note_if_none(statefulsets(&assessed).count());
    match args.output {
        Format::Text => output::print(&page(&assessed))?,
        Format::Json => output::write(&output::json(&objects(&assessed))?)?,
        Format::Yaml => {
            let value = serde_json::to_value(objects(&assessed)).context("cannot write the findings")?;
            output::write(&output::yaml(&value)?)?;
        }
        Format::Sarif => output::write(&output::json(&sarif::log(&assessed))?)?,
        Format::Junit => {
            let document = junit::document(&assessed, &troubles).context("cannot write the findings")?;
            output::write(&output::Data::script(document))?;
        }
        Format::Github => output::write(&output::Data::script(github::commands(&assessed, &placed_troubles)))?,
    }
    if let Some(unreadable) = unreadable {
        return Err(unreadable.into());
    }
    let fails = |one: &Assessed| one.refused() || args.strict && !one.is_clean();
    Ok(if assessed.iter().any(fails) { Exit::Refused } else { Exit::Clean })
}

/// The findings of an object that is not a StatefulSet but similar to one.
fn other(document: Document, placed: &Placed, default: &str) -> Option<Assessed> {
    let kind = document.kind().1.filter(|_| !document.is_policy())?.to_owned();
    let object: StatefulSet = document.typed().ok()?;
    let findings = vec![placed.other(&kind, &document, &object)?];
    let namespace = object.metadata.namespace.clone().unwrap_or_else(|| default.to_owned());
    Some(Assessed { document, subject: Subject::Other { kind, namespace, name: object.name().to_owned() }, findings })
}

fn statefulsets(assessed: &[Assessed]) -> impl Iterator<Item = &Assessed> {
    assessed.iter().filter(|assessed| matches!(assessed.subject, Subject::StatefulSet { .. }))
}

fn objects(assessed: &[Assessed]) -> Vec<CheckedObject<'_>> {
    assessed
        .iter()
        .map(|Assessed { subject, findings, .. }| match subject {
            Subject::Policy(name) => CheckedObject {
                kind: Some("DefragPolicy"),
                namespace: None,
                name,
                enrolled: None,
                policy: None,
                findings,
            },
            Subject::Other { kind, namespace, name } => CheckedObject {
                kind: Some(kind),
                namespace: Some(namespace),
                name,
                enrolled: None,
                policy: None,
                findings,
            },
            Subject::StatefulSet { object, enrolment, governing, .. } => CheckedObject {
                kind: governing.as_ref().map(|_| "StatefulSet"),
                namespace: Some(object.namespace()),
                name: object.name(),
                enrolled: Some(*enrolment == Enrollment::Enrolled),
                policy: governing.as_ref().map(|governing| Governor(governing.name())),
                findings,
            },
        })
        .collect()
}

fn page(assessed: &[Assessed]) -> Page {
    let mut page = Page::default();
    for Assessed { document, subject, findings } in assessed {
        let place = |field: &str| format!("{}:{}: {}", document.file(), document.line(field), subject.name());
        if let Some(governed) = subject.governed() {
            page.placed(&place("metadata.name"), &governed);
            page.line("");
        }
        for finding in findings {
            page.finding(&place(&finding.field.to_string()), finding);
            page.line("");
        }
    }
    page.line(&summary(assessed));
    page
}

fn summary(assessed: &[Assessed]) -> String {
    let found = statefulsets(assessed).count();
    let enrolled = assessed
        .iter()
        .filter(|assessed| matches!(assessed.subject, Subject::StatefulSet { enrolment: Enrollment::Enrolled, .. }))
        .count();
    let policies = assessed.iter().filter(|assessed| matches!(assessed.subject, Subject::Policy(_))).count();
    let policies = match policies {
        0 => String::new(),
        more => format!("{}, ", counted(more, "DefragPolicy")),
    };
    let acted_on = assessed.iter().filter(|assessed| !assessed.subject.is_only_looked_at());
    let only_looked_at: Vec<&Assessed> =
        assessed.iter().filter(|one| one.subject.is_only_looked_at() && !one.findings.is_empty()).collect();
    let would_get = only_looked_at.iter().flat_map(|assessed| &assessed.findings);
    let (would_deny, would_warn): (Vec<_>, Vec<_>) = would_get.partition(|finding| finding.denies());
    let looked_at = match only_looked_at.len() {
        0 => String::new(),
        number => format!(
            "; {number} without the label, with what {} would get: {}, {}",
            if number == 1 { "it" } else { "they" },
            counted(would_deny.len(), "denial"),
            counted(would_warn.len(), "warning")
        ),
    };
    let findings = acted_on.flat_map(|assessed| &assessed.findings);
    let (denials, warnings): (Vec<_>, Vec<_>) = findings.partition(|finding| finding.denies());
    format!(
        "{policies}{}, {enrolled} enrolled, {} refused: {}, {}{looked_at}",
        counted(found, "StatefulSet"),
        statefulsets(assessed).filter(|assessed| assessed.refused()).count(),
        counted(denials.len(), "denial"),
        counted(warnings.len(), "warning")
    )
}
