//! Events on StatefulSets.
//!
//! kube's own recorder folds Events of one reason into the first of them for six minutes and keeps that one's text; what
//! was repaired differs each time, so each Event is written as it is, and repetition is prevented before it comes here.

use std::hash::{BuildHasher as _, BuildHasherDefault, DefaultHasher};

use jiff::Timestamp;
use k8s_openapi::{
    api::{core::v1::ObjectReference, events::v1},
    apimachinery::pkg::apis::meta::v1::MicroTime,
};
use kube::api::{Api, ObjectMeta, PostParams};
use tracing::debug;

use super::{Context, Error};
use crate::defrag::{cronjob::MANAGER, statefulset::StatefulSet, text::printable};

/// The longest note that the API server takes, in bytes.
const NOTE_LIMIT: usize = 1024;
/// So much of a StatefulSet's name goes into the name of an Event.
const NAME_PART: usize = 200;

/// An Event, before it is known whom it regards.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Event {
    /// Whether a person should look at it.
    pub(super) warning: bool,
    /// In one word, such as `Repaired`.
    pub(super) reason: &'static str,
    /// What was being done, in one word, such as `Apply`.
    pub(super) action: &'static str,
    /// What happened.
    pub(super) note: String,
    /// What makes the Event unique for ever, where the same may come up again after a restart.
    pub(super) unique: Option<String>,
}

impl Event {
    /// Something that a person may want to know.
    pub(super) fn normal(action: &'static str, reason: &'static str, note: impl Into<String>) -> Self {
        Self { warning: false, reason, action, note: note.into(), unique: None }
    }

    /// Something that a person should look at.
    pub(super) fn warning(action: &'static str, reason: &'static str, note: impl Into<String>) -> Self {
        Self { warning: true, ..Self::normal(action, reason, note) }
    }
}

/// Writes an Event on a StatefulSet. That it could not be written stops nothing and is not tried again.
pub(super) async fn publish(context: &Context, regarding: &StatefulSet, event: Event) {
    match write(context, regarding, event).await {
        Err(Error::Kube(kube::Error::Api(status))) if status.is_already_exists() => {}
        Err(error) => debug!(%error, "could not write an Event"),
        Ok(()) => {}
    }
}

async fn write(context: &Context, regarding: &StatefulSet, event: Event) -> Result<(), Error> {
    context.may_write()?;
    let namespace = regarding.namespace();
    let events: Api<v1::Event> = Api::namespaced(context.client.clone(), namespace);
    events.create(&PostParams::default(), &object(context, regarding, event, Timestamp::now())).await?;
    Ok(())
}

fn object(context: &Context, regarding: &StatefulSet, event: Event, now: Timestamp) -> v1::Event {
    let (namespace, uid) = (regarding.namespace(), &regarding.metadata.uid);
    let unique = event.unique.unwrap_or_else(|| format!("{}{}", event.note, now.as_nanosecond()));
    let hash = BuildHasherDefault::<DefaultHasher>::default().hash_one((uid, event.reason, unique));
    let name: String = regarding.name().chars().take(NAME_PART).collect();
    v1::Event {
        metadata: ObjectMeta {
            name: Some(format!("{}.{hash:016x}", name.trim_end_matches(['.', '-']))),
            namespace: Some(namespace.to_owned()),
            ..ObjectMeta::default()
        },
        action: Some(event.action.to_owned()),
        event_time: Some(MicroTime(now)),
        note: Some(cut(&event.note)),
        reason: Some(event.reason.to_owned()),
        regarding: Some(ObjectReference {
            api_version: Some("apps/v1".to_owned()),
            kind: Some("StatefulSet".to_owned()),
            name: Some(regarding.name().to_owned()),
            namespace: Some(namespace.to_owned()),
            uid: uid.clone(),
            ..ObjectReference::default()
        }),
        reporting_controller: Some(MANAGER.to_owned()),
        reporting_instance: Some(context.identity.clone()),
        type_: Some(if event.warning { "Warning" } else { "Normal" }.to_owned()),
        ..v1::Event::default()
    }
}

/// A note that people can read and the API server takes: one line of printable characters, at most [`NOTE_LIMIT`] bytes, cut between characters.
fn cut(note: &str) -> String {
    let mut note = printable(note);
    if note.len() > NOTE_LIMIT {
        let end = (0..=NOTE_LIMIT - '…'.len_utf8()).rev().find(|at| note.is_char_boundary(*at)).unwrap_or(0);
        note.truncate(end);
        note.push('…');
    }
    note
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_note_is_cut_between_characters() {
        assert_eq!(cut(&"é".repeat(512)), "é".repeat(512));
        let cut = cut(&format!("a{}", "é".repeat(600)));
        assert!(cut.len() <= NOTE_LIMIT && cut.ends_with('…'), "{}", cut.len());
    }

    #[test]
    fn a_note_is_one_line_whatever_is_quoted_in_it() {
        let note = cut("The engine ended with 1 and this message: x\n\u{1b}[2J\u{9b}H\u{202e}y");
        assert_eq!(note, r"The engine ended with 1 and this message: x\n\u{1b}[2J\u{9b}H\u{202e}y");
    }
}
