//! Who waits for a lock or a channel: an intrusive first-in first-out list, and the token that wakes each once.
//!
//! # Protocol
//! The list belongs to whatever is waited for and is used under its lock. A node lives on the waiting thread's stack;
//! the thread links it, parks, and may leave only once its [`WaitToken`] has an outcome:
//!
//! | token | meaning | who leaves it |
//! | --- | --- | --- |
//! | waiting | nothing has happened yet | anyone, by one compare-and-swap (`claim`, `fire`) |
//! | claimed by `tag` | a waker is filling in the node's payload | that waker, by `publish` |
//! | outcome `tag` | final; the payload may be read | nobody |
//!
//! Waker and time-out race for the token, and one wins. Several nodes may share one token: then it is a `select`, and
//! the tag tells which one it was.
//!
//! * The waker, under the lock: `pop_claimed` (unlinks, claims; nodes whose token is lost are passed over), fills in the
//!   payload, copies the waiter, `publish`. From then on the node may be gone. Then, outside the lock, it unparks.
//! * The waiter: parks until there is an outcome. On a time-out it `fire`s its own tag. If that wins, it takes the lock
//!   and `remove`s its node; if not, the wake-up is on its way, and it parks for it.
//!
//! A waiter may see its outcome before the waker's unpark has reached it (it was up for another reason). So that late
//! unpark may find the thread elsewhere, or ended: it is a spurious permit, which every park must bear, and thread
//! blocks must stay valid memory for it (they come from a pool and are never given back).

use core::marker::PhantomPinned;
use core::ptr::{NonNull, null_mut};

use crate::sync::{AtomicU32, Ordering, const_unless_loom};

const WAITING: u32 = 0;
const CLAIMED: u32 = 1 << 31;
const PUBLISHED: u32 = 1 << 30;

/// One wait, of one or more nodes: it ends once.
#[derive(Debug)]
pub struct WaitToken {
    /// 0, or `CLAIMED` and the tag, and `PUBLISHED` once it is final.
    word: AtomicU32,
}

impl WaitToken {
    const_unless_loom! {
        /// A wait that has not ended.
        pub const fn new() -> Self {
            Self { word: AtomicU32::new(WAITING) }
        }
    }

    /// Claims the wait for `tag` (below 2^30); `publish` must follow. False: another has it.
    #[inline]
    pub fn claim(&self, tag: u32) -> bool {
        // Relaxed: `publish` is what hands something over.
        self.word.compare_exchange(WAITING, tag | CLAIMED, Ordering::Relaxed, Ordering::Relaxed).is_ok()
    }

    /// Makes the claim of `tag` final. The token and its nodes may be gone as soon as this is written.
    #[inline]
    pub fn publish(&self, tag: u32) {
        // Release: partner is the load in `outcome`; the payload is seen with it.
        self.word.store(tag | CLAIMED | PUBLISHED, Ordering::Release);
    }

    /// Ends the wait with `tag` and no payload (a time-out). False: another has it.
    #[inline]
    pub fn fire(&self, tag: u32) -> bool {
        // Relaxed: nothing is handed over; the waiter takes the queue's lock before it leaves.
        self.word.compare_exchange(WAITING, tag | CLAIMED | PUBLISHED, Ordering::Relaxed, Ordering::Relaxed).is_ok()
    }

    /// True if a waker has begun to end the wait, or it has ended: an outcome is there, or comes at once.
    #[inline]
    pub fn is_claimed(&self) -> bool {
        // Relaxed: `outcome` is what hands something over.
        self.word.load(Ordering::Relaxed) != WAITING
    }

    /// How the wait ended, if it has; then the payload may be read.
    #[inline]
    pub fn outcome(&self) -> Option<u32> {
        // Acquire: partner is the store in `publish`.
        let word = self.word.load(Ordering::Acquire);
        (word & PUBLISHED != 0).then_some(word & !(CLAIMED | PUBLISHED))
    }
}

impl Default for WaitToken {
    fn default() -> Self {
        Self::new()
    }
}

/// One place in one queue. `W` names the waiting thread; `P` is what passes between waker and waiter.
#[derive(Debug)]
pub struct WaitNode<W, P = ()> {
    prev: *mut Self,
    next: *mut Self,
    linked: bool,
    tag: u32,
    waiter: W,
    token: NonNull<WaitToken>,
    /// The waker's while the node is linked, the waiter's before and once the token has this node's outcome.
    pub payload: P,
    _pinned: PhantomPinned,
}

impl<W, P> WaitNode<W, P> {
    /// A node that is in no queue. `token` must live as long as the node is linked.
    pub const fn new(waiter: W, token: &WaitToken, tag: u32, payload: P) -> Self {
        Self::with_token(waiter, NonNull::from_ref(token), tag, payload)
    }

    /// As [`new`](Self::new); whoever ends the wait gets this very pointer, by [`Wake::token`], and may go on from it to what
    /// the token lies in.
    pub const fn with_token(waiter: W, token: NonNull<WaitToken>, tag: u32, payload: P) -> Self {
        Self { prev: null_mut(), next: null_mut(), linked: false, tag, waiter, token, payload, _pinned: PhantomPinned }
    }
}

/// The waiting threads, first come first served. Used under the lock of what it belongs to.
#[derive(Debug)]
pub struct WaitQueue<W, P = ()> {
    first: *mut WaitNode<W, P>,
    last: *mut WaitNode<W, P>,
}

// SAFETY: used under a lock (all methods take `&mut self`); what goes from CPU to CPU is the waiters and payloads.
unsafe impl<W: Send, P: Send> Send for WaitQueue<W, P> {}

impl<W: Copy, P> WaitQueue<W, P> {
    /// Nobody waits.
    pub const fn new() -> Self {
        Self { first: null_mut(), last: null_mut() }
    }

    /// True if no node is linked.
    #[inline(always)]
    pub const fn is_empty(&self) -> bool {
        self.first.is_null()
    }

    /// Links `node` last.
    ///
    /// # Safety
    /// `node` is in no queue. It and its token stay alive and in place until it has been popped and its token has this
    /// node's outcome, or it has been removed. Meanwhile nobody touches it but under this queue's lock.
    #[inline]
    pub unsafe fn push_back(&mut self, node: NonNull<WaitNode<W, P>>) {
        let raw = node.as_ptr();
        // SAFETY: alive and in nobody else's hands (caller); `last` is linked, so alive.
        unsafe {
            debug_assert!(!(*raw).linked);
            (*raw).prev = self.last;
            (*raw).next = null_mut();
            (*raw).linked = true;
            match NonNull::new(self.last) {
                Some(last) => (*last.as_ptr()).next = raw,
                None => self.first = raw,
            }
        }
        self.last = raw;
    }

    /// Links `node` as the only one.
    ///
    /// # Safety
    /// As for [`push_back`](Self::push_back), and the queue is empty.
    #[inline(always)]
    pub unsafe fn push_alone(&mut self, node: NonNull<WaitNode<W, P>>) {
        debug_assert!(self.is_empty());
        let raw = node.as_ptr();
        // SAFETY: alive and in nobody else's hands (caller).
        unsafe {
            debug_assert!(!(*raw).linked);
            (*raw).prev = null_mut();
            (*raw).next = null_mut();
            (*raw).linked = true;
        }
        self.first = raw;
        self.last = raw;
    }

    /// Links `node` before all that `goes_before` says it goes before, looked at from the last on; last if there is none.
    ///
    /// # Safety
    /// As for [`push_back`](Self::push_back).
    pub unsafe fn push_ordered(&mut self, node: NonNull<WaitNode<W, P>>, goes_before: impl Fn(&P) -> bool) {
        let (raw, mut before) = (node.as_ptr(), self.last);
        // SAFETY: linked nodes are alive, and so is the new one (caller).
        unsafe {
            while !before.is_null() && goes_before(&(*before).payload) {
                before = (*before).prev;
            }
            let after = if before.is_null() { self.first } else { (*before).next };
            debug_assert!(!(*raw).linked);
            (*raw).prev = before;
            (*raw).next = after;
            (*raw).linked = true;
            match NonNull::new(before) {
                Some(before) => (*before.as_ptr()).next = raw,
                None => self.first = raw,
            }
            match NonNull::new(after) {
                Some(after) => (*after.as_ptr()).prev = raw,
                None => self.last = raw,
            }
        }
    }

    /// Whether `node` is linked.
    ///
    /// # Safety
    /// As for [`remove`](Self::remove).
    pub unsafe fn is_linked(&self, node: NonNull<WaitNode<W, P>>) -> bool {
        // SAFETY: alive (caller).
        unsafe { (*node.as_ptr()).linked }
    }

    /// Unlinks `node` if it is still linked, as its waiter leaves. False: a waker has popped it.
    ///
    /// # Safety
    /// `node` is alive, and has been linked in this queue and in no other since.
    #[inline]
    pub unsafe fn remove(&mut self, node: NonNull<WaitNode<W, P>>) -> bool {
        let raw = node.as_ptr();
        // SAFETY: alive (caller); its neighbours are linked, so alive.
        unsafe {
            if !(*raw).linked {
                return false;
            }
            let (prev, next) = ((*raw).prev, (*raw).next);
            match NonNull::new(prev) {
                Some(prev) => (*prev.as_ptr()).next = next,
                None => self.first = next,
            }
            match NonNull::new(next) {
                Some(next) => (*next.as_ptr()).prev = prev,
                None => self.last = prev,
            }
            (*raw).linked = false;
        }
        true
    }

    /// Takes out the first node whose wait is not over, and claims it. The caller fills in its payload and calls
    /// [`Claim::publish`].
    #[inline]
    pub fn pop_claimed(&mut self) -> Option<Claim<W, P>> {
        while !self.is_empty() {
            if let Some(claim) = self.pop_first_claimed() {
                return Some(claim);
            }
        }
        None
    }

    /// As `pop_claimed`; nodes of this tag stay where they are.
    pub fn pop_claimed_but(&mut self, tag: u32) -> Option<Claim<W, P>> {
        let mut next = self.first;
        while let Some(node) = NonNull::new(next) {
            // SAFETY: linked here, so alive, and its token with it; one that is passed over is not touched again.
            unsafe {
                next = (*node.as_ptr()).next;
                let own = (*node.as_ptr()).tag;
                if own != tag && self.remove(node) && (*node.as_ptr()).token.as_ref().claim(own) {
                    return Some(Claim { node });
                }
            }
        }
        None
    }

    /// As `pop_claimed` for the first node alone: `None` also if its wait is over.
    #[inline(always)]
    pub fn pop_first_claimed(&mut self) -> Option<Claim<W, P>> {
        let node = NonNull::new(self.first)?;
        // SAFETY: linked here, so alive, its token and its neighbour with it; a node that is passed over is not touched
        // again.
        unsafe {
            let next = (*node.as_ptr()).next;
            self.first = next;
            match NonNull::new(next) {
                Some(next) => (*next.as_ptr()).prev = null_mut(),
                None => self.last = null_mut(),
            }
            (*node.as_ptr()).linked = false;
            (*node.as_ptr()).token.as_ref().claim((*node.as_ptr()).tag).then_some(Claim { node })
        }
    }

    /// The payload of the first node, whether or not its wait is over.
    #[inline]
    pub fn first_payload(&self) -> Option<&P> {
        // SAFETY: linked here, so alive; payloads of linked nodes are touched under this queue's lock only.
        NonNull::new(self.first).map(|node| unsafe { &(*node.as_ptr()).payload })
    }
}

impl<W: Copy, P> Default for WaitQueue<W, P> {
    fn default() -> Self {
        Self::new()
    }
}

/// A waiter that is out of the queue and whose wait this CPU ends. Made and used up under the queue's lock.
#[derive(Debug)]
#[must_use = "a waiter that is claimed and not published waits for ever"]
pub struct Claim<W, P> {
    node: NonNull<WaitNode<W, P>>,
}

impl<W: Copy, P> Claim<W, P> {
    /// What passes between waker and waiter.
    #[inline(always)]
    pub fn payload(&mut self) -> &mut P {
        // SAFETY: claimed and not published, so the waiter stays where it is and keeps its hands off.
        unsafe { &mut (*self.node.as_ptr()).payload }
    }

    /// Ends the wait. Returns who must be unparked, once, outside the lock.
    #[inline(always)]
    #[must_use]
    pub fn publish(self) -> W {
        let wake = self.into_wake();
        let waiter = wake.waiter();
        wake.publish();
        waiter
    }

    /// Leaves the rest for outside of the lock: unpark the waiter, then publish.
    #[inline(always)]
    pub fn into_wake(self) -> Wake<W> {
        let raw = self.node.as_ptr();
        // SAFETY: as in `payload`.
        unsafe { Wake { waiter: (*raw).waiter, token: Some((*raw).token), tag: (*raw).tag } }
    }
}

/// Waiters that have got what they waited for in one section of the queue's lock, first come, first out. The waits of those who
/// are still in here have not ended.
#[derive(Debug)]
#[must_use = "a waiter that is claimed and not published waits for ever"]
pub struct Granted<W, P> {
    first: *mut WaitNode<W, P>,
    last: *mut WaitNode<W, P>,
}

impl<W: Copy, P> Granted<W, P> {
    /// Nobody.
    #[inline(always)]
    pub const fn new() -> Self {
        Self { first: null_mut(), last: null_mut() }
    }

    /// One more. Under the queue's lock.
    pub fn push(&mut self, claim: Claim<W, P>) {
        let raw = claim.node.as_ptr();
        // SAFETY: nodes that are claimed and not published stay where they are, and the waker's hands alone are on them: so their
        // links are free for this.
        unsafe {
            (*raw).next = null_mut();
            match NonNull::new(self.last) {
                Some(last) => (*last.as_ptr()).next = raw,
                None => self.first = raw,
            }
        }
        self.last = raw;
    }

    /// Ends the wait of the next. Returns who must be unparked, once, outside the lock.
    #[must_use]
    pub fn publish_next(&mut self) -> Option<W> {
        let node = NonNull::new(self.first)?;
        // SAFETY: claimed and not published, as above. Its link is read before it is published.
        self.first = unsafe { (*node.as_ptr()).next };
        if self.first.is_null() {
            self.last = null_mut();
        }
        Some(Claim { node }.publish())
    }
}

impl<W: Copy, P> Default for Granted<W, P> {
    fn default() -> Self {
        Self::new()
    }
}

/// A waiter that is out of the queue, whose payload is filled in, and that this CPU wakes.
///
/// It stays where it is until [`Wake::publish`], so its thread lives until then: unpark first, publish second, and touch
/// the thread after that only if the unpark made it the caller's to queue. A waiter that is up already meanwhile waits
/// for the publication: interrupts are masked until then.
#[derive(Debug, PartialEq, Eq)]
#[must_use = "a waiter that is claimed and not published waits for ever"]
pub struct Wake<W> {
    waiter: W,
    /// `None`: there is nothing to publish.
    token: Option<NonNull<WaitToken>>,
    tag: u32,
}

impl<W: Copy> Wake<W> {
    /// Who must be unparked.
    #[inline(always)]
    pub fn waiter(&self) -> W {
        self.waiter
    }

    /// That of a waiter which was handed over: it is the caller's to queue, and there is nothing to unpark and to publish.
    #[inline(always)]
    pub fn handed_over(waiter: W) -> Self {
        Self { waiter, token: None, tag: 0 }
    }

    /// What it consists of, to be passed in registers: who waits, the token, the tag.
    #[inline(always)]
    pub fn into_parts(self) -> (W, Option<NonNull<WaitToken>>, u32) {
        (self.waiter, self.token, self.tag)
    }

    /// The same wake-up again.
    ///
    /// # Safety
    /// The parts come from [`into_parts`](Self::into_parts), and are put together once.
    #[inline(always)]
    pub unsafe fn from_parts((waiter, token, tag): (W, Option<NonNull<WaitToken>>, u32)) -> Self {
        Self { waiter, token, tag }
    }

    /// Whether it is such a one.
    #[inline(always)]
    pub fn is_handed_over(&self) -> bool {
        self.token.is_none()
    }

    /// The token of the wait, as it was given to the node; alive until [`publish`](Self::publish). `None` if the waiter was handed
    /// over.
    #[inline(always)]
    pub fn token(&self) -> Option<NonNull<WaitToken>> {
        self.token
    }

    /// Ends the wait.
    #[inline(always)]
    pub fn publish(self) {
        if let Some(token) = self.token {
            // SAFETY: claimed and not published, so the token is where it was; it is not touched after this.
            unsafe { token.as_ref().publish(self.tag) };
        }
    }
}
