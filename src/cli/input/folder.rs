//! The manifests in a folder.

use std::path::{Path, PathBuf};

use anyhow::{Context as _, bail};

use crate::cli::output;

/// How many of the skipped files are named.
const NAMED: usize = 3;
/// So many are counted.
const COUNTED: usize = 1000;

/// The manifests right inside a folder, sorted by name, as kubectl does it; with `recursive` those in the folders
/// inside it, too. What is skipped is reported on standard error: subfolders must not look checked.
pub(super) fn manifests(folder: &Path, recursive: bool) -> anyhow::Result<Vec<PathBuf>> {
    let Listing { mut files, mut folders } = list(folder)?;
    if recursive {
        while let Some(folder) = folders.pop() {
            let inside = list(&folder)?;
            files.extend(inside.files);
            folders.extend(inside.folders);
        }
        if files.is_empty() {
            bail!("{} has no *.yaml, *.yml or *.json file, and no folder in it has one", folder.display());
        }
    } else {
        let left_out = beneath(folders);
        match (files.is_empty(), left_out.is_empty()) {
            (true, true) => bail!("{} has no *.yaml, *.yml or *.json file", folder.display()),
            (true, false) => bail!(
                "{} has no *.yaml, *.yml or *.json file itself; with -R its subfolders are read: {}",
                folder.display(),
                named(&left_out)
            ),
            (false, true) => {}
            (false, false) => output::note(&format!(
                "{}: without -R, its subfolders are skipped: {}",
                folder.display(),
                named(&left_out)
            )),
        }
    }
    files.sort();
    Ok(files)
}

/// What is right inside a folder.
struct Listing {
    files: Vec<PathBuf>,
    /// Without links to folders, which may lead round in circles.
    folders: Vec<PathBuf>,
}

fn list(folder: &Path) -> anyhow::Result<Listing> {
    let cannot = || format!("cannot list {}", folder.display());
    let (mut files, mut folders) = (Vec::new(), Vec::new());
    for entry in folder.read_dir().with_context(cannot)? {
        let entry = entry.with_context(cannot)?;
        let path = entry.path();
        let manifest = path.extension().is_some_and(|ext| ext == "yaml" || ext == "yml" || ext == "json");
        if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            folders.push(path);
        } else if manifest && path.is_file() {
            files.push(path);
        }
    }
    Ok(Listing { files, folders })
}

/// The manifests in these folders and all beneath, up to [`COUNTED`]. Folders that cannot be listed are not reported:
/// they are not read either.
fn beneath(mut folders: Vec<PathBuf>) -> Vec<PathBuf> {
    let mut files = Vec::new();
    while let Some(folder) = folders.pop() {
        if files.len() >= COUNTED {
            break;
        }
        let Ok(inside) = list(&folder) else { continue };
        files.extend(inside.files);
        folders.extend(inside.folders);
    }
    files.sort();
    files
}

fn named(files: &[PathBuf]) -> String {
    let names: Vec<String> = files.iter().take(NAMED).map(|file| file.display().to_string()).collect();
    let more = match files.len().saturating_sub(NAMED) {
        0 => String::new(),
        _ if files.len() >= COUNTED => format!(" and at least {} more", COUNTED - NAMED),
        more => format!(" and {more} more"),
    };
    format!("{}{more}", names.join(", "))
}

#[cfg(test)]
mod tests {
    use std::{fs, os::unix::fs::symlink};

    use super::*;

    fn tree(paths: &[&str]) -> tempfile::TempDir {
        let folder = tempfile::tempdir().unwrap();
        for path in paths {
            let path = folder.path().join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, "").unwrap();
        }
        folder
    }

    fn names(folder: &Path, files: &[PathBuf]) -> Vec<String> {
        files.iter().map(|file| file.strip_prefix(folder).unwrap().display().to_string()).collect()
    }

    #[test]
    fn a_folder_is_read_to_the_depth_that_is_asked_for() {
        let folder = tree(&["b.yaml", "a.json", "c.txt", "x/d.yml", "x/y/e.yaml", "z/f.txt"]);
        symlink(folder.path(), folder.path().join("x/round")).unwrap();
        symlink(folder.path().join("b.yaml"), folder.path().join("link.yaml")).unwrap();
        let read = |recursive| names(folder.path(), &manifests(folder.path(), recursive).unwrap());
        assert_eq!(read(false), ["a.json", "b.yaml", "link.yaml"]);
        assert_eq!(read(true), ["a.json", "b.yaml", "link.yaml", "x/d.yml", "x/y/e.yaml"]);
    }

    #[test]
    fn a_folder_with_nothing_of_its_own_is_an_error_that_names_what_is_beneath() {
        let said = |folder: &tempfile::TempDir, recursive| {
            let error = manifests(folder.path(), recursive).unwrap_err().to_string();
            error.replace(&folder.path().display().to_string(), "FOLDER")
        };
        let deep = tree(&["a/1.yaml", "a/2.yaml", "b/c/3.json", "b/c/4.yml", "b/c/5.yml"]);
        assert_eq!(
            said(&deep, false),
            "FOLDER has no *.yaml, *.yml or *.json file itself; with -R its subfolders are read: \
             FOLDER/a/1.yaml, FOLDER/a/2.yaml, FOLDER/b/c/3.json and 2 more"
        );
        let none = tree(&["a/1.txt"]);
        assert_eq!(said(&none, false), "FOLDER has no *.yaml, *.yml or *.json file");
        assert_eq!(said(&none, true), "FOLDER has no *.yaml, *.yml or *.json file, and no folder in it has one");
    }
}
