//! Memory: the address space, frames, the heap, stacks.

pub mod page_table;
