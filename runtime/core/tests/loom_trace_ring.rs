//! Model checks of the trace ring.
#![cfg(loom)]

use isochron_core::trace_ring::{Place, TraceRing, Words};
use loom::sync::Arc;
use loom::thread;

type Ring = TraceRing<'static>;

/// One with two places, which are left behind: a run of a model is over soon.
fn ring() -> Arc<Ring> {
    Arc::new(TraceRing::new(Box::leak(Box::new([Place::new(), Place::new()]))))
}

/// A record whose words all say the same.
fn words(number: u64) -> Words {
    Words { time: number, what: number, who: number, argument: number }
}

fn read(ring: &Ring, got: &mut Vec<u64>) {
    // SAFETY: one thread at a time reads.
    unsafe {
        ring.read(|words| {
            assert!(words.what == words.time && words.who == words.time && words.argument == words.time);
            got.push(words.time);
        });
    }
}

/// Four records go through two places while they are read: each is read once, whole and in order, or counted as dropped.
#[test]
fn records_are_whole_and_in_order_or_counted() {
    loom::model(|| {
        let ring = ring();
        let writer = {
            let ring = Arc::clone(&ring);
            // SAFETY: this thread alone writes.
            thread::spawn(move || (1..=4).for_each(|number| unsafe { ring.write(words(number)) }))
        };
        let mut got = Vec::new();
        read(&ring, &mut got);
        read(&ring, &mut got);
        writer.join().unwrap();
        read(&ring, &mut got);
        assert!(got.is_sorted_by(|a, b| a < b), "{got:?}");
        assert!(got.starts_with(&[1, 2]), "the first two always have room: {got:?}");
        assert_eq!(got.len() as u64 + ring.dropped(), 4, "{got:?}");
        assert_eq!(ring.written(), got.len() as u64);
    });
}

/// Without a reader, the ring keeps the first records and counts the others.
#[test]
fn a_full_ring_keeps_what_it_has() {
    loom::model(|| {
        let ring = ring();
        // SAFETY: this thread alone writes.
        (1..=5).for_each(|number| unsafe { ring.write(words(number)) });
        let mut got = Vec::new();
        read(&ring, &mut got);
        assert_eq!((got.as_slice(), ring.dropped()), ([1, 2].as_slice(), 3));
        // SAFETY: as above.
        unsafe { ring.write(words(6)) };
        read(&ring, &mut got);
        assert_eq!(got, [1, 2, 6]);
    });
}

/// Records that are written two at once are seen whole, in order, and both or neither; where there is no room for both, none is
/// written.
#[test]
fn two_at_once_are_whole() {
    loom::model(|| {
        let places = Box::leak(Box::new(core::array::from_fn::<_, 32, _>(|_| Place::new())));
        let ring = Arc::new(Ring::new(places));
        // The reader is the other thread: the checker looks for another order only at the last access before a store, and that is the
        // writer's own load.
        let reader = {
            let ring = Arc::clone(&ring);
            thread::spawn(move || {
                let mut got = Vec::new();
                read(&ring, &mut got);
                assert!(got.is_empty() || got == [1, 2], "{got:?}");
                got
            })
        };
        // SAFETY: this thread alone writes.
        let room = [1, 3].map(|number| unsafe { ring.write_both(words(number), words(number + 1)) });
        // A stretch has two places, and nobody has looked for another yet.
        assert_eq!(room, [true, false]);
        let mut got = reader.join().unwrap();
        read(&ring, &mut got);
        assert_eq!((got.as_slice(), ring.dropped()), ([1, 2].as_slice(), 0));
    });
}

/// What the writer fills without looking up ends with the last place, wherever the reader's count has made it begin.
#[test]
fn a_stretch_ends_with_the_ring() {
    loom::model(|| {
        let room = 32;
        // Some more, so that what is written beyond the end harms nobody.
        let places = Box::leak(Box::new(core::array::from_fn::<_, 40, _>(|_| Place::new())));
        let ring = Ring::new(&places[..room]);
        // SAFETY: this thread alone writes.
        let write = |number| unsafe { ring.write(words(number)) };
        let mut got = Vec::new();
        write(0);
        read(&ring, &mut got);
        // A full ring, up to a count that no sixteenth ends with.
        (1..=room as u64).for_each(write);
        read(&ring, &mut got);
        (room as u64 + 1..=2 * room as u64).for_each(write);
        read(&ring, &mut got);
        assert!(got.iter().copied().eq(0..=2 * room as u64), "{got:?}");
    });
}
