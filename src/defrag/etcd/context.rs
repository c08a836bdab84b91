//! What the discovery of an etcd looks at.

use super::{mounts::Files, options::Options, profile::Profile, types::Overrides};
use crate::defrag::statefulset::{Container, PodSpec, StatefulSet};

/// What every part of the discovery looks at.
pub(super) struct Context<'a> {
    pub(super) sts: &'a StatefulSet,
    pub(super) container: &'a Container,
    pub(super) index: usize,
    pub(super) options: &'a Options,
    pub(super) sidecars: &'a [Sidecar<'a>],
    pub(super) files: Files<'a>,
    pub(super) profile: Profile,
    pub(super) overrides: &'a Overrides,
}

/// A container beside etcd.
pub(super) struct Sidecar<'a> {
    pub(super) container: &'a Container,
    pub(super) field: String,
    pub(super) options: Options,
}

impl<'a> Sidecar<'a> {
    pub(super) fn all(pod: &'a PodSpec, etcd: usize, namespace: &str) -> Vec<Self> {
        let others = pod.containers.iter().enumerate().filter(|(index, _)| *index != etcd);
        others
            .map(|(index, container)| {
                let field = container_field(index);
                let options = Options::read(container, &field, namespace);
                Self { container, field, options }
            })
            .collect()
    }
}

impl Context<'_> {
    /// The field path of something of the etcd container.
    pub(super) fn field(&self, part: &str) -> String {
        format!("{}.{part}", container_field(self.index))
    }

    /// The field path of the words that start etcd; the container's own where the image chooses them.
    pub(super) fn words_field(&self) -> String {
        match (self.container.command.is_empty(), self.container.args.is_empty()) {
            (true, true) => container_field(self.index),
            (true, false) => self.field("args"),
            (false, _) => self.field("command"),
        }
    }
}

pub(super) fn container_field(index: usize) -> String {
    format!("spec.template.spec.containers[{index}]")
}
