//! `render`: what the webhook and the reconciler would make of manifests.

use std::path::PathBuf;

use jiff::Timestamp;
use serde_json::{Value, json};

use super::{Format, Outcome, check, input, output};
use crate::defrag::{self, Enrollment, cronjob, defaulting, policy::Policy};

/// Shows StatefulSets as the webhook would fill them in, and the CronJobs that would exist
#[derive(Debug, clap::Args)]
pub struct Args {
    /// A manifest, a folder of manifests, or - for standard input
    #[arg(short, long = "filename", value_name = "FILE", required = true)]
    files: Vec<PathBuf>,
    /// Pass other documents through, in their order
    #[arg(long)]
    all: bool,
    /// The form: a stream of YAML documents, or a list in JSON
    #[arg(short, long, value_enum, default_value_t)]
    output: Format,
}

/// Runs the command.
pub fn run(args: &Args) -> anyhow::Result<Outcome> {
    let policy = Policy::built_in();
    let mut outcome = Outcome::Clean;
    let mut rendered = Vec::new();
    for document in input::read(&args.files)? {
        let Some(object) = document.statefulset()? else {
            rendered.extend(args.all.then_some(document.value));
            continue;
        };
        let judgement = defrag::resolve(&object, &policy, Timestamp::now());
        if !matches!(judgement.enrollment, Enrollment::Enrolled | Enrollment::Unclear) {
            rendered.extend(args.all.then_some(document.value));
            continue;
        }
        if let Some(plan) = &judgement.plan {
            let mut value = document.value;
            fill_in(&mut value, defaulting::changes(&object, None, &policy));
            rendered.push(value);
            rendered.push(serde_json::to_value(cronjob::build(plan, &policy))?);
        } else {
            outcome = Outcome::Refused;
            output::diagnostic(check::report(&document.place, &object, &judgement.findings).trim_end());
        }
    }
    print(args.output, &rendered)?;
    Ok(outcome)
}

fn print(format: Format, rendered: &[Value]) -> anyhow::Result<()> {
    if format == Format::Json {
        return output::data(format, &json!({"apiVersion": "v1", "kind": "List", "items": rendered}));
    }
    let mut stream = String::new();
    for (index, value) in rendered.iter().enumerate() {
        if index > 0 {
            stream.push_str("---\n");
        }
        stream.push_str(&serde_saphyr::to_string(value)?);
        if !stream.ends_with('\n') {
            stream.push('\n');
        }
    }
    Ok(output::print(&stream)?)
}

/// Makes the changes on the whole document, of which nothing else is touched.
fn fill_in(value: &mut Value, changes: Vec<defaulting::Change>) {
    if !value["metadata"]["annotations"].is_object() {
        value["metadata"]["annotations"] = json!({});
    }
    if let Some(annotations) = value["metadata"]["annotations"].as_object_mut() {
        for change in changes {
            match change.value {
                Some(value) => annotations.insert(change.annotation.to_owned(), value.into()),
                None => annotations.remove(change.annotation),
            };
        }
    }
}
