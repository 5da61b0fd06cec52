//! `cargo run -p isochron-sim --release -- --seeds 10000`: see [`isochron_sim::options::USAGE`].

use isochron_sim::options::{self, Mode, Options};
use isochron_sim::run::{self, Summary};
use isochron_sim::{build, mutants};
use std::process::ExitCode;
use std::time::Instant;

fn main() -> ExitCode {
    let options = match options::parse(std::env::args().skip(1)) {
        Ok(options) => options,
        Err(problem) => {
            eprintln!("{problem}\n\n{}", options::USAGE);
            return ExitCode::from(2);
        }
    };
    let well = match options.mode {
        Mode::Help => {
            println!("{}", options::USAGE);
            Ok(true)
        }
        Mode::Seeds => seeds(&options),
        Mode::Mutants => mutants::all(&options),
    };
    match well {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(problem) => {
            eprintln!("error: {problem}");
            ExitCode::FAILURE
        }
    }
}

/// True if no seed failed.
fn seeds(options: &Options) -> Result<bool, String> {
    let program = build::program(&build::root(), &build::root().join("target/sim"))?;
    let start = Instant::now();
    let Summary { done, failed } = run::seeds(&program, options, &mut |so_far| {
        let rate = so_far.done as f64 / start.elapsed().as_secs_f64();
        eprint!("\r{} of {} seeds, {} failed, {rate:.0} a second ", so_far.done, options.count, so_far.failed.len());
    })?;
    let took = start.elapsed().as_secs_f64();
    eprintln!();
    println!("{done} seeds in {took:.1} s, {:.0} a second: {} failed", done as f64 / took, failed.len());
    for failure in &failed {
        println!("    cargo run -p isochron-sim --release -- --seed {} --trace", failure.seed);
    }
    Ok(failed.is_empty())
}
