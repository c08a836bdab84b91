//! What the hosted workflows and the update configuration name: commits, folders, steps.

#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "the lints know test functions, but not their helpers"
)]

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use serde_json::Value;

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn workflows() -> Vec<PathBuf> {
    let files = fs::read_dir(root().join(".github/workflows")).unwrap();
    files.map(|file| file.unwrap().path()).collect()
}

/// A tag can be moved to other code, a commit cannot.
#[test]
fn each_action_is_named_by_its_commit() {
    let mut seen = 0;
    for file in workflows() {
        for line in fs::read_to_string(&file).unwrap().lines() {
            let Some((_, action)) = line.split_once("uses: ") else { continue };
            if action.starts_with("./") {
                continue;
            }
            let (name, version) = action.split_once(" # ").unwrap_or_else(|| panic!("without its version: {line}"));
            let (_, commit) = name.split_once('@').unwrap();
            assert!(commit.len() == 40 && commit.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f')), "{line}");
            assert!(version.starts_with('v') && version.split('.').count() == 3, "{line}");
            seen += 1;
        }
    }
    assert!(seen > 10, "{seen}");
}

#[test]
fn advisories_are_looked_up_daily_and_left_out_here_with_a_reason() {
    let ci = fs::read_to_string(root().join(".github/workflows/ci.yaml")).unwrap();
    let ci: Value = serde_saphyr::from_str(&ci).unwrap();
    assert!(ci["on"]["schedule"][0]["cron"].is_string(), "{}", ci["on"]);
    let steps = ci["jobs"]["advisories"]["steps"].as_array().unwrap();
    assert!(steps.iter().any(|step| step["run"] == ".ci/run advisories"), "{steps:?}");
    let run = fs::read_to_string(root().join(".ci/run")).unwrap();
    assert!(run.contains("cargo-deny --locked check advisories") && run.contains("vuln/cmd/govulncheck@"));
    // Both ways to run it say so: the function is called in each.
    assert_eq!(run.lines().filter(|line| line.trim() == "left_out").count(), 2);
    let (_, said) = run.split_once("left_out() {").unwrap();
    assert!(said.contains("They change without a change here"));
}

/// Nothing that has dependencies is forgotten, and nothing is named that is gone.
#[test]
fn updates_are_proposed_for_every_folder_with_dependencies() {
    let text = fs::read_to_string(root().join(".github/dependabot.yml")).unwrap();
    let config: Value = serde_saphyr::from_str(&text).unwrap();
    let named = |ecosystem: &str| -> BTreeSet<String> {
        let updates = config["updates"].as_array().unwrap();
        let update = updates.iter().find(|update| update["package-ecosystem"] == ecosystem).unwrap();
        let folders = update["directories"].as_array().into_iter().flatten();
        folders.map(|folder| folder.as_str().unwrap().trim_matches('/').to_owned()).collect()
    };
    let files = Command::new("git").args(["ls-files"]).current_dir(root()).output();
    let Some(files) = files.ok().filter(|output| output.status.success()) else {
        println!(
            "SKIPPED: updates_are_proposed_for_every_folder_with_dependencies: these sources are no checkout of git"
        );
        return;
    };
    let files = String::from_utf8(files.stdout).unwrap();
    for (ecosystem, manifest) in [("cargo", "Cargo.toml"), ("gomod", "go.mod"), ("npm", "package.json")] {
        let found: BTreeSet<String> = files
            .lines()
            .filter_map(|file| file.strip_suffix(manifest))
            .map(|folder| folder.trim_end_matches('/').to_owned())
            .collect();
        assert_eq!(named(ecosystem), found, "{ecosystem}");
    }
}

/// In the sources there is none: it would be of an image that somebody pushed some time.
#[test]
fn no_digest_of_an_image_is_written_by_hand() {
    let mut files = workflows();
    for file in ["values.yaml", "files/defragpolicies.crd.yaml"] {
        files.push(root().join("deploy/chart/etcd-defrag-webhook").join(file));
    }
    files.extend(["deploy/Dockerfile", "deploy/manifests/kustomization.yaml"].map(|file| root().join(file)));
    for file in files {
        let text = fs::read_to_string(&file).unwrap();
        let written = text.split("sha256:").skip(1).any(|rest| rest.starts_with(|c: char| c.is_ascii_hexdigit()));
        assert!(!written, "{}", file.display());
    }
}
