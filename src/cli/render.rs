//! `render`: what would be on the cluster, without one.

use anyhow::Context as _;
use clap::builder::NonEmptyStringValueParser;
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
    Enrollment, Surroundings, Verdict, assess,
    cronjob::OWN_IMAGE,
    defaulting::{self, Change},
    engine,
    policy::Governing,
    statefulset::StatefulSet,
};

/// Print the enrolled StatefulSets as the webhook would store them, and their CronJobs
///
/// No cluster is contacted. A StatefulSet that would be refused is omitted, unless the input has its CronJob; its findings
/// are on standard error and the exit code is 1. Related objects are read from the input, too: with
/// `kubectl get statefulset,cronjob,job,namespace,defragpolicy --show-managed-fields -o yaml` it shows what the cluster will
/// have.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    #[command(flatten)]
    files: Files,
    #[command(flatten)]
    policies: Policies,
    /// The image of etcd-defrag-webhook, for policies with the engine `BuiltIn`; `serve` reads it from its pod
    #[arg(long, value_name = "IMAGE", default_value = OWN_IMAGE)]
    own_image: String,
    /// The image of etcd-defrag, for policies without an image, as for `serve`
    #[arg(long, value_name = "IMAGE", default_value = engine::IMAGE, value_parser = NonEmptyStringValueParser::new())]
    engine_image: String,
    /// Print all other objects unchanged, in order
    #[arg(long)]
    all: bool,
    /// How to print: a stream of YAML documents, or one JSON object of kind List
    #[arg(short, long, value_enum, default_value = "yaml")]
    output: Format,
}

/// What `serve` knows of images.
#[derive(Clone, Copy)]
struct Images<'a> {
    own: &'a str,
    engine: &'a str,
}

pub(super) fn run(args: &Args) -> anyhow::Result<Exit> {
    let now = Timestamp::now();
    let (documents, loaded) = args.policies.load_with(&args.files, true, now)?;
    let around = Around::of(&documents, args.files.namespace())?;
    let images = Images { own: &args.own_image, engine: &args.engine_image };
    let mut exit = loaded.say_findings();
    let mut found = Vec::new();
    for document in documents {
        let governed = args.files.statefulset(&document)?.map(|object| {
            let governing = loaded.snapshot.govern(object.namespace(), &object.labels());
            (object, governing)
        });
        found.push((document, governed));
    }
    let statefulsets = found.iter().filter_map(|(_, governed)| governed.as_ref());
    let around = around.among(statefulsets.map(|(object, governing)| (object, &*governing.policy)));
    let mut objects = Vec::new();
    let mut enrolled = 0;
    for (document, governed) in found {
        let asking = governed.filter(|(object, governing)| {
            let enrollment = Enrollment::of(object, &governing.policy);
            matches!(enrollment, Enrollment::Enrolled | Enrollment::Unclear)
        });
        match asking {
            Some((object, governing)) => {
                enrolled += 1;
                note_governing(&loaded, &document, &object, &governing);
                let (pair, refused) = rendered(&document, (&object, &governing), (&around, images), now)?;
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

fn note_governing(loaded: &LoadedPolicies, document: &Document, object: &StatefulSet, governing: &Governing) {
    if loaded.policies.is_empty() {
        return;
    }
    let name = format!("{}/{}", object.namespace(), object.name());
    let unknown = loaded.labels_unknown(object, governing);
    let why = if unknown.is_some() { governing.perhaps() } else { governing.why() };
    output::note(&format!("{name}: {why}"));
    if let Some(unknown) = unknown {
        let place = format!("{}:{}: {name}", document.file(), document.line(&unknown.field.to_string()));
        output::say_finding(&place, &unknown);
    }
}

/// The StatefulSet as mutated and its CronJob, nothing where that is refused; and whether something is refused. Where the
/// name of the CronJob is taken, the StatefulSet is alone.
fn rendered(
    document: &Document,
    (object, governing): (&StatefulSet, &Governing),
    (around, images): (&Around, Images<'_>),
    now: Timestamp,
) -> anyhow::Result<(Vec<Value>, bool)> {
    let mut value = document.value.clone();
    apply(&mut value, &defaulting::changes(object, None, &governing.policy));
    let mut mutated: StatefulSet =
        serde_json::from_value(value.clone()).context("the mutated StatefulSet cannot be read")?;
    mutated.metadata.namespace.clone_from(&object.metadata.namespace);
    let around =
        Surroundings { own_image: Some(images.own), engine_image: Some(images.engine), ..around.surroundings(object) };
    let assessment = assess(&mutated, governing, &around, now);
    let name = format!("{}/{}", object.namespace(), object.name());
    for finding in &assessment.findings {
        let place = format!("{}:{}: {name}", document.file(), document.line(&finding.field.to_string()));
        output::say_finding(&place, finding);
    }
    let refused = assessment.refused.any;
    let Some(cronjob) = assessment.cronjob() else {
        // One whose members another one's runs reach gets none.
        let covered = matches!(assessment.verdict, Verdict::Absent) && assessment.findings.is_empty();
        let alone = (matches!(assessment.verdict, Verdict::Taken { .. }) || covered) && !refused;
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
