//! Changing a tree: map, back with fresh frames, unmap, protect.

use super::{
    ENTRIES, Entry, EntryFormat, Leaf, MapError, PAGE_LEVEL, PageTable, RESERVED, TableMemory, index, level_size,
};
use core::sync::atomic::Ordering;
use isochron_boot::layout::PAGE_SIZE;
use isochron_boot::{PhysAddr, VirtAddr};

fn check(addr: usize, bytes: usize) -> Result<(), MapError> {
    let whole = addr.is_multiple_of(PAGE_SIZE) && bytes.is_multiple_of(PAGE_SIZE);
    // `bytes - 1`: a range may end with the address space.
    if whole && (bytes == 0 || addr.checked_add(bytes - 1).is_some()) { Ok(()) } else { Err(MapError::Misaligned) }
}

/// The lowest level whose leaf fits at both addresses within `bytes`.
fn leaf_level<F: EntryFormat>(virt: usize, phys: usize, bytes: usize) -> u8 {
    (F::top_leaf_level()..PAGE_LEVEL)
        .find(|&level| {
            let size = level_size(level);
            (virt | phys).is_multiple_of(size) && bytes >= size
        })
        .unwrap_or(PAGE_LEVEL)
}

impl<F: EntryFormat, M: TableMemory> PageTable<F, M> {
    /// Maps `bytes` bytes from `virt` on to those from `phys` on, by the largest blocks that fit.
    ///
    /// On failure what this call mapped is unmapped again.
    ///
    /// # Errors
    /// [`MapError::OutOfMemory`], [`MapError::AlreadyMapped`], [`MapError::Misaligned`].
    pub fn map(&mut self, virt: VirtAddr, phys: PhysAddr, bytes: usize, leaf: Leaf) -> Result<(), MapError> {
        check(virt.as_usize(), bytes)?;
        check(phys.as_usize(), bytes)?;
        let mut done = 0;
        while done < bytes {
            match self.map_some(virt.as_usize() + done, phys.as_usize() + done, bytes - done, leaf) {
                Ok(mapped) => done += mapped,
                Err(error) => {
                    let undone = self.unmap(virt, done);
                    debug_assert!(undone.is_ok());
                    return Err(error);
                }
            }
        }
        F::publish();
        Ok(())
    }

    /// Fills entries of one table; the answer is the bytes mapped, at least one leaf.
    fn map_some(&mut self, virt: usize, phys: usize, bytes: usize, leaf: Leaf) -> Result<usize, MapError> {
        let mut level = leaf_level::<F>(virt, phys, bytes);
        let mut table = self.table_at(virt, level)?;
        // A table that stands where a block would fit (its pages were unmapped): its pages are used instead.
        while let Entry::Table(next) = F::decode(self.read(table, virt, level), level) {
            table = next;
            level += 1;
        }
        let size = level_size(level);
        let first = index(virt, level);
        let count = (bytes / size).min(ENTRIES - first);
        let entries = self.memory.entries(table);
        for (nth, entry) in entries[first..first + count].iter().enumerate() {
            // Relaxed: the lock around the tree orders us with other writers, `publish` with the walker.
            match F::decode(entry.load(Ordering::Relaxed), level) {
                Entry::Empty => entry.store(F::leaf(PhysAddr::new(phys + nth * size), level, leaf), Ordering::Relaxed),
                _ if nth > 0 => return Ok(nth * size),
                _ => return Err(MapError::AlreadyMapped(VirtAddr::new(virt))),
            }
        }
        Ok(count * size)
    }

    /// Backs `bytes` bytes from `virt` on with fresh frames, all or none, page by page; but the first `reserved` of them only
    /// get [`RESERVED`] entries.
    ///
    /// First come all tables, then all frames, then the entries, so that nothing has to be unmapped on failure (another
    /// CPU may have fetched an entry by then). Tables made for it stay, for the next attempt.
    ///
    /// # Errors
    /// [`MapError::OutOfMemory`], [`MapError::AlreadyMapped`], [`MapError::Misaligned`].
    pub fn map_fresh(&mut self, virt: VirtAddr, reserved: usize, bytes: usize, leaf: Leaf) -> Result<(), MapError> {
        check(virt.as_usize(), bytes)?;
        check(virt.as_usize(), reserved)?;
        let end = virt.as_usize() + bytes;
        let mut at = virt.as_usize();
        while at < end {
            let table = self.table_at(at, PAGE_LEVEL)?;
            let first = index(at, PAGE_LEVEL);
            let last = (first + (end - at) / PAGE_SIZE).min(ENTRIES);
            for (nth, entry) in self.memory.entries(table)[first..last].iter().enumerate() {
                // Relaxed, here and below: as in `map_some`.
                if F::decode(entry.load(Ordering::Relaxed), PAGE_LEVEL) != Entry::Empty {
                    return Err(MapError::AlreadyMapped(VirtAddr::new(at + nth * PAGE_SIZE)));
                }
            }
            at += (last - first) * PAGE_SIZE;
        }
        let mut chain = self.take_chain(bytes.saturating_sub(reserved) / PAGE_SIZE)?;
        let backed_from = virt.as_usize() + reserved;
        let mut at = virt.as_usize();
        while at < end {
            let table = self.table_at(at, PAGE_LEVEL)?;
            let first = index(at, PAGE_LEVEL);
            let last = (first + (end - at) / PAGE_SIZE).min(ENTRIES);
            for (nth, entry) in self.memory.entries(table)[first..last].iter().enumerate() {
                if at + nth * PAGE_SIZE < backed_from {
                    entry.store(RESERVED, Ordering::Relaxed);
                    continue;
                }
                let frame = chain;
                chain = PhysAddr::new(self.memory.entries(frame)[0].load(Ordering::Relaxed) as usize);
                entry.store(F::leaf(frame, PAGE_LEVEL, leaf), Ordering::Relaxed);
            }
            at += (last - first) * PAGE_SIZE;
        }
        F::publish();
        Ok(())
    }

    /// `count` frames, each with the address of the next in its first word; all or none.
    fn take_chain(&mut self, count: usize) -> Result<PhysAddr, MapError> {
        let mut chain = PhysAddr::new(0);
        for taken in 0..count {
            let Some(frame) = self.memory.allocate_frame() else {
                for _ in 0..taken {
                    let next = self.memory.entries(chain)[0].load(Ordering::Relaxed);
                    self.memory.free_frame(chain);
                    chain = PhysAddr::new(next as usize);
                }
                return Err(MapError::OutOfMemory);
            };
            self.memory.entries(frame)[0].store(chain.as_u64(), Ordering::Relaxed);
            chain = frame;
        }
        Ok(chain)
    }

    /// Unmaps a range all of which is mapped. The frames behind it are the caller's.
    ///
    /// Other CPUs of an x86-64 machine may go on using the old translation; see `memory`'s rule on unmapping.
    ///
    /// # Errors
    /// [`MapError::NotMapped`], [`MapError::InsideBlock`], [`MapError::Misaligned`]; nothing is changed then.
    pub fn unmap(&mut self, virt: VirtAddr, bytes: usize) -> Result<(), MapError> {
        self.rewrite(virt, bytes, |_, _| 0)
    }

    /// Changes what a range, all of which is mapped, allows. Not between memory and device: that would need break
    /// before make.
    ///
    /// # Errors
    /// [`MapError::NotMapped`], [`MapError::InsideBlock`], [`MapError::Misaligned`]; nothing is changed then.
    pub fn protect(&mut self, virt: VirtAddr, bytes: usize, leaf: Leaf) -> Result<(), MapError> {
        self.rewrite(virt, bytes, |base, level| F::leaf(base, level, leaf))
    }

    fn rewrite(&mut self, virt: VirtAddr, bytes: usize, new: impl Fn(PhysAddr, u8) -> u64) -> Result<(), MapError> {
        check(virt.as_usize(), bytes)?;
        // First look, then change: an error leaves all as it was.
        let mut done = 0;
        while done < bytes {
            let at = virt.offset(done);
            let found = self.translate(at).ok_or(MapError::NotMapped(at))?;
            let size = level_size(found.level);
            if !at.is_aligned(size) || bytes - done < size {
                return Err(MapError::InsideBlock(at.align_down(size)));
            }
            done += size;
        }
        let mut done = 0;
        while done < bytes {
            let at = virt.offset(done);
            let found = self.translate(at).ok_or(MapError::NotMapped(at))?;
            let table = self.table_at(at.as_usize(), found.level)?;
            let entry = &self.memory.entries(table)[index(at.as_usize(), found.level)];
            entry.store(new(found.addr, found.level), Ordering::Relaxed);
            F::invalidate(at);
            done += level_size(found.level);
        }
        Ok(())
    }
}
