//! The model checks of `runtime/core`, which need a build of their own: loom replaces the atomics.

use std::path::Path;
use std::process::Command;

#[test]
fn lock_free_algorithms_hold_under_loom() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the package lies in the workspace");
    let target = root.join("target/loom");
    println!("building and running the model checks of isochron-core (about a minute the first time)");
    let output = Command::new(env!("CARGO"))
        .current_dir(root)
        .args(["test", "--package", "isochron-core", "--release", "--tests"])
        .env("RUSTFLAGS", "--cfg loom")
        .env("CARGO_TARGET_DIR", &target)
        // More preemptions take hours and have found nothing that three do not.
        .env("LOOM_MAX_PREEMPTIONS", "3")
        .output()
        .expect("cargo can be started");
    let out = String::from_utf8_lossy(&output.stdout);
    let err = String::from_utf8_lossy(&output.stderr);
    assert!(
        output.status.success(),
        "a model fails; replay it with\n  RUSTFLAGS='--cfg loom' LOOM_MAX_PREEMPTIONS=3 cargo test -p isochron-core --release\n{out}\n{err}"
    );
    let models: usize = out
        .lines()
        .filter_map(|line| line.strip_prefix("test result: ok. ")?.split(' ').next()?.parse::<usize>().ok())
        .sum();
    assert!(models >= 20, "only {models} models ran:\n{out}");
    println!("{models} models hold");
}

/// The tool that breaks the algorithms on purpose: that its table fits the source and the docs. (Its binary keeps it out
/// of the packages that a plain `cargo test` builds: `cargo run` could not tell which program is meant.)
#[test]
fn the_mutants_fit_the_source() {
    let out = tests_of("isochron-mutants");
    assert!(out.contains("test result: ok. "), "no test ran:\n{out}");
}

/// The whole scheduler on some hundred seeds of the simulation, whose programs have a build of their own too.
#[test]
fn the_scheduler_holds_in_simulation() {
    println!("building and running the simulation (about a minute the first time)");
    let out = tests_of("isochron-sim");
    assert!(out.contains("random_programs_run_to_their_end_on_every_machine ... ok"), "no seed ran:\n{out}");
}

/// What the tests of a package said, which a plain `cargo test` leaves out; they have passed.
fn tests_of(package: &str) -> String {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the package lies in the workspace");
    let output = Command::new(env!("CARGO"))
        .current_dir(root)
        .args(["test", "--package", package])
        .output()
        .expect("cargo can be started");
    let out = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success(), "{out}\n{}", String::from_utf8_lossy(&output.stderr));
    out
}
