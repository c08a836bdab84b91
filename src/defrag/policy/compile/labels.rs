//! Labels and what selects by them, as far as Kubernetes refuses them.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{LabelSelector, LabelSelectorRequirement};

use crate::defrag::{
    finding::quoted,
    form::{is_label_key, is_label_value},
};

/// What Kubernetes refuses in a value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Problem {
    /// Where in the value, such as `operator`; empty for the value itself.
    pub(super) at: String,
    /// What is wrong, as a sentence without its end.
    pub(super) what: String,
    /// What to write instead, as the end of that sentence.
    pub(super) write: String,
}

impl Problem {
    pub(super) fn new(at: impl Into<String>, what: impl Into<String>, write: impl Into<String>) -> Self {
        Self { at: at.into(), what: what.into(), write: write.into() }
    }

    /// The same of a value that is a part of another one.
    pub(super) fn within(mut self, outer: &str) -> Self {
        let between = if self.at.is_empty() || self.at.starts_with('[') { "" } else { "." };
        self.at = format!("{outer}{between}{}", self.at);
        self
    }
}

/// A key that no label has.
pub(super) fn key(at: &str, text: &str) -> Option<Problem> {
    (!is_label_key(text)).then(|| {
        Problem::new(
            at,
            format!("{} is not a key of a label", quoted(text)),
            "write at most 63 letters, digits, \"-\", \"_\" and \".\", with a letter or a digit at both ends; a prefix is a \
             DNS name with \"/\" behind it",
        )
    })
}

/// A value that no label has.
pub(super) fn value(at: &str, text: &str) -> Option<Problem> {
    (!is_label_value(text)).then(|| {
        Problem::new(
            at,
            format!("{} is not a value of a label", quoted(text)),
            "write at most 63 letters, digits, \"-\", \"_\" and \".\", with a letter or a digit at both ends",
        )
    })
}

/// What is wrong with a selector.
pub(super) fn selector(selector: &LabelSelector) -> Vec<Problem> {
    operators(selector).into_iter().chain(impossible(selector)).collect()
}

/// The requirements of a selector that cannot be read.
pub(super) fn operators(selector: &LabelSelector) -> Vec<Problem> {
    let requirements = selector.match_expressions.iter().flatten().enumerate();
    let problem = |(index, requirement): (usize, &LabelSelectorRequirement)| {
        let none = requirement.values.as_ref().is_none_or(Vec::is_empty);
        let (what, write) = match (requirement.operator.as_str(), none) {
            ("In" | "NotIn", true) => ("has no values to compare with", "add some"),
            ("Exists" | "DoesNotExist", false) => ("takes no values", "remove them"),
            ("In" | "NotIn", false) | ("Exists" | "DoesNotExist", true) => return None,
            _ => ("is not an operator", "write In, NotIn, Exists or DoesNotExist"),
        };
        let what = format!("{} {what}", quoted(&requirement.operator));
        Some(Problem::new(format!("matchExpressions[{index}]"), what, write))
    };
    requirements.filter_map(problem).collect()
}

/// The keys and values of a selector that no label has.
pub(super) fn impossible(selector: &LabelSelector) -> Vec<Problem> {
    let mut problems = Vec::new();
    for (name, text) in selector.match_labels.iter().flatten() {
        let at = format!("matchLabels[{name}]");
        problems.extend(key(&at, name));
        problems.extend(value(&at, text));
    }
    for (index, requirement) in selector.match_expressions.iter().flatten().enumerate() {
        let at = format!("matchExpressions[{index}]");
        problems.extend(key(&format!("{at}.key"), &requirement.key));
        let values = requirement.values.iter().flatten().enumerate();
        problems.extend(values.filter_map(|(n, text)| value(&format!("{at}.values[{n}]"), text)));
    }
    problems
}

/// What is wrong with keys whose values are those of the pod itself; they go with a selector.
pub(super) fn keys_beside(at: &str, keys: Option<&[String]>, selector: Option<&LabelSelector>) -> Vec<Problem> {
    let keys = keys.unwrap_or_default();
    if !keys.is_empty() && selector.is_none() {
        let what = format!("{at} needs a labelSelector, and there is none");
        return vec![Problem::new(at, what, format!("add the labelSelector, or remove {at}"))];
    }
    keys.iter().enumerate().filter_map(|(index, text)| key(&format!("{at}[{index}]"), text)).collect()
}
