//! The mutants: one file for each algorithm.

mod bandwidth;
mod completion;
mod countdown;
mod idle_set;
mod inbox;
mod locks;
mod page_word;
mod run_queue;
mod rwlock;
mod stack_trim;
mod sync;
mod tasks;
mod thread_state;
mod timers;
mod trace_ring;
mod waiting;

/// One model check.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Test {
    /// The file in `runtime/core/tests`, without its ending.
    pub target: &'static str,
    /// The function.
    pub name: &'static str,
}

/// One change to one place of `runtime/core`, and the model checks that must fail with it.
#[derive(Debug)]
pub struct Mutant {
    /// Below `runtime/core/src`.
    pub file: &'static str,
    /// What is changed, in words.
    pub change: &'static str,
    /// What stands there, exactly once in the file.
    pub old: &'static str,
    /// What stands there instead.
    pub new: &'static str,
    /// Each of them must fail.
    pub tests: &'static [Test],
    /// What goes wrong then.
    pub why: &'static str,
    /// One of the ten most telling.
    pub quick: bool,
}

/// One that is not among the ten most telling.
pub const fn mutant(
    file: &'static str,
    change: &'static str,
    old: &'static str,
    new: &'static str,
    tests: &'static [Test],
    why: &'static str,
) -> Mutant {
    Mutant { file, change, old, new, tests, why, quick: false }
}

impl Mutant {
    /// One that is.
    const fn quick(mut self) -> Self {
        self.quick = true;
        self
    }

    /// What it is called.
    pub fn name(&self) -> String {
        format!("{}: {}", self.file, self.change.replace('`', ""))
    }
}

/// All of them, algorithm by algorithm.
pub fn all() -> impl Iterator<Item = &'static Mutant> {
    [
        idle_set::MUTANTS,
        run_queue::MUTANTS,
        inbox::MUTANTS,
        thread_state::MUTANTS,
        completion::MUTANTS,
        countdown::MUTANTS,
        waiting::MUTANTS,
        locks::MUTANTS,
        bandwidth::MUTANTS,
        sync::MUTANTS,
        rwlock::MUTANTS,
        tasks::MUTANTS,
        timers::MUTANTS,
        page_word::MUTANTS,
        stack_trim::MUTANTS,
        trace_ring::MUTANTS,
    ]
    .into_iter()
    .flatten()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tree;
    use crate::trial::mutated;
    use std::collections::BTreeSet;
    use std::fs;

    #[test]
    fn every_mutant_fits_the_source_as_it_is() {
        let folder = isochron_mutants::root().join(tree::PACKAGE).join("src");
        let misfits: Vec<String> = all()
            .filter_map(|mutant| {
                let text = fs::read_to_string(folder.join(mutant.file)).expect("the file is there");
                mutated(mutant, &text).err()
            })
            .collect();
        assert!(misfits.is_empty(), "{}", misfits.join("\n"));
    }

    #[test]
    fn every_test_that_is_named_is_there() {
        let folder = isochron_mutants::root().join(tree::PACKAGE).join("tests");
        for test in all().flat_map(|mutant| mutant.tests) {
            let text = fs::read_to_string(folder.join(test.target).with_extension("rs")).expect("the file is there");
            assert!(text.contains(&format!("#[test]\nfn {}()", test.name)), "no test {} in {}", test.name, test.target);
        }
    }

    #[test]
    fn names_are_unique_and_changes_are_changes() {
        let names: BTreeSet<String> = all().map(Mutant::name).collect();
        assert_eq!(names.len(), all().count());
        assert!(all().all(|mutant| mutant.old != mutant.new && !mutant.tests.is_empty() && !mutant.why.is_empty()));
    }

    /// Each ordering that is stronger than relaxed has a mutant of its own at least.
    #[test]
    fn every_strong_ordering_is_weakened_by_some_mutant() {
        const STRONG: [(&str, usize); 4] = [("Acquire", 1), ("Release", 1), ("AcqRel", 2), ("SeqCst", 3)];
        /// How many strong orderings are in the code of `text`, and how strong they are together.
        fn strong(text: &str) -> (usize, usize) {
            let code = text.lines().filter(|line| !line.trim_start().starts_with("//"));
            let all = code.flat_map(|line| {
                STRONG.map(|(name, weight)| (line.matches(&format!("Ordering::{name}")).count(), weight))
            });
            all.fold((0, 0), |(sum, strength), (times, weight)| (sum + times, strength + times * weight))
        }
        let folder = isochron_mutants::root().join(tree::PACKAGE).join("src");
        let mut stack = vec![folder.clone()];
        while let Some(at) = stack.pop() {
            for entry in fs::read_dir(at).unwrap().map(Result::unwrap) {
                if entry.path().is_dir() {
                    stack.push(entry.path());
                    continue;
                }
                let path = entry.path();
                let text = fs::read_to_string(&path).unwrap();
                let name = path.strip_prefix(&folder).unwrap().to_string_lossy().replace('\\', "/");
                let places: BTreeSet<usize> = all()
                    .filter(|mutant| mutant.file == name && strong(mutant.new).1 < strong(mutant.old).1)
                    .map(|mutant| text.find(mutant.old).unwrap())
                    .collect();
                let there = strong(&text).0;
                assert!(places.len() >= there, "{name}: {there} strong orderings, mutants at {places:?}");
            }
        }
    }
}
