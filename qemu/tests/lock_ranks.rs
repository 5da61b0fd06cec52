//! The ranks of spin locks: each is a number of its own, and the table in the docs is the one in the code.

use std::fs;
use std::path::Path;

fn text(path: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join(path);
    fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// Number and name of each `pub const NAME: LockRank = LockRank::new(10, "name");`.
fn of_code(source: &str) -> Vec<(u8, String)> {
    let made = source.lines().filter(|line| line.starts_with("pub const ") && line.contains(": LockRank = "));
    made.map(|line| {
        let inside = line.split_once('(').and_then(|(_, rest)| rest.split_once(')')).expect("a call").0;
        let (order, name) = inside.split_once(", ").expect("two arguments");
        (order.parse().expect("a number"), name.trim_matches('"').to_owned())
    })
    .collect()
}

/// Number and name in each row of the table.
fn of_docs(document: &str) -> Vec<(u8, String)> {
    let table = document.split_once("| rank | name |").expect("there is a table").1;
    let rows = table.lines().skip(2).take_while(|line| line.starts_with('|'));
    rows.map(|row| {
        let mut cells = row.split('|').skip(1).map(str::trim);
        let order = cells.next().and_then(|cell| cell.parse().ok()).expect("a number");
        (order, cells.next().expect("a name").to_owned())
    })
    .collect()
}

#[test]
fn the_docs_have_the_ranks_of_the_code() {
    let mut code = of_code(&text("runtime/core/src/lock_rank.rs"));
    code.extend(of_code(&text("kernel/src/lock_rank.rs")));
    code.sort_unstable();
    assert!(code.len() > 15, "only {code:?} found: are they written another way now?");
    assert!(code.windows(2).all(|pair| pair[0].0 < pair[1].0), "two have one rank: {code:?}");
    assert_eq!(code, of_docs(&text("docs/architecture.md")));
}

#[test]
fn every_lock_says_its_rank_by_name() {
    // What a rank is, what takes any rank, and the tests.
    let others = ["spinlock.rs", "lock_rank.rs", "irq.rs"];
    let mut found = 0;
    for folder in ["kernel/src", "runtime/core/src", "runtime/src"] {
        for (path, source) in sources(&Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join(folder)) {
            if others.iter().any(|name| path.ends_with(name)) {
                continue;
            }
            for call in ["SpinLock::new(", "IrqLock::new("] {
                for (at, _) in source.match_indices(call) {
                    let argument = source[at + call.len()..].trim_start();
                    assert!(argument.starts_with("lock_rank::"), "{path}: a lock of what rank? {argument:.40}");
                    found += 1;
                }
            }
        }
    }
    assert!(found > 15, "only {found} locks found: are they made another way now?");
}

fn sources(folder: &Path) -> Vec<(String, String)> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).expect("a readable folder") {
        let path = entry.expect("a readable entry").path();
        if path.is_dir() {
            found.extend(sources(&path));
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            found.push((path.display().to_string(), fs::read_to_string(&path).expect("a source file is text")));
        }
    }
    found
}
