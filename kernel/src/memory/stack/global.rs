//! Making and dropping stacks on bare metal.

use super::pool::{Link, StackMemory, StackPool};
use super::{Stack, class_of};
use crate::cpu::{has_this_cpu, this_cpu};
use crate::irq::{IrqGuard, IrqLock};
use crate::memory::{OutOfMemory, space};
use isochron_boot::VirtAddr;
use isochron_boot::layout::{STACKS_BASE, STACKS_SIZE};

struct Window;

impl StackMemory for Window {
    fn back(&mut self, bottom: VirtAddr, bytes: usize) -> Result<(), OutOfMemory> {
        space::map_fresh(bottom, bytes)
    }

    fn set_link(&mut self, top: VirtAddr, link: Link) {
        // SAFETY: the pool asks only about stacks that it owns: mapped for ever, at least a page, used by nobody else.
        unsafe { top.as_mut_ptr::<Link>().sub(1).write(link) }
    }

    fn link(&self, top: VirtAddr) -> Link {
        // SAFETY: as above; the pool wrote it before.
        unsafe { top.as_mut_ptr::<Link>().sub(1).read() }
    }
}

/// Lock order: this one, then the address space, then the frames.
static POOL: IrqLock<StackPool<Window>> = IrqLock::new(StackPool::new(Window, STACKS_BASE, STACKS_BASE + STACKS_SIZE));

/// Bytes of all stacks made so far, in use or pooled.
#[must_use]
pub fn mapped_bytes() -> usize {
    POOL.lock().mapped()
}

impl Stack {
    /// A stack of at least `bytes` bytes: the next size class up to 1 MiB, beyond that the next multiple of a page.
    ///
    /// # Errors
    /// [`OutOfMemory`]; nothing was taken then.
    #[inline]
    pub fn new(bytes: usize) -> Result<Self, OutOfMemory> {
        let (class, size) = class_of(bytes).ok_or(OutOfMemory)?;
        let _irq = IrqGuard::new();
        if let Some(class) = class
            && has_this_cpu()
            && let Some(top) = this_cpu().stacks.class(class).pop()
        {
            return Ok(Self { top: VirtAddr::new(top), size });
        }
        refill_irqoff(class, size)
    }
}

/// From the shared pool, and some more of the class into this CPU's stock if they lie there ready.
#[cold]
#[inline(never)]
fn refill_irqoff(class: Option<usize>, size: usize) -> Result<Stack, OutOfMemory> {
    let mut pool = POOL.lock();
    let top = pool.take(class, size)?;
    if let Some(class) = class
        && has_this_cpu()
    {
        let stock = this_cpu().stacks.class(class);
        for _ in 1..stock.batch() {
            let Some(further) = pool.pop(class) else { break };
            if !stock.push(further) {
                pool.give(Some(class), size, further);
                break;
            }
        }
    }
    Ok(Stack { top: VirtAddr::new(top), size })
}

impl Drop for Stack {
    #[inline]
    fn drop(&mut self) {
        let class = class_of(self.size).and_then(|(class, _)| class);
        let _irq = IrqGuard::new();
        if let Some(class) = class
            && has_this_cpu()
            && this_cpu().stacks.class(class).push(self.top.as_usize())
        {
            return;
        }
        flush_irqoff(class, self.size, self.top.as_usize());
    }
}

/// Half of this CPU's stock of the class, the oldest use last, and then the stack itself, to the shared pool.
#[cold]
#[inline(never)]
fn flush_irqoff(class: Option<usize>, size: usize, top: usize) {
    let mut pool = POOL.lock();
    if let Some(class) = class
        && has_this_cpu()
    {
        let stock = this_cpu().stacks.class(class);
        for _ in 1..stock.batch() {
            let Some(stocked) = stock.pop() else { break };
            pool.give(Some(class), size, stocked);
        }
    }
    pool.give(class, size, top);
}
