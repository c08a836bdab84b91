//! Which etcd-defrag the harness runs in pods.

use std::os::unix::fs::symlink;

use harness::{bin, runs_in_a_pod};

#[test]
fn only_a_static_etcd_defrag_runs_in_pods() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().as_os_str();
    assert_eq!(runs_in_a_pod(path).unwrap_err(), "etcd-defrag is not on PATH");

    let program = dir.path().join("etcd-defrag");
    // This test is a program that a loader loads, and those of Go here are none.
    symlink(std::env::current_exe().unwrap(), &program).unwrap();
    let refused = runs_in_a_pod(path).unwrap_err();
    assert!(
        refused.contains("is dynamically linked (to /lib") && refused.contains("build it with CGO_ENABLED=0"),
        "{refused}"
    );
    std::fs::remove_file(&program).unwrap();
    symlink(bin("etcdctl"), &program).unwrap();
    assert_eq!(runs_in_a_pod(path).unwrap(), program);
    std::fs::remove_file(&program).unwrap();
    std::fs::write(&program, "#!/bin/sh\n").unwrap();
    let refused = runs_in_a_pod(path).unwrap_err();
    assert!(refused.contains("is no program that a pod here can run"), "{refused}");
}
