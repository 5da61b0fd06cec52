//! Every ordering stronger than relaxed names its partner.
//!
//! An acquire without a release somewhere, or one fence alone, orders nothing: whoever writes one must know what it meets.

use std::fs;
use std::path::Path;

/// The crates whose words several CPUs write.
const FOLDERS: &[&str] = &["boot/src", "kernel/src", "runtime/core/src", "runtime/src", "wire/src"];

/// How far above it the comment may be.
const LINES_ABOVE: usize = 6;

fn sources() -> Vec<(String, String)> {
    fn walk(folder: &Path, root: &Path, found: &mut Vec<(String, String)>) {
        for entry in fs::read_dir(folder).expect("a readable folder") {
            let path = entry.expect("a readable entry").path();
            if path.is_dir() {
                walk(&path, root, found);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                let text = fs::read_to_string(&path).expect("a source file is text");
                found.push((path.strip_prefix(root).expect("below the root").display().to_string(), text));
            }
        }
    }
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the package lies in the workspace");
    let mut found = Vec::new();
    for folder in FOLDERS {
        walk(&root.join(folder), root, &mut found);
    }
    found
}

/// Whether a line of code asks for an ordering that is stronger than relaxed. The import of a name is no use of it.
fn asks_for_order(line: &str) -> bool {
    let code = line.split("//").next().unwrap_or_default();
    let imports = ["use ", "pub use "].iter().any(|start| code.trim_start().starts_with(start));
    let words = ["Ordering::Acquire", "Ordering::Release", "Ordering::AcqRel", "Ordering::SeqCst", "fence("];
    !imports && words.iter().any(|word| code.contains(word))
}

/// The places in `text` that ask for order and have no comment above them that names a partner, as `line: code`.
fn without_partner(text: &str) -> Vec<String> {
    let lines: Vec<&str> = text.lines().collect();
    let named = |line: &&str| line.split_once("//").is_some_and(|(_, said)| said.to_lowercase().contains("partner"));
    (0..lines.len())
        .filter(|&at| asks_for_order(lines[at]))
        .filter(|&at| !lines[at.saturating_sub(LINES_ABOVE)..=at].iter().any(named))
        .map(|at| format!("{}: {}", at + 1, lines[at].trim()))
        .collect()
}

#[test]
fn every_strong_ordering_names_its_partner() {
    let sources = sources();
    let uses: usize = sources.iter().map(|(_, text)| text.lines().filter(|line| asks_for_order(line)).count()).sum();
    assert!(uses >= 50, "only {uses} strong orderings found: does the rule still know them?");
    let offenders: Vec<String> = sources
        .iter()
        .flat_map(|(path, text)| without_partner(text).into_iter().map(move |place| format!("{path}:{place}")))
        .collect();
    assert!(
        offenders.is_empty(),
        "no comment within the {LINES_ABOVE} lines above names the partner of:\n{}",
        offenders.join("\n")
    );
}

/// Each file that has one has a row in the document, and no row is about a file without.
#[test]
fn the_document_knows_every_file_with_a_strong_ordering() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the package lies in the workspace");
    let document = fs::read_to_string(root.join("docs/memory-ordering.md")).expect("the document is there");
    let missing: Vec<String> = sources()
        .into_iter()
        .filter(|(_, text)| text.lines().any(asks_for_order))
        .map(|(path, _)| path.strip_prefix("runtime/core/src/").unwrap_or(&path).to_owned())
        .filter(|path| !document.lines().any(|line| line.starts_with(&format!("| `{path}`"))))
        .collect();
    assert!(missing.is_empty(), "docs/memory-ordering.md has no row for {missing:?}");
}

#[test]
fn the_rule_finds_an_offender() {
    let order = |what: &str| format!("    word.load(Ordering::{what});\n");
    let comment = "    // Acquire: partner is the store in `push`.\n";
    for what in ["Acquire", "Release", "AcqRel", "SeqCst"] {
        assert_eq!(without_partner(&order(what)), [format!("1: word.load(Ordering::{what});")]);
        assert!(without_partner(&format!("{comment}{}", order(what))).is_empty());
    }
    assert_eq!(without_partner("    fence(order);").len(), 1);
    assert!(without_partner(&order("Relaxed")).is_empty());
    assert!(without_partner("use core::sync::atomic::{Ordering, fence};\n/// One `fence(SeqCst)` each.\n").is_empty());
    let far = format!("{comment}{}{}", "    step();\n".repeat(LINES_ABOVE), order("Acquire"));
    assert_eq!(without_partner(&far).len(), 1, "a partner far above is another's");
    let in_code = format!("    let partner = 1;\n{}", order("Acquire"));
    assert_eq!(without_partner(&in_code).len(), 1, "only a comment counts");
}
