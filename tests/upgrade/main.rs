//! From the program of an earlier commit to this one and back: no run starts, and no CronJob is written twice for it.
//!
//! `make upgrade` builds that program and runs this; elsewhere each test says that it is skipped.

#![allow(clippy::indexing_slicing, clippy::panic, clippy::unwrap_used, reason = "a failed helper fails the test")]

mod fleet;
mod helm;
#[allow(dead_code, reason = "the tests of availability use the rest of it")]
#[path = "../availability/installation.rs"]
mod installation;
mod sides;

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
};

use harness::binary;

/// The program of the earlier commit, with its sources in the folder `source` beside it (`scripts/previous.sh`).
struct Previous {
    program: PathBuf,
    /// Whether it is another one than that of these sources. The same on both sides is a rehearsal.
    differs: bool,
}

impl Previous {
    /// `None` where there is none, after having said so for the given test.
    fn find(test: &str) -> Option<Self> {
        let Some(program) = std::env::var_os("ETCD_DEFRAG_PREVIOUS").map(PathBuf::from) else {
            println!(
                "SKIPPED: {test}: a drill of its own, for it builds the program of an earlier commit: make upgrade"
            );
            return None;
        };
        let source = program.with_file_name("source");
        assert!(source.is_dir(), "{} is missing; scripts/previous.sh makes both", source.display());
        let differs = tree(&source) != tree(Path::new(env!("CARGO_MANIFEST_DIR")));
        let what = if differs { "another program" } else { "a rehearsal, the sources are the same" };
        println!("from {} to {}: {what}", program.display(), binary().display());
        Some(Self { program, differs })
    }

    /// The folder of its chart.
    fn chart(&self) -> PathBuf {
        self.program.with_file_name("source").join("deploy/chart/etcd-defrag-webhook")
    }
}

/// The sources of a program, by their paths in its repository.
fn tree(root: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let mut files = BTreeMap::new();
    let mut folders = vec![root.join("src")];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display())) {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else {
                files.insert(path.strip_prefix(root).unwrap().to_owned(), fs::read(&path).unwrap());
            }
        }
    }
    files
}
