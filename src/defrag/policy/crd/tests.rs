use std::fmt::Write as _;

use super::{super::api::DefragPolicySpec, *};

fn schema() -> Value {
    serde_json::to_value(crd()).unwrap()["spec"]["versions"][0]["schema"]["openAPIV3Schema"].take()
}

/// Every schema in a schema, with its path. Types of Kubernetes itself are left out: their descriptions and bounds are its own.
fn walk(schema: &Value, path: &str, visit: &mut impl FnMut(&str, &Value)) {
    visit(path, schema);
    if ["affinity", "tolerations", "topologySpreadConstraints", "conditions"]
        .iter()
        .any(|foreign| path.ends_with(foreign))
    {
        return;
    }
    for (name, part) in schema["properties"].as_object().into_iter().flatten() {
        walk(part, &format!("{path}.{name}"), visit);
    }
    if schema["items"].is_object() {
        walk(&schema["items"], &format!("{path}[]"), visit);
    }
}

#[test]
fn every_field_is_explained_and_no_null_is_a_value() {
    walk(&schema(), "", &mut |path, schema| {
        assert!(schema.get("nullable").is_none(), "{path}");
        if !path.is_empty() && !path.ends_with("[]") && path != ".status" {
            let text = schema["description"].as_str().unwrap_or_default();
            assert!(text.ends_with('.') && text.len() > 8, "{path}: {text:?}");
        }
    });
}

#[test]
fn the_api_server_can_estimate_what_rules_cost() {
    walk(&schema()["properties"]["spec"], "", &mut |path, schema| {
        let bounded = match schema["type"].as_str() {
            Some("array") => schema.get("maxItems").is_some(),
            Some("string") => schema.get("maxLength").is_some() || schema.get("enum").is_some(),
            _ => schema.get("additionalProperties").is_none() || schema.get("maxProperties").is_some(),
        };
        assert!(bounded, "{path} has no bound");
    });
}

#[test]
fn rules_say_what_to_write_and_where() {
    let mut page = String::new();
    walk(&schema(), "", &mut |path, schema| {
        for rule in schema["x-kubernetes-validations"].as_array().into_iter().flatten() {
            let message = rule["message"].as_str().unwrap();
            assert!(!message.contains('\n') && message.contains(':') || message.contains(", such as"), "{message}");
            if let Some(field) = rule["fieldPath"].as_str() {
                let pointer = field.replace('.', "/properties/");
                assert!(schema.pointer(&pointer).is_some(), "{path}: {field}");
            }
            let _ = write!(
                page,
                "{path}{}\n  {}\n  {message}\n",
                rule["fieldPath"].as_str().unwrap_or_default(),
                rule["rule"].as_str().unwrap()
            );
        }
    });
    insta::assert_snapshot!(page);
}

/// What the API server does with an object that leaves fields out.
fn fill_in(schema: &Value, value: &mut Value) {
    for (name, part) in schema["properties"].as_object().into_iter().flatten() {
        let Some(object) = value.as_object_mut() else { return };
        if !object.contains_key(name)
            && let Some(default) = part.get("default")
        {
            object.insert(name.clone(), default.clone());
        }
        if let Some(value) = object.get_mut(name) {
            fill_in(part, value);
        }
    }
}

#[test]
fn the_defaults_of_the_schema_are_those_of_the_types() {
    let mut filled = json!({});
    fill_in(&schema()["properties"]["spec"], &mut filled);
    assert_eq!(filled, serde_json::to_value(DefragPolicySpec::default()).unwrap());
    assert_eq!(serde_json::from_value::<DefragPolicySpec>(json!({})).unwrap(), DefragPolicySpec::default());
}

#[test]
fn columns_and_names() {
    let crd = crd();
    let version = &crd.spec.versions[0];
    let columns: Vec<&str> =
        version.additional_printer_columns.iter().flatten().map(|column| column.name.as_str()).collect();
    assert_eq!(
        columns,
        ["Priority", "Enrollment", "Action", "Audit", "Matched", "Violating", "Ready", "Reason", "Engine", "Age"]
    );
    assert_eq!((crd.spec.scope.as_str(), crd.spec.names.plural.as_str()), ("Cluster", "defragpolicies"));
    assert!(version.subresources.as_ref().is_some_and(|subresources| subresources.status.is_some()));
    assert_eq!(version.selectable_fields.as_ref().map(Vec::len), Some(1));
}
