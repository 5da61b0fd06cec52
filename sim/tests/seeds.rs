//! The whole scheduler on some hundred seeds, and that a failure would be seen and come again.

use isochron_sim::options::Options;
use isochron_sim::run::{Failure, Summary, seeds_quietly};
use isochron_sim::{build, run};
use std::path::PathBuf;

fn program() -> PathBuf {
    let root = build::root();
    build::program(&root, &root.join("target/sim")).expect("the programs can be built")
}

#[test]
fn random_programs_run_to_their_end_on_every_machine() {
    let options = Options { count: 300, ..Options::default() };
    let Summary { done, failed } = run::seeds(&program(), &options, &mut |_| {}).expect("seeds can be run");
    assert_eq!(done, 300);
    assert!(failed.is_empty(), "failed: {:?}", failed.iter().map(|failure| failure.seed).collect::<Vec<_>>());
}

#[test]
fn a_bug_is_found_and_its_seed_shows_it_again() {
    let program = program();
    let options = Options { count: 100, failures: 1, planted: true, ..Options::default() };
    let found = seeds_quietly(&program, &options).expect("seeds can be run").failed;
    let first = found.first().expect("a mutex that does not lock is found");
    let is_told =
        ["somebody else is inside", "what was done under the mutex"].iter().any(|what| first.text.contains(what));
    assert!(is_told && first.text.contains("the last events"), "{}", first.text);
    for _ in 0..2 {
        let options = Options { from: first.seed, count: 1, planted: true, ..Options::default() };
        let again = seeds_quietly(&program, &options).expect("seeds can be run").failed;
        assert_eq!(again.first(), Some(first), "the same seed, and another run");
    }
    // Nor does it change a run to tell all of it: the last events are the same.
    let options = Options { from: first.seed, count: 1, planted: true, trace: true, ..Options::default() };
    let traced = seeds_quietly(&program, &options).expect("seeds can be run").failed;
    let events = |failure: &Failure| -> Vec<String> {
        failure.text.lines().filter(|line| line.contains(" us  cpu")).map(str::to_owned).collect()
    };
    let (all, last) = (traced.first().map(events).unwrap_or_default(), events(first));
    assert!(last.len() >= 10 && all.len() > last.len(), "{} events, and {} in all", last.len(), all.len());
    assert!(all.ends_with(&last), "a trace makes another run of it");
}
