//! Model checks of the trace ring.
#![cfg(loom)]

use isochron_core::trace_ring::{Place, TraceRing, Words};
use loom::sync::Arc;
use loom::thread;

type Ring = TraceRing<[Place; 2]>;

fn ring() -> Arc<Ring> {
    Arc::new(TraceRing::new([Place::new(), Place::new()]))
}

/// A record whose words all say the same.
fn words(number: u64) -> Words {
    Words { time: number, what: number, who: number, argument: number }
}

fn read(ring: &Ring, got: &mut Vec<u64>) {
    // SAFETY: the main thread alone reads.
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
