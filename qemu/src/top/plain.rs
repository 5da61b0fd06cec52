//! The figures as text, and for programs.

use super::board::{Picture, ThreadRow};
use super::keys::View;
use crate::style::{Style, quantity};
use crate::table::{Row, columns};
use isochron_wire::Fixed;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::fmt::Write;

/// Threads in a text.
const MOST: usize = 40;

/// A time as people read it.
#[must_use]
pub fn time(ns: u64) -> String {
    quantity(Fixed::from_int(ns), "ns")
}

/// Seconds as people read them.
#[must_use]
pub fn seconds(seconds: f64) -> String {
    time((seconds * 1e9) as u64)
}

/// Part of a whole.
#[must_use]
pub fn percent(part: f64) -> String {
    format!("{:.1}", part * 100.0)
}

/// So many in a second.
#[must_use]
pub fn rate(rate: f64) -> String {
    match rate {
        r if r >= 1e6 => format!("{:.1}M", r / 1e6),
        r if r >= 1e4 => format!("{:.0}k", r / 1e3),
        r if r >= 10.0 || r == 0.0 => format!("{r:.0}"),
        r => format!("{r:.1}"),
    }
}

/// Memory in a line.
#[must_use]
pub fn memory(picture: &Picture) -> String {
    let bytes = |bytes: u64| quantity(Fixed::from_int(bytes), "bytes");
    let mut text = match picture.memory {
        (Some(touched), Some(all)) => format!("memory {} touched of {}", bytes(touched), bytes(all)),
        (Some(touched), None) => format!("memory {}", bytes(touched)),
        _ => "memory ?".into(),
    };
    let _ = write!(text, " · {} pages of stacks touched first", picture.faults.faults);
    for (count, what) in [(picture.faults.refused, "refused"), (picture.faults.pressure, "told of limits")] {
        if count > 0 {
            let _ = write!(text, " · {count} times {what}");
        }
    }
    text
}

/// What groups do to threads, in a line; empty if they do nothing.
#[must_use]
pub fn groups(picture: &Picture) -> String {
    let mut groups: BTreeMap<&str, (usize, u64, f64, usize)> = BTreeMap::new();
    for row in picture.threads.iter().filter(|row| row.aside.0 > 0) {
        let sum = groups.entry(&row.group).or_default();
        let now = usize::from(row.state == "set aside");
        *sum = (sum.0 + 1, sum.1 + row.aside.0, sum.2 + row.aside.1, sum.3 + now);
    }
    let group = |(name, (threads, times, total, now)): (&&str, &(usize, u64, f64, usize))| {
        format!("group {name}: {threads} threads set aside {times}× for {}, {now} now", seconds(*total))
    };
    groups.iter().map(group).collect::<Vec<_>>().join(" · ")
}

/// The first line.
#[must_use]
pub fn head(picture: &Picture) -> String {
    let mut text = format!(
        "{} · {} of its time · {} threads, {} ended",
        picture.title,
        seconds(picture.uptime),
        picture.threads.len(),
        picture.gone
    );
    if let Some(ended) = &picture.ended {
        let _ = write!(text, " · {ended}");
    }
    text
}

/// The head of the table of threads.
pub const THREADS: [&str; 9] = ["thread", "id", "state", "CPU", "CPU %", "time", "runs/s", "worst delay", "set aside"];

/// A thread's cells.
#[must_use]
pub fn thread(row: &ThreadRow) -> [String; 9] {
    let aside = if row.aside.0 == 0 { String::new() } else { format!("{}×", row.aside.0) };
    [
        row.name.clone(),
        row.id.to_string(),
        row.state.to_owned(),
        row.cpu.to_string(),
        percent(row.share),
        seconds(row.total),
        rate(row.runs),
        time(row.worst),
        aside,
    ]
}

/// The head of the table of CPUs.
pub const CPUS: [&str; 7] = ["CPU", "busy %", "waiting", "switches/s", "taken off/s", "stolen/s", "runs"];

/// A CPU's cells.
#[must_use]
pub fn cpus(picture: &Picture) -> Vec<[String; 7]> {
    let cells = |row: &super::board::CpuRow| {
        let [switches, preempted, stolen] = row.rates.map(rate);
        let waiting = format!("{} (max {})", row.waiting.0, row.waiting.1);
        [row.cpu.to_string(), percent(row.busy), waiting, switches, preempted, stolen, row.runs.clone()]
    };
    picture.cpus.iter().map(cells).collect()
}

/// All of it as text.
#[must_use]
pub fn text(picture: &Picture, view: &View, style: Style) -> String {
    let row = |cells: &[String]| Row { cells: cells.to_vec(), after: String::new() };
    let head_of = |names: &[&str]| row(&names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>());
    let mut out = format!("{}\n\n", style.bold(&head(picture)));
    let rows: Vec<Row> = cpus(picture).iter().map(|cells| row(cells)).collect();
    out += &columns(&head_of(&CPUS), &rows, style);
    let threads = view.threads(picture);
    let rows: Vec<Row> = threads.iter().take(MOST).map(|thread| row(&self::thread(thread))).collect();
    out.push('\n');
    out += &columns(&head_of(&THREADS), &rows, style);
    if threads.len() > MOST {
        let _ = writeln!(out, "{} more: choose with --sort and --filter", threads.len() - MOST);
    }
    out.push('\n');
    for line in [groups(picture), memory(picture)].into_iter().filter(|line| !line.is_empty()) {
        let _ = writeln!(out, "{line}");
    }
    if picture.lost > 0 {
        let _ = writeln!(out, "{}", style.red(&lost(picture)));
    }
    out
}

/// What was not seen.
#[must_use]
pub fn lost(picture: &Picture) -> String {
    format!("{} records had no room and are not in these figures", picture.lost)
}

/// For programs: times in seconds, delays in ns, parts from 0 to 1, rates in a second.
#[must_use]
pub fn json(picture: &Picture, view: &View) -> Value {
    let cpus = picture.cpus.iter().map(|row| {
        let [switches, preempted, stolen] = row.rates;
        json!({
            "cpu": row.cpu, "busy": row.busy, "runs": row.runs, "waiting": row.waiting.0, "waiting_max": row.waiting.1,
            "switches_per_s": switches, "preemptions_per_s": preempted, "steals_per_s": stolen,
        })
    });
    let threads = view.threads(picture).into_iter().map(|row| {
        json!({
            "id": row.id, "name": row.name, "state": row.state, "cpu": row.cpu, "share": row.share, "time": row.total,
            "runs_per_s": row.runs, "worst_delay_ns": row.worst, "set_aside": row.aside.0, "set_aside_time": row.aside.1,
            "group": row.group,
        })
    });
    json!({
        "schema": 1, "kind": "top", "title": picture.title, "uptime": picture.uptime, "span": picture.span,
        "cpus": cpus.collect::<Vec<_>>(), "threads": threads.collect::<Vec<_>>(), "threads_ended": picture.gone,
        "page_faults": picture.faults.faults, "memory_refused": picture.faults.refused,
        "memory_pressure": picture.faults.pressure, "memory_touched": picture.memory.0, "memory": picture.memory.1,
        "lost": picture.lost, "ended": picture.ended,
    })
}

#[cfg(test)]
mod tests {
    use super::super::board::tests::board;
    use super::super::live::Clock;
    use super::*;

    #[test]
    fn text_and_json_say_the_same() {
        let mut picture = board().picture(Some(Clock { hz: 1_000_000, newest: 1000, age: 0.0 }));
        picture.title = "x on virt".into();
        (picture.memory, picture.lost) = ((Some(3 << 20), Some(256 << 20)), 7);
        let text = text(&picture, &View::default(), Style::plain());
        assert!(text.starts_with("x on virt · 1 ms of its time · 1 threads, 1 ended\n"), "{text}");
        assert!(text.contains("worker   1  sleep    0   60.0  600 µs"), "{text}");
        assert!(text.contains("memory 3 MiB touched of 256 MiB · 1 pages") && text.contains("7 records had no room"));
        let json = json(&picture, &View::default());
        assert_eq!((json["threads"][0]["name"].as_str(), json["lost"].as_u64()), (Some("worker"), Some(7)));
        assert!((json["cpus"][1]["busy"].as_f64().unwrap() - 0.7).abs() < 1e-9);
    }
}
