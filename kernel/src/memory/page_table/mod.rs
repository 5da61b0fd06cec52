//! Four-level page tables, the same walk on both architectures; a port encodes the entries.
//!
//! The walker is generic over the entries' encoding ([`EntryFormat`]) and over where tables and frames come from
//! ([`TableMemory`]), so that it runs in host tests. Rules it keeps:
//! - A mapping is never replaced: mapping over one is [`MapError::AlreadyMapped`].
//! - A block is never split: asking for a part of one is [`MapError::InsideBlock`]. (Splitting a live block needs
//!   *break before make* on ARM64, Arm ARM DDI 0487 D8.16.1; folding does that by itself, see the ports' `paging::split`.)
//! - Tables, once linked, stay: a window that was used once is used again, and no walker can be inside a freed table.

mod edit;
#[cfg(test)]
mod tests;

use core::fmt;
use core::marker::PhantomData;
use core::sync::atomic::{AtomicU64, Ordering};
use isochron_boot::layout::PAGE_SIZE;
use isochron_boot::{PhysAddr, VirtAddr};

/// What a mapping allows.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Leaf {
    /// Write-back memory: read and execute.
    Text,
    /// Write-back memory: read.
    ReadOnly,
    /// Write-back memory: read and write.
    Data,
    /// Device registers (ARM64 Device-nGnRE, x86-64 uncacheable): read and write.
    Device,
}

/// One entry of a table, decoded.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Entry {
    /// Nothing is mapped.
    Empty,
    /// The next table.
    Table(PhysAddr),
    /// A page or block.
    Leaf(PhysAddr),
}

/// Entries in a table.
pub const ENTRIES: usize = 512;

/// The level whose leaves are pages of 4 KiB.
pub const PAGE_LEVEL: u8 = 3;

/// The level whose leaves are blocks of 2 MiB.
pub const BLOCK_LEVEL: u8 = 2;

/// In the place of a page that is to be backed when it is first touched. Bit 0 is clear, so both architectures take it for
/// no entry and ignore the rest.
pub const RESERVED: u64 = 1 << 8;

/// One table as memory: the hardware's walker reads it at any time, so each entry is an atomic.
pub type Table = [AtomicU64; ENTRIES];

/// How a port writes entries. Level 3 is a 4 KiB page, 2 a 2 MiB block, 1 a 1 GiB block.
pub trait EntryFormat {
    /// A page or block at `level`.
    fn leaf(addr: PhysAddr, level: u8, leaf: Leaf) -> u64;
    /// A link to the next table.
    fn table(addr: PhysAddr) -> u64;
    /// What an entry found at `level` says.
    fn decode(raw: u64, level: u8) -> Entry;
    /// The lowest level number that may hold leaves: 1 with 1 GiB blocks, else 2.
    fn top_leaf_level() -> u8;
    /// Called after entries were written where nothing was mapped.
    fn publish();
    /// Called after the entry for `addr` was changed or removed.
    fn invalidate(addr: VirtAddr);
}

/// Where tables, and frames to be mapped, come from, and how their memory is reached.
pub trait TableMemory {
    /// A frame for a table, all zeroes.
    fn allocate_table(&mut self) -> Option<PhysAddr>;
    /// A frame to be mapped, contents undefined.
    fn allocate_frame(&mut self) -> Option<PhysAddr>;
    /// Takes back a frame of `allocate_frame`.
    fn free_frame(&mut self, frame: PhysAddr);
    /// The memory of a frame that one of the two above gave.
    fn entries(&self, frame: PhysAddr) -> &Table;
}

/// Why tables were not changed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum MapError {
    /// No frame for a table, or for what was to be mapped.
    OutOfMemory,
    /// Something is mapped at the address already.
    AlreadyMapped(VirtAddr),
    /// Nothing is mapped at the address.
    NotMapped(VirtAddr),
    /// The range ends inside the block at the address.
    InsideBlock(VirtAddr),
    /// An address or length is not a multiple of the page size, or the range wraps.
    Misaligned,
}

impl fmt::Display for MapError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::OutOfMemory => f.write_str("no frame left for a page table"),
            Self::AlreadyMapped(at) => write!(f, "{at} is mapped already"),
            Self::NotMapped(at) => write!(f, "nothing is mapped at {at}"),
            Self::InsideBlock(at) => write!(f, "the range ends inside the block at {at}"),
            Self::Misaligned => f.write_str("the range is not made of whole pages"),
        }
    }
}

/// What an address translates to.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Translation {
    /// The physical address.
    pub addr: PhysAddr,
    /// The level of the leaf: 3 for a page, 2 and 1 for blocks.
    pub level: u8,
    /// The leaf as the hardware sees it.
    pub entry: u64,
}

/// Bytes that one entry of `level` covers.
#[must_use]
pub const fn level_size(level: u8) -> usize {
    PAGE_SIZE << (9 * (PAGE_LEVEL - level) as usize)
}

/// The index of `addr` in a table of `level`.
const fn index(addr: usize, level: u8) -> usize {
    (addr / level_size(level)) % ENTRIES
}

/// What `addr` translates to in the tree under `root`. It needs no lock: tables stay, and an entry is one word.
#[must_use]
pub fn translate<'a, F: EntryFormat>(
    root: PhysAddr,
    entries: impl Fn(PhysAddr) -> &'a Table,
    addr: VirtAddr,
) -> Option<Translation> {
    let mut table = root;
    for level in 0..=PAGE_LEVEL {
        // Acquire: partner of the release in `table_at`, so that a table just linked is seen zeroed.
        let raw = entries(table)[index(addr.as_usize(), level)].load(Ordering::Acquire);
        match F::decode(raw, level) {
            Entry::Empty => return None,
            Entry::Table(next) => table = next,
            Entry::Leaf(base) => {
                let offset = addr.as_usize() % level_size(level);
                return Some(Translation { addr: base.offset(offset), level, entry: raw });
            }
        }
    }
    None
}

/// The table with the entry for the page at `addr`, if there is one. As with [`translate`], no lock is needed to find it.
#[must_use]
pub fn last_table<'a, F: EntryFormat>(
    root: PhysAddr,
    entries: impl Fn(PhysAddr) -> &'a Table,
    addr: VirtAddr,
) -> Option<&'a Table> {
    let mut table = root;
    for level in 0..PAGE_LEVEL {
        // Acquire: partner of the release in `table_at`, as in `translate`.
        let raw = entries(table)[index(addr.as_usize(), level)].load(Ordering::Acquire);
        let Entry::Table(next) = F::decode(raw, level) else { return None };
        table = next;
    }
    Some(entries(table))
}

/// The entry that says what is at `addr`, and its level: the first on the way down that leads to no further table. As with
/// [`translate`], no lock is needed to find it.
#[must_use]
pub fn entry_of<'a, F: EntryFormat>(
    root: PhysAddr,
    entries: impl Fn(PhysAddr) -> &'a Table,
    addr: VirtAddr,
) -> (&'a AtomicU64, u8) {
    let mut table = root;
    let mut level = 0;
    loop {
        let entry = &entries(table)[index(addr.as_usize(), level)];
        // Acquire: partner of the release in `table_at`, as in `translate`.
        match F::decode(entry.load(Ordering::Acquire), level) {
            Entry::Table(next) if level < PAGE_LEVEL => (table, level) = (next, level + 1),
            _ => return (entry, level),
        }
    }
}

/// The entry for the page at `addr` in its [`last_table`].
#[must_use]
pub fn page_entry(table: &Table, addr: VirtAddr) -> &AtomicU64 {
    &table[index(addr.as_usize(), PAGE_LEVEL)]
}

/// A tree of tables.
pub struct PageTable<F, M> {
    root: PhysAddr,
    memory: M,
    format: PhantomData<F>,
}

impl<F: EntryFormat, M: TableMemory> PageTable<F, M> {
    /// An empty tree; takes one frame for its root.
    ///
    /// # Errors
    /// [`MapError::OutOfMemory`].
    pub fn new(mut memory: M) -> Result<Self, MapError> {
        let root = memory.allocate_table().ok_or(MapError::OutOfMemory)?;
        Ok(Self { root, memory, format: PhantomData })
    }

    /// The root table.
    #[must_use]
    pub const fn root(&self) -> PhysAddr {
        self.root
    }

    /// Where tables and frames come from.
    pub fn memory_mut(&mut self) -> &mut M {
        &mut self.memory
    }

    /// What `addr` translates to.
    #[must_use]
    pub fn translate(&self, addr: VirtAddr) -> Option<Translation> {
        translate::<F>(self.root, |table| self.memory.entries(table), addr)
    }

    fn read(&self, table: PhysAddr, addr: usize, level: u8) -> u64 {
        // Relaxed: whoever changes tables holds the lock around the whole tree.
        self.memory.entries(table)[index(addr, level)].load(Ordering::Relaxed)
    }

    /// The table of `level` that holds the entry for `addr`, made with all above it where it is missing.
    fn table_at(&mut self, addr: usize, level: u8) -> Result<PhysAddr, MapError> {
        let mut table = self.root;
        for above in 0..level {
            table = match F::decode(self.read(table, addr, above), above) {
                Entry::Table(next) => next,
                Entry::Leaf(_) => return Err(MapError::AlreadyMapped(VirtAddr::new(addr))),
                Entry::Empty => {
                    let next = self.memory.allocate_table().ok_or(MapError::OutOfMemory)?;
                    // Release: partner is the hardware's walk, whose read of the new table depends on this entry; it
                    // must find zeroes there and not what the frame held before.
                    self.memory.entries(table)[index(addr, above)].store(F::table(next), Ordering::Release);
                    next
                }
            };
        }
        Ok(table)
    }
}
