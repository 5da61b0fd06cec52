//! Records as they come: out of the rings of all CPUs, in the order of time.
//!
//! A CPU writes in order, but what another wrote at the same moment may be seen later. So a record is handed on one look after it was
//! seen: by then, all that is older has been seen too, because it was in its ring at the look before.

use super::board::Board;
use crate::trace::area::Area;
use crate::trace::memory::SharedMemory;
use isochron_wire::trace::{Note, RECORD_BYTES};
use std::time::Instant;

/// Records that are taken out of one ring at a time.
const MOST: u64 = 1 << 16;

/// See the module's documentation.
#[derive(Debug)]
pub struct Live {
    memory: SharedMemory,
    area: Option<Area>,
    buffer: Vec<u8>,
    /// Seen at the last look, or this one; not handed on.
    held: Vec<Note>,
    dropped: Vec<u64>,
    /// The newest record, in ticks, and when it was seen.
    newest: Option<(u64, Instant)>,
}

/// The guest's clock, seen from here.
#[derive(Clone, Copy, Debug)]
pub struct Clock {
    /// Ticks in a second.
    pub hz: u64,
    /// The newest record, in ticks.
    pub newest: u64,
    /// Seconds since that was seen.
    pub age: f64,
}

impl Live {
    /// For a guest that has this memory.
    #[must_use]
    pub fn new(memory: SharedMemory) -> Self {
        Self { memory, area: None, buffer: Vec::new(), held: Vec::new(), dropped: Vec::new(), newest: None }
    }

    /// Whether the guest records.
    #[must_use]
    pub fn has_begun(&self) -> bool {
        self.newest.is_some()
    }

    /// The guest's clock; `None` if it has not recorded anything.
    #[must_use]
    pub fn clock(&self) -> Option<Clock> {
        let ((newest, seen), area) = (self.newest?, self.area.as_ref()?);
        Some(Clock { hz: area.layout().clock_hz, newest, age: seen.elapsed().as_secs_f64() })
    }

    /// Records that had no room: how many, since the beginning.
    #[must_use]
    pub fn lost(&self) -> u64 {
        self.dropped.iter().sum()
    }

    /// Takes what there is.
    pub fn look(&mut self, board: &mut Board) {
        if self.area.is_none() {
            self.area = Area::find(&self.memory);
        }
        let Some(area) = &mut self.area else { return };
        let before = self.held.iter().map(|note| note.time).max();
        self.dropped.resize(area.layout().cpus as usize, 0);
        for cpu in 0..area.layout().cpus {
            self.buffer.clear();
            let taken = area.take(cpu, MOST, &mut self.buffer);
            self.dropped[cpu as usize] = self.dropped[cpu as usize].max(taken.dropped);
            let (records, _) = self.buffer.as_chunks::<RECORD_BYTES>();
            // What makes no sense is left out: the guest may have gone wrong.
            self.held.extend(records.iter().filter_map(|record| Note::read(record, cpu)));
        }
        let newest = self.held.iter().map(|note| note.time).max();
        if let Some(newest) = newest.filter(|newest| self.newest.is_none_or(|(before, _)| *newest > before)) {
            self.newest = Some((newest, Instant::now()));
        }
        // Stable: records of one CPU stay in their order.
        self.held.sort_by_key(|note| note.time);
        let ready = before.map_or(0, |before| self.held.partition_point(|note| note.time <= before));
        for note in self.held.drain(..ready) {
            board.take(note);
        }
    }
}
