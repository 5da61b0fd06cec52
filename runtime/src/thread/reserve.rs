//! A CPU for one thread alone.

use super::builder::{Builder, SpawnError};
use super::join::JoinHandle;
use super::{control, count_one_more, current_cpu, current_ptr};
use crate::worker::{self, Worker};
use core::fmt;
use core::marker::PhantomData;
use isochron_kernel::cpu::CpuId;
use isochron_kernel::irq;

/// Why a CPU cannot be given to one thread alone.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum ReserveError {
    /// It does not run.
    NoSuchCpu(CpuId),
    /// The primary CPU takes the interrupts of devices, and one CPU must be left for all others.
    Primary,
    /// Another thread has it.
    Taken(CpuId),
    /// The thread has a CPU for itself already.
    HasOne(CpuId),
    /// The thread that was to have it was not made.
    Spawn(SpawnError),
}

impl fmt::Display for ReserveError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoSuchCpu(cpu) => write!(f, "there is no CPU {cpu}"),
            Self::Primary => f.write_str("the primary CPU is for all"),
            Self::Taken(cpu) => write!(f, "CPU {cpu} is given to another thread"),
            Self::HasOne(cpu) => write!(f, "this thread has CPU {cpu} for itself"),
            Self::Spawn(error) => error.fmt(f),
        }
    }
}

impl core::error::Error for ReserveError {}

impl From<SpawnError> for ReserveError {
    fn from(error: SpawnError) -> Self {
        Self::Spawn(error)
    }
}

/// The running thread has a CPU for itself until this is dropped: see [`reserve_cpu`].
#[derive(Debug)]
#[must_use = "the CPU is given back when this is dropped"]
pub struct Reservation {
    cpu: CpuId,
    /// What the thread was bound to before.
    before: Option<CpuId>,
    /// It is the thread's that made it.
    not_send: PhantomData<*mut ()>,
}

/// Gives `cpu` to the running thread alone, and moves the thread there.
///
/// No other thread is started, woken or stolen to that CPU, those that wait there go to others, and nobody may be bound to it.
/// While the thread runs, the CPU takes no timer interrupt, for there is no quantum to end, and no interrupt of another
/// CPU's scheduler. It idles while the thread waits.
///
/// What still reaches it: the timers of this very thread; those of threads that went to sleep on that CPU before; threads
/// that were bound to it before, which still run nowhere else; [`system_wide_barrier`](crate::sync::system_wide_barrier),
/// whose purpose it is to interrupt every CPU; and one last end of a quantum that was under way.
///
/// # Errors
/// See [`ReserveError`].
#[track_caller]
pub fn reserve_cpu(cpu: CpuId) -> Result<Reservation, ReserveError> {
    let me = current_ptr();
    // SAFETY: the running thread's block is alive.
    let thread = unsafe { me.as_ref() };
    // Who is bound to a CPU that another thread has for itself has none.
    if let Some(own) = thread.pinned().filter(|_| worker::has_this_cpu(me)) {
        return Err(ReserveError::HasOne(own));
    }
    claim(cpu)?;
    Ok(settle(cpu, thread.pinned()))
}

/// A CPU on its way to a thread that was made for it. Given back when the closure that it lies in is dropped because the
/// thread was not made; a thread that ends before it began gives its claim back itself.
struct Claimed(CpuId);

impl Claimed {
    fn new(cpu: CpuId) -> Result<Self, ReserveError> {
        claim(cpu).map(|()| Self(cpu))
    }

    /// The thread has come.
    fn settle(self) -> Reservation {
        let cpu = self.0;
        core::mem::forget(self);
        settle(cpu, Some(cpu))
    }
}

impl Drop for Claimed {
    fn drop(&mut self) {
        // What is no longer the running thread's has been given back, and may be somebody else's by now.
        worker::give_back_claims(current_ptr());
    }
}

/// Takes `cpu` from all others, for a thread that will come. If this one dies before that, it is given back.
fn claim(cpu: CpuId) -> Result<(), ReserveError> {
    if cpu == CpuId::PRIMARY {
        return Err(ReserveError::Primary);
    }
    match worker::check_bindable(cpu) {
        Ok(()) if worker::reserve(cpu, current_ptr()) => Ok(()),
        Ok(()) | Err(worker::NotBindable::Reserved) => Err(ReserveError::Taken(cpu)),
        Err(worker::NotBindable::NoSuchCpu) => Err(ReserveError::NoSuchCpu(cpu)),
    }
}

/// The running thread goes to the CPU that was claimed for it.
#[track_caller]
fn settle(cpu: CpuId, before: Option<CpuId>) -> Reservation {
    let me = current_ptr();
    // SAFETY: the running thread's block is alive.
    unsafe { me.as_ref() }.set_pinned(Some(cpu));
    if current_cpu() != cpu {
        Worker::requeue_current();
    }
    irq::without(|| {
        // SAFETY: as above; it runs.
        Worker::this().take_over(unsafe { count_one_more(me) });
    });
    Reservation { cpu, before, not_send: PhantomData }
}

impl Reservation {
    /// Which CPU.
    #[must_use]
    pub fn cpu(&self) -> CpuId {
        self.cpu
    }
}

impl Drop for Reservation {
    fn drop(&mut self) {
        let Some(me) = control::current_ptr() else { return };
        // SAFETY: the running thread's block is alive.
        let thread = unsafe { me.as_ref() };
        if current_cpu() != self.cpu {
            // It has gone elsewhere meanwhile; the CPU itself ends its reservation.
            thread.set_pinned(Some(self.cpu));
            Worker::requeue_current();
        }
        irq::without(|| {
            Worker::this().hand_back();
            thread.set_home(self.cpu);
            thread.set_pinned(self.before);
        });
        if self.before.is_some_and(|before| before != current_cpu()) {
            Worker::requeue_current();
        }
    }
}

impl Builder<'_> {
    /// Makes a thread that has `cpu` for itself as long as it lives, as if it began with [`reserve_cpu`]. The CPU is claimed
    /// at once, so that an error is told here. Takes the place of [`pinned`](Builder::pinned).
    ///
    /// # Errors
    /// See [`ReserveError`]; then the CPU stays with all.
    pub fn spawn_exclusive<F, T>(self, cpu: CpuId, closure: F) -> Result<JoinHandle<T>, ReserveError>
    where
        F: FnOnce() -> T + Send + 'static,
        T: Send + 'static,
    {
        let claimed = Claimed::new(cpu)?;
        let made = self.bound_even_if_reserved(cpu).spawn(move || {
            let _own = claimed.settle();
            closure()
        });
        Ok(made?)
    }
}
