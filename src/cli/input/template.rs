//! Helm templates, which are no manifests before they are rendered.

use serde_json::Value;

/// What only Helm gives a meaning to.
const OBJECTS: [&str; 5] = [".Values", ".Release.", ".Chart.", ".Capabilities.", ".Files."];
/// What templates of Go have, and YAML has not.
const WORDS: [&str; 10] =
    ["if ", "else", "end", "range ", "with ", "define ", "include ", "template ", "block ", "toYaml "];

/// What to do with one.
pub(super) const ADVICE: &str = "this is a Helm template and not a manifest; render it first: \
     helm template RELEASE CHART | etcd-defrag-webhook check -f -";

/// Whether a text that is no YAML is one.
pub(super) fn is_one(text: &str) -> bool {
    actions(text).any(|action| {
        OBJECTS.iter().any(|object| action.contains(object)) || WORDS.iter().any(|word| action.starts_with(word))
    })
}

/// Whether an object that could be read has an action of Helm in one of its texts, or in a key.
pub(super) fn is_in(value: &Value) -> bool {
    let helms = |text: &str| actions(text).any(|action| OBJECTS.iter().any(|object| action.starts_with(object)));
    match value {
        Value::String(text) => helms(text),
        Value::Array(items) => items.iter().any(is_in),
        Value::Object(fields) => fields.iter().any(|(key, field)| helms(key) || is_in(field)),
        Value::Null | Value::Bool(_) | Value::Number(_) => false,
    }
}

/// The text between `{{` and `}}`, without the marks that trim and the blanks around.
fn actions(text: &str) -> impl Iterator<Item = &str> {
    text.split("{{").skip(1).filter_map(|rest| {
        let (action, _) = rest.split_once("}}")?;
        Some(action.trim_start_matches('-').trim_start())
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_template_is_told_from_a_manifest() {
        for template in [
            "name: {{ .Values.name }}",
            "{{- if .Values.enabled }}\nkind: A\n{{- end }}",
            "{{ include \"x.labels\" . | nindent 4 }}",
            "a: {{ printf \"%s\" .Release.Name }}",
            "{{-   range $i := until 3 }}",
        ] {
            assert!(is_one(template), "{template}");
        }
        for other in ["kind: A\n b: c", "x: {{ $labels.pod }}", "{{", "}} .Values {{", "a: {b: {c: d}}"] {
            assert!(!is_one(other), "{other}");
        }
        assert!(is_in(&json!({"metadata": {"name": "{{ .Release.Name }}-etcd"}})));
        assert!(is_in(&json!({"spec": [{"{{ .Values.key }}": 1}]})));
        // A template of Vault's agent, for one, is a value like others.
        assert!(!is_in(
            &json!({"metadata": {"annotations": {"a": "{{ with secret \"kv/etcd\" }}{{ .Data.key }}{{ end }}"}}})
        ));
    }
}
