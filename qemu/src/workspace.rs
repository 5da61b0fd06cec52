//! Where things are: the workspace, its build folder, its programs.

use crate::error::Error;
use crate::suggest;
use std::env;
use std::fs;
use std::path::{Path, PathBuf};

/// The workspace on this machine.
#[derive(Clone, Debug)]
pub struct Workspace {
    /// Its folder.
    pub root: PathBuf,
    /// Cargo's build folder, absolute.
    pub target: PathBuf,
}

/// A program that can be booted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Program {
    /// Its name: the file's, without `.rs`.
    pub name: String,
    /// The package it belongs to.
    pub package: &'static str,
    /// Its source.
    pub source: PathBuf,
    /// The first line of its documentation.
    pub about: String,
    /// Whether it is always built with tracing: its source has the line `//@ trace: yes`.
    pub traces: bool,
}

/// The folders with programs, and the packages they belong to.
const APPS: (&str, &str) = ("apps", "isochron-apps");
const TESTS: (&str, &str) = ("tests", "isochron-guest-tests");

impl Workspace {
    /// Finds the workspace: the one this program was built from, or the one around the current folder.
    ///
    /// # Errors
    /// [`Error::Usage`] if there is none.
    pub fn find() -> Result<Self, Error> {
        let here = env::current_dir().map_err(Error::io("read", Path::new(".")))?;
        let built_from = Path::new(env!("CARGO_MANIFEST_DIR")).parent().map(Path::to_path_buf);
        let root = here
            .ancestors()
            .map(Path::to_path_buf)
            .chain(built_from)
            .find(|dir| dir.join("apps/Cargo.toml").is_file() && dir.join("qemu/Cargo.toml").is_file())
            .ok_or_else(|| Error::Usage("no workspace here: start me inside the Isochron folder".into()))?;
        let target = match env::var_os("CARGO_TARGET_DIR").filter(|dir| !dir.is_empty()) {
            Some(dir) => here.join(dir),
            None => root.join("target"),
        };
        Ok(Self { root, target })
    }

    /// The folder for what a run of `app` on `machine` makes; it is created.
    ///
    /// # Errors
    /// [`Error::Io`] if it cannot be created.
    pub fn out_dir(&self, app: &str, machine: &str) -> Result<PathBuf, Error> {
        let dir = self.target.join("isochron").join(format!("{app}-{machine}"));
        fs::create_dir_all(&dir).map_err(Error::io("create", &dir))?;
        Ok(dir)
    }

    /// The programs for people, by name.
    #[must_use]
    pub fn apps(&self) -> Vec<Program> {
        self.programs(APPS)
    }

    /// The test kernels, by name.
    #[must_use]
    pub fn tests(&self) -> Vec<Program> {
        self.programs(TESTS)
    }

    /// The program or test kernel of that name.
    ///
    /// # Errors
    /// [`Error::Usage`] with the names that exist.
    pub fn program(&self, name: &str) -> Result<Program, Error> {
        let (apps, tests) = (self.apps(), self.tests());
        if let Some(found) = apps.iter().chain(&tests).find(|p| p.name == name) {
            return Ok(found.clone());
        }
        let names = apps.iter().chain(&tests).map(|p| p.name.as_str());
        Err(Error::Usage(suggest::unknown("app", name, names)))
    }

    /// A path as people should see it: relative to where they are, if it is below.
    #[must_use]
    pub fn shown(&self, path: &Path) -> String {
        let here = env::current_dir().unwrap_or_default();
        path.strip_prefix(&here).unwrap_or(path).display().to_string()
    }

    fn programs(&self, (folder, package): (&str, &'static str)) -> Vec<Program> {
        let dir = self.root.join(folder).join("src/bin");
        let mut found: Vec<Program> = fs::read_dir(dir)
            .into_iter()
            .flatten()
            .flatten()
            .filter_map(|entry| {
                let source = entry.path();
                let source = if source.is_dir() { source.join("main.rs") } else { source };
                let stem =
                    if source.ends_with("main.rs") { source.parent()?.file_name()? } else { source.file_stem()? };
                let name = stem.to_str()?.to_owned();
                if source.extension()? != "rs" {
                    return None;
                }
                let text = fs::read_to_string(&source).ok()?;
                let traces = text.lines().any(|line| line.trim_end() == "//@ trace: yes");
                Some(Program { name, package, source, about: first_doc_line(&text), traces })
            })
            .collect();
        found.sort_by(|a, b| a.name.cmp(&b.name));
        found
    }
}

/// The subtitle of a source file: its first `//!` line, without the full stop.
fn first_doc_line(source: &str) -> String {
    let line = source.lines().find_map(|l| l.trim_start().strip_prefix("//!")).unwrap_or("");
    line.trim().trim_end_matches('.').to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn programs_are_the_files() {
        let workspace = Workspace::find().unwrap();
        let hello = workspace.program("hello").unwrap();
        assert_eq!((hello.package, hello.name.as_str()), ("isochron-apps", "hello"));
        assert_eq!(workspace.program("helo").unwrap_err().exit_code(), 2);
        assert!(workspace.program("helo").unwrap_err().to_string().contains("'hello'"));
    }

    #[test]
    fn subtitles() {
        assert_eq!(first_doc_line("//@ cpus: 1\n//! Says hello.\n//! More."), "Says hello");
        assert_eq!(first_doc_line("fn main() {}"), "");
    }
}
