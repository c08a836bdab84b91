//! The whole CustomResourceDefinition.

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::CustomResourceExt as _;
use serde_json::{Value, json};

use super::api::DefragPolicy;

/// The CustomResourceDefinition of [`DefragPolicy`], as it is installed.
#[must_use]
pub fn crd() -> CustomResourceDefinition {
    let crd = DefragPolicy::crd();
    let Ok(mut value) = serde_json::to_value(&crd) else { return crd };
    if let Some(schema) = value.pointer_mut("/spec/versions/0/schema/openAPIV3Schema") {
        tidy(schema);
        if let Some(schema) = schema.as_object_mut() {
            schema.insert(
                "x-kubernetes-validations".to_owned(),
                json!([{
                    "rule": "size(self.metadata.name) <= 63",
                    "message": "the name of a policy is used in labels and reports: write at most 63 characters",
                }]),
            );
        }
    }
    serde_json::from_value(value).unwrap_or(crd)
}

/// Makes a schema say what the API server is to do: absent fields are absent and not null, and formats are those that
/// it knows. Defaults of objects stay whole, though their fields have the same: the API server tries its rules on them as they
/// are written.
fn tidy(schema: &mut Value) {
    let Some(object) = schema.as_object_mut() else { return };
    object.remove("nullable");
    let unknown = |format: &Value| !matches!(format.as_str(), Some("int32" | "int64" | "double" | "date-time"));
    if object.get("format").is_some_and(unknown) {
        object.remove("format");
    }
    object.get_mut("properties").and_then(Value::as_object_mut).into_iter().flatten().for_each(|(_, one)| tidy(one));
    for key in ["items", "additionalProperties"] {
        if let Some(schema) = object.get_mut(key) {
            tidy(schema);
        }
    }
}

#[cfg(test)]
mod tests;
