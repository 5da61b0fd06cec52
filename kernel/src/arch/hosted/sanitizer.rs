//! AddressSanitizer and green threads: what its runtime library asks of the program, and what it is spared.
//!
//! The library thinks that a thread of the host's has one stack, and that code of the C library runs to its end there. So:
//!
//! * Copying is checked here, and done by our own functions. The library would call the C library's, which use AVX
//!   registers, and preemption in the middle of that would lose them.
//! * Whoever does not return (`__asan_handle_no_return`) is of no interest to it: it would look for the end of a stack that
//!   it does not know. [`stack_begins`](crate::memory::sanitizer::stack_begins) does that part, when somebody begins on a stack.
//! * A report is not interrupted: it would go on, if at all, on another CPU.
//!
//! The linker's option `--wrap` leads the calls here, whose names are therefore given.

use super::irq;
use core::ffi::{c_char, c_int, c_void};

unsafe extern "C" {
    fn __asan_region_is_poisoned(at: *const c_void, bytes: usize) -> *const c_void;
    fn __real___asan_memmove(to: *mut c_void, from: *const c_void, bytes: usize) -> *mut c_void;
    fn __real___asan_memset(to: *mut c_void, byte: c_int, bytes: usize) -> *mut c_void;
    // Ours, in assembly (`boot/src/x86_64/mem_functions.rs`).
    fn memmove(to: *mut c_void, from: *const c_void, bytes: usize) -> *mut c_void;
    fn memset(to: *mut c_void, byte: c_int, bytes: usize) -> *mut c_void;
}

/// The library's options, unless the environment's `ASAN_OPTIONS` say otherwise: faults and their stack are the port's. What a
/// program has not freed at its end is no leak here, and what a variable's frame leaves behind is not kept.
#[unsafe(no_mangle)]
extern "C" fn __asan_default_options() -> *const c_char {
    concat!(
        "detect_leaks=0:detect_stack_use_after_return=0:use_sigaltstack=0:handle_segv=0:handle_sigbus=0:handle_sigill=0:",
        "handle_sigfpe=0:handle_abort=0:print_legend=0:exitcode=101\0"
    )
    .as_ptr()
    .cast()
}

/// Called before a report.
#[unsafe(no_mangle)]
extern "C" fn __asan_on_error() {
    // For good: the process ends with it.
    let _ = irq::mask();
}

/// `memcpy` and `memmove` of instrumented code.
///
/// # Safety
/// As C's `memmove`, as far as the caller can be trusted.
#[unsafe(no_mangle)]
#[sanitize(address = "off")]
unsafe extern "C" fn __wrap___asan_memmove(to: *mut c_void, from: *const c_void, bytes: usize) -> *mut c_void {
    // SAFETY: asks the shadow; then as the caller says.
    unsafe {
        let is_clean =
            __asan_region_is_poisoned(from, bytes).is_null() && __asan_region_is_poisoned(to, bytes).is_null();
        if is_clean { memmove(to, from, bytes) } else { __real___asan_memmove(to, from, bytes) }
    }
}

/// The same; ours may overlap.
///
/// # Safety
/// As C's `memcpy`, as far as the caller can be trusted.
#[unsafe(no_mangle)]
#[sanitize(address = "off")]
unsafe extern "C" fn __wrap___asan_memcpy(to: *mut c_void, from: *const c_void, bytes: usize) -> *mut c_void {
    // SAFETY: the caller's.
    unsafe { __wrap___asan_memmove(to, from, bytes) }
}

/// `memset` of instrumented code.
///
/// # Safety
/// As C's `memset`, as far as the caller can be trusted.
#[unsafe(no_mangle)]
#[sanitize(address = "off")]
unsafe extern "C" fn __wrap___asan_memset(to: *mut c_void, byte: c_int, bytes: usize) -> *mut c_void {
    // SAFETY: asks the shadow; then as the caller says.
    unsafe {
        let is_clean = __asan_region_is_poisoned(to, bytes).is_null();
        if is_clean { memset(to, byte, bytes) } else { __real___asan_memset(to, byte, bytes) }
    }
}

/// See the module's documentation.
#[unsafe(no_mangle)]
#[sanitize(address = "off")]
extern "C" fn __wrap___asan_handle_no_return() {}
