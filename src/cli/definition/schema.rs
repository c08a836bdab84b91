//! The schema, as far as the definition uses it: lengths, ranges, forms, lists without duplicates, and defaults.

use regex::Regex;
use serde_json::Value;

use super::place::{Place, Refusal};
use crate::{cli::input::join, defrag::finding::quoted};

/// Fills in what an API server fills in: the default of each field that is not there or is null.
pub(super) fn fill_in(schema: &Value, value: &mut Value) {
    match value {
        Value::Array(items) => {
            let Some(schema) = schema.get("items") else { return };
            for item in items {
                fill_in(schema, item);
            }
        }
        Value::Object(fields) => {
            let known = schema.get("properties").and_then(Value::as_object);
            for (name, part) in known.into_iter().flatten() {
                if let Some(default) = part.get("default")
                    && fields.get(name).is_none_or(Value::is_null)
                {
                    fields.insert(name.clone(), default.clone());
                }
                if let Some(value) = fields.get_mut(name) {
                    fill_in(part, value);
                }
            }
        }
        _ => {}
    }
}

/// Adds what the schema refuses. Types and fields that do not exist are refused where the document is read.
pub(super) fn check(place: Place<'_>, found: &mut Vec<Refusal>) {
    let mut refuse = |field: String, why: String| found.push(Refusal { field, why });
    let here = || place.path.to_owned();
    let bound = |name: &str| place.schema.get(name);
    let count = |name: &str| bound(name).and_then(Value::as_u64);
    match place.value {
        Value::String(text) => {
            let length = text.chars().count() as u64;
            if let Some(least) = count("minLength").filter(|least| length < *least) {
                refuse(here(), format!("{} should be at least {least} chars long", quoted(text)));
            }
            if let Some(most) = count("maxLength").filter(|most| length > *most) {
                refuse(here(), format!("{} has {length} characters and may not be longer than {most}", quoted(text)));
            }
            let form = bound("pattern").and_then(Value::as_str);
            if let Some(form) = form.filter(|form| Regex::new(form).is_ok_and(|form| !form.is_match(text))) {
                refuse(here(), format!("{} should match {form}", quoted(text)));
            }
            let known = bound("enum").and_then(Value::as_array);
            if let Some(known) = known.filter(|known| !known.contains(place.value)) {
                let known: Vec<&str> = known.iter().filter_map(Value::as_str).collect();
                refuse(here(), format!("{} is not one of the supported values {}", quoted(text), known.join(", ")));
            }
        }
        Value::Number(number) => {
            let limit = |name: &str| bound(name).and_then(Value::as_f64);
            let number = number.as_f64().unwrap_or(f64::NAN);
            if let Some(least) = limit("minimum").filter(|least| number < *least) {
                refuse(here(), format!("{number} should be greater than or equal to {least}"));
            }
            if let Some(most) = limit("maximum").filter(|most| number > *most) {
                refuse(here(), format!("{number} should be less than or equal to {most}"));
            }
        }
        Value::Array(items) => {
            let length = items.len() as u64;
            if let Some(least) = count("minItems").filter(|least| length < *least) {
                refuse(here(), format!("the list should have at least {least} items"));
            }
            if let Some(most) = count("maxItems").filter(|most| length > *most) {
                refuse(here(), format!("the list has {length} items and may have at most {most}"));
            }
            for (index, item) in items.iter().enumerate() {
                let same = |other: &Value| is_same(item, other, place.schema);
                if items.iter().take(index).any(same) {
                    refuse(format!("{}[{index}]", place.path), format!("Duplicate value {item}"));
                }
            }
        }
        Value::Object(fields) => {
            let length = fields.len() as u64;
            if let Some(most) = count("maxProperties").filter(|most| length > *most) {
                refuse(here(), format!("there are {length} entries and may be at most {most}"));
            }
            for name in bound("required").and_then(Value::as_array).into_iter().flatten().filter_map(Value::as_str) {
                if !fields.contains_key(name) {
                    refuse(join(place.path, name), "Required value is missing".to_owned());
                }
            }
        }
        Value::Null | Value::Bool(_) => {}
    }
    place.each_part(&mut |part| check(part, found));
}

/// Whether two items may not be in one list: of a set, equal ones; of a map, those with the same keys.
fn is_same(one: &Value, other: &Value, schema: &Value) -> bool {
    match schema.get("x-kubernetes-list-type").and_then(Value::as_str) {
        Some("set") => one == other,
        Some("map") => {
            let keys = schema.get("x-kubernetes-list-map-keys").and_then(Value::as_array);
            let mut keys = keys.into_iter().flatten().filter_map(Value::as_str);
            keys.all(|key| one.get(key) == other.get(key))
        }
        _ => false,
    }
}
