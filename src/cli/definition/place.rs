//! The place of a value, and the refusal of one.

use serde_json::Value;

use crate::{
    cli::input::join,
    defrag::finding::{Code, Finding},
};

/// A value that the definition refuses.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Refusal {
    /// Its path, such as `spec.job.image`.
    pub(super) field: String,
    /// Why, as a part of a sentence.
    pub(super) why: String,
}

/// The place of a value in the object, and its schema.
#[derive(Clone, Copy)]
pub(super) struct Place<'a> {
    pub(super) path: &'a str,
    pub(super) schema: &'a Value,
    pub(super) value: &'a Value,
}

impl Place<'_> {
    /// Calls `visit` for everything in this value that has a schema.
    pub(super) fn each_part(&self, visit: &mut dyn FnMut(Place<'_>)) {
        let part = |name: &str| join(self.path, name);
        match self.value {
            Value::Array(items) => {
                let Some(schema) = self.schema.get("items") else { return };
                for (index, value) in items.iter().enumerate() {
                    visit(Place { path: &format!("{}[{index}]", self.path), schema, value });
                }
            }
            Value::Object(fields) => {
                let known = self.schema.get("properties");
                let any = self.schema.get("additionalProperties").filter(|schema| schema.is_object());
                for (name, value) in fields {
                    let schema = known.and_then(|known| known.get(name)).or(any);
                    if let Some(schema) = schema {
                        visit(Place { path: &part(name), schema, value });
                    }
                }
            }
            _ => {}
        }
    }
}

impl Refusal {
    pub(super) fn into_finding(self) -> Finding {
        let message = if self.field.starts_with("metadata.") {
            format!("The API server will not store the policy: {}.", self.why)
        } else {
            format!(
                "The definition of DefragPolicy refuses this value, so the API server will not store the policy: {}.",
                self.why
            )
        };
        Finding::new(Code::DefinitionRefused, self.field, self.why, message)
    }
}
