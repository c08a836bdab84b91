//! A `ValidatingAdmissionPolicy` (VAP) with the checks of our keys that CEL can do, for when the webhook is
//! unavailable.
//!
//! It is generated from the same list of keys and the same bounds as the assessment, matches the same writes as the
//! refusing entries (and keys that do not exist), and refuses only what the assessment refuses too: a value that this
//! write adds, on an object that opts in.

use std::{fmt::Write as _, time::Duration};

use k8s_openapi::{
    api::admissionregistration::v1::{
        MatchCondition, MatchResources, NamedRuleWithOperations, ValidatingAdmissionPolicy,
        ValidatingAdmissionPolicyBinding, ValidatingAdmissionPolicyBindingSpec, ValidatingAdmissionPolicySpec,
        Validation, Variable,
    },
    apimachinery::pkg::apis::meta::v1::LabelSelector,
};
use kube::api::ObjectMeta;

use super::registration::{
    self,
    conditions::{MOST, NOT_BEING_DELETED, any_key_changes},
};
use crate::defrag::{
    duration,
    finding::Code,
    keys::{ENABLED, Key, PREFIX},
    policy::{DefragPolicy, Limits, Policy},
    ratio,
    settings::{MAX_DURATION, longest_wait},
};

/// The name without a DefragPolicy; the one of a DefragPolicy ends with its name.
pub const NAME: &str = "etcd-defrag-floor";

const BOOLEANS: &[Key] = &[Key::Suspend, Key::MoveLeader, Key::AutoDisalarm, Key::Compaction];

/// What CEL says of one value.
struct Check {
    /// The variable that lists the keys with a wrong value.
    name: &'static str,
    code: Code,
    keys: Vec<Key>,
    /// A condition over `value`, which holds for a good value.
    good: String,
    /// What to write instead.
    advice: String,
}

/// The one of a `DefragPolicy`, `None` for the built-in policy: the rules, and where they hold and what becomes of a violation.
///
/// Only one of several policies governs an object; CEL cannot see the others, so each one holds wherever its policy selects.
#[must_use]
pub fn policy_and_binding(
    policy: &Policy,
    object: Option<&DefragPolicy>,
) -> (ValidatingAdmissionPolicy, ValidatingAdmissionPolicyBinding) {
    let name = match object.and_then(|object| object.metadata.name.as_deref()) {
        Some(of) => format!("{NAME}-{of}"),
        None => NAME.to_owned(),
    };
    let checks = checks(policy);
    let mut variables = common();
    variables.extend(checks.iter().map(|check| variable(check.name, &check.wrong())));
    let mut validations = vec![enabled(), unknown_annotations(), unknown_labels(), conflict(), access_through_status()];
    validations.extend(checks.iter().map(Check::validation));
    let admission = ValidatingAdmissionPolicy {
        metadata: metadata(&name),
        spec: Some(ValidatingAdmissionPolicySpec {
            failure_policy: Some("Fail".to_owned()),
            match_conditions: Some(vec![
                condition("not-being-deleted", NOT_BEING_DELETED.to_owned()),
                condition("our-keys-change", create_or_our_keys_change()),
            ]),
            match_constraints: Some(MatchResources {
                match_policy: Some("Equivalent".to_owned()),
                namespace_selector: Some(registration::not_in(vec!["kube-system".to_owned()])),
                object_selector: Some(registration::object_selector()),
                resource_rules: Some(vec![rule()]),
                exclude_resource_rules: None,
            }),
            validations: Some(validations),
            variables: Some(variables),
            ..ValidatingAdmissionPolicySpec::default()
        }),
        status: None,
    };
    let actions = [(policy.actions.deny, "Deny"), (policy.actions.warn, "Warn"), (policy.actions.audit, "Audit")];
    let selected = |of: fn(&DefragPolicy) -> &LabelSelector| Some(object.map(of).cloned().unwrap_or_default());
    let binding = ValidatingAdmissionPolicyBinding {
        metadata: metadata(&name),
        spec: ValidatingAdmissionPolicyBindingSpec {
            match_resources: Some(MatchResources {
                match_policy: Some("Equivalent".to_owned()),
                namespace_selector: selected(|object| &object.spec.namespace_selector),
                object_selector: selected(|object| &object.spec.selector),
                ..MatchResources::default()
            }),
            policy_name: name,
            validation_actions: actions
                .into_iter()
                .filter(|(on, _)| *on)
                .map(|(_, action)| action.to_owned())
                .collect(),
            ..ValidatingAdmissionPolicyBindingSpec::default()
        },
    };
    (admission, binding)
}

/// It runs in the API server and fails only where an expression does, so one condition says all that several entries of the
/// webhook share.
fn create_or_our_keys_change() -> String {
    format!("request.operation == 'CREATE' ||\n{}", any_key_changes())
}

/// What every check looks at: nothing that an author of objects can make long, for the reason that
/// [`conditions`](registration::conditions) give. A key in the list of defaulted keys follows the policy, whatever its annotation says.
fn common() -> Vec<Variable> {
    let part = |name: &str, side: &str| format!("{side}.metadata[?'{name}'].orValue({{}})");
    let before = |name: &str| format!("oldObject == null ? {{}} : {}", part(name, "oldObject"));
    let own = format!(
        "variables.enabled != 'true' ? [] : {}.filter(key, key in variables.annotations && \
         !(key in {} && key.substring({}) in variables.defaulted))",
        list(Key::ALL),
        list(Key::DEFAULTABLE),
        PREFIX.len()
    );
    // All of it, where this write also opts in.
    let brought_in = format!(
        "variables.labelsBefore[?'{ENABLED}'] != optional.of('true') || \
         variables.annotationsBefore[?key] != variables.annotations[?key]"
    );
    let unknown = |of: &str, known: &str, brought_in: &str| {
        format!(
            "variables.enabled != 'true' || variables.{of}.size() > {MOST} ? [] : variables.{of}.filter(key, \
             key.startsWith('{PREFIX}') && !(key in {known}) && ({brought_in}))"
        )
    };
    vec![
        variable("labels", &part("labels", "object")),
        variable("labelsBefore", &before("labels")),
        variable("annotations", &part("annotations", "object")),
        variable("annotationsBefore", &before("annotations")),
        variable("enabled", &format!("variables.labels[?'{ENABLED}'].orValue('')")),
        variable(
            "defaulted",
            &format!(
                "variables.annotations[?'{}'].orValue('').split(',', {}).map(name, name.trim())",
                Key::Defaulted.annotation(),
                Key::ALL.len()
            ),
        ),
        variable("own", &own),
        variable("written", &format!("variables.own.filter(key, {brought_in})")),
        variable("unknownAnnotations", &unknown("annotations", &list(Key::ALL), &brought_in)),
        variable(
            "unknownLabels",
            &unknown("labels", &format!("['{ENABLED}']"), "variables.labelsBefore[?key] != variables.labels[?key]"),
        ),
    ]
}

fn enabled() -> Validation {
    validation(
        Code::EnabledInvalid,
        &format!(
            "!('{ENABLED}' in variables.labels) || variables.enabled in ['true', 'false'] || \
             variables.labelsBefore[?'{ENABLED}'] == variables.labels[?'{ENABLED}']"
        ),
        &format!("'{ENABLED} is \"' + variables.enabled + '\"'"),
        "Write \"true\" to opt in or \"false\" to opt out.",
    )
}

fn unknown_annotations() -> Validation {
    let known: Vec<&str> = Key::ALL.iter().filter(|key| **key != Key::Defaulted).map(|key| key.name()).collect();
    validation(
        Code::AnnotationUnknown,
        "variables.unknownAnnotations.size() == 0",
        "'There is no annotation ' + variables.unknownAnnotations.join(', ')",
        &format!("A setting with a wrong name would be silently ignored. Use one of: {}.", known.join(", ")),
    )
}

fn unknown_labels() -> Validation {
    validation(
        Code::AnnotationUnknown,
        "variables.unknownLabels.size() == 0",
        "'There is no label ' + variables.unknownLabels.join(', ')",
        &format!("The only label is {ENABLED}; every setting is an annotation."),
    )
}

/// Both ways to say when to defragment.
fn conflict() -> Validation {
    let has = |key: &Key| format!("'{}' in variables.own", key.annotation());
    let thresholds: Vec<String> = Key::THRESHOLDS.iter().map(has).collect();
    validation(
        Code::SettingsConflict,
        &format!(
            "!({} && ({})) || !variables.written.exists(key, key in {})",
            has(&Key::Rule),
            thresholds.join(" || "),
            list(Key::TRIGGERS)
        ),
        "'rule is set beside quota-usage-above, free-above or free-share-above'",
        "Each says when to defragment, and only one can be followed: remove rule, or remove the thresholds.",
    )
}

/// A Secret or an address that a write of the status brings in: by setting it, in force or not, or by enrolling an etcd that
/// carries it.
fn access_through_status() -> Validation {
    let wrong = format!(
        "{}.filter(key, key in variables.annotations && (variables.annotationsBefore[?key] != variables.annotations[?key] || \
         variables.enabled == 'true' && variables.labelsBefore[?'{ENABLED}'] != optional.of('true')))",
        list(Key::ACCESS)
    );
    validation(
        Code::AccessThroughStatus,
        // The field is not there for a write of the object itself.
        &format!("!has(request.subResource) || request.subResource != 'status' || {wrong}.size() == 0"),
        &format!("'A write of statefulsets/status adds ' + {wrong}.join(', ')"),
        "Write it on the StatefulSet itself: the right to write its status is not enough.",
    )
}

/// That a value is a Go duration which `duration()` can read: each unit in any number and order, with no more digits before the
/// point than a day has of it, and not so many of them that their sum is more than Go can hold. What is longer is above any
/// bound, and `duration()` would fail on it with words about CEL.
fn duration_form() -> String {
    const DIGITS_OF_A_DAY: &[(&str, u8)] =
        &[("ns", 14), ("us", 11), ("µs", 11), ("μs", 11), ("ms", 8), ("s", 5), ("m", 4), ("h", 2)];
    let units = DIGITS_OF_A_DAY.iter();
    let units: Vec<String> =
        units.map(|(unit, digits)| format!(r"(0*[0-9]{{1,{digits}}}(\.[0-9]*)?|\.[0-9]+){unit}")).collect();
    format!("value.size() <= 60000 && value.matches(r'^[-+]?(0|({})+)$')", units.join("|"))
}

fn checks(policy: &Policy) -> Vec<Check> {
    let limits = &policy.limits;
    let form = duration_form();
    let between = |least: Duration, most: Duration| {
        let [least, most] = [least, most].map(duration::format_go);
        format!("{form} && duration(value) >= duration('{least}') && duration(value) <= duration('{most}')")
    };
    let longest_wait = longest_wait(policy).min(MAX_DURATION);
    // No more digits before the point than 100 % has: double() fails on what no number holds.
    let share = "value.matches(r'^0*[0-9]{1,3}(\\.[0-9]+)?%?$')";
    let number = "(value.endsWith('%') ? double(value.replace('%', '')) / 100.0 : double(value))";
    let size = |least: u64| {
        format!(
            "isQuantity(value) && quantity(value).compareTo(quantity('0')) > 0 && !quantity(value).isLessThan(quantity('{least}'))"
        )
    };
    // Exactly the blanks between which the assessment sees fields.
    let blank = r"\t-\r \x{85}\p{Z}";
    let mut checks = vec![
        Check {
            name: "wrongBooleans",
            code: Code::BooleanInvalid,
            keys: BOOLEANS.to_vec(),
            good: "value in ['true', 'false']".to_owned(),
            advice: "Write exactly \"true\" or \"false\", in lower case.".to_owned(),
        },
        Check {
            name: "wrongSchedule",
            code: Code::ScheduleInvalid,
            keys: vec![Key::Schedule],
            good: format!(
                "!value.contains('TZ') && value.matches(r'^([{blank}]*([^{blank}]+[{blank}]+){{4}}[^{blank}]+[{blank}]*|@(yearly|annually|monthly|weekly|daily|midnight|hourly)|@every .+)$')"
            ),
            advice: "Write five fields such as \"H H(1-4) * * *\", or a macro such as \"@daily\"; a time zone goes into the annotation etcd-defrag.io/time-zone.".to_owned(),
        },
        Check {
            name: "wrongWait",
            code: Code::DurationInvalid,
            keys: vec![Key::WaitBetweenMembers],
            good: between(limits.min_wait, longest_wait),
            advice: format!(
                "Write a duration from {} to {}, such as \"2m30s\".",
                duration::format_go(limits.min_wait),
                duration::in_seconds(longest_wait, "")
            ),
        },
        Check {
            name: "wrongTimeout",
            code: Code::CommandTimeoutTooShort,
            keys: vec![Key::CommandTimeout],
            // The longest depends on the quota, which CEL does not find.
            good: between(limits.min_command_timeout, MAX_DURATION),
            advice: format!(
                "Write a duration from {} to 24h, such as \"3m\": a shorter one ends the client's wait while the member is still blocked.",
                duration::format_go(limits.min_command_timeout)
            ),
        },
        Check {
            name: "wrongDisalarm",
            code: Code::DisalarmInvalid,
            keys: vec![Key::DisalarmBelow],
            good: format!("{share} && {number} > 0.0 && {number} < 1.0"),
            advice: "Write a share strictly between 0 and 1, such as \"90%\".".to_owned(),
        },
        Check {
            name: "wrongQuota",
            code: Code::QuotaInvalid,
            keys: vec![Key::Quota],
            good: size(1),
            advice: "Write the quota that etcd is started with, such as \"8Gi\".".to_owned(),
        },
        Check {
            name: "wrongPort",
            code: Code::ValueInvalid,
            keys: vec![Key::ClientPort],
            good: "value.matches('^0*[0-9]{1,5}$') && int(value) > 0 && int(value) < 65536".to_owned(),
            advice: "Write a port from 1 to 65535, such as \"2379\".".to_owned(),
        },
    ];
    checks.extend(thresholds(limits, [share, number], &size(limits.min_free)));
    checks.extend(locked(policy));
    checks
}

/// The checks of what a rule is made of: `share` is the form of one and the number that it stands for.
fn thresholds(limits: &Limits, [share, number]: [&str; 2], size: &str) -> [Check; 3] {
    [
        Check {
            name: "wrongUsage",
            code: Code::QuotaUsageOutOfRange,
            keys: vec![Key::QuotaUsageAbove],
            // Room for what binary fractions cannot say.
            good: format!(
                "{share} && {number} > 0.0 && {number} >= {:.9} && {number} <= {:.9}",
                (limits.quota_usage_min - 1e-9).max(0.0),
                limits.quota_ceiling + 1e-9
            ),
            advice: format!(
                "Write a share of the quota from {} to {}.",
                ratio::percent(limits.quota_usage_min),
                ratio::percent(limits.quota_ceiling)
            ),
        },
        Check {
            name: "wrongShare",
            code: Code::ThresholdInvalid,
            keys: vec![Key::FreeShareAbove],
            good: format!("{share} && {number} > 0.0 && {number} < 1.0"),
            advice: "Write a share of the file strictly between 0 and 1, such as \"50%\".".to_owned(),
        },
        Check {
            name: "wrongFree",
            code: Code::FreeBelowMinimum,
            keys: vec![Key::FreeAbove],
            good: size.to_owned(),
            advice: format!("Write a size above 0 and of at least {} bytes, such as \"200Mi\".", limits.min_free),
        },
    ]
}

/// A locked key has the policy's value, if any.
fn locked(policy: &Policy) -> Option<Check> {
    let keys: Vec<Key> = policy.limits.locked.iter().copied().collect();
    if keys.is_empty() {
        return None;
    }
    let given = keys.iter().filter_map(|key| Some((key, policy.defaults.get(key)?)));
    let given: Vec<String> =
        given.map(|(key, value)| format!("{}: {}", quoted(key.annotation()), quoted(value))).collect();
    Some(Check {
        name: "wrongLocked",
        code: Code::KeyLocked,
        keys,
        good: format!("{{{}}}[?key] == optional.of(value)", given.join(", ")),
        advice: "The policy locks this key: remove the annotation, or ask the owners of the policy.".to_owned(),
    })
}

impl Check {
    /// The keys whose value is wrong.
    fn wrong(&self) -> String {
        format!(
            "variables.written.filter(key, key in {} && [variables.annotations[key]].exists(value, !({})))",
            list(&self.keys),
            self.good
        )
    }

    fn validation(&self) -> Validation {
        let wrong = format!("variables.{}", self.name);
        validation(
            self.code,
            &format!("{wrong}.size() == 0"),
            &format!("{wrong}.map(key, key + ' is \"' + variables.annotations[key] + '\"').join(', ')"),
            &self.advice,
        )
    }
}

fn validation(code: Code, expression: &str, found: &str, advice: &str) -> Validation {
    let advice = format!("{advice} [{code}]");
    Validation {
        expression: expression.to_owned(),
        // Where what was found cannot be shown, as with line breaks in it.
        message: Some(advice.clone()),
        message_expression: Some(format!("{found} + {}", quoted(&format!(". {advice}")))),
        reason: Some("Invalid".to_owned()),
    }
}

fn variable(name: &str, expression: &str) -> Variable {
    Variable { name: name.to_owned(), expression: expression.to_owned() }
}

fn condition(name: &str, expression: String) -> MatchCondition {
    MatchCondition { name: name.to_owned(), expression }
}

fn list(keys: &[Key]) -> String {
    let keys: Vec<String> = keys.iter().map(|key| quoted(key.annotation())).collect();
    format!("[{}]", keys.join(", "))
}

/// A string literal of CEL.
fn quoted(text: &str) -> String {
    let mut literal = String::from("'");
    for c in text.chars() {
        match c {
            '\\' | '\'' => literal.extend(['\\', c]),
            c if c.is_control() => {
                let _ = write!(literal, "\\U{:08x}", u32::from(c));
            }
            c => literal.push(c),
        }
    }
    literal.push('\'');
    literal
}

fn rule() -> NamedRuleWithOperations {
    let list = |values: &[&str]| Some(values.iter().map(|value| (*value).to_owned()).collect());
    NamedRuleWithOperations {
        api_groups: list(&["apps"]),
        api_versions: list(&["v1"]),
        operations: list(&["CREATE", "UPDATE"]),
        resources: list(&["statefulsets", "statefulsets/status"]),
        scope: Some("Namespaced".to_owned()),
        resource_names: None,
    }
}

fn metadata(name: &str) -> ObjectMeta {
    ObjectMeta {
        name: Some(name.to_owned()),
        labels: Some([("app.kubernetes.io/name".to_owned(), registration::NAME.to_owned())].into()),
        ..ObjectMeta::default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_literal_says_what_it_holds() {
        assert_eq!(quoted("a'b\\c\nd"), "'a\\'b\\\\c\\U0000000ad'");
    }

    #[test]
    fn every_key_is_known_to_the_policy() {
        let (policy, _) = policy_and_binding(&Policy::built_in(), None);
        let text = serde_json::to_string(&policy).unwrap();
        for key in Key::ALL {
            assert!(text.contains(key.annotation()), "{key:?}");
        }
    }
}
