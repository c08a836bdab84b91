//! The properties of the fuzz targets over their kept corpora; `make fuzz` looks for inputs that are not there yet.

#![allow(clippy::unwrap_used, reason = "a test may fail loudly")]

#[path = "../fuzz/src/lib.rs"]
mod fuzz;

use std::{fs, path::Path};

/// Larger inputs teach a reader nothing, in bytes.
const LARGEST: u64 = 1024;

fn replay(target: &str, check: fn(&[u8])) {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus").join(target);
    let mut files: Vec<_> = fs::read_dir(&folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.sort();
    assert!((10..=50).contains(&files.len()), "{} has {} files", folder.display(), files.len());
    for file in files {
        println!("{}", file.display());
        assert!(fs::metadata(&file).unwrap().len() <= LARGEST, "larger than {LARGEST} bytes");
        check(&fs::read(&file).unwrap());
    }
}

#[test]
fn schedules() {
    replay("schedule", fuzz::schedule::check);
}

#[test]
fn rules() {
    replay("rule", fuzz::rule::check);
}

#[test]
fn quantities() {
    replay("quantity", fuzz::quantity::check);
}

#[test]
fn durations() {
    replay("duration", fuzz::duration::check);
}

#[test]
fn annotations() {
    replay("annotations", fuzz::annotations::check);
}
