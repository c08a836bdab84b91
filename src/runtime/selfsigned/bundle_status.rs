//! The status of the CA bundle in the webhook configurations, as text.

use std::sync::{Arc, PoisonError, RwLock};

/// The status of the CA bundle, for readiness; clones share it.
#[derive(Clone, Debug, Default)]
pub struct BundleStatus(Arc<RwLock<[Bundle; 2]>>);

/// The status of one configuration.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) enum Bundle {
    /// Not seen yet, or not written yet.
    #[default]
    Pending,
    InPlace,
    Absent,
    Failed(String),
}

impl BundleStatus {
    /// The condition of readiness: once every configuration that is there was given the bundle, or could not be given it,
    /// nothing here gets better by sending no calls to this replica.
    ///
    /// # Errors
    /// What is waited for.
    pub fn check(&self) -> Result<String, String> {
        let bundles = self.0.read().unwrap_or_else(PoisonError::into_inner).clone();
        let mut notes = Vec::new();
        for (kind, bundle) in KINDS.iter().zip(&bundles) {
            match bundle {
                Bundle::Pending => return Err(format!("the CA bundle is not in the {kind} yet")),
                Bundle::InPlace => {}
                Bundle::Absent => notes.push(format!("there is no {kind}, so its webhooks are not called")),
                Bundle::Failed(reason) => notes.push(format!("the {kind} may have another CA bundle: {reason}")),
            }
        }
        Ok(if notes.is_empty() { "in both webhook configurations".to_owned() } else { notes.join("; ") })
    }

    /// Whether that is news.
    pub(super) fn set(&self, index: usize, to: Bundle) -> bool {
        let mut all = self.0.write().unwrap_or_else(PoisonError::into_inner);
        let Some(bundle) = all.get_mut(index).filter(|bundle| **bundle != to) else { return false };
        *bundle = to;
        true
    }
}

pub(super) const KINDS: [&str; 2] = ["MutatingWebhookConfiguration", "ValidatingWebhookConfiguration"];
