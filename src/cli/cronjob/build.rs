//! The CronJob that the flags ask for.

use anyhow::{Context as _, bail};
use jiff::Timestamp;
use k8s_openapi::api::batch::v1::CronJob;

use super::args::Args;
use crate::{
    cli::output,
    defrag::{
        Assessment, Enrollment, Surroundings, assess,
        cronjob::{self, names::OURS},
        keys::ENABLED,
        policy::Governing,
        statefulset::StatefulSet,
    },
};

/// Judges the StatefulSet with what the flags ask for and builds its CronJob. The findings go to standard error; there
/// is no CronJob where one of them refuses.
pub(super) fn build(args: &Args, object: StatefulSet, governing: &Governing) -> anyhow::Result<Option<CronJob>> {
    let place = format!("{}/{}", object.namespace(), object.name());
    if Enrollment::of(&object, &governing.policy) == Enrollment::OptedOut {
        bail!("the StatefulSet {place} opts out with the label {ENABLED}=false; remove the label first");
    }
    let object = args.enrolled(object);
    trace(&format!("assessing the StatefulSet {place}"));
    let now = Timestamp::now();
    let assessment = assess(&object, governing, &Surroundings::nothing(), now);
    for finding in &assessment.findings {
        output::say_finding(&place, finding);
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

/// With `DEBUG=1`, a line on standard error for each step, as a shell does it under `set -x`.
pub(super) fn trace(step: &str) {
    if std::env::var_os("DEBUG").is_some_and(|value| value == "1") {
        output::say(&format!("+ {step}"));
    }
}

/// The name of a built CronJob.
pub(super) fn cronjob_name(cronjob: &CronJob) -> anyhow::Result<&str> {
    cronjob.metadata.name.as_deref().context("the CronJob has no name")
}
