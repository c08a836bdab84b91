//! The pod of the runs: names, labels and where it may run. Only the parts that Kubernetes refuses are ignored.

use k8s_openapi::api::core::v1::{LocalObjectReference, Toleration, TopologySpreadConstraint};

use super::{
    super::api,
    labels::{self, Problem},
    read::Reader,
};
use crate::defrag::{
    dns::is_object_name,
    finding::{Code, Finding, Severity, quoted},
    form::{is_annotation_key, is_image},
};

/// What follows from a value that Kubernetes refuses.
const REFUSED: &str = "Kubernetes would refuse every CronJob of this policy.";
/// What follows from a value that it takes and no kubelet can use.
const UNUSABLE: &str = "No pod of a run would start.";

impl Reader {
    /// Leaves out of the Job what Kubernetes refuses.
    pub(super) fn pod(&mut self, shape: &mut api::Job) {
        self.image(&mut shape.image);
        self.name("serviceAccountName", "ServiceAccount", &mut shape.service_account_name);
        self.name("priorityClassName", "PriorityClass", &mut shape.priority_class_name);
        self.name("runtimeClassName", "RuntimeClass", &mut shape.runtime_class_name);
        let secret = |secret: &LocalObjectReference| {
            let problem = name_problem("Secret", &secret.name).map(|problem| problem.within("name"));
            problem.into_iter().collect()
        };
        self.keep("imagePullSecrets", "the Secret", UNUSABLE, &mut shape.image_pull_secrets, secret);
        let label = |at: &str, text: &str| labels::key("", at).into_iter().chain(labels::value("", text)).collect();
        self.keep_entries("nodeSelector", &mut shape.node_selector, label);
        self.keep_entries("podLabels", &mut shape.pod_labels, label);
        self.keep_entries("podAnnotations", &mut shape.pod_annotations, |key, _| annotation(key));
        self.keep("tolerations", "the toleration", REFUSED, &mut shape.tolerations, toleration);
        for (index, toleration) in shape.tolerations.iter().enumerate() {
            self.findings.extend(compares(index, toleration));
        }
        self.keep(
            "topologySpreadConstraints",
            "the constraint",
            REFUSED,
            &mut shape.topology_spread_constraints,
            spread,
        );
        self.repeated(&mut shape.topology_spread_constraints);
        if let Some(affinity) = &mut shape.affinity {
            self.affinity(affinity);
        }
    }

    fn image(&mut self, written: &mut Option<String>) {
        const EXAMPLE: &str = "ghcr.io/ahrtr/etcd-defrag:v0.42.0";
        let Some(image) = written.take_if(|image| !is_image(image)) else { return };
        let meant = [image.trim().to_owned(), image.trim().to_lowercase()].into_iter().find(|text| is_image(text));
        let write = meant.as_deref().unwrap_or(EXAMPLE);
        let what = format!("{} is not a reference to an image", quoted(&image));
        let why = format!(
            "{what}: a path in lower case, with a registry in front and a tag or a whole digest behind, and no blanks. Write for \
             example {}. {UNUSABLE} Until that is fixed, the image of the installation is run.",
            quoted(write)
        );
        let brief = format!("{what}; write {}", quoted(write));
        self.refuse(Code::ValueInvalid, "spec.job.image", brief, why);
    }

    fn name(&mut self, field: &str, kind: &str, written: &mut Option<String>) {
        let Some(problem) = written.as_deref().and_then(|name| name_problem(kind, name)) else { return };
        self.left_out(format!("spec.job.{field}"), &problem, REFUSED, "it is ignored");
        *written = None;
    }

    /// Keeps the items of a list that nothing is wrong with. `follows` is what would follow from the others.
    pub(super) fn keep<T>(
        &mut self,
        list: &str,
        noun: &str,
        follows: &str,
        items: &mut Vec<T>,
        problems: impl Fn(&T) -> Vec<Problem>,
    ) {
        let mut index = 0;
        items.retain(|item| {
            let found = problems(item);
            for problem in found.iter().cloned().map(|problem| problem.within(&format!("spec.job.{list}[{index}]"))) {
                self.left_out(problem.at.clone(), &problem, follows, &format!("{noun} is ignored"));
            }
            index += 1;
            found.is_empty()
        });
    }

    /// The same for a map of texts.
    fn keep_entries(
        &mut self,
        map: &str,
        entries: &mut std::collections::BTreeMap<String, String>,
        problems: impl Fn(&str, &str) -> Vec<Problem>,
    ) {
        entries.retain(|key, value| {
            let found = problems(key, value);
            for problem in &found {
                self.left_out(format!("spec.job.{map}[{key}]"), problem, REFUSED, "it is ignored");
            }
            found.is_empty()
        });
    }

    pub(super) fn left_out(&mut self, field: String, problem: &Problem, follows: &str, instead: &str) {
        let Problem { what, write, .. } = problem;
        let message = sentence(&format!("{what}: {write}. {follows} Until that is fixed, {instead}."));
        self.refuse(Code::ValueInvalid, field, format!("{what}; {write}"), message);
    }

    /// Constraints of the same kind: the first one is kept.
    fn repeated(&mut self, constraints: &mut Vec<TopologySpreadConstraint>) {
        let mut seen = Vec::new();
        constraints.retain(|constraint| {
            let kind = (constraint.topology_key.clone(), constraint.when_unsatisfiable.clone());
            let again = seen.contains(&kind);
            if again {
                let what = format!(
                    "a second constraint has topologyKey {} and whenUnsatisfiable {}",
                    quoted(&kind.0),
                    quoted(&kind.1)
                );
                let problem = Problem::new("", what, "write one of them");
                let field = "spec.job.topologySpreadConstraints".to_owned();
                self.left_out(field, &problem, REFUSED, "the second one is ignored");
            }
            seen.push(kind);
            !again
        });
    }
}

/// With a capital, unless it begins with the name of a field.
fn sentence(text: &str) -> String {
    let word = text.split(' ').next().unwrap_or_default();
    match text.chars().next().filter(|_| word.chars().all(|c| c.is_ascii_lowercase())) {
        Some(first) => format!("{}{}", first.to_ascii_uppercase(), text.get(1..).unwrap_or_default()),
        None => text.to_owned(),
    }
}

/// A name that no object of this kind has.
fn name_problem(kind: &str, name: &str) -> Option<Problem> {
    (!is_object_name(name)).then(|| {
        Problem::new(
            "",
            format!("{} is not a name of a {kind}", quoted(name)),
            "write at most 253 lower-case letters, digits, \"-\" and \".\", with a letter or a digit at both ends",
        )
    })
}

fn annotation(key: &str) -> Vec<Problem> {
    if is_annotation_key(key) {
        return Vec::new();
    }
    let what = format!("{} is not a key of an annotation", quoted(key));
    let write = "write at most 63 letters, digits, \"-\", \"_\" and \".\", with a letter or a digit at both ends; a prefix is a DNS name with \"/\" behind it";
    vec![Problem::new("", what, write)]
}

fn toleration(toleration: &Toleration) -> Vec<Problem> {
    let text = |field: &Option<String>| field.clone().unwrap_or_default();
    let (key, operator) = (text(&toleration.key), text(&toleration.operator));
    let (value, effect) = (text(&toleration.value), text(&toleration.effect));
    let mut problems = Vec::new();
    if !key.is_empty() {
        problems.extend(labels::key("key", &key));
    } else if operator != "Exists" {
        problems.push(Problem::new(
            "operator",
            "a toleration without a key tolerates every taint, and needs operator Exists",
            "write operator: Exists, or add the key of a taint",
        ));
    }
    match operator.as_str() {
        "" | "Equal" => problems.extend(labels::value("value", &value)),
        "Exists" if value.is_empty() => {}
        "Exists" => problems.push(Problem::new(
            "value",
            format!("operator Exists takes no value, and there is {}", quoted(&value)),
            "remove the value, or write operator: Equal",
        )),
        "Lt" | "Gt" if value.parse::<i64>().is_ok() => {}
        "Lt" | "Gt" => problems.push(Problem::new(
            "value",
            format!("{} is not a whole number, which {operator} compares with", quoted(&value)),
            "write a number, or operator: Equal",
        )),
        other => problems.push(Problem::new(
            "operator",
            format!("{} is not an operator of a toleration", quoted(other)),
            "write Exists or Equal",
        )),
    }
    if !matches!(effect.as_str(), "" | "NoSchedule" | "PreferNoSchedule" | "NoExecute") {
        problems.push(Problem::new(
            "effect",
            format!("{} is not an effect of a taint", quoted(&effect)),
            "write NoSchedule, PreferNoSchedule or NoExecute, or nothing for all of them",
        ));
    } else if toleration.toleration_seconds.is_some() && effect != "NoExecute" {
        problems.push(Problem::new(
            "effect",
            "tolerationSeconds needs effect NoExecute",
            "remove tolerationSeconds, or write effect: NoExecute",
        ));
    }
    problems
}

/// That a toleration compares numbers, which not every cluster knows.
fn compares(index: usize, toleration: &Toleration) -> Option<Finding> {
    let operator = toleration.operator.as_deref().filter(|operator| matches!(*operator, "Lt" | "Gt"))?;
    let finding = Finding::new(
        Code::ValueInvalid,
        format!("spec.job.tolerations[{index}].operator"),
        format!("{operator} needs the feature gate TaintTolerationComparisonOperators"),
        format!(
            "The operator {operator} compares numbers, which Kubernetes takes only with the feature gate \
             TaintTolerationComparisonOperators. Where that is off, it refuses every CronJob of this policy: make sure that it is on, or \
             write operator: Exists."
        ),
    );
    Some(finding.with_severity(Severity::Warn))
}

fn spread(constraint: &TopologySpreadConstraint) -> Vec<Problem> {
    let mut problems = Vec::new();
    let at_least_1 =
        |at: &str, number: i32| (number < 1).then(|| Problem::new(at, format!("{at} is {number}"), "write at least 1"));
    problems.extend(at_least_1("maxSkew", constraint.max_skew));
    problems.extend(constraint.min_domains.and_then(|number| at_least_1("minDomains", number)));
    if constraint.topology_key.is_empty() {
        problems.push(Problem::new(
            "topologyKey",
            "topologyKey is empty",
            "write the label of nodes, such as topology.kubernetes.io/zone",
        ));
    }
    let otherwise = constraint.when_unsatisfiable.as_str();
    if !matches!(otherwise, "DoNotSchedule" | "ScheduleAnyway") {
        let what = format!("{} is not a whenUnsatisfiable", quoted(otherwise));
        problems.push(Problem::new("whenUnsatisfiable", what, "write DoNotSchedule or ScheduleAnyway"));
    } else if constraint.min_domains.is_some() && otherwise != "DoNotSchedule" {
        let write = "remove minDomains, or write whenUnsatisfiable: DoNotSchedule";
        problems.push(Problem::new("minDomains", "minDomains needs whenUnsatisfiable DoNotSchedule", write));
    }
    let policies = [
        ("nodeAffinityPolicy", &constraint.node_affinity_policy),
        ("nodeTaintsPolicy", &constraint.node_taints_policy),
    ];
    for (at, policy) in policies {
        if let Some(policy) = policy.as_deref().filter(|policy| !matches!(*policy, "Honor" | "Ignore")) {
            problems.push(Problem::new(
                at,
                format!("{} is not a value of {at}", quoted(policy)),
                "write Honor or Ignore",
            ));
        }
    }
    let selector = constraint.label_selector.as_ref();
    problems.extend(selector.into_iter().flat_map(labels::selector).map(|problem| problem.within("labelSelector")));
    problems.extend(labels::keys_beside("matchLabelKeys", constraint.match_label_keys.as_deref(), selector));
    problems
}
