//! The charts and operators whose conventions are known.

use serde::Serialize;

/// A chart or operator whose conventions fill in what the pod template does not show.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Profile {
    /// clastix/kamaji-etcd.
    KamajiEtcd,
    /// The etcd that clastix/kamaji's own chart had.
    Kamaji,
    /// Bitnami's etcd chart.
    Bitnami,
    /// The etcd that a virtual cluster of loft-sh/vcluster deploys.
    Vcluster,
    /// gardener/etcd-druid.
    EtcdDruid,
    /// cozystack's etcd-operator (`etcd.aenix.io/v1alpha1`).
    Cozystack,
    /// etcd-io/etcd-operator.
    EtcdOperator,
    /// The StatefulSet in etcd's own documentation.
    EtcdExample,
    /// openshift/hypershift.
    #[serde(rename = "hypershift")]
    HyperShift,
    /// k0sproject/k0smotron.
    K0smotron,
    /// kubermatic/kubermatic, with or without its launcher.
    Kubermatic,
    /// None of them; only what is visible counts.
    Generic,
}

impl Profile {
    /// The name of the project, for messages.
    #[must_use]
    pub const fn project(self) -> &'static str {
        match self {
            Self::KamajiEtcd => "kamaji-etcd",
            Self::Kamaji => "kamaji",
            Self::Bitnami => "bitnami",
            Self::Vcluster => "vcluster",
            Self::EtcdDruid => "etcd-druid",
            Self::Cozystack => "cozystack",
            Self::EtcdOperator => "etcd-operator",
            Self::EtcdExample => "etcd's example",
            Self::HyperShift => "HyperShift",
            Self::K0smotron => "k0smotron",
            Self::Kubermatic => "Kubermatic",
            Self::Generic => "generic",
        }
    }

    /// Whether the certificates that this makes have the names of the pods under the headless Service.
    pub(super) const fn names_pods(self) -> bool {
        !matches!(self, Self::Bitnami | Self::EtcdExample | Self::Generic)
    }

    /// Whether what this writes serves a kube-apiserver, which compacts it every five minutes.
    pub(super) const fn serves_apiserver(self) -> bool {
        match self {
            Self::KamajiEtcd
            | Self::Kamaji
            | Self::Vcluster
            | Self::HyperShift
            | Self::K0smotron
            | Self::Kubermatic => true,
            Self::Bitnami
            | Self::EtcdDruid
            | Self::Cozystack
            | Self::EtcdOperator
            | Self::EtcdExample
            | Self::Generic => false,
        }
    }
}
