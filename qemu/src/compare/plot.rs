//! The comparison as a picture: one line for each figure, one dot for each contender, how many times better or worse than
//! Isochron, on a logarithmic axis.

use super::contenders::{FLOOR, ISOCHRON};
use super::figures::Figures;
use super::rows::{Figure, Row};
use std::fmt::Write;

const WIDTH: f64 = 860.0;
const LEFT: f64 = 150.0;
const RIGHT: f64 = 30.0;
const TOP: f64 = 96.0;
const STEP: f64 = 26.0;

const STYLE: &str = "text{font:12px system-ui,sans-serif;fill:#333}.t{font-size:16px;font-weight:600}.g{stroke:#8884}\
.one{stroke:#2a7fb8;stroke-width:2}.f{fill:#fff}\
@media(prefers-color-scheme:dark){text{fill:#ddd}.f{fill:#16181c}.one{stroke:#4fa8df}}";

/// A colour for each that can be told apart from the others also by people who see few colours.
const COLOURS: [&str; 8] = ["#999", "#e69f00", "#56b4e9", "#009e73", "#d0b000", "#0072b2", "#d55e00", "#cc79a7"];

/// The picture.
#[must_use]
pub fn dots(figures: &Figures, rows: &[&'static Row]) -> String {
    let all: Vec<&Figure> = rows.iter().flat_map(|row| row.figures).collect();
    let mut names: Vec<&'static str> = vec![FLOOR];
    let mut lines: Vec<(&str, Vec<(&'static str, f64)>)> = Vec::new();
    for figure in all {
        let Some(ours) = figures.of(figure.name, ISOCHRON).map(|samples| samples.median()) else { continue };
        let times = |value: f64| if figure.more_is_better() { ours / value } else { value / ours };
        let dots: Vec<_> = figures
            .medians(figure.name)
            .into_iter()
            .filter(|(name, value)| *name != ISOCHRON && *value > 0.0 && ours > 0.0)
            .map(|(name, value)| (name, times(value)))
            .collect();
        dots.iter().for_each(|(name, _)| {
            if !names.contains(name) {
                names.push(name);
            }
        });
        lines.push((figure.name, dots));
    }
    let reach = lines.iter().flat_map(|(_, dots)| dots).map(|(_, times)| times.ln().abs()).fold(10f64.ln(), f64::max);
    let height = TOP + STEP * lines.len() as f64 + 40.0;
    let x = |times: f64| LEFT + (WIDTH - LEFT - RIGHT) * (times.ln() / reach + 1.0) / 2.0;
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {height}\" width=\"{WIDTH}\" height=\"{height}\" \
         role=\"img\">\n<title>Isochron and others</title>\n<style>{STYLE}</style>\n\
         <rect class=\"f\" width=\"100%\" height=\"100%\"/>\n\
         <text class=\"t\" x=\"16\" y=\"28\">How many times what Isochron takes</text>\n\
         <text x=\"16\" y=\"48\">medians of one run; right of the line: slower, or fewer a second, than Isochron</text>\n"
    );
    for (at, name) in names.iter().enumerate() {
        let left = 24.0 + 98.0 * at as f64;
        let colour = COLOURS[at % COLOURS.len()];
        let _ = writeln!(
            svg,
            "<circle cx=\"{left}\" cy=\"68\" r=\"5\" fill=\"{colour}\"/><text x=\"{}\" y=\"72\">{name}</text>",
            left + 10.0
        );
    }
    let bottom = height - 34.0;
    let decades = (reach / 10f64.ln()).floor() as i32;
    for decade in -decades..=decades {
        let at = x(10f64.powi(decade));
        let class = if decade == 0 { "one" } else { "g" };
        let _ = writeln!(
            svg,
            "<line class=\"{class}\" x1=\"{at:.1}\" x2=\"{at:.1}\" y1=\"{:.1}\" y2=\"{bottom:.1}\"/>",
            TOP - 10.0
        );
        let label = if decade < 0 {
            format!("1/{}", 10u64.pow(decade.unsigned_abs()))
        } else {
            10u64.pow(decade.unsigned_abs()).to_string()
        };
        let _ = writeln!(svg, "<text x=\"{at:.1}\" y=\"{:.1}\" text-anchor=\"middle\">{label}</text>", bottom + 18.0);
    }
    for (index, (name, dots)) in lines.iter().enumerate() {
        let y = TOP + STEP * index as f64 + 8.0;
        let _ = writeln!(svg, "<text x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"end\">{name}</text>", LEFT - 12.0, y + 4.0);
        let _ =
            writeln!(svg, "<line class=\"g\" x1=\"{LEFT}\" x2=\"{:.1}\" y1=\"{y:.1}\" y2=\"{y:.1}\"/>", WIDTH - RIGHT);
        for (of, times) in dots {
            let colour = COLOURS[names.iter().position(|name| name == of).unwrap_or(0) % COLOURS.len()];
            let _ = writeln!(
                svg,
                "<circle cx=\"{:.1}\" cy=\"{y:.1}\" r=\"5\" fill=\"{colour}\"><title>{of}: {times:.2} times</title></circle>",
                x(*times)
            );
        }
    }
    svg += "</svg>\n";
    svg
}
