//! What a terminal is sent where objects, file names and arguments are hostile: nothing that it obeys, and no line that is
//! not ours. The same of `status`, on a real control plane, is in `tests/e2e/status.rs`.

#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "the lints know test functions, but not their helpers"
)]

use std::{fmt::Write as _, fs, path::Path, process::Command};

use etcd_defrag_webhook::defrag::text::is_printable;
use harness::{Screen, on_terminal};
use serde_json::{Value, json};

/// Clears the screen, in three ways, forges a line, takes back what the line begins with, and turns the rest around.
const HOSTILE: &str = "x\n\u{1b}[2J\u{1b}[H\u{9b}2J\u{1b}cforged: all is well\r\u{202e}\u{200b}\u{2028}y";
/// The same as people see it.
const SEEN: &str = r"x\n\u{1b}[2J\u{1b}[H\u{9b}2J\u{1b}cforged: all is well\r\u{202e}\u{200b}\u{2028}y";

/// A folder with files of these names and contents.
fn folder(files: &[(&str, String)]) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    for (name, text) in files {
        fs::write(folder.path().join(name), text).unwrap();
    }
    folder
}

/// A file that is read only once somebody writes into it.
#[test]
fn long_work_shows_what_it_is_at() {
    let folder = folder(&[]);
    let pipe = folder.path().join("slow.yaml");
    let made = Command::new("mkfifo").arg(&pipe).status().unwrap();
    assert!(made.success());
    let writer = std::thread::spawn(move || {
        // Opens once the program has: by then the work has begun.
        let mut pipe = fs::OpenOptions::new().write(true).open(pipe).unwrap();
        // Several times what is no long work.
        std::thread::sleep(std::time::Duration::from_secs(8));
        std::io::Write::write_all(&mut pipe, include_bytes!("../examples/kamaji-etcd.yaml")).unwrap();
    });
    let Some(screen) = screen("long_work_shows_what_it_is_at", folder.path(), &["check", "-f", "slow.yaml"]) else {
        // Nobody reads, so nobody writes.
        return;
    };
    writer.join().unwrap();
    let (before, after) = screen.sent.rsplit_once("reading slow.yaml").unwrap_or_else(|| panic!("{:?}", screen.sent));
    assert!(before.contains("1/1"), "{:?}", screen.sent);
    // The line is cleared before anything else is written.
    assert!(after.contains("\u{1b}[2K") || after.contains("\u{1b}[K") || after.contains("\u{1b}[J"), "{after:?}");
    assert!(after.contains("1 StatefulSet, 1 enrolled"), "{after:?}");
    assert_eq!(screen.code, Some(0), "{:?}", screen.sent);
}

fn screen(test: &str, folder: &Path, args: &[&str]) -> Option<Screen> {
    let mut command = Command::new(env!("CARGO_BIN_EXE_etcd-defrag-webhook"));
    command.args(args).current_dir(folder);
    on_terminal(test, &command)
}

/// JSON of ASCII alone: YAML holds no control characters as they are.
fn ascii(value: &Value) -> String {
    let mut text = String::new();
    for c in value.to_string().chars() {
        if c.is_ascii() {
            text.push(c);
            continue;
        }
        for unit in c.encode_utf16(&mut [0; 2]) {
            write!(text, "\\u{unit:04x}").unwrap();
        }
    }
    text
}

/// The lines, none of which is forged.
#[track_caller]
fn lines(screen: &Screen) -> Vec<String> {
    let lines = screen.lines(is_printable);
    assert!(!lines.iter().any(|line| line.trim_start().starts_with("forged")), "{lines:#?}");
    lines
}

/// An enrolled etcd that says something hostile wherever it may.
fn hostile() -> Value {
    let text = fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/examples/kamaji-etcd.yaml")).unwrap();
    let mut object: Value = serde_saphyr::from_str(&text).unwrap();
    object["metadata"]["annotations"] = json!({
        "etcd-defrag.io/schedule": HOSTILE, "etcd-defrag.io/rule": HOSTILE, "etcd-defrag.io/time-zone": HOSTILE,
        "etcd-defrag.io/ca-secret": HOSTILE, "etcd-defrag.io/endpoints": HOSTILE, "etcd-defrag.io/quota": HOSTILE,
        "etcd-defrag.io/command-timeout": HOSTILE, "etcd-defrag.io/suspend": HOSTILE,
        format!("etcd-defrag.io/{HOSTILE}"): HOSTILE,
    });
    object["spec"]["template"]["spec"]["containers"][0]["image"] = json!(HOSTILE);
    object
}

#[test]
fn check_sends_a_terminal_nothing_that_it_obeys() {
    let name = format!("{HOSTILE}.json");
    let folder = folder(&[(&name, ascii(&hostile()))]);
    let test = "check_sends_a_terminal_nothing_that_it_obeys";
    let Some(screen) = screen(test, folder.path(), &["check", "-f", &name]) else { return };
    let lines = lines(&screen);
    assert!(screen.is_coloured() && screen.code == Some(1), "{lines:#?}");
    let findings = lines.iter().filter(|line| line.starts_with(&format!("{SEEN}.json:1: "))).count();
    assert!(findings > 8, "{lines:#?}");
    assert!(
        lines.iter().any(|line| line.contains(&format!("metadata.annotations[etcd-defrag.io/{SEEN}]"))),
        "{lines:#?}"
    );
    assert!(lines.last().unwrap().starts_with("1 StatefulSet, 1 enrolled, 1 refused: "), "{lines:#?}");
}

#[test]
fn a_line_break_in_a_file_name_forges_no_line() {
    let broken = format!("{HOSTILE}.yaml");
    let folder = folder(&[(&broken, "kind: [".to_owned()), ("kindless\nforged.yaml", "a: 1".to_owned())]);
    let test = "a_line_break_in_a_file_name_forges_no_line";
    for (args, code) in [
        (&["check", "-f", &broken][..], 2),
        (&["check", "-f", "kindless\nforged.yaml"], 0),
        (&["check", "-f", "nowhere\nforged.yaml"], 2),
        (&["check", "-f", "kindless\nforged.yaml", "--policy", "kindless\nforged.yaml"], 2),
        (&["render", "-f", "kindless\nforged.yaml"], 0),
        (&["cronjob", "-f", "nowhere\nforged.yaml"], 2),
        (&["certs", "--out", "kindless\nforged.yaml"], 2),
        // As a shell's `*` names a file.
        (&["check", "-f", "a", "--x\nforged"], 2),
        (&["-\u{1b}[2J\nforged"], 2),
        (&["forged\n\u{9b}2J\nforged"], 2),
        (&["explain", "--output", "\u{1b}[2J\nforged", "list"], 2),
        (&["explain", "rule", "--quota", "\u{1b}[2J\nforged", "true"], 2),
        (&["explain", "schedule", "--from", "\u{1b}[2J\nforged", "@daily"], 2),
        (&["explain", "schedule", "--count", "\u{1b}[2J\nforged", "@daily"], 2),
        (&["explain", "no\u{1b}[2J\nforged"], 2),
    ] {
        let Some(screen) = screen(test, folder.path(), args) else { return };
        let lines = lines(&screen);
        assert_eq!(screen.code, Some(code), "{args:?}: {lines:#?}");
        assert!(!lines.is_empty(), "{args:?}");
    }
}

#[test]
fn names_in_a_kubeconfig_are_text() {
    let config = json!({"apiVersion": "v1", "kind": "Config", "current-context": HOSTILE, "contexts": [], "clusters": [],
        "users": []});
    let folder = folder(&[("kubeconfig", ascii(&config))]);
    let mut command = Command::new(env!("CARGO_BIN_EXE_etcd-defrag-webhook"));
    command.args(["status", "-A"]).env("KUBECONFIG", folder.path().join("kubeconfig"));
    let Some(screen) = on_terminal("names_in_a_kubeconfig_are_text", &command) else { return };
    let lines = lines(&screen);
    assert_eq!((lines.len(), screen.code), (1, Some(2)), "{lines:#?}");
    assert!(lines[0].contains(SEEN), "{lines:#?}");
}

#[test]
fn an_unknown_field_of_a_policy_has_a_line_of_its_own_and_no_more() {
    let policy = json!({"apiVersion": "etcd-defrag.io/v1alpha1", "kind": "DefragPolicy", "metadata": {"name": "p"},
        "spec": {HOSTILE: 1, "other": 2}});
    let folder = folder(&[("a.json", ascii(&hostile())), ("p.json", ascii(&policy))]);
    let test = "an_unknown_field_of_a_policy_has_a_line_of_its_own_and_no_more";
    let Some(screen) = screen(test, folder.path(), &["check", "-f", "a.json", "--policy", "p.json"]) else { return };
    let lines = lines(&screen);
    assert_eq!((lines.len(), screen.code), (2, Some(2)), "{lines:#?}");
    assert!(lines[0].starts_with("error: p.json:1: "), "{lines:#?}");
    assert!(lines.concat().contains(&format!("spec[{SEEN}] ")), "{lines:#?}");
}

#[test]
fn render_says_what_is_wrong_in_lines_of_ours() {
    let policy = json!({"apiVersion": "etcd-defrag.io/v1alpha1", "kind": "DefragPolicy", "metadata": {"name": HOSTILE},
        "spec": {"defaults": {"schedule": HOSTILE}, "job": {"image": HOSTILE}}});
    let folder = folder(&[("a.json", ascii(&hostile())), ("p.json", ascii(&policy))]);
    let test = "render_says_what_is_wrong_in_lines_of_ours";
    // What it renders is data, and there is none here: everything is refused.
    let Some(screen) = screen(test, folder.path(), &["render", "-f", "a.json", "--policy", "p.json"]) else { return };
    let lines = lines(&screen);
    assert!(screen.is_coloured() && screen.code == Some(1), "{lines:#?}");
    assert!(lines.iter().any(|line| line.contains(&format!("governed by DefragPolicy {SEEN} "))), "{lines:#?}");
}

#[test]
fn explain_marks_the_place_below_what_people_see() {
    let folder = folder(&[]);
    let test = "explain_marks_the_place_below_what_people_see";
    let explain = |args: &[&str]| Some(lines(&screen(test, folder.path(), args)?));
    let Some(schedule) = explain(&["explain", "schedule", "0 \u{1b}[2J\n * * *"]) else { return };
    assert_eq!(schedule[0], r"0 \u{1b}[2J\n * * *", "{schedule:#?}");
    assert!(schedule[1].starts_with("  ^"), "{schedule:#?}");
    let Some(rule) = explain(&["explain", "rule", "dbSize >\u{202e} forged\n1"]) else { return };
    assert_eq!(rule[..2], [r"dbSize >\u{202e} forged\n1".to_owned(), "        ^^^^^^^^".to_owned()], "{rule:#?}");
    let named = ["explain", "schedule", "--namespace", HOSTILE, "--name", HOSTILE, "H 3 * * *"];
    let Some(named) = explain(&named) else { return };
    assert!(named[1].starts_with(&format!("  H for {SEEN}/{SEEN}: ")), "{named:#?}");
}

#[test]
fn data_for_programs_is_what_was_read() {
    let folder = folder(&[]);
    let output = Command::new(env!("CARGO_BIN_EXE_etcd-defrag-webhook"))
        .args(["explain", "schedule", "--namespace", "n", "0 3 * * \u{202e}\u{9b}2J", "-o", "json"])
        .current_dir(folder.path())
        .output()
        .unwrap();
    let explained: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(explained["valid"], false);

    let etcd = |note: &str| {
        let text = fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/examples/kamaji-etcd.yaml")).unwrap();
        let mut object: Value = serde_saphyr::from_str(&text).unwrap();
        object["metadata"]["annotations"] = json!({"note": note});
        object
    };
    fs::write(folder.path().join("a.json"), ascii(&etcd(HOSTILE))).unwrap();
    for form in ["json", "yaml"] {
        let output = Command::new(env!("CARGO_BIN_EXE_etcd-defrag-webhook"))
            .args(["render", "-f", "a.json", "-o", form])
            .current_dir(folder.path())
            .output()
            .unwrap();
        let text = String::from_utf8(output.stdout).unwrap();
        let first: Value = match form {
            "json" => serde_json::from_str::<Value>(&text).unwrap()["items"][0].clone(),
            _ => serde_saphyr::from_multiple::<Value>(&text).unwrap()[0].clone(),
        };
        assert_eq!(first["metadata"]["annotations"]["note"], HOSTILE, "{form}: {text}");
    }
}
