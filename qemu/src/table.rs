//! The report as people read it in a terminal.

use crate::report::{BOOT_FACTS, Distribution, Entry, Matrix, Report};
use crate::style::{Style, grouped, quantity};
use isochron_wire::Fixed;

/// The whole report: boot facts, distributions, single figures, matrices, remarks, and how to read them.
#[must_use]
pub fn render(report: &Report, style: Style) -> String {
    let mut parts = vec![boot_line(report, style), distributions(report, style), values(report, style)];
    parts.extend(report.matrices.iter().map(|m| matrix(m, style)));
    parts.push(paths(report, style));
    parts.push(notes(report, style));
    if report.has_results() {
        parts.push(caution(report, style));
    }
    parts.retain(|p| !p.is_empty());
    parts.join("\n")
}

fn boot_line(report: &Report, style: Style) -> String {
    let note = |name: &str| {
        let text = report.notes.iter().find(|(n, _)| n == name).map(|(_, text)| format!(" ({text})"));
        text.unwrap_or_default()
    };
    let says = |name: &str, unit: &str, value: Fixed| match name {
        "boot_to_main" => format!("{} to main", quantity(value, unit)),
        "cpus_up" => format!("{} CPUs up{}", quantity(value, unit), note(name)),
        "memory_found" => format!("{} found", quantity(value, unit)),
        "memory_free" => format!("{} free", quantity(value, unit)),
        "image_size" => format!("{} image", quantity(value, unit)),
        _ => format!("clock ± {}{}", quantity(value, unit), note(name)),
    };
    let facts = BOOT_FACTS.iter().filter_map(|name| report.fact(name).map(|(unit, value)| says(name, unit, value)));
    let facts: Vec<String> = facts.collect();
    // What the host knows by itself is no line of its own: that guest has not come so far.
    if report.fact("boot_to_main").is_none() {
        String::new()
    } else {
        format!("{} {}\n", style.bold("boot"), facts.join(" · "))
    }
}

/// One row of text cells; the first is left-aligned, the others right.
pub(crate) struct Row {
    pub cells: Vec<String>,
    /// Behind them, if there is room.
    pub after: String,
}

pub(crate) fn columns(head: &Row, rows: &[Row], style: Style) -> String {
    let count = head.cells.len();
    let wide = |at: usize| rows.iter().chain([head]).map(|r| chars(&r.cells[at])).max().unwrap_or(0);
    let widths: Vec<usize> = (0..count).map(wide).collect();
    let mut out = String::new();
    for (index, row) in std::iter::once(head).chain(rows).enumerate() {
        let mut line = String::new();
        for (at, (cell, width)) in row.cells.iter().zip(&widths).enumerate() {
            let gap = " ".repeat(width - chars(cell));
            line += &if at == 0 { format!("{cell}{gap}") } else { format!("  {gap}{cell}") };
        }
        // The plot goes where there is room for it.
        let fits = !row.after.is_empty() && chars(&line) + 2 + chars(&row.after) <= style.width;
        let line = if index == 0 { style.bold(&line) } else { line };
        let line = if fits { format!("{line}  {}", style.cyan(&row.after)) } else { line };
        out += line.trim_end();
        out.push('\n');
    }
    out
}

fn chars(text: &str) -> usize {
    text.chars().count()
}

fn distributions(report: &Report, style: Style) -> String {
    let rows: Vec<Row> = report
        .distributions()
        .map(|d| {
            let [min, _, p50, p99, p999, max] = d.figures.map(|f| quantity(f, &d.unit));
            Row { cells: vec![d.name.clone(), min, p50, p99, p999, max, grouped(d.samples)], after: sparkline(d) }
        })
        .collect();
    if rows.is_empty() {
        return String::new();
    }
    let titles = ["latency", "min", "p50", "p99", "p99.9", "max", "samples"];
    columns(&Row { cells: titles.map(str::to_owned).to_vec(), after: String::new() }, &rows, style)
}

fn values(report: &Report, style: Style) -> String {
    let rows: Vec<Row> = report
        .results
        .iter()
        .filter_map(|entry| match entry {
            Entry::Value { name, unit, value } if !BOOT_FACTS.contains(&name.as_str()) => {
                Some(Row { cells: vec![name.clone(), quantity(*value, unit)], after: String::new() })
            }
            _ => None,
        })
        .collect();
    if rows.is_empty() {
        return String::new();
    }
    columns(&Row { cells: vec!["figure".into(), "value".into()], after: String::new() }, &rows, style)
}

/// Cells of the little plot.
const BINS: usize = 16;

/// The histogram in one line, from the smallest sample to the 99.9th percentile. Any sample at all shows.
#[must_use]
pub fn sparkline(d: &Distribution) -> String {
    let (low, high) = (d.figures[0].to_f64(), d.figures[4].to_f64());
    if d.buckets.is_empty() || high <= low {
        return String::new();
    }
    let mut bins = [0.0f64; BINS];
    let width = (high - low) / BINS as f64;
    for (from, to, count) in &d.buckets {
        let (from, to) = (from.to_f64().max(low), to.to_f64());
        if from > high {
            continue;
        }
        let to = to.clamp(from, high);
        let bin = |at: f64| (((at - low) / width) as usize).min(BINS - 1);
        let (first, last) = (bin(from), bin(to - width * 1e-9).max(bin(from)));
        for slot in &mut bins[first..=last] {
            *slot += *count as f64 / (last - first + 1) as f64;
        }
    }
    let top = bins.iter().copied().fold(0.0, f64::max);
    let steps = ['▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'];
    let step = |n: f64| if n <= 0.0 { ' ' } else { steps[((n / top * 8.0).ceil() as usize).clamp(1, 8) - 1] };
    bins.map(step).iter().collect::<String>().trim_end().to_owned()
}

/// A matrix as a heat table; without colour, as a plain one.
fn matrix(matrix: &Matrix, style: Style) -> String {
    let columns = matrix.rows.iter().map(Vec::len).max().unwrap_or(0);
    let text = |cell: &Fixed| if *cell == Fixed::ZERO { "·".to_owned() } else { format!("{:.0}", cell.to_f64()) };
    let cells: Vec<Vec<String>> = matrix.rows.iter().map(|r| r.iter().map(text).collect()).collect();
    let width = cells.iter().flatten().map(|c| chars(c)).max().unwrap_or(1).max(columns.to_string().len());
    let used = || matrix.rows.iter().flatten().map(|c| c.to_f64()).filter(|c| *c > 0.0);
    let (low, high) = (used().fold(f64::INFINITY, f64::min), used().fold(0.0, f64::max));
    // What is counted is counted in bins.
    let what = if matrix.unit == "count" {
        "a row for each CPU, a column for each bin"
    } else {
        "from the row's CPU to the column's"
    };
    let title = format!("{} ({}, {what})", matrix.name, matrix.unit);
    let mut out = format!("{}\n     ", style.bold(&title));
    for column in 0..columns {
        out += &format!(" {column:>width$} ");
    }
    out.truncate(out.trim_end().len());
    out.push('\n');
    for (row, line) in cells.iter().enumerate() {
        out += &format!("{row:>4} ");
        for (column, text) in line.iter().enumerate() {
            let value = matrix.rows[row][column].to_f64();
            let padded = format!(" {}{text} ", " ".repeat(width - chars(text)));
            let heat = if high > low { (value - low) / (high - low) } else { 0.0 };
            out += &if value > 0.0 { style.heat(heat, &padded) } else { style.dim(&padded) };
        }
        out.truncate(out.trim_end().len());
        out.push('\n');
    }
    out
}

/// Call paths, innermost call first.
fn paths(report: &Report, style: Style) -> String {
    let mut out = String::new();
    for path in &report.paths {
        out += &format!("{} {}: {}\n", style.yellow("path"), style.cyan(&path.name), path.text);
        for (depth, call) in path.calls.iter().enumerate() {
            let (name, place) = call.split_once(" (").unwrap_or((call, ""));
            let lead = if depth == 0 { "  in " } else { "  of " };
            out += format!("{lead}{} {}", style.bold(name), style.dim(place.trim_end_matches(')'))).trim_end();
            out.push('\n');
        }
    }
    out
}

/// Remarks; one that several results share is printed once.
fn notes(report: &Report, style: Style) -> String {
    let mut groups: Vec<(Vec<&str>, &str)> = Vec::new();
    for (name, text) in report.notes.iter().filter(|(name, _)| !BOOT_FACTS.contains(&name.as_str())) {
        match groups.iter_mut().find(|(_, t)| t == text) {
            Some((names, _)) => names.push(name),
            None => groups.push((vec![name], text)),
        }
    }
    let line = |(names, text): &(Vec<&str>, &str)| {
        let text = text.replace('\n', "\n      ");
        format!("{} {}: {text}\n", style.yellow("note"), style.cyan(&names.join(", ")))
    };
    groups.iter().map(line).collect()
}

fn caution(report: &Report, style: Style) -> String {
    let text = if report.deterministic {
        "instruction counts: 1 ns = 1 instruction"
    } else if report.is_emulated() {
        "measured under emulation (TCG): compare ratios, not absolute times"
    } else {
        return String::new();
    };
    format!("{}\n", style.dim(text))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::tests::sample;

    #[test]
    fn tables_line_up() {
        let text = render(&sample(), Style::plain());
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(lines[0], "boot 1.5 ms to main");
        assert_eq!(lines[2], "latency         min    p50    p99    p99.9   max  samples");
        assert!(lines[3].starts_with("yield_switch  57 ns  58 ns  61 ns  1.25 µs  2 µs"), "{text}");
        assert!(lines[3].contains('█'));
        assert_eq!(lines[2].chars().count() + 2, lines[3].chars().position(|c| c == '█').unwrap());
        assert!(text.contains("noise_gap_interrupts      0"), "{text}");
        assert!(text.contains("note ipi_latency: skipped:\n      one CPU"));
        assert!(text.contains("compare ratios, not absolute times"));
        assert!(!text.contains('\x1b'));
    }

    #[test]
    fn narrow_terminals_get_no_plot() {
        let text = render(&sample(), Style { color: false, width: 70 });
        assert!(!text.contains('█') && text.contains("yield_switch"));
    }

    #[test]
    fn deterministic_says_what_a_nanosecond_is() {
        let mut report = sample();
        report.deterministic = true;
        let text = render(&report, Style::plain());
        assert!(text.contains("1 ns = 1 instruction") && !text.contains("ratios"));
    }

    #[test]
    fn a_shared_remark_is_printed_once() {
        let mut report = sample();
        report.notes = [("a", "same"), ("b", "other"), ("c", "same")].map(|(n, t)| (n.into(), t.into())).to_vec();
        assert_eq!(notes(&report, Style::plain()), "note a, c: same\nnote b: other\n");
    }

    #[test]
    fn the_matrix_is_a_square() {
        let text = render(&sample(), Style::plain());
        assert!(text.contains("line_transfer (ns"));
        assert!(text.contains("\n       0   1\n") && text.contains("\n   1   ·  52\n"), "{text}");
        assert!(render(&sample(), Style { color: true, width: 100 }).contains("\x1b[97;48;5;"));
    }

    #[test]
    fn every_sample_shows_in_the_plot() {
        let d = sample();
        let line = sparkline(d.distributions().next().unwrap());
        assert_eq!(line.chars().next(), Some('█'));
        assert!(line.contains('▁') && line.chars().count() <= BINS, "{line:?}");
    }
}
