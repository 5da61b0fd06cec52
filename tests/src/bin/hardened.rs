//! The hardened heap: each way of misusing a block ends the thread that did it, by a name that tells the block's size.
//@ machines: virt, q35, hosted
//@ hardened: yes
//@ cpus: 2
//@ run: freed_twice
//@ cpus: 1, 2, 4
//@ args: freed_twice 64
//@ expect: death "heap block of 64 bytes"
//@ says: is freed twice, first by the thread at 0x
//@ says: main goes on
//@ run: freed_twice_large
//@ args: freed_twice 50000
//@ expect: death "heap block of 50000 bytes"
//@ says: is freed twice, first by the thread at 0x
//@ says: main goes on
//@ run: overflow
//@ cpus: 1, 2, 4
//@ args: overflow 40
//@ expect: death "heap block of 40 bytes"
//@ says: was written beyond its end: byte 40
//@ says: main goes on
//@ run: overflow_exact
//@ args: overflow 64
//@ expect: death "was written beyond its end"
//@ says: main goes on
//@ run: overflow_large
//@ args: overflow 50001
//@ expect: death "heap block of 50001 bytes"
//@ says: was written beyond its end: byte 50001
//@ says: main goes on
//@ run: written_after_free
//@ cpus: 1, 2, 4
//@ args: written_after_free 100
//@ expect: death "heap block of 100 bytes"
//@ says: was written after the thread at 0x
//@ says: had freed it: byte 70
//@ says: main goes on
//@ run: other_size
//@ args: other_size 90
//@ expect: death "heap block of 90 bytes"
//@ says: is freed as one of 89 bytes
//@ says: main goes on
//@ run: right
//@ cpus: 1, 2, 4
//@ args: right 1
#![no_std]
#![no_main]

extern crate alloc;

use alloc::alloc::{Layout, alloc, dealloc};
use isochron::kernel::memory::heap::HARDENED;
use isochron_guest_tests::prelude::*;

#[isochron::main]
fn main() -> Result<(), String> {
    if !HARDENED {
        return Err("this kernel is not built with the hardened heap".into());
    }
    let words: Vec<&str> = isochron::args().collect();
    let (what, size) = match words[..] {
        [what, size] => (what, size.parse().map_err(|_| "say a size")?),
        _ => return Err("say what shall go wrong, and with how many bytes".into()),
    };
    let culprit = Builder::new().name("culprit").pinned(CpuId::new(thread::cpu_count() - 1)).spawn(move || {
        misuse(what, size);
    });
    match (culprit.map_err(|error| error.to_string())?.join(), what) {
        (Ok(()), "right") => right(),
        (Ok(()), _) => Err("nothing was found".into()),
        (Err(death), _) => {
            // The heap is as good as before.
            right()?;
            println!("main goes on: {death}");
            Ok(())
        }
    }
}

/// What a program may do, on all CPUs.
fn right() -> Result<(), String> {
    let threads: Vec<_> = (0..thread::cpu_count() * 2)
        .map(|seed| {
            spawn(move || {
                let mut random = Random::new(seed as u64);
                let mut held: Vec<Vec<u8>> = Vec::new();
                for _ in 0..1000 {
                    let mut bytes = vec![seed as u8; 1 + random.below(3000)];
                    bytes.extend_from_slice(&[seed as u8; 40]);
                    held.push(bytes);
                    if held.len() > 50 {
                        let place = random.below(held.len());
                        assert!(held.swap_remove(place).iter().all(|byte| *byte == seed as u8));
                    }
                }
            })
        })
        .collect();
    threads.into_iter().try_for_each(|thread| thread.join().map_err(|death| death.to_string()))
}

fn misuse(what: &str, size: usize) {
    let Ok(layout) = Layout::from_size_align(size, 8) else { panic!("no such layout") };
    // SAFETY: none, on purpose, but for where the misuse goes: into memory that is the heap's for ever.
    unsafe {
        let block = alloc(layout);
        assert!(!block.is_null());
        assert!(block.read_volatile() == 0xa5, "a new block looks old");
        match what {
            "freed_twice" => {
                dealloc(block, layout);
                dealloc(block, layout);
            }
            "overflow" => {
                block.add(size).write_volatile(0);
                dealloc(block, layout);
            }
            "written_after_free" => {
                dealloc(block, layout);
                assert!(block.add(70).read_volatile() == 0xdd, "a freed block looks alive");
                block.add(70).write_volatile(0);
                for _ in 0..100 {
                    assert!(!core::hint::black_box(alloc(layout)).is_null());
                }
            }
            "other_size" => {
                let Ok(other) = Layout::from_size_align(size - 1, 8) else { panic!("no such layout") };
                dealloc(block, other);
            }
            "right" => dealloc(block, layout),
            other => panic!("nobody knows how to do `{other}`"),
        }
    }
}
