//! The exception vectors' Rust side: constants of `vectors.s`, the stacks, and the last resort.
//!
//! **Interrupts** are taken from threads and worker loops only (the exception stack runs masked). What a call may change is
//! saved on the *interrupted* stack, then the handler runs on the exception stack; when it asks for preemption,
//! [`crate::trap::preempt`] is called right there, with the frame already where it has to be: the thread can be switched
//! away from, and resumed on another CPU, with nothing of it left on the exception stack. Compared with saving on the
//! exception stack and returning into a trampoline that saves all over again, this halves the work of a preemption.
//! The price: a thread needs room for [`FRAME`] bytes at any moment. The save begins with the lowest word. If there is no page
//! yet, that is a fault like any other, taken on the exception stack; it overwrites the registers that say where the
//! interrupt returns to, but these are in x0 and x1 by then, and come back with the others when the stack has grown. If the
//! word is in the guard region, it is an overflow; the interrupt is not acknowledged yet, so nothing is lost with the thread.
//!
//! **A packed thread** has no such room, but for 16 bytes. Its registers are saved on the exception stack; if it is preempted,
//! they are moved to an area ([`crate::areas`]), on which it then calls [`crate::trap::preempt`]. Which kind of stack it is, one
//! bit of its address tells.
//!
//! **Faults** from threads are saved on the exception stack. One that a stack grows by ([`crate::memory::stack`]) goes back,
//! with interrupts as they were.
//!
//! **Nested** exceptions, from the exception stack itself, are of two sorts. An interrupt's handler may touch a page that is
//! folded ([`crate::memory::folding`]): that fault is saved and goes back as one from a thread does, further down on the same
//! stack. All others, and those whose address is near the stack pointer, trust no stack pointer: the first CPU that gets there takes
//! the emergency stack and reports; if that faults again, it ends the machine without a word; after that it halts.

use super::fault;
use super::frame::TrapFrame;
use crate::arch::aarch64::{interrupts, power};
use crate::areas;
use crate::cpu::{PerCpu, this_cpu};
use core::arch::{asm, global_asm};
use core::cell::UnsafeCell;
use core::mem::offset_of;
use isochron_boot::VirtAddr;
use isochron_boot::layout::PACKED_BIT;

/// What an interrupt saves on the interrupted stack; a call may change all of it.
#[repr(C)]
struct InterruptFrame {
    x2_to_x17: [u64; 16],
    x18: u64,
    fpsr: u64,
    /// The two words that the frame-pointer chain goes through: x29 and where it was interrupted.
    frame_record: [u64; 2],
    x30: u64,
    pstate: u64,
    fpcr: u64,
    /// Of a packed thread that is preempted: its stack pointer.
    sp: u64,
    /// Of a thread that is preempted, or packed: of others they stay in the slots.
    x0_and_x1: [u64; 2],
    /// All of them in full: a callee keeps only the low halves of q8 to q15.
    q: [u128; 32],
}

/// Bytes an interrupt takes of the interrupted stack.
const FRAME: usize = size_of::<InterruptFrame>();
const _: () = assert!(FRAME.is_multiple_of(16) && size_of::<TrapFrame>().is_multiple_of(16));
// The one that may find no page is the first, the lowest.
const _: () = assert!(offset_of!(InterruptFrame, x2_to_x17) == 0);
// Pairs are stored by one instruction each.
const _: () = assert!(offset_of!(InterruptFrame, fpsr) == offset_of!(InterruptFrame, x18) + 8);
const _: () = assert!(offset_of!(InterruptFrame, pstate) == offset_of!(InterruptFrame, x30) + 8);
const _: () = assert!(offset_of!(TrapFrame, sp) == offset_of!(TrapFrame, x) + 31 * 8);
const _: () = assert!(offset_of!(TrapFrame, pstate) == offset_of!(TrapFrame, pc) + 8);

/// Bytes above the first stack pointer on an exception stack, for x0 and x1 at the beginning of an interrupt.
const SLOTS: usize = 16;

const STACK_SIZE: usize = 16 * 1024;

/// A fault on the exception stack at an address within so many bytes of its stack pointer is that stack's own.
const NEAR: usize = 128 * 1024;

#[repr(C, align(16))]
struct StaticStack(UnsafeCell<[u8; STACK_SIZE]>);

// SAFETY: nobody reads it as Rust data; who may run on it is settled by the vectors (emergency) and by `init` (early).
unsafe impl Sync for StaticStack {}

/// The primary CPU's, before there is memory for stacks with guard pages.
static EARLY: StaticStack = StaticStack(UnsafeCell::new([0; STACK_SIZE]));
static EMERGENCY: StaticStack = StaticStack(UnsafeCell::new([0; STACK_SIZE]));

global_asm!(
    include_str!("vectors.s"),
    FRAME = const FRAME,
    X18 = const offset_of!(InterruptFrame, x18),
    SP = const offset_of!(InterruptFrame, sp),
    PACKED_BIT = const PACKED_BIT,
    TO_AREA = sym to_area,
    GIVE_AREA = sym give_area,
    RECORD = const offset_of!(InterruptFrame, frame_record),
    X30 = const offset_of!(InterruptFrame, x30),
    FPCR = const offset_of!(InterruptFrame, fpcr),
    Q = const offset_of!(InterruptFrame, q),
    TRAP_FRAME = const size_of::<TrapFrame>(),
    TRAP_X30 = const offset_of!(TrapFrame, x) + 30 * 8,
    TRAP_SP = const offset_of!(TrapFrame, sp),
    TRAP_PC = const offset_of!(TrapFrame, pc),
    NEAR = const NEAR,
    NEAR_BITS = const NEAR.ilog2(),
    DATA_ABORT = const fault::DATA_ABORT,
    COMES_BACK_BIT = const fault::NO_WAY_BACK.ilog2(),
    SYNCHRONOUS = const fault::SYNCHRONOUS,
    FIQ = const fault::FIQ,
    SERROR = const fault::SERROR,
    NESTED = const fault::NESTED,
    HANDLE_INTERRUPT = sym interrupts::handle,
    PREEMPT = sym preempt,
    HANDLE_FAULT = sym fault::handle,
    GROW = sym fault::grow,
    X0 = const offset_of!(InterruptFrame, x0_and_x1),
    GIVE_UP = sym give_up,
    EMERGENCY = sym EMERGENCY,
    EMERGENCY_SIZE = const STACK_SIZE,
);

unsafe extern "C" {
    static isochron_vectors: u8;
    static isochron_step_over_vectors: u8;
    static isochron_interrupt: u8;
    static isochron_interrupt_saved: u8;
}

/// Whether the instruction at `pc` saves the registers of what was interrupted on its own stack.
pub(super) fn is_saving(pc: usize) -> bool {
    ((&raw const isochron_interrupt).addr()..(&raw const isochron_interrupt_saved).addr()).contains(&pc)
}

/// Where the stack pointer for exceptions begins on a CPU's exception stack.
pub(in super::super) fn first_stack_pointer(cpu: &PerCpu) -> usize {
    cpu.exception_stack_top.get() - SLOTS
}

/// Leaves the exception stack for `stack`, and calls `entry` there, interrupts masked.
///
/// # Safety
/// On this CPU's exception stack, in the handler of a fault that a thread caused, which ran on that stack: neither what is on
/// it nor what is on the exception stack is needed any more.
pub(super) unsafe fn abandon(stack: VirtAddr, pstate: u64, entry: extern "C" fn() -> !) -> ! {
    /// `DAIF`: the masks; those of interrupts.
    const MASKS: u64 = 0xf << 6;
    const INTERRUPTS: u64 = 0b11 << 6;
    // SAFETY: the caller's promise. The exception stack is left as it was before the exception: empty. The end of the
    // chain of frame pointers is here.
    unsafe {
        asm!(
            "mov sp, x0",
            "msr spsel, #0",
            "mov sp, x1",
            "msr fpcr, xzr",
            "msr daif, x2",
            "mov x29, xzr",
            "mov x30, xzr",
            "br x3",
            in("x0") first_stack_pointer(this_cpu()),
            in("x1") stack.as_usize(),
            in("x2") pstate & MASKS | INTERRUPTS,
            in("x3") entry,
            options(noreturn),
        )
    }
}

/// Called on the interrupted thread's stack, which holds all its registers, interrupts masked.
extern "C" fn preempt() {
    crate::trap::preempt();
}

/// The registers of a packed thread go to an area: where they are then, null if there is no memory for one. On the exception
/// stack, interrupts masked.
extern "C" fn to_area(frame: &InterruptFrame, sp: u64) -> *mut InterruptFrame {
    let top = areas::take(sp as usize);
    if top == 0 {
        return core::ptr::null_mut();
    }
    let moved = VirtAddr::new(top - FRAME).as_mut_ptr::<InterruptFrame>();
    // SAFETY: an area is a page that nobody else uses.
    unsafe {
        moved.copy_from_nonoverlapping(frame, 1);
        (*moved).sp = sp;
    }
    moved
}

/// Gives back the area that `frame` is in, and that this runs on: the thread goes on in a moment.
extern "C" fn give_area(frame: &InterruptFrame) {
    // SAFETY: `to_area` took it; the vectors leave it with interrupts masked.
    unsafe { areas::give(core::ptr::from_ref(frame).addr()) }
}

/// The report of a nested exception has faulted itself.
extern "C" fn give_up() -> ! {
    power::exit(isochron_wire::exit::PANIC)
}

/// The vectors that `VBAR_EL1` gets.
pub(in super::super) fn vectors() -> usize {
    (&raw const isochron_vectors).addr()
}

/// Vectors that step over the instruction that caused the exception, and change x0 (to -1) and x17.
pub(in super::super) fn step_over_vectors() -> usize {
    (&raw const isochron_step_over_vectors).addr()
}

/// The primary CPU's first exception stack.
pub(in super::super) fn early_exception_stack_top() -> usize {
    EARLY.0.get().addr() + STACK_SIZE
}
