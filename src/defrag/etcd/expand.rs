//! Environment variables and `$(VAR)`, as Kubernetes expands them.
//!
//! An expanded value may contain two marks: [`POD`] for the name of the pod, and [`UNKNOWN`] for a part that is not
//! known.

use std::collections::BTreeMap;

use super::{
    home::Home,
    marks::{ADDRESS, POD, UNKNOWN, VALUE, clean},
    setting::Setting,
};
use crate::defrag::statefulset::{Container, EnvSource};

/// The most characters that all expansions of one container may add up to. Ten variables that each name the one before
/// ten times would otherwise take gigabytes.
const BUDGET: usize = 1 << 16;

/// What the variables of etcd begin with.
pub(super) const OF_ETCD: &str = "ETCD_";

/// Variables that a shell, the image or Kubernetes sets unless something else does.
const OF_SYSTEM: [&str; 19] = [
    "HOME", "PATH", "PWD", "OLDPWD", "USER", "LOGNAME", "SHELL", "TERM", "IFS", "UID", "EUID", "PPID", "RANDOM",
    "SECONDS", "LINENO", "OPTARG", "OPTIND", "REPLY", "LANG",
];
/// How the variables end that Kubernetes makes of Services.
const OF_SERVICES: [&str; 4] = ["_SERVICE_HOST", "_SERVICE_PORT", "_PORT", "_ADDR"];

/// How many characters that cannot be seen make a value unknown, whatever follows them.
const ENOUGH: usize = 8;

/// Whether programs are given a variable.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Exported {
    No,
    Yes,
    Maybe,
}

impl Exported {
    /// Where one of two reasons is enough.
    pub(super) const fn or(self, other: Self) -> Self {
        match (self, other) {
            (Self::Yes, _) | (_, Self::Yes) => Self::Yes,
            (Self::No, Self::No) => Self::No,
            _ => Self::Maybe,
        }
    }
}

/// A variable as a shell knows it.
#[derive(Clone, Debug)]
pub(super) struct Variable {
    /// Its value; `None` where it is known to have none.
    pub(super) setting: Option<Setting>,
    pub(super) exported: Exported,
    /// Its possible values, if all are visible; none where only the value counts.
    pub(super) one_of: Vec<String>,
}

impl Variable {
    /// What programs are given of it.
    fn given(&self) -> Option<Setting> {
        let setting = self.setting.as_ref()?;
        match self.exported {
            Exported::No => None,
            Exported::Yes => Some(setting.clone()),
            Exported::Maybe => Some(Setting { value: UNKNOWN.to_string(), ..setting.clone() }),
        }
    }
}

/// What is in a variable.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Content {
    Unset,
    Empty,
    Text,
    Unknown,
}

/// The environment of a container, and the variables of a shell in it.
#[derive(Clone, Debug)]
pub(super) struct Environment {
    vars: BTreeMap<String, Variable>,
    /// The variables that hold the name or the address of the pod: nothing that is not read sets these to another value.
    of_pod: BTreeMap<String, Setting>,
    /// What the pod calls itself.
    pub(super) hostname: String,
    /// Whether further variables come from where they cannot be read.
    open: bool,
    budget: usize,
}

/// What was known before something that may have changed everything.
#[derive(Debug)]
pub(super) struct Known {
    vars: BTreeMap<String, Variable>,
    open: bool,
}

impl Environment {
    pub(super) fn of(container: &Container, field: &str, home: &Home<'_>) -> Self {
        let (vars, of_pod) = (BTreeMap::new(), BTreeMap::new());
        let hostname = home.hostname.clone();
        let mut environment = Self { vars, of_pod, hostname, open: !container.env_from.is_empty(), budget: BUDGET };
        for (index, var) in container.env.iter().enumerate() {
            let value = match (&var.value, &var.value_from) {
                (Some(value), _) if !value.is_empty() => environment.expand(value),
                (_, Some(source)) => from_elsewhere(source, home.namespace),
                _ => String::new(),
            };
            let field = format!("{field}.env[{index}].value");
            let setting = Setting { value, field, origin: clean(&var.name), by_script: false };
            if var.value_from.is_some() && [POD, ADDRESS].iter().any(|mark| setting.value.chars().eq([*mark])) {
                environment.of_pod.insert(var.name.clone(), setting.clone());
            }
            environment.give(&var.name, setting);
        }
        environment
    }

    /// The value of a variable, where it has one.
    pub(super) fn get(&self, name: &str) -> Option<&Setting> {
        self.vars.get(name).map_or_else(|| self.of_pod.get(name), |variable| variable.setting.as_ref())
    }

    /// All variables that have a value, by name.
    pub(super) fn all(&self) -> impl Iterator<Item = (&str, &Setting)> {
        self.vars.iter().filter_map(|(name, variable)| Some((name.as_str(), variable.setting.as_ref()?)))
    }

    /// Those with this prefix that programs are given.
    pub(super) fn given_with(&self, prefix: &str) -> BTreeMap<String, Setting> {
        let from = self.vars.range(prefix.to_owned()..).take_while(|(name, _)| name.starts_with(prefix));
        from.filter_map(|(name, variable)| Some((name.clone(), variable.given()?))).collect()
    }

    /// What programs are given of a variable.
    pub(super) fn given(&self, name: &str) -> Option<Setting> {
        self.vars.get(name)?.given()
    }

    /// The variables that have a value which programs are not given, or may not be.
    pub(super) fn kept(&self) -> Vec<String> {
        let kept =
            self.vars.iter().filter(|(_, variable)| variable.setting.is_some() && variable.exported != Exported::Yes);
        kept.map(|(name, _)| name.clone()).collect()
    }

    pub(super) fn variable(&self, name: &str) -> Option<&Variable> {
        self.vars.get(name)
    }

    /// Puts a variable in the place of another one, which is returned; nothing in the place of one that is not known.
    pub(super) fn replace(&mut self, name: &str, variable: Option<Variable>) -> Option<Variable> {
        match variable {
            Some(variable) => self.vars.insert(name.to_owned(), variable),
            None => self.vars.remove(name),
        }
    }

    /// Gives programs a variable.
    pub(super) fn give(&mut self, name: &str, setting: Setting) {
        self.vars
            .insert(name.to_owned(), Variable { setting: Some(setting), exported: Exported::Yes, one_of: Vec::new() });
    }

    /// Takes a variable away from programs.
    pub(super) fn take(&mut self, name: &str) {
        self.vars.insert(name.to_owned(), Variable { setting: None, exported: Exported::No, one_of: Vec::new() });
    }

    /// Takes all variables away.
    pub(super) fn clear(&mut self) {
        self.vars.clear();
        self.of_pod.clear();
        self.open = false;
    }

    /// Whether variables that are not visible may be set.
    pub(super) const fn is_open(&self) -> bool {
        self.open
    }

    /// Forgets all values, since any of them may have changed.
    pub(super) fn forget(&mut self) -> Known {
        Known { vars: std::mem::take(&mut self.vars), open: std::mem::replace(&mut self.open, true) }
    }

    /// Takes that back.
    pub(super) fn recover(&mut self, known: Known) {
        self.vars = known.vars;
        self.open = known.open;
    }

    /// Whether so many characters more may be put into words.
    pub(super) const fn spend(&mut self, characters: usize) -> bool {
        match self.budget.checked_sub(characters) {
            Some(left) => {
                self.budget = left;
                true
            }
            None => false,
        }
    }

    /// The value of a shell variable. The container runtime sets `HOSTNAME` to the name of the pod unless something
    /// else does.
    pub(super) fn shell(&mut self, name: &str) -> String {
        let Some(length) = self.get(name).map(|setting| setting.value.len()) else {
            return match self.content(name) {
                Content::Text => self.hostname.clone(),
                Content::Unknown => UNKNOWN.to_string(),
                Content::Unset | Content::Empty => String::new(),
            };
        };
        if self.spend(length) {
            self.get(name).map(|setting| setting.value.clone()).unwrap_or_default()
        } else {
            UNKNOWN.to_string()
        }
    }

    /// What is in a shell variable.
    pub(super) fn content(&self, name: &str) -> Content {
        match (self.get(name), self.vars.contains_key(name)) {
            (Some(setting), _) if setting.value.is_empty() => Content::Empty,
            (Some(setting), _) if setting.value.chars().take(ENOUGH).all(|c| matches!(c, UNKNOWN | VALUE | ' ')) => {
                Content::Unknown
            }
            (Some(_), _) => Content::Text,
            (None, false) if name == "HOSTNAME" => Content::Text,
            (None, false) if self.open || is_of_system(name) => Content::Unknown,
            (None, _) => Content::Unset,
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
        match self.vars.get(name).and_then(|variable| variable.setting.as_ref()) {
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

/// The placeholder for a value that is not in the pod template. No address, number, label or name begins with a dash,
/// so none of them is a flag; an annotation or the content of a Secret may be.
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

fn is_of_system(name: &str) -> bool {
    OF_SYSTEM.contains(&name) || OF_SERVICES.iter().any(|end| name.ends_with(end))
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
        Environment::of(&Container { env, ..Container::default() }, "c", &Home::plain("ns"))
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
        let mut env = Environment::of(&container, "c", &Home::plain("ns"));
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
