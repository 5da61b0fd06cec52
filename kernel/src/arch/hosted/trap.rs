//! Exceptions: the registers of what a signal interrupted.

use super::preemption;

/// The registers of interrupted code, as the host keeps them.
#[derive(Clone, Copy, Debug)]
pub struct TrapFrame {
    registers: [i64; 23],
    unmasked: bool,
}

/// Names, and where the host has them.
const NAMES: [(&str, libc::c_int); 18] = [
    ("rip", libc::REG_RIP),
    ("rsp", libc::REG_RSP),
    ("rflags", libc::REG_EFL),
    ("rax", libc::REG_RAX),
    ("rbx", libc::REG_RBX),
    ("rcx", libc::REG_RCX),
    ("rdx", libc::REG_RDX),
    ("rsi", libc::REG_RSI),
    ("rdi", libc::REG_RDI),
    ("rbp", libc::REG_RBP),
    ("r8", libc::REG_R8),
    ("r9", libc::REG_R9),
    ("r10", libc::REG_R10),
    ("r11", libc::REG_R11),
    ("r12", libc::REG_R12),
    ("r13", libc::REG_R13),
    ("r14", libc::REG_R14),
    ("r15", libc::REG_R15),
];

impl TrapFrame {
    /// `unmasked`: interrupts were taken then.
    pub(super) fn new(context: &libc::ucontext_t, unmasked: bool) -> Self {
        Self { registers: context.uc_mcontext.gregs, unmasked }
    }

    /// Whether interrupts were on; or the way to the preemption boundary was about to save a thread's registers on its stack.
    #[must_use]
    pub fn is_threads_own(&self) -> bool {
        self.unmasked || preemption::is_saving(self.pc())
    }

    fn get(&self, register: libc::c_int) -> u64 {
        self.registers[register as usize] as u64
    }

    /// The exception's vector and error code, as the CPU gave them.
    pub(super) fn vector(&self) -> u64 {
        self.get(libc::REG_TRAPNO)
    }

    pub(super) fn error(&self) -> u64 {
        self.get(libc::REG_ERR)
    }

    /// The interrupted instruction's address.
    #[must_use]
    pub fn pc(&self) -> usize {
        self.get(libc::REG_RIP) as usize
    }

    /// The interrupted code's stack pointer.
    #[must_use]
    pub fn sp(&self) -> usize {
        self.get(libc::REG_RSP) as usize
    }

    /// The interrupted code's frame pointer: where a backtrace goes on.
    #[must_use]
    pub fn frame_pointer(&self) -> usize {
        self.get(libc::REG_RBP) as usize
    }

    /// Calls `each` with every register's name and value.
    pub fn registers(&self, each: &mut dyn FnMut(&'static str, u64)) {
        for (name, register) in NAMES {
            each(name, self.get(register));
        }
    }
}
