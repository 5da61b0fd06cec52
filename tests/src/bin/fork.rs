//! Fork and join: both halves done once, borrows, depth, idle CPUs that get their share; scopes and their threads.
//@ machines: virt, q35, hosted
//@ cpus: 1, 2, 4
#![no_std]
#![no_main]

use isochron::fork::{join, scope};
use isochron::sync::Mutex;
use isochron_guest_tests::prelude::*;

#[isochron::main]
fn main() -> u8 {
    run(cases![
        both_results_come_back,
        fib_with_a_fork_at_every_node,
        halves_borrow_what_is_here,
        a_sort_by_forks,
        a_list_of_forks_is_deep,
        idle_cpus_get_their_share,
        forks_of_a_bound_thread,
        halves_that_block,
        scope_waits_for_all,
        scope_gives_results,
        scope_in_scope,
        scope_of_many,
        a_refused_thread_of_a_scope,
        a_result_that_borrows_is_dropped_in_time,
        nothing_is_left,
    ])
}

fn fib(n: u32) -> u64 {
    if n < 2 {
        return n.into();
    }
    let (a, b) = join(|| fib(n - 1), || fib(n - 2));
    a + b
}

fn both_results_come_back() -> Outcome {
    check_eq!(join(|| 1, || "two"), (1, "two"));
    let big = join(|| [1u8; 1000], || [2u8; 3000]);
    check!(big.0 == [1; 1000] && big.1 == [2; 3000], "a large result is damaged");
    check_eq!(join(|| (), || Box::new(7)).1, Box::new(7));
    Ok(())
}

fn fib_with_a_fork_at_every_node() -> Outcome {
    for _ in 0..5 {
        check_eq!(fib(20), 6765);
    }
    Ok(())
}

fn halves_borrow_what_is_here() -> Outcome {
    let mut numbers = vec![1u32; 1000];
    for _ in 0..100 {
        let (left, right) = numbers.split_at_mut(500);
        join(|| left.iter_mut().for_each(|n| *n += 1), || right.iter_mut().for_each(|n| *n += 2));
    }
    check!(numbers[..500].iter().all(|&n| n == 101), "the first half is not done");
    check!(numbers[500..].iter().all(|&n| n == 201), "the second half is not done");
    Ok(())
}

fn sort(numbers: &mut [u64]) {
    if numbers.len() < 2 {
        return;
    }
    let pivot = numbers[numbers.len() / 2];
    let (mut left, mut right) = (0, numbers.len() - 1);
    loop {
        while numbers[left] < pivot {
            left += 1;
        }
        while numbers[right] > pivot {
            right -= 1;
        }
        if left >= right {
            break;
        }
        numbers.swap(left, right);
        left += 1;
        right -= 1;
    }
    let (low, high) = numbers.split_at_mut(left);
    join(|| sort(low), || sort(high));
}

fn a_sort_by_forks() -> Outcome {
    let mut random = Random::new(7);
    let mut numbers: Vec<u64> = (0..20_000).map(|_| random.number()).collect();
    let sum = numbers.iter().fold(0u64, |sum, n| sum.wrapping_add(*n));
    sort(&mut numbers);
    check!(numbers.is_sorted(), "not sorted");
    check_eq!(numbers.iter().fold(0u64, |sum, n| sum.wrapping_add(*n)), sum);
    Ok(())
}

/// Only the first half goes on: as many halves wait as the stack holds.
fn a_list_of_forks_is_deep() -> Outcome {
    fn down(depth: u32, counter: &AtomicU32) {
        if depth > 0 {
            join(|| down(depth - 1, counter), || counter.fetch_add(1, Ordering::Relaxed));
        }
    }
    let counter = AtomicU32::new(0);
    for _ in 0..20 {
        down(200, &counter);
    }
    check_eq!(counter.into_inner(), 20 * 200);
    Ok(())
}

/// Of two halves that wait for each other, one must be given away: alone on a CPU they would wait for ever.
fn idle_cpus_get_their_share() -> Outcome {
    if thread::cpu_count() < 2 {
        ignore!("needs two CPUs");
    }
    let before: u64 = given();
    let met = AtomicU32::new(0);
    let meet = || {
        met.fetch_add(1, Ordering::Relaxed);
        spin("both halves are at work", || {
            // The oldest half is given away at a join, while somebody is idle: it need not be so at the first.
            join(|| (), || ());
            met.load(Ordering::Relaxed) == 2
        })
    };
    let (here, there) = join(meet, meet);
    here?;
    there?;
    check!(given() > before, "nothing was given away");
    Ok(())
}

fn given() -> u64 {
    (0..thread::cpu_count()).filter_map(|cpu| statistics(CpuId::new(cpu))).map(|counted| counted.forks).sum()
}

fn forks_of_a_bound_thread() -> Outcome {
    let last = CpuId::new(thread::cpu_count() - 1);
    let bound = Builder::new().pinned(last).spawn(move || {
        let made = fib(15);
        (made, thread::current_cpu() == last)
    });
    let Ok(bound) = bound else { return Err(Failure::Failed(format!("{bound:?}"))) };
    check_eq!(bound.join(), Ok((610, true)));
    Ok(())
}

fn halves_that_block() -> Outcome {
    for _ in 0..50 {
        let (_, ()) = join(|| thread::sleep(Duration::from_micros(50)), yield_now);
        let (a, b) = join(|| fib(8), || spawn(|| fib(9)).join().unwrap_or(0));
        check_eq!((a, b), (21, 34));
    }
    Ok(())
}

fn scope_waits_for_all() -> Outcome {
    let mut numbers = [0u32; 64];
    scope(|scope| {
        for (index, number) in numbers.iter_mut().enumerate() {
            scope.spawn(move || {
                if index % 7 == 0 {
                    thread::sleep(Duration::from_micros(200));
                }
                *number = index as u32;
            });
        }
    });
    check!(numbers.iter().enumerate().all(|(index, &number)| index as u32 == number), "a thread was not waited for");
    Ok(())
}

fn scope_gives_results() -> Outcome {
    let text = String::from("borrowed");
    let lengths = scope(|scope| {
        let handles: Vec<_> = (0..10).map(|n| scope.spawn(|| text.len()).join().unwrap_or(0) + n).collect();
        let named = scope.spawn_by(Builder::new().name("limb"), || thread::current().name().map(str::to_string));
        (handles, named.map(|handle| handle.join()))
    });
    check_eq!(lengths.0, (8..18).collect::<Vec<_>>());
    check_eq!(lengths.1, Ok(Ok(Some("limb".to_string()))));
    Ok(())
}

fn scope_in_scope() -> Outcome {
    let total = AtomicU32::new(0);
    scope(|outer| {
        for _ in 0..4 {
            outer.spawn(|| {
                scope(|inner| {
                    for _ in 0..4 {
                        inner.spawn(|| total.fetch_add(1, Ordering::Relaxed));
                        outer.spawn(|| total.fetch_add(10, Ordering::Relaxed));
                    }
                });
                join(|| total.fetch_add(100, Ordering::Relaxed), || total.fetch_add(100, Ordering::Relaxed));
            });
        }
    });
    check_eq!(total.into_inner(), 16 + 160 + 800);
    Ok(())
}

fn scope_of_many() -> Outcome {
    let counter = Mutex::new(0);
    for _ in 0..10 {
        scope(|scope| {
            for _ in 0..100 {
                scope.spawn(|| *counter.lock() += 1);
            }
        });
    }
    check_eq!(counter.into_inner(), 1000);
    Ok(())
}

fn a_refused_thread_of_a_scope() -> Outcome {
    let refused = scope(|scope| {
        scope.spawn(|| thread::sleep(Duration::from_micros(100)));
        scope.spawn_by(Builder::new().stack_size(1), || ()).map(drop)
    });
    check_eq!(refused, Err(SpawnError::StackSize(1)));
    Ok(())
}

/// A result whose destructor looks at what its thread has borrowed, and whose handle is dropped at once.
fn a_result_that_borrows_is_dropped_in_time() -> Outcome {
    struct Last<'a>(&'a AtomicU32);
    impl Drop for Last<'_> {
        fn drop(&mut self) {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }
    for _ in 0..100 {
        let dropped = AtomicU32::new(0);
        scope(|scope| drop(scope.spawn(|| Last(&dropped))));
        check_eq!(dropped.load(Ordering::Relaxed), 1);
    }
    Ok(())
}

/// What was pending is taken off the thread's list again: its stack is not kept.
fn nothing_is_left() -> Outcome {
    let before = isochron::kernel::memory::stats().free;
    for _ in 0..2000 {
        check_eq!(spawn(|| fib(3)).join(), Ok(2));
    }
    let after = isochron::kernel::memory::stats().free;
    check!(after + (1 << 20) > before, "{before} bytes were free, {after} are");
    Ok(())
}
