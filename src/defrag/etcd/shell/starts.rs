//! What etcd finds in its environment, wherever a script starts it.

use std::collections::{BTreeMap, btree_map::Entry};

use super::variables::Variables;
use crate::defrag::etcd::{expand::OF_ETCD, marks::UNKNOWN, setting::Setting};

/// What one start of etcd is given besides the variables of the shell.
#[derive(Debug, Default)]
pub(super) struct Overlay {
    /// Whether it is given nothing of the shell.
    pub(super) clears: bool,
    /// The variables that it is given, and those that are taken away.
    pub(super) set: BTreeMap<String, Option<String>>,
}

impl Overlay {
    pub(super) fn clear(&mut self) {
        self.clears = true;
        self.set.clear();
    }

    pub(super) fn set(&mut self, name: &str, value: Option<&str>) {
        self.set.insert(name.to_owned(), value.map(str::to_owned));
    }

    /// What it gives etcdctl, as flags.
    pub(super) fn for_etcdctl(&self) -> Vec<String> {
        self.set.iter().filter_map(|(name, value)| flag_of_etcdctl(name, value.as_deref()?)).collect()
    }
}

/// The flag of etcdctl that a variable stands for.
pub(super) fn flag_of_etcdctl(name: &str, value: &str) -> Option<String> {
    let flag = name.strip_prefix("ETCDCTL_").filter(|flag| !flag.is_empty() && *flag != "API")?;
    Some(format!("--{}={value}", flag.to_ascii_lowercase().replace('_', "-")))
}

/// The starts of etcd in a script.
#[derive(Debug, Default)]
pub(super) struct Starts {
    count: usize,
    /// What the shell gives at its first start; where it gives another one something else, that is unknown.
    given: Option<BTreeMap<String, Setting>>,
    kept: usize,
    /// What overlays give, with how many starts have it so.
    overlaid: BTreeMap<String, (Option<Setting>, usize)>,
    blurred: bool,
}

impl Starts {
    /// Takes in one more.
    pub(super) fn add(&mut self, variables: &mut Variables<'_>, overlay: Overlay) {
        self.count += 1;
        if !overlay.clears {
            self.kept += 1;
            self.keep(variables);
        }
        for (name, value) in overlay.set.into_iter().filter(|(name, _)| name.starts_with(OF_ETCD)) {
            let setting = value.map(|value| variables.setting(&name, value));
            match self.overlaid.entry(name) {
                Entry::Vacant(entry) => {
                    entry.insert((setting, 1));
                }
                Entry::Occupied(mut entry) => {
                    let (known, having) = entry.get_mut();
                    if value_of(known.as_ref()) == value_of(setting.as_ref()) {
                        *having += 1;
                    }
                }
            }
        }
    }

    fn keep(&mut self, variables: &mut Variables<'_>) {
        let (changed, everything) = variables.take_changes();
        let Some(given) = &mut self.given else {
            self.given = Some(variables.given());
            return;
        };
        if everything && !self.blurred {
            self.blurred = true;
            given.extend(variables.given());
            for setting in given.values_mut() {
                setting.value = UNKNOWN.to_string();
            }
        }
        for name in changed {
            let now = variables.given_one(&name);
            if value_of(now.as_ref()) != value_of(given.get(&name)) {
                let setting = variables.setting(&name, UNKNOWN.to_string());
                given.insert(name, setting);
            }
        }
    }

    /// What etcd finds, however it is started; the variables of the shell at its end, where it is not.
    pub(super) fn settle(self, variables: &Variables<'_>) -> BTreeMap<String, Setting> {
        if self.count == 0 {
            return variables.given();
        }
        let mut given = self.given.unwrap_or_default();
        if self.kept < self.count {
            for setting in given.values_mut() {
                setting.value = UNKNOWN.to_string();
            }
        }
        for (name, (setting, having)) in self.overlaid {
            let unknown = || variables.setting(&name, UNKNOWN.to_string());
            match if having == self.count { setting } else { Some(unknown()) } {
                Some(setting) => given.insert(name, setting),
                None => given.remove(&name),
            };
        }
        given
    }
}

fn value_of(setting: Option<&Setting>) -> Option<&str> {
    setting.map(|setting| setting.value.as_str())
}
