//! From the first, crude tables to the final address space, frames and heap.
//!
//! Two steps, since tables for much memory need memory themselves. First the image, the devices and one piece of RAM
//! are mapped with tables from a small pool in the image, and the tables are activated; that piece's free frames then
//! make the tables for the rest.

use super::page_table::{Leaf, MapError, PageTable};
use super::ranges::{RangeSet, intersection, pages_around, pages_inside};
use super::space::{self, ArchFormat, KernelMemory, SPACE};
use super::{frames, heap, packed, stack};
use crate::machine::{MAX_RANGES, Machine};
use crate::{arch, topology};
use core::cell::UnsafeCell;
use core::fmt;
use core::sync::atomic::{AtomicUsize, Ordering};
use isochron_boot::layout::{DIRECT_MAP_SIZE, PAGE_SIZE, direct_map};
use isochron_boot::{BootInfo, PhysAddr, PhysRange, VirtAddr};

/// Ranges that are told apart; more fragmented memory loses its smallest ranges.
type Ranges = RangeSet<128>;

/// Pages in the pool. Root, image (at most 5 tables for 4 MiB), direct map of one piece (7 where blocks of 1 GiB are
/// missing), devices (2 for each GiB they lie in); the rest is for memory in many small ranges.
const POOL_PAGES: usize = 24;

/// The first step maps RAM in so many bytes around the image: what the pool's tables suffice for.
const NEAR: usize = 4 << 30;

/// Below this nothing is handed out: page 0 would be a null pointer in the direct map's terms, and firmware keeps
/// spin tables, BIOS data and start-up code there.
const LOW_MEMORY: PhysAddr = PhysAddr::new(1 << 20);

#[repr(C, align(4096))]
struct Pool(UnsafeCell<[[u8; PAGE_SIZE]; POOL_PAGES]>);

// SAFETY: nobody touches the pool but `init`, once, and then the tables and frames that it became.
unsafe impl Sync for Pool {}

static POOL: Pool = Pool(UnsafeCell::new([[0; PAGE_SIZE]; POOL_PAGES]));

/// Bytes of RAM in the machine.
static RAM: AtomicUsize = AtomicUsize::new(0);

unsafe extern "C" {
    static __image_start: u8;
    static __text_start: u8;
    static __text_end: u8;
    static __rodata_start: u8;
    static __rodata_end: u8;
    static __data_start: u8;
    static __data_end: u8;
}

/// Why the machine's memory could not be set up.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum InitError {
    /// The image could not be mapped.
    Image(MapError),
    /// A range of RAM could not be mapped.
    Ram(PhysAddr, MapError),
    /// Device registers could not be mapped.
    Device(PhysAddr, MapError),
    /// Too little memory is left for a heap.
    NoMemory,
}

impl fmt::Display for InitError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Image(error) => write!(f, "cannot map the image: {error}"),
            Self::Ram(at, error) => write!(f, "cannot map the memory at {at}: {error}"),
            Self::Device(at, error) => write!(f, "cannot map the device at {at}: {error}"),
            Self::NoMemory => f.write_str("too little memory for a heap"),
        }
    }
}

/// Bytes of RAM that the machine has.
pub(super) fn ram_bytes() -> usize {
    RAM.load(Ordering::Relaxed)
}

/// The image's sections, in virtual addresses, with what they allow.
fn sections() -> [(usize, usize, Leaf); 3] {
    [
        (&raw const __text_start as usize, &raw const __text_end as usize, Leaf::Text),
        (&raw const __rodata_start as usize, &raw const __rodata_end as usize, Leaf::ReadOnly),
        (&raw const __data_start as usize, &raw const __data_end as usize, Leaf::Data),
    ]
}

/// Where a symbol's address lies in memory.
fn image_phys(info: &BootInfo, virt: usize) -> PhysAddr {
    info.image.start.offset(virt - &raw const __image_start as usize)
}

/// What is to be mapped in the direct map, and what may be handed out.
struct Plan {
    ram: Ranges,
    devices: Ranges,
    free: Ranges,
}

impl Plan {
    fn new(info: &BootInfo, machine: &Machine) -> Self {
        let addressable = PhysRange::with_len(PhysAddr::new(0), DIRECT_MAP_SIZE);
        let mut ram = Ranges::new();
        for &range in &machine.memory {
            ram.insert(pages_inside(intersection(range, addressable)));
        }
        RAM.store(ram.bytes(), Ordering::Relaxed);
        let mut devices = Ranges::new();
        for &range in &machine.mmio {
            devices.insert(pages_around(intersection(range, addressable)));
        }
        for range in devices.iter() {
            ram.remove(range);
        }
        let image = pages_around(info.image);
        let mut free = ram.clone();
        free.remove(PhysRange { start: PhysAddr::new(0), end: LOW_MEMORY });
        free.remove(image);
        for &range in machine.reserved.iter().chain(&info.reserved) {
            free.remove(pages_around(range));
        }
        // The pool is reached through the direct map, whether or not the firmware counts the image's place as RAM.
        ram.insert(image);
        for (start, end, leaf) in sections() {
            if leaf != Leaf::Data {
                ram.remove(PhysRange { start: image_phys(info, start), end: image_phys(info, end) });
            }
        }
        Self { ram, devices, free }
    }

    /// The memory that the first step maps: the pieces, near the image, that hold the image and the most free memory.
    fn first_step(&self, info: &BootInfo) -> Ranges {
        let near = PhysRange::with_len(info.image.start.align_down(1 << 30), NEAR);
        let most = self.free.iter().map(|free| intersection(free, near)).max_by_key(|free| free.len());
        let image = pages_around(info.image);
        let mut first = Ranges::new();
        for range in self.ram.iter().map(|range| intersection(range, near)) {
            if range.overlaps(image) || most.is_some_and(|most| range.overlaps(most)) {
                first.insert(range);
            }
        }
        first
    }

    /// Adds RAM to the direct map.
    fn map(tree: &mut PageTable<ArchFormat, KernelMemory>, ram: &Ranges) -> Result<(), InitError> {
        for range in ram.iter() {
            let mapped = tree.map(direct_map(range.start), range.start, range.len(), Leaf::Data);
            mapped.map_err(|error| InitError::Ram(range.start, error))?;
        }
        Ok(())
    }

    /// Hands out what is free of some of the RAM.
    ///
    /// # Safety
    /// `ram` is mapped, and no part of it was given before.
    unsafe fn give(&self, ram: &Ranges) {
        for range in ram.iter() {
            for free in self.free.iter().map(|free| intersection(free, range)).filter(|free| !free.is_empty()) {
                by_node(free, &mut |node, part| {
                    // SAFETY: a free range is RAM outside the image and all reserved ranges; the rest is the caller's
                    // promise. A range too small to be handed out stays unused.
                    unsafe { frames::add(node, part) };
                });
            }
        }
    }
}

/// Calls `found` with the parts of a range, each in one node. What the firmware puts in no node is in node 0, with what
/// lies between two nodes' parts in the middle of a page.
fn by_node(range: PhysRange, found: &mut dyn FnMut(u16, PhysRange)) {
    let mut rest = RangeSet::<{ MAX_RANGES + 1 }>::new();
    rest.insert(range);
    for memory in topology::node_memory() {
        let part = pages_inside(intersection(memory.range, range));
        if !part.is_empty() {
            rest.remove(part);
            found(memory.node as u16, part);
        }
    }
    rest.iter().for_each(|part| found(0, part));
}

/// Builds and activates the kernel's address space, then sets up frames and the heap.
///
/// # Errors
/// [`InitError`]; the machine cannot go on then.
///
/// # Safety
/// Called once, on the primary CPU, interrupts masked, with the boot code's tables active, `info` as the boot code
/// filled it and `machine` true: RAM is RAM, and what must not be handed out is in one of the reserved lists.
pub unsafe fn init(info: &BootInfo, machine: &Machine) -> Result<(), InitError> {
    let plan = Plan::new(info, machine);
    let first = plan.first_step(info);
    let pool = PhysRange::with_len(image_phys(info, POOL.0.get() as usize), POOL_PAGES * PAGE_SIZE);
    let mut tree = PageTable::new(KernelMemory { pool }).map_err(InitError::Image)?;

    for (start, end, leaf) in sections() {
        tree.map(VirtAddr::new(start), image_phys(info, start), end - start, leaf).map_err(InitError::Image)?;
    }
    for range in plan.devices.iter() {
        let mapped = tree.map(direct_map(range.start), range.start, range.len(), Leaf::Device);
        mapped.map_err(|error| InitError::Device(range.start, error))?;
    }
    Plan::map(&mut tree, &first)?;
    // SAFETY: the tables map all of the image (this code, its stack and data among it) where it runs, and the memory
    // that the tables lie in through the direct map.
    unsafe { arch::paging::activate(tree.root()) };
    space::set_ready();
    // SAFETY: mapped above, and given once.
    unsafe { plan.give(&first) };

    let mut rest = plan.ram.clone();
    first.iter().for_each(|range| rest.remove(range));
    Plan::map(&mut tree, &rest)?;
    // SAFETY: mapped above, and given once: nothing of it is in `first`.
    unsafe { plan.give(&rest) };
    // The unused pool pages are ordinary memory now.
    let unused = core::mem::take(&mut tree.memory_mut().pool);
    if !unused.is_empty() {
        by_node(unused, &mut |node, part| {
            // SAFETY: the pool is ours alone, in the image's data and so in the direct map, and never a table from now on.
            unsafe { frames::add(node, part) };
        });
    }
    *SPACE.lock() = Some(tree);

    let lost = plan.ram.lost() + plan.free.lost();
    if lost > 0 {
        log::warn!("memory is in too many pieces: {} KiB are not used", lost / 1024);
    }
    stack::init();
    packed::init();
    if heap::init() { Ok(()) } else { Err(InitError::NoMemory) }
}
