//! Physical and virtual addresses that cannot be taken for one another.

use core::fmt;

/// An address on the memory bus.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
#[repr(transparent)]
pub struct PhysAddr(usize);

/// An address as the CPU's page tables translate it.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
#[repr(transparent)]
pub struct VirtAddr(usize);

macro_rules! address {
    ($name:ident) => {
        impl $name {
            /// Wraps a raw address.
            #[must_use]
            pub const fn new(raw: usize) -> Self {
                Self(raw)
            }

            /// The raw address.
            #[must_use]
            pub const fn as_usize(self) -> usize {
                self.0
            }

            /// The raw address as 64 bits.
            #[must_use]
            pub const fn as_u64(self) -> u64 {
                self.0 as u64
            }

            /// Whether the address is a multiple of `align`, a power of two.
            #[must_use]
            pub const fn is_aligned(self, align: usize) -> bool {
                self.0 & (align - 1) == 0
            }

            /// The nearest multiple of `align` (a power of two) at or below.
            #[must_use]
            pub const fn align_down(self, align: usize) -> Self {
                Self(self.0 & !(align - 1))
            }

            /// The nearest multiple of `align` (a power of two) at or above.
            ///
            /// # Panics
            /// If it would pass the end of the address space.
            #[must_use]
            pub const fn align_up(self, align: usize) -> Self {
                match self.0.checked_add(align - 1) {
                    Some(sum) => Self(sum & !(align - 1)),
                    None => panic!("address overflow"),
                }
            }

            /// The address `bytes` further up.
            ///
            /// # Panics
            /// If it would pass the end of the address space.
            #[must_use]
            pub const fn offset(self, bytes: usize) -> Self {
                match self.0.checked_add(bytes) {
                    Some(sum) => Self(sum),
                    None => panic!("address overflow"),
                }
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, concat!(stringify!($name), "({:#x})"), self.0)
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{:#x}", self.0)
            }
        }
    };
}

address!(PhysAddr);
address!(VirtAddr);

impl VirtAddr {
    /// The address as a pointer. Making it is safe; reading through it is not.
    #[must_use]
    pub const fn as_mut_ptr<T>(self) -> *mut T {
        core::ptr::with_exposed_provenance_mut(self.0)
    }
}

/// A half-open range of physical addresses, `start..end`.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct PhysRange {
    /// The first address inside.
    pub start: PhysAddr,
    /// The first address past it.
    pub end: PhysAddr,
}

impl PhysRange {
    /// The range of `bytes` bytes from `start` on; one that would wrap ends at the last page.
    #[must_use]
    pub const fn with_len(start: PhysAddr, bytes: usize) -> Self {
        Self { start, end: PhysAddr(start.0.saturating_add(bytes)) }
    }

    /// Bytes inside.
    #[must_use]
    pub const fn len(self) -> usize {
        self.end.0.saturating_sub(self.start.0)
    }

    /// Whether nothing is inside.
    #[must_use]
    pub const fn is_empty(self) -> bool {
        self.end.0 <= self.start.0
    }

    /// Whether the two share an address.
    #[must_use]
    pub const fn overlaps(self, other: Self) -> bool {
        self.start.0 < other.end.0 && other.start.0 < self.end.0
    }

    /// Whether `addr` is inside.
    #[must_use]
    pub const fn contains(self, addr: PhysAddr) -> bool {
        self.start.0 <= addr.0 && addr.0 < self.end.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn alignment() {
        let a = PhysAddr::new(0x1234);
        assert_eq!(a.align_down(0x1000), PhysAddr::new(0x1000));
        assert_eq!(a.align_up(0x1000), PhysAddr::new(0x2000));
        assert!(PhysAddr::new(0x2000).is_aligned(0x1000) && !a.is_aligned(0x1000));
    }

    #[test]
    fn ranges() {
        let r = PhysRange::with_len(PhysAddr::new(0x1000), 0x1000);
        assert_eq!(r.len(), 0x1000);
        assert!(r.contains(PhysAddr::new(0x1fff)) && !r.contains(PhysAddr::new(0x2000)));
        assert!(!r.overlaps(PhysRange::with_len(PhysAddr::new(0x2000), 1)));
        assert!(PhysRange::with_len(PhysAddr::new(usize::MAX), 2).len() < 2);
    }
}
