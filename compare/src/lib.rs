//! What the peers' programs share: a row is chosen by name, its figure is printed on a line of its own.
//!
//! `PEER --list` prints the rows that a peer has. `PEER ROW` prints `ROW NAME VALUE` for each figure of the row, in the
//! row's unit (see [`rows`]). A row's work is checked (sums, counts) before its figure is printed.

pub mod rows;

use std::process::exit;
use std::time::Instant;

/// One row of a peer: its name, and what measures it.
pub type Row = (&'static str, fn(&mut Out));

/// Where a row's figures go.
#[derive(Debug, Default)]
pub struct Out(Vec<(&'static str, f64)>);

impl Out {
    /// One figure.
    pub fn value(&mut self, name: &'static str, value: f64) {
        self.0.push((name, value));
    }
}

/// Does what the command line says.
pub fn main(rows: &[Row]) {
    let argument = std::env::args().nth(1).unwrap_or_default();
    if argument == "--list" {
        rows.iter().for_each(|(name, _)| println!("{name}"));
        return;
    }
    let Some((_, measure)) = rows.iter().find(|(name, _)| *name == argument) else {
        eprintln!("no row `{argument}`: see --list");
        exit(2);
    };
    let mut out = Out::default();
    measure(&mut out);
    out.0.iter().for_each(|(name, value)| println!("ROW {name} {value}"));
}

/// Nanoseconds that `f` takes for each of `count`.
pub fn ns_each(count: u64, f: impl FnOnce()) -> f64 {
    let begin = Instant::now();
    f();
    begin.elapsed().as_nanos() as f64 / count as f64
}

/// A shuffled `0..count`, the same each time.
pub fn shuffled(count: usize) -> Vec<usize> {
    let mut order: Vec<usize> = (0..count).collect();
    rows::shuffle(&mut order);
    order
}

/// The value at `percent` of `samples`.
pub fn percentile(samples: &mut [f64], percent: f64) -> f64 {
    samples.sort_by(f64::total_cmp);
    samples[((samples.len() - 1) as f64 * percent / 100.0).round() as usize]
}
