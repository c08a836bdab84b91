//! `cronjob`: what kamaji-etcd's defrag.sh does, with its flags and defaults, under the same assessment as everything
//! else here.

mod apply;
mod args;
mod assumed;
mod build;

use std::path::PathBuf;

use anyhow::bail;

pub(super) use self::args::Args;
use self::build::{build, trace};
use super::{Exit, input, output};
use crate::defrag::{policy::Governing, statefulset::StatefulSet};

pub(super) fn run(args: &Args) -> anyhow::Result<Exit> {
    if args.apply {
        return apply::run(args);
    }
    let object = match &args.file {
        Some(file) => from_file(args, file)?,
        None => assumed::statefulset(args.name(), args.service(), args.namespace())?,
    };
    if args.file.is_none() {
        for line in assumed::notes(&object) {
            output::note(&line);
        }
    }
    let Some(cronjob) = build(args, object, &Governing::built_in())? else { return Ok(Exit::Refused) };
    output::data(args.output, &cronjob)?;
    Ok(Exit::Clean)
}

/// The StatefulSet of a manifest: the one that is asked for, or the only one.
fn from_file(args: &Args, file: &PathBuf) -> anyhow::Result<StatefulSet> {
    trace(&format!("reading {}", file.display()));
    let mut found = Vec::new();
    for document in input::read(std::slice::from_ref(file), false)? {
        let Some(mut object) = document.statefulset()? else { continue };
        object.metadata.namespace.get_or_insert_with(|| args.namespace().to_owned());
        let wanted = args.etcd_name.as_deref().is_none_or(|name| name == object.name())
            && args.namespace.as_deref().is_none_or(|namespace| namespace == object.namespace());
        if wanted {
            found.push(object);
        }
    }
    let several = found.len() > 1;
    let file = file.display();
    match found.pop() {
        Some(object) if !several => Ok(object),
        Some(_) => bail!("{file} has several StatefulSets; name one with -e and -n"),
        None => bail!("{file} has no StatefulSet of that name and namespace"),
    }
}
