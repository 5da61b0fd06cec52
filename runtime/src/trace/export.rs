//! Records that leave the guest: rings in memory that the host has mapped, from before `main` on and for good.
//!
//! The host says so on the kernel command line (`trace=RECORDS,CLASSES`), finds the area by how it begins and reads the rings as
//! `isochron_kernel::wire::trace::area` has it. To a CPU nothing is different: it writes a record and moves on its count.
//! A guest that has died leaves all that it wrote.

use super::entry::Classes;
use super::recorder::Ring;
use super::rings::{Held, start_exported};
use alloc::vec::Vec;
use core::ptr::NonNull;
use core::sync::atomic::{AtomicU64, Ordering};
use isochron_core::trace_ring::{OFFSETS, Place, STEPS};
use isochron_kernel::cpu::{self, CpuId};
use isochron_kernel::wire::trace::RECORD_BYTES;
use isochron_kernel::wire::trace::area::{self, DROPPED, Layout, PAGE, READ, WRITTEN};
use isochron_kernel::{clock, memory};

// The host knows the fields by these.
const _: () = assert!(OFFSETS[0] == WRITTEN && OFFSETS[1] == DROPPED && OFFSETS[2] == READ);
const _: () = assert!(STEPS as u64 == area::STEPS);
const _: () = assert!(size_of::<Place>() == RECORD_BYTES && size_of::<Ring>() <= PAGE && align_of::<Ring>() <= PAGE);

/// Begins, if the command line says so. All CPUs are up, and no thread runs yet.
pub(crate) fn begin_if_asked() {
    let Some(asked) = isochron_kernel::trace_asked() else { return };
    let Some((records, classes)) = parse(asked) else {
        isochron_kernel::println!("kernel command line: trace={asked} is not allowed; say RECORDS,CLASSES in numbers");
        isochron_kernel::exit::exit(2)
    };
    let cpus = cpu::online().map(|cpu| cpu.id.index() + 1).max().unwrap_or(1) as u32;
    let layout = Layout { cpus, records, clock_hz: clock::frequency_hz() };
    let area = if layout.is_sound() { memory::shared(layout.bytes()) } else { None };
    let Some(area) = area else {
        isochron_kernel::println!("kernel command line: trace={asked}: there is no memory for such rings");
        isochron_kernel::exit::exit(2)
    };
    // SAFETY: so many bytes, which are this function's.
    unsafe { lay_out(area, layout, Classes::of_bits(classes)) };
}

/// `RECORDS,CLASSES`: decimal numbers.
fn parse(asked: &str) -> Option<(u64, u16)> {
    let (records, classes) = asked.split_once(',')?;
    Some((records.parse().ok()?, classes.parse().ok()?))
}

/// Makes the rings and then the head by which the host finds them.
///
/// # Safety
/// `area` is aligned to [`PAGE`], has as many bytes as `layout` says, and is nobody else's for ever.
unsafe fn lay_out(area: NonNull<u8>, layout: Layout, classes: Classes) {
    let mut rings = Vec::new();
    for cpu in cpu::online() {
        // SAFETY: inside of the area, by the layout.
        let page = unsafe { area.add(layout.ring(cpu.id.index() as u32)) };
        // SAFETY: as above; the ring has a page, and its places behind that are only ever written before they are read.
        let ring = unsafe {
            let places = NonNull::slice_from_raw_parts(page.add(PAGE).cast::<Place>(), layout.records as usize);
            let ring = page.cast::<Ring>();
            ring.write(Ring::new(places.as_ref()));
            ring
        };
        rings.push(Held { cpu: CpuId::new(cpu.id.index()), ring, places: None });
    }
    let head = layout.encode();
    let (first, rest) = head.split_at(size_of::<u64>());
    // SAFETY: the area's first page, which is aligned; nobody reads it before the store below.
    let word = unsafe {
        area.add(size_of::<u64>()).copy_from_nonoverlapping(NonNull::from(rest).cast(), rest.len());
        AtomicU64::from_ptr(area.cast().as_ptr())
    };
    // Release: partner is the host's reading of the head (`qemu/src/trace/area.rs`): the rings are there when it is.
    word.store(u64::from_le_bytes(first.try_into().unwrap_or_default()), Ordering::Release);
    start_exported(rings, classes);
}
