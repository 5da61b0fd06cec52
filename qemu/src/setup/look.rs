//! Looking: what is there, by files alone.

use super::Wanted;
use crate::error::Error;
use crate::machine::Arch;
use crate::workspace::Workspace;
use std::env;
use std::fmt;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// What `rust-toolchain.toml` asks for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Toolchain {
    /// The version.
    pub channel: String,
    /// Components by name.
    pub components: Vec<String>,
    /// Targets by name.
    pub targets: Vec<String>,
}

/// What is missing.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Needs {
    /// The toolchain's version, for rustup.
    pub channel: String,
    /// Rust targets.
    pub targets: Vec<String>,
    /// Toolchain components.
    pub components: Vec<String>,
    /// QEMU programs that are not there.
    pub qemu: Vec<&'static str>,
    /// The version of a QEMU that is there and too old, and the one that is needed.
    pub old_qemu: Option<(String, u32)>,
    /// UEFI firmware.
    pub firmware: bool,
    /// A gdb that knows the guests' architectures and has Python.
    pub gdb: bool,
}

impl Needs {
    /// Whether all is there.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.targets.is_empty() && self.components.is_empty() && !self.needs_packages() && !self.gdb
    }

    /// Whether the system's package manager is needed for QEMU or firmware.
    #[must_use]
    pub fn needs_packages(&self) -> bool {
        !self.qemu.is_empty() || self.old_qemu.is_some() || self.firmware
    }
}

impl fmt::Display for Needs {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut parts = Vec::new();
        if !self.targets.is_empty() {
            parts.push(format!("Rust target {}", self.targets.join(", ")));
        }
        if !self.components.is_empty() {
            parts.push(format!("Rust component {}", self.components.join(", ")));
        }
        if !self.qemu.is_empty() {
            parts.push(self.qemu.join(", "));
        }
        if let Some((have, want)) = &self.old_qemu {
            parts.push(format!("QEMU {want} or newer (there is {have})"));
        }
        if self.firmware {
            parts.push("UEFI firmware (OVMF)".into());
        }
        if self.gdb {
            parts.push("gdb with Python, for ARM64 and x86-64".into());
        }
        write!(f, "missing: {}", parts.join("; "))
    }
}

/// Finds what is missing of what `rust-toolchain.toml` and `wanted` ask for.
///
/// # Errors
/// [`Error::Io`] if `rust-toolchain.toml` cannot be read.
pub fn look(workspace: &Workspace, wanted: &Wanted) -> Result<Needs, Error> {
    let path = workspace.root.join("rust-toolchain.toml");
    let toolchain = parse_toolchain(&fs::read_to_string(&path).map_err(Error::io("read", &path))?);
    let mut needs = Needs { channel: toolchain.channel.clone(), ..Needs::default() };
    if let Some(sysroot) = sysroot() {
        rust(&sysroot, &toolchain, wanted, &mut needs);
    }
    for arch in &wanted.qemu {
        if find_program(arch.qemu()).is_none() {
            needs.qemu.push(arch.qemu());
        }
    }
    if let Some(least) = wanted.qemu_version
        && needs.qemu.is_empty()
        && let Some((version, major)) = qemu_version(wanted.qemu.first().copied().unwrap_or(Arch::Aarch64))
        && major < least
    {
        needs.old_qemu = Some((version, least));
    }
    needs.firmware = wanted.firmware && firmware().is_none();
    needs.gdb = wanted.gdb.iter().any(|arch| gdb(*arch).is_none());
    Ok(needs)
}

fn rust(sysroot: &Path, toolchain: &Toolchain, wanted: &Wanted, needs: &mut Needs) {
    let lib = sysroot.join("lib/rustlib");
    for target in &toolchain.targets {
        if !lib.join(target).join("lib").is_dir() {
            needs.targets.push(target.clone());
        }
    }
    let installed = fs::read_to_string(lib.join("components")).unwrap_or_default();
    for component in toolchain.components.iter().chain(&wanted.components) {
        if needs.components.contains(component) {
            continue;
        }
        // Listed as `rustfmt-preview-x86_64-unknown-linux-gnu`, `rust-src`, ...
        let listed = |l: &str| l.strip_prefix(component.as_str()).is_some_and(|r| r.is_empty() || r.starts_with('-'));
        // A toolchain that rustup does not manage has no list, and then nothing can be said.
        if !installed.is_empty() && !installed.lines().any(listed) {
            needs.components.push(component.clone());
        }
    }
}

/// The toolchain's folder: cargo stands in it, and names itself in `CARGO`.
pub fn sysroot() -> Option<PathBuf> {
    let of_cargo = env::var_os("CARGO").map(PathBuf::from).and_then(|c| Some(c.parent()?.parent()?.to_path_buf()));
    of_cargo.filter(|dir| dir.join("lib/rustlib").is_dir()).or_else(|| {
        let output = Command::new("rustc").args(["--print", "sysroot"]).output().ok()?;
        let text = String::from_utf8(output.stdout).ok()?;
        Some(PathBuf::from(text.trim())).filter(|dir| dir.is_dir())
    })
}

/// A program of the toolchain's `llvm-tools` component.
#[must_use]
pub fn tool(name: &str) -> Option<PathBuf> {
    let lib = sysroot()?.join("lib/rustlib");
    let found = fs::read_dir(lib).ok()?.flatten().map(|host| host.path().join("bin").join(name));
    found.into_iter().find(|p| p.is_file())
}

/// The program of that name on `PATH`.
pub fn find_program(name: &str) -> Option<PathBuf> {
    use std::os::unix::fs::PermissionsExt;
    let usable = |p: &PathBuf| fs::metadata(p).is_ok_and(|m| m.is_file() && m.permissions().mode() & 0o111 != 0);
    env::split_paths(&env::var_os("PATH")?).map(|dir| dir.join(name)).find(usable)
}

fn qemu_version(arch: Arch) -> Option<(String, u32)> {
    let output = Command::new(arch.qemu()).arg("--version").output().ok()?;
    version_of(&String::from_utf8_lossy(&output.stdout))
}

/// The version in `QEMU emulator version 10.0.2 (...)`, and its first number.
fn version_of(text: &str) -> Option<(String, u32)> {
    let version = text.split_once("version ")?.1.split([' ', '\n']).next()?;
    Some((version.to_owned(), version.split('.').next()?.parse().ok()?))
}

/// A gdb that can debug guests of that architecture, and has Python.
#[must_use]
pub fn gdb(arch: Arch) -> Option<PathBuf> {
    let name = match arch {
        Arch::Aarch64 => "aarch64",
        Arch::X86_64 => "i386:x86-64",
    };
    let able = |gdb: &PathBuf| {
        let mut command = Command::new(gdb);
        command.args(["-nx", "-batch", "-ex", &format!("set architecture {name}"), "-ex", "show architecture"]);
        let said = command.args(["-ex", "python print('python', 1 + 1)"]).output();
        said.is_ok_and(|said| {
            let said = String::from_utf8_lossy(&said.stdout);
            said.contains(&format!("\"{name}\"")) && said.contains("python 2")
        })
    };
    ["gdb-multiarch", "gdb"].into_iter().filter_map(find_program).find(able)
}

/// UEFI firmware in one file, where distributions put it.
#[must_use]
pub fn firmware() -> Option<PathBuf> {
    let places = [
        "/usr/share/ovmf/OVMF.fd",
        "/usr/share/qemu/OVMF.fd",
        "/usr/share/OVMF/OVMF.fd",
        "/usr/share/edk2/ovmf/OVMF.fd",
        "/usr/share/edk2/x64/OVMF.4m.fd",
        "/usr/share/edk2-ovmf/x64/OVMF.fd",
    ];
    places.iter().map(PathBuf::from).find(|p| p.is_file())
}

/// Reads the few keys of `rust-toolchain.toml` that matter: strings and lists of strings.
#[must_use]
pub fn parse_toolchain(text: &str) -> Toolchain {
    let text: String = text.lines().map(|l| l.split('#').next().unwrap_or("")).collect::<Vec<_>>().join("\n");
    let value = |key: &str| -> Vec<String> {
        let after = text.split('\n').scan(0, |at, line| {
            let start = *at;
            *at += line.len() + 1;
            Some((start, line))
        });
        let found =
            after.filter(|(_, l)| l.split('=').next().is_some_and(|k| k.trim() == key)).map(|(at, _)| at).next();
        let Some((_, rest)) = found.and_then(|at| text[at..].split_once('=')) else { return Vec::new() };
        let rest = rest.trim_start();
        let end = if rest.starts_with('[') { rest.find(']') } else { rest.find('\n') };
        let rest = &rest[..end.unwrap_or(rest.len())];
        rest.split('"').skip(1).step_by(2).map(str::to_owned).collect()
    };
    Toolchain {
        channel: value("channel").into_iter().next().unwrap_or_default(),
        components: value("components"),
        targets: value("targets"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_toolchain_file_is_read() {
        let text = "# x = \"y\"\n[toolchain]\nchannel = \"1.95.0\"\ncomponents = [\n \"a\", # why\n \"b\",\n]\ntargets=[\"t\"]\n";
        let read = parse_toolchain(text);
        assert_eq!(read.channel, "1.95.0");
        assert_eq!((read.components, read.targets), (vec!["a".into(), "b".into()], vec!["t".into()]));
        let workspace = Workspace::find().unwrap();
        let own = parse_toolchain(&fs::read_to_string(workspace.root.join("rust-toolchain.toml")).unwrap());
        assert!(own.targets.iter().any(|t| t == Arch::Aarch64.target()), "{own:?}");
        assert!(own.targets.iter().any(|t| t == Arch::X86_64.target()), "{own:?}");
    }

    #[test]
    fn what_a_toolchain_lacks_is_found() {
        let dir = env::temp_dir().join(format!("isochron-sysroot-{}", std::process::id()));
        let lib = dir.join("lib/rustlib");
        fs::create_dir_all(lib.join("there/lib")).unwrap();
        fs::write(lib.join("components"), "cargo-x86\nclippy-preview-x86\nrust-std-there\n").unwrap();
        let toolchain = Toolchain {
            channel: "1".into(),
            components: vec!["clippy".into(), "llvm-tools".into()],
            targets: vec!["there".into(), "gone".into()],
        };
        let mut needs = Needs::default();
        rust(&dir, &toolchain, &Wanted { components: vec!["rust-src".into(); 2], ..Wanted::default() }, &mut needs);
        assert_eq!(needs.targets, ["gone"]);
        assert_eq!(needs.components, ["llvm-tools", "rust-src"]);
        assert_eq!(needs.to_string(), "missing: Rust target gone; Rust component llvm-tools, rust-src");
        fs::remove_dir_all(dir).unwrap();
    }

    #[test]
    fn versions() {
        assert_eq!(version_of("QEMU emulator version 10.0.2 (Debian 1)\nCopyright"), Some(("10.0.2".into(), 10)));
        assert_eq!(version_of("QEMU emulator version 7.2.0\n"), Some(("7.2.0".into(), 7)));
        assert_eq!(version_of("something"), None);
    }

    #[test]
    fn programs_on_the_path() {
        assert!(find_program("sh").is_some_and(|p| p.is_absolute()));
        assert_eq!(find_program("no-such-program"), None);
    }
}
