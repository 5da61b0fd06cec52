//! The copy of `runtime/core` that is broken on purpose, as a workspace of its own.

use isochron_mutants::{mirror, write_if_new};
use std::fs;
use std::io;
use std::path::Path;

/// Where the package under test lies, below the root and below its copy.
pub const PACKAGE: &str = "runtime/core";

/// Brings the copy at `copy` up to date. What has not changed is not written, so that Cargo builds no more than it must.
pub fn bring_up_to_date(root: &Path, copy: &Path) -> io::Result<()> {
    mirror(&root.join(PACKAGE).join("src"), &copy.join(PACKAGE).join("src"))?;
    mirror(&root.join(PACKAGE).join("tests"), &copy.join(PACKAGE).join("tests"))?;
    for file in ["Cargo.lock", "rust-toolchain.toml"] {
        let text = fs::read_to_string(root.join(file))?;
        // Cargo takes what the copy does not need out of its lock file: leave that be.
        if file != "Cargo.lock" || !copy.join(file).exists() {
            write_if_new(&copy.join(file), text.as_bytes())?;
        }
    }
    write_if_new(&copy.join("Cargo.toml"), manifest(&fs::read_to_string(root.join("Cargo.toml"))?).as_bytes())?;
    let package = fs::read_to_string(root.join(PACKAGE).join("Cargo.toml"))?;
    write_if_new(&copy.join(PACKAGE).join("Cargo.toml"), package.as_bytes())
}

/// The copy's workspace manifest: what the package inherits from the real one, and nothing of the other members.
fn manifest(real: &str) -> String {
    let mut text = format!("[workspace]\nresolver = \"3\"\nmembers = [\"{PACKAGE}\"]\n");
    let mut wanted = false;
    for line in real.lines() {
        if line.starts_with('[') {
            wanted = line == "[workspace.package]" || line.starts_with("[workspace.lints");
        }
        if wanted {
            text.push_str(line);
            text.push('\n');
        }
    }
    // The work is loom's: what is built anew for each mutant had better be built fast.
    text.push_str("\n[profile.release]\nincremental = true\n[profile.release.package.isochron-core]\nopt-level = 0\n");
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use isochron_mutants::root;

    #[test]
    fn the_copy_inherits_what_the_package_does_and_has_one_member() {
        let real = fs::read_to_string(root().join("Cargo.toml")).unwrap();
        let text = manifest(&real);
        assert!(text.contains("[workspace.package]\nversion") && text.contains("[workspace.lints.clippy]"));
        assert!(!text.contains("kernel") && !text.contains("[profile.guest"));
    }

    #[test]
    fn a_copy_holds_the_same_and_is_written_once() {
        let copy = std::env::temp_dir().join(format!("isochron-mutants-tree-{}", std::process::id()));
        bring_up_to_date(&root(), &copy).unwrap();
        let file = copy.join(PACKAGE).join("src/idle_set.rs");
        assert_eq!(fs::read(&file).unwrap(), fs::read(root().join(PACKAGE).join("src/idle_set.rs")).unwrap());
        assert!(!copy.join(PACKAGE).join("mutants").exists(), "the tool itself is not copied");
        let before = fs::metadata(&file).unwrap().modified().unwrap();
        fs::write(copy.join(PACKAGE).join("src/gone.rs"), "").unwrap();
        bring_up_to_date(&root(), &copy).unwrap();
        assert_eq!(fs::metadata(&file).unwrap().modified().unwrap(), before);
        assert!(!copy.join(PACKAGE).join("src/gone.rs").exists());
        fs::remove_dir_all(&copy).unwrap();
    }
}
