//! How things look: colour where it is a terminal, units people read.

use isochron_wire::Fixed;
use std::env;
use std::io::IsTerminal;

/// What the output can show.
#[derive(Clone, Copy, Debug)]
pub struct Style {
    /// Colour and weight.
    pub color: bool,
    /// Columns.
    pub width: usize,
}

/// Columns where nothing says how many there are.
const WIDTH: usize = 120;

impl Style {
    /// For a stream: colour if it is a terminal and `NO_COLOR` is not set.
    #[must_use]
    pub fn of(stream: &impl IsTerminal) -> Self {
        let said_no = env::var_os("NO_COLOR").is_some_and(|v| !v.is_empty());
        let dumb = env::var_os("TERM").is_some_and(|t| t == "dumb");
        let columns = env::var("COLUMNS").ok().and_then(|c| c.parse().ok());
        let columns = columns.or_else(|| console::Term::stdout().size_checked().map(|(_, columns)| columns.into()));
        Self { color: stream.is_terminal() && !said_no && !dumb, width: columns.unwrap_or(WIDTH) }
    }

    /// Without any.
    #[must_use]
    pub const fn plain() -> Self {
        Self { color: false, width: WIDTH }
    }

    fn paint(self, code: &str, text: &str) -> String {
        if self.color { format!("\x1b[{code}m{text}\x1b[0m") } else { text.to_owned() }
    }

    /// A heading.
    #[must_use]
    pub fn bold(self, text: &str) -> String {
        self.paint("1", text)
    }

    /// Of lesser weight.
    #[must_use]
    pub fn dim(self, text: &str) -> String {
        self.paint("2", text)
    }

    /// Good news.
    #[must_use]
    pub fn green(self, text: &str) -> String {
        self.paint("32", text)
    }

    /// Bad news.
    #[must_use]
    pub fn red(self, text: &str) -> String {
        self.paint("1;31", text)
    }

    /// A warning.
    #[must_use]
    pub fn yellow(self, text: &str) -> String {
        self.paint("33", text)
    }

    /// A name.
    #[must_use]
    pub fn cyan(self, text: &str) -> String {
        self.paint("36", text)
    }

    /// A cell of a heat table, `heat` from 0 to 1.
    #[must_use]
    pub fn heat(self, heat: f64, text: &str) -> String {
        // Six steps of the 256-colour cube, from blue-green to red.
        let steps = [23, 29, 64, 136, 130, 124];
        let step = (heat.clamp(0.0, 1.0) * (steps.len() - 1) as f64).round() as usize;
        self.paint(&format!("97;48;5;{}", steps[step]), text)
    }
}

/// A quantity as people read it: nanoseconds and bytes scaled, three digits, the unit behind it.
#[must_use]
pub fn quantity(value: Fixed, unit: &str) -> String {
    let number = value.to_f64();
    match unit {
        "ns" => scaled(number, 1000.0, &["ns", "µs", "ms", "s"]),
        "bytes" => scaled(number, 1024.0, &["B", "KiB", "MiB", "GiB", "TiB"]),
        "hz" => scaled(number, 1000.0, &["Hz", "kHz", "MHz", "GHz"]),
        "ppb" => scaled(number, 1000.0, &["ppb", "ppm"]),
        "count" | "" => grouped_fixed(value),
        "ratio" | "x" => format!("{}×", digits(number)),
        "per_mille" => format!("{} ‰", digits(number)),
        "percent" => format!("{} %", digits(number)),
        unit => format!("{} {unit}", digits(number)),
    }
}

fn scaled(number: f64, step: f64, units: &[&str]) -> String {
    let (mut number, mut at) = (number, 0);
    // 999.5 would print as 1000: it goes up as well.
    while number.abs() >= step - 0.5 && at + 1 < units.len() {
        number /= step;
        at += 1;
    }
    format!("{} {}", digits(number), units[at])
}

/// Three digits that count, no zeros after the last one of them.
fn digits(number: f64) -> String {
    let size = number.abs();
    let places = if size >= 99.95 || size == 0.0 {
        0
    } else if size >= 9.995 {
        1
    } else {
        2
    };
    let text = format!("{number:.places$}");
    if text.contains('.') { text.trim_end_matches('0').trim_end_matches('.').to_owned() } else { text }
}

fn grouped_fixed(value: Fixed) -> String {
    if value.thousandths() % 1000 != 0 {
        return value.to_string();
    }
    let sign = if value.thousandths() < 0 { "-" } else { "" };
    format!("{sign}{}", grouped(value.whole().unsigned_abs()))
}

/// A whole number in groups of three, with narrow spaces between them.
#[must_use]
pub fn grouped(number: u64) -> String {
    let text = number.to_string();
    let mut out = String::new();
    for (at, digit) in text.chars().enumerate() {
        if at > 0 && (text.len() - at).is_multiple_of(3) {
            out.push('\u{202f}');
        }
        out.push(digit);
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantities() {
        let q = |thousandths, unit| quantity(Fixed::from_thousandths(thousandths), unit);
        assert_eq!(q(57_000, "ns"), "57 ns");
        assert_eq!(q(3_250, "ns"), "3.25 ns");
        assert_eq!(q(999_600, "ns"), "1 µs");
        assert_eq!(q(1_234_000, "ns"), "1.23 µs");
        assert_eq!(q(12_345_678_000, "ns"), "12.3 ms");
        assert_eq!(q(0, "ns"), "0 ns");
        assert_eq!(q(268_435_456_000, "bytes"), "256 MiB");
        assert_eq!(q(62_500_000_000, "hz"), "62.5 MHz");
        assert_eq!(q(1_234_567_000, "count"), "1\u{202f}234\u{202f}567");
        assert_eq!(q(3_700, "x"), "3.7×");
        assert_eq!(q(5_000, "cycles"), "5 cycles");
    }

    #[test]
    fn no_colour_means_none() {
        assert_eq!(Style::plain().red("x"), "x");
        assert_eq!(Style { color: true, width: 80 }.bold("x"), "\x1b[1mx\x1b[0m");
        assert_eq!(Style::plain().heat(2.0, "1"), "1");
    }
}
