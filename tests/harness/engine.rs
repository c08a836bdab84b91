//! What defragments in the pods of Jobs: etcd-defrag where one is on `PATH` that a pod can run, and elsewhere the runner of our
//! own, by a policy.

use std::{
    ffi::OsStr,
    fs,
    path::{Path, PathBuf},
    sync::OnceLock,
};

use object::{
    Endianness,
    elf::FileHeader64,
    read::elf::{FileHeader as _, ProgramHeader as _},
};
use serde_json::{Value, json};

/// The program that is looked for.
const PROGRAM: &str = "etcd-defrag";

/// What defragments in the pods of Jobs, as `job.engine` of a policy has it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Engine {
    /// `etcd-defrag` as found on `PATH`, in an image of the name that CronJobs have by default.
    EtcdDefrag,
    /// `etcd-defrag-webhook defrag`, in our own image.
    BuiltIn,
}

impl Engine {
    /// The one of this machine.
    pub fn here() -> Self {
        if etcd_defrag().is_ok() { Self::EtcdDefrag } else { Self::BuiltIn }
    }

    /// As a policy has it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::EtcdDefrag => "EtcdDefrag",
            Self::BuiltIn => "BuiltIn",
        }
    }

    /// A policy that says nothing but the engine and gives way to every other one.
    pub fn policy(self) -> Value {
        json!({
            "apiVersion": "etcd-defrag.io/v1alpha1", "kind": "DefragPolicy", "metadata": {"name": "default"},
            "spec": {"priority": -1, "job": {"engine": self.name()}},
        })
    }
}

/// The `etcd-defrag` of `PATH`, or in a sentence why it cannot run in a pod.
pub fn etcd_defrag() -> Result<&'static Path, &'static str> {
    static FOUND: OnceLock<Result<PathBuf, String>> = OnceLock::new();
    let found = FOUND.get_or_init(|| runs_in_a_pod(&std::env::var_os("PATH").unwrap_or_default()));
    found.as_deref().map_err(String::as_str)
}

/// The path of `etcd-defrag`, if it is on `PATH`, however it is linked.
pub fn engine_on_path() -> Option<PathBuf> {
    on_path(&std::env::var_os("PATH").unwrap_or_default())
}

fn on_path(path: &OsStr) -> Option<PathBuf> {
    std::env::split_paths(path).map(|dir| dir.join(PROGRAM)).find(|file| file.is_file())
}

/// The `etcd-defrag` of such a `PATH`. Its image holds that one file, so that it has to be static.
pub fn runs_in_a_pod(path: &OsStr) -> Result<PathBuf, String> {
    let Some(program) = on_path(path) else { return Err("etcd-defrag is not on PATH".to_owned()) };
    match interpreter(&program) {
        Ok(None) => Ok(program),
        Ok(Some(loader)) => Err(format!(
            "{} is dynamically linked (to {loader}, which its image does not have); build it with CGO_ENABLED=0",
            program.display()
        )),
        Err(error) => Err(format!("{} is no program that a pod here can run: {error}", program.display())),
    }
}

/// What loads a program that is linked dynamically; `None` of one that is static.
fn interpreter(program: &Path) -> Result<Option<String>, String> {
    let bytes = fs::read(program).map_err(|error| error.to_string())?;
    let data = bytes.as_slice();
    let segments = FileHeader64::<Endianness>::parse(data).and_then(|header| {
        let endian = header.endian()?;
        Ok((endian, header.program_headers(endian, data)?))
    });
    let (endian, segments) = segments.map_err(|error| error.to_string())?;
    for segment in segments {
        if let Some(name) = segment.interpreter(endian, data).map_err(|error| error.to_string())? {
            return Ok(Some(String::from_utf8_lossy(name).into_owned()));
        }
    }
    Ok(None)
}
