//! Spin locks out of order: in builds with debug assertions, the first one is a panic that names both
//@ machines: virt, q35, hosted
//@ cpus: 1
//@ checked: yes
//@ run: upwards
//@ args: upwards
//@ run: downwards
//@ args: downwards
//@ expect: panic "the lock `outer` (rank 1) is taken while `inner` (rank 2) is held: the wrong order"
//@ run: beside
//@ args: beside
//@ expect: panic "the lock `outer` (rank 1) is taken while `outer` (rank 1) is held: the wrong order"
//@ run: again
//@ args: again
//@ expect: panic "the lock `outer` is taken by the CPU that holds it already"
//@ run: printing
//@ args: printing
//@ run: allocating
//@ args: allocating
//@ expect: panic "is taken while `console` (rank 130) is held: the wrong order"
#![no_std]
#![no_main]

use isochron::kernel::console;
use isochron::kernel::irq::IrqLock;
use isochron::kernel::lock_rank::LockRank;
use isochron_guest_tests::prelude::*;

const OUTER: LockRank = LockRank::new(1, "outer");
const INNER: LockRank = LockRank::new(2, "inner");

static OUTER_ONE: IrqLock<u32> = IrqLock::new(OUTER, 1);
static OUTER_TWO: IrqLock<u32> = IrqLock::new(OUTER, 2);
static INNER_ONE: IrqLock<u32> = IrqLock::new(INNER, 3);

#[isochron::main]
fn main() -> u8 {
    let sum = match isochron::args().next() {
        Some("upwards") => {
            let outer = OUTER_ONE.lock();
            let sum = *outer + *INNER_ONE.lock();
            // Opened in the order they were taken in, and free for others.
            let inner = INNER_ONE.lock();
            drop(outer);
            drop(inner);
            sum + *OUTER_ONE.lock()
        }
        Some("downwards") => *INNER_ONE.lock() + *OUTER_ONE.lock(),
        Some("beside") => *OUTER_ONE.lock() + *OUTER_TWO.lock(),
        Some("again") => *OUTER_ONE.lock() + *OUTER_ONE.lock(),
        Some("printing") => {
            let inner = INNER_ONE.lock();
            println!("with {} held", *inner);
            *inner
        }
        // A lock of the kernel's own: what is so large comes from the heap that CPUs share.
        Some("allocating") => {
            let _console = console::lock();
            core::hint::black_box(Vec::<u64>::with_capacity(100_000)).capacity() as u32
        }
        _ => return 1,
    };
    println!("sum {sum}");
    0
}
