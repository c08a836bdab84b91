//! `defrag-now`: a run that a person asks for.

use std::process::Command;

use jiff::Timestamp;
use serde_json::Value;

use super::{create_job, end_job, etcd, event, jobs, ready, slowly, world};
use harness::{ControlPlane, Serve, ServeOptions, binary};

const NAMESPACE: &str = "asked";

/// Sets annotations of ours on a StatefulSet.
fn annotate(plane: &ControlPlane, statefulset: &str, settings: &[&str]) {
    let settings: Vec<String> = settings.iter().map(|one| format!("etcd-defrag.io/{one}")).collect();
    let mut args = vec!["-n", NAMESPACE, "annotate", "--overwrite", "statefulset", statefulset];
    args.extend(settings.iter().map(String::as_str));
    plane.kubectl_ok(&args);
}

fn cronjob(plane: &ControlPlane, statefulset: &str) -> Option<Value> {
    plane.get(&["-n", NAMESPACE, "cronjob", &format!("{statefulset}-defrag-job")])
}

/// The Jobs of a StatefulSet.
fn runs(plane: &ControlPlane, statefulset: &str) -> Vec<Value> {
    let list = plane.get(&["-n", NAMESPACE, "jobs"]).unwrap();
    let jobs = list["items"].as_array().unwrap().iter();
    let of_it = |job: &&Value| job["metadata"]["ownerReferences"][0]["name"] == format!("{statefulset}-defrag-job");
    jobs.filter(of_it).cloned().collect()
}

/// Waits until a token is noted as served.
#[track_caller]
fn served(plane: &ControlPlane, statefulset: &str, token: &str) {
    slowly(&format!("the token {token} to be served"), 60, || {
        (cronjob(plane, statefulset)?["metadata"]["annotations"]["etcd-defrag.io/last-defrag-now"] == token)
            .then_some(())
    });
}

#[test]
fn a_new_token_is_one_run_made_from_the_cronjob_and_waits_behind_the_guards() {
    let (plane, serve) = world();
    plane.kubectl_ok(&["create", "namespace", NAMESPACE]);
    for (name, members) in [("prompt", 3), ("unready", 2), ("suspended", 3), ("busy", 3)] {
        plane.apply(&etcd(NAMESPACE, name).to_string());
        ready(&plane, NAMESPACE, name, members);
        slowly("the CronJob", 60, || cronjob(&plane, name));
    }
    annotate(&plane, "suspended", &["suspend=true", "defrag-now=one"]);
    create_job(&plane, NAMESPACE, "busy", "by-hand");
    for name in ["prompt", "unready", "busy"] {
        annotate(&plane, name, &["defrag-now=one"]);
    }

    // One run, of the CronJob and counted by it, so that the schedule starts none beside it.
    served(&plane, "prompt", "one");
    let made = runs(&plane, "prompt");
    let [job] = made.as_slice() else { panic!("not one Job: {made:?}") };
    let template = cronjob(&plane, "prompt").unwrap();
    let [meta, owner] = [&job["metadata"], &job["metadata"]["ownerReferences"][0]];
    assert_eq!((&owner["uid"], &owner["controller"]), (&template["metadata"]["uid"], &true.into()));
    assert_eq!(meta["annotations"]["cronjob.kubernetes.io/instantiate"], "manual");
    assert_eq!(template["status"]["active"][0]["uid"], meta["uid"]);
    let container = |spec: &Value| spec["template"]["spec"]["containers"][0].clone();
    assert_eq!(container(&job["spec"]), container(&template["spec"]["jobTemplate"]["spec"]));
    event(&plane, NAMESPACE, "prompt", "DefragNowStarted", meta["name"].as_str().unwrap());

    // The others are held, and it is said why.
    let waits = [
        ("unready", "2 of 3 members are ready"),
        ("suspended", "the CronJob is suspended"),
        ("busy", "another run is in progress"),
    ];
    for (name, why) in waits {
        let note = event(&plane, NAMESPACE, name, "DefragNowWaits", why);
        assert!(note.starts_with("The run that etcd-defrag.io/defrag-now requests waits, because"), "{note}");
    }
    // Two Jobs: the one that was asked for, and the one that a person made.
    assert_eq!(jobs(&plane).len(), 2);

    // What held them ends, and the run that each was asked for comes by itself, once.
    ready(&plane, NAMESPACE, "unready", 3);
    annotate(&plane, "suspended", &["suspend=false"]);
    end_job(&plane, NAMESPACE, "by-hand");
    for (name, count) in [("unready", 1), ("suspended", 1), ("busy", 2)] {
        served(&plane, name, "one");
        assert_eq!(runs(&plane, name).len(), count, "{name}");
    }

    // Another process knows which tokens were served; the next token waits for the run before it.
    drop(serve);
    let serve = Serve::start_with(&plane, &ServeOptions::default());
    annotate(&plane, "prompt", &["defrag-now=two"]);
    event(&plane, NAMESPACE, "prompt", "DefragNowWaits", "another run is in progress");
    assert_eq!(jobs(&plane).len(), 5, "{}", serve.log());
    end_job(&plane, NAMESPACE, made[0]["metadata"]["name"].as_str().unwrap());
    served(&plane, "prompt", "two");
    assert_eq!(runs(&plane, "prompt").len(), 2);
    assert_eq!(jobs(&plane).len(), 6);
}

/// A CronJob that is new, be it made, lost or restored from a backup, knows of no token; the one that is there counts as served.
#[test]
fn a_token_that_was_there_before_its_cronjob_starts_nothing() {
    let (plane, serve) = world();
    plane.kubectl_ok(&["create", "namespace", NAMESPACE]);
    let mut object = etcd(NAMESPACE, "etcd");
    object["metadata"]["annotations"]["etcd-defrag.io/defrag-now"] = "manifest".into();
    plane.apply(&object.to_string());
    ready(&plane, NAMESPACE, "etcd", 3);
    let uid = |cronjob: &Value| cronjob["metadata"]["uid"].as_str().unwrap().to_owned();
    let recorded = |token: &'static str| {
        slowly(&format!("{token} to be on record"), 60, || {
            let cronjob = cronjob(&plane, "etcd")?;
            let notes = &cronjob["metadata"]["annotations"];
            (notes["etcd-defrag.io/last-defrag-now"] == token).then_some(cronjob)
        })
    };
    let first = recorded("manifest");
    let said = status(&plane);
    assert!(
        said.contains(
            "asked/etcd: defrag-now \"manifest\": served, or older than its CronJob; a new value requests a run"
        ),
        "{said}"
    );
    // One that became new is a run, which shows that nothing else holds one.
    annotate(&plane, "etcd", &["defrag-now=new"]);
    let backup = recorded("new");
    assert_eq!(runs(&plane, "etcd").len(), 1);
    let of = |cronjob: &Value| {
        let uid = uid(cronjob);
        runs(&plane, "etcd")
            .into_iter()
            .filter(|job| job["metadata"]["ownerReferences"][0]["uid"] == uid.as_str())
            .count()
    };

    plane.kubectl_ok(&["-n", NAMESPACE, "delete", "cronjob", "etcd-defrag-job"]);
    let second = recorded("new");
    assert_ne!(uid(&first), uid(&second));
    annotate(&plane, "etcd", &["defrag-now=newer"]);
    let second = recorded("newer");
    assert_eq!(of(&second), 1);

    // A backup from before, while nobody leads, and a token that nobody saw come. Two CronJobs within 10 s are not told apart.
    drop(serve);
    let created: Timestamp = first["metadata"]["creationTimestamp"].as_str().unwrap().parse().unwrap();
    slowly("the backup to be an old one", 60, || {
        (Timestamp::now().duration_since(created).as_secs() > 12).then_some(())
    });
    plane.kubectl_ok(&["-n", NAMESPACE, "delete", "cronjob", "etcd-defrag-job"]);
    let mut restored = backup;
    for field in ["uid", "resourceVersion", "creationTimestamp", "managedFields", "generation"] {
        restored["metadata"].as_object_mut().unwrap().remove(field);
    }
    restored.as_object_mut().unwrap().remove("status");
    plane.apply(&restored.to_string());
    annotate(&plane, "etcd", &["defrag-now=newest"]);
    let _serve = Serve::start_with(&plane, &ServeOptions::default());
    let third = recorded("newest");
    assert_ne!(uid(&second), uid(&third));
    // A run that was to start would have started with the next look, and this one is later.
    annotate(&plane, "etcd", &["defrag-now=last"]);
    let third = recorded("last");
    assert_eq!(of(&third), 1);
}

/// What `status` prints.
fn status(plane: &ControlPlane) -> String {
    let args = ["status", "-n", NAMESPACE];
    let output = Command::new(binary()).args(args).env("KUBECONFIG", plane.kubeconfig()).output().unwrap();
    String::from_utf8_lossy(&output.stdout).into_owned()
}
