//! [`scope()`]: threads that borrow from the one that made them.

use super::job::Pending;
use crate::thread::control::ThreadPtr;
use crate::thread::{Builder, Death, JoinHandle, SpawnError, count_one_more, current_ptr};
use crate::worker;
use alloc::alloc::Layout;
use alloc::boxed::Box;
use core::cell::UnsafeCell;
use core::fmt;
use core::marker::PhantomData;
use core::ptr::NonNull;
use core::sync::atomic::{AtomicUsize, Ordering};
use isochron_core::countdown::Countdown;
use isochron_core::last_of_two::LastOfTwo;
use isochron_kernel::memory::OutOfMemory;

/// What a scope and its threads share; on the stack of the one that waits.
pub(crate) struct ScopeState {
    /// Its threads that have not ended.
    running: Countdown,
    /// How many have come to the end of their closures, or have died and their joiners know.
    accounted: AtomicUsize,
    spawned: AtomicUsize,
    owner: ThreadPtr,
}

// SAFETY: atomics, and a name that is only used by whoever knows that the scope still waits.
unsafe impl Sync for ScopeState {}

impl ScopeState {
    /// One of its threads is at its end, by whatever way: it will never touch again what it has borrowed.
    ///
    /// # Safety
    /// The state is alive: called once for each that counts as running.
    pub unsafe fn leave(this: *const Self) {
        // SAFETY: alive (caller), and so is the owner: it waits for this.
        let owner = unsafe { count_one_more((*this).owner) };
        // SAFETY: alive, and the thread counts (caller). From here on the state may be gone.
        if unsafe { Countdown::leave(&raw const (*this).running) } {
            worker::wake(owner.as_ptr());
        }
    }
}

/// Where threads can be made that borrow what lives longer than `'env`; see [`scope()`].
pub struct Scope<'scope, 'env: 'scope> {
    state: ScopeState,
    scope: PhantomData<&'scope mut &'scope ()>,
    env: PhantomData<&'env mut &'env ()>,
}

/// The way to the result of a thread of a scope.
pub struct ScopedJoinHandle<'scope, T> {
    thread: JoinHandle<()>,
    shared: Shared<'scope, T>,
    state: &'scope ScopeState,
}

/// What a thread of a scope and its handle share: one allocation, which the last of them gives back.
#[repr(C)]
struct Body<F, T> {
    head: Head<T>,
    /// Taken by the thread when it begins.
    closure: UnsafeCell<Option<F>>,
    state: *const ScopeState,
}

/// The part that does not depend on the closure's type.
struct Head<T> {
    sides: LastOfTwo,
    /// Written by the thread before its end, read by the one handle after it.
    result: UnsafeCell<Option<T>>,
    free: unsafe fn(NonNull<Head<T>>),
}

/// The handle's side.
struct Shared<'scope, T>(NonNull<Head<T>>, PhantomData<&'scope T>);

// SAFETY: the result goes from the thread to whoever has the handle.
unsafe impl<T: Send> Send for Shared<'_, T> {}
// SAFETY: a shared reference to a handle does not reach the result.
unsafe impl<T: Send> Sync for Shared<'_, T> {}

/// The thread's side, by an untyped pointer: threads must not borrow as far as the compiler is told.
struct Start(*mut (), unsafe fn(*mut ()));

// SAFETY: the closure and the result behind it are `Send`, by the bounds of `Scope::spawn_by`.
unsafe impl Send for Start {}

impl Start {
    fn run(self) {
        // SAFETY: made by `spawn_by`, and run once.
        unsafe { (self.1)(self.0) }
    }
}

impl<F: FnOnce() -> T, T> Body<F, T> {
    fn allocate(closure: F, state: *const ScopeState) -> Result<NonNull<Self>, OutOfMemory> {
        // SAFETY: a body is not zero-sized: it has a word that both sides leave by.
        let memory =
            NonNull::new(unsafe { alloc::alloc::alloc(Layout::new::<Self>()) }.cast::<Self>()).ok_or(OutOfMemory)?;
        let head = Head { sides: LastOfTwo::new(), result: UnsafeCell::new(None), free: Self::free };
        // SAFETY: fresh memory of the right size and alignment.
        unsafe { memory.write(Self { head, closure: UnsafeCell::new(Some(closure)), state }) };
        Ok(memory)
    }

    /// # Safety
    /// `body` came from `allocate`, this is the one call, and the scope still waits.
    unsafe fn run(body: *mut ()) {
        let body = body.cast::<Self>();
        // SAFETY: alive until both sides have left (caller); the closure is the thread's.
        let (this, closure) = unsafe { (&*body, (*(*body).closure.get()).take()) };
        let Some(closure) = closure else { unreachable!("a thread of a scope was started twice") };
        let value = closure();
        let state = this.state;
        // SAFETY: the handle looks only after the thread's end, or after it was the last to leave.
        unsafe { *this.head.result.get() = Some(value) };
        if this.head.sides.leave() {
            // The handle is gone: the result is dropped here, while what it borrows is still there.
            // SAFETY: the handle has left, so all of it is this thread's.
            unsafe { Self::free(NonNull::new_unchecked(body.cast())) };
        }
        // SAFETY: the scope waits for this thread's end. Relaxed: it is read after that.
        unsafe { (*state).accounted.fetch_add(1, Ordering::Relaxed) };
    }

    /// # Safety
    /// `head` is that of a body of this type, from `allocate`, that nobody else uses.
    unsafe fn free(head: NonNull<Head<T>>) {
        // SAFETY: allocated as a box is (caller).
        drop(unsafe { Box::from_raw(head.cast::<Self>().as_ptr()) });
    }
}

impl<T> Shared<'_, T> {
    /// # Safety
    /// The thread has ended, with a result.
    unsafe fn take(self) -> Option<T> {
        // SAFETY: alive until both sides have left; the thread does not touch it any more (caller).
        unsafe { (*self.0.as_ref().result.get()).take() }
    }

    /// # Safety
    /// The thread has ended without having begun, or was not made: its side will never leave.
    unsafe fn free(self) {
        let head = self.0;
        core::mem::forget(self);
        // SAFETY: of the body's own type, and nobody else's (caller).
        unsafe { (head.as_ref().free)(head) }
    }
}

impl<T> Drop for Shared<'_, T> {
    fn drop(&mut self) {
        // SAFETY: alive until both sides have left.
        if unsafe { self.0.as_ref() }.sides.leave() {
            // SAFETY: of the body's own type; the thread has left.
            unsafe { (self.0.as_ref().free)(self.0) }
        }
    }
}

/// Calls `f` with a scope in which threads can be made that borrow from here, and returns when all of them have ended.
///
/// ```ignore
/// let mut halves = [0, 0];
/// let (left, right) = halves.split_at_mut(1);
/// fork::scope(|scope| {
///     scope.spawn(|| left[0] = 1);
///     scope.spawn(|| right[0] = 2);
/// });
/// ```
///
/// # Panics
/// If a thread of the scope died and nobody has learnt that by joining it. Outside a thread.
#[track_caller]
pub fn scope<'env, F, T>(f: F) -> T
where
    F: for<'scope> FnOnce(&'scope Scope<'scope, 'env>) -> T,
{
    let me = current_ptr();
    // SAFETY: the running thread's block is alive.
    let forks = unsafe { &me.as_ref().forks };
    let scope = Scope {
        state: ScopeState {
            running: Countdown::new(),
            accounted: AtomicUsize::new(0),
            spawned: AtomicUsize::new(0),
            owner: me,
        },
        scope: PhantomData,
        env: PhantomData,
    };
    // So that the stack is kept should this thread die before all others have ended.
    let pending = Pending::new(forks.get(), None);
    forks.set(&raw const pending);
    let result = f(&scope);
    while !scope.state.running.is_over() {
        worker::block_current();
    }
    forks.set(pending.older);
    let spawned = scope.state.spawned.load(Ordering::Relaxed);
    let died = spawned - scope.state.accounted.load(Ordering::Relaxed);
    assert!(died == 0, "{died} of the {spawned} threads of a scope died");
    result
}

impl<'scope> Scope<'scope, '_> {
    /// Runs `closure` in a new thread, which may borrow all that outlives the scope.
    ///
    /// # Panics
    /// If there is no memory for it: [`spawn_by`](Self::spawn_by) returns that as an error.
    #[track_caller]
    pub fn spawn<F, T>(&'scope self, closure: F) -> ScopedJoinHandle<'scope, T>
    where
        F: FnOnce() -> T + Send + 'scope,
        T: Send + 'scope,
    {
        match self.spawn_by(Builder::new(), closure) {
            Ok(handle) => handle,
            Err(error) => panic!("a thread cannot be made: {error}"),
        }
    }

    /// As [`spawn`](Self::spawn), with a name, a CPU and so on.
    ///
    /// # Errors
    /// See [`SpawnError`].
    pub fn spawn_by<F, T>(
        &'scope self,
        builder: Builder<'_>,
        closure: F,
    ) -> Result<ScopedJoinHandle<'scope, T>, SpawnError>
    where
        F: FnOnce() -> T + Send + 'scope,
        T: Send + 'scope,
    {
        let state = &raw const self.state;
        let body = Body::allocate(closure, state)?;
        let shared = Shared(body.cast(), PhantomData);
        self.state.running.enter();
        let start = Start(body.as_ptr().cast(), Body::<F, T>::run);
        match builder.spawn_in(state, move || start.run()) {
            Ok(thread) => {
                self.state.spawned.fetch_add(1, Ordering::Relaxed);
                Ok(ScopedJoinHandle { thread, shared, state: &self.state })
            }
            Err(error) => {
                // SAFETY: no thread was made.
                unsafe { shared.free() };
                // SAFETY: the count is taken back by the one who made it, so the scope waits still.
                unsafe { ScopeState::leave(state) };
                Err(error)
            }
        }
    }
}

impl<T> ScopedJoinHandle<'_, T> {
    /// Waits for the thread's end and returns its result.
    ///
    /// # Errors
    /// Why there is none.
    ///
    /// # Panics
    /// If a thread joins itself.
    #[track_caller]
    pub fn join(self) -> Result<T, Death> {
        let Self { thread, shared, state } = self;
        if let Err(death) = thread.join() {
            // Relaxed: read by the owner after this thread's own end, or in this very thread.
            state.accounted.fetch_add(1, Ordering::Relaxed);
            if death == Death::OutOfMemory {
                // SAFETY: for want of a stack it has never begun.
                unsafe { shared.free() };
            }
            return Err(death);
        }
        // SAFETY: the thread has ended, with a result.
        match unsafe { shared.take() } {
            Some(result) => Ok(result),
            None => unreachable!("a thread ended without a result"),
        }
    }

    /// Whether the thread has ended: then `join` returns at once.
    #[must_use]
    pub fn is_finished(&self) -> bool {
        self.thread.is_finished()
    }

    /// The thread itself.
    #[must_use]
    pub fn thread(&self) -> crate::thread::Thread {
        self.thread.thread()
    }
}

impl fmt::Debug for Scope<'_, '_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Scope({} running)", self.state.running.count())
    }
}

impl<T> fmt::Debug for ScopedJoinHandle<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ScopedJoinHandle({:?})", self.thread())
    }
}
