//! The configuration file that makes an etcd ignore its flags and its environment.

use super::{mounts::Files, options::Options};
use crate::defrag::{etcd::marks::readable, statefulset::Container};

/// Where Bitnami's image looks for a configuration file.
const BITNAMI: &str = "/opt/bitnami/etcd/conf/etcd.yaml";

/// Whether a container has Bitnami's image, by what only that one reads and keeps.
pub(super) fn is_bitnami(container: &Container) -> bool {
    container.image.contains("bitnami")
        || container.env.iter().any(|variable| variable.name == "ETCD_ON_K8S")
        || container.volume_mounts.iter().any(|mount| mount.mount_path.starts_with("/bitnami/"))
}

/// The file that etcd is told to read, or that a volume brings to where Bitnami's image looks for one. That image writes one
/// of its own into an empty folder, from what is in view.
pub(super) fn of(options: &Options, container: &Container, files: &Files<'_>) -> Option<String> {
    let named = options.get("config-file").filter(|setting| !setting.value.is_empty());
    let named = named.map(|setting| readable(&setting.value));
    let bitnami = || {
        let of_image = options.program.is_none() || !options.starts_etcd;
        (of_image && files.may_hold(container, BITNAMI)).then(|| BITNAMI.to_owned())
    };
    named.or_else(bitnami)
}
