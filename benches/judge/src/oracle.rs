//! The Go oracle, which times itself.

use std::{
    cell::RefCell,
    env,
    io::{BufRead as _, BufReader, Write as _},
    path::{Path, PathBuf},
    process::{Child, ChildStdin, ChildStdout, Command, Stdio},
};

use serde_json::{Value, json};

use crate::harness::{Batch, Result};

pub struct Oracle {
    binary: PathBuf,
    child: RefCell<Running>,
}

struct Running {
    process: Child,
    questions: ChildStdin,
    answers: BufReader<ChildStdout>,
}

impl Oracle {
    /// Builds it with the Go of the machine and starts it.
    pub fn start(sources: &Path) -> Result<Self> {
        let go = env::var("GO").unwrap_or_else(|_| "go".to_owned());
        let binary = env::temp_dir().join(format!("oracle-{}", std::process::id()));
        let built = Command::new(&go).args(["build", "-o"]).arg(&binary).arg(".").current_dir(sources).status();
        if !built
            .map_err(|error| format!("{go} does not start: {error}; install Go, https://go.dev/doc/install"))?
            .success()
        {
            return Err("the oracle does not build".into());
        }
        let mut process = Command::new(&binary).arg("bench").stdin(Stdio::piped()).stdout(Stdio::piped()).spawn()?;
        let questions = process.stdin.take().ok_or("no pipe")?;
        let answers = BufReader::new(process.stdout.take().ok_or("no pipe")?);
        Ok(Self { binary, child: RefCell::new(Running { process, questions, answers }) })
    }

    /// The answer to one question of another subject.
    pub fn ask(&self, subject: &str, question: &Value) -> Result<String> {
        let mut child = Command::new(&self.binary).arg(subject).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn()?;
        writeln!(child.stdin.take().ok_or("no pipe")?, "{question}")?;
        Ok(String::from_utf8(child.wait_with_output()?.stdout)?.trim().to_owned())
    }

    /// Batches that are run and timed over there.
    pub fn batches(&self, mut question: Value) -> Batch<'_> {
        Box::new(move |iterations| {
            question["Iterations"] = json!(iterations);
            let mut child = self.child.borrow_mut();
            writeln!(child.questions, "{question}")?;
            let mut answer = String::new();
            child.answers.read_line(&mut answer)?;
            Ok(answer.trim().parse().map_err(|_| format!("the oracle answers {answer:?} to {question}"))?)
        })
    }
}

impl Drop for Oracle {
    fn drop(&mut self) {
        let child = self.child.get_mut();
        // Nothing is lost if it is gone already.
        let _ = child.process.kill();
        let _ = child.process.wait();
        let _ = std::fs::remove_file(&self.binary);
    }
}
