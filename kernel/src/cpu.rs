//! CPUs and what belongs to each of them.

use crate::arch;
use crate::areas::Areas;
use crate::machine::CpuDescription;
use crate::memory::account::Account;
use crate::memory::{HeapCache, PackedCache, StackCache};
use core::cell::Cell;
use core::fmt;
use core::ptr;
use core::sync::atomic::{AtomicPtr, AtomicU8, AtomicU64, AtomicUsize, Ordering};
use isochron_boot::layout::MAX_CPUS;

/// A CPU's logical number: dense from 0, which is the primary.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
#[repr(transparent)]
pub struct CpuId(u32);

impl CpuId {
    /// The CPU that came out of reset first.
    pub const PRIMARY: Self = Self(0);

    /// Wraps a number that is below [`MAX_CPUS`].
    ///
    /// # Panics
    /// If it is not.
    #[must_use]
    pub const fn new(index: usize) -> Self {
        assert!(index < MAX_CPUS, "CPU number out of range");
        Self(index as u32)
    }

    /// The number.
    #[must_use]
    pub const fn index(self) -> usize {
        self.0 as usize
    }
}

impl fmt::Display for CpuId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// Where a CPU stands in its life.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u8)]
pub enum CpuState {
    /// Described, not started.
    Off = 0,
    /// Told to start; it has not reported yet.
    Starting = 1,
    /// Runs the kernel.
    Online = 2,
    /// Did not come up in time and is left out. It must not come in later: see [`PerCpu::report_online`].
    LeftOut = 3,
    /// Stopped by a panic or by the end of the program.
    Stopped = 4,
}

/// What belongs to one CPU. It lives for ever, at one address, and that address is in a register of its CPU.
///
/// Fields that are `Cell`s are touched by the CPU itself alone, with interrupts masked (or from its interrupt
/// handlers); the others are atomics.
#[repr(C, align(128))]
pub struct PerCpu {
    /// This block's own address: x86-64 reads it through `gs:[0]`.
    pub(crate) self_ptr: Cell<*const PerCpu>,
    /// x86-64 keeps the running thread here (`gs:[8]`), ARM64 in `TPIDR_EL0`.
    pub(crate) current_thread: Cell<*mut ()>,
    /// What the runtime hangs on a CPU: its worker.
    worker: Cell<*const ()>,
    /// Interrupts taken, of every kind.
    pub interrupts: Cell<u64>,
    /// Logical number.
    pub id: CpuId,
    /// The firmware's description.
    pub description: CpuDescription,
    /// [`CpuState`].
    state: AtomicU8,
    /// Ticks at which it reported, for the boot facts.
    online_ticks: AtomicU64,
    /// Top of the stack that exceptions run on.
    pub(crate) exception_stack_top: Cell<usize>,
    /// What the running thread's memory is charged to; null mostly.
    pub(crate) account: Cell<*const Account>,
    /// Free lists of small blocks.
    pub(crate) heap: HeapCache,
    /// Stacks for the next threads.
    pub(crate) stacks: StackCache,
    /// The spin locks that it holds.
    #[cfg(debug_assertions)]
    pub(crate) held: crate::lock_rank::Held,
    /// Slots for the next packed threads.
    pub(crate) packed: PackedCache,
    /// Where packed threads are preempted.
    pub(crate) areas: Areas,
    /// Pages for what grows next.
    #[cfg(isochron_bare)]
    pub(crate) frames: crate::memory::frames::FrameCache,
    /// Pages for stacks that grow where nobody may wait.
    #[cfg(isochron_bare)]
    pub(crate) reserve: crate::memory::frames::Reserve,
    /// What the port keeps.
    pub arch: arch::PerCpuArch,
}

// SAFETY: the `Cell`s are touched by the owning CPU alone (the type's contract, kept by this crate: every accessor
// goes through `this_cpu()` with interrupts masked); the rest is atomic or immutable after construction.
unsafe impl Sync for PerCpu {}
// SAFETY: a block is moved only before it is published; its pointers are null until then.
unsafe impl Send for PerCpu {}

static CPUS: [AtomicPtr<PerCpu>; MAX_CPUS] = [const { AtomicPtr::new(ptr::null_mut()) }; MAX_CPUS];
static ONLINE: AtomicUsize = AtomicUsize::new(0);

impl PerCpu {
    /// The block of a CPU that is described and off.
    #[must_use]
    pub const fn new(id: CpuId, description: CpuDescription) -> Self {
        Self {
            self_ptr: Cell::new(ptr::null()),
            current_thread: Cell::new(ptr::null_mut()),
            worker: Cell::new(ptr::null()),
            interrupts: Cell::new(0),
            id,
            description,
            state: AtomicU8::new(CpuState::Off as u8),
            online_ticks: AtomicU64::new(0),
            exception_stack_top: Cell::new(0),
            account: Cell::new(ptr::null()),
            heap: HeapCache::new(),
            stacks: StackCache::new(),
            #[cfg(debug_assertions)]
            held: crate::lock_rank::Held::new(),
            packed: PackedCache::new(),
            areas: Areas::new(),
            #[cfg(isochron_bare)]
            frames: crate::memory::frames::FrameCache::new(),
            #[cfg(isochron_bare)]
            reserve: crate::memory::frames::Reserve::new(),
            arch: arch::PerCpuArch::new(),
        }
    }

    /// Makes the block findable by its number, and writes its own address into it.
    pub(crate) fn publish(&'static self) {
        self.self_ptr.set(self);
        // Release: partner of the acquire in `cpu()`; who finds the block sees it filled.
        CPUS[self.id.index()].store(ptr::from_ref(self).cast_mut(), Ordering::Release);
    }

    /// Where the CPU stands.
    #[must_use]
    pub fn state(&self) -> CpuState {
        // Acquire: partner of the release half of the exchange in `change_state`.
        match self.state.load(Ordering::Acquire) {
            0 => CpuState::Off,
            1 => CpuState::Starting,
            2 => CpuState::Online,
            3 => CpuState::LeftOut,
            _ => CpuState::Stopped,
        }
    }

    /// Moves the CPU from one state to the next; false if it stood elsewhere.
    pub(crate) fn change_state(&self, from: CpuState, to: CpuState) -> bool {
        // AcqRel: partner is the other side's exchange or `state()`. Start and time-out race for the same word, so
        // that a CPU either counts as online for everybody or is left out for everybody.
        self.state.compare_exchange(from as u8, to as u8, Ordering::AcqRel, Ordering::Acquire).is_ok()
    }

    /// Says "stopped", whatever was before: the panic path may interrupt any transition.
    pub(crate) fn mark_stopped(&self) {
        // Release: partner of the acquire in `state()`.
        self.state.store(CpuState::Stopped as u8, Ordering::Release);
    }

    /// Called by a CPU once it can take interrupts. False: it came too late and was left out; it must halt.
    pub(crate) fn report_online(&self) -> bool {
        self.online_ticks.store(arch::clock::ticks(), Ordering::Relaxed);
        self.change_state(CpuState::Starting, CpuState::Online)
    }

    /// Ticks at which the CPU reported.
    #[must_use]
    pub fn online_ticks(&self) -> u64 {
        self.online_ticks.load(Ordering::Relaxed)
    }

    /// Its stock of small blocks, if who runs on it may take of that: not if its memory is charged.
    #[inline(always)]
    pub(crate) fn open_heap(&self) -> Option<&HeapCache> {
        if self.account.get().is_null() { Some(&self.heap) } else { None }
    }

    /// What the runtime hung here, null before.
    #[inline]
    #[must_use]
    pub fn worker(&self) -> *const () {
        self.worker.get()
    }

    /// Hangs the runtime's worker on the CPU, before it runs any thread.
    pub fn set_worker(&self, worker: *const ()) {
        self.worker.set(worker);
    }

    /// Counts an interrupt. Called by the ports' interrupt entry.
    #[inline]
    pub(crate) fn count_interrupt(&self) {
        self.interrupts.set(self.interrupts.get() + 1);
    }
}

/// The block of the CPU this runs on.
///
/// A thread that can be moved to another CPU may hold the answer of a CPU it has left: callers mask interrupts or hold
/// preemption off for as long as the answer must be true.
#[inline(always)]
#[must_use]
pub fn this_cpu() -> &'static PerCpu {
    // SAFETY: `init` sets the register on each CPU before anything that may call this, to a block that lives for ever.
    unsafe { &*arch::cpu::per_cpu() }
}

/// Whether this CPU has its per-CPU block: the panic path asks before it calls [`this_cpu`].
#[must_use]
pub fn has_this_cpu() -> bool {
    !arch::cpu::per_cpu().is_null()
}

/// The block of CPU `id`, if that CPU is described.
#[inline]
#[must_use]
pub fn cpu(id: CpuId) -> Option<&'static PerCpu> {
    // Acquire: partner of the release in `publish`.
    let found = CPUS[id.index()].load(Ordering::Acquire);
    // SAFETY: `publish` stores only references to blocks that live for ever.
    unsafe { found.as_ref() }
}

/// Every described CPU.
pub fn described() -> impl Iterator<Item = &'static PerCpu> {
    (0..MAX_CPUS).filter_map(|index| cpu(CpuId::new(index)))
}

/// Every CPU that runs.
pub fn online() -> impl Iterator<Item = &'static PerCpu> {
    described().filter(|cpu| cpu.state() == CpuState::Online)
}

/// Counts the CPUs that came up. Called by the primary when the fate of each is settled: a CPU that counted itself would be
/// online for a moment, and not in the count.
pub(crate) fn count_online() {
    // Relaxed: the number is all that is passed, and `main` comes after it.
    ONLINE.store(online().count(), Ordering::Relaxed);
}

/// How many CPUs came up; 0 until all have, or were left out. The same for everybody from `main` on.
#[must_use]
pub fn online_count() -> usize {
    ONLINE.load(Ordering::Relaxed)
}
