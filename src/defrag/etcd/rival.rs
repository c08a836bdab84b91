//! What else in the pod defragments the same etcd.

use super::{
    commands,
    context::{Context, Reading},
    launch::base,
    marks::readable,
    targets::{Target, Targets},
    types::Rival,
};
use crate::defrag::finding::quoted;

/// The default schedule on which etcd-backup-restore defragments.
const BACKUP_RESTORE_DEFAULT: &str = "0 0 */3 * *";

/// What the image and the program of the engine are called.
const ENGINE: &str = "etcd-defrag";

/// The sidecars that defragment, and etcd's own container where that does.
pub(super) fn find(context: &Context<'_>, targets: &Targets<'_, '_>) -> Vec<Rival> {
    let sidecars = context.sidecars.iter().filter_map(|sidecar| rival(sidecar, targets));
    sidecars.chain(by_own_container(context, targets)).collect()
}

/// A start script that goes on in the background beside etcd, a hook or a probe.
fn by_own_container(context: &Context<'_>, targets: &Targets<'_, '_>) -> Option<Rival> {
    let reading = context.etcd;
    let is_rival = |words: &Vec<String>| defragments(words) && targets.of_command(reading, words) != Target::Elsewhere;
    let beside = || commands::of(reading).iter().any(is_rival).then(|| reading.field.clone());
    let by_script = reading.options.defragments.clone().filter(|_| !is_for_others(reading, targets));
    let field = by_script.or_else(beside)?;
    Some(Rival {
        what: format!("a script of the container {} defragments too", quoted(&reading.container.name)),
        remedy: "Remove that from the script, or remove the label etcd-defrag.io/enabled.".to_owned(),
        field,
    })
}

/// Whether a command has members defragment, and not the files of one that does not run.
fn defragments(words: &[String]) -> bool {
    let is_client = words.first().is_some_and(|program| base(program) == "etcdctl");
    is_client && words.iter().any(|word| word == "defrag") && !words.iter().any(|word| word.starts_with("--data-dir"))
}

/// Whether all defragmentation in the arguments of a container is for another etcd.
fn is_for_others(reading: &Reading<'_>, targets: &Targets<'_, '_>) -> bool {
    let container = reading.container;
    let words = || container.command.iter().chain(&container.args);
    if container.image.contains(ENGINE) && !words().any(|word| word.contains("etcdctl")) {
        return targets.of_options(reading) == Target::Elsewhere;
    }
    let mentions = words().flat_map(|word| parts(word)).filter(|part| *part == "defrag").count();
    let commands = commands::of_start(reading).filter(|words| defragments(words));
    let elsewhere = commands.filter(|words| targets.of_command(reading, words) == Target::Elsewhere).count();
    elsewhere > 0 && elsewhere >= mentions
}

fn parts(word: &str) -> impl Iterator<Item = &str> {
    word.split(|c: char| !c.is_ascii_alphanumeric())
}

fn rival(sidecar: &Reading<'_>, targets: &Targets<'_, '_>) -> Option<Rival> {
    let name = quoted(&sidecar.container.name);
    if let Some(schedule) = sidecar.options.get("defragmentation-schedule") {
        return Some(Rival {
            what: format!("the sidecar {name} defragments on the schedule {}", quoted(&readable(&schedule.value))),
            remedy: "etcd-druid defragments this etcd: remove the label etcd-defrag.io/enabled.".to_owned(),
            field: schedule.field.clone(),
        });
    }
    if let Some(setting) = sidecar.options.get("embedded-etcd-quota-bytes") {
        return Some(Rival {
            what: format!("the sidecar {name} defragments on its default schedule {BACKUP_RESTORE_DEFAULT:?}"),
            remedy: "etcd-druid defragments this etcd: remove the label etcd-defrag.io/enabled.".to_owned(),
            field: setting.field.clone(),
        });
    }
    let container = sidecar.container;
    let words = || container.command.iter().chain(&container.args);
    let script = |word: &str| word.contains("etcdctl") && parts(word).any(|part| part == "defrag");
    let speaks = words().any(|word| word.contains(ENGINE) || word == "defrag" || script(word));
    let defragments = speaks || sidecar.options.defragments.is_some() || container.image.contains(ENGINE);
    (defragments && !is_for_others(sidecar, targets)).then(|| Rival {
        what: format!("the sidecar {name} defragments too"),
        remedy: "Remove that sidecar, or remove the label etcd-defrag.io/enabled.".to_owned(),
        field: sidecar.field.clone(),
    })
}
