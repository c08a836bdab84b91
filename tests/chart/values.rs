//! Each value of the chart changes what it is for: the table is in values.yaml beside this.

use std::collections::{BTreeMap, BTreeSet};

use serde::Deserialize;
use serde_json::{Map, Value};

use super::{
    readme::documented,
    support::{render, title},
};

/// A row of the table.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Row {
    /// The name of the value, as the README has it.
    of: String,
    value: Value,
    #[serde(default)]
    beside: Map<String, Value>,
    /// `Kind name`.
    object: String,
    /// A JSON pointer into it.
    at: String,
    is: Value,
}

impl Row {
    /// What these objects have at the place; `null` where there is none.
    fn found(&self, objects: &[Value]) -> Value {
        let object = objects.iter().find(|object| title(object) == self.object);
        object.and_then(|object| object.pointer(&self.at)).cloned().unwrap_or_default()
    }
}

fn rows() -> Vec<Row> {
    serde_saphyr::from_str(include_str!("values.yaml")).unwrap()
}

#[test]
fn each_value_changes_what_it_is_for() {
    let mut rendered: BTreeMap<String, Vec<Value>> = BTreeMap::new();
    let mut wrong = Vec::new();
    for row in rows() {
        let beside = Value::Object(row.beside.clone());
        let mut both = beside.clone();
        json_patch::merge(&mut both, &row.value);
        // A merge patch takes nulls away, which Helm has to see.
        let both = if row.value.to_string().contains("null") { row.value.clone() } else { both };
        let mut of = |values: Value| {
            let objects = rendered.entry(values.to_string()).or_insert_with(|| render(&values.to_string()));
            row.found(objects)
        };
        let (without, with) = (of(beside), of(both));
        if with != row.is || without == with {
            wrong.push(format!("{}: {} {} is {with}, and without the value {without}", row.of, row.object, row.at));
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn no_value_is_without_a_row() {
    let tried: BTreeSet<String> = rows().into_iter().map(|row| row.of).collect();
    let known: BTreeSet<String> = documented().into_iter().collect();
    assert_eq!(tried, known);
}
