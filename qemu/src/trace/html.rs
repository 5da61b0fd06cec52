//! A recording as one page: no other file, nothing from the network.

use super::command::{Reading, title};
use super::findings::time;
use super::flames;
use super::plots;
use super::tables::{Table, tables};
use crate::svg::escape;
use std::fmt::Write;

const STYLE: &str = include_str!("page.css");

/// The page.
#[must_use]
pub fn page(reading: &Reading) -> String {
    let heading = format!("{} on {}", reading.fact("app"), reading.fact("machine"));
    let mut out = format!(
        "<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n\
         <meta name=\"color-scheme\" content=\"light dark\">\n<title>{0}: trace</title>\n<style>\n{STYLE}</style>\n</head>\n\
         <body>\n<header>\n<h1>{0}</h1>\n<p>{1}</p>\n",
        escape(&heading),
        escape(&title(reading)),
    );
    facts(&mut out, reading);
    out += "</header>\n<main>\n";
    findings(&mut out, reading);
    pictures(&mut out, reading);
    for table in tables(&reading.picture, &reading.file.names) {
        section(&mut out, table.title, &rendered(&table));
    }
    out + "</main>\n</body>\n</html>\n"
}

fn section(out: &mut String, title: &str, body: &str) {
    let _ = writeln!(out, "<section>\n<h2>{}</h2>\n{body}</section>", escape(title));
}

fn facts(out: &mut String, reading: &Reading) {
    let ending = reading.file.end.as_ref().map_or("", |end| end.ending.as_str());
    let shown = ["arch", "accel", "deterministic", "commit", "profile"];
    let facts = shown.iter().map(|name| (*name, reading.fact(name)));
    let lost = reading.lost().to_string();
    let _ = writeln!(out, "<dl class=\"facts\">");
    for (name, fact) in facts.chain([("lost", lost.as_str()), ("the guest", ending)]) {
        if !fact.is_empty() {
            let _ = writeln!(out, "<div><dt>{}</dt><dd>{}</dd></div>", escape(name), escape(fact));
        }
    }
    let _ = writeln!(out, "</dl>");
    for caution in reading.cautions() {
        let _ = writeln!(out, "<p class=\"caution\">{}</p>", escape(&caution));
    }
}

fn findings(out: &mut String, reading: &Reading) {
    let mut body = String::new();
    for finding in &reading.findings {
        let _ = write!(
            body,
            "<article class=\"finding\">\n<h3>{}</h3>\n<p>{}</p>\n<p class=\"tags\">",
            finding.kind.replace('_', " "),
            escape(&finding.text)
        );
        let cpu = finding.cpu.map(|cpu| format!("CPU {cpu}"));
        let tags = [("thread", &finding.thread), ("mutex", &finding.lock), ("on", &cpu)];
        for (what, name) in tags.into_iter().filter_map(|(what, name)| Some((what, name.as_ref()?))) {
            let _ = write!(body, "<span>{what} <b>{}</b></span> ", escape(name));
        }
        let _ = writeln!(body, "<span>{}</span></p>\n</article>", time(finding.ns));
    }
    if body.is_empty() {
        body = "<p>Nothing: no mutex was waited for, no CPU kept from others and no queue long beyond what is usual.</p>\n".into();
    }
    section(out, "What stands out", &body);
}

fn pictures(out: &mut String, reading: &Reading) {
    let picture = &reading.picture;
    let plot = |svg: String| format!("<div class=\"plot\">{svg}</div>\n");
    if picture.delays.count() > 0 {
        section(out, "How long threads waited for each CPU", &plot(plots::heat_map(picture)));
        section(out, "From ready to run", &plot(plots::histogram("Scheduling delay", &picture.delays)));
        let mut rows: Vec<_> = picture.ways.iter().map(|(way, times)| ((*way).to_owned(), times)).collect();
        let [here, elsewhere] = &picture.wakes;
        rows.push(("woken, same CPU".into(), here));
        rows.push(("woken, another CPU".into(), elsewhere));
        section(out, "The way to a CPU: p50, p99, max", &plot(plots::ranges("Delay by way", &rows)));
    }
    let waits: Vec<_> =
        picture.reasons.iter().map(|(reason, of)| (format!("waits: {}", reason.name()), &of.waits)).collect();
    if waits.iter().any(|(_, times)| times.count() > 0) {
        section(out, "Waiting by reason: p50, p99, max", &plot(plots::ranges("Waiting by reason", &waits)));
    }
    if picture.cpus.iter().any(|cpu| cpu.depth.max() > 0) {
        section(out, "Threads that wait for each CPU, over time", &plot(plots::depths(picture)));
    }
    if let Some(svg) = flames::run_time(picture, &reading.file.names) {
        section(out, "Where run time went: threads and named parts", &flame(&svg));
    }
    if let Some(svg) = flames::waiting_time(picture) {
        section(out, "Where waiting time went: threads, reasons, mutexes, who ended it", &flame(&svg));
    }
}

/// A flame graph as a document of its own inside the page: its script and its names touch nothing else.
fn flame(svg: &str) -> String {
    let height =
        svg.split_once("height=\"").and_then(|(_, rest)| rest.split_once('"')).map_or("300", |(height, _)| height);
    format!(
        "<object class=\"flame\" type=\"image/svg+xml\" height=\"{}\" data=\"data:image/svg+xml,{}\"></object>\n",
        escape(height),
        in_address(svg)
    )
}

/// Text as a part of an address.
fn in_address(text: &str) -> String {
    let mut out = String::with_capacity(text.len() * 5 / 4);
    for byte in text.bytes() {
        match byte {
            b'a'..=b'z'
            | b'A'..=b'Z'
            | b'0'..=b'9'
            | b' '
            | b'-'
            | b'_'
            | b'.'
            | b'/'
            | b':'
            | b'='
            | b'('
            | b')'
            | b','
            | b';' => {
                out.push(byte.into());
            }
            _ => {
                let _ = write!(out, "%{byte:02X}");
            }
        }
    }
    out
}

fn rendered(table: &Table) -> String {
    let mut out = String::from("<div class=\"scroll\"><table>\n<thead><tr>");
    table.head.iter().for_each(|head| out += &format!("<th scope=\"col\">{}</th>", escape(head)));
    out += "</tr></thead>\n<tbody>\n";
    for row in &table.rows {
        out += "<tr>";
        for (at, cell) in row.iter().enumerate() {
            let cell = escape(cell);
            out += &if at == 0 { format!("<th scope=\"row\">{cell}</th>") } else { format!("<td>{cell}</td>") };
        }
        out += "</tr>\n";
    }
    out + "</tbody>\n</table></div>\n"
}
