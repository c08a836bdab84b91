//! Builds the Go oracle and asks it. Shared by the differential tests.

#![allow(dead_code, reason = "not every test needs all of it")]

use std::{
    env,
    io::Write,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    sync::OnceLock,
    thread,
};

pub use ::harness::random;
#[allow(unused_imports, reason = "not every test needs it")]
pub use random::Random;

/// A scratch folder of the test build.
pub fn scratch() -> &'static Path {
    Path::new(env!("CARGO_TARGET_TMPDIR"))
}

/// The oracle's binary, built once a run; none, with a loud word, where there is no Go.
pub fn oracle() -> Option<&'static Path> {
    static ORACLE: OnceLock<Option<PathBuf>> = OnceLock::new();
    ORACLE
        .get_or_init(|| {
            let go = env::var("GO").unwrap_or_else(|_| "go".to_owned());
            if !Command::new(&go)
                .arg("version")
                .stdout(Stdio::null())
                .stderr(Stdio::null())
                .status()
                .is_ok_and(|s| s.success())
            {
                assert!(env::var("ORACLE_REQUIRED").is_err(), "ORACLE_REQUIRED is set and there is no Go");
                eprintln!("\n*** SKIPPED: no Go toolchain, so NOTHING was compared with the oracle ***\n");
                return None;
            }
            let fresh = scratch().join(format!("oracle-{}", std::process::id()));
            let sources = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/oracle");
            let built = Command::new(&go).args(["build", "-o"]).arg(&fresh).arg(".").current_dir(sources).status();
            assert!(built.expect("go runs").success(), "the oracle does not build");
            let binary = scratch().join("oracle");
            std::fs::rename(fresh, &binary).expect("the oracle is put in its place");
            Some(binary)
        })
        .as_deref()
}

/// One answer for each question, in order.
pub fn ask(oracle: &Path, subject: &str, environment: &[(&str, &Path)], questions: &[String]) -> Vec<String> {
    let mut child = Command::new(oracle)
        .arg(subject)
        .envs(environment.iter().copied())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("the oracle starts");
    let mut input = child.stdin.take().expect("piped");
    let text = questions.join("\n") + "\n";
    let writer = thread::spawn(move || input.write_all(text.as_bytes()));
    let output = child.wait_with_output().expect("the oracle ends");
    writer.join().expect("the writer ends").expect("the oracle reads everything");
    assert!(output.status.success(), "the oracle failed");
    let answers: Vec<String> = String::from_utf8(output.stdout).expect("UTF-8").lines().map(str::to_owned).collect();
    assert_eq!(answers.len(), questions.len(), "one answer for each question");
    answers
}

/// How many cases to try: `ORACLE_<subject>`, else the modest default.
pub fn count(variable: &str, default: usize) -> usize {
    env::var(variable).map_or(default, |text| text.parse().expect("a number"))
}
