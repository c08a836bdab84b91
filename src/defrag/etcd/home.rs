//! What a container knows of the pod that it is in.

use super::marks::{POD, VALUE, clean};
use crate::defrag::statefulset::StatefulSet;

/// The pod that the containers are in.
pub(super) struct Home<'a> {
    pub(super) namespace: &'a str,
    /// What the pod calls itself.
    pub(super) hostname: String,
}

impl<'a> Home<'a> {
    pub(super) fn of(sts: &'a StatefulSet) -> Self {
        let (namespace, service) = (sts.namespace(), &sts.spec.service_name);
        // A pod without a subdomain has no full name.
        let hostname = if sts.spec.template.spec.set_hostname_as_fqdn == Some(true) && !service.is_empty() {
            format!("{POD}.{}.{}.svc.{VALUE}", clean(service), clean(namespace))
        } else {
            POD.to_string()
        };
        Self { namespace, hostname }
    }

    /// One in which a pod calls itself by its name.
    #[cfg(test)]
    pub(super) fn plain(namespace: &'a str) -> Self {
        Self { namespace, hostname: POD.to_string() }
    }
}
