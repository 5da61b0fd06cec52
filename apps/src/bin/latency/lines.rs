//! How long a cache line takes from core to core.

use crate::suite::Context;
use core::sync::atomic::{AtomicU64, Ordering};
use isochron::kernel::report;
use isochron::kernel::wire::{Cells, Fixed, Record};
use isochron::prelude::*;
use isochron::thread::SpawnError;
use isochron_apps::measure::{Line, Overhead, Recorder, on, picoseconds, spin_until};

/// Round trips in a batch.
const ROUNDS: u64 = 64;
/// A pair gives at least so many samples, however long they take.
const FEWEST: usize = 16;
/// All pairs share this time. A pair that has [`FEWEST`] samples is left when its share is used up: CPUs that an emulator
/// runs in turn would take for ever.
const TIME: Duration = Duration::from_millis(2800);

/// On the line: the responder may go.
const END: u64 = u64::MAX;

/// `line_transfer`: half of a round trip of one cache line between two threads bound to two CPUs, from the first
/// thread's store to the moment when it sees the other's answer in the same line.
///
/// The first thread stores an odd number and waits for the next even one, which the second thread stores when it sees
/// the odd one; both look at the line without pause (after 64 looks in vain, with a spin hint after every 64). So one way is: the store
/// takes the line from the CPU that watches it, and the watcher gets to see it. Batches of 64 round trips; one reading
/// of the clock is taken off. 4000 samples spread over all pairs, at least 16 a pair.
///
/// Rows: the median in ns for each pair of CPUs; a pair is measured once and stands in both its places. The
/// distribution of the same name is over all samples of all pairs.
pub fn transfer(context: &Context<'_>) -> Result<(), SpawnError> {
    let cpus = context.cpus;
    let pairs = cpus * (cpus - 1) / 2;
    let samples = (context.samples(4000) as usize / pairs).max(FEWEST);
    let time = Duration::from_nanos(TIME.as_nanos() / pairs as u64);
    let mut recorder = Recorder::new();
    let mut matrix = vec![Fixed::ZERO; cpus * cpus];
    for first in 0..cpus {
        for second in first + 1..cpus {
            let mut found = pair(context.overhead, [first, second].map(CpuId::new), samples, time)?;
            found.iter().for_each(|&ps| recorder.record(ps));
            found.sort_unstable();
            let median = Fixed::from_thousandths(found[found.len() / 2] as i64);
            matrix[first * cpus + second] = median;
            matrix[second * cpus + first] = median;
        }
    }
    recorder.send("line_transfer");
    for (row, cells) in matrix.chunks(cpus).enumerate() {
        report::send(&Record::Row { name: "line_transfer", unit: "ns", row: row as u32, cells: Cells::new(cells) });
    }
    Ok(())
}

/// The samples of one pair, in ps; at least one.
fn pair(
    overhead: Overhead,
    [first, second]: [CpuId; 2],
    samples: usize,
    time: Duration,
) -> Result<Vec<u64>, SpawnError> {
    let line = Arc::new(Line(AtomicU64::new(0)));
    let answering = Arc::clone(&line);
    let responder = on(second, "line_responder", move || {
        let mut seen = 0;
        loop {
            let mut now = seen;
            spin_until(|| {
                // Acquire: partner is the asker's release: a round is a message there and one back.
                now = answering.0.load(Ordering::Acquire);
                now != seen
            });
            if now == END {
                return;
            }
            seen = now + 1;
            // Release: partner is the asker's acquire.
            answering.0.store(seen, Ordering::Release);
        }
    })?;
    let asker = on(first, "line_asker", move || {
        let mut found = Vec::with_capacity(samples);
        let mut number = 0;
        // The first batches wake the other CPU and warm up.
        for _ in 0..2 {
            batch(&line, &mut number);
        }
        let end = Instant::now() + time;
        while found.len() < samples && (found.len() < FEWEST || Instant::now() < end) {
            let begin = Instant::now();
            batch(&line, &mut number);
            let ticks = Instant::now().ticks() - begin.ticks();
            found.push(picoseconds(ticks).saturating_sub(overhead.clock()) / (2 * ROUNDS));
        }
        line.0.store(END, Ordering::Release);
        found
    })?;
    let found = asker.join().unwrap();
    responder.join().unwrap();
    Ok(found)
}

/// [`ROUNDS`] round trips; `number` is what is on the line.
fn batch(line: &Line<AtomicU64>, number: &mut u64) {
    for _ in 0..ROUNDS {
        // Release, acquire: partners are the responder's, see there.
        line.0.store(*number + 1, Ordering::Release);
        *number += 2;
        spin_until(|| line.0.load(Ordering::Acquire) == *number);
    }
}
