//! Making and dropping stacks.

use super::pool::{Link, StackMemory, StackPool};
use super::{HEADER, Judge, Stack, USUAL_SIZE, class_of, class_of_size, header, port};
use crate::irq::{self, IrqGuard, IrqLock, IrqLockGuard};
use crate::lock_rank;
use crate::memory::pieces::{self, Pieces};
use crate::memory::shortage::{self, Supply};
use crate::memory::{OutOfMemory, source, this_cpu_if_set};
use core::num::NonZero;
use isochron_boot::VirtAddr;
use isochron_boot::layout::{STACKS_BASE, STACKS_SIZE};

struct Window;

impl StackMemory for Window {
    fn make(&mut self, bottom: VirtAddr, bytes: usize) -> Result<(), OutOfMemory> {
        source::make_stack(bottom, bytes)?;
        // SAFETY: just made.
        unsafe { header::write(bottom.as_usize() + bytes - HEADER, bytes) };
        Ok(())
    }

    fn set_link(&mut self, top: VirtAddr, link: Link) {
        // SAFETY: the pool asks only about stacks that it owns: their tops stay backed, and nobody else uses them.
        unsafe { top.as_mut_ptr::<Link>().sub(1).write(link) }
    }

    fn link(&self, top: VirtAddr) -> Link {
        // SAFETY: as above; the pool wrote it before.
        unsafe { top.as_mut_ptr::<Link>().sub(1).read() }
    }
}

type Pool = StackPool<Window>;

/// A pool for each piece of the window.
static POOLS: [IrqLock<Pool>; pieces::MOST] =
    [const { IrqLock::new(lock_rank::STACKS, StackPool::new(Window, STACKS_BASE, STACKS_BASE + STACKS_SIZE)) };
        pieces::MOST];

/// How the window is divided.
pub(in crate::memory) static PIECES: Pieces = Pieces::new(STACKS_BASE, STACKS_SIZE);

/// Divides the window among the nodes. On the primary, before any stack is made.
pub(in crate::memory) fn init() {
    PIECES.divide();
    for (nth, pool) in pools().iter().enumerate() {
        let piece = PIECES.range(nth);
        pool.lock().place(piece.start, piece.end);
    }
}

fn pools() -> &'static [IrqLock<Pool>] {
    &POOLS[..PIECES.count()]
}

/// The pool that the stack with this top came from.
fn home(top: usize) -> IrqLockGuard<'static, Pool> {
    POOLS[PIECES.of(top)].lock()
}

/// The end of the stack with this top: by that the pools know stacks.
const fn end(top: usize) -> usize {
    top + HEADER
}

/// Bytes of address space of all stacks made so far, in use or pooled.
#[must_use]
pub fn reserved_bytes() -> usize {
    pools().iter().map(|pool| pool.lock().reserved()).sum()
}

/// Bytes of memory that all stacks take, in use or pooled.
#[must_use]
pub fn backed_bytes() -> usize {
    source::backed_stack_bytes(pools().iter().enumerate().map(|(nth, pool)| {
        let reached = pool.lock().reached();
        PIECES.range(nth).start..reached
    }))
}

/// Bytes of the stacks that lie in the shared pools.
pub(crate) fn pooled_bytes() -> usize {
    pools().iter().map(|pool| pool.lock().pooled_bytes()).sum()
}

impl Stack {
    /// A stack of at least `bytes` bytes: the next size class up to 1 MiB, beyond that the next multiple of a page.
    ///
    /// # Errors
    /// [`OutOfMemory`]; nothing was taken then.
    #[inline]
    pub fn new(bytes: usize) -> Result<Self, OutOfMemory> {
        if shortage::refuses(Supply::Stacks) {
            return Err(OutOfMemory);
        }
        let (class, size) = class_of(bytes).ok_or(OutOfMemory)?;
        if let Some(class) = class {
            let stocked = irq::without(|| this_cpu_if_set().and_then(|cpu| cpu.stacks.class(class).pop()));
            if let Some(top) = stocked.and_then(NonZero::new) {
                return Ok(Self { top, size });
            }
        }
        // With interrupts unmasked again: see the heap's fast path.
        refill(class, size)
    }
}

impl Stack {
    /// Whether [`last_irqoff`](Self::last_irqoff) has one.
    #[inline(always)]
    #[must_use]
    pub fn has_last_irqoff() -> bool {
        // In a shortage that a test makes, all requests go by way of `new`, which counts them.
        crate::cpu::this_cpu().stacks.last().get() != 0 && !shortage::is_on(Supply::Stacks)
    }

    /// Takes the stack of [`USUAL_SIZE`] that was last left on this CPU, if none has been taken since. Interrupts are masked.
    #[inline(always)]
    #[must_use]
    pub fn last_irqoff() -> Option<Self> {
        let top = NonZero::new(crate::cpu::this_cpu().stacks.last().take())?;
        Some(Self { top, size: USUAL_SIZE })
    }

    /// Leaves the stack of [`USUAL_SIZE`] that ends at `top` (0 for none) to the next on this CPU that asks for the last one.
    /// False: one lies there already, and nothing is done. Interrupts are masked.
    ///
    /// # Safety
    /// If true comes back, nobody else has the stack, and nobody uses it any more.
    #[inline(always)]
    #[must_use]
    pub unsafe fn leave_irqoff(top: usize) -> bool {
        let last = crate::cpu::this_cpu().stacks.last();
        let free = last.get() == 0;
        if free {
            last.set(top);
        }
        free
    }
}

/// From the own node's pool or the nearest that has one, and some more of the class into this CPU's stock if they lie there ready.
#[cold]
#[inline(never)]
fn refill(class: Option<usize>, size: usize) -> Result<Stack, OutOfMemory> {
    let _same_cpu = IrqGuard::new();
    PIECES.nearest(|piece| refill_from(&mut POOLS[piece].lock(), class, size)).ok_or(OutOfMemory)
}

fn refill_from(pool: &mut Pool, class: Option<usize>, size: usize) -> Option<Stack> {
    let top = NonZero::new(pool.take(class, size).ok()? - HEADER)?;
    if let Some(class) = class
        && let Some(cpu) = this_cpu_if_set()
    {
        let stock = cpu.stacks.class(class);
        for _ in 1..stock.batch() {
            let Some(further) = pool.pop(class) else { break };
            if !stock.push(further - HEADER) {
                pool.give(Some(class), size, further);
                break;
            }
        }
    }
    Some(Stack { top, size })
}

impl Stack {
    /// As [`Self::new`], with all of it backed from the beginning: for code that must not fault.
    ///
    /// # Errors
    /// [`OutOfMemory`]; nothing was taken then.
    pub fn backed(bytes: usize) -> Result<Self, OutOfMemory> {
        let stack = Self::new(bytes)?;
        back(stack.bottom())?;
        Ok(stack)
    }
}

/// Backs all of the stack that begins at `bottom`. In a process the host does that, as the stack is used.
///
/// # Errors
/// [`OutOfMemory`]; what has been backed stays.
pub fn back(bottom: VirtAddr) -> Result<(), OutOfMemory> {
    source::back_all_of_stack(bottom)
}

/// Gives back the memory that stacks have grown by and that is not in use: of those that nobody has all but their first pages, and of
/// those that somebody has what `judge` says. How many bytes it was.
///
/// Every other CPU is interrupted, unless there was nothing: once, and once more if there are threads that wait to be handed over.
///
/// Interrupts are on, and there is one who calls it at a time.
pub fn trim(judge: Judge) -> usize {
    debug_assert!(!irq::are_masked(), "other CPUs are waited for");
    port::trim(judge)
}

impl Drop for Stack {
    #[inline]
    fn drop(&mut self) {
        let top = self.top.get();
        let class = class_of_size(self.size);
        if let Some(class) = class {
            let stocked = irq::without(|| this_cpu_if_set().is_some_and(|cpu| cpu.stacks.class(class).push(top)));
            if stocked {
                return;
            }
        }
        flush(class, self.size, top);
    }
}

/// Half of this CPU's stock of the class, and then the stack itself, each to the pool that it came from.
#[cold]
#[inline(never)]
fn flush(class: Option<usize>, size: usize, top: usize) {
    let _same_cpu = IrqGuard::new();
    if let Some(class) = class
        && let Some(cpu) = this_cpu_if_set()
    {
        let stock = cpu.stacks.class(class);
        for _ in 1..stock.batch() {
            let Some(stocked) = stock.pop() else { break };
            home(stocked).give(Some(class), size, end(stocked));
        }
    }
    home(top).give(class, size, end(top));
}
