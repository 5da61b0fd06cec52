//! The comparison's parts agree: the rows of the host program, of Isochron's side, of the others, and of the document.

use isochron_qemu::compare::rows::ROWS;
use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

fn text(path: &str) -> String {
    fs::read_to_string(root().join(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

/// The first of each pair in the list that begins with `start`: `[("name", ...), ...]`.
fn names(source: &str, start: &str) -> BTreeSet<String> {
    let list = source.split_once(start).and_then(|(_, rest)| rest.split_once("]")).map_or("", |(list, _)| list);
    let parts = list.split("(\"").skip(1);
    parts.filter_map(|part| part.split_once('"')).map(|(name, _)| name.to_owned()).collect()
}

#[test]
fn every_row_has_isochrons_side_and_a_place_in_the_document() {
    let bench = names(&text("apps/src/bin/bench/main.rs"), "ROWS: &[Row] = &[");
    let document = text("docs/comparing.md");
    let known: BTreeSet<String> = ROWS.iter().map(|row| row.name.to_owned()).collect();
    assert!(!bench.is_empty());
    let strays: Vec<&String> = bench.difference(&known).collect();
    assert!(strays.is_empty(), "rows that the host program does not know: {strays:?}");
    for row in ROWS {
        assert!(document.contains(&format!("| `{}`", row.name)), "docs/comparing.md has no row for {}", row.name);
    }
}

#[test]
fn the_others_have_no_rows_of_their_own() {
    let known: BTreeSet<String> = ROWS.iter().map(|row| row.name.to_owned()).collect();
    for entry in fs::read_dir(root().join("compare/src/bin")).unwrap() {
        let path = entry.unwrap().path();
        let rows = names(&fs::read_to_string(&path).unwrap(), "run(&[");
        assert!(!rows.is_empty() && rows.is_subset(&known), "{}: {rows:?}", path.display());
    }
}

#[test]
fn all_do_the_same_amount_of_work() {
    let constants = |path: &str| -> Vec<String> {
        text(path).lines().filter(|line| line.starts_with("pub const")).map(str::to_owned).collect()
    };
    let theirs = constants("compare/src/rows.rs");
    let go = text("compare/go/main.go");
    let of_go = |name: &str| {
        let line = go.lines().find(|line| line.trim_start().starts_with(&format!("{name} "))).unwrap_or_default();
        line.split_once('=').map(|(_, value)| value.trim().to_owned())
    };
    for (name, rust) in [
        ("switches", "SWITCHES"),
        ("many", "MANY"),
        ("manyTurns", "MANY_TURNS"),
        ("spawnJoin", "SPAWN_JOIN"),
        ("spawnMany", "SPAWN_MANY"),
        ("rounds", "ROUNDS"),
        ("messages", "MESSAGES"),
        ("capacity", "CAPACITY"),
        ("leaves", "LEAVES"),
        ("fibOf", "FIB"),
        ("wakeMany", "WAKE_MANY"),
        ("parked", "PARKED"),
        ("timers", "TIMERS"),
        ("sleeps", "SLEEPS"),
        ("locks", "LOCKS"),
    ] {
        let line = theirs.iter().find(|line| line.starts_with(&format!("pub const {rust}:"))).expect("the constant");
        let value = line.split_once("= ").map(|(_, value)| value.trim_end_matches(';').to_owned());
        assert_eq!(of_go(name), value, "{name}");
    }
}
