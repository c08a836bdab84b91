//! Who set which field of an object, and what an application makes of it: server-side apply, as far as CronJobs need it.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Map, Value, json};

/// Where a field is: `f:name` for a field, `k:value` for the element of a list that goes by a key.
pub(crate) type Path = Vec<String>;
/// Who sets fields: a name, and whether by applying.
pub(crate) type Manager = (String, bool);
/// The fields that each manager set last.
pub(crate) type Owners = BTreeMap<Manager, BTreeSet<Path>>;

/// What the server keeps, or what is no field that anybody owns.
const UNOWNED: &[&str] =
    &["name", "namespace", "uid", "resourceVersion", "generation", "creationTimestamp", "managedFields"];

/// By which key the elements of a list go; `None` where a list is one value.
fn key_of(list: &str) -> Option<&'static str> {
    Some(match list {
        "f:containers" | "f:initContainers" | "f:env" | "f:volumes" | "f:imagePullSecrets" => "name",
        "f:volumeMounts" => "mountPath",
        "f:ownerReferences" => "uid",
        _ => return None,
    })
}

/// What `metadata.managedFields` says of who set what.
pub(crate) fn managed(owners: &Owners) -> Value {
    let entry = |((manager, applies), paths): (&Manager, &BTreeSet<Path>)| {
        let mut fields = json!({});
        for path in paths {
            let (mut at, mut above) = (&mut fields, "");
            for step in path {
                let name = match key_of(above) {
                    Some(key) if step.starts_with("k:") => format!("k:{}", json!({key: step[2..]})),
                    _ => step.clone(),
                };
                at = at.as_object_mut().unwrap().entry(name).or_insert_with(|| json!({}));
                above = step;
            }
        }
        let operation = if *applies { "Apply" } else { "Update" };
        json!({"manager": manager, "operation": operation, "fieldsType": "FieldsV1", "fieldsV1": fields})
    };
    owners.iter().map(entry).collect()
}

/// Every field of an object that somebody can own.
pub(crate) fn leaves(object: &Value) -> BTreeSet<Path> {
    let mut found = BTreeSet::new();
    for (name, value) in object.as_object().into_iter().flatten() {
        if name == "metadata" {
            for (name, value) in value.as_object().into_iter().flatten() {
                if !UNOWNED.contains(&name.as_str()) {
                    descend(&mut vec!["f:metadata".to_owned(), format!("f:{name}")], value, &mut found);
                }
            }
        } else if !["apiVersion", "kind", "status"].contains(&name.as_str()) {
            descend(&mut vec![format!("f:{name}")], value, &mut found);
        }
    }
    found
}

fn descend(path: &mut Path, value: &Value, found: &mut BTreeSet<Path>) {
    let last = path.last().map(String::as_str).unwrap_or_default();
    let owner = path.iter().rev().nth(1).is_some_and(|above| above == "f:ownerReferences");
    match value {
        Value::Object(fields) if !fields.is_empty() && !owner && last != "f:nodeSelector" => {
            for (name, value) in fields {
                path.push(format!("f:{name}"));
                descend(path, value, found);
                path.pop();
            }
        }
        Value::Array(elements) if key_of(last).is_some() => {
            let key = key_of(last).unwrap();
            for element in elements {
                path.push(format!("k:{}", element[key].as_str().unwrap_or_default()));
                descend(path, element, found);
                path.pop();
            }
        }
        _ => {
            found.insert(path.clone());
        }
    }
}

fn element<'a>(list: &'a Value, above: &str, step: &str) -> Option<&'a Value> {
    let key = key_of(above)?;
    list.as_array()?.iter().find(|element| element[key] == step[2..])
}

fn get<'a>(mut value: &'a Value, path: &[String]) -> Option<&'a Value> {
    let mut above = "";
    for step in path {
        value = if step.starts_with("f:") { value.get(&step[2..])? } else { element(value, above, step)? };
        above = step;
    }
    Some(value)
}

fn set(target: &mut Value, above: &str, path: &[String], leaf: &Value) {
    let Some((step, rest)) = path.split_first() else {
        *target = leaf.clone();
        return;
    };
    if step.starts_with("f:") {
        if !target.is_object() {
            *target = Value::Object(Map::new());
        }
        let field = target.as_object_mut().unwrap().entry(step[2..].to_owned()).or_insert(Value::Null);
        set(field, step, rest, leaf);
    } else {
        let key = key_of(above).unwrap();
        if !target.is_array() {
            *target = json!([]);
        }
        let list = target.as_array_mut().unwrap();
        let at = list.iter().position(|element| element[key] == step[2..]).unwrap_or_else(|| {
            list.push(json!({key: step[2..]}));
            list.len() - 1
        });
        set(&mut list[at], step, rest, leaf);
    }
}

/// Takes a field out, and what is empty without it; whether `target` is empty then.
fn remove(target: &mut Value, above: &str, path: &[String]) -> bool {
    let Some((step, rest)) = path.split_first() else { return true };
    if step.starts_with("f:") {
        let Some(fields) = target.as_object_mut() else { return false };
        if fields.get_mut(&step[2..]).is_some_and(|field| remove(field, step, rest)) {
            fields.remove(&step[2..]);
        }
        fields.is_empty()
    } else {
        let (Some(key), Some(list)) = (key_of(above), target.as_array_mut()) else { return false };
        if let Some(at) = list.iter().position(|element| element[key] == step[2..])
            && remove(&mut list[at], step, rest)
        {
            list.remove(at);
        }
        list.is_empty()
    }
}

/// Notes that a manager wrote `new` in the place of `old` otherwise than by applying: what changed is its own.
pub(crate) fn updated(old: &Value, new: &Value, owners: &mut Owners, manager: &str) {
    let now = leaves(new);
    let changed: BTreeSet<Path> = now.iter().filter(|path| get(old, path) != get(new, path)).cloned().collect();
    for fields in owners.values_mut() {
        fields.retain(|path| now.contains(path) && !changed.contains(path));
    }
    owners.entry((manager.to_owned(), false)).or_default().extend(changed);
    owners.retain(|_, fields| !fields.is_empty());
}

/// What an application makes of an object and of who owns its fields; where it conflicts, the fields that others own.
pub(crate) fn applied(
    live: Option<(&Value, &Owners)>,
    desired: &Value,
    manager: &str,
    force: bool,
) -> Result<(Value, Owners), Vec<String>> {
    let (mut object, mut owners) = match live {
        Some((object, owners)) => (object.clone(), owners.clone()),
        None => (json!({}), Owners::new()),
    };
    for field in ["apiVersion", "kind"] {
        object[field] = desired[field].clone();
    }
    for field in ["name", "namespace"] {
        object["metadata"][field] = desired["metadata"][field].clone();
    }
    let (wanted, me) = (leaves(desired), (manager.to_owned(), true));
    let differs = |path: &Path| get(&object, path) != get(desired, path);
    let contested: BTreeSet<Path> = wanted.iter().filter(|path| differs(path)).cloned().collect();
    let mut conflicts = Vec::new();
    for (other, fields) in &mut owners {
        if *other != me {
            conflicts.extend(fields.intersection(&contested).map(|path| path.join(".")));
            fields.retain(|path| !contested.contains(path));
        }
    }
    if !conflicts.is_empty() && !force {
        return Err(conflicts);
    }
    let before = owners.insert(me.clone(), wanted.clone()).unwrap_or_default();
    for path in before.difference(&wanted) {
        if !owners.values().any(|fields| fields.contains(path)) {
            remove(&mut object, "", path);
        }
    }
    for path in &wanted {
        set(&mut object, "", path, get(desired, path).unwrap());
    }
    owners.retain(|_, fields| !fields.is_empty());
    Ok((object, owners))
}

#[test]
fn an_application_owns_conflicts_and_lets_go_as_on_the_real_server() {
    let desired = |args: Value, zone: Option<&str>| {
        let mut object = json!({
            "apiVersion": "batch/v1", "kind": "CronJob", "metadata": {"name": "x", "labels": {"ours": "1"}},
            "spec": {"schedule": "@daily", "containers": [{"name": "c", "args": args}]},
        });
        if let Some(zone) = zone {
            object["spec"]["timeZone"] = json!(zone);
        }
        object
    };
    let (first, owners) = applied(None, &desired(json!(["a"]), Some("UTC")), "us", false).unwrap();
    let mut edited = first.clone();
    edited["spec"]["schedule"] = json!("@hourly");
    edited["spec"]["containers"].as_array_mut().unwrap().push(json!({"name": "d"}));
    edited["metadata"]["labels"]["theirs"] = json!("2");
    let mut now = owners.clone();
    updated(&first, &edited, &mut now, "kubectl");
    let conflicts = applied(Some((&edited, &now)), &desired(json!(["a"]), None), "us", false).unwrap_err();
    assert_eq!(conflicts, ["f:spec.f:schedule"]);
    let (forced, _) = applied(Some((&edited, &now)), &desired(json!(["b"]), None), "us", true).unwrap();
    assert_eq!(
        forced["spec"],
        json!({"schedule": "@daily", "containers": [{"name": "c", "args": ["b"]}, {"name": "d"}]})
    );
    assert_eq!(forced["metadata"]["labels"], json!({"ours": "1", "theirs": "2"}));
}
