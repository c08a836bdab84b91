//! The program as people install it: its version, a plugin of kubectl, the cluster that is meant, a hook of pre-commit and an action of
//! GitHub.

#![allow(
    clippy::panic,
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "the lints know test functions, but not the helpers of tests"
)]

use std::{
    fs,
    io::{Read as _, Write as _},
    net::TcpListener,
    os::unix::fs::{PermissionsExt as _, symlink},
    path::{Path, PathBuf},
    process::{Command, Output},
    thread,
};

use etcd_defrag_webhook::defrag::engine;
use serde_json::Value;
use tempfile::TempDir;

const PROGRAM: &str = env!("CARGO_BIN_EXE_etcd-defrag-webhook");
const ROOT: &str = env!("CARGO_MANIFEST_DIR");
const EXAMPLE: &str = include_str!("../examples/kamaji-etcd.yaml");
/// What asks a cluster.
const LIVE: [&str; 5] = ["status", "pause", "resume", "selftest", "cronjob"];

fn run(program: &Path, args: &[&str]) -> Output {
    Command::new(program).args(args).env_clear().output().unwrap()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}

fn stdout(args: &[&str]) -> String {
    let output = run(Path::new(PROGRAM), args);
    assert_eq!(output.status.code(), Some(0), "{args:?}: {}", text(&output.stderr));
    text(&output.stdout)
}

#[test]
fn the_version_has_the_commit_and_the_engine() {
    let version = env!("CARGO_PKG_VERSION");
    let said = stdout(&["--version"]);
    let lines: Vec<&str> = said.lines().collect();
    assert_eq!(lines[0], format!("etcd-defrag-webhook {version}"));
    assert!(lines[1].starts_with("commit: ") && lines[1].len() > "commit: ".len(), "{said}");
    assert_eq!(lines[2], format!("engine: {}", engine::IMAGE));
    assert_eq!(stdout(&["-V"]), format!("etcd-defrag-webhook {version}\n"));
    assert!(stdout(&["version"]).starts_with(&format!("version: {version}\ncommit: ")));
    let data: Value = serde_json::from_str(&stdout(&["version", "-o", "json"])).unwrap();
    assert_eq!((data["version"].as_str(), data["engine"]["image"].as_str()), (Some(version), Some(engine::IMAGE)));
    assert_eq!(data["engine"]["version"], "v0.42.0");
    assert!(data["commit"].is_string() || data["commit"].is_null());
}

#[test]
fn as_a_plugin_it_says_how_it_is_called() {
    let folder = tempfile::tempdir().unwrap();
    let plugin = folder.path().join("kubectl-etcd_defrag");
    symlink(PROGRAM, &plugin).unwrap();
    let help = text(&run(&plugin, &["--help"]).stdout);
    assert!(help.contains("Usage: kubectl etcd-defrag <COMMAND>"), "{help}");
    let help = text(&run(&plugin, &["status", "-h"]).stdout);
    assert!(help.contains("Usage: kubectl etcd-defrag status [OPTIONS] [NAME]..."), "{help}");
    let wrong = text(&run(&plugin, &["statuz"]).stderr);
    assert!(wrong.contains("Usage: kubectl etcd-defrag <COMMAND>"), "{wrong}");
    let own = stdout(&["--help"]);
    assert!(own.contains("Usage: etcd-defrag-webhook <COMMAND>"), "{own}");
}

#[test]
fn every_live_command_takes_a_kubeconfig_a_context_and_a_namespace() {
    for command in LIVE {
        let help = stdout(&[command, "-h"]);
        for flag in ["--kubeconfig <FILE>", "--context <NAME>", "--namespace <"] {
            assert!(help.contains(flag), "{command} {flag}: {help}");
        }
    }
}

/// A kubeconfig with the contexts `one` and `two`, of which `one` is current, at these ports.
fn kubeconfig(folder: &Path, ports: [u16; 2]) -> PathBuf {
    let [one, two] = ports;
    let cluster =
        |name: &str, port: u16| format!("- {{name: {name}, cluster: {{server: 'http://127.0.0.1:{port}'}}}}\n");
    let context =
        |name: &str| format!("- {{name: {name}, context: {{cluster: {name}, user: me, namespace: of-{name}}}}}\n");
    let text = format!(
        "apiVersion: v1\nkind: Config\ncurrent-context: one\nusers: [{{name: me, user: {{}}}}]\nclusters:\n{}{}contexts:\n{}{}",
        cluster("one", one),
        cluster("two", two),
        context("one"),
        context("two"),
    );
    let file = folder.join("kubeconfig");
    fs::write(&file, text).unwrap();
    file
}

/// The path of the first request that the program makes; it is refused.
fn first_request(listener: TcpListener) -> thread::JoinHandle<String> {
    thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        let mut head = [0; 1024];
        let read = stream.read(&mut head).unwrap();
        let answer = "HTTP/1.1 403 Forbidden\r\ncontent-length: 0\r\nconnection: close\r\n\r\n";
        stream.write_all(answer.as_bytes()).unwrap();
        let head = String::from_utf8_lossy(&head[..read]).into_owned();
        head.split_whitespace().nth(1).unwrap_or_default().to_owned()
    })
}

#[test]
fn the_cluster_is_the_one_that_is_named() {
    let folder = tempfile::tempdir().unwrap();
    for (args, asked, namespace) in
        [(&[][..], 0, "of-one"), (&["--context", "two"], 1, "of-two"), (&["--context=two", "-n", "mine"], 1, "mine")]
    {
        let listeners = [0, 1].map(|_| TcpListener::bind("127.0.0.1:0").unwrap());
        let file = kubeconfig(folder.path(), [0, 1].map(|index: usize| listeners[index].local_addr().unwrap().port()));
        let [one, two] = listeners;
        let (listener, other) = if asked == 0 { (one, two) } else { (two, one) };
        let request = first_request(listener);
        let output = run(Path::new(PROGRAM), &[&["status", "--kubeconfig", file.to_str().unwrap()], args].concat());
        assert_eq!(output.status.code(), Some(2), "{}", text(&output.stderr));
        let path = request.join().unwrap();
        assert!(path.starts_with(&format!("/apis/apps/v1/namespaces/{namespace}/statefulsets")), "{args:?}: {path}");
        other.set_nonblocking(true).unwrap();
        assert!(other.accept().is_err(), "{args:?}: the other cluster was asked, too");
    }
    let file = kubeconfig(folder.path(), [1, 1]);
    let wrong = run(Path::new(PROGRAM), &["status", "--kubeconfig", file.to_str().unwrap(), "--context", "three"]);
    let said = text(&wrong.stderr);
    assert!(
        wrong.status.code() == Some(2) && said.contains("cannot use the kubeconfig") && said.contains("three"),
        "{said}"
    );
}

/// A repository with a sound manifest and a harmful one in a folder.
fn repository() -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    let harmful = EXAMPLE.replace(
        "\nspec:\n  serviceName",
        "\n  annotations:\n    etcd-defrag.io/schedule: '0 3 31 2 *'\nspec:\n  serviceName",
    );
    fs::create_dir(folder.path().join("bad")).unwrap();
    fs::write(folder.path().join("good.yaml"), EXAMPLE).unwrap();
    fs::write(folder.path().join("bad/etcd.yaml"), harmful).unwrap();
    folder
}

fn yaml(file: &str) -> Value {
    serde_saphyr::from_str(&fs::read_to_string(Path::new(ROOT).join(file)).unwrap()).unwrap()
}

/// The step of the action, run as GitHub runs it: its script by bash, its inputs in the environment.
#[test]
fn the_action_annotates_and_fails_where_something_is_refused() {
    let action = yaml("action.yml");
    let step = &action["runs"]["steps"][0];
    assert_eq!(step["run"], "\"$GITHUB_ACTION_PATH/scripts/action.sh\"");
    for (name, value) in step["env"].as_object().unwrap() {
        let input = value.as_str().unwrap().trim_start_matches("${{ inputs.").trim_end_matches(" }}");
        assert!(action["inputs"][input].is_object(), "{name} is of no input: {value}");
    }
    let folder = repository();
    let act = |files: &str| {
        let mut command = Command::new("bash");
        command.args(["-e", "-o", "pipefail", "-c", step["run"].as_str().unwrap()]).current_dir(folder.path());
        command.env("GITHUB_ACTION_PATH", ROOT).env("PROGRAM", PROGRAM).env("FILES", files).env("POLICY", "");
        let output = command.output().unwrap();
        (output.status.code(), text(&output.stdout))
    };
    assert_eq!(act("good.yaml\n").0, Some(0));
    let (code, said) = act("  good.yaml\n\n  bad\n");
    assert_eq!(code, Some(1), "{said}");
    assert!(said.contains("::error file=bad/etcd.yaml,line="), "{said}");
    assert!(said.contains("schedule-never-fires"), "{said}");
    let (code, said) = act("\n");
    assert!(code == Some(2) && said.starts_with("::error::"), "{said}");
}

/// As pre-commit calls it: the words of `entry`, and then the files.
#[test]
fn the_hooks_of_pre_commit_refuse_what_the_check_refuses() {
    let hooks = yaml(".pre-commit-hooks.yaml");
    let folder = repository();
    for hook in hooks.as_array().unwrap() {
        for field in ["id", "name", "entry", "language"] {
            assert!(hook[field].is_string(), "{hook}");
        }
        let mut words = hook["entry"].as_str().unwrap().split(' ');
        assert_eq!(words.next(), Some("etcd-defrag-webhook"));
        let words: Vec<&str> = words.collect();
        let code = |files: &[&str]| {
            let output = Command::new(PROGRAM).args(&words).args(files).current_dir(folder.path()).output().unwrap();
            output.status.code()
        };
        assert_eq!(code(&["good.yaml"]), Some(0), "{hook}");
        assert_eq!(code(&["good.yaml", "bad/etcd.yaml"]), Some(1), "{hook}");
    }
}

/// The manifest for krew is of the archives, and krew's own validation finds nothing where Go can build it.
#[test]
fn the_manifest_for_krew_installs_the_plugin() {
    let folder = tempfile::tempdir().unwrap();
    let there = |name: &str| folder.path().join(name);
    for architecture in ["amd64", "arm64"] {
        let program = there(&format!("etcd-defrag-webhook-linux-{architecture}"));
        fs::write(&program, format!("#!/bin/sh\necho {architecture}\n")).unwrap();
        fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).unwrap();
    }
    let make = || {
        let mut script = Command::new(Path::new(ROOT).join("scripts/krew.sh"));
        let made = script.args(["1.2.3", "https://git.example/team/project"]).arg(folder.path()).output().unwrap();
        assert!(made.status.success(), "{}", text(&made.stderr));
        fs::read_to_string(there("etcd-defrag.yaml")).unwrap()
    };
    let manifest = make();
    assert_eq!(make(), manifest, "the same binaries make the same bytes");
    let plugin: Value = serde_saphyr::from_str(&manifest).unwrap();
    let platforms = plugin["spec"]["platforms"].as_array().unwrap();
    assert_eq!(platforms.len(), 2);
    for platform in platforms {
        let (_, archive) = platform["uri"].as_str().unwrap().rsplit_once('/').unwrap();
        let sum = Command::new("sha256sum").arg(there(archive)).output().unwrap();
        assert!(text(&sum.stdout).starts_with(platform["sha256"].as_str().unwrap()), "{platform}");
        let unpacked = tempfile::tempdir().unwrap();
        let tar = Command::new("tar").arg("-xzf").arg(there(archive)).current_dir(unpacked.path()).status().unwrap();
        assert!(tar.success());
        let said = run(&unpacked.path().join(platform["bin"].as_str().unwrap()), &[]);
        assert_eq!(text(&said.stdout).trim(), platform["selector"]["matchLabels"]["arch"].as_str().unwrap());
    }

    let validator = "sigs.k8s.io/krew/cmd/validate-krew-manifest@v0.4.3";
    let go =
        |args: &[&str]| Command::new("go").args(args).env("GOBIN", folder.path()).current_dir(folder.path()).output();
    match go(&["install", validator]) {
        Ok(built) if built.status.success() => {
            let file = there("etcd-defrag.yaml");
            let valid = Command::new(there("validate-krew-manifest"))
                .args(["-skip-install", "-manifest", file.to_str().unwrap()])
                .output()
                .unwrap();
            assert!(valid.status.success(), "{}", text(&valid.stderr));
        }
        _ => println!(
            "SKIPPED: the_manifest_for_krew_installs_the_plugin: krew's validation cannot be built here (go install {validator})"
        ),
    }
}
