//! Building the programs that are simulated.

use std::env;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// The one target that the simulated port runs on.
const TARGET: &str = "x86_64-unknown-linux-gnu";

/// What they are built with. The checks of debug builds find what a seed would show only later.
const FLAGS: [&str; 8] = [
    "--cfg",
    "isochron_hosted",
    "--cfg",
    "isochron_sim",
    "-Crelocation-model=static",
    "-Cforce-frame-pointers=yes",
    "-Cno-redzone=yes",
    "-Cdebug-assertions=yes",
];

/// The workspace's root.
#[must_use]
pub fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().map_or_else(PathBuf::new, Path::to_path_buf)
}

/// Builds the programs of the workspace at `root`, in a target folder of their own, and returns where `world` lies.
///
/// # Errors
/// What Cargo says.
pub fn program(root: &Path, target: &Path) -> Result<PathBuf, String> {
    let mut command = Command::new(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    command
        .current_dir(root)
        .args(["build", "--quiet", "--profile", "guest", "--package", "isochron-sim-programs", "--target", TARGET])
        .args(["--config", &format!("target.{TARGET}.rustflags={FLAGS:?}")])
        // What is built often had better be built fast. (Without any such optimisation over the crates the stacks of the CPUs are
        // too small for what is moved over them when they start.)
        .args(["--config", "profile.guest.lto=\"thin\"", "--config", "profile.guest.debug=\"line-tables-only\""])
        .env("CARGO_TARGET_DIR", target)
        .stdin(Stdio::null());
    for (name, _) in env::vars_os() {
        // What an outer Cargo says about this crate, and flags that are meant for the host.
        let text = name.to_string_lossy();
        if text.starts_with("CARGO_PKG_") || text.starts_with("CARGO_MANIFEST_") || text.ends_with("RUSTFLAGS") {
            command.env_remove(&name);
        }
    }
    let output = command.output().map_err(|error| format!("cargo cannot be run: {error}"))?;
    if !output.status.success() {
        return Err(format!("the programs cannot be built:\n{}", String::from_utf8_lossy(&output.stderr)));
    }
    Ok(target.join(TARGET).join("guest/world"))
}
