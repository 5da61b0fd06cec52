//! The comparison as a table.

use super::contenders::{FLOOR, ISOCHRON};
use super::figures::Figures;
use super::rows::{Figure, Row};
use crate::style::Style;
use std::fmt::Write;

/// Three digits that tell something.
fn digits(value: f64) -> String {
    match value.abs() {
        v if v >= 100.0 => format!("{value:.0}"),
        v if v >= 10.0 => format!("{value:.1}"),
        v if v >= 0.1 => format!("{value:.2}"),
        _ => format!("{value:.3}"),
    }
}

/// All rows, one figure a line; medians, and for Isochron the range besides.
#[must_use]
pub fn table(figures: &Figures, rows: &[&'static Row], style: Style) -> String {
    let all: Vec<&Figure> = rows.iter().flat_map(|row| row.figures).collect();
    let mut others: Vec<&'static str> = Vec::new();
    for (name, _) in all.iter().flat_map(|figure| figures.medians(figure.name)) {
        if ![ISOCHRON, FLOOR].contains(&name) && !others.contains(&name) {
            others.push(name);
        }
    }
    let mut head = vec![
        "figure".to_owned(),
        "unit".into(),
        "isochron".into(),
        "min..max".into(),
        "goal".into(),
        "best/ours".into(),
    ];
    head.push(FLOOR.into());
    head.extend(others.iter().map(|name| (*name).to_owned()));
    let mut lines = vec![(head, None)];
    for figure in all {
        let cell = |name: &str| figures.of(figure.name, name).map_or("-".into(), |samples| digits(samples.median()));
        let range = figures.of(figure.name, ISOCHRON).map_or("-".into(), |samples| {
            let (min, max) = samples.range();
            format!("{}..{}", digits(min), digits(max))
        });
        let sign = if figure.more_is_better() { "≥" } else { "≤" };
        let goal = figures.goal(figure).map_or("-".into(), |goal| format!("{sign} {}", digits(goal)));
        let ratio = figures.ratio(figure).map_or("-".into(), |ratio| format!("{}x", digits(ratio)));
        let mut line =
            vec![figure.name.to_owned(), figure.unit.into(), cell(ISOCHRON), range, goal, ratio, cell(FLOOR)];
        line.extend(others.iter().map(|name| cell(name)));
        lines.push((line, figures.reached(figure)));
    }
    let widths: Vec<usize> = (0..lines[0].0.len())
        .map(|at| lines.iter().map(|(line, _)| line[at].chars().count()).max().unwrap_or(0))
        .collect();
    let mut out = String::new();
    for (index, (line, reached)) in lines.iter().enumerate() {
        let mut text = String::new();
        for (at, (cell, width)) in line.iter().zip(&widths).enumerate() {
            let gap = " ".repeat(width - cell.chars().count());
            let padded = if at < 2 { format!("{cell}{gap}") } else { format!("{gap}{cell}") };
            let padded = match (at, reached) {
                (2, Some(true)) => style.green(&padded),
                (2, Some(false)) => style.red(&padded),
                _ => padded,
            };
            text += &padded;
            text += "  ";
        }
        let text = text.trim_end();
        let _ = writeln!(out, "{}", if index == 0 { style.bold(text) } else { text.to_owned() });
    }
    let _ = writeln!(
        out,
        "{}",
        style.dim("medians; best/ours: how many times better than the best of the others (below 1: worse)")
    );
    for (row, contender, why) in figures.failed() {
        let _ = writeln!(out, "{}", style.yellow(&format!("{row}: {contender} failed: {why}")));
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::compare::rows::ROWS;

    #[test]
    fn a_table_has_a_line_for_each_figure() {
        let mut figures = Figures::default();
        figures.add("switch", ISOCHRON, 12.0);
        figures.add("switch", "tokio", 120.0);
        figures.fail("switch", "smol", "it fell over");
        let rows: Vec<&Row> = ROWS.iter().collect();
        let text = table(&figures, &rows, Style::plain());
        let count: usize = ROWS.iter().map(|row| row.figures.len()).sum();
        assert_eq!(text.lines().count(), 1 + count + 2, "{text}");
        let switch = text.lines().find(|line| line.starts_with("switch ")).unwrap();
        assert!(switch.contains("10.0x") && switch.contains("12.0..12.0"), "{switch}");
        assert!(text.ends_with("switch: smol failed: it fell over\n"));
    }
}
