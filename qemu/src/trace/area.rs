//! The rings in a guest's memory, read while the guest writes them, or after its end.
//!
//! Nothing in there is believed: a guest that has gone wrong may have written anything. What does not fit ends the reading of
//! that ring, and is told.
//!
//! The guest's CPUs and this program are on either side of the protocol in `isochron_core::trace_ring`, as if one more CPU of
//! the guest's read. QEMU keeps what a guest's release promises when it translates it.

use super::memory::SharedMemory;
use isochron_wire::trace::RECORD_BYTES;
use isochron_wire::trace::area::{ALIGN, DROPPED, Layout, PAGE, READ, WRITTEN};
use std::fs::File;
use std::os::fd::AsRawFd;
use std::os::unix::fs::FileExt;
use std::ptr::{self, NonNull};
use std::sync::atomic::{AtomicU64, Ordering};

/// An area that was found, mapped.
#[derive(Debug)]
pub struct Area {
    layout: Layout,
    base: NonNull<u8>,
    damaged: Vec<bool>,
}

// SAFETY: the mapping is this value's alone in this program, and is not bound to a thread.
unsafe impl Send for Area {}

/// What was taken out of a ring.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Taken {
    /// Records of this CPU that were taken before.
    pub first: u64,
    /// Records that were taken now.
    pub count: u64,
    /// Records of this CPU that had found no room up to now.
    pub dropped: u64,
    /// Records that still wait.
    pub left: u64,
    /// The most that may have waited since the last time.
    pub peak: u64,
}

impl Area {
    /// Looks for an area that a guest has laid out.
    #[must_use]
    pub fn find(memory: &SharedMemory) -> Option<Self> {
        memory.files().find_map(Self::find_in)
    }

    fn find_in(file: &File) -> Option<Self> {
        let size = file.metadata().ok()?.len();
        let mut at = 0;
        while let Some(place) = next_data(file, at).map(|data| data.next_multiple_of(ALIGN as u64)) {
            let mut head = [0; Layout::BYTES];
            if file.read_exact_at(&mut head, place).is_ok()
                && let Some(layout) = Layout::decode(&head)
                && place + layout.bytes() as u64 <= size
            {
                return Self::map(file, place, layout);
            }
            at = place + ALIGN as u64;
            if at >= size {
                break;
            }
        }
        None
    }

    fn map(file: &File, at: u64, layout: Layout) -> Option<Self> {
        let access = libc::PROT_READ | libc::PROT_WRITE;
        let (bytes, at) = (layout.bytes(), libc::off_t::try_from(at).ok()?);
        // SAFETY: a new mapping of an open file, wherever there is room.
        let got = unsafe { libc::mmap(ptr::null_mut(), bytes, access, libc::MAP_SHARED, file.as_raw_fd(), at) };
        let base = if got == libc::MAP_FAILED { None } else { NonNull::new(got.cast()) }?;
        Some(Self { layout, base, damaged: vec![false; layout.cpus as usize] })
    }

    /// What there is in it.
    #[must_use]
    pub const fn layout(&self) -> Layout {
        self.layout
    }

    /// Whether a ring's counts made no sense: then nothing more is taken out of it.
    #[must_use]
    pub fn is_damaged(&self, cpu: u32) -> bool {
        self.damaged[cpu as usize]
    }

    /// How many records wait in the ring of a CPU; 0 if it is damaged.
    ///
    /// # Panics
    /// If the area has no such CPU.
    #[must_use]
    pub fn waiting(&mut self, cpu: u32) -> u64 {
        self.counts(cpu).map_or(0, |(written, read, _)| written - read)
    }

    /// Takes at most so many records out of the ring of a CPU, oldest first: their bytes are added to `out`.
    ///
    /// # Panics
    /// If the area has no such CPU.
    pub fn take(&mut self, cpu: u32, most: u64, out: &mut Vec<u8>) -> Taken {
        let Some((written, read, dropped)) = self.counts(cpu) else { return Taken::default() };
        let (count, mut at) = ((written - read).min(most), read);
        while at < read + count {
            let place = at & (self.layout.records - 1);
            let run = (read + count - at).min(self.layout.records - place);
            let from = self.layout.ring(cpu) + PAGE + place as usize * RECORD_BYTES;
            let bytes = run as usize * RECORD_BYTES;
            out.reserve(bytes);
            // SAFETY: inside of the mapping, by the layout; `out` has room. The guest has written these places and does not touch
            // them before `read` is moved on. One that does is broken, and what is copied then are some bytes.
            unsafe {
                let end = out.as_mut_ptr().add(out.len());
                ptr::copy_nonoverlapping(self.base.as_ptr().add(from), end, bytes);
                out.set_len(out.len() + bytes);
            }
            at += run;
        }
        // Release: partner is the guest's load in `TraceRing::write_if_room`.
        self.word(cpu, READ).store(at, Ordering::Release);
        // Relaxed: a figure. Whatever was written before room was made is in it.
        let peak = self.word(cpu, WRITTEN).load(Ordering::Relaxed).saturating_sub(read);
        Taken { first: read, count, dropped, left: written - at, peak }
    }

    /// `written`, `read` and `dropped`, if they can be.
    fn counts(&mut self, cpu: u32) -> Option<(u64, u64, u64)> {
        if self.damaged[cpu as usize] {
            return None;
        }
        // Acquire: partner is the guest's store in `TraceRing::fill`.
        let written = self.word(cpu, WRITTEN).load(Ordering::Acquire);
        let read = self.word(cpu, READ).load(Ordering::Relaxed);
        let dropped = self.word(cpu, DROPPED).load(Ordering::Relaxed);
        let sound = written.checked_sub(read).is_some_and(|waiting| waiting <= self.layout.records);
        self.damaged[cpu as usize] = !sound;
        sound.then_some((written, read, dropped))
    }

    fn word(&self, cpu: u32, at: usize) -> &AtomicU64 {
        assert!(cpu < self.layout.cpus);
        // SAFETY: inside of the mapping, by the layout, aligned, and touched by both sides as an atomic only.
        unsafe { AtomicU64::from_ptr(self.base.as_ptr().add(self.layout.ring(cpu) + at).cast()) }
    }
}

impl Drop for Area {
    fn drop(&mut self) {
        // SAFETY: mapped by `map`, so many bytes, and nobody has a reference into it.
        unsafe { libc::munmap(self.base.as_ptr().cast(), self.layout.bytes()) };
    }
}

/// The first place from `at` on where something was ever written; `None`: nothing more was. What was not is not to be read:
/// that would cost memory.
fn next_data(file: &File, at: u64) -> Option<u64> {
    #[cfg(target_os = "linux")]
    {
        let from = libc::off_t::try_from(at).ok()?;
        // SAFETY: asks about an open file. Its position is nobody's.
        let found = unsafe { libc::lseek(file.as_raw_fd(), from, libc::SEEK_DATA) };
        u64::try_from(found).ok()
    }
    #[cfg(not(target_os = "linux"))]
    {
        let _ = file;
        Some(at)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LAYOUT: Layout = Layout { cpus: 2, records: 128, clock_hz: 1000 };

    /// Memory with an area in it, as a guest lays it out.
    fn memory(at: u64, layout: Layout) -> SharedMemory {
        let memory = SharedMemory::new(&[1 << 20, 8 << 20]).unwrap();
        let file = memory.files().nth(1).unwrap();
        file.write_all_at(&layout.encode(), at).unwrap();
        memory
    }

    fn set(area: &Area, cpu: u32, at: usize, value: u64) {
        area.word(cpu, at).store(value, Ordering::Relaxed);
    }

    #[test]
    fn an_area_is_found_where_it_may_be_and_nowhere_else() {
        assert_eq!(Area::find(&memory(3 << 20, LAYOUT)).unwrap().layout(), LAYOUT);
        assert!(Area::find(&memory(4096, LAYOUT)).is_none());
        assert!(Area::find(&SharedMemory::new(&[8 << 20]).unwrap()).is_none());
        // It would reach beyond the memory.
        assert!(Area::find(&memory(7 << 20, Layout { records: 1 << 20, ..LAYOUT })).is_none());
    }

    #[test]
    fn records_come_in_order_and_once() {
        let mut area = Area::find(&memory(1 << 20, LAYOUT)).unwrap();
        let base = LAYOUT.ring(1) + PAGE;
        for place in 0..128 {
            // SAFETY: inside of the mapping.
            unsafe { area.base.as_ptr().add(base + place * RECORD_BYTES).write_bytes(place as u8, RECORD_BYTES) };
        }
        set(&area, 1, WRITTEN, 100);
        set(&area, 1, DROPPED, 7);
        let mut out = Vec::new();
        assert_eq!(area.take(1, 60, &mut out), Taken { first: 0, count: 60, dropped: 7, left: 40, peak: 100 });
        assert_eq!(area.take(1, 60, &mut out), Taken { first: 60, count: 40, dropped: 7, left: 0, peak: 40 });
        // Around the end.
        set(&area, 1, WRITTEN, 140);
        assert_eq!(area.take(1, 1000, &mut out).count, 40);
        let places: Vec<u8> = out.chunks(RECORD_BYTES).map(|record| record[31]).collect();
        let want: Vec<u8> = (0..140).map(|at| at % 128).collect();
        assert_eq!(places, want);
        assert_eq!((area.waiting(0), area.waiting(1)), (0, 0));
    }

    #[test]
    fn counts_that_cannot_be_end_the_reading_of_that_ring() {
        for (written, read) in [(129, 0), (0, 1), (u64::MAX, 5)] {
            let mut area = Area::find(&memory(0, LAYOUT)).unwrap();
            set(&area, 0, WRITTEN, written);
            set(&area, 0, READ, read);
            let mut out = Vec::new();
            assert_eq!((area.take(0, 10, &mut out), area.is_damaged(0)), (Taken::default(), true));
            set(&area, 0, WRITTEN, read + 1);
            assert_eq!((area.waiting(0), area.waiting(1)), (0, 0), "it stays so");
            assert!(out.is_empty() && !area.is_damaged(1));
        }
    }
}
