//! What every API server refuses in the metadata of any object: a name, labels and annotations that there cannot be.

use serde_json::Value;

use super::place::Refusal;
use crate::defrag::{
    dns::is_object_name,
    finding::quoted,
    form::{is_annotation_key, is_label_key, is_label_value},
};

/// Adds what is refused in the metadata of `object`.
pub(super) fn check(object: &Value, found: &mut Vec<Refusal>) {
    let metadata = |part: &str| object.get("metadata").and_then(|metadata| metadata.get(part));
    let mut refuse = |field: String, why: String| found.push(Refusal { field, why });
    if let Some(name) = metadata("name").and_then(Value::as_str).filter(|name| !is_object_name(name)) {
        let form = "write lower-case letters, digits, \"-\" and \".\", with a letter or a digit at both ends";
        refuse("metadata.name".to_owned(), format!("{} is not a name of an object: {form}", quoted(name)));
    }
    let entries = |part: &str| metadata(part).and_then(Value::as_object).into_iter().flatten();
    for (key, value) in entries("labels") {
        let field = format!("metadata.labels[{key}]");
        if !is_label_key(key) {
            refuse(field, format!("{} is not a key of a label", quoted(key)));
        } else if let Some(value) = value.as_str().filter(|value| !is_label_value(value)) {
            refuse(field, format!("{} is not a value of a label", quoted(value)));
        }
    }
    for (key, _) in entries("annotations").filter(|(key, _)| !is_annotation_key(key)) {
        refuse(format!("metadata.annotations[{key}]"), format!("{} is not a key of an annotation", quoted(key)));
    }
}
