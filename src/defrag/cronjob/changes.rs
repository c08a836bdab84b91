//! A description of what changes when a CronJob gets another manager.

use std::fmt::Write as _;

use k8s_openapi::api::{batch::v1::CronJob, core::v1::PodSpec};

use super::ownership::{flag, pod};
use crate::defrag::text::shorten;

/// So much is quoted of one value, in characters.
const QUOTED: usize = 140;
/// The settings among the engine's flags, as people call them.
const FLAGS: &[(&str, &str)] = &[
    ("rule", "--defrag-rule"),
    ("quota in bytes", "--etcd-storage-quota-bytes"),
    ("time-out of a command", "--command-timeout"),
    ("wait between members", "--wait-between-defrags"),
    ("compaction", "--compaction"),
    ("moving the leader", "--move-leader"),
    ("disarming NOSPACE", "--auto-disalarm"),
    ("going on after an error", "--continue-on-error"),
];

/// Which schedule was and which one is, and what else changes of the settings, as sentences.
#[must_use]
pub fn in_words(before: &CronJob, after: &CronJob) -> String {
    let (was, is) = (schedule(before), schedule(after));
    let mut words = if was == is {
        format!("Its schedule stays {is}.")
    } else {
        format!("Its schedule was {was} and is now {is}.")
    };
    let Others { changed, set } = Others::between(before, after);
    for (what, which) in [("Also changed", changed), ("Now set", set)] {
        if !which.is_empty() {
            // Writing to a String cannot fail.
            let _ = write!(words, " {what}: {}.", which.join("; "));
        }
    }
    words
}

/// A schedule with its time zone.
fn schedule(cronjob: &CronJob) -> String {
    let schedule = shorten(&cronjob.spec.schedule, QUOTED);
    match &cronjob.spec.time_zone {
        Some(zone) => format!("{schedule} ({})", shorten(zone, QUOTED)),
        None => schedule,
    }
}

/// The settings besides the schedule that are others now, and those that were left to the engine before.
#[derive(Default)]
struct Others {
    changed: Vec<String>,
    set: Vec<String>,
}

impl Others {
    fn between(before: &CronJob, after: &CronJob) -> Self {
        let mut others = Self::default();
        let suspended = |cronjob: &CronJob| Some(cronjob.spec.suspend.unwrap_or_default().to_string());
        others.compare("suspend", suspended(before), suspended(after));
        let (was, is) = (pod(before), pod(after));
        let (was_args, is_args) = (args(was), args(is));
        for (what, name) in FLAGS {
            others.compare(what, value(was_args, name), value(is_args, name));
        }
        others.compare("image", image(was), image(is));
        if value(was_args, "--endpoints") != value(is_args, "--endpoints") || value(was_args, "--cluster").is_some() {
            others.changed.push("endpoints".to_owned());
        }
        let user = |pod: Option<&PodSpec>| pod?.security_context.as_ref()?.run_as_user;
        if user(was) != user(is) {
            others.changed.push("user of the pod".to_owned());
        }
        others
    }

    fn compare(&mut self, what: &str, was: Option<String>, is: Option<String>) {
        let shown = |value: &str| shorten(value, QUOTED);
        match (was, is) {
            (Some(was), Some(is)) if was != is => {
                self.changed.push(format!("{what} (was {}, is {})", shown(&was), shown(&is)));
            }
            (Some(was), None) => self.changed.push(format!("{what} (was {}, is not set)", shown(&was))),
            (None, Some(is)) => self.set.push(format!("{what} {}", shown(&is))),
            (Some(_), Some(_)) | (None, None) => {}
        }
    }
}

fn args(pod: Option<&PodSpec>) -> &[String] {
    pod.and_then(|pod| pod.containers.first()?.args.as_deref()).unwrap_or_default()
}

fn image(pod: Option<&PodSpec>) -> Option<String> {
    pod?.containers.first()?.image.clone()
}

/// The value of a flag, `true` of one that stands alone. The kubelet reads a doubled dollar as one.
fn value(args: &[String], name: &str) -> Option<String> {
    let value = flag(args, name).filter(|value| !value.starts_with("--"));
    let alone = || args.iter().any(|arg| arg == name).then_some("true");
    value.or_else(alone).map(|value| value.replace("$$", "$"))
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn cronjob(change: impl FnOnce(&mut Value)) -> CronJob {
        let mut value = json!({"spec": {"schedule": "0 0 * * *", "jobTemplate": {"spec": {"template": {"spec": {
            "containers": [{
                "name": "etcd-defrag", "image": "ghcr.io/ahrtr/etcd-defrag:v0.15.0",
                "args": ["--endpoints=https://e-0.e.n.svc:2379", "--move-leader", "--defrag-rule", "dbQuotaUsage > 0.8"],
            }],
        }}}}}});
        change(&mut value["spec"]);
        serde_json::from_value(value).unwrap()
    }

    const CONTAINER: &str = "/jobTemplate/spec/template/spec/containers/0";

    #[test]
    fn the_schedule_is_said_also_where_it_stays() {
        assert_eq!(in_words(&cronjob(|_| {}), &cronjob(|_| {})), "Its schedule stays 0 0 * * *.");
        let elsewhere = cronjob(|spec| spec["timeZone"] = json!("Europe/Rome"));
        assert_eq!(
            in_words(&cronjob(|_| {}), &elsewhere),
            "Its schedule was 0 0 * * * and is now 0 0 * * * (Europe/Rome)."
        );
    }

    #[test]
    fn each_setting_that_changes_is_said_with_its_values() {
        let after = cronjob(|spec| {
            spec["schedule"] = json!("17 3 * * *");
            spec["suspend"] = json!(true);
            let container = spec.pointer_mut(CONTAINER).unwrap();
            container["image"] = json!("ghcr.io/ahrtr/etcd-defrag:v0.42.0");
            container["args"] = json!([
                "--endpoints=https://e-0.e.n.svc:2379,https://e-1.e.n.svc:2379",
                "--move-leader=true",
                "--defrag-rule=dbQuotaUsage > 0.9",
                "--command-timeout=1m0s"
            ]);
        });
        insta::assert_snapshot!(in_words(&cronjob(|_| {}), &after));
    }

    #[test]
    fn what_somebody_wrote_is_one_short_line() {
        let before = cronjob(|spec| {
            spec["schedule"] = json!("x\n\u{1b}[2J");
            spec.pointer_mut(CONTAINER).unwrap()["args"] = json!([format!("--defrag-rule={}", "a".repeat(10_000))]);
        });
        let words = in_words(&before, &cronjob(|_| {}));
        assert!(words.len() < 1000 && !words.contains(['\n', '\u{1b}']), "{words}");
        assert!(words.starts_with(r"Its schedule was x\n\u{1b}[2J and is now"), "{words}");
    }
}
