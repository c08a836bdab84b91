//! Which container runs etcd.

use super::{options::Options, shell::is_etcd};
use crate::defrag::{
    finding::{Code, Finding, quoted},
    statefulset::{Container, PodSpec},
};

/// The container that runs etcd and its place: the one named `etcd`, else one whose command is etcd, else one whose
/// image is called etcd, else one that starts etcd by a script or through a program such as tini.
pub(super) fn find(pod: &PodSpec) -> Option<(usize, &Container)> {
    named(pod).or_else(|| first(pod, starts_etcd))
}

/// The same as far as it can be told without reading arguments and scripts.
pub(super) fn named(pod: &PodSpec) -> Option<(usize, &Container)> {
    first(pod, |container| container.name == "etcd")
        .or_else(|| first(pod, runs_etcd))
        .or_else(|| first(pod, has_etcd_image))
}

fn first(pod: &PodSpec, test: impl Fn(&Container) -> bool) -> Option<(usize, &Container)> {
    pod.containers.iter().enumerate().find(|(_, container)| test(container))
}

fn runs_etcd(container: &Container) -> bool {
    let mut words = container.command.iter().chain(&container.args);
    words.next().is_some_and(|program| !container.command.is_empty() && is_etcd(program))
        && !words.next().is_some_and(|word| is_proxy(word))
}

fn starts_etcd(container: &Container) -> bool {
    let by_name = container.command.first().is_some_and(|program| is_etcd(program));
    wraps_etcd(container) || !by_name && Options::read(container, "", "").starts_etcd
}

/// Whether the command is a program that runs what stands behind it, and that is etcd.
pub(super) fn wraps_etcd(container: &Container) -> bool {
    const WRAPPERS: [&str; 10] =
        ["tini", "dumb-init", "catatonit", "env", "exec", "nice", "ionice", "gosu", "su-exec", "setpriv"];
    let program = container.command.first().and_then(|program| program.rsplit('/').next());
    let mut rest = container.command.iter().skip(1).chain(&container.args);
    program.is_some_and(|program| WRAPPERS.contains(&program))
        && rest.any(|word| is_etcd(word))
        && !rest.next().is_some_and(|word| is_proxy(word))
}

/// Subcommands of the etcd program that run no member.
pub(super) fn is_proxy(word: &str) -> bool {
    matches!(word, "grpc-proxy" | "gateway")
}

pub(super) fn has_etcd_image(container: &Container) -> bool {
    let untagged = container.image.split('@').next().unwrap_or_default();
    untagged.rsplit('/').next().and_then(|last| last.split(':').next()) == Some("etcd")
}

pub(super) fn not_found(pod: &PodSpec) -> Finding {
    const SHOWN: usize = 5;
    let mut found: Vec<String> = pod
        .containers
        .iter()
        .take(SHOWN)
        .map(|container| match container.command.first() {
            Some(program) => {
                format!("{} (image {}, command {})", quoted(&container.name), quoted(&container.image), quoted(program))
            }
            None => format!("{} (image {})", quoted(&container.name), quoted(&container.image)),
        })
        .collect();
    if pod.containers.len() > SHOWN {
        found.push(format!("{} more", pod.containers.len() - SHOWN));
    }
    let found =
        if found.is_empty() { "there are no containers".to_owned() } else { format!("found {}", found.join(", ")) };
    Finding::new(
        Code::EtcdNotFound,
        "spec.template.spec.containers",
        "no container is named etcd, runs etcd or has an etcd image",
        format!(
            "No container of the pod template runs an etcd: one has to be named etcd, have etcd as its command, or \
             have an image called etcd; {found}. Put the label on the StatefulSet that runs etcd, or name its \
             container etcd."
        ),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn container(name: &str, image: &str, command: &[&str]) -> Container {
        Container {
            name: name.to_owned(),
            image: image.to_owned(),
            command: command.iter().map(|word| (*word).to_owned()).collect(),
            ..Container::default()
        }
    }

    fn found(containers: Vec<Container>) -> Option<usize> {
        find(&PodSpec { containers, ..PodSpec::default() }).map(|(index, _)| index)
    }

    #[test]
    fn name_beats_command_beats_image() {
        let by_image = || container("c", "quay.io/coreos/etcd:v3.6.1", &[]);
        let by_command = || container("b", "x", &["/usr/local/bin/etcd"]);
        assert_eq!(found(vec![by_image(), by_command(), container("etcd", "x", &[])]), Some(2));
        assert_eq!(found(vec![by_image(), by_command()]), Some(1));
        assert_eq!(found(vec![container("a", "nginx", &[]), by_image()]), Some(1));
        assert_eq!(found(vec![container("m", "proxy", &["etcd", "grpc-proxy", "start"])]), None);
        assert_eq!(found(vec![container("m", "etcd-operator:v1", &[]), container("n", "etcd/manager", &[])]), None);
        assert_eq!(found(vec![container("m", "registry:5000/etcd@sha256:00", &[])]), Some(0));
        assert_eq!(found(vec![container("m", "x", &["sh", "-c", "exec etcd --data-dir=/x"])]), Some(0));
        assert_eq!(found(vec![container("m", "x", &["/sbin/tini", "--", "etcd", "--data-dir=/x"])]), Some(0));
        assert_eq!(found(vec![container("m", "x", &["tini", "--", "etcd", "gateway", "start"])]), None);
        assert_eq!(found(Vec::new()), None);
    }
}
