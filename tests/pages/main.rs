//! The commands that people copy from README.md, docs/install.md and docs/break-glass.md: each has a row in a table that says
//! how it is run, and those that need no cluster are run here. `tests/install/pages.rs` runs the others.

#![allow(
    clippy::panic,
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "the lints know test functions, but not the helpers of tests"
)]

mod table;

use std::{collections::BTreeSet, fs};

use harness::pages::{Printed, Shell, commands, commands_of, sources};
use table::{BREAK_GLASS, How, INSTALL, README, ROWS, Reader, row_of};

#[test]
fn each_command_has_a_row_and_each_row_a_command() {
    let (mut missing, mut seen) = (Vec::new(), BTreeSet::new());
    for page in [README, INSTALL, BREAK_GLASS] {
        for command in commands(page) {
            match row_of(page, &command.text) {
                Some(row) => {
                    seen.insert((page, row.beginning));
                }
                None => missing.push(format!("{page}:{}: {}", command.line, command.text)),
            }
        }
    }
    assert!(missing.is_empty(), "these commands are run by no test; add a row to tests/pages/table.rs: {missing:#?}");
    let gone: Vec<_> = ROWS.iter().map(|row| (row.page, row.beginning)).filter(|row| !seen.contains(row)).collect();
    assert!(gone.is_empty(), "these rows of tests/pages/table.rs are of no command: {gone:#?}");
    for row in ROWS {
        match row.how {
            How::NotRun(why) => {
                assert!(!why.is_empty());
                println!("not run as printed: {} `{}`: {why}", row.page, row.beginning);
            }
            How::Offline | How::Node => {}
        }
    }
}

/// What a newcomer reads first says which lines nobody has tried.
#[test]
fn what_is_not_run_on_a_cluster_is_marked_in_the_readme() {
    let text = fs::read_to_string(sources().join(README)).unwrap();
    let (before, _) = text.split_once("archive=$(make image)").unwrap();
    let paragraph = before.trim_end().trim_end_matches("```sh").trim_end().rsplit("\n\n").next().unwrap();
    assert!(paragraph.contains("do not run these lines"), "{paragraph}");
}

#[test]
fn the_commands_of_a_page_are_found() {
    let page = "Run `helm test`, or `kubectl`.\n```sh\n# first\nkubectl get pods \\\n  -A    # all\n\nhelm list\n```\n\
        ```yaml\nkubectl: no\n```\n```console\n$ kubectl x\none\ntwo\n$ kubectl y\n```\n";
    let printed = |line, text: &str, output: Option<&str>| Printed {
        line,
        text: text.to_owned(),
        output: output.map(str::to_owned),
    };
    let expected = [
        printed(1, "helm test", None),
        printed(4, "kubectl get pods \\\n  -A    # all", None),
        printed(7, "helm list", None),
        printed(13, "kubectl x", Some("one\ntwo\n")),
        printed(16, "kubectl y", Some("")),
    ];
    assert_eq!(commands_of("a page", page), expected);
    let hidden = std::panic::catch_unwind(|| commands_of("a page", "```\n$ kubectl x\n```\n"));
    assert!(hidden.is_err(), "a block without a language hides commands");
}

#[test]
fn the_readme_without_a_cluster() {
    let mut reader = Reader::new(README, How::Offline, Shell::offline());
    let said = reader.run("cargo run -- render");
    assert!(said.contains("kind: CronJob") && said.contains("name: kamaji-etcd-defrag-job"), "{said}");
    let said = reader.run("cargo run -- check");
    assert!(said.contains("kamaji-etcd") && said.contains("warn volume-tight"), "{said}");
    // A folder and a policy as the reader has them.
    let folder = tempfile::tempdir().unwrap();
    let example = |file: &str| fs::read_to_string(sources().join("examples").join(file)).unwrap();
    fs::create_dir(folder.path().join("manifests")).unwrap();
    fs::write(folder.path().join("manifests/etcd.yaml"), example("kamaji-etcd.yaml")).unwrap();
    fs::write(
        folder.path().join("manifests/namespace.yaml"),
        "apiVersion: v1\nkind: Namespace\nmetadata: {name: kamaji-system, labels: {environment: production}}\n",
    )
    .unwrap();
    fs::write(folder.path().join("policy.yaml"), example("policies/production.yaml")).unwrap();
    let mut reader = reader.in_folder(folder.path());
    let ended = reader.try_run("etcd-defrag-webhook check -f manifests/");
    assert_eq!(ended.code, Some(1), "{}", ended.said);
    for shown in ["governed by DefragPolicy production", "deny liveness-too-eager"] {
        assert!(ended.said.contains(shown), "{}", ended.said);
    }
    reader.end();
}

#[test]
fn the_installation_without_a_cluster() {
    let mut reader = Reader::new(INSTALL, How::Offline, Shell::offline());
    let said = reader.run("etcd-defrag-webhook version");
    assert!(said.contains(etcd_defrag_webhook::defrag::engine::IMAGE), "{said}");
    reader.end();
}
