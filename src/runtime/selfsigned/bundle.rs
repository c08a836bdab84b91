//! The CA bundle in the webhook configurations: what differs, and the smallest patch that corrects it.

use json_patch::{
    AddOperation, Patch, PatchOperation,
    jsonptr::{PointerBuf, Token},
};
use k8s_openapi::{
    ByteString,
    api::admissionregistration::v1::{
        MutatingWebhookConfiguration, ValidatingWebhookConfiguration, WebhookClientConfig,
    },
};
use serde_json::Value;

/// The parts of a configuration that are read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ObservedBundles {
    /// The version that the patch is bound to.
    pub resource_version: String,
    /// The bundle of each webhook.
    pub bundles: Vec<Option<Vec<u8>>>,
}

impl From<MutatingWebhookConfiguration> for ObservedBundles {
    fn from(object: MutatingWebhookConfiguration) -> Self {
        let hooks = object.webhooks.unwrap_or_default();
        Self::of(object.metadata.resource_version, hooks.into_iter().map(|hook| hook.client_config))
    }
}

impl From<ValidatingWebhookConfiguration> for ObservedBundles {
    fn from(object: ValidatingWebhookConfiguration) -> Self {
        let hooks = object.webhooks.unwrap_or_default();
        Self::of(object.metadata.resource_version, hooks.into_iter().map(|hook| hook.client_config))
    }
}

impl ObservedBundles {
    fn of(resource_version: Option<String>, configs: impl Iterator<Item = WebhookClientConfig>) -> Self {
        Self {
            resource_version: resource_version.unwrap_or_default(),
            bundles: configs.map(|config| config.ca_bundle.map(|ByteString(bytes)| bytes)).collect(),
        }
    }

    /// Whether every webhook has exactly this bundle.
    #[must_use]
    pub fn holds(&self, bundle: &str) -> bool {
        self.bundles.iter().all(|found| found.as_deref() == Some(bundle.as_bytes()))
    }

    /// Whether any webhook had a bundle, so that a patch repairs rather than fills in.
    #[must_use]
    pub fn had_any(&self) -> bool {
        self.bundles.iter().any(|found| found.as_ref().is_some_and(|bytes| !bytes.is_empty()))
    }

    /// The patch that gives every webhook this bundle; `None` where they all have it. It names webhooks by their place, so
    /// it is bound to the version in which they had it.
    #[must_use]
    pub fn patch(&self, bundle: &str) -> Option<Patch> {
        if self.holds(bundle) {
            return None;
        }
        let value = serde_json::to_value(ByteString(bundle.as_bytes().to_vec())).ok()?;
        let mut operations =
            vec![add(["metadata", "resourceVersion"].map(Token::from), Value::String(self.resource_version.clone()))];
        for (index, found) in self.bundles.iter().enumerate() {
            if found.as_deref() != Some(bundle.as_bytes()) {
                let path = [Token::from("webhooks"), index.into(), "clientConfig".into(), "caBundle".into()];
                operations.push(add(path, value.clone()));
            }
        }
        Some(Patch(operations))
    }
}

/// `add` replaces what is there.
fn add<const N: usize>(path: [Token<'_>; N], value: Value) -> PatchOperation {
    PatchOperation::Add(AddOperation { path: PointerBuf::from_tokens(path), value })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn observed(bundles: &[Option<&str>]) -> ObservedBundles {
        let bundles = bundles.iter().map(|bundle| bundle.map(|text| text.as_bytes().to_vec())).collect();
        ObservedBundles { resource_version: "7".to_owned(), bundles }
    }

    #[test]
    fn only_bundles_that_differ_are_patched_and_only_in_the_version_that_was_seen() {
        let patch = observed(&[None, Some("new"), Some("old")]).patch("new").unwrap();
        insta::assert_snapshot!(serde_json::to_string_pretty(&patch).unwrap());
    }

    #[test]
    fn a_configuration_that_is_as_it_should_be_is_not_written_to() {
        assert_eq!(observed(&[Some("new"), Some("new")]).patch("new"), None);
        assert_eq!(observed(&[]).patch("new"), None);
        assert!(observed(&[None, Some("")]).patch("new").is_some() && !observed(&[None, Some("")]).had_any());
    }
}
