//! `version`: which program this is.

use std::sync::LazyLock;

use serde_json::json;

use super::{
    Exit, Format,
    output::{self, Page},
};
use crate::defrag::engine;

/// The commit that this was built from, if the build was given one.
const COMMIT: Option<&str> = option_env!("ETCD_DEFRAG_COMMIT");
const VERSION: &str = env!("CARGO_PKG_VERSION");

/// What `--version` prints after the name.
pub(super) static LONG: LazyLock<String> =
    LazyLock::new(|| format!("{VERSION}\ncommit: {}\nengine: {}", COMMIT.unwrap_or("unknown"), engine::IMAGE));

/// Print the version, the commit and the image of etcd-defrag that runs use if a policy has none
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// How to print
    #[arg(short, long, value_enum, default_value = "text")]
    output: Format,
}

pub(super) fn run(args: &Args) -> anyhow::Result<Exit> {
    if args.output == Format::Text {
        let mut page = Page::default();
        page.lines(&format!("version: {}", *LONG));
        output::print(&page)?;
        return Ok(Exit::Clean);
    }
    let engine = json!({"image": engine::IMAGE, "version": engine::newest_known()});
    output::data(args.output, &json!({"version": VERSION, "commit": COMMIT, "engine": engine}))?;
    Ok(Exit::Clean)
}
