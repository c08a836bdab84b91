//! The release puts digests into the chart that a registry gave, and fails without them: `scripts/chart-images.sh` with a
//! registry that is a script.

use std::{
    fs,
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
    process::{Command, Output},
};

use serde_json::json;

use super::support::{find, objects};
use harness::{bin_dir, chart, helm_ok};

const IMAGE: &str = "registry.example/etcd-defrag-webhook";
const SOURCE: &str = "https://git.example/team/etcd-defrag-webhook";

/// The folder that has the chart.
fn chart_folder() -> PathBuf {
    chart().parent().unwrap().to_path_buf()
}

/// A digest of one digit.
fn digest(digit: char) -> String {
    format!("sha256:{}", String::from(digit).repeat(64))
}

/// A copy of the chart, and a `crane` that answers as `script` says.
fn release(folder: &Path, script: &str) -> (PathBuf, Output) {
    let copy = folder.join("chart");
    if !copy.exists() {
        let copied = Command::new("cp").arg("-r").arg(chart()).arg(&copy).status().unwrap();
        assert!(copied.success());
    }
    let crane = folder.join("crane");
    fs::write(&crane, format!("#!/bin/sh\ncase $2 in\n{script}\nesac\n")).unwrap();
    fs::set_permissions(&crane, fs::Permissions::from_mode(0o755)).unwrap();
    let path = format!("{}:{}:/usr/bin:/bin", folder.display(), bin_dir().display());
    let output = Command::new(concat!(env!("CARGO_MANIFEST_DIR"), "/scripts/chart-images.sh"))
        .arg(&copy)
        .args([IMAGE, "1.2.3", &digest('a'), SOURCE])
        .env("PATH", path)
        .output()
        .unwrap();
    (copy, output)
}

#[test]
fn a_released_chart_names_both_images_by_the_digests_of_the_registry() {
    let folder = tempfile::tempdir().unwrap();
    let answers = format!("{IMAGE}:1.2.3) echo {} ;;\nghcr.io/*) echo {} ;;", digest('a'), digest('b'));
    let (chart, output) = release(folder.path(), &answers);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let rendered = helm_ok(&["template", "release", chart.to_str().unwrap()], "");
    let rendered = objects(&rendered);
    let deployment = find(&rendered, "Deployment release-etcd-defrag-webhook");
    let container = &deployment["spec"]["template"]["spec"]["containers"][0];
    assert_eq!(container["image"], json!(format!("{IMAGE}@{}", digest('a'))));
    let engine = format!("--engine-image={}@{}", etcd_defrag_webhook::defrag::engine::IMAGE, digest('b'));
    assert!(container["args"].as_array().unwrap().contains(&json!(engine)), "{container}");
    // The policy names no image, so that the next release moves it.
    let policy = find(&rendered, "DefragPolicy default");
    assert_eq!(policy["spec"]["job"], json!(null));
    assert_eq!(policy["spec"]["defaults"]["schedule"], "H 0 * * *");
    // What people set besides is added to it.
    let set = "--set=defaultPolicy.spec.job.priorityClassName=low,metrics.rules.enabled=true";
    let more = objects(&helm_ok(&["template", "release", chart.to_str().unwrap(), set], ""));
    let job = find(&more, "DefragPolicy default")["spec"]["job"].clone();
    assert_eq!(job, json!({"priorityClassName": "low"}));
    // Links lead into the repository, at the tag of the release.
    let rules = find(&more, "PrometheusRule release-etcd-defrag-webhook").to_string();
    assert!(rules.contains(&format!("\"{SOURCE}/blob/v1.2.3/docs/runbooks/EtcdDefragNoSpace.md\"")), "{rules}");
    let about = helm_ok(&["show", "chart", chart.to_str().unwrap()], "");
    for line in
        [format!("home: {SOURCE}"), format!("- {SOURCE}"), format!("icon: {SOURCE}/raw/v1.2.3/deploy/chart/icon.svg")]
    {
        assert!(about.lines().any(|found| found == line), "{line} is not in Chart.yaml:\n{about}");
    }
    assert!(chart_folder().join("icon.svg").exists());
}

#[test]
fn without_a_digest_there_is_no_release() {
    let ours = format!("{IMAGE}:1.2.3) echo {} ;;", digest('a'));
    for (answers, said) in [
        ("*) exit 1 ;;".to_owned(), "the registry does not say what registry.example"),
        (format!("{IMAGE}:1.2.3) echo {} ;;", digest('c')), "was pushed, and the registry has"),
        (ours.clone(), "is no digest of ghcr.io/ahrtr/etcd-defrag"),
        (format!("{ours}\nghcr.io/*) exit 1 ;;"), "the registry does not say what ghcr.io/ahrtr/etcd-defrag"),
        (format!("{ours}\nghcr.io/*) echo latest ;;"), "latest is no digest of ghcr.io/ahrtr/etcd-defrag"),
    ] {
        let folder = tempfile::tempdir().unwrap();
        let (copy, output) = release(folder.path(), &answers);
        let errors = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(!output.status.success() && errors.contains(said), "{answers}: {errors}");
        let read = |chart: &Path| fs::read_to_string(chart.join("values.yaml")).unwrap();
        assert_eq!(read(&copy), read(&chart()), "{answers}");
    }
}
