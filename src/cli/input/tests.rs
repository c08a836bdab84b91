use super::{
    stream::{may_have_anchors, parse},
    *,
};

fn documents(text: &str) -> Vec<Document> {
    parse("f.yaml", text.as_bytes()).unwrap().iter().map(Kept::open).collect()
}

fn refused(text: impl AsRef<[u8]>) -> String {
    parse("f.yaml", text.as_ref()).unwrap_err().to_string()
}

const STATEFULSET: &str = "apiVersion: apps/v1\nkind: StatefulSet\nmetadata:\n  name: etcd\n";

#[test]
fn a_stream_keeps_its_lines() {
    let read = documents(
        "# a comment\n---\nkind: A\n---\n# only this\n---\n\n---\nkind: B\ntext: |\n  ---\n  kind: X\n--- {kind: C}\n...\n---\nkind: D\n",
    );
    let found: Vec<_> = read.iter().map(|read| (read.value["kind"].as_str().unwrap(), read.origin().line)).collect();
    assert_eq!(found, [("A", 3), ("B", 9), ("C", 13), ("D", 16)]);
    assert_eq!(read[1].value["text"], "---\nkind: X\n");
    assert_eq!(read[1].line("text"), 10);
}

/// It is read in parts, by several workers.
#[test]
fn a_long_stream_is_read_like_a_short_one() {
    let comment = "# a comment of some length that nobody reads\n".repeat(100);
    let each = |number: usize| format!("{comment}kind: A\nnumber: {number}\n");
    let text = (0..100).map(each).collect::<Vec<_>>().join("---\n");
    let read = documents(&text);
    for (number, document) in read.iter().enumerate() {
        let origin = document.origin();
        let begins = 103 * number as u64 + 101;
        assert_eq!((&document.value["number"], origin.number, origin.line), (&number.into(), number + 1, begins));
        assert_eq!(document.line("number"), begins + 1);
    }
    assert_eq!(read.len(), 100);
    let said = refused(format!("{text}---\nkind: A\nx: *nowhere\n"));
    assert!(said.starts_with("f.yaml:10302: document 101: ") && said.contains("at line 10302,"), "{said}");
    // A document that is no object is less than what cannot be read at all.
    let no_object = format!("[]\n---\n{text}");
    assert!(refused(&no_object).starts_with("f.yaml:1: document 1: not a Kubernetes object"));
    assert!(refused(format!("{no_object}---\nx: [")).starts_with("f.yaml:10303: document 102: "));
    assert!(refused([no_object.as_bytes(), b"\xff"].concat()).ends_with(": not UTF-8"));
}

#[test]
fn what_json_would_change_is_kept_as_it_is() {
    let read = documents("kind: B\nx: 9.5e-7\ny: 0.1234567890123456789\nz: 1e308\n");
    assert_eq!(read[0].value["y"].as_f64(), Some(0.123_456_789_012_345_68));
    let why = "7e12345 is a number that JSON cannot hold; if it is a text, put it in quotation marks: \"7e12345\"";
    assert_eq!(refused("kind: A\nx: 7e12345\n"), format!("f.yaml:2: document 1: {why}"));
}

#[test]
fn a_byte_order_mark_and_windows_line_ends_change_nothing() {
    let read = documents("\u{feff}kind: A\r\ntext: a b\r\n---\r\nkind: B\r\n");
    assert_eq!(read[0].value["text"], "a b");
    assert_eq!(read[1].origin().line, 4);
    let utf16: Vec<u8> =
        [0xfeff_u16].into_iter().chain("kind: A\n".encode_utf16()).flat_map(u16::to_le_bytes).collect();
    assert_eq!(parse("f", &*utf16).unwrap()[0].open().value["kind"], "A");
}

#[test]
fn a_field_has_its_line_or_that_of_what_is_around_it() {
    let read = documents(&format!(
        "{STATEFULSET}  annotations:\n    etcd-defrag.io/schedule: x\nspec:\n  template:\n    spec:\n      containers:\n      - name: a\n      - name: b\n        image: i\n"
    ));
    let lines: Vec<_> = [
        "metadata.annotations[etcd-defrag.io/schedule]",
        "metadata.annotations[etcd-defrag.io/quota]",
        "metadata.labels[etcd-defrag.io/enabled]",
        "spec.template.spec.containers[1].image",
        "spec.template.spec.containers[1].command",
        "spec.replicas",
        "status.nothing",
    ]
    .map(|field| read[0].line(field))
    .into();
    assert_eq!(lines, [6, 5, 3, 13, 12, 7, 1]);
}

#[test]
fn lists_are_unrolled() {
    let list = format!(
        "kind: List\nitems:\n- kind: A\n- kind: List\n  items:\n  - kind: B\n- kind: C\n---\napiVersion: apps/v1\nkind: StatefulSetList\nitems:\n- metadata: {{name: etcd}}\n---\nkind: AccessList\n---\n{STATEFULSET}"
    );
    let read = documents(&list);
    let kinds: Vec<_> = read.iter().map(|read| read.value["kind"].as_str().unwrap()).collect();
    assert_eq!(kinds, ["A", "B", "C", "StatefulSet", "AccessList", "StatefulSet"]);
    assert_eq!(read[2].origin().line, 7);
    assert_eq!(read[3].statefulset().unwrap().unwrap().name(), "etcd");
    // kubectl refuses these, too.
    for items in ["", "items:\n", "items: {kind: A}\n", "items: etcd\n"] {
        let said = "f.yaml:1: document 1: a List without objects: write them under items, each as an entry that begins with \"- \"";
        assert_eq!(refused(format!("kind: List\n{items}")), said);
    }
    let said = "f.yaml:4: document 1: not a Kubernetes object: a mapping with apiVersion and kind is expected";
    assert_eq!(refused("kind: List\nitems:\n- kind: A\n- etcd\n"), said);
    assert_eq!(documents("kind: List\nitems: []\n---\nkind: List\nitems:\n- name: etcd\n").len(), 0);
}

#[test]
fn json_is_read_as_one_object_or_as_a_stream() {
    let read = documents("{\"kind\": \"A\"}\n{\"kind\":\n\"B\"}\n{\"kind\": \"C\"}");
    let found: Vec<_> = read.iter().map(|read| (read.value["kind"].as_str().unwrap(), read.origin().number)).collect();
    assert_eq!(found, [("A", 1), ("B", 2), ("C", 3)]);
    assert_eq!((read[1].origin().line, read[1].line("kind"), read[2].line("kind")), (2, 2, 4));
    let tabs = documents("{\n\t\"kind\": \"A\",\n\t\"metadata\": {\"name\": \"\\ud83d\\ude00\\/\"}\n}\n");
    assert_eq!(tabs[0].value["metadata"]["name"], "😀/");
    assert!(
        parse("f.json", &b"{\"kind\": \"A\",\n \"b\": [,}"[..])
            .unwrap_err()
            .to_string()
            .starts_with("f.json:2: document 1: ")
    );
}

#[test]
fn values_are_read_as_kubernetes_reads_them() {
    let read = documents(
        "kind: A\nmode: 0440\non: yes\ntext: \"yes\"\nbig: 9223372036854775807\nhalf: 0.5\nnothing: ~\nempty:\n",
    );
    assert_eq!(
        read[0].value,
        serde_json::json!({
            "kind": "A", "mode": 288, "on": true, "text": "yes", "big": i64::MAX, "half": 0.5, "nothing": null, "empty": null
        })
    );
}

#[test]
fn anchors_are_resolved_and_bombs_are_not() {
    let read = documents("kind: A\nx: &x {a: 1}\ny: *x\nz:\n  <<: *x\n  b: 2\n");
    assert_eq!(read[0].value["y"], serde_json::json!({"a": 1}));
    assert_eq!(read[0].value["z"], serde_json::json!({"a": 1, "b": 2}));

    let mut bomb = "kind: A\na0: &a0 [x,x,x,x,x,x,x,x,x,x]\n".to_owned();
    for level in 1..12 {
        let aliases = vec![format!("*a{}", level - 1); 10].join(",");
        bomb.push_str(&["a", &level.to_string(), ": &a", &level.to_string(), " [", &aliases, "]\n"].concat());
    }
    let said = refused(bomb);
    let why = "its aliases repeat more values than are read from one input; write the values instead of *aliases";
    assert!(said.starts_with("f.yaml:") && said.ends_with(&format!(": document 1: {why}")), "{said}");
    let deep = format!("kind: A\nx: {}{}\n", "[".repeat(100_000), "]".repeat(100_000));
    assert!(refused(deep).starts_with("f.yaml:2: document 1: "));
}

/// Each of these documents is small enough, but not all of them, whether they are objects or not.
#[test]
fn aliases_do_not_add_up() {
    let aliases = vec!["*a"; 90].join(",");
    for kind in ["kind: A\n", ""] {
        let document = format!("{kind}a: &a {}\nb: [{aliases}]\n", "x".repeat(60_000));
        let of = |number| vec![document.as_str(); number].join("---\n");
        assert!(parse("f.yaml", of(2).as_bytes()).is_ok());
        let said = refused(of(100));
        let expected = "document 50: with its aliases replaced, the input is larger than 256 MiB";
        assert!(said.ends_with(expected), "{said}");
    }
}

#[test]
fn only_what_begins_a_value_may_be_an_anchor() {
    for text in ["a && b", "exec 2>&1", "wait &\n", "a?b=1&c=2", "R&D", "&"] {
        assert!(!may_have_anchors(text.as_bytes()), "{text}");
    }
    for text in
        ["&a b", "a: &b c", "[&a b]", "{&a b: c}", "[a,&b c]", "{\"a\":&b c}", "- &a\n", "a:\n&b c", "--- &a", "\t&a b"]
    {
        assert!(may_have_anchors(text.as_bytes()), "{text}");
    }
}

#[test]
fn what_cannot_be_read_names_file_line_and_document() {
    for (text, line, document) in [
        ("kind: A\nx: [1\n", 2, 1),
        ("kind: A\n---\nkind: B\n  x: 1\n", 4, 2),
        ("kind: A\nx: 1\nx: 2\n", 3, 1),
        ("kind: A\nx: *nowhere\n", 2, 1),
        ("kind: A\nx: .inf\n", 2, 1),
        ("kind: A\n\tx: 1\n", 1, 1),
        ("kind: A\nx: {{ .Values.name }}\n", 2, 1),
        ("kind: A\n---\njust text\n", 3, 2),
        ("- kind: A\n", 1, 1),
        ("{\"kind\": \"A\", \"kind\": \"B\"}", 1, 1),
    ] {
        let message = refused(text);
        assert!(message.starts_with(&format!("f.yaml:{line}: document {document}: ")), "{text:?}: {message}");
    }
    assert_eq!(refused(b"kind: A\nx: \xff\n"), "f.yaml:2: not UTF-8");
    assert_eq!(
        refused("kind: A\nx: {{ .Values.name }}\n"),
        "f.yaml:2: document 1: this is a Helm template and not a manifest; render it first: \
         helm template RELEASE CHART | etcd-defrag-webhook check -f -"
    );
    let quoted = documents("apiVersion: apps/v1\nkind: StatefulSet\nmetadata: {name: '{{ .Release.Name }}-etcd'}\n");
    let said = quoted[0].statefulset().unwrap_err().to_string();
    assert!(said.starts_with("f.yaml:1: document 1: this is a Helm template"), "{said}");
}

#[test]
fn a_number_where_a_text_belongs_is_advised_as_it_is_written() {
    for (written, advised) in [
        ("08", "08"),
        ("1e9", "1e9"),
        ("0440", "0440"),
        (".5", ".5"),
        ("+7", "+7"),
        ("2379", "2379"),
        ("0.50", "0.50"),
        ("1e9 # bytes", "1e9"),
    ] {
        let mapping = format!("{STATEFULSET}  annotations:\n    etcd-defrag.io/free-above: {written}\n");
        let flow = format!("{STATEFULSET}  annotations: {{a: ä, etcd-defrag.io/free-above: {advised}, b: c}}\n");
        let list = format!("kind: List\nitems:\n- {}", mapping.trim_end().replace('\n', "\n  "));
        for (text, behind) in
            [(&mapping, false), (&flow, false), (&list, false), (&format!("kind: A\n---\n{mapping}"), true)]
        {
            let document = &documents(text)[usize::from(behind)];
            let error = document.statefulset().unwrap_err().to_string();
            assert!(error.ends_with(&format!("must be a text, but is {advised}: write \"{advised}\"")), "{error}");
        }
    }
    // What would be refused as it is written is advised in plain digits.
    let error =
        documents(&format!("{STATEFULSET}  annotations:\n    etcd-defrag.io/free-above: 0x10\n"))[0].statefulset();
    assert!(error.unwrap_err().to_string().ends_with("is 0x10: write \"16\""));
    let json = "{\"kind\": \"A\"}\n{\"apiVersion\": \"apps/v1\", \"kind\": \"StatefulSet\", \"metadata\": {\"name\": \"etcd\", \"namespace\": 1e3}}";
    let error = documents(json)[1].statefulset().unwrap_err().to_string();
    assert!(error.ends_with("is 1e3: write \"1e3\""), "{error}");
}

#[test]
fn a_field_of_the_wrong_type_is_named() {
    let message = |more: &str| documents(&format!("{STATEFULSET}{more}"))[0].statefulset().unwrap_err().to_string();
    let replicas = message("spec:\n  replicas: three\n");
    assert!(
        replicas.starts_with("f.yaml:6: document 1: spec.replicas: must be a whole number, but is the text \"three\""),
        "{replicas}"
    );
    let label = message("  labels:\n    etcd-defrag.io/enabled: true\n");
    assert!(
        label.starts_with(
            "f.yaml:6: document 1: metadata.labels[etcd-defrag.io/enabled]: must be a text, but is true: write \"true\""
        ),
        "{label}"
    );
    let image = message("spec:\n  template:\n    spec:\n      containers:\n      - image: 3\n");
    assert!(image.starts_with("f.yaml:9: document 1: spec.template.spec.containers[0].image: "), "{image}");
    assert!(
        documents("apiVersion: apps/v1beta1\nkind: StatefulSet\n")[0]
            .statefulset()
            .unwrap_err()
            .to_string()
            .contains("apps/v1beta1")
    );
    assert!(
        documents("apiVersion: apps/v1\nkind: StatefulSet\n")[0]
            .statefulset()
            .unwrap_err()
            .to_string()
            .contains("metadata.name")
    );
    assert!(documents("apiVersion: v1\nkind: Secret\n")[0].statefulset().unwrap().is_none());
}

proptest::proptest! {
    #[test]
    fn nothing_makes_it_panic(bytes in proptest::collection::vec(proptest::num::u8::ANY, 0..200)) {
        let _ = parse("f", &*bytes);
    }

    #[test]
    fn nothing_that_looks_like_yaml_makes_it_panic(text in "([-{}\\[\\]:,&*!|>'\"# \n\tkind]|---\n|: |- ){0,60}") {
        for document in parse("f", text.as_bytes()).unwrap_or_default() {
            let _ = document.statefulset();
        }
    }
}
