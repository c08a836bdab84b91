//! The webhook configurations: what the API server asks us about, and what it does while we are away.

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

/// The name of both configurations.
pub const NAME: &str = "etcd-defrag-webhook";

/// How long the API server waits for an answer, in seconds; above
/// [`ServerLimits::request`](crate::runtime::limits::ServerLimits::request).
pub const TIMEOUT_SECONDS: i32 = 5;

/// True where a write changes a label or an annotation of ours. Looking at both sides finds what was added, changed and
/// removed; a map that is absent reads as empty.
const OUR_KEYS_CHANGED: &str = "\
['labels', 'annotations'].exists(part, [object, oldObject].exists(side,
  side.metadata[?part].orValue({}).exists(key,
    key.startsWith('etcd-defrag.io/') && object.metadata[?part][?key] != oldObject.metadata[?part][?key])))";

pub(super) const NOT_BEING_DELETED: &str = "!has(object.metadata.deletionTimestamp)";

const SPEC_CHANGED: &str = "object.spec != oldObject.spec";

const NO_LABEL: &str = "!object.metadata[?'labels'][?'etcd-defrag.io/enabled'].hasValue()";

/// True of every pod template that runs an etcd, and of little else: most StatefulSets of a cluster then cost no call. What
/// looks like an etcd here is looked at more closely by `etcd::evidence`, which finds none where this is false.
const MAY_BE_AN_ETCD: &str = "\
object.spec.template.spec.containers.exists(container,
  container[?'image'].orValue('').contains('etcd') ||
  (container[?'command'].orValue([]) + container[?'args'].orValue([])).exists(word, word.contains('etcd')) ||
  container[?'env'].orValue([]).exists(variable, variable[?'value'].orValue('').contains('etcd')))";

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
    /// The namespace that we run in, where nothing is assessed so that we can never block our own start.
    pub own_namespace: Option<String>,
}

impl Registration {
    /// The entry that enrols where a policy asks for it, and the one that fills in what the policy gives.
    #[must_use]
    pub fn mutating(&self) -> MutatingWebhookConfiguration {
        // The label that the first one adds makes the object one of the second's, within the same request.
        let enroll = self.mutating_webhook(
            Entry::Enroll,
            selector(ENABLED, "DoesNotExist", None),
            vec![
                condition("not-being-deleted", NOT_BEING_DELETED.to_owned()),
                condition("no-label", NO_LABEL.to_owned()),
                condition("our-keys-change", create_or_our_keys_changed()),
                condition("may-be-an-etcd", MAY_BE_AN_ETCD.to_owned()),
            ],
        );
        let fill_in = self.mutating_webhook(
            Entry::Mutate,
            object_selector(),
            vec![
                condition("not-being-deleted", NOT_BEING_DELETED.to_owned()),
                condition("our-keys-change", create_or_our_keys_changed()),
            ],
        );
        MutatingWebhookConfiguration { metadata: metadata(), webhooks: Some(vec![enroll, fill_in]) }
    }

    fn mutating_webhook(
        &self,
        entry: Entry,
        object_selector: LabelSelector,
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
            rules: Some(vec![rule(&["CREATE", "UPDATE"], &["statefulsets", "statefulsets/status"])]),
            side_effects: "None".to_owned(),
            timeout_seconds: Some(TIMEOUT_SECONDS),
        }
    }

    /// The entry that refuses and the one that warns.
    #[must_use]
    pub fn validating(&self) -> ValidatingWebhookConfiguration {
        let refuse = self.validating_webhook(
            Entry::Validate,
            "Fail",
            rule(&["CREATE", "UPDATE"], &["statefulsets", "statefulsets/status"]),
            vec![
                condition("not-being-deleted", NOT_BEING_DELETED.to_owned()),
                condition("our-keys-change", create_or_our_keys_changed()),
            ],
        );
        let warn = self.validating_webhook(
            Entry::Warn,
            "Ignore",
            rule(&["UPDATE"], &["statefulsets"]),
            vec![
                condition("not-being-deleted", NOT_BEING_DELETED.to_owned()),
                condition("spec-changes", SPEC_CHANGED.to_owned()),
                condition("our-keys-stay", format!("!{OUR_KEYS_CHANGED}")),
            ],
        );
        ValidatingWebhookConfiguration { metadata: metadata(), webhooks: Some(vec![refuse, warn]) }
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
            match_conditions: Some(conditions),
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
        let mut namespaces = vec!["kube-system".to_owned()];
        namespaces.extend(self.own_namespace.clone().filter(|own| own != "kube-system"));
        not_in(namespaces)
    }
}

/// Every namespace but these.
pub(super) fn not_in(namespaces: Vec<String>) -> LabelSelector {
    selector("kubernetes.io/metadata.name", "NotIn", Some(namespaces))
}

/// The API server matches the selector against the old object too, so that removing the label is seen.
pub(super) fn object_selector() -> LabelSelector {
    selector(ENABLED, "Exists", None)
}

fn selector(key: &str, operator: &str, values: Option<Vec<String>>) -> LabelSelector {
    let requirement = LabelSelectorRequirement { key: key.to_owned(), operator: operator.to_owned(), values };
    LabelSelector { match_expressions: Some(vec![requirement]), match_labels: None }
}

pub(super) fn create_or_our_keys_changed() -> String {
    format!("request.operation == 'CREATE' || {OUR_KEYS_CHANGED}")
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
            own_namespace: Some("defrag".to_owned()),
        };
        insta::assert_snapshot!("mutating", serde_saphyr::to_string(&registration.mutating()).unwrap());
        insta::assert_snapshot!("validating", serde_saphyr::to_string(&registration.validating()).unwrap());
    }

    #[test]
    fn a_url_gets_one_path_for_each_entry() {
        let registration = Registration {
            target: Target::Url("https://127.0.0.1:9443/".to_owned()),
            ca_bundle: None,
            own_namespace: Some("kube-system".to_owned()),
        };
        let urls: Vec<_> = registration
            .validating()
            .webhooks
            .unwrap()
            .into_iter()
            .map(|hook| hook.client_config.url.unwrap())
            .collect();
        assert_eq!(urls, ["https://127.0.0.1:9443/validate", "https://127.0.0.1:9443/warn"]);
        let namespaces = registration.namespace_selector().match_expressions.unwrap().remove(0).values.unwrap();
        assert_eq!(namespaces, ["kube-system"]);
    }

    #[test]
    fn our_own_answer_arrives_before_the_api_server_gives_up() {
        let timeout = std::time::Duration::from_secs(TIMEOUT_SECONDS.unsigned_abs().into());
        assert!(crate::runtime::limits::ServerLimits::default().request < timeout);
    }
}
