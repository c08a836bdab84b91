//! The configuration file that makes an etcd ignore its flags and its environment.

use super::{marks::readable, mounts::Files, setting::Setting};
use crate::defrag::statefulset::Container;

/// Where Bitnami's image looks for a configuration file.
const BITNAMI: &str = "/opt/bitnami/etcd/conf/etcd.yaml";

/// Whether a container has Bitnami's image, by what only that one reads and keeps.
pub(super) fn is_bitnami(container: &Container) -> bool {
    container.image.contains("bitnami")
        || container.env.iter().any(|variable| variable.name == "ETCD_ON_K8S")
        || container.volume_mounts.iter().any(|mount| mount.mount_path.starts_with("/bitnami/"))
}

/// The file that etcd is told to read, or that a volume brings to where Bitnami's image looks for one, where `of_image` says
/// that the image starts etcd. That image writes one of its own into an empty folder, from what is in view.
pub(super) fn of(told: Option<&Setting>, of_image: bool, container: &Container, files: &Files<'_>) -> Option<String> {
    let told = told.filter(|setting| !setting.value.is_empty()).map(|setting| readable(&setting.value));
    told.or_else(|| (of_image && files.may_hold(container, BITNAMI)).then(|| BITNAMI.to_owned()))
}
