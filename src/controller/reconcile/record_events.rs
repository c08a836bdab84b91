//! The last step: what was found and done, recorded in Events and in the report of compliance.

use std::time::Duration;

use super::observe::Task;
use crate::{
    controller::{
        Context,
        compliance::{Report, keep},
        events::{Event, publish},
        object_state::{ObjectState, Topic},
    },
    defrag::{
        Assessment, Verdict,
        assess::Source,
        finding::{Code, Finding},
        keys::Key,
        policy::Governing,
        statefulset::StatefulSet,
    },
};

/// So many refusals get Events of their own.
const REFUSALS_TOLD: usize = 5;

/// Records what is news in Events and keeps the report of compliance; where that has to wait, for how long. `done` is what the step before has to say.
pub(super) async fn record_events(
    context: &Context,
    task: &Task,
    (object, governing): (&StatefulSet, &Governing),
    assessment: &Assessment,
    done: Vec<Event>,
    state: &mut ObjectState,
) -> Option<Duration> {
    if matches!(assessment.verdict, Verdict::Leave) {
        return None;
    }
    let mut events = refusals(assessment, state);
    events.extend(in_force(assessment, governing, state));
    events.extend(rivals(assessment, state));
    for event in events.into_iter().chain(done) {
        publish(context, object, event).await;
    }
    let reports = task.reports.as_ref()?;
    let wanted = Report::of(reports.kind, object, governing, &assessment.findings)?;
    keep::keep(context, &task.key, reports, wanted, &mut state.report_writes).await
}

/// That an etcd is enrolled where nothing is served.
pub(super) fn left_out(assessment: &Assessment, state: &mut ObjectState) -> Option<Event> {
    let Some(finding) = assessment.findings.iter().find(|finding| finding.code == Code::NamespaceLeftOut) else {
        state.over(Topic::LeftOut);
        return None;
    };
    let event = Event::warning("Judge", "NamespaceLeftOut", &finding.message);
    state.is_news(Topic::LeftOut, &finding.message).then_some(event)
}

/// What refuses, each time that it changes.
fn refusals(assessment: &Assessment, state: &mut ObjectState) -> Vec<Event> {
    let denials: Vec<&Finding> = assessment.denials().collect();
    if denials.is_empty() {
        state.over(Topic::Refused);
        return Vec::new();
    }
    if !state.is_news(Topic::Refused, &denials.iter().map(|finding| &finding.message).collect::<Vec<_>>()) {
        return Vec::new();
    }
    let refused = |note: String| Event::warning("Judge", "SettingsRefused", note);
    let told = denials.iter().take(REFUSALS_TOLD);
    let mut events: Vec<Event> =
        told.map(|finding| refused(format!("{} ({}): {}", finding.code, finding.field, finding.message))).collect();
    if denials.len() > REFUSALS_TOLD {
        events.push(refused(format!("{} further settings are refused.", denials.len() - REFUSALS_TOLD)));
    }
    events
}

/// What the CronJob goes by where that is not what is asked for.
fn in_force(assessment: &Assessment, governing: &Governing, state: &mut ObjectState) -> Vec<Event> {
    let (source, facts) = (&assessment.source, assessment.refused.facts);
    let Some(plan) = assessment.plan.as_ref().filter(|_| *source != Source::Current || facts.is_some()) else {
        state.over(Topic::InForce);
        return Vec::new();
    };
    if !state.is_news(Topic::InForce, &format!("{source:?} {facts:?} {:?}", governing.name())) {
        return Vec::new();
    }
    let mut events = Vec::new();
    match source {
        Source::LastGood => events.push(Event::warning(
            "Judge",
            "SettingsKept",
            "Settings are refused, so the ones that were accepted last stay in force: schedule, rule, time-outs and \
             options of the CronJob stay as they are until the refused ones are corrected. Changes of members, \
             endpoints, certificates, quota and suspend still take effect.",
        )),
        Source::Defaults(keys) if !keys.is_empty() => {
            events.push(Event::warning("Judge", "SettingsReplaced", replaced(keys, governing)));
        }
        Source::Current | Source::Defaults(_) | Source::Nothing => {}
    }
    let nothing = assessment.findings.iter().filter(|finding| finding.code == Code::NothingInForce);
    events.extend(nothing.map(|finding| Event::warning("Judge", "NothingInForce", &finding.message)));
    events.extend(facts.filter(|_| plan.facts.as_ref().is_some_and(|known| !known.endpoints.is_empty())).map(|code| {
        let note = format!(
            "Facts that a run needs can no longer be read ({code}), so members, endpoints, certificates, login \
             and quota of the CronJob stay as they were. Zero replicas still suspend it, and so does {} unless the policy locks it.",
            Key::Suspend.name()
        );
        Event::warning("Judge", "FactsKept", note)
    }));
    events
}

fn replaced(keys: &[Key], governing: &Governing) -> String {
    let by = governing.name().map_or_else(|| "the built-in policy".to_owned(), |name| format!("DefragPolicy {name}"));
    let names: Vec<&str> = keys.iter().map(|key| key.name()).collect();
    format!(
        "Settings are refused, and none that were accepted under {by} are known. Until they are corrected its defaults, or else \
         the built-in ones, are in force for: {}.",
        names.join(", ")
    )
}

/// The CronJobs that defragment the same etcd, each time that they change.
fn rivals(assessment: &Assessment, state: &mut ObjectState) -> Vec<Event> {
    // Those in the pod template are there from the beginning, and the webhook has warned about them.
    let beside =
        |finding: &&Finding| finding.code == Code::RivalDefragmenter && finding.field == "metadata.name".into();
    let rivals: Vec<&Finding> = assessment.findings.iter().filter(beside).collect();
    if rivals.is_empty() {
        state.over(Topic::Rival);
        return Vec::new();
    }
    if !state.is_news(Topic::Rival, &rivals.iter().map(|finding| &finding.message).collect::<Vec<_>>()) {
        return Vec::new();
    }
    let told = rivals.into_iter().take(REFUSALS_TOLD);
    told.map(|finding| Event::warning("Judge", "RivalDefragmenter", &finding.message)).collect()
}
