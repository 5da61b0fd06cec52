//! What a comparison found, for people and for programs.

use super::judge::{Change, Comparison, ENOUGH, Verdict};
use super::side::Side;
use crate::style::{Style, quantity};
use isochron_wire::Fixed;
use serde_json::{Value, json};
use std::fmt::Write;

/// The comparison as a table; figures that are the same stand in it only if `all` is said.
#[must_use]
pub fn table(comparison: &Comparison<'_>, all: bool, style: Style) -> String {
    let mut out = head(comparison, style);
    let shown: Vec<&Change> = comparison.changes.iter().filter(|c| all || c.verdict != Verdict::Same).collect();
    let mut rows = vec![["figure", "", "before", "after", "change", "noise", "verdict"].map(str::to_owned)];
    rows.extend(shown.iter().map(|change| cells(change)));
    let wide = |at: usize| rows.iter().map(|row| row[at].chars().count()).max().unwrap_or(0);
    let widths: Vec<usize> = (0..7).map(wide).collect();
    for (index, row) in rows.iter().enumerate().take(if shown.is_empty() { 0 } else { rows.len() }) {
        let mut line = String::new();
        for (at, (cell, width)) in row.iter().zip(&widths).enumerate() {
            let gap = " ".repeat(width - cell.chars().count());
            // Words begin at the left, numbers end at the right.
            line += &if at < 2 || at == 6 { format!("{cell}{gap}  ") } else { format!("{gap}{cell}  ") };
        }
        let line = line.trim_end();
        let line = match index.checked_sub(1).map(|at| shown[at].verdict) {
            None => style.bold(line),
            Some(Verdict::Slower) => style.red(line),
            Some(Verdict::Faster) => style.green(line),
            Some(Verdict::Differs) => style.yellow(line),
            Some(_) => line.to_owned(),
        };
        let _ = writeln!(out, "{line}");
    }
    for (names, side) in comparison.alone.iter().zip(["before", "after"]) {
        if !names.is_empty() {
            let _ = writeln!(out, "{} {}", style.yellow(&format!("only {side}:")), names.join(", "));
        }
    }
    let _ = writeln!(out, "{}", summary(comparison));
    let _ = writeln!(out, "{}", style.dim(&how(comparison)));
    out
}

/// What was compared with what.
fn head(comparison: &Comparison<'_>, style: Style) -> String {
    let [before, after] = comparison.sides;
    let mut out = String::new();
    if let Some(facts) = before.facts() {
        let cpus = if facts.cpus == 1 { "1 CPU".to_owned() } else { format!("{} CPUs", facts.cpus) };
        let how = if facts.deterministic { " · deterministic" } else { "" };
        let _ = writeln!(out, "{} on {} · {cpus} · {}{how}", style.bold(&facts.app), facts.machine, facts.accel);
    }
    for (name, side) in [("before", before), ("after", after)] {
        let _ = writeln!(out, "{name:>6}: {}", style.dim(&about(side)));
    }
    out
}

/// The reports of a side in a few words.
fn about(side: &Side) -> String {
    let reports = side.reports();
    let path = reports.first().map(|told| told.path.display().to_string()).unwrap_or_default();
    let more = if reports.len() > 1 { format!(" and {} more", reports.len() - 1) } else { String::new() };
    let mut facts: Vec<String> = Vec::new();
    for fact in reports.iter().flat_map(|told| told.commit.clone().into_iter().chain([told.profile.clone()])) {
        if !fact.is_empty() && !facts.contains(&fact) {
            facts.push(fact);
        }
    }
    format!("{path}{more} ({})", facts.join(", "))
}

fn cells(change: &Change) -> [String; 7] {
    let shown = |value: f64| quantity(Fixed::from_thousandths((value * 1000.0).round() as i64), &change.unit);
    let percent = change.percent().map_or("from 0".into(), |percent| format!("{percent:+.1} %"));
    let noise = change.noise.map_or("?".into(), |noise| format!("± {}", shown(noise)));
    let [before, after] = change.values.map(shown);
    let verdict = if change.verdict == Verdict::Same { "" } else { change.verdict.name() };
    [change.name.clone(), change.which.name().into(), before, after, percent, noise, verdict.into()]
}

fn count(comparison: &Comparison<'_>, verdict: Verdict) -> usize {
    comparison.changes.iter().filter(|change| change.verdict == verdict).count()
}

fn summary(comparison: &Comparison<'_>) -> String {
    let of = |verdict| count(comparison, verdict);
    let mut parts = vec![format!("{} slower", of(Verdict::Slower)), format!("{} faster", of(Verdict::Faster))];
    let other = of(Verdict::More) + of(Verdict::Less);
    for (number, text) in [(other, "changed otherwise"), (of(Verdict::Differs), "differ")] {
        if number > 0 {
            parts.push(format!("{number} {text}"));
        }
    }
    parts.push(format!("{} the same", of(Verdict::Same)));
    parts.join(" · ")
}

/// How it was judged.
fn how(comparison: &Comparison<'_>) -> String {
    let [before, after] = comparison.sides;
    if before.facts().is_some_and(|facts| facts.deterministic) {
        "instruction counts: every difference counts".into()
    } else if before.is_enough() && after.is_enough() {
        "noise: how far the reports of a side are apart, both sides together".into()
    } else {
        format!("what differs in one run may not in the next: {ENOUGH} reports a side, each side in a folder, tell")
    }
}

/// The comparison for programs.
#[must_use]
pub fn json(comparison: &Comparison<'_>) -> Value {
    let side = |side: &Side| {
        let report =
            |told: &super::read::Told| json!({"file": told.path, "commit": told.commit, "profile": told.profile});
        Value::Array(side.reports().iter().map(report).collect())
    };
    let figure = |change: &Change| {
        json!({
            "name": change.name, "figure": change.which.name(), "unit": change.unit,
            "before": change.values[0], "after": change.values[1], "change_percent": change.percent(),
            "noise": change.noise, "verdict": change.verdict.name(),
        })
    };
    let mut report = json!({"schema": 1, "kind": "diff"});
    if let (Some(facts), Some(map)) = (comparison.sides[0].facts(), report.as_object_mut()) {
        for (name, value) in
            [("app", &facts.app), ("machine", &facts.machine), ("arch", &facts.arch), ("accel", &facts.accel)]
        {
            map.insert(name.into(), json!(value));
        }
        map.insert("cpus".into(), json!(facts.cpus));
        map.insert("deterministic".into(), json!(facts.deterministic));
        map.insert("before".into(), side(comparison.sides[0]));
        map.insert("after".into(), side(comparison.sides[1]));
        map.insert("slower".into(), json!(count(comparison, Verdict::Slower)));
        map.insert("faster".into(), json!(count(comparison, Verdict::Faster)));
        map.insert("figures".into(), comparison.changes.iter().map(figure).collect());
        map.insert("only_before".into(), json!(comparison.alone[0]));
        map.insert("only_after".into(), json!(comparison.alone[1]));
    }
    report
}

#[cfg(test)]
mod tests {
    use super::super::judge::compare;
    use super::super::read::tests::{sample, told};
    use super::*;

    fn side(centre: f64) -> Side {
        Side::of([centre - 1.0, centre, centre + 1.0].map(|p50| told(&sample(p50, 3.0))).to_vec())
    }

    #[test]
    fn the_table_names_what_changed() {
        let (before, after) = (side(100.0), side(150.0));
        let text = table(&compare(&before, &after).unwrap(), false, Style::plain());
        assert!(
            text.starts_with("latency on hosted · 2 CPUs · native\nbefore: r.json and 2 more (abc, guest)\n"),
            "{text}"
        );
        assert!(text.contains("wake    p50  100 ns  150 ns  +50.0 %  ± 4 ns  slower"), "{text}");
        assert!(!text.contains("threads") && text.contains("2 slower · 0 faster · 1 the same"), "{text}");
        let all = table(&compare(&before, &before).unwrap(), true, Style::plain());
        assert!(all.contains("threads") && all.contains("0 slower"), "{all}");
        let none = table(&compare(&before, &before).unwrap(), false, Style::plain());
        assert!(!none.contains("verdict"), "{none}");
    }

    #[test]
    fn one_report_a_side_is_said_to_be_too_few() {
        let [before, after] = [100.0, 150.0].map(|p50| Side::of(vec![told(&sample(p50, 3.0))]));
        let text = table(&compare(&before, &after).unwrap(), false, Style::plain());
        assert!(text.contains("differs\n") && text.contains("0 slower · 0 faster · 2 differ"), "{text}");
        assert!(text.contains("3 reports a side"), "{text}");
    }

    #[test]
    fn programs_get_the_same() {
        let (before, after) = (side(100.0), side(150.0));
        let json = json(&compare(&before, &after).unwrap());
        assert_eq!((json["kind"].as_str(), json["slower"].as_u64()), (Some("diff"), Some(2)));
        assert_eq!(json["before"].as_array().map(Vec::len), Some(3));
        assert_eq!(json["figures"][0]["change_percent"], 50.0);
        assert_eq!(json["figures"][2]["verdict"], "same");
    }
}
