//! The commands in the pod that may talk to an etcd, word by word.

use super::{
    context::{Context, Reading},
    launch::{self, Program},
};
use crate::defrag::statefulset::Exec;

/// The commands of a container that talk to an etcd, word by word: those of its script, its probes and its hook, and its own
/// where it is such a client.
pub(super) fn of(reading: &Reading<'_>) -> Vec<Vec<String>> {
    of_start(reading).chain(beside(reading)).collect()
}

/// Those of its script, and its own where it is such a client.
pub(super) fn of_start(reading: &Reading<'_>) -> impl Iterator<Item = Vec<String>> {
    let container = reading.container;
    let words: Vec<&str> = container.command.iter().chain(&container.args).map(String::as_str).collect();
    let own = match launch::program(&words, !container.command.is_empty()) {
        Program::Other(at) => words.get(at..).map(|words| words.iter().map(|word| (*word).to_owned()).collect()),
        _ => None,
    };
    reading.options.clients.iter().cloned().chain(own)
}

/// Those of its probes and of the hook behind its start.
pub(super) fn beside(reading: &Reading<'_>) -> impl Iterator<Item = Vec<String>> {
    of_probes(reading).into_iter().chain(of_hook(reading))
}

/// Those of its probes.
pub(super) fn of_probes(reading: &Reading<'_>) -> Vec<Vec<String>> {
    let container = reading.container;
    let probes = [&container.liveness_probe, &container.readiness_probe, &container.startup_probe];
    let probes = probes.into_iter().flatten().filter_map(|probe| probe.exec.as_ref());
    probes.flat_map(|exec| commands(exec, reading)).collect()
}

/// Those of the hook behind its start.
pub(super) fn of_hook(reading: &Reading<'_>) -> Vec<Vec<String>> {
    let lifecycle = reading.container.lifecycle.as_ref();
    let hook = lifecycle.and_then(|lifecycle| lifecycle.post_start.as_ref()?.exec.as_ref());
    hook.into_iter().flat_map(|exec| commands(exec, reading)).collect()
}

/// The commands of a probe or a hook that talk to an etcd, word by word.
fn commands(exec: &Exec, reading: &Reading<'_>) -> Vec<Vec<String>> {
    let words: Vec<&str> = exec.command.iter().map(String::as_str).collect();
    match launch::program(&words, true) {
        Program::Script(at) => words.get(at).map_or_else(Vec::new, |script| reading.options.clients_of(script)),
        Program::Other(at) => vec![exec.command.get(at..).unwrap_or_default().to_vec()],
        Program::EntryPoint | Program::Etcd(_) | Program::ScriptFile(_) => Vec::new(),
    }
}

/// The container of the pod whose script has etcdctl compact this etcd.
pub(super) fn compacts(context: &Context<'_>) -> Option<String> {
    let compacts = |words: &Vec<String>| {
        words.first().is_some_and(|program| launch::base(program) == "etcdctl")
            && words.iter().any(|word| matches!(word.as_str(), "compact" | "compaction"))
    };
    let mut readings = std::iter::once(context.etcd).chain(context.sidecars);
    let found = readings.find(|reading| of_start(reading).any(|words| compacts(&words)))?;
    Some(found.container.name.clone())
}

/// The values of a flag of a command, in either form.
pub(super) fn values<'w>(words: &'w [String], flag: &str) -> Vec<&'w str> {
    let mut values = Vec::new();
    let mut words = words.iter();
    while let Some(word) = words.next() {
        let Some(rest) = word.strip_prefix('-').and_then(|rest| rest.trim_start_matches('-').strip_prefix(flag)) else {
            continue;
        };
        match rest.strip_prefix('=') {
            Some(value) => values.push(value),
            None if rest.is_empty() => values.extend(words.next().map(String::as_str)),
            None => {}
        }
    }
    values
}
