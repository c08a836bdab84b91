//! `render`: what would be on the cluster, without one.

use anyhow::Context as _;
use clap::builder::NonEmptyStringValueParser;
use jiff::Timestamp;
use serde::Deserialize as _;
use serde_json::{Map, Value};

use super::{
    Exit, Format,
    around::Around,
    in_order::in_order,
    input::{Document, Files, Kept},
    output::{self, Objects},
    policies::{LoadedPolicies, Policies},
};
use crate::defrag::{
    Enrollment, Surroundings, Verdict, assess,
    cronjob::OWN_IMAGE,
    defaulting::{self, Change},
    engine,
    finding::Finding,
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

/// Objects that a worker renders at a time.
const TOGETHER: usize = 8;

pub(super) fn run(args: &Args) -> anyhow::Result<Exit> {
    let now = Timestamp::now();
    let (objects, loaded) = args.policies.load_with(&args.files, true, now)?;
    let around = Around::of(&objects, args.files.namespace())?;
    let mut exit = loaded.say_findings();
    if let Some(trouble) = objects.iter().find_map(Kept::trouble) {
        return Err(trouble);
    }
    let mut renderer = Renderer { args, loaded: &loaded, around: Around::default(), now };
    let governed = objects.iter().filter_map(|kept| renderer.governed(kept));
    renderer.around = around.among(governed.map(|(object, governing)| (object, governing.policy)));
    let mut printed = Objects::of(args.output);
    let mut enrolled = 0;
    let mut chunks = objects.chunks(TOGETHER);
    let render = |chunk: &[Kept]| chunk.iter().map(|kept| renderer.rendered(kept)).collect::<Vec<_>>();
    in_order(
        || Ok(chunks.next()),
        render,
        |chunk| {
            for one in chunk {
                let one = one?;
                one.said.iter().for_each(Said::say);
                enrolled += usize::from(one.is_enrolled);
                if one.is_refused {
                    exit = Exit::Refused;
                }
                one.texts.iter().try_for_each(|text| printed.add(text))?;
            }
            Ok(())
        },
    )?;
    if enrolled == 0 {
        output::note(
            "there is no enrolled StatefulSet in the input; the label etcd-defrag.io/enabled: \"true\" enrols one",
        );
    }
    printed.finish()?;
    Ok(exit)
}

/// What an object is rendered with.
struct Renderer<'a> {
    args: &'a Args,
    loaded: &'a LoadedPolicies,
    around: Around,
    now: Timestamp,
}

/// What is printed of an object, and said of it on standard error before.
#[derive(Default)]
struct Rendered {
    is_enrolled: bool,
    is_refused: bool,
    said: Vec<Said>,
    texts: Vec<output::Data>,
}

/// A line on standard error.
enum Said {
    Note(String),
    /// A finding, and its place.
    Finding(String, Finding),
}

impl Said {
    fn finding(document: &Document, name: &str, finding: Finding) -> Self {
        let line = document.line(&finding.field.to_string());
        Self::Finding(format!("{}:{line}: {name}", document.file()), finding)
    }

    fn say(&self) {
        match self {
            Self::Note(text) => output::note(text),
            Self::Finding(place, finding) => output::say_finding(place, finding),
        }
    }
}

impl Renderer<'_> {
    /// The StatefulSet that an object is, and what governs it.
    fn governed(&self, kept: &Kept) -> Option<(StatefulSet, Governing)> {
        let object = self.args.files.statefulset(kept).ok()??;
        let governing = self.loaded.snapshot.govern(object.namespace(), &object.labels());
        Some((object, governing))
    }

    fn rendered(&self, kept: &Kept) -> anyhow::Result<Rendered> {
        let asking = self.governed(kept).filter(|(object, governing)| {
            let enrollment = Enrollment::of(object, &governing.policy);
            matches!(enrollment, Enrollment::Enrolled | Enrollment::Unclear)
        });
        let mut one = Rendered { is_enrolled: asking.is_some(), ..Rendered::default() };
        let values = match asking {
            Some((object, governing)) => {
                let document = kept.open();
                self.say_governing(&document, &object, &governing, &mut one.said);
                self.pair(&document, &object, &governing, &mut one)?
            }
            None if self.args.all => vec![kept.open().value],
            None => Vec::new(),
        };
        let text = |value| output::object(self.args.output, value);
        one.texts = values.iter().map(text).collect::<anyhow::Result<_>>()?;
        Ok(one)
    }

    fn say_governing(&self, document: &Document, object: &StatefulSet, governing: &Governing, said: &mut Vec<Said>) {
        if self.loaded.policies.is_empty() {
            return;
        }
        let name = format!("{}/{}", object.namespace(), object.name());
        let unknown = self.loaded.labels_unknown(object, governing);
        let why = if unknown.is_some() { governing.perhaps() } else { governing.why() };
        said.push(Said::Note(format!("{name}: {why}")));
        said.extend(unknown.map(|unknown| Said::finding(document, &name, unknown)));
    }

    /// The StatefulSet as mutated and its CronJob, nothing where that is refused. Where the name of the CronJob is taken, the
    /// StatefulSet is alone.
    fn pair(
        &self,
        document: &Document,
        object: &StatefulSet,
        governing: &Governing,
        one: &mut Rendered,
    ) -> anyhow::Result<Vec<Value>> {
        let mut value = document.value.clone();
        apply(&mut value, &defaulting::changes(object, None, &governing.policy));
        let mut mutated = StatefulSet::deserialize(&value).context("the mutated StatefulSet cannot be read")?;
        mutated.metadata.namespace.clone_from(&object.metadata.namespace);
        let around = Surroundings {
            own_image: Some(&self.args.own_image),
            engine_image: Some(&self.args.engine_image),
            ..self.around.surroundings(object)
        };
        let assessment = assess(&mutated, governing, &around, self.now);
        let name = format!("{}/{}", object.namespace(), object.name());
        one.said.extend(assessment.findings.iter().map(|finding| Said::finding(document, &name, finding.clone())));
        one.is_refused = assessment.refused.any;
        let Some(cronjob) = assessment.cronjob() else {
            // One whose members another one's runs reach gets none.
            let covered = matches!(assessment.verdict, Verdict::Absent) && assessment.findings.is_empty();
            let alone = (matches!(assessment.verdict, Verdict::Taken { .. }) || covered) && !one.is_refused;
            return Ok(if alone { vec![value] } else { Vec::new() });
        };
        for line in assessment.plan.iter().flat_map(|plan| plan.effective(self.now)) {
            let line = line.strip_prefix("etcd-defrag: ").unwrap_or(&line);
            one.said.push(Said::Note(format!("{name}: {line}")));
        }
        let cronjob = serde_json::to_value(cronjob).context("the CronJob cannot be written")?;
        Ok(vec![value, cronjob])
    }
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
