//! What a pod gets from Secrets and ConfigMaps, and which files of ConfigMaps it runs.

use super::{
    launch::{self, Program, base},
    mounts::{self, Files},
    types::{Kind, ObjectKey},
};
use crate::defrag::statefulset::{Container, PodSpec};

/// The most paths of one container that are looked up.
const MOST_PATHS: usize = 32;

/// The Secrets and ConfigMaps that the containers of a pod can read: from volumes and from their environment.
pub(in crate::defrag) fn objects(pod: &PodSpec) -> impl Iterator<Item = (Kind, &str)> {
    let volumes = pod.volumes.iter().flat_map(mounts::objects).map(|(kind, name, _)| (kind, name));
    let containers = || pod.containers.iter().chain(&pod.init_containers);
    let variables = containers().flat_map(|container| &container.env);
    let variables = variables.filter_map(|variable| variable.value_from.as_ref()?.secret_key_ref.as_ref());
    let whole = containers().flat_map(|container| &container.env_from).flat_map(|from| {
        let secret = from.secret_ref.as_ref().map(|secret| (Kind::Secret, secret.name.as_str()));
        secret.into_iter().chain(from.config_map_ref.as_ref().map(|map| (Kind::ConfigMap, map.name.as_str())))
    });
    volumes
        .chain(variables.map(|key| (Kind::Secret, key.name.as_str())))
        .chain(whole)
        .filter(|(_, name)| !name.is_empty())
}

/// The files of ConfigMaps that each container of a pod runs, init containers last: its program, the script of a shell, and what a
/// script in its words names.
pub(in crate::defrag) fn scripts(pod: &PodSpec) -> Vec<Vec<ObjectKey>> {
    let files = Files::of(pod);
    pod.containers.iter().chain(&pod.init_containers).map(|container| scripts_of(container, &files)).collect()
}

fn scripts_of(container: &Container, files: &Files<'_>) -> Vec<ObjectKey> {
    let words: Vec<&str> = container.command.iter().chain(&container.args).map(String::as_str).collect();
    let word = |at: usize| words.get(at).copied().unwrap_or_default();
    let of_shell = |c: char| c.is_whitespace() || ";&|()\"'`<>".contains(c);
    let text = match launch::program(&words, !container.command.is_empty()) {
        Program::ScriptFile(at) | Program::Other(at) | Program::Script(at) => word(at),
        Program::EntryPoint => word(0),
        Program::Etcd(_) => return Vec::new(),
    };
    let paths = text.split(of_shell).filter(|path| path.starts_with('/')).take(MOST_PATHS);
    let objects = paths.filter_map(|path| files.object(container, path));
    objects.filter(|object| object.kind == Kind::ConfigMap).collect()
}

/// Whether an image is called etcd, whatever it is built for: `etcd`, `etcd-amd64`, `mirrored-coreos-etcd`.
pub(in crate::defrag) fn is_etcd_image(image: &str) -> bool {
    let untagged = image.split('@').next().unwrap_or_default();
    let name = base(untagged).split(':').next().unwrap_or_default();
    name.split(['-', '_']).any(|part| part == "etcd")
}
