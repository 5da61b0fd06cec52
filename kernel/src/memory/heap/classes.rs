//! Size classes: which size a small block really has.

use core::alloc::Layout;

/// Block sizes in bytes. Each is chosen so that a span wastes little, and is a multiple of 16.
pub const SIZES: [u16; 14] = [16, 32, 48, 64, 96, 128, 192, 256, 384, 512, 768, 1024, 1536, 2304];

/// How many classes there are.
pub const CLASSES: usize = SIZES.len();

/// The largest small block.
pub const LARGEST: usize = SIZES[CLASSES - 1] as usize;

/// Every small block is aligned to this; every class of a size divisible by a power of two up to [`MAX_ALIGN`] is
/// aligned to that.
pub const MIN_ALIGN: usize = 16;

/// The strictest alignment that small blocks can have (two cache lines).
pub const MAX_ALIGN: usize = 128;

/// The class for sizes from `16 * (index - 1) + 1` to `16 * index`.
const BY_SIZE: [u8; LARGEST / 16 + 1] = {
    let mut table = [0; LARGEST / 16 + 1];
    let mut class = 0;
    let mut nth = 0;
    while nth < table.len() {
        if nth * 16 > SIZES[class] as usize {
            class += 1;
        }
        table[nth] = class as u8;
        nth += 1;
    }
    table
};

/// How many blocks of a class a CPU keeps: up to 30, and not more than about 8 KiB.
#[must_use]
pub const fn cache_limit(class: usize) -> usize {
    let fit = 8192 / SIZES[class] as usize;
    if fit > 30 { 30 } else { fit }
}

/// How many blocks of a class go from CPU to CPU at once: half of what a CPU keeps.
#[must_use]
pub const fn batch(class: usize) -> usize {
    cache_limit(class).div_ceil(2)
}

/// The class that serves `layout`; `None` for large ones, which come from the shared heap directly.
///
/// It depends on nothing but size and alignment, so that freeing finds the class again.
#[inline(always)]
#[must_use]
pub const fn class_of(layout: Layout) -> Option<usize> {
    if layout.align() > MIN_ALIGN {
        return class_of_aligned(layout);
    }
    if layout.size() > LARGEST {
        return None;
    }
    Some(BY_SIZE[layout.size().div_ceil(16)] as usize)
}

/// Blocks of a class whose size is a multiple of the alignment are so aligned, since spans begin so.
const fn class_of_aligned(layout: Layout) -> Option<usize> {
    if layout.align() > MAX_ALIGN || layout.size() > LARGEST {
        return None;
    }
    let mut class = BY_SIZE[layout.size().div_ceil(16)] as usize;
    while class < CLASSES {
        if (SIZES[class] as usize).is_multiple_of(layout.align()) {
            return Some(class);
        }
        class += 1;
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_layout_fits_its_class_and_none_smaller() {
        for align in (0..8).map(|bits| 1 << bits) {
            for size in 0..3000 {
                let fits = |class: usize| {
                    let bytes = usize::from(SIZES[class]);
                    bytes >= size && (align <= MIN_ALIGN || bytes % align == 0)
                };
                let best = (0..CLASSES).find(|&class| fits(class));
                assert_eq!(class_of(Layout::from_size_align(size, align).unwrap()), best, "{size} {align}");
            }
        }
        assert_eq!(class_of(Layout::from_size_align(64, 256).unwrap()), None);
    }

    #[test]
    fn limits() {
        for class in 0..CLASSES {
            assert!((1..=31).contains(&cache_limit(class)));
            assert!((2..=cache_limit(class)).contains(&batch(class)));
        }
    }
}
