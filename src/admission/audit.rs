//! The audit annotation of a request, as `ValidatingAdmissionPolicy` writes its own: a JSON list with an entry for each
//! violation. The API server puts the name of the webhook entry before its key.

use serde::Serialize;

use crate::defrag::{
    field::Field,
    finding::{Code, Finding, shorten},
    policy::{Actions, Governing, api::ValidationAction},
};

/// The key, the same word as in `validation.policy.admission.k8s.io/validation_failure`.
pub const KEY: &str = "validation_failure";

/// The longest value in bytes: an object can have thousands of findings, and an audit event is kept for years.
pub const LIMIT: usize = 8 << 10;

/// The longest message in characters.
const MESSAGE: usize = 1024;

/// What the value says of itself where it does not say everything, and its comma and bracket.
const REST: usize = 256;

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct AuditEntry<'a> {
    message: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    code: Option<Code>,
    #[serde(skip_serializing_if = "Option::is_none")]
    field: Option<&'a Field>,
    #[serde(skip_serializing_if = "Option::is_none")]
    policy: Option<&'a str>,
    validation_actions: &'a [ValidationAction],
}

/// The value for these violations; `None` where there are none or the policy asks for no audit.
#[must_use]
pub fn annotation<'a>(governing: &Governing, violations: impl Iterator<Item = &'a Finding>) -> Option<String> {
    let actions = governing.policy.actions;
    if !actions.audit {
        return None;
    }
    let names = names(actions);
    let entry = |message: String| AuditEntry {
        message,
        code: None,
        field: None,
        policy: governing.name(),
        validation_actions: &names,
    };
    let mut value = String::new();
    let (mut total, mut shown) = (0_usize, 0_usize);
    for violation in violations {
        total += 1;
        let entry = AuditEntry {
            code: Some(violation.code),
            field: Some(&violation.field),
            ..entry(shorten(&violation.message, MESSAGE))
        };
        let Ok(text) = serde_json::to_string(&entry) else { continue };
        if shown + 1 == total && value.len() + text.len() + REST <= LIMIT {
            value.push(if value.is_empty() { '[' } else { ',' });
            value.push_str(&text);
            shown += 1;
        }
    }
    if total > shown {
        let rest = serde_json::to_string(&entry(format!("{} further findings are not shown", total - shown)));
        value.push(if value.is_empty() { '[' } else { ',' });
        value.push_str(&rest.unwrap_or_default());
    }
    (!value.is_empty()).then(|| value + "]")
}

fn names(actions: Actions) -> Vec<ValidationAction> {
    let all = [
        (actions.deny, ValidationAction::Deny),
        (actions.warn, ValidationAction::Warn),
        (actions.audit, ValidationAction::Audit),
    ];
    all.into_iter().filter_map(|(wanted, action)| wanted.then_some(action)).collect()
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::defrag::policy::Policy;

    fn governing(audit: bool) -> Governing {
        let mut policy = Policy::built_in();
        policy.actions = Actions { deny: true, warn: false, audit };
        Governing { policy: Arc::new(policy), by: None, left_out: false }
    }

    #[test]
    fn nothing_is_written_where_there_is_nothing_to_audit() {
        let finding = Finding::new(Code::KeyLocked, "f", "", "m");
        assert_eq!(annotation(&governing(false), [&finding].into_iter()), None);
        assert_eq!(annotation(&governing(true), std::iter::empty()), None);
    }

    #[test]
    fn each_violation_has_an_entry() {
        let finding = Finding::new(Code::KeyLocked, Field::UnknownAnnotation("a".to_owned()), "", "Remove \"a\".");
        insta::assert_snapshot!(
            annotation(&governing(true), [&finding].into_iter()).unwrap(),
            @r#"[{"message":"Remove \"a\".","code":"key-locked","field":"metadata.annotations[a]","validationActions":["Deny","Audit"]}]"#
        );
    }

    #[test]
    fn thousands_of_violations_stay_valid_json_within_the_limit() {
        for length in [1, 700, 5000] {
            let findings = vec![Finding::new(Code::AnnotationUnknown, "f", "", "\"é".repeat(length)); 5000];
            let value = annotation(&governing(true), findings.iter()).unwrap();
            assert!(value.len() <= LIMIT, "{}", value.len());
            let list: Vec<serde_json::Value> = serde_json::from_str(&value).unwrap();
            let said = list.last().unwrap()["message"].as_str().unwrap();
            assert_eq!(said, format!("{} further findings are not shown", 5000 - (list.len() - 1)));
            assert!(list.len() > 2);
        }
    }
}
