//! `render` prints the CronJobs that are there, and `status` the findings that are on them: for every example and fixture, and
//! for what only a cluster can show.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    io::Write as _,
    path::Path,
    process::{Command, Stdio},
    thread::sleep,
    time::{Duration, Instant},
};

use serde_json::{Value, json};

use super::{
    lifecycle::foreign_cronjob,
    policies::manifest,
    status::failed_run,
    support::{Namespace, SOON, World, asleep, etcd, stderr, unlabelled},
};
use harness::{SLOWER, binary, make_namespace};

const MANAGER: &str = "etcd-defrag-webhook";
const FINDINGS: &str = "etcd-defrag.io/findings";
const POLL: Duration = Duration::from_millis(500);

/// An etcd by namespace and name.
type Name = (String, String);

/// Every StatefulSet of the examples and of the fixtures, with the file that it stands in.
fn statefulsets() -> Vec<(String, Value)> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut files = Vec::new();
    let mut folders = vec![root.join("examples"), root.join("tests/fixtures/charts")];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "yaml") {
                files.push(path);
            }
        }
    }
    files.sort();
    let mut found = Vec::new();
    for file in files {
        let documents: Vec<Value> = serde_saphyr::from_multiple(&fs::read_to_string(&file).unwrap()).unwrap();
        let name = file.file_stem().unwrap().to_str().unwrap();
        let ours = documents.into_iter().filter(|object| object["kind"] == "StatefulSet");
        found.extend(ours.map(|object| (name.to_owned(), object)));
    }
    found
}

/// The same object enrolled and in another namespace, and with what the API server asks for.
fn enrolled(object: &Value, namespace: &str) -> Value {
    let before = object["metadata"]["namespace"].as_str().unwrap();
    // Hosts name the namespace; "default" is a word of its own.
    let text = if before == "default" { object.to_string() } else { object.to_string().replace(before, namespace) };
    let mut object: Value = serde_json::from_str(&text).unwrap();
    object["metadata"]["namespace"] = json!(namespace);
    object["metadata"]["labels"]["etcd-defrag.io/enabled"] = json!("true");
    if object["spec"]["selector"].is_null() {
        object["spec"]["selector"] = json!({"matchLabels": {"app": "etcd"}});
        object["spec"]["template"]["metadata"] = json!({"labels": {"app": "etcd"}});
    }
    for claim in object["spec"]["volumeClaimTemplates"].as_array_mut().into_iter().flatten() {
        claim["spec"]["accessModes"] = json!(["ReadWriteOnce"]);
    }
    object
}

/// The same object with what it is refused for put right; nothing where it is not refused.
fn completed(file: &str, mut object: Value) -> Option<Value> {
    let endpoints = "http://my-etcd-0.my-etcd-headless.databases.svc:2379";
    let annotations = match file {
        "bitnami" => json!({"username-secret": "my-etcd:user=root,etcd-root-password"}),
        "bitnami-config-file" => json!({"endpoints": endpoints, "quota": "4Gi"}),
        "cozystack" => json!({"client-secret": "etcd-client-certs"}),
        "etcd-example" | "k0smotron" => {
            let claim = &mut object["spec"]["volumeClaimTemplates"][0]["spec"];
            claim["resources"]["requests"]["storage"] = json!("4Gi");
            json!({})
        }
        _ => return None,
    };
    for (key, value) in annotations.as_object().unwrap() {
        object["metadata"]["annotations"][format!("etcd-defrag.io/{key}")] = value.clone();
    }
    Some(object)
}

/// What `kubectl get sts,cronjob,job,ns,dfp -A` prints.
fn stream(world: &World) -> String {
    world.plane.kubectl_ok(&["get", "sts,cronjob,job,ns,dfp", "-A", "-o", "yaml"])
}

/// The CronJobs that `render` makes of a stream, by their StatefulSets.
fn rendered(stream: &str) -> BTreeMap<Name, Value> {
    let mut command = Command::new(binary());
    command.args(["render", "-o", "json", "-f", "-"]).env_clear();
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let (mut stdin, input) = (child.stdin.take().unwrap(), stream.to_owned());
    let writer = std::thread::spawn(move || stdin.write_all(input.as_bytes()));
    let output = child.wait_with_output().unwrap();
    writer.join().unwrap().unwrap();
    assert!(output.status.code().is_some_and(|code| code < 2), "{}", stderr(&output));
    let list: Value = serde_json::from_slice(&output.stdout).unwrap();
    let cronjobs = list["items"].as_array().unwrap().iter().filter(|item| item["kind"] == "CronJob");
    cronjobs.map(|cronjob| (statefulset_of(cronjob), cronjob.clone())).collect()
}

/// The CronJobs that are there and ours, by their StatefulSets.
fn live(world: &World) -> BTreeMap<Name, Value> {
    let label = format!("app.kubernetes.io/managed-by={MANAGER}");
    let all = world.plane.get(&["cronjobs", "-A", "--show-managed-fields", "-l", &label]).unwrap();
    all["items"].as_array().unwrap().iter().map(|cronjob| (statefulset_of(cronjob), cronjob.clone())).collect()
}

fn statefulset_of(cronjob: &Value) -> Name {
    let meta = &cronjob["metadata"];
    let text = |value: &Value| value.as_str().unwrap_or_else(|| panic!("{meta:#}")).to_owned();
    (text(&meta["namespace"]), text(&meta["annotations"]["etcd-defrag.io/statefulset"]))
}

/// The codes that `status` shows, for each etcd.
fn codes_of_status(world: &World) -> BTreeMap<Name, BTreeSet<String>> {
    let mut command = Command::new(binary());
    command.args(["status", "-A", "-o", "json"]).env("KUBECONFIG", world.plane.kubeconfig());
    let output = command.output().unwrap();
    let rows: Vec<Value> = serde_json::from_slice(&output.stdout).unwrap_or_else(|_| panic!("{}", stderr(&output)));
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    let codes = |row: &Value| row["findings"].as_array().unwrap().iter().map(|one| text(&one["code"])).collect();
    rows.iter().map(|row| ((text(&row["namespace"]), text(&row["name"])), codes(row))).collect()
}

/// The codes on a CronJob.
fn codes_on(cronjob: &Value) -> BTreeSet<String> {
    let list = cronjob["metadata"]["annotations"][FINDINGS].as_str().unwrap_or_default();
    list.split(',').filter(|code| !code.is_empty()).map(str::to_owned).collect()
}

/// In what a rendered CronJob is not the live one: every field that our field manager owns, and every one that was rendered.
fn differences(live: &Value, rendered: &Value) -> Vec<String> {
    let mut found = Vec::new();
    let managed = live["metadata"]["managedFields"].as_array().unwrap();
    let ours: Vec<&Value> = managed.iter().filter(|entry| entry["manager"] == MANAGER).collect();
    assert!(!ours.is_empty(), "we own nothing of {live:#}");
    for entry in ours {
        owned(&entry["fieldsV1"], live, rendered, "", &mut found);
    }
    beyond(rendered, live, "", &mut found);
    found.sort();
    found.dedup();
    found
}

/// Walks the fields that are owned: `f:` names a field, `k:` an element of a list by its keys, `v:` one by its value.
fn owned(fields: &Value, live: &Value, rendered: &Value, path: &str, found: &mut Vec<String>) {
    let below = fields.as_object().unwrap();
    // What the last run did is nothing that a StatefulSet asks for.
    if below.is_empty() && live != rendered && !path.ends_with("f:etcd-defrag.io/last-run") {
        found.push(format!("{path}: live {live}, rendered {rendered}"));
    }
    for (key, fields) in below.iter().filter(|(key, _)| *key != ".") {
        let path = format!("{path}.{key}");
        let (live, rendered) = match key.split_once(':').unwrap() {
            ("f", name) => (&live[name], &rendered[name]),
            ("k", keys) => {
                let keys: Value = serde_json::from_str(keys).unwrap();
                (element(live, |one| has(one, &keys)), element(rendered, |one| has(one, &keys)))
            }
            ("v", value) => {
                let value: Value = serde_json::from_str(value).unwrap();
                (element(live, |one| *one == value), element(rendered, |one| *one == value))
            }
            other => panic!("{other:?} in managedFields"),
        };
        owned(fields, live, rendered, &path, found);
    }
}

fn element(list: &Value, wanted: impl Fn(&Value) -> bool) -> &Value {
    list.as_array().into_iter().flatten().find(|one| wanted(one)).unwrap_or(&Value::Null)
}

fn has(element: &Value, keys: &Value) -> bool {
    keys.as_object().unwrap().iter().all(|(key, value)| element[key] == *value)
}

/// Walks what was rendered.
fn beyond(rendered: &Value, live: &Value, path: &str, found: &mut Vec<String>) {
    match (rendered, live) {
        (Value::Object(fields), Value::Object(_)) => {
            for (name, value) in fields {
                beyond(value, &live[name], &format!("{path}.f:{name}"), found);
            }
        }
        _ if rendered != live => found.push(format!("{path}: live {live}, rendered {rendered}")),
        _ => {}
    }
}

/// A test's namespaces.
struct Places {
    world: &'static World,
    names: BTreeSet<String>,
}

impl Places {
    /// A new one with labels.
    fn add(&mut self, purpose: &str, labels: &[&str]) -> String {
        let name = make_namespace(&self.world.plane, purpose);
        // The pods of fixtures ask for what "restricted" forbids, and an Event for each of them is not what this is about.
        let labels = [&["pod-security.kubernetes.io/enforce-"], labels].concat();
        self.world.plane.kubectl_ok(&[&["label", "namespace", &name], labels.as_slice()].concat());
        self.names.insert(name.clone());
        name
    }

    fn namespace(&self, name: &str) -> Namespace<'_> {
        Namespace { plane: &self.world.plane, name: name.to_owned() }
    }

    fn here<T>(&self, mut all: BTreeMap<Name, T>) -> BTreeMap<Name, T> {
        all.retain(|(namespace, _), _| self.names.contains(namespace));
        all
    }

    /// Everything in which what `render` and `status` print is not what is there.
    fn disagreements(&self) -> (Vec<String>, usize) {
        let printed = self.here(rendered(&stream(self.world)));
        let live = self.here(live(self.world));
        let codes = self.here(codes_of_status(self.world));
        let mut found = Vec::new();
        for (name, cronjob) in &live {
            match printed.get(name) {
                Some(printed) => found.extend(differences(cronjob, printed).iter().map(|one| format!("{name:?}{one}"))),
                None => found.push(format!("{name:?}: live and not rendered")),
            }
            let on = codes_on(cronjob);
            if codes.get(name) != Some(&on) {
                found.push(format!("{name:?}: {on:?} on the CronJob, {:?} by status", codes.get(name)));
            }
        }
        let unmade = printed.keys().filter(|name| !live.contains_key(*name));
        found.extend(unmade.map(|name| format!("{name:?}: rendered and not live")));
        (found, live.len())
    }

    /// Waits until nothing disagrees; returns how many CronJobs there are.
    #[track_caller]
    fn agree(&self) -> usize {
        let begun = Instant::now();
        loop {
            let (found, cronjobs) = self.disagreements();
            if found.is_empty() {
                return cronjobs;
            }
            assert!(begun.elapsed() < SLOWER * SOON, "{} disagreements:\n{}", found.len(), found.join("\n"));
            sleep(POLL);
        }
    }
}

/// The policies of the examples, and those of this test's own.
fn policies(world: &World) {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/examples/policies");
    world.plane.kubectl_ok(&["apply", "-f", folder]);
    let own = |name: &str, budget: u32| {
        let spec = json!({
            "priority": 200, "namespaceSelector": {"matchLabels": {"budget": name}}, "job": {"failureBudget": budget},
        });
        world.plane.apply(&manifest(&format!("rendered-{name}"), &spec));
    };
    own("spent", 1);
    own("left", 2);
}

#[test]
fn what_render_and_status_print_is_what_is_there_for_every_example_and_fixture() {
    let world = asleep();
    policies(world);
    let mut places = Places { world, names: BTreeSet::new() };
    let mut objects = Vec::new();
    let files = statefulsets();
    for (file, object) in &files {
        objects.push(enrolled(object, &places.add(&format!("rendered-{file}"), &[])));
        let completed = completed(file, object.clone());
        objects.extend(completed.map(|object| enrolled(&object, &places.add(&format!("completed-{file}"), &[]))));
    }

    let here = places.add("rendered", &[]);
    objects.push(etcd(&here, "plain", &[]));
    objects.push(etcd(&here, "own", &[("schedule", "H H * * 0"), ("quota-usage-above", "70%"), ("free-above", "1Gi")]));
    objects.push(etcd(&here, "paused", &[("suspend", "true"), ("compaction", "true")]));
    objects.push(etcd(&here, "asked", &[("defrag-now", "once")]));
    objects.push(etcd(&here, &"as-long-as".repeat(5), &[]));
    objects.push(etcd(&here, "crowded", &[]));
    objects.push(etcd(&here, "taken", &[]));
    objects.push(etcd(&here, "refused", &[("schedule", "* * * * *")]));
    let mut zero = etcd(&here, "zero", &[]);
    zero["spec"]["replicas"] = json!(0);
    objects.push(zero);
    let mut tried = etcd(&here, "tried", &[]);
    (tried["metadata"]["labels"]["tier"], tried["spec"]["replicas"]) = (json!("staging"), json!(1));
    objects.push(tried);
    let mut production = etcd(&places.add("rendered-production", &["environment=production"]), "etcd", &[]);
    production["spec"]["template"]["spec"]["containers"][0]["livenessProbe"]["failureThreshold"] = json!(30);
    objects.push(production);
    objects.push(unlabelled(etcd(&places.add("rendered-tenant", &["tenant=one"]), "etcd", &[])));
    let [spent, left] = ["spent", "left"].map(|budget| places.add(budget, &[&format!("budget={budget}")]));
    objects.extend([&spent, &left].map(|namespace| etcd(namespace, "etcd", &[])));
    // Beside one, and in the place of another.
    let mut rival = foreign_cronjob(&here, "nightly");
    let pod = &mut rival["spec"]["jobTemplate"]["spec"]["template"]["spec"];
    pod["containers"][0]["command"] = json!(["etcdctl", "--endpoints=https://crowded-0.kamaji-etcd:2379", "defrag"]);
    objects.insert(0, rival);
    objects.insert(0, foreign_cronjob(&here, "taken-defrag-job"));
    let list = json!({"apiVersion": "v1", "kind": "List", "items": objects});
    let applied = world.plane.kubectl_stdin(["apply", "--server-side", "-f", "-"], &list.to_string());
    assert!(applied.status.success(), "{}", stderr(&applied));
    for namespace in [&spent, &left] {
        places.namespace(namespace).cronjob("etcd");
        failed_run(&places.namespace(namespace), "etcd-defrag-job");
    }

    let cronjobs = places.agree();
    println!("{} files, {} objects, {cronjobs} CronJobs", files.len(), objects.len());
    assert!(files.len() >= 13 && cronjobs >= 24, "{} files, {cronjobs} CronJobs", files.len());

    // What was to be compared was there.
    let annotation = |namespace: &str, name: &str, key: &str| {
        let cronjob = places.namespace(namespace).cronjob(name);
        cronjob["metadata"]["annotations"][format!("etcd-defrag.io/{key}")].as_str().unwrap_or_default().to_owned()
    };
    assert!(annotation(&here, "crowded", "findings").contains("rival-defragmenter"));
    assert!(annotation(&spent, "etcd", "failed-runs").starts_with("1 until"));
    assert!(annotation(&left, "etcd", "failed-runs").starts_with("1 until"));
    assert_eq!(places.namespace(&spent).cronjob("etcd")["spec"]["suspend"], true);
    assert_eq!(places.namespace(&left).cronjob("etcd")["spec"]["suspend"], false);
    assert_eq!(annotation(&here, "tried", "policy"), "trial");
    assert!(places.namespace(&here).get("cronjob", "refused-defrag-job").is_none());
    let codes = codes_of_status(world);
    assert!(codes[&(here.clone(), "taken".to_owned())].contains("cronjob-foreign"), "{codes:?}");
    assert!(codes[&(here, "refused".to_owned())].contains("schedule-too-often"), "{codes:?}");
}

/// With its CronJob in the stream, a refused etcd has what is in force.
#[test]
fn what_render_and_status_print_of_refused_etcds_is_what_stays_in_force() {
    let world = asleep();
    let mut places = Places { world, names: BTreeSet::new() };
    let here = places.add("rendered-refused", &[]);
    let ns = places.namespace(&here);
    let name = format!("{here}-policy");
    let govern = |spec: Value| {
        let mut spec = spec;
        spec["priority"] = json!(1000);
        spec["namespaceSelector"] = json!({"matchLabels": {"kubernetes.io/metadata.name": here}});
        world.plane.apply(&manifest(&name, &spec));
    };
    govern(json!({"defaults": {"schedule": "H H * * *"}}));
    let names = ["stricter", "mistyped", "hidden", "unclear"];
    for etcd in names.map(|name| etcd(&here, name, &[])) {
        ns.accepts(&etcd);
    }
    for name in names {
        ns.cronjob(name);
    }
    govern(json!({"limits": {"minInterval": "48h", "minIntervalWithoutFloor": "48h"}}));
    ns.run(&["annotate", "statefulset", "mistyped", "etcd-defrag.io/shedule=9 9 * * *"]);
    ns.run(&["label", "statefulset", "unclear", "etcd-defrag.io/enabled=perhaps", "--overwrite"]);
    let web = json!({"spec": {"template": {"spec": {"containers": [{"name": "web", "image": "nginx:1"}]}}}});
    ns.run(&["patch", "statefulset", "hidden", "--type=merge", "-p", &web.to_string()]);
    for (name, code) in
        names.into_iter().zip(["schedule-too-often", "annotation-unknown", "etcd-not-found", "enabled-invalid"])
    {
        ns.run(&["scale", "statefulset", name, "--replicas=5"]);
        ns.cronjob_that(name, &format!("tell of {code}"), |cronjob| codes_on(cronjob).contains(code));
    }
    assert_eq!(places.agree(), names.len());
}
