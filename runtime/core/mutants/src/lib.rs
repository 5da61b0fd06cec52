//! Copies of sources that are to be broken on purpose: what has not changed is not written again, so that Cargo builds no more
//! than it must. The tool of this package uses it for `runtime/core`, the simulation for all that its programs are made of.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

/// The workspace's root.
///
/// # Panics
/// If this package lies elsewhere.
#[must_use]
pub fn root() -> PathBuf {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    here.ancestors().nth(3).expect("the package lies three folders below the root").to_path_buf()
}

/// Writes `bytes` unless they are there already.
///
/// # Errors
/// What the system said.
pub fn write_if_new(path: &Path, bytes: &[u8]) -> io::Result<()> {
    if fs::read(path).is_ok_and(|there| there == bytes) {
        return Ok(());
    }
    if let Some(folder) = path.parent() {
        fs::create_dir_all(folder)?;
    }
    fs::write(path, bytes)
}

/// Makes `to` hold what `from` holds, and nothing else.
///
/// # Errors
/// What the system said.
pub fn mirror(from: &Path, to: &Path) -> io::Result<()> {
    fs::create_dir_all(to)?;
    for entry in fs::read_dir(to)? {
        let entry = entry?;
        if !from.join(entry.file_name()).exists() {
            if entry.path().is_dir() { fs::remove_dir_all(entry.path())? } else { fs::remove_file(entry.path())? }
        }
    }
    for entry in fs::read_dir(from)? {
        let entry = entry?;
        let there = to.join(entry.file_name());
        if entry.path().is_dir() {
            mirror(&entry.path(), &there)?;
        } else {
            write_if_new(&there, &fs::read(entry.path())?)?;
        }
    }
    Ok(())
}
