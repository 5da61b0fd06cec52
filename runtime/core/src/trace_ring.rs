//! What happened on one CPU, for whoever reads it on another: a ring with one writer and one reader.
//!
//! # Protocol
//! Two counts, each written by one side only: `written` by the CPU that the ring belongs to, `read` by the reader. Between
//! them lie the records that wait, at most as many as there are places. The writer fills a place and then moves `written`
//! on; the reader copies a place and then moves `read` on. Both counts are 64 bits wide and never wrap.
//!
//! The writer looks at the reader's count only when it has written as much as it knew there was room for, and believes in room
//! for a [`STEPS`]th of the ring at most: the line that the reader writes stays away from the writer's CPU between two looks. As
//! long as the reader never leaves less than that free, it leaves no trace of itself in what the writer does: that looks once for each such
//! part, whenever the other reads, and a run that is counted in instructions is the same with any reader.
//!
//! Where the counts lie is fixed ([`OFFSETS`]): the reader may be another program that has the ring's memory mapped.
//!
//! **A full ring drops the newest record** and counts it. What was written stays whole and in order, so the reader never
//! sees half a record, and the writer never waits.
//!
//! # Rejected
//! * *Overwriting the oldest*: the reader must then find out which places were overwritten while it copied them: a fence or
//!   a second count for each record, and places that are atomics. A reader that keeps up loses nothing either way.
//! * *A lock*: the writer is an interrupt handler half of the time.
//! * *One ring for all CPUs*: a read-modify-write on a shared line for each record.

use crate::sync::{Aligned, AtomicU64, Ordering, UnsafeCell};

/// One record: four words, so that two of them fill a line of 64 bytes. What they mean is the writer's business.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
#[repr(C)]
pub struct Words {
    /// When, in ticks.
    pub time: u64,
    /// What, where, why.
    pub what: u64,
    /// Who.
    pub who: u64,
    /// With what.
    pub argument: u64,
}

/// How often the writer looks at the reader's count while the ring is written once, if the reader keeps up; a ring has at least a
/// place for each look.
pub const STEPS: usize = 16;

/// Where in a ring `written`, `dropped` and `read` lie, in bytes.
pub const OFFSETS: [usize; 3] = [0, size_of::<AtomicU64>(), size_of::<Aligned<Writer>>()];

/// A place for one record.
#[derive(Debug)]
#[repr(transparent)]
pub struct Place(UnsafeCell<Words>);

impl Place {
    /// An empty one.
    #[must_use]
    pub fn new() -> Self {
        Self(UnsafeCell::new(Words::default()))
    }
}

impl Default for Place {
    fn default() -> Self {
        Self::new()
    }
}

/// The writer's own: nobody else writes here.
#[derive(Debug)]
#[repr(C)]
struct Writer {
    /// Records ever written.
    written: AtomicU64,
    /// Records that found no room.
    dropped: AtomicU64,
    stretch: UnsafeCell<Stretch>,
}

/// The places that the writer may fill without looking up.
#[derive(Clone, Copy, Debug)]
struct Stretch {
    /// Up to which count of records written there was room, by what the writer saw of the reader's count last. The ring does not
    /// begin anew before that.
    room_until: u64,
    /// Where the place of record 0 would be if the places that are being written now went on downwards to it: a record's place
    /// takes one addition from here.
    origin: *const Place,
}

/// The ring of one CPU, over places that somebody else keeps. See the module's documentation.
///
/// ```
/// use isochron_core::trace_ring::{Place, TraceRing, Words};
///
/// let places = [Place::new(), Place::new()];
/// let ring = TraceRing::new(&places);
/// for time in 1..=3 {
///     // SAFETY: this thread alone writes.
///     unsafe { ring.write(Words { time, ..Words::default() }) };
/// }
/// let mut times = Vec::new();
/// // SAFETY: this thread alone reads.
/// unsafe { ring.read(|words| times.push(words.time)) };
/// assert_eq!(times, [1, 2]);
/// assert_eq!(ring.dropped(), 1);
/// ```
#[derive(Debug)]
#[repr(C)]
pub struct TraceRing<'a> {
    writer: Aligned<Writer>,
    /// Records ever read; the reader's own.
    read: Aligned<AtomicU64>,
    places: &'a [Place],
}

// SAFETY: places and `stretch` are cells. A place is written by the one writer while it lies outside of `read..written`,
// and read by the one reader while it lies inside; `stretch` is the writer's alone. `write` and `read` ask their callers to
// be the only one.
unsafe impl Sync for TraceRing<'_> {}
// SAFETY: nothing in it belongs to a thread; what `stretch` points to is what `places` borrows.
unsafe impl Send for TraceRing<'_> {}

// SAFETY: a place by itself gives no access to its words.
unsafe impl Sync for Place {}
// SAFETY: words are numbers.
unsafe impl Send for Place {}

/// Records that are written between two looks at the reader's count.
#[inline(always)]
const fn step(room: usize) -> u64 {
    if room < STEPS { 1 } else { (room / STEPS) as u64 }
}

impl<'a> TraceRing<'a> {
    /// An empty ring.
    ///
    /// # Panics
    /// If the number of places is not a power of two, or 1.
    #[must_use]
    pub fn new(places: &'a [Place]) -> Self {
        let room = places.len();
        assert!(room.is_power_of_two() && room > 1, "a ring has 2, 4, 8... places");
        Self {
            writer: Aligned(Writer {
                written: AtomicU64::new(0),
                dropped: AtomicU64::new(0),
                stretch: UnsafeCell::new(Stretch { room_until: step(room), origin: places.as_ptr() }),
            }),
            read: Aligned(AtomicU64::new(0)),
            places,
        }
    }

    /// Writes a record, or counts it as dropped if there is no room.
    ///
    /// # Safety
    /// No other call of this is under way for this ring: it is the ring's CPU that calls, with interrupts masked.
    #[inline(always)]
    pub unsafe fn write(&self, words: Words) {
        let written = self.writer.written.load(Ordering::Relaxed);
        // SAFETY: `stretch` is the writer's, which is this call alone.
        let (room_until, origin) = self.writer.stretch.with(|it| unsafe { ((*it).room_until, (*it).origin) });
        if written >= room_until {
            // Word by word and last of all, so that it is a jump, and the fast path saves and moves no register for it.
            let Words { time, what, who, argument } = words;
            // SAFETY: the caller's promise.
            return unsafe { Self::write_if_room(what, who, argument, time, self) };
        }
        // SAFETY: the caller's promise; there is room, and the origin is that of this stretch.
        unsafe { self.fill(written, origin, words) };
    }

    /// Writes two records at once, if the writer knows of room for both; else nothing, and they are to be written one by one.
    ///
    /// # Safety
    /// As for [`write`](Self::write).
    #[inline(always)]
    pub unsafe fn write_both(&self, first: Words, second: Words) -> bool {
        let written = self.writer.written.load(Ordering::Relaxed);
        // SAFETY: as in `write`.
        let (room_until, origin) = self.writer.stretch.with(|it| unsafe { ((*it).room_until, (*it).origin) });
        let has_room = written + 1 < room_until;
        if has_room {
            // SAFETY: the caller's promise; there is room for this one too, and it is of the same stretch.
            unsafe { Self::put(origin, written + 1, second) };
            // SAFETY: the same; and the counter goes past both.
            unsafe { Self::put(origin, written, first) };
            // Release: partner is the load in `read`: both records are whole when they are seen.
            self.writer.written.store(written + 2, Ordering::Release);
        }
        has_room
    }

    /// Puts a record into its place, where nobody looks at it yet.
    ///
    /// # Safety
    /// The caller is the only writer, the place is outside of `read..written`, and `origin` is that of the stretch that it is in.
    #[inline(always)]
    unsafe fn put(origin: *const Place, number: u64, words: Words) {
        let place = origin.wrapping_add(number as usize);
        // SAFETY: it is the place of the record with that number (see `Stretch::origin`), in `places`. It is outside of
        // `read..written`, so the reader has done with it (see `write_if_room`) and does not look at it before `written` is moved on.
        unsafe { (*place).0.with_mut(|at| *at = words) };
    }

    /// Writes the next record.
    ///
    /// # Safety
    /// The caller is the only writer, at least one place is outside of `read..written`, and `origin` is that of the stretch that
    /// `written` is in.
    #[inline(always)]
    unsafe fn fill(&self, written: u64, origin: *const Place, words: Words) {
        // SAFETY: the caller's promise.
        unsafe { Self::put(origin, written, words) };
        // Release: partner is the load in `read`: the record is whole when it is seen.
        self.writer.written.store(written + 1, Ordering::Release);
    }

    /// The stretch is full: looks for another. If there is none, the record counts as dropped.
    ///
    /// # Safety
    /// The caller is the only writer.
    #[cold]
    #[inline(never)]
    unsafe fn write_if_room(what: u64, who: u64, argument: u64, time: u64, ring: &Self) {
        let written = ring.writer.written.load(Ordering::Relaxed);
        let room = ring.places.len();
        let at = written as usize & (room - 1);
        // Acquire: partner is the store in `read`: what was copied is copied before it is overwritten.
        let room_until = ring.read.load(Ordering::Acquire) + room as u64;
        let room_until = room_until.min(written + step(room)).min(written + (room - at) as u64);
        let origin = ring.places.as_ptr().wrapping_add(at).wrapping_sub(written as usize);
        // SAFETY: as in `write`.
        ring.writer.stretch.with_mut(|it| unsafe { *it = Stretch { room_until, origin } });
        if written < room_until {
            // SAFETY: the caller's promise; there is room, and this is its stretch.
            unsafe { ring.fill(written, origin, Words { time, what, who, argument }) };
        } else {
            let dropped = &ring.writer.dropped;
            dropped.store(dropped.load(Ordering::Relaxed) + 1, Ordering::Relaxed);
        }
    }

    /// Hands every record that waits to `take`, oldest first, and makes room for as many. How many there were.
    ///
    /// What is written meanwhile waits for the next call.
    ///
    /// # Safety
    /// No other call of this is under way for this ring.
    pub unsafe fn read(&self, mut take: impl FnMut(Words)) -> u64 {
        let places = self.places;
        let read = self.read.load(Ordering::Relaxed);
        // Acquire: partner is the store in `fill`.
        let written = self.writer.written.load(Ordering::Acquire);
        for at in read..written {
            let place = &places[at as usize & (places.len() - 1)];
            // SAFETY: inside of `read..written`, so the writer leaves it alone until the store below.
            take(place.0.with(|at| unsafe { *at }));
        }
        // Release: partner is the load in `write_if_room`.
        self.read.store(written, Ordering::Release);
        written - read
    }

    /// How many records found no room since the ring was made. Exact once the writer has stopped.
    #[must_use]
    pub fn dropped(&self) -> u64 {
        self.writer.dropped.load(Ordering::Relaxed)
    }

    /// How many records were ever written, without those that were dropped. Exact once the writer has stopped.
    #[must_use]
    pub fn written(&self) -> u64 {
        self.writer.written.load(Ordering::Relaxed)
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::{OFFSETS, TraceRing, Writer};
    use crate::sync::assert_apart;
    use core::mem::offset_of;

    #[test]
    fn the_counts_lie_where_a_reader_from_afar_expects_them() {
        type Ring = TraceRing<'static>;
        let writer = offset_of!(Ring, writer);
        let inside = [offset_of!(Writer, written), offset_of!(Writer, dropped)];
        assert_eq!(OFFSETS, [writer + inside[0], writer + inside[1], offset_of!(Ring, read)]);
    }

    #[test]
    fn hot_words_have_lines_of_their_own() {
        let offsets = [offset_of!(TraceRing<'_>, writer), offset_of!(TraceRing<'_>, read)];
        assert_apart(align_of::<TraceRing<'_>>(), &offsets);
    }
}
