//! What text to write in place of a value that is none.

use serde_json::{Number, Value};

use crate::defrag::{
    field::Field,
    finding::Severity,
    keys::{ENABLED, Key, name_of},
    policy::Policy,
    rule::Rule,
    schedule::{Schedule, TimeZone},
    settings,
    statefulset::StatefulSet,
};

/// The largest whole number of which a floating-point number has every digit.
const EXACT: f64 = 9_007_199_254_740_992.0;

/// A text that says what the value at `path` of an object says, and that is accepted there where it is one of our settings.
/// `written` is how a number is written.
pub(super) fn of(object: &Value, path: &str, written: Option<&str>) -> Option<String> {
    let fits = |text: &String| setting(path).is_none_or(|key| accepts(key, text));
    written.map(ToOwned::to_owned).into_iter().chain(at(object, path).and_then(text)).find(fits)
}

/// The value at a path as errors name it.
fn at<'v>(object: &'v Value, path: &str) -> Option<&'v Value> {
    let (mut value, mut rest) = (object, path);
    while !rest.is_empty() {
        // A key in brackets may hold dots.
        let (segment, after) = match rest.strip_prefix('[') {
            Some(inside) => inside.split_once(']')?,
            None => rest.split_at(rest.find(['.', '[']).unwrap_or(rest.len())),
        };
        rest = after.strip_prefix('.').unwrap_or(after);
        value = match value {
            Value::Array(items) => items.get(segment.parse::<usize>().ok()?)?,
            other => other.get(segment)?,
        };
    }
    Some(value)
}

/// The setting at a path, on a StatefulSet or in a policy.
fn setting(path: &str) -> Option<Key> {
    if let Some(name) = path.strip_prefix("spec.defaults.") {
        return Key::ALL.iter().copied().find(|key| key.defaults_field() == name);
    }
    Key::from_name(name_of(path.strip_prefix("metadata.annotations[")?.strip_suffix(']')?)?)
}

/// A value as a text.
fn text(value: &Value) -> Option<String> {
    match value {
        Value::String(text) => Some(text.clone()),
        Value::Bool(value) => Some(value.to_string()),
        Value::Number(number) => Some(decimal(number)),
        Value::Array(items) if !items.is_empty() => Some(items.iter().map(text).collect::<Option<Vec<_>>>()?.join(",")),
        Value::Array(_) | Value::Object(_) | Value::Null => None,
    }
}

/// A number in decimal digits.
fn decimal(number: &Number) -> String {
    match number.as_f64().filter(|value| number.is_f64() && value.fract() == 0.0 && value.abs() < EXACT) {
        Some(value) => format!("{value:.0}"),
        None => number.to_string(),
    }
}

/// Whether a setting may have this value, as far as that depends on nothing else.
fn accepts(key: Key, text: &str) -> bool {
    match key {
        Key::Schedule => return Schedule::parse(text).is_ok(),
        Key::TimeZone => return TimeZone::parse(text).is_ok(),
        Key::Rule => return Rule::parse(text).is_ok(),
        _ => {}
    }
    let mut object = StatefulSet::default();
    object.metadata.labels.get_or_insert_default().insert(ENABLED.to_owned(), "true".to_owned());
    object.metadata.annotations.get_or_insert_default().insert(key.annotation().to_owned(), text.to_owned());
    let findings = settings::parse(&object, &Policy::built_in()).findings;
    findings.iter().all(|finding| finding.severity != Severity::Deny || finding.field != Field::Annotation(key))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_is_proposed_is_accepted() {
        for (name, value, written, wanted) in [
            ("disalarm-below", json!(0.9), Some(".9"), Some("0.9")),
            ("client-port", json!(0x94b), Some("0x94b"), Some("2379")),
            ("quota", json!(8_589_934_592_u64), Some("8_589_934_592"), Some("8589934592")),
            ("quota", json!(1e9), Some("1e9"), Some("1e9")),
            ("client-port", json!(2379.0), Some("2379."), Some("2379")),
            ("suspend", json!(true), None, Some("true")),
            ("schedule", json!(["0 3 * * *"]), None, Some("0 3 * * *")),
            (
                "endpoints",
                json!(["https://a.b:2379", "https://c.d:2379"]),
                None,
                Some("https://a.b:2379,https://c.d:2379"),
            ),
            ("schedule", json!(5), None, None),
            ("schedule", json!(["0", "3"]), None, None),
            ("schedule", json!(null), None, None),
            ("schedule", json!([]), None, None),
            ("time-zone", json!({"a": 1}), None, None),
            ("disalarm-below", json!(90), None, None),
        ] {
            let annotation = format!("etcd-defrag.io/{name}");
            let object = json!({"metadata": {"annotations": {&annotation: value}}});
            let path = format!("metadata.annotations[{annotation}]");
            assert_eq!(of(&object, &path, written).as_deref(), wanted, "{name}: {value}");
        }
        let policy = json!({"spec": {"defaults": {"quotaUsageAbove": 0.8}}, "metadata": {"name": 8}});
        assert_eq!(of(&policy, "spec.defaults.quotaUsageAbove", Some(".8")).as_deref(), Some("0.8"));
        // Of what is no setting of ours nothing is known.
        assert_eq!(of(&policy, "metadata.name", Some("08")).as_deref(), Some("08"));
        let labelled = json!({"metadata": {"labels": {"example.org/version": 3}}, "spec": [{"name": 5}]});
        for (path, wanted) in
            [("metadata.labels[example.org/version]", Some("3")), ("spec[0].name", Some("5")), ("spec[1].name", None)]
        {
            assert_eq!(of(&labelled, path, None).as_deref(), wanted, "{path}");
        }
    }
}
