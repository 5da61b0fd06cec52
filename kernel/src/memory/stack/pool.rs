//! The stacks that no CPU has in stock, and the window that new ones are placed in.

use super::super::OutOfMemory;
use super::{CLASSES, guard_size};
use isochron_boot::VirtAddr;

/// How the pool reaches memory.
pub trait StackMemory {
    /// Makes `bytes` bytes from `bottom` on a stack: backs its top, and reserves the rest.
    ///
    /// # Errors
    /// [`OutOfMemory`]: nothing is mapped.
    fn make(&mut self, bottom: VirtAddr, bytes: usize) -> Result<(), OutOfMemory>;
    /// Writes the last bytes of a stack that nobody uses.
    fn set_link(&mut self, top: VirtAddr, link: Link);
    /// Reads them again.
    fn link(&self, top: VirtAddr) -> Link;
}

/// What a pooled stack holds in its last bytes, which are mapped for certain.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(C)]
pub struct Link {
    /// Top of the next pooled stack, 0 at the end.
    pub next: usize,
    /// Bytes of this one.
    pub size: usize,
}

/// All stacks that nobody uses, and the addresses not yet used.
pub struct StackPool<M> {
    memory: M,
    /// First address not used yet.
    next: usize,
    /// End of the window.
    end: usize,
    /// Ends of pooled stacks, by class.
    pooled: [usize; CLASSES],
    /// Ends of pooled stacks without a class.
    large: usize,
    reserved: usize,
}

impl<M: StackMemory> StackPool<M> {
    /// An empty pool that places stacks from `start` up to `end`.
    pub const fn new(memory: M, start: usize, end: usize) -> Self {
        Self { memory, next: start, end, pooled: [0; CLASSES], large: 0, reserved: 0 }
    }

    /// Sets where it places stacks, before it has any: as in [`Self::new`].
    pub const fn place(&mut self, start: usize, end: usize) {
        (self.next, self.end) = (start, end);
    }

    /// Bytes of all stacks ever made.
    pub const fn reserved(&self) -> usize {
        self.reserved
    }

    /// First address that no stack was placed at yet.
    pub const fn reached(&self) -> usize {
        self.next
    }

    /// Bytes of those that lie here.
    pub fn pooled_bytes(&self) -> usize {
        let list = |top: usize| {
            let next = |top: &usize| Some(self.memory.link(VirtAddr::new(*top)).next).filter(|next| *next != 0);
            core::iter::successors((top != 0).then_some(top), next)
        };
        let lists = self.pooled.iter().chain(core::iter::once(&self.large));
        lists.flat_map(|top| list(*top)).map(|top| self.memory.link(VirtAddr::new(top)).size).sum()
    }

    /// The top of a stack of exactly `size` bytes, pooled or new.
    ///
    /// # Errors
    /// [`OutOfMemory`], also when the window is full.
    pub fn take(&mut self, class: Option<usize>, size: usize) -> Result<usize, OutOfMemory> {
        let pooled = match class {
            Some(class) => self.pop(class),
            None => self.pop_large(size),
        };
        pooled.map_or_else(|| self.make(size), Ok)
    }

    /// The top of a pooled stack of a class, if there is one.
    pub fn pop(&mut self, class: usize) -> Option<usize> {
        let top = self.pooled[class];
        if top == 0 {
            return None;
        }
        self.pooled[class] = self.memory.link(VirtAddr::new(top)).next;
        Some(top)
    }

    /// The first large one of exactly this size. There are few of them.
    fn pop_large(&mut self, size: usize) -> Option<usize> {
        let mut before = 0;
        let mut top = self.large;
        while top != 0 {
            let link = self.memory.link(VirtAddr::new(top));
            if link.size == size {
                if before == 0 {
                    self.large = link.next;
                } else {
                    let kept = self.memory.link(VirtAddr::new(before)).size;
                    self.memory.set_link(VirtAddr::new(before), Link { next: link.next, size: kept });
                }
                return Some(top);
            }
            before = top;
            top = link.next;
        }
        None
    }

    fn make(&mut self, size: usize) -> Result<usize, OutOfMemory> {
        let bottom = self.next.checked_add(guard_size(size)).ok_or(OutOfMemory)?;
        let top = bottom.checked_add(size).filter(|&top| top <= self.end).ok_or(OutOfMemory)?;
        self.memory.make(VirtAddr::new(bottom), size)?;
        self.next = top;
        self.reserved += size;
        Ok(top)
    }

    /// Takes back a stack that [`Self::take`] gave with the same class and size.
    pub fn give(&mut self, class: Option<usize>, size: usize, top: usize) {
        let head = match class {
            Some(class) => &mut self.pooled[class],
            None => &mut self.large,
        };
        let next = core::mem::replace(head, top);
        self.memory.set_link(VirtAddr::new(top), Link { next, size });
    }
}
