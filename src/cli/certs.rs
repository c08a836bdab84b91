//! `certs`: a development CA and a serving certificate of it.

use std::{
    fs::{self, OpenOptions},
    io::Write as _,
    os::unix::fs::OpenOptionsExt as _,
    path::{Path, PathBuf},
};

use anyhow::{Context as _, bail};

use super::{Exit, output};
use crate::runtime::selfsigned;

/// Create a certificate authority and a serving certificate for development
///
/// Writes ca.crt, tls.crt and tls.key. The key of the CA is not kept, so nothing else can be signed with it.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// The folder to write to; it is created if it is missing
    #[arg(long, value_name = "DIR", default_value = "certs")]
    out: PathBuf,
    /// A DNS name or IP address that the certificate is for besides localhost; may be repeated
    #[arg(long = "name", value_name = "NAME", default_value = "etcd-defrag-webhook.etcd-defrag-system.svc")]
    names: Vec<String>,
    /// Replace existing files
    #[arg(long)]
    force: bool,
}

pub(super) fn run(args: &Args) -> anyhow::Result<Exit> {
    let pair = selfsigned::issue(&args.names).context("cannot create the certificates")?;
    let files =
        [("ca.crt", &pair.ca_pem, 0o644), ("tls.crt", &pair.cert_pem, 0o644), ("tls.key", &pair.key_pem, 0o600)];
    fs::create_dir_all(&args.out).with_context(|| format!("cannot create the folder {}", args.out.display()))?;
    for (name, _, _) in &files {
        let path = args.out.join(name);
        if !args.force && path.symlink_metadata().is_ok() {
            bail!("{} exists already; --force replaces it", path.display());
        }
    }
    for (name, text, mode) in files {
        write(&args.out.join(name), text, mode)?;
    }
    output::say(&format!("wrote ca.crt, tls.crt and tls.key to {}", args.out.display()));
    Ok(Exit::Clean)
}

/// Writes a file that is never readable to more than `mode` says, not even for a moment.
fn write(path: &Path, text: &str, mode: u32) -> anyhow::Result<()> {
    let cannot = || format!("cannot write {}", path.display());
    // A new file, because an existing one would keep its mode, or be a link to somewhere else.
    if path.symlink_metadata().is_ok() {
        fs::remove_file(path).with_context(cannot)?;
    }
    let mut file = OpenOptions::new().write(true).create_new(true).mode(mode).open(path).with_context(cannot)?;
    file.write_all(text.as_bytes()).and_then(|()| file.sync_all()).with_context(cannot)
}
