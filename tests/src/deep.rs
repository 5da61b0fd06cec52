//! Threads that go deep into their stacks.

use isochron::thread::stack_range;

/// Goes down the stack until `bytes` below `top` are in use; a sum over what is in the frames, which tells whether they kept it.
#[inline(never)]
fn descend(top: usize, bytes: usize, number: u64) -> u64 {
    let mut block = [number; 32];
    let here = core::hint::black_box(&mut block).as_ptr().addr();
    let below = if top - here < bytes { descend(top, bytes, number + 1) } else { 0 };
    below + u64::from(core::hint::black_box(&block).iter().all(|word| *word == number))
}

/// The running thread's stack, `bytes` deep; whether all frames kept what was in them.
#[must_use]
pub fn use_stack(bytes: usize) -> bool {
    let top = stack_range().end;
    let (first, again) = (descend(top, bytes, 1), descend(top, bytes, 1));
    first == again && first as usize >= bytes / 1024
}

/// Calls `f` with `bytes` below `top` in use; whether all the frames kept what was in them.
#[must_use]
#[inline(never)]
pub fn go_down_and(top: usize, bytes: usize, number: u64, f: &dyn Fn()) -> bool {
    let mut block = [number; 32];
    let here = core::hint::black_box(&mut block).as_ptr().addr();
    let below = if top - here < bytes {
        go_down_and(top, bytes, number + 1, f)
    } else {
        f();
        true
    };
    below && core::hint::black_box(&block).iter().all(|word| *word == number)
}
