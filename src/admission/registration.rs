//! The webhook configurations: what the API server asks us about, and what it does while we are away.

use std::collections::BTreeSet;

use k8s_openapi::{
    ByteString,
    api::admissionregistration::v1::{
        MatchCondition, MutatingWebhook, MutatingWebhookConfiguration, RuleWithOperations, ServiceReference,
        ValidatingWebhook, ValidatingWebhookConfiguration, WebhookClientConfig,
    },
    apimachinery::pkg::apis::meta::v1::{LabelSelector, LabelSelectorRequirement},
};
use kube::api::ObjectMeta;

use super::Entry;
use crate::defrag::keys::ENABLED;

pub(super) mod conditions;

use conditions::{NOT_BEING_DELETED, may_be_an_etcd, may_be_filled_in_or_warned_about, our_keys_change};

/// The name of both configurations.
pub const NAME: &str = "etcd-defrag-webhook";

/// The label that every namespace has: its name.
const NAMESPACE_NAME: &str = "kubernetes.io/metadata.name";

/// How long the API server waits for an answer, in seconds; above
/// [`ServerLimits::request`](crate::runtime::limits::ServerLimits::request).
pub const TIMEOUT_SECONDS: i32 = 5;

/// Where the API server reaches us.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Target {
    /// A URL without a path, such as `https://127.0.0.1:9443`.
    Url(String),
    /// A Service.
    Service {
        /// Its namespace.
        namespace: String,
        /// Its name.
        name: String,
        /// Its port.
        port: i32,
    },
}

/// What the configurations depend on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Registration {
    /// Where the API server reaches us.
    pub target: Target,
    /// The CA of our serving certificate in PEM; `None` where something else fills it in.
    pub ca_bundle: Option<String>,
    /// The excluded namespaces; the reconciler excludes them, too.
    pub exempt_namespaces: Vec<String>,
}

impl Registration {
    /// The entry that enrols if a policy requires it, and the one that fills in the policy's values and reports
    /// findings of other edits. Both fail open.
    #[must_use]
    pub fn mutating(&self) -> MutatingWebhookConfiguration {
        // The label that the first one adds makes the object one of the second's, within the same request. A label that is taken
        // off is the second one's, since its selector matches the old object too.
        let enroll = self.mutating_webhook(
            Entry::Enroll,
            selector(ENABLED, "DoesNotExist", None),
            rule(&["CREATE"], &["statefulsets"]),
            vec![condition("may-be-an-etcd", may_be_an_etcd())],
        );
        let fill_in = self.mutating_webhook(
            Entry::Mutate,
            object_selector(),
            rule(&["CREATE", "UPDATE"], &["statefulsets"]),
            vec![not_being_deleted(), condition("concerns-us", may_be_filled_in_or_warned_about())],
        );
        MutatingWebhookConfiguration { metadata: metadata(), webhooks: Some(vec![enroll, fill_in]) }
    }

    fn mutating_webhook(
        &self,
        entry: Entry,
        object_selector: LabelSelector,
        rule: RuleWithOperations,
        conditions: Vec<MatchCondition>,
    ) -> MutatingWebhook {
        MutatingWebhook {
            admission_review_versions: vec!["v1".to_owned()],
            client_config: self.client_config(entry),
            failure_policy: Some("Ignore".to_owned()),
            match_conditions: Some(conditions),
            match_policy: Some("Equivalent".to_owned()),
            name: webhook_name(entry),
            namespace_selector: Some(self.namespace_selector()),
            object_selector: Some(object_selector),
            reinvocation_policy: Some("IfNeeded".to_owned()),
            rules: Some(vec![rule]),
            side_effects: "None".to_owned(),
            timeout_seconds: Some(TIMEOUT_SECONDS),
        }
    }

    /// The entries that refuse. Two of them fail closed, and only for updates of our keys: a create that was not
    /// assessed gets no CronJob as long as anything of it is refused.
    #[must_use]
    pub fn validating(&self) -> ValidatingWebhookConfiguration {
        let of_our_keys = || vec![not_being_deleted(), condition("our-keys-change", our_keys_change())];
        let create = self.validating_webhook(Entry::Create, "Ignore", rule(&["CREATE"], &["statefulsets"]), Vec::new());
        let validate =
            self.validating_webhook(Entry::Validate, "Fail", rule(&["UPDATE"], &["statefulsets"]), of_our_keys());
        // Of every StatefulSet: keys that are planted where they are not in force wait for somebody who enrols it.
        let status = ValidatingWebhook {
            namespace_selector: Some(LabelSelector::default()),
            object_selector: Some(LabelSelector::default()),
            ..self.validating_webhook(Entry::Status, "Fail", rule(&["UPDATE"], &["statefulsets/status"]), of_our_keys())
        };
        let webhooks = vec![create, validate, status];
        ValidatingWebhookConfiguration { metadata: metadata(), webhooks: Some(webhooks) }
    }

    fn validating_webhook(
        &self,
        entry: Entry,
        failure_policy: &str,
        rule: RuleWithOperations,
        conditions: Vec<MatchCondition>,
    ) -> ValidatingWebhook {
        ValidatingWebhook {
            admission_review_versions: vec!["v1".to_owned()],
            client_config: self.client_config(entry),
            failure_policy: Some(failure_policy.to_owned()),
            match_conditions: (!conditions.is_empty()).then_some(conditions),
            match_policy: Some("Equivalent".to_owned()),
            name: webhook_name(entry),
            namespace_selector: Some(self.namespace_selector()),
            object_selector: Some(object_selector()),
            rules: Some(vec![rule]),
            side_effects: "None".to_owned(),
            timeout_seconds: Some(TIMEOUT_SECONDS),
        }
    }

    fn client_config(&self, entry: Entry) -> WebhookClientConfig {
        let ca_bundle = self.ca_bundle.clone().map(|pem| ByteString(pem.into_bytes()));
        match &self.target {
            Target::Url(base) => {
                let url = Some(format!("{}{}", base.trim_end_matches('/'), entry.path()));
                WebhookClientConfig { ca_bundle, service: None, url }
            }
            Target::Service { namespace, name, port } => {
                let service = ServiceReference {
                    name: name.clone(),
                    namespace: namespace.clone(),
                    path: Some(entry.path().to_owned()),
                    port: Some(*port),
                };
                WebhookClientConfig { ca_bundle, service: Some(service), url: None }
            }
        }
    }

    fn namespace_selector(&self) -> LabelSelector {
        not_in(self.exempt_namespaces.clone())
    }
}

/// Every namespace but these.
pub(super) fn not_in(namespaces: Vec<String>) -> LabelSelector {
    if namespaces.is_empty() {
        return LabelSelector::default();
    }
    selector(NAMESPACE_NAME, "NotIn", Some(namespaces))
}

/// The API server matches the selector against the old object too, so that removing the label is seen.
pub(super) fn object_selector() -> LabelSelector {
    selector(ENABLED, "Exists", None)
}

fn selector(key: &str, operator: &str, values: Option<Vec<String>>) -> LabelSelector {
    let requirement = LabelSelectorRequirement { key: key.to_owned(), operator: operator.to_owned(), values };
    LabelSelector { match_expressions: Some(vec![requirement]), match_labels: None }
}

fn not_being_deleted() -> MatchCondition {
    condition("not-being-deleted", NOT_BEING_DELETED.to_owned())
}

fn condition(name: &str, expression: String) -> MatchCondition {
    MatchCondition { name: name.to_owned(), expression }
}

fn rule(operations: &[&str], resources: &[&str]) -> RuleWithOperations {
    let list = |values: &[&str]| Some(values.iter().map(|value| (*value).to_owned()).collect());
    RuleWithOperations {
        api_groups: list(&["apps"]),
        api_versions: list(&["v1"]),
        operations: list(operations),
        resources: list(resources),
        scope: Some("Namespaced".to_owned()),
    }
}

/// The namespaces that a configuration excludes; `None` if it is not one of ours, under whatever name.
#[must_use]
pub fn exempt_namespaces(configuration: &ValidatingWebhookConfiguration) -> Option<BTreeSet<String>> {
    let name = webhook_name(Entry::Validate);
    let entry = configuration.webhooks.iter().flatten().find(|webhook| webhook.name == name)?;
    let expressions = entry.namespace_selector.iter().flat_map(|selector| &selector.match_expressions).flatten();
    let left_out = expressions.filter(|expression| expression.key == NAMESPACE_NAME && expression.operator == "NotIn");
    Some(left_out.flat_map(|expression| &expression.values).flatten().cloned().collect())
}

/// The namespace of the Service that one of our configurations calls; `None` if it is not one of ours, or calls a URL.
#[must_use]
pub fn service_namespace(configuration: &ValidatingWebhookConfiguration) -> Option<String> {
    let name = webhook_name(Entry::Validate);
    let entry = configuration.webhooks.iter().flatten().find(|webhook| webhook.name == name)?;
    Some(entry.client_config.service.as_ref()?.namespace.clone())
}

/// The name of an entry: what a person sees where it refuses or cannot be reached.
#[must_use]
pub fn webhook_name(entry: Entry) -> String {
    format!("{entry}.{NAME}.etcd-defrag.io")
}

fn metadata() -> ObjectMeta {
    ObjectMeta {
        name: Some(NAME.to_owned()),
        labels: Some([("app.kubernetes.io/name".to_owned(), NAME.to_owned())].into()),
        ..ObjectMeta::default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_configurations_leave_no_field_to_a_default() {
        let service = Target::Service { namespace: "defrag".to_owned(), name: "webhook".to_owned(), port: 443 };
        let registration = Registration {
            target: service,
            ca_bundle: Some("CA".to_owned()),
            exempt_namespaces: vec!["kube-system".to_owned(), "defrag".to_owned()],
        };
        insta::assert_snapshot!("mutating", serde_saphyr::to_string(&registration.mutating()).unwrap());
        insta::assert_snapshot!("validating", serde_saphyr::to_string(&registration.validating()).unwrap());
    }

    #[test]
    fn a_url_gets_one_path_for_each_entry() {
        let registration = Registration {
            target: Target::Url("https://127.0.0.1:9443/".to_owned()),
            ca_bundle: None,
            exempt_namespaces: Vec::new(),
        };
        let urls: Vec<_> = registration
            .validating()
            .webhooks
            .unwrap()
            .into_iter()
            .map(|hook| hook.client_config.url.unwrap())
            .collect();
        let paths = ["create", "validate", "status"];
        assert_eq!(urls, paths.map(|path| format!("https://127.0.0.1:9443/{path}")));
        // An empty list after NotIn is refused by the API server.
        assert_eq!(registration.namespace_selector(), LabelSelector::default());
        assert_eq!(exempt_namespaces(&registration.validating()), Some(BTreeSet::new()));
    }

    #[test]
    fn what_is_left_out_is_read_back() {
        let names = ["kube-system".to_owned(), "defrag".to_owned()];
        let target = Target::Url("https://127.0.0.1:9443".to_owned());
        let registration = Registration { target, ca_bundle: None, exempt_namespaces: names.to_vec() };
        assert_eq!(exempt_namespaces(&registration.validating()), Some(names.into()));
        let mut others = registration.validating();
        others.webhooks.iter_mut().flatten().for_each(|webhook| webhook.name = "validate.example.com".to_owned());
        assert_eq!(exempt_namespaces(&others), None);
    }

    #[test]
    fn our_own_answer_arrives_before_the_api_server_gives_up() {
        let timeout = std::time::Duration::from_secs(TIMEOUT_SECONDS.unsigned_abs().into());
        assert!(crate::runtime::limits::ServerLimits::default().request < timeout);
    }
}
