//! How much of heap and stacks is in somebody's hands, and how much lies ready in a CPU's stock.
//!
//! A stock belongs to its CPU, so each has to be asked there ([`in_stock`], by a thread that is bound to the CPU); what they
//! said together is what [`in_hands`] leaves out. Exact if nobody takes or gives memory meanwhile.

use super::heap::classes::{CLASSES as HEAP_CLASSES, SIZES};
use super::stack::{self, CLASSES as STACK_CLASSES};
use crate::cpu::{self, PerCpu};
use crate::irq;
use core::ops::Add;
use isochron_boot::layout::PAGE_SIZE;

/// Bytes of both sorts.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Census {
    /// Bytes of the heap's blocks.
    pub heap: usize,
    /// Bytes of stacks, by what they could grow to.
    pub stacks: usize,
}

impl Add for Census {
    type Output = Self;
    fn add(self, other: Self) -> Self {
        Self { heap: self.heap + other.heap, stacks: self.stacks + other.stacks }
    }
}

fn stock_of(cpu: &PerCpu) -> Census {
    Census {
        heap: (0..HEAP_CLASSES).map(|class| cpu.heap.len(class) * usize::from(SIZES[class])).sum(),
        stacks: (0..STACK_CLASSES).map(|class| cpu.stacks.class(class).len() * (PAGE_SIZE << class)).sum::<usize>()
            + if cpu.stacks.last().get() == 0 { 0 } else { stack::USUAL_SIZE }
            + cpu.areas.bytes(),
    }
}

/// What the CPU that this runs on has in stock.
#[must_use]
pub fn in_stock() -> Census {
    irq::without(|| stock_of(cpu::this_cpu()))
}

/// What is in no pool and in no stock; `in_stock` is what all CPUs have, together.
#[must_use]
pub fn in_hands(in_stock: Census) -> Census {
    let (heap, stacks) = (super::heap::stats(), stack::reserved_bytes());
    Census {
        heap: (heap.used as usize).saturating_sub(in_stock.heap),
        stacks: stacks.saturating_sub(stack::pooled_bytes() + in_stock.stacks),
    }
}

/// All at once. Other CPUs must not be at work with their stocks: only the simulation can see to that.
#[cfg(isochron_sim)]
#[must_use]
pub fn in_use() -> Census {
    in_hands(cpu::described().map(stock_of).fold(Census::default(), Add::add))
}
