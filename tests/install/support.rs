//! A node with cert-manager's controllers beside it, and the chart on it.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
    sync::{Mutex, MutexGuard, PoisonError},
    thread,
    time::{Duration, Instant},
};

use serde_json::{Value, json};
use tempfile::TempDir;

use harness::{CertManager, ControlPlane, Node, chart, eventually, helm_ok, image_argument, own_image};

pub(crate) const RELEASE: &str = "etcd-defrag-webhook";
pub(crate) const NAMESPACE: &str = "etcd-defrag-system";

/// The image's name in docs/install.md.
const PUSHED: &str = "registry.example/etcd-defrag-webhook";

/// What one step needs at most, with room for a busy machine.
pub(crate) const SOON: Duration = Duration::from_mins(1);

/// A node. What is installed belongs to the whole cluster, so the tests have it one after the other.
pub(crate) struct World {
    // Dropped first: it must not outlive its API server.
    _cert_manager: CertManager,
    pub(crate) node: Node,
}

/// Makes an archive of our own image, under the name that docs/install.md gives it, as if it had been pushed there and pulled.
fn pushed_image() -> PathBuf {
    let folder = TempDir::with_prefix("etcd-defrag-pushed-").unwrap();
    let content = folder.path();
    let tar = |args: &[&Path]| {
        let status = Command::new("tar").args(args).status().unwrap();
        assert!(status.success(), "tar {args:?}: {status}");
    };
    tar(&[Path::new("-xf"), own_image(), Path::new("-C"), content]);
    let read = |file: &str| fs::read_to_string(content.join(file)).unwrap();
    let manifest: Value = serde_json::from_str(&read("manifest.json")).unwrap();
    let name = manifest[0]["RepoTags"][0].as_str().unwrap();
    let (_, version) = name.rsplit_once(':').unwrap();
    for file in ["manifest.json", "index.json"] {
        let renamed = read(file).replace(name, &format!("{PUSHED}:{version}"));
        assert!(renamed.contains(PUSHED), "{file} has no {name}");
        fs::write(content.join(file), renamed).unwrap();
    }
    let files: Vec<_> = fs::read_dir(content).unwrap().map(|file| file.unwrap().file_name()).collect();
    // The node may read it again for as long as it runs, which is until this program ends.
    let archive = Path::new(env!("CARGO_TARGET_TMPDIR")).join("pushed.tar");
    let into = [Path::new("-cf"), &archive, Path::new("-C"), content];
    tar(&into.into_iter().chain(files.iter().map(Path::new)).collect::<Vec<_>>());
    archive
}

/// What a test has while it is its turn: the world that the one before left, if there is one.
pub(crate) struct Turn(MutexGuard<'static, Option<World>>);

impl Turn {
    /// Waits for it: one test after the other has a node, for beside more nodes etcds starve.
    pub(crate) fn take() -> Self {
        static WORLD: Mutex<Option<World>> = Mutex::new(None);
        // A test that failed has ended its world.
        Self(WORLD.lock().unwrap_or_else(PoisonError::into_inner))
    }

    pub(crate) fn plane(&self) -> &ControlPlane {
        &self.0.as_ref().expect("made by world()").node
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        if thread::panicking() {
            *self.0 = None;
        }
    }
}

/// A world with nothing of ours in it. `None` where no node can run.
pub(crate) fn world(test: &str) -> Option<Turn> {
    let mut turn = Turn::take();
    if let Some(world) = turn.0.as_ref() {
        // Certificates would be taken over.
        world.node.kubectl_ok(&["delete", "namespace", NAMESPACE, "--ignore-not-found", "--timeout=2m"]);
    } else {
        let node = Node::start_with_own_image(test, || vec![image_argument(&pushed_image())])?;
        let cert_manager = CertManager::start(&node);
        println!("cert-manager's controllers ran after {:.1} s", cert_manager.start_time.as_secs_f64());
        *turn.0 = Some(World { node, _cert_manager: cert_manager });
    }
    // Enforces Pod Security "restricted".
    turn.plane().apply(include_str!("../../deploy/manifests/00-namespace.yaml"));
    Some(turn)
}

/// The chart on a cluster.
pub(crate) struct Release<'a> {
    pub(crate) plane: &'a ControlPlane,
}

impl<'a> Release<'a> {
    /// Installs it and waits until all pods are ready.
    #[track_caller]
    pub(crate) fn install(plane: &'a ControlPlane, values: &str) -> Self {
        let release = Self { plane };
        release.run("install", values);
        release
    }

    /// Changes it to these values and waits until all pods are ready.
    #[track_caller]
    pub(crate) fn upgrade(&self, values: &str) {
        self.run("upgrade", values);
    }

    #[track_caller]
    fn run(&self, what: &str, values: &str) {
        let begun = Instant::now();
        let chart = chart();
        let chart = chart.to_str().unwrap();
        let args = [what, RELEASE, chart, "--namespace", NAMESPACE, "--wait", "--timeout=3m", "-f", "-"];
        let output = self.plane.helm(args, values);
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(output.status.success(), "helm {what}: {said}\n{}", self.state());
        println!("helm {what}: {:.1} s", begun.elapsed().as_secs_f64());
    }

    /// What `helm test` says, logs included.
    #[track_caller]
    pub(crate) fn test(&self) -> String {
        self.plane.helm_ok(&["test", RELEASE, "--namespace", NAMESPACE, "--logs", "--timeout=2m"], "")
    }

    /// Uninstalls it and waits until everything of it is gone.
    #[track_caller]
    pub(crate) fn uninstall(self) {
        let begun = Instant::now();
        self.plane.helm_ok(&["uninstall", RELEASE, "--namespace", NAMESPACE, "--wait", "--timeout=2m"], "");
        println!("helm uninstall: {:.1} s", begun.elapsed().as_secs_f64());
    }

    /// What differs between the cluster and these values, as a server-side dry-run sees it.
    #[track_caller]
    pub(crate) fn drift(&self, values: &str, known: bool) -> String {
        let chart = chart();
        let mut args = vec!["template", RELEASE, chart.to_str().unwrap(), "--namespace", NAMESPACE, "--skip-tests"];
        args.extend(["-f", "-"]);
        if known {
            args.push("--api-versions=etcd-defrag.io/v1alpha1/DefragPolicy");
        }
        let mut objects: Vec<Value> = serde_saphyr::from_multiple(&helm_ok(&args, values)).unwrap();
        objects.retain(|object| !object.is_null());
        for object in &mut objects {
            // What Helm adds to everything that it installs.
            let annotations = &mut object["metadata"]["annotations"];
            annotations["meta.helm.sh/release-name"] = json!(RELEASE);
            annotations["meta.helm.sh/release-namespace"] = json!(NAMESPACE);
        }
        let list = json!({"apiVersion": "v1", "kind": "List", "items": objects}).to_string();
        let output = self.plane.kubectl_stdin(["diff", "--server-side", "--field-manager=helm", "-f", "-"], &list);
        let said = [output.stdout, output.stderr].map(|text| String::from_utf8_lossy(&text).into_owned()).concat();
        assert!(output.status.success() == said.is_empty(), "kubectl diff: {} {said}", output.status);
        said
    }

    /// The pods of the Deployment.
    pub(crate) fn pods(&self) -> Vec<Value> {
        let selector = format!("app.kubernetes.io/instance={RELEASE},app.kubernetes.io/component!=test");
        let pods = self.plane.get(&["-n", NAMESPACE, "pods", "-l", &selector]).unwrap();
        pods["items"].as_array().unwrap().clone()
    }

    /// What there is to see when something went wrong.
    fn state(&self) -> String {
        let show = |args: &[&str]| {
            let output = self.plane.kubectl(args);
            [output.stdout, output.stderr].map(|text| String::from_utf8_lossy(&text).into_owned()).concat()
        };
        let selector = format!("app.kubernetes.io/instance={RELEASE}");
        [
            show(&["-n", NAMESPACE, "get", "pods,certificates,issuers,secrets", "-o", "wide"]),
            show(&["-n", NAMESPACE, "get", "events"]),
            show(&["-n", NAMESPACE, "logs", "-l", &selector, "--tail=40"]),
        ]
        .join("\n")
    }
}

/// Waits for the CronJob of an etcd; returns it.
#[track_caller]
pub(crate) fn cronjob(plane: &ControlPlane, namespace: &str, name: &str, wanted: impl Fn(&Value) -> bool) -> Value {
    let job = format!("{name}-defrag-job");
    eventually(&format!("the CronJob {namespace}/{job}"), SOON, || {
        plane.get(&["-n", namespace, "cronjob", &job]).filter(&wanted)
    })
}
