//! What the discovery of an etcd looks at.

use super::{
    expand, home::Home, mounts::Files, options::Options, profile::Profile, setting::Setting, types::Overrides, url::Url,
};
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
    pub(super) fn all(pod: &'a PodSpec, home: &Home<'_>, files: &Files<'_>) -> Vec<Self> {
        let read = |list: &str, index: usize, container: &'a Container| {
            let field = format!("spec.template.spec.{list}[{index}]");
            let options = Options::read(container, &field, home, files);
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

    /// Whether a URL names something in another namespace than the StatefulSet's own.
    pub(super) fn is_elsewhere(&self, url: &Url) -> bool {
        let named = url.namespace(self.sts.name(), &self.sts.spec.service_name);
        named.is_some_and(|namespace| !self.may_be_in(&namespace))
    }

    /// The Service under which a URL names a pod of the StatefulSet, if that is another than the governing one. DNS has the name of
    /// a pod only under the Service that is its `subdomain`, and a StatefulSet sets that to `spec.serviceName` (`ShouldSetHostname`
    /// in `pkg/controller/util/endpoint` and `initIdentity` in `pkg/controller/statefulset` of Kubernetes).
    pub(super) fn other_service(&self, url: &Url) -> Option<String> {
        let service = url.service(self.sts.name(), self.sts.namespace())?;
        (service != self.sts.spec.service_name).then_some(service)
    }

    /// Whether the StatefulSet is in a namespace, as far as it says: a manifest may leave that to the command that
    /// applies it.
    pub(super) fn may_be_in(&self, namespace: &str) -> bool {
        self.sts.metadata.namespace.as_deref().is_none_or(|own| own == namespace)
    }

    /// Why Kubernetes leaves the `$(VAR)` of an option as it is, in words.
    pub(super) fn unexpanded(&self, setting: &Setting) -> Option<String> {
        let (_, behind) = setting.value.split_once("$(").filter(|_| !setting.by_script)?;
        let (name, _) = behind.split_once(')').filter(|(name, _)| expand::is_name(name))?;
        let place = |name: &str| self.container().env.iter().position(|variable| variable.name == name);
        let why = match (place(&setting.origin), place(name)) {
            (_, None) => format!("the container has no variable {name}"),
            (Some(own), Some(other)) if other > own => {
                format!(
                    "{name} comes after {} in the list, and Kubernetes replaces only what comes before",
                    setting.origin
                )
            }
            // Somebody wrote `$$(VAR)`.
            _ => return None,
        };
        Some(format!("Kubernetes leaves $({name}) as it is, since {why}"))
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
