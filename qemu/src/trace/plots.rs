//! Plots of a recording as SVG for a page that gives them their colours: readable in light, in dark, and on paper.

use super::figures::Times;
use super::findings::time;
use super::picture::{COLUMNS, Picture};
use crate::style::grouped;
use crate::svg::escape;
use std::fmt::Write;

const WIDTH: f64 = 760.0;
const LEFT: f64 = 64.0;
const RIGHT: f64 = 16.0;

fn begin(title: &str, height: f64) -> String {
    format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {height}\" role=\"img\" aria-label=\"{0}\">\n<title>{0}</title>\n",
        escape(title)
    )
}

fn text(svg: &mut String, x: f64, y: f64, anchor: &str, what: &str) {
    let _ = writeln!(svg, "<text x=\"{x:.1}\" y=\"{y:.1}\" text-anchor=\"{anchor}\">{}</text>", escape(what));
}

fn line(svg: &mut String, class: &str, from: (f64, f64), to: (f64, f64)) {
    let ((x1, y1), (x2, y2)) = (from, to);
    let _ = writeln!(svg, "<line class=\"{class}\" x1=\"{x1:.1}\" y1=\"{y1:.1}\" x2=\"{x2:.1}\" y2=\"{y2:.1}\"/>");
}

/// A logarithmic axis of times across the picture.
struct Axis {
    first: f64,
    last: f64,
    left: f64,
}

impl Axis {
    fn new(least: u64, most: u64, left: f64) -> Self {
        let first = (least.max(1) as f64).log10().floor();
        let last = (most.max(2) as f64).log10().ceil();
        Self { first, last: last.max(first + 1.0), left }
    }

    fn place(&self, ns: u64) -> f64 {
        let part = ((ns.max(1) as f64).log10() - self.first) / (self.last - self.first);
        self.left + (WIDTH - self.left - RIGHT) * part.clamp(0.0, 1.0)
    }

    fn draw(&self, svg: &mut String, top: f64, floor: f64) {
        for power in self.first as i32..=self.last as i32 {
            let ns = 10_u64.saturating_pow(power.max(0).cast_unsigned());
            let x = self.place(ns);
            line(svg, "grid", (x, top), (x, floor));
            let anchor = if power == self.last as i32 { "end" } else { "middle" };
            text(svg, x, floor + 16.0, anchor, &time(ns));
        }
    }
}

/// The heat map: how long threads waited for each CPU, by bins.
#[must_use]
pub fn heat_map(picture: &Picture) -> String {
    let (bins, rows) = (picture.settings.bins, picture.cpus.len());
    let (wide, high) = ((WIDTH - LEFT - RIGHT) / bins as f64, 26.0);
    let most = picture.cpus.iter().flat_map(|cpu| &cpu.heat).copied().max().unwrap_or(0);
    let floor = 8.0 + rows as f64 * high;
    let mut svg = begin("Scheduling delay by CPU", floor + 40.0);
    for (row, cpu) in picture.cpus.iter().enumerate() {
        let y = 8.0 + row as f64 * high;
        text(&mut svg, LEFT - 8.0, y + 17.0, "end", &format!("CPU {row}"));
        for (bin, count) in cpu.heat.iter().enumerate() {
            let x = LEFT + bin as f64 * wide;
            let heat = if *count == 0 { 0.0 } else { (*count as f64 + 1.0).ln() / (most as f64 + 1.0).ln() };
            let to = if bin + 1 == bins {
                "or longer".to_owned()
            } else {
                format!("to {}", time(picture.settings.edge(bin + 1)))
            };
            let _ = writeln!(
                svg,
                "<rect class=\"cell\" x=\"{:.1}\" y=\"{:.1}\" width=\"{:.1}\" height=\"{:.1}\" style=\"--heat:{:.0}%\"><title>CPU {row}, {} {to}: {}</title></rect>",
                x + 1.0,
                y + 1.0,
                wide - 2.0,
                high - 2.0,
                heat * 100.0,
                time(picture.settings.edge(bin)),
                grouped(*count)
            );
            if *count > 0 {
                let class = if heat > 0.6 { "in hot" } else { "in" };
                let _ = writeln!(
                    svg,
                    "<text class=\"{class}\" x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"middle\">{}</text>",
                    x + wide / 2.0,
                    y + 17.0,
                    short(*count)
                );
            }
        }
    }
    let each = (bins / 8).max(1);
    for bin in (0..bins).step_by(each) {
        text(&mut svg, LEFT + bin as f64 * wide, floor + 16.0, "middle", &time(picture.settings.edge(bin)));
    }
    text(&mut svg, LEFT, floor + 34.0, "start", "from ready to run; the last column: or longer");
    svg + "</svg>\n"
}

/// A count in at most four characters.
fn short(count: u64) -> String {
    match count {
        0..1000 => count.to_string(),
        1000..1_000_000 => format!("{}k", count / 1000),
        _ => format!("{}M", count / 1_000_000),
    }
}

/// How many threads waited for each CPU over time, one below the other, all to the same logarithmic scale.
#[must_use]
pub fn depths(picture: &Picture) -> String {
    let high = 56.0;
    let most = picture.cpus.iter().map(|cpu| cpu.depth.max()).max().unwrap_or(0).max(1);
    let up = |depth: u64| (depth as f64 + 1.0).ln();
    let floor = 8.0 + picture.cpus.len() as f64 * high;
    let mut svg = begin("Threads that wait for each CPU, over time", floor + 24.0);
    for (row, cpu) in picture.cpus.iter().enumerate() {
        let base = 8.0 + (row + 1) as f64 * high - 4.0;
        text(&mut svg, LEFT - 8.0, base - 18.0, "end", &format!("CPU {row}"));
        text(&mut svg, LEFT - 8.0, base - 3.0, "end", &format!("\u{2264} {}", grouped(cpu.depth.max())));
        let step = (WIDTH - LEFT - RIGHT) / COLUMNS as f64;
        let mut path = format!("M{LEFT:.1} {base:.1}");
        for (column, depth) in cpu.depth.columns().iter().enumerate() {
            let (x, y) = (LEFT + column as f64 * step, base - (high - 10.0) * up(*depth) / up(most));
            let _ = write!(path, "L{x:.1} {y:.1}H{:.1}", x + step);
        }
        let _ = writeln!(svg, "<path class=\"area\" d=\"{path}V{base:.1}Z\"><title>CPU {row}</title></path>");
        line(&mut svg, "grid", (LEFT, base), (WIDTH - RIGHT, base));
    }
    for part in 0..=4_u32 {
        let x = LEFT + (WIDTH - LEFT - RIGHT) * f64::from(part) / 4.0;
        let anchor = if part == 4 { "end" } else { "middle" };
        text(&mut svg, x, floor + 16.0, anchor, &time(picture.length() * u64::from(part) / 4));
    }
    svg + "</svg>\n"
}

/// A histogram, both axes logarithmic, with percentiles up to 99.99.
#[must_use]
pub fn histogram(title: &str, times: &Times) -> String {
    const TOP: f64 = 44.0;
    const FLOOR: f64 = 200.0;
    let steps = times.steps();
    let mut svg = begin(title, FLOOR + 26.0);
    let (Some(first), Some(last)) = (steps.first(), steps.last()) else { return svg + "</svg>\n" };
    let axis = Axis::new(first.0, last.1, LEFT);
    let most = steps.iter().map(|step| step.2).max().unwrap_or(1);
    let up = |count: u64| FLOOR - (FLOOR - TOP) * (count as f64 * 1.6).ln() / (most as f64 * 1.6).ln();
    axis.draw(&mut svg, TOP, FLOOR);
    for count in std::iter::successors(Some(1_u64), |n| n.checked_mul(10)).take_while(|n| *n <= most) {
        line(&mut svg, "grid", (LEFT, up(count)), (WIDTH - RIGHT, up(count)));
        text(&mut svg, LEFT - 6.0, up(count) + 4.0, "end", &short(count));
    }
    for (from, to, count) in &steps {
        let (x, y) = (axis.place(*from), up(*count));
        let width = (axis.place(*to) - x - 1.0).max(1.5);
        let _ = writeln!(
            svg,
            "<rect class=\"bar\" x=\"{x:.1}\" y=\"{y:.1}\" width=\"{width:.1}\" height=\"{:.1}\"><title>{} to {}: {}</title></rect>",
            FLOOR - y,
            time(*from),
            time(*to),
            grouped(*count)
        );
    }
    for (at, (name, percent)) in [("p50", 50.0), ("p99", 99.0), ("p99.9", 99.9), ("p99.99", 99.99)].iter().enumerate() {
        let ns = times.percentile(*percent);
        let x = axis.place(ns);
        line(&mut svg, "mark", (x, TOP - 4.0), (x, FLOOR));
        let column = LEFT + at as f64 * (WIDTH - LEFT - RIGHT) / 4.0;
        text(&mut svg, column, 16.0, "start", &format!("{name} {}", time(ns)));
    }
    text(&mut svg, WIDTH - RIGHT, 32.0, "end", &format!("max {} of {}", time(times.max()), grouped(times.count())));
    svg + "</svg>\n"
}

/// Distributions below each other on one axis: from the median over the 99th percentile to the greatest.
#[must_use]
pub fn ranges(title: &str, rows: &[(String, &Times)]) -> String {
    const HIGH: f64 = 24.0;
    const NAMES: f64 = 220.0;
    let rows: Vec<_> = rows.iter().filter(|(_, times)| times.count() > 0).collect();
    let floor = 8.0 + rows.len() as f64 * HIGH;
    let mut svg = begin(title, floor + 26.0);
    let least = rows.iter().map(|(_, times)| times.percentile(50.0)).min().unwrap_or(1);
    let axis = Axis::new(least, rows.iter().map(|(_, times)| times.max()).max().unwrap_or(1), NAMES);
    axis.draw(&mut svg, 4.0, floor);
    for (row, (name, times)) in rows.iter().enumerate() {
        let y = 8.0 + (row as f64 + 0.5) * HIGH;
        let [middle, late, last] = [50.0, 99.0, 100.0].map(|percent| axis.place(times.percentile(percent)));
        text(&mut svg, NAMES - 10.0, y + 4.0, "end", name);
        line(&mut svg, "thin", (middle, y), (last, y));
        line(&mut svg, "thick", (middle, y), (late.max(middle + 1.0), y));
        let about = format!(
            "{name}: {} times, p50 {}, p99 {}, max {}",
            grouped(times.count()),
            time(times.percentile(50.0)),
            time(times.percentile(99.0)),
            time(times.max())
        );
        let _ = writeln!(
            svg,
            "<circle class=\"dot\" cx=\"{middle:.1}\" cy=\"{y:.1}\" r=\"4\"><title>{}</title></circle>",
            escape(&about)
        );
        line(&mut svg, "end", (last, y - 5.0), (last, y + 5.0));
    }
    svg + "</svg>\n"
}
