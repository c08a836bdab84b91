//! `check`: findings for manifests, for people and for CI.

mod assessed;
mod github;
mod junit;
mod placed;
mod sarif;
mod tally;

use anyhow::Context as _;
use clap::ValueEnum;
use jiff::Timestamp;
use serde::Serialize;

use self::{
    assessed::{Assessed, Subject},
    placed::Placed,
    tally::Tally,
};
use super::{
    Exit,
    around::Around,
    input::{Files, Kept, Trouble},
    output::{self, Page},
    policies::{Policies, as_acted_on},
};
use crate::defrag::{Enrollment, assess, assess_before_enrolment, finding::Finding, statefulset::StatefulSet};

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
    let (objects, mut troubles) = args.files.read_each();
    let loaded = args.policies.load(&objects, false, now)?;
    let around = Around::of_readable(&objects, args.files.namespace(), &mut troubles);
    troubles.extend(objects.iter().filter_map(Kept::trouble));
    let troubles: Vec<Trouble> = troubles.iter().map(Trouble::of).collect();
    let governed = |kept: &Kept| {
        let object = args.files.statefulset(kept).ok()??;
        let governing = loaded.snapshot.govern(object.namespace(), &object.labels());
        Some((object, governing))
    };
    let around = around.among(objects.iter().filter_map(governed).map(|(object, by)| (object, by.policy)));
    let mut placed = Placed::of(&objects);
    let mut report = Report::of(args.output);
    for (document, compiled) in &loaded.policies {
        report.add(Assessed::of(document, Subject::Policy(compiled.name.clone()), compiled.findings.clone()))?;
    }
    for kept in &objects {
        let Some((object, governing)) = governed(kept) else {
            let other = other(kept, &placed, args.files.namespace());
            other.map_or(Ok(()), |other| report.add(other))?;
            continue;
        };
        let document = kept.open();
        let surroundings = around.of_manifests(&object);
        let assessment = assess(&object, &governing, &surroundings, now);
        let before = assess_before_enrolment(&object, &governing, &surroundings, now);
        let concerns_us = before.is_some() || assessment.enrollment != Enrollment::NotEnrolled;
        let unknown = loaded.labels_unknown(&object, &governing).filter(|_| concerns_us);
        let undecided = unknown.is_some();
        let mut found = before.unwrap_or(assessment.findings);
        found.extend(placed.statefulset(&document, &object, concerns_us));
        let findings = unknown.into_iter().chain(as_acted_on(&governing.policy, found)).collect();
        let subject = Subject::StatefulSet {
            namespace: object.namespace().to_owned(),
            name: object.name().to_owned(),
            enrolment: assessment.enrollment,
            governing: args.policies.given().then_some(governing),
            undecided,
        };
        report.add(Assessed::of(&document, subject, findings))?;
    }
    let texts: Vec<String> = troubles.iter().map(ToString::to_string).collect();
    let unreadable = (!troubles.is_empty()).then(|| output::Several(texts.clone()));
    if report.is_empty
        && !matches!(args.output, Format::Junit | Format::Github)
        && let Some(unreadable) = unreadable
    {
        return Err(unreadable.into());
    }
    Files::note_if_none(objects.iter().filter(|kept| kept.is_statefulset()).count());
    let Report { any_refused, all_clean, tally, mut page, assessed, .. } = report;
    match args.output {
        Format::Text => {
            page.line(&tally.to_string());
            output::print(&page)?;
        }
        Format::Json => output::write(&output::json(&checked(&assessed))?)?,
        Format::Yaml => {
            let value = serde_json::to_value(checked(&assessed)).context("cannot write the findings")?;
            output::write(&output::yaml(&value)?)?;
        }
        Format::Sarif => output::write(&output::json(&sarif::log(&assessed))?)?,
        Format::Junit => {
            let document = junit::document(&assessed, &texts).context("cannot write the findings")?;
            output::write(&output::Data::script(document))?;
        }
        Format::Github => output::write(&output::Data::script(github::commands(&assessed, &troubles)))?,
    }
    if let Some(unreadable) = unreadable {
        return Err(unreadable.into());
    }
    let fails = any_refused || args.strict && !all_clean;
    Ok(if fails { Exit::Refused } else { Exit::Clean })
}

/// What was assessed so far. A page for people is printed as it grows; the other forms begin with what is known at the end only.
struct Report {
    format: Format,
    is_empty: bool,
    any_refused: bool,
    all_clean: bool,
    tally: Tally,
    page: Page,
    assessed: Vec<Assessed>,
}

impl Report {
    fn of(format: Format) -> Self {
        let (tally, page, assessed) = Default::default();
        Self { format, is_empty: true, any_refused: false, all_clean: true, tally, page, assessed }
    }

    fn add(&mut self, one: Assessed) -> anyhow::Result<()> {
        self.is_empty = false;
        self.any_refused |= one.refused();
        self.all_clean &= one.is_clean();
        if self.format != Format::Text {
            self.assessed.push(one);
            return Ok(());
        }
        self.tally.add(&one);
        let place = |line: u64| format!("{}:{line}: {}", one.file, one.subject.name());
        if let Some(governed) = one.subject.governed() {
            self.page.placed(&place(one.line), &governed);
            self.page.line("");
        }
        for (line, finding) in one.placed() {
            self.page.finding(&place(line), finding);
            self.page.line("");
        }
        self.page.print_if_much()
    }
}

/// The findings of an object that is not a StatefulSet but similar to one.
fn other(kept: &Kept, placed: &Placed, default: &str) -> Option<Assessed> {
    let kind = kept.kind().1.filter(|_| !kept.is_policy() && kept.trouble().is_none())?.to_owned();
    let document = kept.open();
    let object: StatefulSet = document.typed().ok()?;
    let findings = vec![placed.other(&kind, &document, &object)?];
    let namespace = object.metadata.namespace.clone().unwrap_or_else(|| default.to_owned());
    let subject = Subject::Other { kind, namespace, name: object.name().to_owned() };
    Some(Assessed::of(&document, subject, findings))
}

fn checked(assessed: &[Assessed]) -> Vec<CheckedObject<'_>> {
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
            Subject::StatefulSet { namespace, name, enrolment, governing, .. } => CheckedObject {
                kind: governing.as_ref().map(|_| "StatefulSet"),
                namespace: Some(namespace),
                name,
                enrolled: Some(*enrolment == Enrollment::Enrolled),
                policy: governing.as_ref().map(|governing| Governor(governing.name())),
                findings,
            },
        })
        .collect()
}
