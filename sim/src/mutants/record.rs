//! What is known of mutants from earlier runs, so that one that was cut off goes on where it was.

use super::Mutant;
use std::fs;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::io;
use std::path::{Path, PathBuf};

/// What came of a mutant so far.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum State {
    /// A seed has found it.
    Found {
        /// Which.
        seed: u64,
        /// What it said.
        how: String,
    },
    /// None of so many first seeds has.
    Searched(u64),
}

/// The file about one mutant of these very sources.
pub struct Record(PathBuf);

impl Record {
    /// For the sources in `copy`, before they are changed.
    pub fn of(mutant: &Mutant, copy: &Path, folder: &Path) -> io::Result<Self> {
        fs::create_dir_all(folder)?;
        let mut hasher = DefaultHasher::new();
        (mutant.name, mutant.file, mutant.old, mutant.new).hash(&mut hasher);
        hash_all(copy, &mut hasher)?;
        Ok(Self(folder.join(format!("{:016x}", hasher.finish()))))
    }

    /// What it says; nothing was searched if there is none.
    pub fn read(&self) -> State {
        fs::read_to_string(&self.0).ok().and_then(|text| parse(&text)).unwrap_or(State::Searched(0))
    }

    pub fn write(&self, state: &State) -> io::Result<()> {
        fs::write(&self.0, render(state))
    }
}

fn render(state: &State) -> String {
    match state {
        State::Found { seed, how } => format!("found {seed} {how}\n"),
        State::Searched(seeds) => format!("searched {seeds}\n"),
    }
}

fn parse(text: &str) -> Option<State> {
    let (word, rest) = text.trim().split_once(' ')?;
    match word {
        "found" => {
            let (seed, how) = rest.split_once(' ')?;
            Some(State::Found { seed: seed.parse().ok()?, how: how.to_owned() })
        }
        "searched" => rest.parse().ok().map(State::Searched),
        _ => None,
    }
}

/// The names and the contents of all files below `folder`, in a fixed order.
fn hash_all(folder: &Path, hasher: &mut DefaultHasher) -> io::Result<()> {
    let mut paths: Vec<PathBuf> =
        fs::read_dir(folder)?.map(|entry| entry.map(|entry| entry.path())).collect::<io::Result<_>>()?;
    paths.sort();
    for path in paths {
        path.file_name().hash(hasher);
        if path.is_dir() { hash_all(&path, hasher)? } else { fs::read(&path)?.hash(hasher) }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read_again() {
        for state in [State::Searched(400), State::Found { seed: 7, how: "broken: all is at rest".to_owned() }] {
            assert_eq!(parse(&render(&state)), Some(state));
        }
        assert_eq!(parse("found x"), None);
        assert_eq!(parse(""), None);
    }

    #[test]
    fn other_sources_have_another_record() {
        let folder = crate::build::root().join("target/sim-mutants/test");
        let copy = folder.join("copy");
        fs::create_dir_all(&copy).unwrap();
        let mutants = super::super::MUTANTS;
        let name = |mutant: &Mutant| Record::of(mutant, &copy, &folder.join("record")).unwrap().0;
        fs::write(copy.join("one"), "text").unwrap();
        let first = name(&mutants[0]);
        assert_eq!(first, name(&mutants[0]));
        assert_ne!(first, name(&mutants[1]));
        fs::write(copy.join("one"), "another").unwrap();
        assert_ne!(first, name(&mutants[0]));
        fs::remove_dir_all(&folder).unwrap();
    }
}
