//! A thread that takes records out of a guest's memory while the guest runs, and writes them to a file.
//!
//! What it has in memory at a time is one chunk of records. It looks every [`PAUSE`]; a ring that fills faster than that loses
//! records, which the guest counts.

use super::area::Area;
use super::file::{Counts, Facts, MOST_AT_ONCE, Writer};
use super::memory::SharedMemory;
use super::names::Names;
use crate::error::Error;
use isochron_wire::trace::area::STEPS;
use std::fs::File;
use std::io::{self, BufWriter};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle};
use std::time::Duration;

/// Between two looks.
const PAUSE: Duration = Duration::from_millis(1);
/// After so many looks, what there is is taken, be it ever so little.
const LOOKS: u32 = 64;

/// A recording that is under way.
#[derive(Debug)]
pub struct Recorder {
    path: PathBuf,
    stop: Arc<AtomicBool>,
    thread: JoinHandle<io::Result<Summary>>,
    ending: Arc<Mutex<String>>,
}

/// What a recording came to.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Summary {
    /// Whether the guest ever began.
    pub began: bool,
    /// By CPU.
    pub counts: Vec<Counts>,
    /// CPUs whose ring the guest has damaged.
    pub damaged: Vec<u32>,
    /// A ring may have been so full that its writer took other steps than with one that is not.
    pub crowded: bool,
}

impl Summary {
    /// In one line.
    #[must_use]
    pub fn text(&self) -> String {
        if !self.began {
            return "the guest did not get as far as to record".into();
        }
        let (written, dropped) = self.totals();
        let lost = if dropped == 0 { "none lost".to_owned() } else { format!("{dropped} lost for want of room") };
        let damaged: String = self.damaged.iter().map(|cpu| format!(", the ring of CPU {cpu} was damaged")).collect();
        let crowded = if self.crowded && dropped == 0 { "; a ring was nearly full for a while" } else { "" };
        format!("{written} records, {lost}{damaged}{crowded}")
    }

    /// Records that were written and records that were dropped, on all CPUs.
    #[must_use]
    pub fn totals(&self) -> (u64, u64) {
        self.counts.iter().fold((0, 0), |(written, dropped), of| (written + of.written, dropped + of.dropped))
    }
}

impl Recorder {
    /// Makes the file and begins. The guest may be started before or after; `elf` is its program, which names are looked up in.
    ///
    /// # Errors
    /// [`Error::Io`] if the file cannot be written.
    pub fn start(memory: SharedMemory, facts: Facts, elf: &Path, path: &Path) -> Result<Self, Error> {
        let file = File::create(path).map_err(Error::io("write", path))?;
        let writer = Writer::new(BufWriter::with_capacity(1 << 20, file)).map_err(Error::io("write", path))?;
        let names = Names::of(elf);
        let stop = Arc::new(AtomicBool::new(false));
        let ending = Arc::new(Mutex::new(String::new()));
        let thread = {
            let (stop, ending) = (Arc::clone(&stop), Arc::clone(&ending));
            thread::spawn(move || {
                Taker {
                    memory,
                    facts,
                    names,
                    writer,
                    area: None,
                    counts: Vec::new(),
                    crowded: false,
                    buffer: Vec::new(),
                }
                .run(&stop, &ending)
            })
        };
        Ok(Self { path: path.to_path_buf(), stop, thread, ending })
    }

    /// The guest has ended, and so: takes what is left, and closes the file.
    ///
    /// # Errors
    /// [`Error::Io`] if it could not be written.
    ///
    /// # Panics
    /// If the thread has.
    pub fn finish(self, ending: &str) -> Result<Summary, Error> {
        *self.ending.lock().unwrap_or_else(std::sync::PoisonError::into_inner) = ending.to_owned();
        // Relaxed: the text has a lock, and the guest's memory orders itself.
        self.stop.store(true, Ordering::Relaxed);
        self.thread.join().expect("the recorder does not panic").map_err(Error::io("write", &self.path))
    }
}

/// The thread's own.
struct Taker {
    memory: SharedMemory,
    facts: Facts,
    names: Names,
    writer: Writer<BufWriter<File>>,
    area: Option<Area>,
    counts: Vec<Counts>,
    crowded: bool,
    buffer: Vec<u8>,
}

impl Taker {
    fn run(mut self, stop: &AtomicBool, ending: &Mutex<String>) -> io::Result<Summary> {
        let mut looks = 0;
        loop {
            let last = stop.load(Ordering::Relaxed);
            looks += 1;
            self.look(last || looks % LOOKS == 0)?;
            if last {
                break;
            }
            thread::sleep(PAUSE);
        }
        let mut summary = Summary { began: self.area.is_some(), ..Summary::default() };
        if let Some(area) = &mut self.area {
            for cpu in 0..area.layout().cpus {
                let taken = area.take(cpu, 0, &mut self.buffer);
                let counts = &mut self.counts[cpu as usize];
                counts.dropped = counts.dropped.max(taken.dropped);
                summary.damaged.extend(area.is_damaged(cpu).then_some(cpu));
            }
            (summary.counts, summary.crowded) = (self.counts, self.crowded);
        } else {
            self.writer.facts(&self.facts)?;
        }
        let ending = ending.lock().map(|ending| ending.clone()).unwrap_or_default();
        self.writer.end(&summary.counts, &ending)?;
        Ok(summary)
    }

    /// Takes what there is; `all`: also where it is little.
    fn look(&mut self, all: bool) -> io::Result<()> {
        if self.area.is_none() {
            let Some(area) = Area::find(&self.memory) else { return Ok(()) };
            self.facts.insert("clock_hz".into(), area.layout().clock_hz.to_string());
            self.writer.facts(&self.facts)?;
            self.counts = vec![Counts::default(); area.layout().cpus as usize];
            self.area = Some(area);
        }
        let Some(area) = &mut self.area else { return Ok(()) };
        let enough = if all { 1 } else { (area.layout().records / 8).min(MOST_AT_ONCE / 4) };
        for cpu in 0..area.layout().cpus {
            while area.waiting(cpu) >= enough {
                self.buffer.clear();
                let taken = area.take(cpu, MOST_AT_ONCE, &mut self.buffer);
                for (address, name) in self.names.new_in(&self.buffer) {
                    self.writer.name(address, &name)?;
                }
                self.writer.records(cpu, &taken, &self.buffer)?;
                let most = area.layout().records - area.layout().records.div_ceil(STEPS);
                self.crowded |= taken.peak >= most;
                self.counts[cpu as usize] = Counts { written: taken.first + taken.count, dropped: taken.dropped };
                if taken.left < enough {
                    break;
                }
            }
        }
        Ok(())
    }
}
