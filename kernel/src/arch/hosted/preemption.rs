//! From a signal's return to the one preemption boundary.
//!
//! The signal returns to `isochron_hosted_preempt` with every register as it was, but for the instruction and stack
//! pointers: 144 bytes below the thread's stack pointer (128 of red zone) lie its flags and the address it was at. It saves
//! what a call may clobber, all of it on the thread's own stack (`fxsave64`: x87, SSE, MXCSR), calls the runtime, and goes
//! on with the thread, perhaps much later and on another CPU.
//!
//! A packed thread has no room for that: it does the same in an area ([`crate::areas`]), and comes back by `iretq`, which takes
//! instruction pointer, flags and stack pointer at once. Interrupts must be taken again before it, while the thread is still in
//! the area that it has given back. So a signal that comes in those few instructions does the rest of them itself
//! ([`finish_leaving`]).

use super::cpu::{ENABLED, PENDING};
use super::signals;
use crate::memory::sanitizer;
use crate::{areas, trap};
use core::arch::{asm, naked_asm};
use isochron_boot::VirtAddr;
use isochron_boot::layout::is_packed;

/// Bytes below the stack pointer that code may use without moving it (System V ABI, x86-64, 3.2.2).
const RED_ZONE: u64 = 128;
/// Trap and direction flag.
const TRAP_AND_DIRECTION: u64 = 1 << 8 | 1 << 10;

/// MXCSR as a thread begins with it: all exceptions masked, round to nearest.
static MXCSR: u32 = 0x1f80;

/// Preemption at a place where the thread calls us: only how it rounds is not saved by the call.
pub(super) fn preempt_here() {
    let mut mxcsr = 0_u32;
    let mut control = 0_u16;
    // SAFETY: stores two control words to places of ours, and sets both to what every thread begins with.
    unsafe {
        asm!(
            "stmxcsr [{}]", "fnstcw [{}]", "ldmxcsr [{}]", "fninit",
            in(reg) &raw mut mxcsr, in(reg) &raw mut control, in(reg) &raw const MXCSR, options(nostack),
        );
    }
    trap::preempt();
    // SAFETY: loads what was stored above.
    unsafe {
        asm!(
            "ldmxcsr [{}]", "fldcw [{}]",
            in(reg) &raw const mxcsr, in(reg) &raw const control, options(nostack),
        );
    }
}

/// Makes the interrupted thread call the runtime instead of going on. Interrupts stay masked. False: there is no memory for it,
/// and the thread goes on.
///
/// # Safety
/// The context is that of a green thread of this CPU, interrupted with interrupts unmasked in our own code.
pub(super) unsafe fn redirect(context: &mut libc::ucontext_t) -> bool {
    // Under a sanitizer its slot is larger, and has room.
    if is_packed(context.uc_mcontext.gregs[libc::REG_RSP as usize] as usize) && !sanitizer::IS_ON {
        return redirect_to_area(context);
    }
    let registers = &mut context.uc_mcontext.gregs;
    let stack = registers[libc::REG_RSP as usize] as u64 - RED_ZONE;
    let (flags, pc) = (registers[libc::REG_EFL as usize] as u64, registers[libc::REG_RIP as usize] as u64);
    let words = core::ptr::with_exposed_provenance_mut::<u64>(stack as usize);
    // SAFETY: below the red zone nothing of the thread's is in use. If its stack ends here, this is a fault on the guard
    // region, which is reported as the overflow that it is.
    unsafe {
        words.sub(1).write(pc);
        words.sub(2).write(flags);
    }
    registers[libc::REG_RSP as usize] = (stack - 16) as i64;
    registers[libc::REG_EFL as usize] = (flags & !TRAP_AND_DIRECTION) as i64;
    registers[libc::REG_RIP as usize] = isochron_hosted_preempt as *const () as i64;
    true
}

/// What `iretq` takes.
#[repr(C)]
struct Words {
    pc: i64,
    code: i64,
    flags: i64,
    stack: i64,
    data: i64,
}

/// The same for a packed thread.
fn redirect_to_area(context: &mut libc::ucontext_t) -> bool {
    let registers = &mut context.uc_mcontext.gregs;
    let (stack, flags) = (registers[libc::REG_RSP as usize], registers[libc::REG_EFL as usize]);
    let area = areas::take(stack as usize);
    if area == 0 {
        return false;
    }
    let (code, data): (u64, u64);
    // SAFETY: reads two selectors, which are the same for every process.
    unsafe { asm!("mov {}, cs", "mov {}, ss", out(reg) code, out(reg) data, options(nomem, nostack, preserves_flags)) };
    let words = VirtAddr::new(area - 48).as_mut_ptr::<Words>();
    let pc = registers[libc::REG_RIP as usize];
    // SAFETY: an area is a page that nobody else uses.
    unsafe { words.write(Words { pc, code: code as i64, flags, stack, data: data as i64 }) };
    registers[libc::REG_RSP as usize] = words.addr() as i64;
    registers[libc::REG_EFL as usize] = flags & !(TRAP_AND_DIRECTION as i64);
    registers[libc::REG_RIP as usize] = isochron_hosted_preempt_in_area as *const () as i64;
    true
}

/// If a signal has come between the unmasking in `isochron_hosted_preempt_in_area` and the end of that: does what is left.
pub(super) fn finish_leaving(context: &mut libc::ucontext_t) {
    let registers = &mut context.uc_mcontext.gregs;
    let pc = registers[libc::REG_RIP as usize] as usize;
    if !sanitizer::IS_ON
        && (isochron_hosted_leaving as *const () as usize..isochron_hosted_left as *const () as usize).contains(&pc)
    {
        let words = VirtAddr::new(registers[libc::REG_RSP as usize] as usize).as_mut_ptr::<Words>();
        // SAFETY: in that range the stack pointer is at the words, in the area that was given back, which nobody takes before
        // this handler does.
        let words = unsafe { words.read() };
        registers[libc::REG_RIP as usize] = words.pc;
        registers[libc::REG_EFL as usize] = words.flags;
        registers[libc::REG_RSP as usize] = words.stack;
    }
}

/// Makes the interrupted thread, which has died, go on at its end, on a stack that is empty again. Interrupts stay masked.
pub(super) fn abandon(context: &mut libc::ucontext_t, stack: VirtAddr) {
    let registers = &mut context.uc_mcontext.gregs;
    registers[libc::REG_RSP as usize] = stack.as_usize() as i64;
    registers[libc::REG_RBP as usize] = 0;
    registers[libc::REG_EFL as usize] &= !(TRAP_AND_DIRECTION as i64);
    registers[libc::REG_RIP as usize] = isochron_hosted_end as *const () as i64;
}

#[unsafe(naked)]
unsafe extern "C" fn isochron_hosted_end() {
    naked_asm!("fninit", "ldmxcsr [rip + {mxcsr}]", "call {end}", "ud2", mxcsr = sym MXCSR, end = sym trap::end_thread)
}

/// Whether the instruction at `pc` saves the registers of a thread that is being preempted on its own stack.
pub(super) fn is_saving(pc: usize) -> bool {
    (isochron_hosted_preempt as *const () as usize..isochron_hosted_preempt_saved as *const () as usize).contains(&pc)
}

unsafe extern "C" {
    fn isochron_hosted_preempt_saved();
    fn isochron_hosted_leaving();
    fn isochron_hosted_left();
}

/// The area that `sp` is in is left in a moment.
extern "C" fn give_area(sp: usize) {
    // SAFETY: `redirect_to_area` took it; interrupts stay masked until it is left, but see `finish_leaving`.
    unsafe { areas::give(sp) }
}

/// Something became pending just before interrupts were taken again: the thread stays in its area for that.
extern "C" fn once_more() {
    areas::take_again();
    signals::deliver_all();
    if trap::should_preempt() {
        trap::preempt();
    }
}

/// Saves all that a call may clobber, and gives it what every thread begins with.
macro_rules! save {
    () => {
        "push rbp
        mov rbp, rsp
        push rax
        push rcx
        push rdx
        push rsi
        push rdi
        push r8
        push r9
        push r10
        push r11
        sub rsp, 512
        and rsp, -16
        fxsave64 [rsp]
        fninit
        ldmxcsr [rip + {mxcsr}]
        cld"
    };
}

/// Loads all but the flags again.
macro_rules! restore {
    () => {
        "fxrstor64 [rsp]
        lea rsp, [rbp - 72]
        pop r11
        pop r10
        pop r9
        pop r8
        pop rdi
        pop rsi
        pop rdx
        pop rcx
        pop rax
        pop rbp"
    };
}

#[unsafe(naked)]
unsafe extern "C" fn isochron_hosted_preempt_in_area() {
    naked_asm!(
        save!(),
        "call {preempt}",
        "3:",
        "mov rdi, rsp",
        "call {give_area}",
        restore!(),
        "mov dword ptr gs:[{enabled}], 1",
        ".globl isochron_hosted_leaving",
        "isochron_hosted_leaving:",
        "cmp dword ptr gs:[{pending}], 0",
        "jne 4f",
        "iretq",
        "4:",
        "mov dword ptr gs:[{enabled}], 0",
        ".globl isochron_hosted_left",
        "isochron_hosted_left:",
        save!(),
        "call {once_more}",
        "jmp 3b",
        preempt = sym preempt,
        give_area = sym give_area,
        once_more = sym once_more,
        mxcsr = sym MXCSR,
        enabled = const ENABLED,
        pending = const PENDING,
    )
}

extern "C" fn preempt() {
    trap::preempt();
}

/// The last step: interrupts are taken again, those that are pending on this CPU at once.
extern "C" fn unmask() {
    // SAFETY: the thread was interrupted unmasked, and all that is left is to pop its registers.
    unsafe { super::irq::unmask() }
}

#[unsafe(naked)]
unsafe extern "C" fn isochron_hosted_preempt() {
    naked_asm!(
        save!(),
        ".globl isochron_hosted_preempt_saved",
        "isochron_hosted_preempt_saved:",
        "call {preempt}",
        "call {unmask}",
        restore!(),
        "popfq",
        // Over the red zone, back to where the thread's stack ended.
        "ret 128",
        preempt = sym preempt,
        unmask = sym unmask,
        mxcsr = sym MXCSR,
    )
}
