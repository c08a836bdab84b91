//! Which container runs etcd.

use super::{
    context::Reading,
    launch::{base, is_etcd},
};
use crate::defrag::{
    finding::{Code, Finding, quoted},
    statefulset::{Container, PodSpec},
};

/// The container that runs etcd: the one named `etcd`, else one whose command is etcd, else one whose image is called etcd,
/// else one that starts etcd by a script or through a program such as tini. What keeps no database is none of them.
pub(super) fn find(readings: &[Reading<'_>]) -> Option<usize> {
    let tests: [fn(&Reading<'_>) -> bool; 4] = [
        |reading| reading.container.name == "etcd",
        |reading| runs_etcd(reading.container),
        |reading| has_etcd_image(reading.container),
        |reading| reading.options.starts_etcd(),
    ];
    let keeps_data = |reading: &Reading<'_>| reading.options.keeps_no_data.is_none();
    tests.iter().find_map(|test| readings.iter().position(|reading| keeps_data(reading) && test(reading)))
}

/// Whether one has etcd's name, as far as that is known without reading arguments and scripts.
pub(super) fn is_named(pod: &PodSpec) -> bool {
    let named = |container: &Container| container.name == "etcd" || runs_etcd(container) || has_etcd_image(container);
    pod.containers.iter().any(named)
}

fn runs_etcd(container: &Container) -> bool {
    container.command.first().is_some_and(|program| is_etcd(program))
}

pub(super) fn has_etcd_image(container: &Container) -> bool {
    let untagged = container.image.split('@').next().unwrap_or_default();
    base(untagged).split(':').next() == Some("etcd")
}

/// The container that looks like an etcd and keeps no database, and what it runs.
pub(super) fn in_its_place<'a>(readings: &'a [Reading<'_>]) -> Option<(&'a Reading<'a>, &'a str)> {
    readings.iter().find_map(|reading| {
        let container = reading.container;
        let what = reading.options.keeps_no_data.as_deref()?;
        let looks_like_etcd = container.name == "etcd" || has_etcd_image(container) || what.starts_with("etcd");
        looks_like_etcd.then_some((reading, what))
    })
}

/// That no container runs an etcd, with what was found in its place.
pub(super) fn not_found(readings: &[Reading<'_>]) -> Finding {
    let Some((reading, what)) = in_its_place(readings) else { return none(readings) };
    let name = quoted(&reading.container.name);
    Finding::new(
        Code::EtcdNotFound,
        reading.field.clone(),
        format!("the container {name} runs {}, which keeps no database", quoted(what)),
        format!(
            "The container {name} runs {}, which keeps no database: there is nothing to defragment, and a run would fail \
             or would defragment the members of another etcd. Remove the label, and add it to the StatefulSet whose \
             pods are the members.",
            quoted(what)
        ),
    )
}

fn none(readings: &[Reading<'_>]) -> Finding {
    const SHOWN: usize = 5;
    let mut found: Vec<String> = readings
        .iter()
        .map(|reading| reading.container)
        .take(SHOWN)
        .map(|container| match container.command.first() {
            Some(program) => {
                format!("{} (image {}, command {})", quoted(&container.name), quoted(&container.image), quoted(program))
            }
            None => format!("{} (image {})", quoted(&container.name), quoted(&container.image)),
        })
        .collect();
    if readings.len() > SHOWN {
        found.push(format!("{} more", readings.len() - SHOWN));
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
    use crate::defrag::etcd::{home::Home, mounts::Files};

    fn container(name: &str, image: &str, command: &[&str]) -> Container {
        Container {
            name: name.to_owned(),
            image: image.to_owned(),
            command: command.iter().map(|word| (*word).to_owned()).collect(),
            ..Container::default()
        }
    }

    fn found(containers: Vec<Container>) -> Option<usize> {
        let pod = PodSpec { containers, ..PodSpec::default() };
        let files = Files::of(&pod);
        find(&Reading::all(&pod, &Home::plain("ns"), &files))
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
        let proxy = || container("etcd", "etcd:v3.6.1", &["etcd", "grpc-proxy", "start"]);
        assert_eq!(found(vec![proxy(), container("m", "x", &["etcd"])]), Some(1), "the member and not the proxy");
        assert_eq!(found(vec![proxy()]), None);
        assert_eq!(found(Vec::new()), None);
    }
}
