//! Wiring only; everything is in the library.

use std::process::ExitCode;

fn main() -> ExitCode {
    etcd_defrag_webhook::cli::run()
}
