//! The parts of the schema that no type says by itself.

use schemars::{Schema, SchemaGenerator, json_schema};
use serde_json::{Value, json};

use super::api::LockableKey;
use crate::defrag::form;

/// A short text of a form. The form is a rule and not a pattern, since the API server shows a pattern as it is, which
/// is hard to read; the bound lets it estimate what rules cost.
fn text(form: &str, message: &str) -> Schema {
    json_schema!({
        "type": "string", "minLength": 1, "maxLength": 32,
        "x-kubernetes-validations": [{"rule": format!("self.matches(r'{form}')"), "message": message}],
    })
}

/// A Go duration that is not negative.
pub(super) fn duration(_: &mut SchemaGenerator) -> Schema {
    text(
        r"^(0|([0-9]+(\.[0-9]*)?(ns|us|µs|ms|s|m|h))+)$",
        "a duration is made of numbers with a unit (ms, s, m, h), such as 30s or 1h30m",
    )
}

/// A share strictly between 0 and 1, as a percentage or a number.
pub(super) fn share(_: &mut SchemaGenerator) -> Schema {
    text(
        r"^(([1-9][0-9]?(\.[0-9]+)?|0\.[0-9]*[1-9][0-9]*)%|0\.[0-9]*[1-9][0-9]*)$",
        "a share is above 0% and below 100%, such as 80% or 0.8",
    )
}

/// A Kubernetes quantity of bytes.
pub(super) fn size(_: &mut SchemaGenerator) -> Schema {
    text(
        r"^[0-9]+(\.[0-9]+)?(m|k|M|G|T|P|E|Ki|Mi|Gi|Ti|Pi|Ei|[eE][0-9]+)?$",
        "a size is a number of bytes with or without a suffix, such as 200Mi",
    )
}

/// A text of a form, up to a length.
fn long_text(most: u32, form: &str, message: &str) -> Schema {
    json_schema!({
        "type": "string", "minLength": 1, "maxLength": most,
        "x-kubernetes-validations": [{"rule": format!("self.matches(r'{form}')"), "message": message}],
    })
}

/// The URL of a Prometheus.
pub(super) fn prometheus_url(_: &mut SchemaGenerator) -> Schema {
    long_text(
        512,
        r"^https?://[^/?#@ ]+(/[^?#@ ]*)?$",
        "a Prometheus has an http or https URL without user and query, such as http://prometheus.monitoring.svc:9090",
    )
}

/// The name of a file in a folder, which leads out of no folder.
pub(super) fn file_name(_: &mut SchemaGenerator) -> Schema {
    long_text(
        253,
        r"^([A-Za-z0-9_-]|[.][A-Za-z0-9_-])[A-Za-z0-9._-]*$",
        "write the name of a file in the folder of --prometheus-files, such as ca.crt, without its path",
    )
}

/// The name of a label in Prometheus.
pub(super) fn label_name(_: &mut SchemaGenerator) -> Schema {
    long_text(
        128,
        "^[a-zA-Z_][a-zA-Z0-9_]*$",
        "the name of a label in Prometheus has letters, digits and underscores, such as pod",
    )
}

/// A reference to an image.
pub(super) fn image(_: &mut SchemaGenerator) -> Schema {
    long_text(
        512,
        form::IMAGE,
        "an image has a path in lower case and no blanks, with a registry in front and a tag or a whole digest behind, such as \
         ghcr.io/ahrtr/etcd-defrag:v0.42.0",
    )
}

/// The name of an object of another kind.
pub(super) fn object_name(_: &mut SchemaGenerator) -> Schema {
    long_text(form::SUBDOMAIN_LENGTH, form::SUBDOMAIN, NAME)
}

const NAME: &str = "the name of an object has lower-case letters, digits, - and ., with a letter or a digit at both ends, such as etcd-defrag";

/// Labels, of nodes or of a pod, with a bound on how many.
pub(super) fn labels(_: &mut SchemaGenerator) -> Schema {
    json_schema!({
        "type": "object",
        "maxProperties": 32,
        "additionalProperties": label_value(),
        "x-kubernetes-validations": [keys()],
    })
}

/// The rule that each key is one of a label.
pub(super) fn keys() -> Value {
    json!({"rule": format!("self.all(key, key.matches(r'{}'))", form::LABEL_KEY), "message": KEY})
}

const KEY: &str = "the key of a label has letters, digits, -, _ and ., and may have a DNS name and / in front, such as app.kubernetes.io/name";

/// The rule that each key is one of an annotation.
pub(super) fn annotation_keys() -> Value {
    json!({
        "rule": format!("self.all(key, key.matches(r'{}'))", form::ANNOTATION_KEY),
        "message": "the key of an annotation has letters, digits, -, _ and ., and may have a DNS name and / in front, such as example.com/note",
    })
}

/// The value of a label.
fn label_value() -> Value {
    json!({
        "type": "string",
        "maxLength": 63,
        "x-kubernetes-validations": [{
            "rule": format!("self.matches(r'{}')", form::LABEL_VALUE),
            "message": "the value of a label has letters, digits, -, _ and ., with a letter or a digit at both ends, such as etcd-defrag",
        }],
    })
}

/// The time at which a window begins.
pub(super) fn begin(_: &mut SchemaGenerator) -> Schema {
    text(
        "^([01][0-9]|2[0-3]):[0-5][0-9]$",
        "a window begins between 00:00 and 23:59, with two digits each, such as 04:30",
    )
}

/// The time at which a window ends.
pub(super) fn end(_: &mut SchemaGenerator) -> Schema {
    text(
        "^(([01][0-9]|2[0-3]):[0-5][0-9]|24:00)$",
        "a window ends between 00:00 and 24:00, with two digits each, such as 04:30",
    )
}

/// A label selector, as strict as the API server is about those of its own types.
pub(super) fn selector(_: &mut SchemaGenerator) -> Schema {
    json_schema!({
        "type": "object",
        "default": {},
        "x-kubernetes-map-type": "atomic",
        "properties": {
            "matchLabels": {
                "description": "Labels that have to be present with this value.",
                "type": "object",
                "maxProperties": 32,
                "additionalProperties": label_value(),
                "x-kubernetes-validations": [keys()],
            },
            "matchExpressions": {
                "description": "Requirements that all have to be met.",
                "type": "array",
                "maxItems": 32,
                "x-kubernetes-list-type": "atomic",
                "items": {
                    "type": "object",
                    "required": ["key", "operator"],
                    "properties": {
                        "key": {
                            "description": "The label.",
                            "type": "string", "minLength": 1, "maxLength": 317,
                            "x-kubernetes-validations": [{
                                "rule": format!("self.matches(r'{}')", form::LABEL_KEY),
                                "message": KEY,
                            }],
                        },
                        "operator": {
                            "description": "In and NotIn compare with values; NotIn also matches if the label is missing. Exists and DoesNotExist check only whether the label is present.",
                            "type": "string",
                            "enum": ["In", "NotIn", "Exists", "DoesNotExist"],
                        },
                        "values": {
                            "description": "The values for In and NotIn.",
                            "type": "array",
                            "maxItems": 64,
                            "x-kubernetes-list-type": "atomic",
                            "items": label_value(),
                        },
                    },
                    "x-kubernetes-validations": [{
                        "rule": "self.operator in ['In', 'NotIn'] ? has(self.values) && size(self.values) > 0 : !has(self.values) || size(self.values) == 0",
                        "message": "In and NotIn need values, Exists and DoesNotExist take none: add values or remove them",
                    }],
                },
            },
        },
    })
}

/// References to Secrets, each named once.
pub(super) fn pull_secrets(_: &mut SchemaGenerator) -> Schema {
    json_schema!({
        "type": "array",
        "maxItems": 8,
        "x-kubernetes-list-type": "map",
        "x-kubernetes-list-map-keys": ["name"],
        "items": {
            "type": "object",
            "required": ["name"],
            "properties": {
                "name": {
                    "description": "The Secret.",
                    "type": "string", "minLength": 1, "maxLength": form::SUBDOMAIN_LENGTH,
                    "x-kubernetes-validations": [{"rule": format!("self.matches(r'{}')", form::SUBDOMAIN), "message": NAME}],
                },
            },
        },
    })
}

/// Requests and limits, without the claims on devices that a defragmentation has no use for.
pub(super) fn resources(_: &mut SchemaGenerator) -> Schema {
    let quantities = |what: &str| {
        json!({
            "description": what,
            "type": "object",
            "maxProperties": 16,
            "additionalProperties": {
                "pattern": r"^(\+|-)?(([0-9]+(\.[0-9]*)?)|(\.[0-9]+))(([KMGTPE]i)|[numkMGTPE]|([eE](\+|-)?(([0-9]+(\.[0-9]*)?)|(\.[0-9]+))))?$",
                "x-kubernetes-int-or-string": true,
            },
            "x-kubernetes-validations": [{
                "rule": "self.all(name, name.contains('/') || name.startsWith('hugepages-') || name in ['cpu', 'memory', 'ephemeral-storage'])",
                "message": "a container has no such resource: write cpu, memory, ephemeral-storage, or a name with its prefix, such as example.com/name",
            }],
        })
    };
    json_schema!({
        "type": "object",
        "properties": {
            "requests": quantities("What the container requests."),
            "limits": quantities("What the container may use at most."),
        },
        "x-kubernetes-validations": [{
            "rule": "!has(self.requests) || !has(self.limits) || ['cpu', 'memory', 'ephemeral-storage'].all(name, !(name in self.requests) || \
                     !(name in self.limits) || !quantity(string(self.requests[name])).isGreaterThan(quantity(string(self.limits[name]))))",
            "fieldPath": ".requests",
            "message": "a request is above the limit of the same resource: write at most the limit, or a higher limit",
        }],
    })
}

/// A rule over the spec: each locked key has a default, but for those that are locked to what is discovered.
pub(super) fn locked_keys_have_defaults() -> String {
    const TRIGGERS: &str = "has(self.defaults.rule) || has(self.defaults.quotaUsageAbove) || \
                            has(self.defaults.freeAbove) || has(self.defaults.freeShareAbove)";
    let cases: Vec<String> = LockableKey::ALL
        .iter()
        .map(|(_, name, field)| match (*name, field) {
            ("rule" | "quota-usage-above" | "free-above" | "free-share-above", _) => {
                format!("key == '{name}' && ({TRIGGERS})")
            }
            (_, Some(field)) => format!("key == '{name}' && has(self.defaults.{field})"),
            (_, None) => format!("key == '{name}'"),
        })
        .collect();
    format!("!has(self.limits.lockedKeys) || self.limits.lockedKeys.all(key, {})", cases.join(" || "))
}

/// The number of a share.
fn number(field: &str) -> String {
    format!("({field}.endsWith('%') ? double({field}.replace('%', '')) / 100.0 : double({field}))")
}

/// A rule over a range of shares: the least is below the greatest.
pub(super) fn usage_in_order() -> String {
    format!("!has(self.min) || {} <= {}", number("self.min"), number("self.max"))
}

/// A rule over the spec: the default of quota-usage-above is in the range of the limits.
pub(super) fn usage_default_in_range() -> String {
    let (given, range) = (number("self.defaults.quotaUsageAbove"), "self.limits.quotaUsage");
    format!(
        "!has(self.defaults.quotaUsageAbove) || ({given} <= {} && (!has({range}.min) || {given} >= {}))",
        number(&format!("{range}.max")),
        number(&format!("{range}.min")),
    )
}
