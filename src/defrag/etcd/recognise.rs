//! Charts and operators recognised by what only they write.

use super::{options::Options, profile::Profile};
use crate::defrag::statefulset::{Container, StatefulSet};

/// The profile that the evidence is for.
pub(super) fn profile(sts: &StatefulSet, container: &Container, options: &Options) -> Profile {
    let evidence = Evidence { sts, container, options };
    if evidence.option("initial-cluster-token", "kamaji") || evidence.kamaji_certificates() {
        if evidence.is_kamajis_own() { Profile::Kamaji } else { Profile::KamajiEtcd }
    } else if evidence.option("cert-file", "/run/config/pki/etcd-server.crt") {
        Profile::Vcluster
    } else if options.env("ETCD_ON_K8S").is_some() || evidence.mounts("/bitnami/etcd") {
        Profile::Bitnami
    } else if container.args.first().is_some_and(|word| word == "start-etcd") {
        Profile::EtcdDruid
    } else if evidence.environment_from("-cluster-state") {
        Profile::Cozystack
    } else if evidence.environment_from("-state") {
        Profile::EtcdOperator
    } else if sts.spec.service_name == "etcd-discovery" {
        Profile::HyperShift
    } else if evidence.mounts("/var/lib/k0s/pki/etcd") {
        Profile::K0smotron
    } else if evidence.volume("apiserver-etcd-client-certificate") {
        Profile::Kubermatic
    } else if ["URI_SCHEME", "SERVICE_NAME", "K8S_NAMESPACE"].iter().all(|name| options.env(name).is_some()) {
        Profile::EtcdExample
    } else {
        Profile::Generic
    }
}

struct Evidence<'a> {
    sts: &'a StatefulSet,
    container: &'a Container,
    options: &'a Options,
}

impl Evidence<'_> {
    fn option(&self, flag: &str, value: &str) -> bool {
        self.options.get(flag).is_some_and(|setting| setting.value == value)
    }

    /// The chart's own file names, for a release that changed the cluster token.
    fn kamaji_certificates(&self) -> bool {
        self.volume("certs")
            && self.option("cert-file", "/etc/etcd/pki/server.pem")
            && self.option("peer-cert-file", "/etc/etcd/pki/peer.pem")
    }

    /// Kamaji's own etcd is called etcd whatever the release is, and its CA etcd-certs. The other chart of the project can be
    /// given the same names, and has its own in a label.
    fn is_kamajis_own(&self) -> bool {
        let volumes = &self.sts.spec.template.spec.volumes;
        let ca = volumes.iter().find(|volume| volume.name == "certs").and_then(|volume| volume.secret.as_ref());
        self.sts.name() == "etcd"
            && ca.is_some_and(|secret| secret.secret_name == "etcd-certs")
            && self.sts.label("app.kubernetes.io/name") != Some("kamaji-etcd")
    }

    fn mounts(&self, path: &str) -> bool {
        self.container.volume_mounts.iter().any(|mount| mount.mount_path.trim_end_matches('/') == path)
    }

    fn volume(&self, name: &str) -> bool {
        self.sts.spec.template.spec.volumes.iter().any(|volume| volume.name == name)
    }

    /// Whether the only foreign environment is a ConfigMap named after the StatefulSet.
    fn environment_from(&self, suffix: &str) -> bool {
        match self.container.env_from.as_slice() {
            [only] => only.config_map_ref.as_ref().is_some_and(|r| r.name == format!("{}{suffix}", self.sts.name())),
            _ => false,
        }
    }
}
