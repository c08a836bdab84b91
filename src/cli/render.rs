//! `render`: what would be on the cluster, without one.

use anyhow::Context as _;
use jiff::Timestamp;
use serde_json::{Map, Value};

use super::{
    Format, Outcome,
    input::{Document, Files},
    output,
    policies::Policies,
};
use crate::defrag::{
    cronjob,
    defaulting::{self, Change},
    judgement::{Enrollment, resolve},
    policy::{Governing, Policy},
    statefulset::StatefulSet,
};

/// Print the enrolled StatefulSets as the webhook would store them, and their CronJobs
///
/// No cluster is contacted. A StatefulSet that would be refused is left out; its findings are on standard error and the
/// exit code is 1.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    #[command(flatten)]
    files: Files,
    #[command(flatten)]
    policies: Policies,
    /// Pass everything else through, in order
    #[arg(long)]
    all: bool,
    /// How to print: a stream of YAML documents, or one JSON object of kind List
    #[arg(short, long, value_enum, default_value = "yaml")]
    output: Format,
}

pub(super) fn run(args: &Args) -> anyhow::Result<Outcome> {
    let now = Timestamp::now();
    let (documents, known) = args.policies.load_with(&args.files, now)?;
    let mut objects = Vec::new();
    let mut outcome = known.say_findings();
    let mut enrolled = 0;
    for document in documents {
        let object = args.files.statefulset(&document)?;
        let asking = object.and_then(|object| {
            let governing = known.landscape.govern(object.namespace(), &object.labels());
            let enrollment = Enrollment::of(&object, &governing.policy);
            matches!(enrollment, Enrollment::Enrolled | Enrollment::Unclear).then_some((object, governing))
        });
        match asking {
            Some((object, governing)) => {
                enrolled += 1;
                note_governing(args, &object, &governing);
                match rendered(&document, &object, &governing.policy, now)? {
                    Some(pair) => objects.extend(pair),
                    None => outcome = Outcome::Refused,
                }
            }
            None if args.all => objects.push(document.value),
            None => {}
        }
    }
    if enrolled == 0 {
        output::note(
            "there is no enrolled StatefulSet in the input; the label etcd-defrag.io/enabled: \"true\" enrols one",
        );
    }
    output::print(&output::objects(args.output, &objects)?)?;
    Ok(outcome)
}

fn note_governing(args: &Args, object: &StatefulSet, governing: &Governing) {
    if args.policies.given() {
        output::note(&format!("{}/{}: {}", object.namespace(), object.name(), governing.why()));
    }
}

/// The StatefulSet as mutated and its CronJob; nothing where it is refused.
fn rendered(
    document: &Document,
    object: &StatefulSet,
    policy: &Policy,
    now: Timestamp,
) -> anyhow::Result<Option<[Value; 2]>> {
    let mut value = document.value.clone();
    apply(&mut value, &defaulting::changes(object, None, policy));
    let mut mutated: StatefulSet =
        serde_json::from_value(value.clone()).context("the mutated StatefulSet cannot be read")?;
    mutated.metadata.namespace.clone_from(&object.metadata.namespace);
    let judgement = resolve(&mutated, policy, now);
    let name = format!("{}/{}", object.namespace(), object.name());
    for finding in &judgement.findings {
        let place = format!("{}:{}: {name}", document.file(), document.line(&finding.field.to_string()));
        output::say(output::finding(&place, finding).trim_end());
    }
    let Some(plan) = judgement.plan else { return Ok(None) };
    for line in plan.effective(now) {
        output::note(&format!("{name}: {}", line.strip_prefix("etcd-defrag: ").unwrap_or(&line)));
    }
    let cronjob = serde_json::to_value(cronjob::build(&plan, policy)).context("the CronJob cannot be written")?;
    Ok(Some([value, cronjob]))
}

/// Changes annotations of a whole object and nothing else of it.
fn apply(object: &mut Value, changes: &[Change]) {
    if changes.is_empty() {
        return;
    }
    let Some(metadata) = object.get_mut("metadata").and_then(Value::as_object_mut) else { return };
    let annotations = metadata.entry("annotations").or_insert(Value::Null);
    if annotations.is_null() {
        *annotations = Value::Object(Map::new());
    }
    let Some(annotations) = annotations.as_object_mut() else { return };
    for Change { annotation, value } in changes {
        match value {
            Some(value) => annotations.insert((*annotation).to_owned(), Value::String(value.clone())),
            None => annotations.remove(*annotation),
        };
    }
}
