//! What is in use of heap and stacks, exactly.

use alloc::sync::Arc;
use alloc::vec::Vec;
use core::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use isochron::kernel::memory::census::{self, Census};
use isochron::thread::{self, Builder, JoinHandle};
use isochron::{CpuId, Duration};

/// Threads, one for each CPU and bound to it, that say what their CPU has in stock.
pub struct Counters {
    counters: Vec<(Arc<Counter>, JoinHandle<()>)>,
}

#[derive(Default)]
struct Counter {
    asked: AtomicBool,
    over: AtomicBool,
    heap: AtomicUsize,
    stacks: AtomicUsize,
}

impl Counters {
    /// Makes the threads.
    ///
    /// # Panics
    /// If there is no memory for them.
    #[must_use]
    pub fn new() -> Self {
        let make = |cpu| {
            let counter = Arc::new(Counter::default());
            let its = counter.clone();
            let made = Builder::new().pinned(CpuId::new(cpu)).spawn(move || its.count());
            match made {
                Ok(thread) => (counter, thread),
                Err(error) => panic!("a counter cannot be made: {error}"),
            }
        };
        Self { counters: (0..thread::cpu_count()).map(make).collect() }
    }

    /// What is in use. Exact if no other thread is at work; takes no memory itself.
    #[must_use]
    pub fn take(&self) -> Census {
        let mut in_stock = Census::default();
        // Twice: one that was woken may have been the last of its CPU to give something back.
        for _ in 0..2 {
            in_stock = Census::default();
            for (counter, thread) in &self.counters {
                // Release: partner is the acquire in `count`.
                counter.asked.store(true, Ordering::Release);
                thread.thread().unpark();
                // Acquire: partner is the release in `count`: the figures.
                while counter.asked.load(Ordering::Acquire) {
                    thread::sleep(Duration::from_micros(20));
                }
                in_stock = in_stock
                    + Census {
                        heap: counter.heap.load(Ordering::Relaxed),
                        stacks: counter.stacks.load(Ordering::Relaxed),
                    };
            }
        }
        census::in_hands(in_stock)
    }
}

impl Default for Counters {
    fn default() -> Self {
        Self::new()
    }
}

impl Counter {
    fn count(&self) {
        while !self.over.load(Ordering::Relaxed) {
            // Acquire, and release below: partners are those in `take`.
            if self.asked.load(Ordering::Acquire) {
                // Who was preempted between telling its joiner and giving its stack back has its turn first: where the host is
                // slow, a quantum may end anywhere, and whoever is woken goes before who was preempted. Once more for those
                // that came to the queue by the first.
                for _ in 0..2 {
                    thread::yield_now();
                }
                let census = census::in_stock();
                self.heap.store(census.heap, Ordering::Relaxed);
                self.stacks.store(census.stacks, Ordering::Relaxed);
                self.asked.store(false, Ordering::Release);
            }
            thread::park();
        }
    }
}

impl Drop for Counters {
    fn drop(&mut self) {
        for (counter, thread) in self.counters.drain(..) {
            counter.over.store(true, Ordering::Relaxed);
            thread.thread().unpark();
            let _ = thread.join();
        }
    }
}
