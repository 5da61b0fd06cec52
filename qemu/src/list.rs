//! `list`: programs and machines.

use crate::machine::MACHINES;
use crate::style::Style;
use crate::workspace::{Program, Workspace};
use std::io::{self, Write};

/// Prints them.
#[must_use]
pub fn list(workspace: &Workspace) -> u8 {
    let style = Style::of(&io::stdout());
    let machines: Vec<(String, String)> = MACHINES
        .iter()
        .map(|m| {
            let cpus = format!("{}, up to {} CPUs, {}", m.about, m.max_cpus, m.arch.name());
            (m.name.to_owned(), cpus)
        })
        .collect();
    let text = [
        section("programs (cargo run -- run NAME)", &lines(&workspace.apps()), style),
        section("test kernels (cargo run -- test NAME)", &lines(&workspace.tests()), style),
        section("machines (--machine NAME)", &machines, style),
    ];
    // A reader that has gone away is no failure.
    let _ = io::stdout().write_all(text.join("\n").as_bytes());
    0
}

fn lines(programs: &[Program]) -> Vec<(String, String)> {
    programs.iter().map(|p| (p.name.clone(), p.about.clone())).collect()
}

fn section(title: &str, lines: &[(String, String)], style: Style) -> String {
    let width = lines.iter().map(|(name, _)| name.chars().count()).max().unwrap_or(0);
    let mut out = format!("{}\n", style.bold(title));
    for (name, about) in lines {
        let gap = " ".repeat(width - name.chars().count());
        out += format!("  {}{gap}  {about}", style.cyan(name)).trim_end();
        out.push('\n');
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_aligned() {
        let lines = [("a".to_owned(), "first".to_owned()), ("long".to_owned(), String::new())];
        assert_eq!(section("t", &lines, Style::plain()), "t\n  a     first\n  long\n");
    }
}
