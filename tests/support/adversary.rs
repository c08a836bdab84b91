//! StatefulSets that a tenant could write to make their judgement slow: one of each kind, of about as many bytes of JSON as
//! asked for.

#![allow(dead_code, reason = "not every test needs all of it")]
#![allow(clippy::indexing_slicing, reason = "a test may fail loudly")]

use serde_json::{Map, Value, json};

/// A kind of StatefulSet, and the one of about so many bytes.
pub type Kind = (&'static str, fn(usize) -> Value);

/// What the API server accepts at most, in bytes: etcd's limit on a request is 1.5 MiB.
pub const LARGEST: usize = 1_400_000;

/// Every kind.
pub const KINDS: &[Kind] = &[
    ("a script with invocations of etcd", |size| script(&repeat(size, "etcd\n"))),
    ("invocations with a flag each of its own", |size| script(&numbered(size, |n| format!("etcd --a{n}\n")))),
    ("invocations with the same flags", |size| script(&repeat(size, "etcd --data-dir=/x --name=y\n"))),
    ("one invocation with many flags", |size| script(&format!("etcd {}", numbered(size, |n| format!("--a{n} "))))),
    ("assignments that double", |size| script(&(repeat(size, "A=$A$A\n") + "etcd --name=$A"))),
    ("assignments that grow", |size| script(&(repeat(size, "A=${A}x\n") + "etcd --name=$A"))),
    ("assignments of many names", |size| script(&(numbered(size, |n| format!("A{n}=x\n")) + "etcd"))),
    ("open substitutions in a script", |size| script(&repeat(size, "$("))),
    ("substitutions in a script", |size| script(&repeat(size, "a$(b) "))),
    ("open quotation marks and backquotes", |size| script(&repeat(size, "\"'`"))),
    ("variables in quotation marks", |size| script(&format!("etcd {}", repeat(size, "\"$9\"$a")))),
    ("redirections", |size| script(&format!("etcd {}", repeat(size, "1<<<2>")))),
    ("comments", |size| script(&repeat(size, "#\n"))),
    ("backslashes", |size| script(&repeat(size, "\\x"))),
    ("one long word of a script", |size| script(&repeat(size, "x"))),
    ("keywords and prefixes", |size| script(&repeat(size, "if exec env "))),
    ("defaults within defaults", |size| {
        script(&format!("{}{}\netcd", repeat(size / 2, "${A:-"), repeat(size / 10, "}")))
    }),
    ("defaults that set", |size| script(&(numbered(size, |n| format!(": ${{ETCD_A{n}:=x$A}}\n")) + "etcd"))),
    ("exports between invocations", |size| script(&numbered(size, |n| format!("export ETCD_A{n}=x\netcd\n")))),
    ("variables in front of invocations", |size| {
        script(&numbered(size, |n| format!("ETCD_A{n}=x env -u ETCD_B etcd\n")))
    }),
    ("shells within the shell", |size| script(&(numbered(size, |n| format!("(export ETCD_A{n}=x;")) + "etcd"))),
    ("shells that forget what they set", |size| {
        script(&format!(
            "{}{}",
            numbered(size / 2, |n| format!("export ETCD_A{n}=x\n")),
            repeat(size / 2, "(. /x; etcd)\n")
        ))
    }),
    ("files of variables", |size| script(&numbered(size, |n| format!("export ETCD_A{n}=x\n. /x\netcd\n")))),
    ("an array that grows", |size| {
        script(&format!("{}{}", repeat(size / 2, "A+=(x)\n"), repeat(size / 2, "etcd \"${A[@]}\"\n")))
    }),
    ("values that cannot be seen", |size| {
        script(&format!("A={}\n{}", repeat(size / 2, "$(x)"), repeat(size / 2, ": ${A:-x}\n")))
    }),
    ("computations", |size| script(&format!("etcd --a=$((1{}))", repeat(size, "+A*2")))),
    ("computations that may set", |size| script(&numbered(size, |n| format!("((A{n}=1))\n")))),
    ("here-documents", |size| script(&repeat(size, "cat <<E\nx\nE\n"))),
    ("here-documents without an end", |size| script(&repeat(size, "cat <<E\n"))),
    ("braces", |size| script(&format!("etcd {}", repeat(size, "--{a,b} ")))),
    ("many braces", |size| script(&format!("etcd --{{{}}}", repeat(size, "a,")))),
    ("loops", |size| {
        script(&format!(
            "{}{}",
            numbered(size * 2 / 3, |n| format!("for a{n} in x; do A=1; ")),
            repeat(size / 3, "done;")
        ))
    }),
    ("patterns", |size| script(&format!("case x in {} esac; etcd", numbered(size, |n| format!("a{n}) A{n}=x;;"))))),
    ("quoted text with backslashes", |size| script(&format!("etcd $'{}'", repeat(size, "\\n")))),
    ("folders of programs, and mounts", |size| {
        let mounts = numbers(size / 2, 40, |n| json!({"name": "v", "mountPath": format!("/a/{n}")}));
        let mut object = etcd("volumeMounts", mounts);
        let container = &mut object["spec"]["template"]["spec"]["containers"][0];
        container["env"] = json!([{"name": "PATH", "value": numbered(size / 4, |n| format!("/a/{n}:"))}]);
        container["command"] = json!(["sh", "-c", numbered(size / 4, |n| format!("/a/{n}/etcd\n"))]);
        object
    }),
    ("arguments", |size| args(numbers(size, 3, |n| format!("--a{n}")))),
    ("arguments that refer to a variable", |size| args(numbers(size, 3, |_| "$(A)$(POD_NAME)".to_owned()))),
    ("arguments with open references", |size| args(vec![repeat(size, "$(")])),
    ("arguments with references to nothing", |size| args(vec![repeat(size, "$(a$(")])),
    ("variables that refer to the one before", |size| {
        env(&numbers(size, 40, |n| format!("$(V{})", n.wrapping_sub(1))))
    }),
    ("variables that double", |size| env(&numbers(size, 45, |n| format!("$(V{p})$(V{p})", p = n.wrapping_sub(1))))),
    ("variables that all refer to a long one", |size| {
        env(&std::iter::once(repeat(size / 2, "x"))
            .chain(numbers(size / 2, 40, |_| "$(V0)".to_owned()))
            .collect::<Vec<_>>())
    }),
    ("environment from elsewhere", |size| {
        etcd("envFrom", numbers(size, 40, |n| json!({"configMapRef": {"name": format!("m{n}")}})))
    }),
    ("client URLs", |size| {
        args(vec![format!("--advertise-client-urls={}", numbered(size, |n| format!("http://h{n}:1,")))])
    }),
    ("URLs to advertise and to listen on", |size| {
        args(vec![
            format!(
                "--advertise-client-urls={}",
                numbered(size / 2, |n| format!("http://etcd-{n}.a:{},", n % 999 + 1))
            ),
            format!("--listen-client-urls={}", numbered(size / 2, |n| format!("http://0.0.0.0:{},", n % 999 + 1000))),
        ])
    }),
    ("labels of a domain", |size| args(vec![format!("--advertise-client-urls=http://a.b.svc.{}", repeat(size, "a."))])),
    ("members of the cluster", |size| {
        args(vec![format!("--initial-cluster={}", numbered(size, |n| format!("m{n}=http://h{n}:1,")))])
    }),
    ("a long path of a certificate", |size| args(vec![format!("--cert-file={}", repeat(size, "/a"))])),
    ("mounts", |size| {
        let mut object =
            etcd("volumeMounts", numbers(size, 40, |n| json!({"name": "v", "mountPath": format!("/a/{n}")})));
        secure(&mut object["spec"]["template"]["spec"]["containers"][0]);
        object
    }),
    ("ports", |size| etcd("ports", numbers(size, 40, |n| json!({"name": format!("p{n}"), "containerPort": 1})))),
    ("containers", |size| sidecars(numbers(size, 20, |n| json!({"name": format!("c{n}")})), Vec::new())),
    ("containers with a script each", |size| {
        sidecars(
            numbers(size, 50, |n| json!({"name": format!("c{n}"), "command": ["sh", "-c", "etcd --x"]})),
            Vec::new(),
        )
    }),
    ("containers that defragment", |size| {
        sidecars(numbers(size, 40, |n| json!({"name": format!("c{n}"), "args": ["defrag"]})), Vec::new())
    }),
    ("sidecars, each with a certificate, and volumes", |size| {
        let volumes = numbers(size / 2, 20, |n| json!({"name": format!("v{n}")}));
        sidecars(numbers(size / 2, 130, |n| reader(n, "v")), volumes)
    }),
    ("sidecars, each with a certificate, and one volume with keys", |size| {
        let items = numbers(size / 2, 30, |n| json!({"key": "k", "path": format!("a/{n}")}));
        let volume = json!({"name": "v", "secret": {"secretName": "s", "items": items}});
        sidecars(numbers(size / 2, 130, |n| reader(n, "v")), vec![volume])
    }),
    ("sidecars, each with a certificate, and a volume of many sources", |size| {
        let sources = numbers(
            size / 2,
            50,
            |n| json!({"secret": {"name": "s", "items": [{"key": "k", "path": format!("a/{n}")}]}}),
        );
        let volume = json!({"name": "v", "projected": {"sources": sources}});
        sidecars(numbers(size / 2, 130, |n| reader(n, "v")), vec![volume])
    }),
    ("claims and mounts", |size| {
        let mut object =
            etcd("volumeMounts", numbers(size / 2, 35, |n| json!({"name": format!("m{n}"), "mountPath": "/a"})));
        object["spec"]["volumeClaimTemplates"] =
            numbers(size / 2, 30, |n| json!({"metadata": {"name": format!("c{n}")}})).into();
        object
    }),
    ("volumes", |size| {
        let mut object = args(vec!["--data-dir=/d/x".to_owned()]);
        let pod = &mut object["spec"]["template"]["spec"];
        pod["containers"][0]["volumeMounts"] = json!([{"name": "v", "mountPath": "/d"}]);
        pod["volumes"] = numbers(size, 20, |n| json!({"name": format!("v{n}")})).into();
        object
    }),
    ("native sidecars", |size| {
        let mut object = etcd("args", vec!["etcd"]);
        object["spec"]["template"]["spec"]["initContainers"] = numbers(
            size,
            60,
            |n| json!({"name": format!("i{n}"), "restartPolicy": "Always", "command": ["etcd", "-x"]}),
        )
        .into();
        object
    }),
    ("containers that prepare a folder", |size| {
        let mut object = etcd("volumeMounts", json!([{"name": "v0", "mountPath": "/opt/bitnami/etcd/conf"}]));
        let pod = &mut object["spec"]["template"]["spec"];
        pod["containers"][0]["command"] = json!([]);
        pod["volumes"] = numbers(size / 2, 25, |n| json!({"name": format!("v{n}"), "emptyDir": {}})).into();
        let mounts = numbers(size / 2, 40, |n| json!({"name": format!("v{n}"), "mountPath": "/a", "subPath": "x"}));
        pod["initContainers"] = json!([{"name": "i", "volumeMounts": mounts}]);
        object
    }),
    ("the words of a probe", |size| probed(numbers(size, 10, |n| format!("--cert={n}")), "etcdctl")),
    ("the script of a probe", |size| {
        probed(vec!["-ec".to_owned(), repeat(size, "etcdctl --cert=/a --key=/b\n")], "sh")
    }),
    ("options of a shell", |size| etcd("command", [vec!["sh"], vec!["-eo"; size / 8], vec!["-c", "etcd"]].concat())),
    ("programs that start each other", |size| {
        etcd("command", [["env", "a=b"].repeat(size / 14), vec!["etcd"]].concat())
    }),
    ("variables that become a configuration file", |size| {
        let mut object = etcd("env", numbers(size, 40, |n| json!({"name": format!("ETCD_CFG_A{n}"), "value": "x"})));
        object["spec"]["template"]["spec"]["containers"][0]["command"] = json!([]);
        object["spec"]["template"]["spec"]["containers"][0]["image"] = json!("bitnami/etcd:3.6.4");
        object
    }),
    ("URLs to listen on", |size| {
        args(vec![format!("--listen-client-urls={}", numbered(size, |_| "http://127.0.0.1:1,".to_owned()))])
    }),
    ("members of the cluster with the same number", |size| {
        args(vec![format!("--initial-cluster={}", numbered(size, |n| format!("m{n}=http://etcd-0.s{n}:1,")))])
    }),
    ("members of the cluster beside endpoints", |size| {
        let mut object =
            args(vec![format!("--initial-cluster={}", numbered(size, |n| format!("m{n}=http://h{n}:1,")))]);
        object["metadata"]["annotations"]["etcd-defrag.io/endpoints"] = "http://a:1,http://b:1,http://c:1".into();
        object
    }),
    ("Secrets to name", |size| {
        let mut object =
            args(vec!["--listen-client-urls=https://0.0.0.0:1".to_owned(), "--client-cert-auth".to_owned()]);
        let items = |n| json!([{"key": format!("a{n}.crt"), "path": "a"}, {"key": format!("a{n}.key"), "path": "b"}]);
        object["spec"]["template"]["spec"]["volumes"] = numbers(
            size,
            140,
            |n| json!({"name": format!("v{n}"), "secret": {"secretName": format!("s{n}"), "items": items(n)}}),
        )
        .into();
        object
    }),
    ("keys of a Secret to name", |size| {
        let mut object =
            args(vec!["--listen-client-urls=https://0.0.0.0:1".to_owned(), "--client-cert-auth".to_owned()]);
        let items = numbers(size, 30, |n| json!({"key": format!("a{n}.crt"), "path": "a"}));
        object["spec"]["template"]["spec"]["volumes"] =
            json!([{"name": "v", "secret": {"secretName": "s", "items": items}}]);
        object
    }),
    ("annotations of ours on the pod template", |size| {
        let mut object = etcd("args", vec!["etcd"]);
        for n in 0..size / 50 {
            object["spec"]["template"]["metadata"]["annotations"][format!("etcd-defrag.io/shedule-{n}")] = json!("x");
        }
        object
    }),
    ("labels of ours that do not exist", |size| labels(size, "etcd-defrag.io/shedule-")),
    ("annotations of ours that do not exist", |size| {
        let entries = numbers(size, 40, |n| (format!("etcd-defrag.io/shedule-{n}"), json!("x")));
        metadata("annotations", entries)
    }),
    ("one annotation of ours with a long name", |size| {
        metadata("annotations", vec![(format!("etcd-defrag.io/{}", repeat(size, "schedule")), json!("x"))])
    }),
    ("labels of others", |size| labels(size, "example.com/label-")),
    ("annotations of others", |size| {
        metadata("annotations", numbers(size, 30, |n| (format!("example.com/a{n}"), json!("x"))))
    }),
    ("endpoints", |size| annotated("endpoints", numbered(size, |n| format!("http://h{n}:1,")).trim_end_matches(','))),
    ("endpoints that are the same", |size| annotated("endpoints", repeat(size, "http://h:1,").trim_end_matches(','))),
    ("one long endpoint", |size| annotated("endpoints", &format!("http://{}:1", repeat(size, "a.")))),
    ("values of a schedule", |size| annotated("schedule", &format!("{}0 0 * * *", repeat(size, "0,")))),
    ("hashes of a schedule", |size| annotated("schedule", &format!("{}H 0 * * *", repeat(size, "H,")))),
    ("fields of a schedule", |size| annotated("schedule", &repeat(size, "0 "))),
    ("minutes that are too often", |size| annotated("schedule", &format!("* * {}1 * *", repeat(size, "1,")))),
    ("a long word as the schedule", |size| annotated("schedule", &repeat(size, "x"))),
    ("a schedule of many zones", |size| annotated("schedule", &repeat(size, "TZ=a "))),
    ("parts of @every", |size| annotated("schedule", &format!("@every {}", repeat(size, "1h")))),
    ("parts of a duration", |size| annotated("wait-between-members", &repeat(size, "1s"))),
    ("a duration of many digits", |size| annotated("command-timeout", &format!("0.{}s", repeat(size, "1")))),
    ("a duration in units of others", |size| annotated("command-timeout", &repeat(size, "1 day "))),
    ("a quantity of many digits", |size| annotated("free-above", &format!("0.{}", repeat(size, "1")))),
    ("a quota of many digits", |size| annotated("quota", &repeat(size, "1"))),
    ("a share of many digits", |size| annotated("quota-usage-above", &format!("0.{}", repeat(size, "1")))),
    ("a long rule", |size| annotated("rule", &repeat(size, "dbSize > 1 && "))),
    ("a long zone", |size| annotated("time-zone", &repeat(size, "Europe/Rome/"))),
    ("keys that are filled in", |size| annotated("defaulted", &repeat(size, "schedule,"))),
    ("keys of a Secret", |size| annotated("client-secret", &format!("s:{}", repeat(size, "k,")))),
    ("a long domain", |size| annotated("cluster-domain", &repeat(size, "a."))),
    ("a long boolean", |size| annotated("suspend", &repeat(size, "TRUE"))),
    ("a long token", |size| annotated("defrag-now", &repeat(size, "x"))),
    ("a long label", |size| {
        let mut object = etcd("args", vec!["etcd"]);
        object["metadata"]["labels"]["etcd-defrag.io/enabled"] = repeat(size, "x").into();
        object
    }),
    ("a long name", |size| {
        let mut object = etcd("args", vec!["etcd"]);
        object["metadata"]["name"] = repeat(size, "x").into();
        object
    }),
    ("a long image", |size| etcd("image", repeat(size, "etcd:"))),
    ("owners of fields", |size| {
        let fields: Map<String, Value> = numbers(size, 20, |n| (format!("f:a{n}"), json!({}))).into_iter().collect();
        let entry = json!({"manager": "m", "operation": "Update", "apiVersion": "apps/v1", "fieldsType": "FieldsV1", "fieldsV1": fields});
        metadata("managedFields", vec![entry])
    }),
];

/// The values that `part` makes of numbers, each of about `each` bytes of JSON, up to `size` bytes.
fn numbers<T>(size: usize, each: usize, part: impl Fn(usize) -> T) -> Vec<T> {
    (0..size / (each + 6)).map(part).collect()
}

fn numbered(size: usize, part: impl Fn(usize) -> String) -> String {
    let mut text = String::new();
    for number in 0.. {
        if text.len() >= size {
            break;
        }
        text += &part(number);
    }
    text
}

fn repeat(size: usize, part: &str) -> String {
    part.repeat(size / part.len())
}

/// What `metadata` takes: entries of a map, or items of a list.
pub trait Field {
    fn put(self, field: &mut Value);
}

impl Field for Vec<(String, Value)> {
    fn put(self, field: &mut Value) {
        for (key, value) in self {
            field[key] = value;
        }
    }
}

impl Field for Vec<Value> {
    fn put(self, field: &mut Value) {
        *field = self.into();
    }
}

/// The review of an update from one object to another, or of a create where there is no old one, as the API server sends it.
pub fn review(old: Option<&Value>, new: &Value) -> String {
    let operation = if old.is_some() { "UPDATE" } else { "CREATE" };
    let request = json!({
        "uid": "u", "operation": operation, "namespace": "db", "name": "etcd",
        "resource": {"group": "apps", "version": "v1", "resource": "statefulsets"}, "object": new, "oldObject": old,
    });
    json!({"kind": "AdmissionReview", "apiVersion": "admission.k8s.io/v1", "request": request}).to_string()
}

/// An enrolled etcd whose container has one field more.
pub fn etcd(field: &str, value: impl Into<Value>) -> Value {
    let mut object = json!({
        "apiVersion": "apps/v1", "kind": "StatefulSet",
        "metadata": {"name": "etcd", "namespace": "db", "labels": {"etcd-defrag.io/enabled": "true"}, "annotations": {}},
        "spec": {"replicas": 3, "serviceName": "etcd", "template": {"spec": {"containers": [{
            "name": "etcd", "image": "quay.io/coreos/etcd:v3.6.1", "command": ["etcd", "--listen-client-urls=http://0.0.0.0:2379"],
            "env": [{"name": "POD_NAME", "valueFrom": {"fieldRef": {"fieldPath": "metadata.name"}}}],
        }]}}},
    });
    object["spec"]["template"]["spec"]["containers"][0][field] = value.into();
    object
}

fn script(text: &str) -> Value {
    etcd("command", vec!["sh", "-c", text])
}

fn args(words: Vec<String>) -> Value {
    etcd("args", words)
}

fn env(values: &[String]) -> Value {
    let variables: Vec<Value> =
        values.iter().enumerate().map(|(n, value)| json!({"name": format!("V{n}"), "value": value})).collect();
    etcd("env", variables)
}

fn probed(words: Vec<String>, program: &str) -> Value {
    let command: Vec<String> = std::iter::once(program.to_owned()).chain(words).collect();
    let mut object = etcd("livenessProbe", json!({"exec": {"command": command}}));
    secure(&mut object["spec"]["template"]["spec"]["containers"][0]);
    object
}

fn secure(container: &mut Value) {
    container["args"] =
        json!(["--listen-client-urls=https://0.0.0.0:2379", "--cert-file=/z/a", "--trusted-ca-file=/z/b"]);
}

fn reader(number: usize, volume: &str) -> Value {
    json!({
        "name": format!("c{number}"),
        "args": ["--client-cacert-file=/t/x", "--client-cert-file=/t/y", "--client-key-file=/t/z"],
        "volumeMounts": [{"name": volume, "mountPath": "/t"}],
    })
}

fn sidecars(others: Vec<Value>, volumes: Vec<Value>) -> Value {
    let mut object = etcd("args", vec![""]);
    let pod = &mut object["spec"]["template"]["spec"];
    secure(&mut pod["containers"][0]);
    if let Some(containers) = pod["containers"].as_array_mut() {
        containers.extend(others);
    }
    pod["volumes"] = volumes.into();
    object
}

fn metadata(field: &str, value: impl Field) -> Value {
    let mut object = etcd("args", vec!["--quota-backend-bytes=8589934592"]);
    value.put(&mut object["metadata"][field]);
    object
}

fn labels(size: usize, prefix: &str) -> Value {
    metadata("labels", numbers(size, prefix.len() + 5, |n| (format!("{prefix}{n}"), json!("x"))))
}

fn annotated(key: &str, value: &str) -> Value {
    metadata("annotations", vec![(format!("etcd-defrag.io/{key}"), json!(value))])
}
