//! The house rules that a compiler does not check: who may ask for the architecture, and what no file may hold.

use std::fs;
use std::path::{Path, PathBuf};

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the package lies in the workspace").to_path_buf()
}

/// Every Rust file of the workspace, with its path from the root.
fn sources() -> Vec<(String, String)> {
    fn walk(folder: &Path, root: &Path, found: &mut Vec<(String, String)>) {
        for entry in fs::read_dir(folder).expect("a readable folder").map(|entry| entry.expect("a readable entry")) {
            let path = entry.path();
            let name = entry.file_name();
            if path.is_dir() {
                if name != "target" && name != ".git" && name != "out" {
                    walk(&path, root, found);
                }
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                let text = fs::read_to_string(&path).expect("a source file is text");
                let relative = path.strip_prefix(root).expect("below the root").to_string_lossy().replace('\\', "/");
                found.push((relative, text));
            }
        }
    }
    let root = root();
    let mut found = Vec::new();
    walk(&root, &root, &mut found);
    assert!(found.len() > 50, "only {} source files found", found.len());
    found
}

/// Lines that ask for the architecture, outside the places that may.
fn architecture_questions(sources: &[(String, String)]) -> Vec<(&str, &str)> {
    // Ports, the boot code of each architecture, and the lines that select between them.
    let allowed = ["kernel/src/arch/", "boot/src/aarch64/", "boot/src/x86_64/", "boot/src/lib.rs", "qemu/", "targets/"];
    let word = concat!("target", "_arch");
    sources
        .iter()
        .filter(|(path, _)| !allowed.iter().any(|prefix| path.starts_with(prefix)) && !path.ends_with("build.rs"))
        .flat_map(|(path, text)| text.lines().map(move |line| (path.as_str(), line)))
        .filter(|(_, line)| line.contains(word) && !line.trim_start().starts_with("//"))
        .collect()
}

#[test]
fn only_ports_ask_for_the_architecture() {
    let sources = sources();
    let found = architecture_questions(&sources);
    assert!(found.is_empty(), "the architecture is asked for outside the ports:\n{found:#?}");
}

#[test]
fn the_rule_finds_an_offender() {
    let offender = format!("#[cfg({}_arch = \"aarch64\")]", "target");
    let sources = vec![("runtime/src/worker/mod.rs".to_string(), offender)];
    assert_eq!(architecture_questions(&sources).len(), 1);
}

#[test]
fn no_source_file_is_too_long() {
    let long: Vec<_> =
        sources().into_iter().filter(|(_, text)| text.lines().count() > 600).map(|(path, _)| path).collect();
    assert!(long.is_empty(), "over 600 lines: is each still one idea? {long:?}");
}
