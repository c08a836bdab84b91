//! `cronjob`: what kamaji-etcd's defrag.sh does, with its flags and defaults, under the same assessment as everything
//! else here.

mod apply;
mod assumed;

use std::path::PathBuf;

use anyhow::{Context as _, bail};
use jiff::Timestamp;
use k8s_openapi::api::batch::v1::CronJob;

use super::{Format, Outcome, input, output};
use crate::defrag::{
    Assessment, Enrollment, Surroundings, assess,
    cronjob::{self, drift::OURS},
    keys::{ENABLED, Key},
    policy::Governing,
    statefulset::StatefulSet,
};

/// Print the CronJob of one etcd, or apply it, with the flags of kamaji-etcd's defrag.sh
///
/// Without --apply no cluster is contacted: a StatefulSet as the kamaji-etcd chart installs it is assumed, or read from
/// a file. DEBUG=1 in the environment traces every step on standard error.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// The name of the StatefulSet [default: kamaji-etcd]
    #[arg(short = 'e', long, value_name = "etcd_name", value_parser = dns_subdomain)]
    etcd_name: Option<String>,
    /// The headless Service of its members [default: kamaji-etcd, or what the StatefulSet says]
    #[arg(short = 's', long, value_name = "etcd_service", value_parser = dns_label)]
    etcd_service: Option<String>,
    /// The namespace [default: kamaji-system]
    #[arg(short, long, value_name = "namespace", value_parser = dns_label)]
    namespace: Option<String>,
    /// When to run [default: 0 0 * * *, or what the StatefulSet says]
    #[arg(short = 'j', long, value_name = "schedule", allow_hyphen_values = true)]
    schedule: Option<String>,
    /// Read the StatefulSet from the cluster of the current kubeconfig, and apply its CronJob there
    #[arg(long)]
    apply: bool,
    /// Read the StatefulSet from a manifest instead of assuming one ("-" for standard input)
    #[arg(short = 'f', long = "filename", value_name = "FILE", conflicts_with = "apply")]
    file: Option<PathBuf>,
    /// How to print the CronJob
    #[arg(short, long, value_enum, default_value = "yaml", conflicts_with = "apply")]
    output: Format,
}

/// The name that defrag.sh gives to etcd and Service.
const NAME: &str = "kamaji-etcd";
/// The namespace in which defrag.sh looks.
const NAMESPACE: &str = "kamaji-system";

impl Args {
    fn name(&self) -> &str {
        self.etcd_name.as_deref().unwrap_or(NAME)
    }

    fn service(&self) -> &str {
        self.etcd_service.as_deref().unwrap_or(NAME)
    }

    fn namespace(&self) -> &str {
        self.namespace.as_deref().unwrap_or(NAMESPACE)
    }

    /// `object` with what the flags ask for, as if its owner had written it.
    fn enrolled(&self, mut object: StatefulSet) -> StatefulSet {
        object.metadata.labels.get_or_insert_default().insert(ENABLED.to_owned(), "true".to_owned());
        let annotations = object.metadata.annotations.get_or_insert_default();
        if let Some(schedule) = &self.schedule {
            annotations.insert(Key::Schedule.annotation().to_owned(), schedule.clone());
        }
        if let Some(service) = self.etcd_service.as_ref().filter(|service| **service != object.spec.service_name) {
            annotations.insert(Key::Service.annotation().to_owned(), service.clone());
        }
        object
    }
}

pub(super) fn run(args: &Args) -> anyhow::Result<Outcome> {
    if args.apply {
        return apply::run(args);
    }
    let object = match &args.file {
        Some(file) => from_file(args, file)?,
        None => assumed::statefulset(args.name(), args.service(), args.namespace())?,
    };
    if args.file.is_none() {
        for line in assumed::notes(&object) {
            output::note(&line);
        }
    }
    let Some(cronjob) = build(args, object, &Governing::built_in())? else { return Ok(Outcome::Refused) };
    output::data(args.output, &cronjob)?;
    Ok(Outcome::Clean)
}

/// Judges the StatefulSet with what the flags ask for and builds its CronJob. The findings go to standard error; there
/// is no CronJob where one of them refuses.
fn build(args: &Args, object: StatefulSet, governing: &Governing) -> anyhow::Result<Option<CronJob>> {
    let place = format!("{}/{}", object.namespace(), object.name());
    if Enrollment::of(&object, &governing.policy) == Enrollment::OptedOut {
        bail!("the StatefulSet {place} opts out with the label {ENABLED}=false; remove the label first");
    }
    let object = args.enrolled(object);
    trace(&format!("judging the StatefulSet {place}"));
    let now = Timestamp::now();
    let assessment = assess(&object, governing, &Surroundings::nothing(), now);
    for finding in &assessment.findings {
        output::say(output::finding(&place, finding).trim_end());
    }
    let Assessment { plan: Some(plan), .. } = &assessment else { return Ok(None) };
    for line in plan.effective(now) {
        trace(&line);
    }
    trace(&format!("building the CronJob {}", cronjob::name(&plan.name)));
    let mut cronjob = assessment.cronjob().cloned();
    if let Some(notes) = cronjob.as_mut().and_then(|built| built.metadata.annotations.as_mut()) {
        // Nobody keeps these reports and records current here.
        notes.retain(|key, _| !OURS.contains(&key.as_str()));
    }
    Ok(cronjob)
}

/// The StatefulSet of a manifest: the one that is asked for, or the only one.
fn from_file(args: &Args, file: &PathBuf) -> anyhow::Result<StatefulSet> {
    trace(&format!("reading {}", file.display()));
    let mut found = Vec::new();
    for document in input::read(std::slice::from_ref(file))? {
        let Some(mut object) = document.statefulset()? else { continue };
        object.metadata.namespace.get_or_insert_with(|| args.namespace().to_owned());
        let wanted = args.etcd_name.as_deref().is_none_or(|name| name == object.name())
            && args.namespace.as_deref().is_none_or(|namespace| namespace == object.namespace());
        if wanted {
            found.push(object);
        }
    }
    let several = found.len() > 1;
    let file = file.display();
    match found.pop() {
        Some(object) if !several => Ok(object),
        Some(_) => bail!("{file} holds several StatefulSets; name one with -e and -n"),
        None => bail!("{file} holds no StatefulSet of that name and namespace"),
    }
}

/// With `DEBUG=1`, a line on standard error for each step, as a shell does it under `set -x`.
fn trace(step: &str) {
    if std::env::var_os("DEBUG").is_some_and(|value| value == "1") {
        output::say(&format!("+ {step}"));
    }
}

/// Needed to name a StatefulSet or its pods (RFC 1123).
fn dns_subdomain(text: &str) -> Result<String, String> {
    if text.len() <= 253 && text.split('.').all(|part| dns_label(part).is_ok()) {
        return Ok(text.to_owned());
    }
    Err("a name consists of lower-case letters, digits, '-' and '.', and begins and ends with a letter or digit"
        .to_owned())
}

/// Needed to name a namespace or a Service (RFC 1123).
fn dns_label(text: &str) -> Result<String, String> {
    let inner = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
    if (1..=63).contains(&text.len()) && text.chars().all(inner) && !text.starts_with('-') && !text.ends_with('-') {
        return Ok(text.to_owned());
    }
    Err("a name consists of at most 63 lower-case letters, digits and '-', and begins and ends with a letter or digit"
        .to_owned())
}

/// The name of a built CronJob.
fn cronjob_name(cronjob: &CronJob) -> anyhow::Result<&str> {
    cronjob.metadata.name.as_deref().context("the CronJob has no name")
}
