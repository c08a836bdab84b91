//! Environment variables and `$(VAR)`, as Kubernetes expands them.
//!
//! An expanded value may hold two marks: [`POD`] where the pod's own name will stand, and [`UNKNOWN`] where something will
//! stand that cannot be seen from here.

use std::collections::BTreeMap;

use super::{
    marks::{ADDRESS, POD, UNKNOWN, VALUE, clean},
    setting::Setting,
};
use crate::defrag::statefulset::{Container, EnvSource};

/// The most characters that all expansions of one container may add up to. Ten variables that each name the one before
/// ten times would otherwise take gigabytes.
const BUDGET: usize = 1 << 16;

/// The environment of a container.
#[derive(Clone, Debug)]
pub(super) struct Environment {
    vars: BTreeMap<String, Setting>,
    /// Whether further variables come from where they cannot be read.
    open: bool,
    budget: usize,
}

impl Environment {
    pub(super) fn of(container: &Container, field: &str, namespace: &str) -> Self {
        let mut environment = Self { vars: BTreeMap::new(), open: !container.env_from.is_empty(), budget: BUDGET };
        for (index, var) in container.env.iter().enumerate() {
            let value = match (&var.value, &var.value_from) {
                (Some(value), _) if !value.is_empty() => environment.expand(value),
                (_, Some(source)) => from_elsewhere(source, namespace),
                _ => String::new(),
            };
            let setting = Setting { value, field: format!("{field}.env[{index}].value"), origin: clean(&var.name) };
            environment.vars.insert(var.name.clone(), setting);
        }
        environment
    }

    pub(super) fn get(&self, name: &str) -> Option<&Setting> {
        self.vars.get(name)
    }

    /// All variables by name.
    pub(super) fn all(&self) -> impl Iterator<Item = (&str, &Setting)> {
        self.vars.iter().map(|(name, setting)| (name.as_str(), setting))
    }

    /// Overlays a variable that a script sets.
    pub(super) fn set(&mut self, name: &str, value: String, field: &str) {
        self.vars.insert(
            name.to_owned(),
            Setting { value, field: field.to_owned(), origin: format!("{name} in the script") },
        );
    }

    /// The value of a shell variable. The container runtime sets `HOSTNAME` to the pod's name where nobody else does.
    pub(super) fn shell(&mut self, name: &str) -> String {
        match (self.vars.get(name), name) {
            (Some(setting), _) => match self.budget.checked_sub(setting.value.len()) {
                Some(left) => {
                    self.budget = left;
                    setting.value.clone()
                }
                None => UNKNOWN.to_string(),
            },
            (None, "HOSTNAME") => POD.to_string(),
            (None, _) if self.open => UNKNOWN.to_string(),
            (None, _) => String::new(),
        }
    }

    /// Expands `$(VAR)`: `$$` is a dollar sign, what is not defined stays as it is written. Variables know only those
    /// before them, so a loop cannot arise.
    pub(super) fn expand(&mut self, text: &str) -> String {
        let mut out = String::new();
        let mut rest = text;
        let mut closing_ahead = true;
        while let Some(at) = rest.find('$') {
            let (before, from_dollar) = rest.split_at(at);
            out.push_str(&clean(before));
            let after = from_dollar.get(1..).unwrap_or_default();
            rest = after;
            if let Some(escaped) = after.strip_prefix('$') {
                out.push('$');
                rest = escaped;
            } else if let Some(reference) = after.strip_prefix('(').filter(|_| closing_ahead) {
                if let Some((name, behind)) = reference.split_once(')') {
                    rest = behind;
                    self.reference(name, &mut out);
                } else {
                    closing_ahead = false;
                    out.push('$');
                }
            } else {
                out.push('$');
            }
            if self.budget == 0 {
                return UNKNOWN.to_string();
            }
        }
        out.push_str(&clean(rest));
        out
    }

    fn reference(&mut self, name: &str, out: &mut String) {
        match self.vars.get(name) {
            Some(setting) if setting.value.len() <= self.budget => {
                self.budget -= setting.value.len();
                out.push_str(&setting.value);
            }
            Some(_) => self.budget = 0,
            None if self.open && is_name(name) => out.push(UNKNOWN),
            None => {
                out.push_str("$(");
                out.push_str(&clean(name));
                out.push(')');
            }
        }
    }
}

/// What stands for a value that the pod template does not hold. No address, number, label or name begins with a dash, so
/// none of them is a flag; an annotation or the content of a Secret may be.
fn from_elsewhere(source: &EnvSource, namespace: &str) -> String {
    let path = source.field_ref.as_ref().map(|field| field.field_path.as_str());
    match path {
        Some("metadata.name") => POD.to_string(),
        Some("metadata.namespace") => clean(namespace),
        Some("status.podIP" | "status.podIPs" | "status.hostIP" | "status.hostIPs") => ADDRESS.to_string(),
        Some("spec.nodeName" | "spec.serviceAccountName" | "metadata.uid") => VALUE.to_string(),
        Some(path) if path.starts_with("metadata.labels[") => VALUE.to_string(),
        None if source.resource_field_ref.is_some() => VALUE.to_string(),
        _ => UNKNOWN.to_string(),
    }
}

/// Whether this can name a variable.
pub(super) fn is_name(name: &str) -> bool {
    name.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_')
        && name.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '.'))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::defrag::statefulset::{EnvFrom, EnvSource, EnvVar, FieldRef};

    fn var(name: &str, value: &str) -> EnvVar {
        EnvVar { name: name.to_owned(), value: Some(value.to_owned()), value_from: None }
    }

    fn field(name: &str, path: &str) -> EnvVar {
        let field_ref = Some(FieldRef { field_path: path.to_owned() });
        EnvVar { name: name.to_owned(), value: None, value_from: Some(EnvSource { field_ref, ..EnvSource::default() }) }
    }

    fn environment(env: Vec<EnvVar>) -> Environment {
        Environment::of(&Container { env, ..Container::default() }, "c", "ns")
    }

    #[test]
    fn references_as_kubernetes_reads_them() {
        let mut env = environment(vec![
            var("A", "x"),
            var("B", "$(A)y"),
            var("LATER", "$(C)"),
            var("C", "z"),
            var("SELF", "$(SELF)"),
            field("POD", "metadata.name"),
            field("NS", "metadata.namespace"),
            field("IP", "status.podIP"),
            field("NODE", "spec.nodeName"),
            field("LABEL", "metadata.labels['zone']"),
            field("NOTE", "metadata.annotations['flags']"),
        ]);
        for (text, expanded) in [
            ("$(A)", "x"),
            ("a$(B)c", "axyc"),
            ("$(LATER)", "$(C)"),
            ("$(SELF)", "$(SELF)"),
            ("$$(A)", "$(A)"),
            ("$$$(A)", "$x"),
            ("$(NOPE)", "$(NOPE)"),
            ("$A ${A} $", "$A ${A} $"),
            ("$(A", "$(A"),
            ("$(cat /x $(A))", "$(cat /x $(A))"),
            ("$(POD).$(NS)", "\u{E000}.ns"),
            ("$(IP)", "\u{E002}"),
            ("$(NODE)$(LABEL)", "\u{E003}\u{E003}"),
            ("$(NOTE)", "\u{E001}"),
            ("\u{E000}", "\u{FFFD}"),
        ] {
            assert_eq!(env.expand(text), expanded, "{text}");
        }
    }

    #[test]
    fn a_variable_from_elsewhere_is_unknown_rather_than_undefined() {
        let container = Container { env_from: vec![EnvFrom::default()], ..Container::default() };
        let mut env = Environment::of(&container, "c", "ns");
        assert_eq!(env.expand("a$(X)b"), "a\u{E001}b");
        assert_eq!(env.expand("$(cat /etc/x)"), "$(cat /etc/x)");
    }

    #[test]
    fn doubling_variables_end_in_the_unknown() {
        let mut vars = vec![var("V0", &"x".repeat(1000))];
        vars.extend((1..200).map(|n| var(&format!("V{n}"), &format!("$(V{p})$(V{p})", p = n - 1))));
        let mut env = environment(vars);
        assert_eq!(env.expand("$(V199)"), UNKNOWN.to_string());
    }

    #[test]
    fn a_million_open_references_take_no_time() {
        let mut env = environment(Vec::new());
        let text = "$(".repeat(1_000_000);
        assert_eq!(env.expand(&text), text);
    }
}
