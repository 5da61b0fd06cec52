//! A copy of what the simulated programs are made of, as a workspace of its own.

use isochron_mutants::{mirror, write_if_new};
use std::fs;
use std::io;
use std::path::Path;

/// The packages.
const MEMBERS: [&str; 7] = ["boot", "kernel", "runtime", "runtime/core", "runtime/macros", "sim/programs", "wire"];

/// Brings the copy up to date. What has not changed is not written, so that Cargo builds no more than it must.
pub fn bring_up_to_date(root: &Path, copy: &Path) -> io::Result<()> {
    for member in MEMBERS {
        mirror(&root.join(member).join("src"), &copy.join(member).join("src"))?;
        for file in ["Cargo.toml", "build.rs"] {
            if root.join(member).join(file).exists() {
                write_if_new(&copy.join(member).join(file), &fs::read(root.join(member).join(file))?)?;
            }
        }
    }
    write_if_new(&copy.join("rust-toolchain.toml"), &fs::read(root.join("rust-toolchain.toml"))?)?;
    if !copy.join("Cargo.lock").exists() {
        fs::copy(root.join("Cargo.lock"), copy.join("Cargo.lock"))?;
    }
    let real = fs::read_to_string(root.join("Cargo.toml"))?;
    write_if_new(&copy.join("Cargo.toml"), manifest(&real).as_bytes())
}

/// The real manifest with other members.
fn manifest(real: &str) -> String {
    let mut text = String::new();
    for line in real.lines() {
        if line.starts_with("members = ") {
            text += &format!("members = {MEMBERS:?}");
        } else if !line.starts_with("default-members = ") {
            text += line;
        }
        text.push('\n');
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_copy_has_its_own_members_and_the_rest_of_the_manifest() {
        let real = fs::read_to_string(isochron_mutants::root().join("Cargo.toml")).unwrap();
        let text = manifest(&real);
        assert!(text.contains("\"sim/programs\"") && text.contains("[profile.guest]") && !text.contains("\"qemu\""));
    }
}
