//! The affinity of the pod of a run, as far as Kubernetes accepts it. A term that it refuses is ignored.

use k8s_openapi::api::core::v1::{
    Affinity, NodeSelectorRequirement, NodeSelectorTerm, PodAffinityTerm, PreferredSchedulingTerm,
    WeightedPodAffinityTerm,
};

use super::{
    labels::{self, Problem},
    read::Reader,
};
use crate::defrag::{
    dns::{is_label, is_object_name},
    finding::quoted,
};

const REQUIRED: &str = "requiredDuringSchedulingIgnoredDuringExecution";
const PREFERRED: &str = "preferredDuringSchedulingIgnoredDuringExecution";
const REFUSED: &str = "Kubernetes would refuse every CronJob of this policy.";

impl Reader {
    pub(super) fn affinity(&mut self, affinity: &mut Affinity) {
        if let Some(nodes) = &mut affinity.node_affinity {
            if let Some(required) = &mut nodes.required_during_scheduling_ignored_during_execution {
                let list = format!("affinity.nodeAffinity.{REQUIRED}.nodeSelectorTerms");
                if required.node_selector_terms.is_empty() {
                    let problem = Problem::new("", "nodeSelectorTerms has no term", "add one, or remove it");
                    self.left_out(format!("spec.job.{list}"), &problem, REFUSED, "it is ignored");
                }
                let terms = &mut required.node_selector_terms;
                self.keep(&list, "the term", REFUSED, terms, |term| node_term(term, false));
            }
            let required = &mut nodes.required_during_scheduling_ignored_during_execution;
            required.take_if(|required| required.node_selector_terms.is_empty());
            let list = format!("affinity.nodeAffinity.{PREFERRED}");
            if let Some(terms) = &mut nodes.preferred_during_scheduling_ignored_during_execution {
                self.keep(&list, "the term", REFUSED, terms, preferred_node);
            }
        }
        let near = affinity.pod_affinity.as_mut().map(|near| {
            let required = near.required_during_scheduling_ignored_during_execution.as_mut();
            ("podAffinity", required, near.preferred_during_scheduling_ignored_during_execution.as_mut())
        });
        let apart = affinity.pod_anti_affinity.as_mut().map(|apart| {
            let required = apart.required_during_scheduling_ignored_during_execution.as_mut();
            ("podAntiAffinity", required, apart.preferred_during_scheduling_ignored_during_execution.as_mut())
        });
        for (part, required, preferred) in near.into_iter().chain(apart) {
            if let Some(terms) = required {
                self.keep(&format!("affinity.{part}.{REQUIRED}"), "the term", REFUSED, terms, pod_term);
            }
            if let Some(terms) = preferred {
                self.keep(&format!("affinity.{part}.{PREFERRED}"), "the term", REFUSED, terms, weighted_pod);
            }
        }
    }
}

fn weight(weight: i32) -> Option<Problem> {
    (!(1..=100).contains(&weight)).then(|| Problem::new("weight", format!("the weight is {weight}"), "write 1 to 100"))
}

fn preferred_node(term: &PreferredSchedulingTerm) -> Vec<Problem> {
    let preference = node_term(&term.preference, true);
    weight(term.weight).into_iter().chain(preference.into_iter().map(|problem| problem.within("preference"))).collect()
}

fn weighted_pod(term: &WeightedPodAffinityTerm) -> Vec<Problem> {
    let of_term = pod_term(&term.pod_affinity_term);
    weight(term.weight)
        .into_iter()
        .chain(of_term.into_iter().map(|problem| problem.within("podAffinityTerm")))
        .collect()
}

/// Of nodes that are only preferred, any value goes.
fn node_term(term: &NodeSelectorTerm, any_value: bool) -> Vec<Problem> {
    let mut problems = Vec::new();
    for (index, requirement) in term.match_expressions.iter().flatten().enumerate() {
        let at = format!("matchExpressions[{index}]");
        let found = node_requirement(requirement, any_value);
        problems.extend(found.into_iter().map(|problem| problem.within(&at)));
    }
    for (index, requirement) in term.match_fields.iter().flatten().enumerate() {
        let at = format!("matchFields[{index}]");
        problems.extend(node_field(requirement).into_iter().map(|problem| problem.within(&at)));
    }
    problems
}

fn node_requirement(requirement: &NodeSelectorRequirement, any_value: bool) -> Vec<Problem> {
    let (operator, values) = (quoted(&requirement.operator), requirement.values.as_deref().unwrap_or_default());
    let problem = |at: &str, what: String, write: &str| Some(Problem::new(at, what, write));
    let unfit = match requirement.operator.as_str() {
        "In" | "NotIn" if values.is_empty() => {
            problem("values", format!("{operator} has no values to compare with"), "add some")
        }
        "Exists" | "DoesNotExist" if !values.is_empty() => {
            problem("values", format!("{operator} takes no values"), "remove them")
        }
        "Gt" | "Lt" if values.len() != 1 => problem(
            "values",
            format!("{operator} compares with one value, and there are {}", values.len()),
            "write one number",
        ),
        "In" | "NotIn" | "Exists" | "DoesNotExist" | "Gt" | "Lt" => None,
        _ => problem(
            "operator",
            format!("{operator} is not an operator"),
            "write In, NotIn, Exists, DoesNotExist, Gt or Lt",
        ),
    };
    let impossible = |(index, text): (usize, &String)| labels::value(&format!("values[{index}]"), text);
    let values = values.iter().enumerate().filter(|_| !any_value).filter_map(impossible);
    unfit.into_iter().chain(labels::key("key", &requirement.key)).chain(values).collect()
}

/// Fields of a node: its name only.
fn node_field(requirement: &NodeSelectorRequirement) -> Vec<Problem> {
    let values = requirement.values.as_deref().unwrap_or_default();
    let mut problems = Vec::new();
    if !matches!(requirement.operator.as_str(), "In" | "NotIn") {
        let what = format!("{} is not an operator of a field", quoted(&requirement.operator));
        problems.push(Problem::new("operator", what, "write In or NotIn"));
    } else if values.len() != 1 {
        let what = format!("a field is compared with one value, and there are {}", values.len());
        problems.push(Problem::new("values", what, "write one"));
    }
    if requirement.key != "metadata.name" {
        let what = format!("{} is not a field to select nodes by", quoted(&requirement.key));
        problems.push(Problem::new("key", what, "write metadata.name"));
    } else if let Some(name) = values.iter().find(|name| !is_object_name(name)) {
        problems.push(Problem::new("values", format!("{} is not a name of a node", quoted(name)), "write one"));
    }
    problems
}

fn pod_term(term: &PodAffinityTerm) -> Vec<Problem> {
    let mut problems = Vec::new();
    let selectors = [("labelSelector", &term.label_selector), ("namespaceSelector", &term.namespace_selector)];
    for (at, selector) in selectors {
        let found = selector.iter().flat_map(labels::selector);
        problems.extend(found.map(|problem| problem.within(at)));
    }
    for (index, name) in term.namespaces.iter().flatten().enumerate().filter(|(_, name)| !is_label(name)) {
        let at = format!("namespaces[{index}]");
        problems.push(Problem::new(at, format!("{} is not a name of a namespace", quoted(name)), "write one"));
    }
    let selector = term.label_selector.as_ref();
    problems.extend(labels::keys_beside("matchLabelKeys", term.match_label_keys.as_deref(), selector));
    problems.extend(labels::keys_beside("mismatchLabelKeys", term.mismatch_label_keys.as_deref(), selector));
    let both = term
        .match_label_keys
        .iter()
        .flatten()
        .find(|key| term.mismatch_label_keys.iter().flatten().any(|one| one == *key));
    if let Some(key) = both {
        let what = format!("{} is in matchLabelKeys and in mismatchLabelKeys", quoted(key));
        problems.push(Problem::new("matchLabelKeys", what, "remove it from one of them"));
    }
    if term.topology_key.is_empty() {
        let write = "write the label of nodes, such as kubernetes.io/hostname";
        problems.push(Problem::new("topologyKey", "topologyKey is empty", write));
    } else {
        problems.extend(labels::key("topologyKey", &term.topology_key));
    }
    problems
}
