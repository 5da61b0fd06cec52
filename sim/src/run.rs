//! Running seeds: some processes at a time, each with its share.

use crate::options::Options;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

/// The machine of a seed, by the seed's remainder: how many CPUs it has, and whether idle ones may spin.
pub const MACHINES: [(usize, bool); 8] =
    [(2, true), (3, false), (4, true), (1, true), (2, false), (3, true), (4, false), (6, true)];

/// What the guest's lines to the host, which is not this one, begin with.
const MARK: char = '\x1e';

/// A seed that failed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failure {
    /// Which.
    pub seed: u64,
    /// What it printed.
    pub text: String,
}

/// What came of it.
#[derive(Debug, Default)]
pub struct Summary {
    /// How many seeds were run.
    pub done: u64,
    /// Those that failed.
    pub failed: Vec<Failure>,
}

/// One process: the machine with so many CPUs, and its seeds.
#[derive(Debug, PartialEq, Eq)]
struct Share {
    cpus: usize,
    own_cores: bool,
    from: u64,
    to: u64,
    step: u64,
}

fn shares(options: &Options) -> Vec<Share> {
    let (seeds, step) = (options.seeds(), MACHINES.len() as u64);
    (seeds.start..seeds.end.min(seeds.start.saturating_add(step)))
        .map(|from| {
            let (cpus, own_cores) = MACHINES[(from % step) as usize];
            Share { cpus: options.cpus.unwrap_or(cpus), own_cores, from, to: seeds.end, step }
        })
        .collect()
}

/// Runs the seeds that are asked for. `each` is called when there is something new; what a failed seed prints is passed on
/// to standard output.
///
/// # Errors
/// If a process cannot be run, or ends before its seeds do.
pub fn seeds(program: &Path, options: &Options, each: &mut (dyn FnMut(&Summary) + Send)) -> Result<Summary, String> {
    all(program, options, true, each)
}

/// The same, and nothing is printed.
///
/// # Errors
/// As [`seeds`].
pub fn seeds_quietly(program: &Path, options: &Options) -> Result<Summary, String> {
    all(program, options, false, &mut |_| {})
}

fn all(
    program: &Path,
    options: &Options,
    loud: bool,
    each: &mut (dyn FnMut(&Summary) + Send),
) -> Result<Summary, String> {
    let shares = shares(options);
    let next = AtomicUsize::new(0);
    let so_far = Mutex::new((Summary::default(), each));
    let work = || {
        while let Some(share) = shares.get(next.fetch_add(1, Ordering::Relaxed)) {
            one(program, options, share, &mut |done, failure| {
                if let (true, Some(Failure { text, .. })) = (loud, &failure) {
                    println!("\nwith {} CPUs, {text}", share.cpus);
                }
                let (summary, each) = &mut *so_far.lock().map_err(|_| "another thread has panicked")?;
                summary.done += done;
                summary.failed.extend(failure);
                each(summary);
                Ok(())
            })?;
        }
        Ok::<(), String>(())
    };
    let available = || thread::available_parallelism().map_or(1, usize::from);
    let threads = options.processes.unwrap_or_else(available).min(shares.len());
    thread::scope(|scope| {
        let workers: Vec<_> = (0..threads).map(|_| scope.spawn(work)).collect();
        workers.into_iter().try_for_each(|worker| worker.join().map_err(|_| "a thread has panicked".to_owned())?)
    })?;
    let (mut summary, _) = so_far.into_inner().map_err(|_| "a thread has panicked")?;
    summary.failed.sort_by_key(|failure| failure.seed);
    Ok(summary)
}

/// Runs one process to its end. `told`: how many seeds more are done, and one that failed.
fn one(
    program: &Path,
    options: &Options,
    share: &Share,
    told: &mut dyn FnMut(u64, Option<Failure>) -> Result<(), String>,
) -> Result<(), String> {
    let mut command = Command::new(program);
    command.env("ISOCHRON_CPUS", share.cpus.to_string());
    command.env("ISOCHRON_OWN_CORES", u8::from(share.own_cores).to_string());
    command.args(["--".to_owned()]).args([
        format!("from={}", share.from),
        format!("to={}", share.to),
        format!("step={}", share.step),
        format!("failures={}", options.failures),
    ]);
    match options.stores {
        Some(true) => _ = command.arg("stores=on"),
        Some(false) => _ = command.arg("stores=off"),
        None => {}
    }
    for (asked, word) in [(options.trace, "trace"), (options.planted, "planted")] {
        if asked {
            command.arg(word);
        }
    }
    let name = program.display();
    let mut child = command
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()
        .map_err(|error| format!("{name} cannot be run: {error}"))?;
    let (mut text, mut before, mut ended) = (String::new(), 0, false);
    for line in child.stdout.take().into_iter().flat_map(|out| BufReader::new(out).split(b'\n').map_while(Result::ok)) {
        let line = String::from_utf8_lossy(&line);
        if line.starts_with(MARK) {
            continue;
        }
        let Some(word) = line.strip_prefix("sim: ") else {
            if options.trace {
                println!("{line}");
            }
            text += &line;
            text.push('\n');
            continue;
        };
        let words: Vec<&str> = word.split(' ').collect();
        match words[..] {
            // What seeds before it have told is of no interest: threads of theirs died as they should.
            ["begin", _] => text.clear(),
            ["done", count] => {
                let done = count.parse().unwrap_or(before);
                told(done - before, None)?;
                before = done;
            }
            ["end", count, _] => {
                told(count.parse().unwrap_or(before) - before, None)?;
                ended = true;
            }
            ["seed", seed, "failed:", ..] => {
                text += word;
                text.push('\n');
                let seed = seed.parse().map_err(|_| format!("{name} says: {line}"))?;
                told(0, Some(Failure { seed, text: std::mem::take(&mut text) }))?;
            }
            _ => return Err(format!("{name} says: {line}")),
        }
    }
    let status = child.wait().map_err(|error| format!("{name}: {error}"))?;
    if ended { Ok(()) } else { Err(format!("{name} ended early, with {status}; it had said:\n{text}")) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_seed_is_in_one_share_and_has_its_cpus() {
        let options = Options { from: 5, count: 11, ..Options::default() };
        let mut all = Vec::new();
        for share in shares(&options) {
            for seed in (share.from..share.to).step_by(share.step as usize) {
                assert_eq!((share.cpus, share.own_cores), MACHINES[(seed % 8) as usize]);
                all.push(seed);
            }
        }
        all.sort_unstable();
        assert_eq!(all, (5..16).collect::<Vec<_>>());
        let one = Options { from: 9, count: 1, ..Options::default() };
        assert_eq!(shares(&one), [Share { cpus: 3, own_cores: false, from: 9, to: 10, step: 8 }]);
    }
}
