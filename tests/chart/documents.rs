//! The plain manifests are what the chart renders. `UPDATE_MANIFESTS=1 cargo test --test chart` writes them anew.

use std::{fs, path::Path};

use serde_json::Value;

use super::support::{objects, template};

const HEAD: &str = "\
# Rendered from deploy/chart with the values in values.yaml beside this: UPDATE_MANIFESTS=1 cargo test --test chart
";

/// Each file, the templates that it is made of, and what stands above.
const FILES: [(&str, &[&str], &str); 6] = [
    ("05-defragpolicies.crd.yaml", &["defragpolicies.crd.yaml"], ""),
    ("10-rbac.yaml", &["serviceaccount.yaml", "rbac.yaml"], ""),
    (
        "20-deployment.yaml",
        &["deployment.yaml", "poddisruptionbudget.yaml", "networkpolicy.yaml", "service.yaml"],
        "# The image is your own build; kustomization.yaml sets its name and tag.\n",
    ),
    ("30-webhooks.yaml", &["webhooks.yaml"], ""),
    (
        "40-admission-policy.yaml",
        &["admission-policy.yaml"],
        "# Optional, and not in kustomization.yaml: what CEL can check of our keys, for while the webhook is gone. docs/policies.md.\n\
         # `etcd-defrag-webhook vap` prints the same, and with --policy the one of a DefragPolicy.\n",
    ),
    (
        "50-default-policy.yaml",
        &["policy.yaml"],
        "# Not in kustomization.yaml: kubectl cannot apply an object together with the definition of its kind. Apply it last.\n",
    ),
];

fn manifests() -> &'static Path {
    Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/deploy/manifests"))
}

#[test]
fn the_plain_manifests_are_what_the_chart_renders() {
    let values = fs::read_to_string(manifests().join("values.yaml")).unwrap();
    let mut rendered = 0;
    for (file, templates, head) in FILES {
        let only: Vec<String> = templates.iter().map(|name| format!("--show-only=templates/{name}")).collect();
        let mut args: Vec<&str> = only.iter().map(String::as_str).collect();
        args.push("--api-versions=etcd-defrag.io/v1alpha1/DefragPolicy");
        let text = template(&values, &args);
        rendered += objects(&text).len();
        in_step(&manifests().join(file), &format!("{HEAD}{head}{}\n", text.trim_end()));
    }
    // Nothing of the chart is forgotten but the pod of `helm test` with its rights.
    let tests = ["ServiceAccount", "Role", "RoleBinding", "Pod"].len();
    assert_eq!(rendered + tests, objects(&template(&values, &[])).len());
}

/// The kustomization is written by hand; it has to name the files that there are.
#[test]
fn the_kustomization_has_what_can_be_applied_at_once() {
    let read = |file: &str| fs::read_to_string(manifests().join(file)).unwrap();
    let kustomization: Value = serde_saphyr::from_str(&read("kustomization.yaml")).unwrap();
    let resources: Vec<&str> =
        kustomization["resources"].as_array().unwrap().iter().map(|name| name.as_str().unwrap()).collect();
    let optional = ["40-admission-policy.yaml", "50-default-policy.yaml"];
    let mut wanted: Vec<&str> = vec!["00-namespace.yaml"];
    wanted.extend(FILES.iter().map(|(file, ..)| *file).filter(|file| !optional.contains(file)));
    assert_eq!(resources, wanted);
    assert_eq!(kustomization["images"][0]["newTag"], env!("CARGO_PKG_VERSION"));
}

/// Compares a file with what should be in it, or writes that.
#[track_caller]
pub(crate) fn in_step(file: &Path, expected: &str) {
    if std::env::var_os("UPDATE_MANIFESTS").is_some() {
        fs::write(file, expected).unwrap();
    }
    let found = fs::read_to_string(file).unwrap_or_default();
    assert!(found == expected, "{} is out of step: run UPDATE_MANIFESTS=1 cargo test --test chart", file.display());
}
