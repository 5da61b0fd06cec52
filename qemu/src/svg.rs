//! One histogram as an SVG: readable on white and on black, in any viewer.
//!
//! Both axes are logarithmic, so that one sample in a hundred thousand is seen beside the rest: across, the time; up, the
//! number of samples. Lines mark the median, the 99th and the 99.9th percentile.

use crate::report::Distribution;
use crate::style::{grouped, quantity};
use isochron_wire::Fixed;
use std::fmt::Write;

const WIDTH: f64 = 720.0;
const HEIGHT: f64 = 320.0;
const LEFT: f64 = 64.0;
const RIGHT: f64 = 24.0;
const TOP: f64 = 72.0;
const BOTTOM: f64 = 44.0;

const STYLE: &str = "text{font:12px system-ui,sans-serif;fill:#333}.t{font-size:16px;font-weight:600}\
.g{stroke:#8884;stroke-width:1}.b{fill:#2a7fb8}.m{stroke-width:1.5;stroke-dasharray:4 3}\
.p0{stroke:#2c8c4a}.p1{stroke:#c77f00}.p2{stroke:#c8321e}.f{fill:#fff}\
@media(prefers-color-scheme:dark){text{fill:#ddd}.f{fill:#16181c}.b{fill:#4fa8df}}";

/// The picture, or `None` if the distribution came without its histogram. `about` is the line under the title.
#[must_use]
pub fn histogram(d: &Distribution, about: &str) -> Option<String> {
    let first = d.buckets.iter().map(|b| b.0.to_f64()).fold(f64::INFINITY, f64::min);
    let last = d.buckets.iter().map(|b| b.1.to_f64()).fold(0.0, f64::max);
    let most = d.buckets.iter().map(|b| b.2).max()?;
    let axis = Axis::new(first, last);
    let up = |count: u64| {
        let part = (count.max(1) as f64 * 1.6).ln() / (most.max(1) as f64 * 1.6).ln();
        TOP + (HEIGHT - TOP - BOTTOM) * (1.0 - part)
    };
    let floor = HEIGHT - BOTTOM;
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {HEIGHT}\" width=\"{WIDTH}\" \
         height=\"{HEIGHT}\" role=\"img\">\n<title>{0}</title>\n<style>{STYLE}</style>\n\
         <rect class=\"f\" width=\"100%\" height=\"100%\"/>\n<text class=\"t\" x=\"{LEFT}\" y=\"26\">{0}</text>\n\
         <text x=\"{LEFT}\" y=\"44\">{1} samples · {2}</text>\n",
        escape(&d.name),
        grouped(d.samples),
        escape(about),
    );
    let powers = std::iter::successors(Some(1u64), |n| n.checked_mul(10));
    for count in powers.take_while(|n| *n <= most) {
        let y = up(count);
        let _ =
            writeln!(svg, "<line class=\"g\" x1=\"{LEFT}\" x2=\"{:.1}\" y1=\"{y:.1}\" y2=\"{y:.1}\"/>", WIDTH - RIGHT);
        let _ = writeln!(
            svg,
            "<text x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"end\">{}</text>",
            LEFT - 6.0,
            y + 4.0,
            grouped(count)
        );
    }
    for tick in axis.ticks() {
        let label = quantity(Fixed::from_thousandths((tick * 1000.0).round() as i64), &d.unit);
        let x = axis.place(tick);
        let _ = writeln!(
            svg,
            "<text x=\"{x:.1}\" y=\"{:.1}\" text-anchor=\"middle\">{}</text>",
            floor + 18.0,
            escape(&label)
        );
        let _ =
            writeln!(svg, "<line class=\"g\" x1=\"{x:.1}\" x2=\"{x:.1}\" y1=\"{floor}\" y2=\"{:.1}\"/>", floor + 4.0);
    }
    for (low, high, count) in &d.buckets {
        let (x, y) = (axis.place(low.to_f64()), up(*count));
        let width = (axis.place(high.to_f64()) - x - 0.5).max(1.5);
        let _ = writeln!(
            svg,
            "<rect class=\"b\" x=\"{x:.1}\" y=\"{y:.1}\" width=\"{width:.1}\" height=\"{:.1}\"><title>{} to {}: {}</title></rect>",
            floor - y,
            escape(&quantity(*low, &d.unit)),
            escape(&quantity(*high, &d.unit)),
            grouped(*count)
        );
    }
    // Labels that would touch go to the next of three lines above the plot's top.
    let marks = [("p50", d.figures[2]), ("p99", d.figures[3]), ("p99.9", d.figures[4])];
    for (index, (name, figure)) in marks.into_iter().enumerate() {
        let x = axis.place(figure.to_f64());
        let _ = writeln!(svg, "<line class=\"m p{index}\" x1=\"{x:.1}\" x2=\"{x:.1}\" y1=\"{TOP}\" y2=\"{floor}\"/>");
        let at = LEFT + 8.0 + 150.0 * index as f64;
        let _ = writeln!(
            svg,
            "<line class=\"m p{index}\" x1=\"{at}\" x2=\"{}\" y1=\"58\" y2=\"58\"/><text x=\"{}\" y=\"62\">{name} {}</text>",
            at + 22.0,
            at + 28.0,
            escape(&quantity(figure, &d.unit))
        );
    }
    svg.push_str("</svg>\n");
    Some(svg)
}

/// A logarithmic axis.
struct Axis {
    low: f64,
    high: f64,
}

impl Axis {
    fn new(low: f64, high: f64) -> Self {
        // Nothing has no logarithm: below a tenth of a unit all is the same.
        let low = low.max(0.1);
        Self { low: low / 1.05, high: high.max(low * 1.5) * 1.05 }
    }

    fn place(&self, value: f64) -> f64 {
        let part = (value.clamp(self.low, self.high) / self.low).ln() / (self.high / self.low).ln();
        LEFT + (WIDTH - LEFT - RIGHT) * part
    }

    /// 1, 2, 5, 10, ... as many as there is room for.
    fn ticks(&self) -> Vec<f64> {
        let all = |steps: &[f64]| -> Vec<f64> {
            let decades = (self.low.log10().floor() as i32)..=(self.high.log10().ceil() as i32);
            let ticks = decades.flat_map(|d| steps.iter().map(move |s| s * 10f64.powi(d)));
            ticks.filter(|t| *t >= self.low && *t <= self.high).collect()
        };
        let fine = all(&[1.0, 2.0, 5.0]);
        let finest = all(&[1.0, 1.2, 1.5, 2.0, 3.0, 4.0, 5.0, 6.0, 8.0]);
        if fine.len() < 3 {
            finest
        } else if fine.len() <= 10 {
            fine
        } else {
            all(&[1.0])
        }
    }
}

pub(crate) fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::tests::sample;

    /// Checks that tags are closed in order and that every attribute and number is whole.
    fn well_formed(svg: &str) {
        let mut open = Vec::new();
        for tag in svg.split('<').skip(1) {
            let (inside, _) = tag.split_once('>').unwrap_or_else(|| panic!("<{tag}"));
            assert_eq!(inside.matches('"').count() % 2, 0, "{inside}");
            if let Some(name) = inside.strip_prefix('/') {
                assert_eq!(open.pop(), Some(name), "{inside}");
            } else if !inside.ends_with('/') {
                open.push(inside.split(' ').next().unwrap());
            }
        }
        assert!(open.is_empty(), "{open:?}");
        assert!(!svg.contains("NaN") && !svg.contains("inf"), "{svg}");
    }

    #[test]
    fn pictures_are_well_formed() {
        let report = sample();
        let mut d = report.distributions().next().unwrap().clone();
        let svg = histogram(&d, "virt & <4> CPUs").unwrap();
        well_formed(&svg);
        assert_eq!(svg.matches("class=\"b\"").count(), d.buckets.len());
        assert!(svg.contains("virt &amp; &lt;4&gt; CPUs") && svg.contains("prefers-color-scheme:dark"));
        d.buckets.truncate(1);
        well_formed(&histogram(&d, "").unwrap());
        d.buckets = vec![(Fixed::ZERO, Fixed::ZERO, 1), (Fixed::ZERO, Fixed::from_thousandths(1), u64::MAX)];
        well_formed(&histogram(&d, "").unwrap());
        d.buckets.clear();
        assert_eq!(histogram(&d, ""), None);
    }

    #[test]
    fn bars_stay_inside() {
        let report = sample();
        let svg = histogram(report.distributions().next().unwrap(), "").unwrap();
        for bar in svg.split("<rect class=\"b\"").skip(1) {
            let number = |name: &str| -> f64 {
                let rest = bar.split_once(&format!(" {name}=\"")).unwrap().1;
                rest.split_once('"').unwrap().0.parse().unwrap()
            };
            assert!(number("x") >= LEFT && number("x") + number("width") <= WIDTH, "{bar}");
            assert!(number("y") >= TOP - 0.1 && number("height") >= 0.0, "{bar}");
        }
    }
}
