//! The variables of a shell that the script starts with a script of its own.

use std::collections::BTreeMap;

use super::{
    super::{later::Later, lex::GIVEN},
    Array, Variables,
};
use crate::defrag::etcd::expand::{Exported, Variable};

/// What the shell around it has apart from it.
pub(in super::super) struct Outer {
    scopes: usize,
    later: Later,
    now: usize,
    zero: String,
}

impl Variables<'_> {
    /// Whether a shell that is started here may read a file first.
    pub(in super::super) fn reads_file(&self) -> bool {
        self.environment.get("BASH_ENV").is_some_and(|setting| !setting.value.is_empty())
    }

    /// Begins a shell that is called and given these words: it has what programs are given, and what is `set` for it.
    pub(in super::super) fn enter(
        &mut self,
        later: Later,
        given: &[String],
        set: &BTreeMap<String, Option<String>>,
        exports_all: bool,
    ) -> Outer {
        let scopes = self.scopes.len();
        self.open();
        self.exports_all = if exports_all { Exported::Yes } else { Exported::No };
        for name in self.environment.kept() {
            let variable = self.environment.variable(&name).map(|variable| Variable {
                setting: self.environment.given(&name),
                exported: variable.exported,
                one_of: Vec::new(),
            });
            self.put(&name, variable);
        }
        let arrays: Vec<String> = self.arrays.keys().cloned().collect();
        for name in arrays {
            self.put_array(&name, None);
        }
        for (name, value) in set {
            let setting = value.as_ref().map(|value| self.setting(name, value.clone()));
            let exported = if setting.is_some() { Exported::Yes } else { Exported::No };
            self.put(name, Some(Variable { setting, exported, one_of: Vec::new() }));
        }
        let (zero, given) = given.split_first().map(|(zero, given)| (zero.clone(), given)).unwrap_or_default();
        self.put_array(GIVEN, Some(Array::of(given.to_vec())));
        Outer {
            scopes,
            later: std::mem::replace(&mut self.later, later),
            now: self.now,
            zero: std::mem::replace(&mut self.zero, zero),
        }
    }

    /// Ends it.
    pub(in super::super) fn leave(&mut self, outer: Outer) {
        while self.scopes.len() > outer.scopes {
            self.close();
        }
        (self.later, self.now, self.zero) = (outer.later, outer.now, outer.zero);
        (self.repeated, self.functions) = (0, 0);
    }
}
