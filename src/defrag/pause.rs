//! The switch for the whole fleet: no run starts while a ConfigMap exists.
//!
//! Only its existence counts. Its content says who paused and why, and cannot undo a pause: it may be missing, empty,
//! or of another form.

use jiff::Timestamp;
use k8s_openapi::api::core::v1::ConfigMap;

use super::text::shorten;

/// The name of the ConfigMap, in the namespace of the webhook.
pub const NAME: &str = "etcd-defrag-webhook-pause";
/// The key of its data that says why.
pub const REASON: &str = "reason";
/// The key of its data that says who.
pub const BY: &str = "by";

/// The longest text of each, in characters.
const LONGEST: usize = 256;

/// Why nothing runs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pause {
    /// Since when, by the clock of the API server; `None` if it is not known.
    pub since: Option<Timestamp>,
    /// Who paused, as he or his tool says.
    pub by: Option<String>,
    /// Why, in one line.
    pub reason: Option<String>,
}

impl Pause {
    /// What a ConfigMap of this name says.
    #[must_use]
    pub fn of(map: &ConfigMap) -> Self {
        let text = |key: &str| {
            let text = shorten(map.data.as_ref()?.get(key)?.trim(), LONGEST);
            (!text.is_empty()).then_some(text)
        };
        let since = map.metadata.creation_timestamp.as_ref().map(|time| time.0);
        Self { since, by: text(BY), reason: text(REASON) }
    }

    /// The pause that is assumed if the ConfigMap cannot be read: a fleet that somebody paused must not run because a
    /// right is missing.
    #[must_use]
    pub fn unknown(why: &str) -> Self {
        let reason = format!("the ConfigMap {NAME} cannot be read, so the fleet counts as paused: {why}");
        Self { since: None, by: None, reason: Some(shorten(&reason, LONGEST)) }
    }

    /// The mark on each CronJob. It changes with the pause, and not with its description.
    #[must_use]
    pub fn mark(&self) -> String {
        self.since.map_or_else(|| "true".to_owned(), |since| since.to_string())
    }

    /// Since when, by whom and why, as the end of the sentence "the fleet is paused …".
    #[must_use]
    pub fn in_words(&self) -> String {
        let since = self.since.map(|since| format!("since {since} "));
        let by = self.by.as_ref().map(|by| format!("by {by} "));
        let reason = self.reason.as_deref().unwrap_or("no reason is given");
        format!("{}{}({reason})", since.unwrap_or_default(), by.unwrap_or_default())
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn pause(data: &Value) -> Pause {
        let metadata = json!({"name": NAME, "creationTimestamp": "2026-03-01T02:00:00Z"});
        Pause::of(&serde_json::from_value(json!({"metadata": metadata, "data": data})).unwrap())
    }

    #[test]
    fn whatever_is_in_it_is_a_pause_and_is_told_in_one_bounded_line() {
        let words = [
            json!({"reason": "etcd 3.6.9 loses data on defragmentation", "by": "alice@example.org"}),
            json!({"reason": " \u{1b}[2Jtwo\nlines ", "by": ""}),
            json!({"reasons": "x"}),
            json!(null),
        ]
        .map(|data| pause(&data).in_words());
        insta::assert_snapshot!(words.join("\n"), @r"
        since 2026-03-01T02:00:00Z by alice@example.org (etcd 3.6.9 loses data on defragmentation)
        since 2026-03-01T02:00:00Z (\u{1b}[2Jtwo\nlines)
        since 2026-03-01T02:00:00Z (no reason is given)
        since 2026-03-01T02:00:00Z (no reason is given)
        ");
        let long = pause(&json!({"reason": "é".repeat(5000), "by": "é".repeat(5000)}));
        assert!(long.in_words().chars().count() < 2 * LONGEST + 100);
    }

    #[test]
    fn the_mark_on_a_cronjob_follows_the_pause_and_not_its_words() {
        assert_eq!(pause(&json!({"reason": "a"})).mark(), pause(&json!({"reason": "b"})).mark());
        assert_eq!(pause(&json!({})).mark(), "2026-03-01T02:00:00Z");
        assert_eq!(Pause::unknown("forbidden").mark(), "true");
    }
}
