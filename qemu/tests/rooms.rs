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

/// Lines that ask for the architecture, outside the places that may: ports, the boot code of each architecture, and
/// attributes that select a module.
fn architecture_questions(sources: &[(String, String)]) -> Vec<(&str, &str)> {
    let allowed = ["kernel/src/arch/", "boot/src/aarch64/", "boot/src/x86_64/", "boot/src/lib.rs", "qemu/", "targets/"];
    let word = concat!("target", "_arch");
    let mut found = Vec::new();
    for (path, text) in sources {
        if allowed.iter().any(|prefix| path.starts_with(prefix)) || path.ends_with("build.rs") {
            continue;
        }
        let lines: Vec<_> = text.lines().map(str::trim).filter(|line| !line.starts_with("//")).collect();
        for (at, line) in lines.iter().enumerate() {
            let selected = lines[at + 1..].iter().find(|line| !line.starts_with("#["));
            let selects_module = line.starts_with("#[cfg(")
                && selected.is_some_and(|item| {
                    ["mod ", "pub mod ", "use ", "pub use "].iter().any(|start| item.starts_with(start))
                });
            if line.contains(word) && !selects_module {
                found.push((path.as_str(), *line));
            }
        }
    }
    found
}

#[test]
fn only_ports_ask_for_the_architecture() {
    let sources = sources();
    let found = architecture_questions(&sources);
    assert!(found.is_empty(), "the architecture is asked for outside the ports:\n{found:#?}");
}

#[test]
fn the_rule_finds_an_offender() {
    let question = format!("#[cfg({}_arch = \"aarch64\")]", "target");
    let file = |rest: &str| vec![("runtime/src/worker/mod.rs".to_string(), format!("{question}\n{rest}"))];
    assert_eq!(architecture_questions(&file("fn wait() {}")).len(), 1);
    assert_eq!(architecture_questions(&file("mod aarch64;")).len(), 0);
}

#[test]
fn no_source_file_is_too_long() {
    let long: Vec<_> =
        sources().into_iter().filter(|(_, text)| text.lines().count() > 600).map(|(path, _)| path).collect();
    assert!(long.is_empty(), "over 600 lines: is each still one idea? {long:?}");
}
