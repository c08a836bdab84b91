//! Manifests from files, folders and standard input.

mod document;
mod folder;
mod remedy;
mod stream;
mod template;
mod tree;
mod trouble;
mod words;
mod yaml_words;

use std::path::{Path, PathBuf};

pub(super) use self::{
    document::{Document, Kept},
    tree::join,
    trouble::Trouble,
};
use super::{output, progress::Progress};
use crate::defrag::statefulset::StatefulSet;

/// Which manifests to read.
#[derive(Debug, clap::Args)]
pub(super) struct Files {
    /// Manifests in YAML or JSON: files, folders with *.yaml, *.yml and *.json files, or "-" for standard input
    #[arg(short = 'f', long = "filename", value_name = "FILE", required = true, num_args = 1..)]
    paths: Vec<PathBuf>,
    /// Read subfolders, too, as kubectl does
    #[arg(short = 'R', long)]
    recursive: bool,
    /// The namespace of manifests without one; if it is not set, "default", and names of members in other namespaces are accepted
    #[arg(short, long, value_name = "NAMESPACE")]
    namespace: Option<String>,
}

impl Files {
    /// Reads everything, in the order it was asked for, lists unrolled.
    pub(super) fn read(&self) -> anyhow::Result<Vec<Kept>> {
        read(&self.paths, self.recursive)
    }

    /// Reads what can be read, and says what cannot.
    pub(super) fn read_each(&self) -> (Vec<Kept>, Vec<anyhow::Error>) {
        let (mut documents, mut troubles) = (Vec::new(), Vec::new());
        for path in &self.paths {
            match expand(std::slice::from_ref(path), self.recursive) {
                Ok(files) => {
                    let progress = Progress::of(files.len());
                    for file in files {
                        progress.step(&format!("reading {}", file.display()));
                        match stream::load(&file) {
                            Ok(read) => documents.extend(read),
                            Err(trouble) => troubles.push(trouble),
                        }
                    }
                }
                Err(trouble) => troubles.push(trouble),
            }
        }
        (documents, troubles)
    }

    /// The namespace of manifests that name none.
    pub(super) fn namespace(&self) -> &str {
        self.namespace.as_deref().unwrap_or("default")
    }

    /// Whether standard input is one of the files.
    pub(super) fn include_stdin(&self) -> bool {
        self.paths.iter().any(|file| file == Path::new("-"))
    }

    /// The StatefulSet that a document is, if it is one.
    pub(super) fn statefulset(&self, document: &Kept) -> anyhow::Result<Option<StatefulSet>> {
        let Some(mut object) = document.statefulset()? else { return Ok(None) };
        object.metadata.namespace = object.metadata.namespace.or_else(|| self.namespace.clone());
        Ok(Some(object))
    }

    /// Says so where nothing of the input concerns us: an empty answer must not look like a good one.
    pub(super) fn note_if_none(statefulsets: usize) {
        if statefulsets == 0 {
            output::note("there is no StatefulSet in the input");
        }
    }
}

/// The objects of files and folders, in order, lists unrolled.
pub(super) fn read(paths: &[PathBuf], recursive: bool) -> anyhow::Result<Vec<Kept>> {
    let mut documents = Vec::new();
    let files = expand(paths, recursive)?;
    let progress = Progress::of(files.len());
    for path in files {
        progress.step(&format!("reading {}", path.display()));
        documents.extend(stream::load(&path)?);
    }
    Ok(documents)
}

/// Folders replaced with the manifests in them.
fn expand(paths: &[PathBuf], recursive: bool) -> anyhow::Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    for path in paths {
        if path.is_dir() {
            files.extend(folder::manifests(path, recursive)?);
        } else {
            files.push(path.clone());
        }
    }
    Ok(files)
}

#[cfg(test)]
mod tests;
