//! `certs`: a development CA and serving certificate.

use std::{
    fs::{self, OpenOptions},
    io::Write as _,
    os::unix::fs::OpenOptionsExt as _,
    path::{Path, PathBuf},
};

use anyhow::Context as _;

use super::{Outcome, output};
use crate::runtime::selfsigned;

/// Makes a development CA and a serving certificate for localhost; for production use cert-manager
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The folder for ca.crt, tls.crt and tls.key
    #[arg(long, default_value = "certs")]
    out: PathBuf,
    /// A further DNS name or IP address that the certificate is for
    #[arg(long = "name", value_name = "NAME")]
    names: Vec<String>,
    /// Replace files that are there
    #[arg(long)]
    force: bool,
}

/// Runs the command.
pub fn run(args: &Args) -> anyhow::Result<Outcome> {
    let files = ["ca.crt", "tls.crt", "tls.key"].map(|name| args.out.join(name));
    if let Some(there) = files.iter().find(|file| file.exists())
        && !args.force
    {
        anyhow::bail!("{} is there already: write --force to replace it", there.display());
    }
    let pair = selfsigned::issue(&args.names)?;
    fs::create_dir_all(&args.out).with_context(|| format!("make the folder {}", args.out.display()))?;
    for (file, (text, mode)) in files.iter().zip([(&pair.ca_pem, 0o644), (&pair.cert_pem, 0o644), (&pair.key_pem, 0o600)]) {
        write(file, text, mode).with_context(|| format!("write {}", file.display()))?;
        output::diagnostic(&format!("wrote {}", file.display()));
    }
    Ok(Outcome::Clean)
}

/// Writes a file that is made with its mode, so that a key is at no time readable by others.
fn write(path: &Path, text: &str, mode: u32) -> std::io::Result<()> {
    if path.exists() {
        fs::remove_file(path)?;
    }
    OpenOptions::new().write(true).create_new(true).mode(mode).open(path)?.write_all(text.as_bytes())
}
