//! `render`: what would be on the cluster, without one.

use anyhow::Context as _;
use jiff::Timestamp;
use serde_json::{Map, Value};

use super::{
    Exit, Format,
    around::Around,
    input::{Document, Files},
    output,
    policies::{LoadedPolicies, Policies},
};
use crate::defrag::{
    Enrollment, Verdict, assess,
    defaulting::{self, Change},
    policy::Governing,
    statefulset::StatefulSet,
};

/// Print the enrolled StatefulSets as the webhook would store them, and their CronJobs
///
/// No cluster is contacted. A StatefulSet that would be refused is left out, unless the input has its CronJob; its findings
/// are on standard error and the exit code is 1. What is around a StatefulSet is taken from the input, too: with
/// `kubectl get statefulset,cronjob,job,namespace,defragpolicy --show-managed-fields -o yaml` it shows what the cluster will
/// have.
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

pub(super) fn run(args: &Args) -> anyhow::Result<Exit> {
    let now = Timestamp::now();
    let (documents, loaded) = args.policies.load_with(&args.files, true, now)?;
    let around = Around::of(&documents, args.files.namespace())?;
    let mut objects = Vec::new();
    let mut exit = loaded.say_findings();
    let mut enrolled = 0;
    for document in documents {
        let object = args.files.statefulset(&document)?;
        let asking = object.and_then(|object| {
            let governing = loaded.snapshot.govern(object.namespace(), &object.labels());
            let enrollment = Enrollment::of(&object, &governing.policy);
            matches!(enrollment, Enrollment::Enrolled | Enrollment::Unclear).then_some((object, governing))
        });
        match asking {
            Some((object, governing)) => {
                enrolled += 1;
                note_governing(&loaded, &object, &governing);
                let (pair, refused) = rendered(&document, &object, &governing, &around, now)?;
                objects.extend(pair);
                if refused {
                    exit = Exit::Refused;
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
    output::write(&output::objects(args.output, &objects)?)?;
    Ok(exit)
}

fn note_governing(loaded: &LoadedPolicies, object: &StatefulSet, governing: &Governing) {
    if !loaded.policies.is_empty() {
        output::note(&format!("{}/{}: {}", object.namespace(), object.name(), governing.why()));
    }
}

/// The StatefulSet as mutated and its CronJob, nothing where that is refused; and whether something is refused. Where the
/// name of the CronJob is taken, the StatefulSet is alone.
fn rendered(
    document: &Document,
    object: &StatefulSet,
    governing: &Governing,
    around: &Around,
    now: Timestamp,
) -> anyhow::Result<(Vec<Value>, bool)> {
    let mut value = document.value.clone();
    apply(&mut value, &defaulting::changes(object, None, &governing.policy));
    let mut mutated: StatefulSet =
        serde_json::from_value(value.clone()).context("the mutated StatefulSet cannot be read")?;
    mutated.metadata.namespace.clone_from(&object.metadata.namespace);
    let assessment = assess(&mutated, governing, &around.surroundings(object), now);
    let name = format!("{}/{}", object.namespace(), object.name());
    for finding in &assessment.findings {
        let place = format!("{}:{}: {name}", document.file(), document.line(&finding.field.to_string()));
        output::say_finding(&place, finding);
    }
    let refused = assessment.refused.any;
    let Some(cronjob) = assessment.cronjob() else {
        let alone = matches!(assessment.verdict, Verdict::Taken { .. }) && !refused;
        return Ok((if alone { vec![value] } else { Vec::new() }, refused));
    };
    for line in assessment.plan.iter().flat_map(|plan| plan.effective(now)) {
        output::note(&format!("{name}: {}", line.strip_prefix("etcd-defrag: ").unwrap_or(&line)));
    }
    let cronjob = serde_json::to_value(cronjob).context("the CronJob cannot be written")?;
    Ok((vec![value, cronjob], refused))
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
