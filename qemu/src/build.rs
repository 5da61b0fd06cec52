//! Guests are built by cargo; this asks it and finds what it made.

use crate::error::Error;
use crate::machine::Machine;
use crate::process::Guarded;
use crate::workspace::{Program, Workspace};
use std::collections::BTreeMap;
use std::env;
use std::io::{BufRead, BufReader};
use std::path::PathBuf;
use std::process::{Command, Stdio};

/// The profile guests are built with if nothing else is said.
pub const PROFILE: &str = "guest";

/// How a guest is built. Each has a cargo profile of its own, so that their files lie side by side.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Default)]
pub enum Profile {
    /// As it is measured.
    #[default]
    Usual,
    /// With the checks of debug builds.
    Checked,
    /// With LSE atomics, for ARM64 CPUs that have them.
    Lse,
    /// With a heap that finds its misuse.
    Hardened,
    /// With AddressSanitizer, on the hosted port.
    Sanitized,
}

impl Profile {
    /// Cargo's name of it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Usual => PROFILE,
            Self::Checked => "guest-checked",
            Self::Lse => "guest-lse",
            Self::Hardened => "guest-hardened",
            Self::Sanitized => "guest-sanitized",
        }
    }

    /// A program's name with the profile behind it, if that is not the usual one.
    #[must_use]
    pub fn mark(self, program: &str) -> String {
        self.name().strip_prefix(PROFILE).map_or_else(String::new, |rest| format!("{program}{rest}"))
    }
}

/// How a guest is built, and what for.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Default)]
pub struct How {
    /// The profile.
    pub profile: Profile,
    /// With tracing.
    pub trace: bool,
    /// With all threads in a list, for a debugger.
    pub listed: bool,
}

/// Settings for a guest that is a process of this system, in place of `.cargo/config.toml`'s of a bare-metal target.
const HOSTED: &str = "targets/hosted.toml";

/// What AddressSanitizer takes besides. `kernel/src/arch/hosted/sanitizer.rs` has what calls of its library are led to.
const SANITIZED_FLAGS: [&str; 6] = [
    "--cfg",
    "isochron_asan",
    "-Zsanitizer=address",
    "-Clink-arg=-lgcc_s",
    "-Clink-arg=-ldl",
    "-Clink-arg=-Wl,--wrap=__asan_memcpy,--wrap=__asan_memmove,--wrap=__asan_memset,--wrap=__asan_handle_no_return",
];

const LSE_FLAGS: [&str; 1] = ["-Ctarget-feature=+lse"];

/// Builds `programs` for `machine` and returns each one's ELF file by name. Cargo's progress goes to stderr, as always.
///
/// # Errors
/// [`Error::Build`] if cargo fails, [`Error::Interrupted`] after Ctrl-C.
pub fn build(
    workspace: &Workspace,
    programs: &[&Program],
    machine: &Machine,
    how: How,
) -> Result<BTreeMap<String, PathBuf>, Error> {
    let sanitized = how.profile == Profile::Sanitized;
    let mut command = if sanitized { nightly(workspace)? } else { cargo(workspace) };
    let target = machine.target();
    command.args(["build", "--profile", how.profile.name(), "--target", target]);
    if machine.is_hosted() {
        command.args(["--config", HOSTED]);
    }
    let more = match how.profile {
        Profile::Sanitized => &SANITIZED_FLAGS[..],
        Profile::Lse => &LSE_FLAGS[..],
        Profile::Usual | Profile::Checked | Profile::Hardened => &[],
    };
    if !more.is_empty() {
        // Behind the flags in files.
        command.args(["--config", &format!("target.{target}.rustflags={more:?}")]);
    }
    command.arg("--message-format=json-render-diagnostics");
    let mut packages: Vec<&str> = programs.iter().map(|p| p.package).collect();
    packages.sort_unstable();
    packages.dedup();
    command.args(packages.iter().flat_map(|p| ["-p", p]));
    command.args(programs.iter().flat_map(|p| ["--bin", p.name.as_str()]));
    let features = [("trace", how.trace), ("listed", how.listed), ("hardened", how.profile == Profile::Hardened)];
    for (feature, _) in features.into_iter().filter(|(_, wanted)| *wanted) {
        command.args(packages.iter().flat_map(|p| ["--features".to_owned(), format!("{p}/{feature}")]));
    }
    command.stdin(Stdio::null()).stdout(Stdio::piped());
    let mut child = Guarded::start(&mut command)?;
    let mut made = BTreeMap::new();
    if let Some(output) = child.child().stdout.take() {
        for line in BufReader::new(output).lines().map_while(Result::ok) {
            if let Some((name, path)) = executable(&line) {
                made.insert(name, path);
            }
        }
    }
    let what = || match programs {
        [one] => format!("{} for {}", one.name, target),
        more => format!("{} programs for {}", more.len(), target),
    };
    if !child.wait()?.success() || programs.iter().any(|p| !made.contains_key(&p.name)) {
        return Err(Error::Build { what: what() });
    }
    Ok(made)
}

/// The name and path in cargo's message about an executable.
fn executable(line: &str) -> Option<(String, PathBuf)> {
    let message: serde_json::Value = serde_json::from_str(line).ok()?;
    let path = message.get("executable")?.as_str()?;
    let name = message.get("target")?.get("name")?.as_str()?;
    Some((name.to_owned(), PathBuf::from(path)))
}

/// Cargo, in the workspace, with an environment in which a guest is always built the same way.
///
/// What the outer cargo says about this host program would be seen by build scripts as a change; flags meant for the
/// host replace the ones in `.cargo/config.toml` that make a guest bare metal.
#[must_use]
pub fn cargo(workspace: &Workspace) -> Command {
    guests_cargo(Command::new(env::var_os("CARGO").unwrap_or_else(|| "cargo".into())), workspace)
}

/// The cargo of a nightly toolchain, which is installed if it is not there.
fn nightly(workspace: &Workspace) -> Result<Command, Error> {
    const INSTALL: [&str; 5] = ["toolchain", "install", "nightly", "--profile", "minimal"];
    let missing = || Error::Missing {
        what: "AddressSanitizer takes a nightly Rust toolchain".into(),
        command: format!("rustup {}", INSTALL.join(" ")),
    };
    let rustup = || Command::new("rustup");
    let there = rustup().args(["run", "nightly", "cargo", "--version"]).stdin(Stdio::null()).output();
    if !there.map_err(|_| missing())?.status.success() {
        eprintln!("installing a nightly Rust toolchain: rustup {}", INSTALL.join(" "));
        if !Guarded::start(rustup().args(INSTALL).stdin(Stdio::null()))?.wait()?.success() {
            return Err(missing());
        }
    }
    let mut command = rustup();
    command.args(["run", "nightly", "cargo"]);
    Ok(guests_cargo(command, workspace))
}

fn guests_cargo(mut command: Command, workspace: &Workspace) -> Command {
    command.current_dir(&workspace.root).env("CARGO_TARGET_DIR", &workspace.target);
    for (name, _) in env::vars_os() {
        let Some(text) = name.to_str() else { continue };
        let of_this_package = ["CARGO_PKG_", "CARGO_MANIFEST_", "CARGO_BIN_", "CARGO_CRATE_", "CARGO_PRIMARY_"]
            .iter()
            .any(|prefix| text.starts_with(prefix));
        if of_this_package || matches!(text, "RUSTFLAGS" | "CARGO_ENCODED_RUSTFLAGS" | "CARGO_BUILD_RUSTFLAGS") {
            command.env_remove(&name);
        }
    }
    command
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn executables_are_picked_out() {
        let line = r#"{"reason":"compiler-artifact","target":{"name":"hello"},"executable":"/t/hello"}"#;
        assert_eq!(executable(line), Some(("hello".into(), "/t/hello".into())));
        assert_eq!(executable(r#"{"reason":"compiler-artifact","target":{"name":"x"},"executable":null}"#), None);
        assert_eq!(executable("noise"), None);
    }
}
