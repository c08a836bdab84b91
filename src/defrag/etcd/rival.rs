//! What else in the pod defragments the same etcd.

use super::{
    clients,
    context::{Context, Reading},
    launch::base,
    marks::readable,
    types::Rival,
};
use crate::defrag::finding::quoted;

/// The schedule on which etcd-backup-restore defragments when it is told none.
const BACKUP_RESTORE_DEFAULT: &str = "0 0 */3 * *";

/// The sidecars that defragment, and etcd's own container where that does.
pub(super) fn find(context: &Context<'_>) -> Vec<Rival> {
    context.sidecars.iter().filter_map(rival).chain(by_own_container(context)).collect()
}

/// A start script that goes on in the background beside etcd, a hook or a probe.
fn by_own_container(context: &Context<'_>) -> Option<Rival> {
    let reading = context.etcd;
    let beside = || clients::commands_of(reading).iter().any(|words| defragments(words)).then(|| reading.field.clone());
    let field = reading.options.defragments.clone().or_else(beside)?;
    Some(Rival {
        what: format!("a script of the container {} defragments too", quoted(&reading.container.name)),
        remedy: "Take that out of the script, or take our label off.".to_owned(),
        field,
    })
}

/// Whether a command has members defragment, and not the files of one that does not run.
fn defragments(words: &[String]) -> bool {
    let is_client = words.first().is_some_and(|program| base(program) == "etcdctl");
    is_client && words.iter().any(|word| word == "defrag") && !words.iter().any(|word| word.starts_with("--data-dir"))
}

fn rival(sidecar: &Reading<'_>) -> Option<Rival> {
    let name = quoted(&sidecar.container.name);
    if let Some(schedule) = sidecar.options.get("defragmentation-schedule") {
        return Some(Rival {
            what: format!("the sidecar {name} defragments on the schedule {}", quoted(&readable(&schedule.value))),
            remedy: "etcd-druid sees to this etcd: take our label off.".to_owned(),
            field: schedule.field.clone(),
        });
    }
    if let Some(setting) = sidecar.options.get("embedded-etcd-quota-bytes") {
        return Some(Rival {
            what: format!("the sidecar {name} defragments on its default schedule {BACKUP_RESTORE_DEFAULT:?}"),
            remedy: "etcd-druid sees to this etcd: take our label off.".to_owned(),
            field: setting.field.clone(),
        });
    }
    let container = sidecar.container;
    let words = || container.command.iter().chain(&container.args);
    let script = |word: &str| {
        word.contains("etcdctl") && word.split(|c: char| !c.is_ascii_alphanumeric()).any(|part| part == "defrag")
    };
    let speaks = words().any(|word| word.contains("etcd-defrag") || word == "defrag" || script(word));
    (speaks || sidecar.options.defragments.is_some() || container.image.contains("etcd-defrag")).then(|| Rival {
        what: format!("the sidecar {name} defragments too"),
        remedy: "Take that sidecar out, or take our label off.".to_owned(),
        field: sidecar.field.clone(),
    })
}
