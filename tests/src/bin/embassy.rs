//! Crates of the embedded world, unmodified: embassy-time, embassy-sync, critical-section, embedded-io.
//@ cpus: 1, 2, 4
//@ says: written by embedded-io
//@ run: usual
//@ machines: virt, q35, hosted
//@ run: checked
//@ checked: yes
//@ machines: hosted
//@ cpus: 4
#![no_std]
#![no_main]

use core::cell::{Cell, UnsafeCell};
use core::fmt::Write as _;
use embassy_sync::blocking_mutex::raw::CriticalSectionRawMutex;
use embassy_sync::channel::Channel;
use embassy_sync::mutex::Mutex;
use embassy_sync::signal::Signal;
use embassy_time::{Ticker, Timer, with_timeout};
use embedded_io::Write as _;
use isochron::embedded::Console;
use isochron::future::{block_on, spawn_async};
use isochron_guest_tests::prelude::*;

#[isochron::main]
fn main() -> u8 {
    run(cases![
        the_clocks_agree,
        a_timer_wakes_in_time,
        many_timers,
        timers_that_are_dropped,
        a_ticker_does_not_drift,
        messages_through_a_channel,
        a_mutex_of_tasks,
        a_signal_from_an_interrupt,
        a_critical_section_excludes,
        a_critical_section_nests,
        the_console_is_written,
    ])
}

fn the_clocks_agree() -> Outcome {
    for _ in 0..100 {
        let before = Instant::now();
        let theirs = embassy_time::Instant::now();
        thread::sleep(Duration::from_micros(300));
        let (elapsed, ours) = (theirs.elapsed().as_micros(), before.elapsed().as_micros());
        check!((299..=ours + 1).contains(&elapsed), "{elapsed} us by embassy-time, {ours} us by the kernel");
    }
    Ok(())
}

fn a_timer_wakes_in_time() -> Outcome {
    let wait = || async {
        let begin = Instant::now();
        Timer::after_millis(3).await;
        begin.elapsed()
    };
    check!(block_on(wait()) >= Duration::from_millis(3));
    check!(spawn_async(wait()).join().unwrap() >= Duration::from_millis(3));
    // In the past.
    block_on(Timer::at(embassy_time::Instant::from_ticks(0)));
    block_on(Timer::after_ticks(0));
    Ok(())
}

fn many_timers() -> Outcome {
    let tasks: Vec<_> = (0..200_u64)
        .map(|n| {
            spawn_async(async move {
                let mut early = 0;
                for round in 0..5 {
                    let begin = embassy_time::Instant::now();
                    let time = embassy_time::Duration::from_micros(100 + (n * 37 + round * 911) % 2000);
                    Timer::after(time).await;
                    early += u32::from(begin.elapsed() < time);
                }
                early
            })
        })
        .collect();
    for task in tasks {
        check_eq!(task.join(), Ok(0));
    }
    Ok(())
}

fn timers_that_are_dropped() -> Outcome {
    for _ in 0..100 {
        let late = block_on(with_timeout(embassy_time::Duration::from_micros(200), Timer::after_millis(20)));
        check!(late.is_err());
    }
    // Their wakers are called after the end of what they wake.
    thread::sleep(Duration::from_millis(30));
    block_on(Timer::after_millis(1));
    Ok(())
}

fn a_ticker_does_not_drift() -> Outcome {
    let task = spawn_async(async {
        let begin = embassy_time::Instant::now();
        let mut ticker = Ticker::every(embassy_time::Duration::from_millis(1));
        for _ in 0..20 {
            ticker.next().await;
        }
        begin.elapsed().as_micros()
    });
    let elapsed = task.join().unwrap();
    check!(elapsed >= 20_000, "20 ticks of a millisecond took {elapsed} us");
    Ok(())
}

fn messages_through_a_channel() -> Outcome {
    const MESSAGES: u64 = 1000;
    static CHANNEL: Channel<CriticalSectionRawMutex, u64, 4> = Channel::new();
    let sender = spawn_async(async {
        for n in 0..MESSAGES {
            CHANNEL.send(n).await;
        }
    });
    let receiver = spawn_async(async {
        for n in 0..MESSAGES {
            if CHANNEL.receive().await != n {
                return n;
            }
        }
        MESSAGES
    });
    check_eq!(sender.join(), Ok(()));
    check_eq!(receiver.join(), Ok(MESSAGES));
    // A thread at one end.
    let echo = spawn_async(async { CHANNEL.receive().await + 1 });
    block_on(CHANNEL.send(41));
    check_eq!(echo.join(), Ok(42));
    Ok(())
}

fn a_mutex_of_tasks() -> Outcome {
    static MUTEX: Mutex<CriticalSectionRawMutex, u64> = Mutex::new(0);
    let tasks: Vec<_> = (0..8)
        .map(|_| {
            spawn_async(async {
                for _ in 0..50 {
                    let mut value = MUTEX.lock().await;
                    let before = *value;
                    isochron::future::yield_now().await;
                    *value = before + 1;
                }
            })
        })
        .collect();
    for task in tasks {
        check_eq!(task.join(), Ok(()));
    }
    check_eq!(block_on(async { *MUTEX.lock().await }), 400);
    Ok(())
}

fn a_signal_from_an_interrupt() -> Outcome {
    static SIGNAL: Signal<CriticalSectionRawMutex, u32> = Signal::new();
    let task = spawn_async(SIGNAL.wait());
    let mut timer = isochron::time::Timer::new(|_| {
        SIGNAL.signal(7);
        isochron::time::Then::Stop
    });
    timer.set(Instant::now() + Duration::from_millis(1));
    check_eq!(task.join(), Ok(7));
    Ok(())
}

/// A count that is read and written in two steps.
struct Count(UnsafeCell<u64>);

// SAFETY: used in the critical section only.
unsafe impl Sync for Count {}

static COUNT: Count = Count(UnsafeCell::new(0));

fn a_critical_section_excludes() -> Outcome {
    const ROUNDS: u64 = 5000;
    let threads = thread::cpu_count() as u64 + 1;
    let all: Vec<_> = (0..threads)
        .map(|_| {
            spawn(|| {
                for _ in 0..ROUNDS {
                    // SAFETY: nobody else is in the section.
                    critical_section::with(|_| unsafe {
                        let value = COUNT.0.get().read_volatile();
                        core::hint::spin_loop();
                        COUNT.0.get().write_volatile(value + 1);
                    });
                }
            })
        })
        .collect();
    all.into_iter().for_each(joined);
    // SAFETY: all have ended.
    check_eq!(unsafe { *COUNT.0.get() }, threads * ROUNDS);
    Ok(())
}

fn a_critical_section_nests() -> Outcome {
    let cell = critical_section::Mutex::new(Cell::new(0));
    let masked = critical_section::with(|outer| {
        critical_section::with(|inner| cell.borrow(inner).set(1));
        cell.borrow(outer).set(cell.borrow(outer).get() + 1);
        isochron::kernel::irq::are_masked()
    });
    check!(masked, "interrupts are on after the inner section");
    check!(!isochron::kernel::irq::are_masked());
    check_eq!(critical_section::with(|section| cell.borrow(section).get()), 2);
    Ok(())
}

fn the_console_is_written() -> Outcome {
    check_eq!(Console.write_all(b"written by embedded-io\n"), Ok(()));
    check!(writeln!(Text(Console), "and {} formatted", 1).is_ok());
    let long = [b'.'; 1000];
    check!(matches!(Console.write(&long), Ok(1..1000)));
    check_eq!(Console.write_all(b"\n"), Ok(()));
    check_eq!(block_on(embedded_io_async::Write::write_all(&mut Console, b"in a task, too\n")), Ok(()));
    check_eq!(Console.flush(), Ok(()));
    Ok(())
}

struct Text(Console);

impl core::fmt::Write for Text {
    fn write_str(&mut self, text: &str) -> core::fmt::Result {
        self.0.write_all(text.as_bytes()).map_err(|_| core::fmt::Error)
    }
}
