//! The table of values in the chart's README is made from the comments in values.yaml.

use std::{fmt::Write as _, fs};

use serde_json::Value;

use super::documents::in_step;
use harness::chart;

const BEGIN: &str = "<!-- values: written by `UPDATE_MANIFESTS=1 cargo test --test chart` from values.yaml -->\n";
const END: &str = "<!-- end of values -->\n";

#[test]
fn the_readme_has_every_value() {
    let text = fs::read_to_string(chart().join("values.yaml")).unwrap();
    let file = chart().join("README.md");
    let readme = fs::read_to_string(&file).unwrap();
    let (head, rest) = readme.split_once(BEGIN).expect("the README has no place for the values");
    let (_, tail) = rest.split_once(END).expect("the README has no end of the values");
    let expected = format!("{head}{BEGIN}{}{END}{tail}", table(&text).unwrap());
    in_step(&file, &expected);
}

#[test]
fn a_value_without_a_comment_is_found_out() {
    assert_eq!(table("# Said.\na: 1\nb:\n  c: 2\n").unwrap_err(), "b.c has no comment in values.yaml");
    assert_eq!(
        table("# One | two.\n# More.\na:\n  b: {}\nc:\n  # Deep.\n  d: 1\n").unwrap(),
        "| value | default | |\n| --- | --- | --- |\n| `a` | `{\"b\":{}}` | One \\| two. More. |\n| `c.d` | `1` | Deep. |\n"
    );
}

/// The name of each value that has a row.
pub(crate) fn documented() -> Vec<String> {
    let text = fs::read_to_string(chart().join("values.yaml")).unwrap();
    let rows = table(&text).unwrap();
    rows.lines().filter_map(|row| Some(row.strip_prefix("| `")?.split('`').next()?.to_owned())).collect()
}

/// One row for each value that has no values below it, or whose comment says what may stand below.
fn table(text: &str) -> Result<String, String> {
    let values: Value = serde_saphyr::from_str(text).unwrap();
    let mut rows = String::from("| value | default | |\n| --- | --- | --- |\n");
    let mut path: Vec<&str> = Vec::new();
    let mut comment: Vec<&str> = Vec::new();
    // Below a value that has its row.
    let mut covered: Option<usize> = None;
    for line in text.lines() {
        let content = line.trim_start();
        let depth = (line.len() - content.len()) / 2;
        if content.is_empty() {
            comment.clear();
        } else if let Some(said) = content.strip_prefix("# ") {
            comment.push(said);
        } else if covered.is_none_or(|above| depth <= above) {
            covered = None;
            let (key, _) = content.split_once(':').unwrap_or_else(|| panic!("not a key: {line}"));
            path.truncate(depth);
            path.push(key);
            let value = path.iter().fold(&values, |value, key| &value[*key]);
            let full = path.join(".");
            let group = value.as_object().is_some_and(|map| !map.is_empty());
            if !comment.is_empty() {
                let said = comment.join(" ").replace('|', "\\|");
                let _ = writeln!(rows, "| `{full}` | `{value}` | {said} |");
                covered = Some(depth);
            } else if !group {
                return Err(format!("{full} has no comment in values.yaml"));
            }
            comment.clear();
        }
    }
    Ok(rows)
}
