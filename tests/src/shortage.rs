//! A machine without memory.

use isochron::kernel::boot::PhysAddr;
use isochron::kernel::boot::layout::direct_map;
use isochron::kernel::memory::frames;

/// All frames that there were, but for what CPUs have in stock. They come back when this is dropped.
#[derive(Debug)]
pub struct AllFrames(Option<PhysAddr>);

impl AllFrames {
    /// Takes them, and those in the stock of the CPU that this runs on.
    #[must_use]
    pub fn take() -> Self {
        let mut all = None;
        while let Some(frame) = frames::alloc() {
            // SAFETY: a frame of ours, which the direct map shows.
            unsafe { direct_map(frame).as_mut_ptr::<Option<PhysAddr>>().write(all) };
            all = Some(frame);
        }
        Self(all)
    }
}

impl Drop for AllFrames {
    fn drop(&mut self) {
        while let Some(frame) = self.0 {
            // SAFETY: `take` wrote it.
            self.0 = unsafe { direct_map(frame).as_mut_ptr::<Option<PhysAddr>>().read() };
            frames::free(frame);
        }
    }
}
