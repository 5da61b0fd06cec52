//! How the machine ends when something goes wrong: the word behind `--` says what.
//@ sanitizer: no
//@ machines: virt, q35, hosted
//@ cpus: 2
//@ timeout: 30
//@ run: panic
//@ machines: virt, raspi4b, q35, microvm, hosted
//@ args: panic
//@ expect: panic "a message with 42 in it"
//@ says: backtrace, innermost first
//@ says: isochron::worker::beginning::thread_main
//@ run: panic_on_second_cpu
//@ args: panic_on_second_cpu
//@ expect: panic "on the other CPU"
//@ says: panicked on CPU 1
//@ run: panic_of_a_thread
//@ machines: virt, raspi4b, q35, microvm, hosted
//@ args: panic_of_a_thread
//@ expect: death "a message with 42 in it"
//@ says: main goes on: the thread panicked
//@ says: thread 'unlucky' died on CPU 1
//@ says: backtrace, innermost first
//@ says: isochron::worker::beginning::thread_main
//@ run: panic_under_guard
//@ args: panic_under_guard
//@ expect: panic "while preemption is held off"
//@ run: panic_with_interrupts_masked
//@ args: panic_with_interrupts_masked
//@ expect: panic "in a masked section"
//@ run: panic_with_console_held
//@ args: panic_with_console_held
//@ expect: panic "with the console held"
//@ run: panic_storm
//@ cpus: 4
//@ repeat: 5
//@ args: panic_storm
//@ expect: panic "one of many"
//@ run: arithmetic
//@ args: arithmetic
//@ expect: panic "attempt to divide by zero"
//@ run: out_of_memory
//@ memory: 64
//@ args: out_of_memory
//@ expect: panic "memory allocation of"
//@ run: stack_overflow
//@ machines: virt, raspi4b, q35, microvm, hosted
//@ args: stack_overflow
//@ expect: death "stack overflow: the thread's 16384 bytes are used up"
//@ says: main goes on: the thread overflowed its stack
//@ run: stack_overflow_of_main
//@ args: stack_overflow_of_main
//@ expect: panic "stack overflow: the thread's 131072 bytes are used up"
//@ run: large_frame
//@ args: large_frame
//@ expect: death "stack overflow"
//@ run: null_read
//@ machines: virt, raspi4b, q35, microvm, hosted
//@ args: null_read
//@ expect: panic "illegal read at 0x18"
//@ run: null_write
//@ args: null_write
//@ expect: panic "illegal write at 0x18"
//@ run: null_call
//@ args: null_call
//@ expect: panic "illegal instruction fetch"
//@ run: write_text
//@ machines: virt, q35
//@ args: write_text
//@ expect: panic "illegal write at 0xffff"
//@ run: write_constant
//@ machines: virt, q35
//@ args: write_constant
//@ expect: panic "illegal write at 0xffff"
//@ run: execute_data
//@ machines: virt, q35
//@ args: execute_data
//@ expect: panic "illegal instruction fetch at 0xffff"
//@ run: execute_heap
//@ machines: virt, q35
//@ args: execute_heap
//@ expect: panic "illegal instruction fetch at 0xffff"
//@ run: illegal_instruction
//@ machines: virt, raspi4b, q35, microvm, hosted
//@ args: illegal_instruction
//@ expect: panic "illegal instruction ("
//@ run: sleep_under_guard
//@ args: sleep_under_guard
//@ expect: panic "a thread must not block while preemption is held off"
//@ run: join_under_guard
//@ args: join_under_guard
//@ expect: panic "a thread must not block while preemption is held off"
//@ run: park_masked
//@ args: park_masked
//@ expect: panic "a thread must not block with interrupts masked"
//@ run: lock_twice
//@ args: lock_twice
//@ expect: panic "a thread takes a mutex that it has already"
//@ run: exit_7
//@ args: exit_7
//@ machines: virt, raspi4b, q35, microvm, hosted
//@ expect: exit 7
//@ run: exit_from_a_thread
//@ args: exit_from_a_thread
//@ expect: exit 9
//@ run: exit_from_all_cpus
//@ cpus: 4
//@ repeat: 5
//@ args: exit_from_all_cpus
//@ expect: exit 5
//@ run: main_fails
//@ args: main_fails
//@ expect: exit 1
//@ run: main_returns
//@ args: main_returns
//@ expect: exit 0
//@ run: exit_with_hogs
//@ args: exit_with_hogs
//@ cpus: 4
//@ expect: exit 3
//@ run: hang
//@ args: hang
//@ timeout: 3
//@ expect: timeout
//@ run: hang_masked
//@ args: hang_masked
//@ timeout: 3
//@ expect: timeout
//@ run: flood
//@ args: flood
//@ expect: flood
#![no_std]
#![no_main]

use isochron::kernel::{console, irq};
use isochron_guest_tests::dying::recurse;
use isochron_guest_tests::prelude::*;
use isochron_guest_tests::registers;

#[isochron::main]
fn main() -> Result<(), String> {
    let Some(what) = isochron::args().next() else { return Err("say what shall go wrong".into()) };
    match what {
        "panic" => panic!("a message with {} in it", 6 * 7),
        "panic_on_second_cpu" => {
            thread::pin_to(CpuId::new(1)).map_err(|error| error.to_string())?;
            panic!("on the other CPU")
        }
        "panic_of_a_thread" => on(1, || panic!("a message with {} in it", 6 * 7)),
        "panic_with_interrupts_masked" => irq::without(|| panic!("in a masked section")),
        "panic_with_console_held" => {
            let _console = console::lock();
            panic!("with the console held")
        }
        "panic_storm" => on_all(|cpu| {
            let _guard = PreemptGuard::new();
            panic!("one of many, on CPU {cpu}")
        }),
        "panic_under_guard" => on(1, || {
            let _guard = PreemptGuard::new();
            panic!("while preemption is held off")
        }),
        "arithmetic" => drop(core::hint::black_box(1 / core::hint::black_box(0))),
        "out_of_memory" => use_all_memory(),
        "stack_overflow" => on(1, overflow),
        "stack_overflow_of_main" => overflow(),
        "large_frame" => on(0, large_frame),
        "null_read" => drop(read(0x18)),
        "null_write" => write(0x18),
        "null_call" => call(0),
        "write_text" => write(main as *const () as usize),
        "write_constant" => write((&raw const CONSTANT).addr()),
        "execute_data" => call((&raw const DATA).addr()),
        "execute_heap" => call(Box::leak(Box::new([0u64; 8])).as_ptr().addr()),
        "illegal_instruction" => registers::illegal_instruction(),
        "sleep_under_guard" => {
            let _guard = PreemptGuard::new();
            thread::sleep(Duration::from_millis(1));
        }
        "join_under_guard" => {
            let endless = spawn(thread::park);
            let _guard = PreemptGuard::new();
            endless.join().unwrap();
        }
        "park_masked" => irq::without(thread::park),
        "lock_twice" => {
            let mutex = isochron::sync::Mutex::new(());
            let _held = mutex.lock();
            drop(mutex.lock());
        }
        "exit_7" => isochron::exit(7),
        "exit_from_a_thread" => on(1, || isochron::exit(9)),
        "exit_from_all_cpus" => on_all(|_| isochron::exit(5)),
        "main_fails" => return Err("as it should".into()),
        "main_returns" => spawn(thread::park).detach(),
        "exit_with_hogs" => {
            hogs();
            isochron::exit(3)
        }
        "hang" => thread::park(),
        "hang_masked" => irq::without(|| {
            loop {
                core::hint::spin_loop();
            }
        }),
        // A line that never ends is told from a talkative program much sooner than many lines are.
        "flood" => loop {
            isochron::print!("all work and no play ");
        },
        other => return Err(format!("nobody knows how to do `{other}`")),
    }
    // Where something should have happened and did not.
    if what != "main_returns" {
        isochron::exit(77);
    }
    Ok(())
}

static CONSTANT: u64 = 1;
static DATA: AtomicU64 = AtomicU64::new(0);

/// In a thread of that name on one CPU, with a small stack.
fn on<T: Send + 'static>(cpu: usize, body: impl FnOnce() -> T + Send + 'static) {
    let builder = Builder::new().name("unlucky").stack_size(16 * 1024).pinned(CpuId::new(cpu));
    match builder.spawn(body) {
        Ok(thread) => {
            if let Err(death) = thread.join() {
                println!("main goes on: {death}");
                isochron::exit(0)
            }
        }
        Err(error) => println!("{error}"),
    }
}

/// On all CPUs as nearly at once as can be.
fn on_all(body: impl FnOnce(usize) + Send + Copy + 'static) {
    let ready = Arc::new(AtomicUsize::new(0));
    let count = thread::cpu_count();
    let threads: Vec<_> = (0..count)
        .filter_map(|cpu| {
            let ready = ready.clone();
            let thread = Builder::new().pinned(CpuId::new(cpu)).spawn(move || {
                ready.fetch_add(1, Ordering::Relaxed);
                while ready.load(Ordering::Relaxed) < count {
                    core::hint::spin_loop();
                }
                body(cpu);
            });
            thread.ok()
        })
        .collect();
    threads.into_iter().for_each(joined);
}

fn overflow() {
    recurse(0);
}

/// One frame that is larger than the whole stack.
#[inline(never)]
fn large_frame() {
    let mut frame = [1u8; 48 * 1024];
    core::hint::black_box(&mut frame);
}

fn read(addr: usize) -> u64 {
    // SAFETY: none, on purpose: the access must be caught.
    unsafe { core::ptr::with_exposed_provenance::<u64>(core::hint::black_box(addr)).read_volatile() }
}

fn write(addr: usize) {
    // SAFETY: none, on purpose: the access must be caught.
    unsafe { core::ptr::with_exposed_provenance_mut::<u64>(core::hint::black_box(addr)).write_volatile(1) }
}

fn call(addr: usize) {
    // SAFETY: none, on purpose: the call must be caught.
    unsafe { core::mem::transmute::<usize, extern "C" fn()>(core::hint::black_box(addr))() }
}

fn use_all_memory() {
    let mut all = Vec::new();
    loop {
        all.push(vec![1u8; 1 << 20]);
    }
}

fn hogs() {
    for _ in 0..thread::cpu_count() * 2 {
        spawn(|| {
            loop {
                core::hint::spin_loop();
            }
        })
        .detach();
    }
    thread::sleep(Duration::from_millis(5));
}
