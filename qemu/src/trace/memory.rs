//! A guest's memory as files that two programs have mapped.
//!
//! On Linux they have no name and are gone with the last program that has them open, however that ends. Elsewhere they lie in
//! the folder for temporary files until this is dropped.

use crate::error::Error;
use crate::machine::Machine;
use std::fs::File;
use std::io;
use std::os::fd::AsRawFd;
use std::path::{Path, PathBuf};

/// The memory of one guest: a file for each NUMA node.
#[derive(Debug)]
pub struct SharedMemory {
    parts: Vec<Part>,
}

#[derive(Debug)]
struct Part {
    file: File,
    /// Where it lies, if it has a name.
    path: Option<PathBuf>,
}

impl SharedMemory {
    /// For a guest with nodes of so many bytes. It costs what the guest touches.
    ///
    /// # Errors
    /// [`Error::Io`] if the system has no room for it.
    pub fn new(nodes: &[u64]) -> Result<Self, Error> {
        let make = |bytes: &u64| {
            let part = Part::new()?;
            part.file.set_len(*bytes)?;
            Ok(part)
        };
        let parts = nodes.iter().map(make).collect::<io::Result<_>>();
        parts.map(|parts| Self { parts }).map_err(Error::io("make", Path::new("memory to share with the guest")))
    }

    /// What the guest's program is to be told of each part: QEMU a path, a process the number of the open file.
    #[must_use]
    pub fn names(&self, machine: &Machine) -> Vec<String> {
        let name = |part: &Part| match &part.path {
            _ if machine.is_hosted() => part.file.as_raw_fd().to_string(),
            Some(path) => path.to_string_lossy().replace(',', ",,"),
            None => format!("/proc/self/fd/{}", part.file.as_raw_fd()),
        };
        self.parts.iter().map(name).collect()
    }

    /// The files.
    pub fn files(&self) -> impl Iterator<Item = &File> {
        self.parts.iter().map(|part| &part.file)
    }
}

impl Part {
    /// A file without a name, which the programs started from here have open too.
    #[cfg(target_os = "linux")]
    fn new() -> io::Result<Self> {
        use std::os::fd::FromRawFd;
        // SAFETY: a string with its end; no flags, so that it stays open in a child.
        let number = unsafe { libc::memfd_create(c"isochron-guest".as_ptr(), 0) };
        if number < 0 {
            return Err(io::Error::last_os_error());
        }
        // SAFETY: just opened, and nobody else's.
        Ok(Self { file: unsafe { File::from_raw_fd(number) }, path: None })
    }

    #[cfg(not(target_os = "linux"))]
    fn new() -> io::Result<Self> {
        use std::sync::atomic::{AtomicUsize, Ordering};
        static COUNT: AtomicUsize = AtomicUsize::new(0);
        // Relaxed: only the number must be new.
        let number = COUNT.fetch_add(1, Ordering::Relaxed);
        let path = std::env::temp_dir().join(format!("isochron-guest-{}-{number}", std::process::id()));
        let file = File::options().read(true).write(true).create_new(true).open(&path)?;
        Ok(Self { file, path: Some(path) })
    }
}

impl Drop for Part {
    fn drop(&mut self) {
        if let Some(path) = &self.path {
            // What cannot be removed is for the system to clean up.
            let _ = std::fs::remove_file(path);
        }
    }
}
