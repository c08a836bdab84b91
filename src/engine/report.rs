//! The result of a run, where Kubernetes takes it up.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use crate::defrag::run_result::RunResult;

/// Where the kubelet reads the termination message of a container unless the pod says otherwise.
pub const TERMINATION_LOG: &str = "/dev/termination-log";

/// Writes the result to `given`, or where nothing is given to [`TERMINATION_LOG`] if that is there.
pub fn write_result(result: &RunResult, given: Option<&Path>) -> io::Result<()> {
    let default = PathBuf::from(TERMINATION_LOG);
    let path = match given {
        Some(path) => path,
        None if default.exists() => &default,
        None => return Ok(()),
    };
    fs::write(path, result.write())
}
