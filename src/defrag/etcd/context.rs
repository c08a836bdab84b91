//! What the discovery of an etcd looks at.

use super::{mounts::Files, options::Options, profile::Profile, types::Overrides};
use crate::defrag::statefulset::{Container, PodSpec, StatefulSet};

/// What every part of the discovery looks at.
pub(super) struct Context<'a> {
    pub(super) sts: &'a StatefulSet,
    /// The container that runs etcd.
    pub(super) etcd: &'a Reading<'a>,
    /// The containers beside it.
    pub(super) sidecars: &'a [Reading<'a>],
    pub(super) files: &'a Files<'a>,
    pub(super) profile: Profile,
    pub(super) overrides: &'a Overrides,
}

/// A container of the pod, and what its words and its environment say.
pub(super) struct Reading<'a> {
    pub(super) container: &'a Container,
    pub(super) field: String,
    pub(super) options: Options,
}

impl<'a> Reading<'a> {
    /// The containers that run side by side: those of the pod, then its native sidecars.
    pub(super) fn all(pod: &'a PodSpec, namespace: &str, files: &Files<'_>) -> Vec<Self> {
        let read = |list: &str, index: usize, container: &'a Container| {
            let field = format!("spec.template.spec.{list}[{index}]");
            let options = Options::read(container, &field, namespace, files);
            Self { container, field, options }
        };
        let containers = pod.containers.iter().enumerate();
        let sidecars = pod.init_containers.iter().enumerate().filter(|(_, init)| init.restart_policy == "Always");
        containers
            .map(|(index, container)| read("containers", index, container))
            .chain(sidecars.map(|(index, container)| read("initContainers", index, container)))
            .collect()
    }

    /// The field path of something of the container.
    pub(super) fn part(&self, part: &str) -> String {
        format!("{}.{part}", self.field)
    }
}

impl<'a> Context<'a> {
    /// The container that runs etcd.
    pub(super) const fn container(&self) -> &'a Container {
        self.etcd.container
    }

    /// The options that it runs with.
    pub(super) const fn options(&self) -> &'a Options {
        &self.etcd.options
    }

    /// The field path of the words that start etcd; the container's own where the image chooses them.
    pub(super) fn words_field(&self) -> String {
        match (self.container().command.is_empty(), self.container().args.is_empty()) {
            (true, true) => self.etcd.field.clone(),
            (true, false) => self.etcd.part("args"),
            (false, _) => self.etcd.part("command"),
        }
    }
}
