//! A packed thread that overflows through its red zone ends the machine, and is named.
//@ sanitizer: no
//@ machines: virt, q35, hosted
//@ cpus: 2
//@ expect: panic "the packed thread's"
//@ says: thread `packed at 0x
//@ says: its block and its neighbour's may be damaged
//@ run: returned
//@ args: returned
//@ run: parks
//@ args: parks
//@ run: endless
//@ args: endless
#![no_std]
#![no_main]

use isochron::prelude::park;
use isochron::thread::SlotSize;
use isochron_guest_tests::prelude::*;

#[isochron::main]
fn main() -> u8 {
    run(cases![an_overflow_that_is_too_deep])
}

#[inline(never)]
fn recurse(depth: u64, most: u64) -> u64 {
    let mut frame = [depth; 4];
    core::hint::black_box(&mut frame);
    if depth >= most { frame[1] } else { recurse(depth + 1, most) + frame[3] }
}

fn an_overflow_that_is_too_deep() -> Outcome {
    let how = isochron::args().next().unwrap_or_default();
    // Neighbours below, so that what is overwritten is somebody's.
    let others: Vec<_> = (0..100).map(|_| Builder::new().spawn_packed(SlotSize::Kib1, park)).collect();
    let deep = Builder::new().name("deep").spawn_packed(SlotSize::Kib1, move || match how {
        // 1 KiB at the least, and back.
        "returned" => assert!(recurse(0, 21) > 0),
        "parks" => {
            assert!(recurse(0, 21) > 0);
            park();
        }
        _ => assert!(recurse(0, u64::MAX) > 0),
    });
    let end = deep.map_err(|error| Failure::Failed(error.to_string()))?.join();
    drop(others);
    Err(Failure::Failed(format!("it came to an end: {end:?}")))
}
