//! The JSON format of Chrome's tracing, which Perfetto's viewer and others open.
//!
//! Two processes: the CPUs, a track each with the threads that ran, and the threads, a track each with what they did and arrows
//! from who woke to who was woken. Named parts of the program are a third, so that they need not fit into a thread's runs.

use super::follow::Follower;
use super::steps::{Phase, Reason, Step, Waker};
use isochron_wire::trace::Event;
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::io::{self, Write};

const CPUS: u32 = 1;
const THREADS: u32 = 2;
const PARTS: u32 = 3;

/// Writes the file, event by event.
#[derive(Debug)]
pub struct Chrome<'n, W> {
    out: W,
    names: &'n BTreeMap<u64, String>,
    /// Ticks in a second, and the first tick.
    clock: (u64, u64),
    /// Ticks that are shown.
    window: (u64, u64),
    /// Events that may still be written.
    room: u64,
    /// Events that were not.
    left_out: u64,
    /// Viewers like small numbers.
    tracks: HashMap<u64, u64>,
    cpus: BTreeSet<u32>,
    parts: BTreeSet<u64>,
    arrows: u64,
    failed: Option<io::Error>,
    begun: bool,
}

impl<'n, W: Write> Chrome<'n, W> {
    /// Begins. `clock`: ticks in a second and the first tick; `window`: the ticks that are shown; at most `most` events;
    /// `names`: what addresses are called.
    pub fn new(out: W, names: &'n BTreeMap<u64, String>, clock: (u64, u64), window: (u64, u64), most: u64) -> Self {
        Self {
            out,
            names,
            clock,
            window,
            room: most,
            left_out: 0,
            tracks: HashMap::new(),
            cpus: BTreeSet::new(),
            parts: BTreeSet::new(),
            arrows: 0,
            failed: None,
            begun: false,
        }
    }

    /// Microseconds since the start, as the format has it; ns stay whole.
    fn time(&self, ticks: u64) -> f64 {
        self.length(ticks.saturating_sub(self.clock.1))
    }

    fn length(&self, ticks: u64) -> f64 {
        let ns = u128::from(ticks) * 1_000_000_000 / u128::from(self.clock.0.max(1));
        ns as f64 / 1000.0
    }

    fn write(&mut self, event: &Value) {
        if self.failed.is_none() {
            let before = if self.begun { ",\n" } else { "{\"displayTimeUnit\":\"ns\",\"traceEvents\":[\n" };
            self.begun = true;
            self.failed = write!(self.out, "{before}{event}").err();
        }
    }

    /// Writes an event of this time, if it is to be seen and there is room.
    fn event(&mut self, from: u64, to: u64, event: impl FnOnce(&Self) -> Value) -> bool {
        if to < self.window.0 || from > self.window.1 {
            return false;
        }
        if self.room == 0 {
            self.left_out += 1;
            return false;
        }
        self.room -= 1;
        let event = event(self);
        self.write(&event);
        true
    }

    fn slice(&mut self, (process, track): (u32, u64), phase: Phase, name: &str, details: Value) -> bool {
        self.event(phase.from, phase.to, |this| {
            let (start, length) = (this.time(phase.from), this.length(phase.ticks()));
            json!({"ph": "X", "pid": process, "tid": track, "ts": start, "dur": length, "name": name, "args": details})
        })
    }

    fn track(&mut self, thread: u64) -> u64 {
        let next = self.tracks.len() as u64 + 1;
        *self.tracks.entry(thread).or_insert(next)
    }

    /// Takes in the next step.
    pub fn take(&mut self, follower: &Follower, step: &Step) {
        match *step {
            Step::Ran { phase, until, exits } => {
                let (name, track) = (follower.name(phase.thread), self.track(phase.thread));
                let until = if exits { "its end" } else { until.map_or("the end of the trace", Reason::name) };
                self.cpus.insert(phase.cpu);
                self.slice((CPUS, phase.cpu.into()), phase, &name, json!({"thread": phase.thread, "until": until}));
                self.slice((THREADS, track), phase, "runs", json!({"cpu": phase.cpu, "until": until}));
            }
            Step::Ready { phase, after, way } => {
                let (track, details) = (self.track(phase.thread), json!({"after": after.name(), "way": way.name()}));
                self.slice((THREADS, track), phase, "waits for a CPU", details);
            }
            Step::Waited { phase, reason, waker, lock } => {
                let track = self.track(phase.thread);
                let lock_name = lock.map(|lock| self.name(lock.lock));
                let holder = lock.and_then(|lock| lock.holder).map(|holder| follower.name(holder));
                let waker = match waker {
                    Some(Waker::Thread(thread)) => Some(follower.name(thread)),
                    Some(Waker::Timer) => Some("the timer".into()),
                    _ => None,
                };
                let details = json!({"woken by": waker, "mutex": lock_name, "held by": holder});
                self.slice((THREADS, track), phase, &format!("waits: {}", reason.name()), details);
            }
            Step::Woke { thread, waker: Waker::Thread(waker), woken, ran } if waker != thread => {
                let (from, to) = (self.track(waker), self.track(thread));
                self.arrows += 1;
                let (arrow, inside) = (self.arrows, woken.0 >= self.window.0 && ran.0 <= self.window.1);
                // Both ends or none.
                if inside && self.room >= 2 {
                    self.event(woken.0, woken.0, |this| arrow_end("s", arrow, from, this.time(woken.0)));
                    self.event(ran.0, ran.0, |this| arrow_end("f", arrow, to, this.time(ran.0)));
                }
            }
            Step::Depth { cpu, at, depth } => {
                let name = format!("wait for CPU {cpu}");
                self.event(at, at, |this| {
                    json!({"ph": "C", "pid": CPUS, "ts": this.time(at), "name": name, "args": {"threads": depth}})
                });
            }
            Step::Span { phase, label, .. } => {
                let (name, track) = (self.name(label), self.track(phase.thread));
                if self.slice((PARTS, track), phase, &name, json!({})) {
                    self.parts.insert(phase.thread);
                }
            }
            Step::Count { label, at, value } => {
                let name = self.name(label.into());
                self.event(
                    at,
                    at,
                    |this| json!({"ph": "C", "pid": CPUS, "ts": this.time(at), "name": name, "args": {"value": value}}),
                );
            }
            Step::Noted { note } => {
                let name = match note.event {
                    Event::Mark => format!("mark {}", note.argument),
                    Event::PageFault => format!("page fault at {:#x}", note.argument),
                    Event::Refused => format!("{} bytes refused", note.argument),
                    Event::Pressure => format!("memory at {} %", note.argument),
                    _ => format!("interrupt {}", note.argument),
                };
                let track = self.track(note.thread);
                self.event(note.time, note.time, |this| {
                    let time = this.time(note.time);
                    json!({"ph": "i", "s": "t", "pid": THREADS, "tid": track, "ts": time, "name": name})
                });
            }
            Step::Woke { .. } | Step::Idled { .. } | Step::Timer { .. } | Step::Ipi { .. } | Step::RanIn { .. } => {}
        }
    }

    fn name(&self, address: u64) -> String {
        self.names.get(&address).cloned().unwrap_or_else(|| format!("{address:#x}"))
    }

    /// Writes what the tracks are called, and the end. How many events were left out for want of room.
    ///
    /// # Errors
    /// What the output said at any time.
    pub fn finish(mut self, follower: &Follower) -> io::Result<u64> {
        let processes = [(CPUS, "CPUs"), (THREADS, "threads"), (PARTS, "parts of the program")];
        for (process, name) in processes {
            self.write(&about("process_name", process, 0, &json!({"name": name})));
            self.write(&about("process_sort_index", process, 0, &json!({"sort_index": process})));
        }
        for cpu in self.cpus.clone() {
            self.write(&about("thread_name", CPUS, cpu.into(), &json!({"name": format!("CPU {cpu}")})));
        }
        let mut tracks: Vec<_> = self.tracks.iter().map(|(thread, track)| (*track, *thread)).collect();
        tracks.sort_unstable();
        for (track, thread) in tracks {
            let name = json!({"name": follower.name(thread)});
            self.write(&about("thread_name", THREADS, track, &name));
            if self.parts.contains(&thread) {
                self.write(&about("thread_name", PARTS, track, &name));
            }
        }
        if let Some(error) = self.failed {
            return Err(error);
        }
        self.out.write_all(b"\n]}\n")?;
        self.out.flush()?;
        Ok(self.left_out)
    }
}

fn about(what: &str, process: u32, track: u64, details: &Value) -> Value {
    json!({"ph": "M", "name": what, "pid": process, "tid": track, "args": details})
}

fn arrow_end(phase: &str, arrow: u64, track: u64, time: f64) -> Value {
    // `bp`: an end belongs to the slice around it, not to the next one.
    json!({"ph": phase, "bp": "e", "id": arrow, "cat": "wake", "name": "wake", "pid": THREADS, "tid": track, "ts": time})
}
