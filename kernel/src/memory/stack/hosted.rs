//! Stacks that grow in a process, and give back what they do not use.
//!
//! The host gives pages as they are touched, and tells nobody. So the lower part of a stack is a guard at first (`MADV_GUARD_INSTALL`,
//! Linux 6.13), as is the region below it: the first access is a signal, by which the stack is known to grow, and then all of it is
//! the host's affair. When it is trimmed that part becomes a guard again, which gives its pages back. With an older host nothing
//! is a guard but the region below, no stack is known to grow, and none is trimmed.
//!
//! [`trim`](super::trim) is the same as on bare metal, but that it takes one stack after the other, and that one word, in the header,
//! stands for all of the lower part: it is shut by taking the rights away, and the host makes every CPU forget its pages then.

use super::header::{self, Header, Judge};
use super::{HEADER, backed_at_first};
use crate::memory::hosted as host;
use crate::{irq, smp};
use core::ptr::{null_mut, with_exposed_provenance, without_provenance_mut};
use core::sync::atomic::{AtomicU8, AtomicUsize, Ordering};
use isochron_boot::layout::{PAGE_SIZE, STACKS_BASE, STACKS_SIZE};
use isochron_core::page_word::Page;

/// Takes a guard of [`host::GUARD_INSTALL`] away.
const GUARD_REMOVE: libc::c_int = 103;

/// Where a byte for each page of the window tells whether it is of a stack, and not between two; 0: there are no guards.
// Relaxed: set with the first stack, before anybody runs on one.
static PAGES: AtomicUsize = AtomicUsize::new(0);
const PAGES_SIZE: usize = STACKS_SIZE / PAGE_SIZE;

/// A new stack, of which the part up to `first` is a guard.
pub(in crate::memory) fn made(bottom: usize, first: usize, end: usize) {
    debug_assert!(first < end);
    if PAGES.load(Ordering::Relaxed) == 0 {
        let (access, kind) =
            (libc::PROT_READ | libc::PROT_WRITE, libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_NORESERVE);
        // SAFETY: fresh addresses, where the host likes.
        let got = irq::without(|| unsafe { libc::mmap(null_mut(), PAGES_SIZE, access, kind, -1, 0) });
        assert!(got != libc::MAP_FAILED, "the host has no addresses for a table of stacks");
        PAGES.store(got.expose_provenance(), Ordering::Relaxed);
    }
    for page in (bottom..end).step_by(PAGE_SIZE) {
        if let Some(is_stack) = page_at(page) {
            is_stack.store(1, Ordering::Relaxed);
        }
    }
}

fn page_at(addr: usize) -> Option<&'static AtomicU8> {
    let table = PAGES.load(Ordering::Relaxed);
    let is_inside = table != 0 && (STACKS_BASE..STACKS_BASE + STACKS_SIZE).contains(&addr);
    // SAFETY: a byte for each page of the window, which is zero at first.
    is_inside.then(|| unsafe { &*with_exposed_provenance::<AtomicU8>(table + (addr - STACKS_BASE) / PAGE_SIZE) })
}

fn is_stack(addr: usize) -> bool {
    page_at(addr).is_some_and(|page| page.load(Ordering::Relaxed) != 0)
}

/// The bottom, the end of the lower part and the top of the stack at an address, if there is one that can grow.
fn around(addr: usize) -> Option<(usize, usize, usize)> {
    let page = addr & !(PAGE_SIZE - 1);
    if !is_stack(page) {
        return None;
    }
    let (mut bottom, mut end) = (page, page + PAGE_SIZE);
    while is_stack(bottom - PAGE_SIZE) {
        bottom -= PAGE_SIZE;
    }
    while is_stack(end) {
        end += PAGE_SIZE;
    }
    Some((bottom, end - backed_at_first(end - bottom), end - HEADER))
}

/// Changes what the host allows in a part of a stack. False: it has no room to note it.
fn protect(from: usize, to: usize, rights: libc::c_int) -> bool {
    // SAFETY: pages of a stack: what is in them stays.
    irq::without(|| unsafe { libc::mprotect(without_provenance_mut(from), to - from, rights) == 0 })
}

fn advise(from: usize, to: usize, advice: libc::c_int) -> bool {
    // SAFETY: pages of a stack which are guards, or of which nobody needs the contents.
    irq::without(|| unsafe { libc::madvise(without_provenance_mut(from), to - from, advice) == 0 })
}

/// A page was touched that cannot be. True: it can now. In the handler of the signal, interrupts masked.
#[cfg(not(isochron_sim))]
pub(crate) fn touched(addr: usize) -> bool {
    let Some((bottom, first, top)) = around(addr).filter(|(_, first, _)| addr < *first) else { return false };
    // SAFETY: a stack's top.
    let stack = unsafe { header::at(top) };
    match stack.word.look() {
        Page::Folded(_) => open(stack),
        Page::Here(_) => {
            crate::hooks::isochron_stack_grew(addr);
            // SAFETY: this CPU runs on it, or is about to leave it.
            let is_known = unsafe { header::has_grown(top) };
            // Otherwise no more than that: the next access is to be a signal too.
            let from = if is_known { bottom } else { addr & !(PAGE_SIZE - 1) };
            return advise(from, first, GUARD_REMOVE);
        }
        _ => crate::arch::cpu::spin_hint(),
    }
    true
}

/// All of the stack at `bottom` can be touched without a signal.
pub(in crate::memory) fn back_all(bottom: usize) -> bool {
    around(bottom).is_none_or(|(bottom, first, _)| bottom == first || advise(bottom, first, GUARD_REMOVE))
}

/// See [`super::trim`].
pub(super) fn trim(judge: Judge) -> usize {
    header::grown().map(|stack| trim_one(stack, judge)).sum()
}

fn trim_one(stack: &Header, judge: Judge) -> usize {
    // One that did not come to its end may have left it so.
    open(stack);
    let shut_to = stack.look(judge, |seen| {
        let (Ok(limit) | Err(limit)) = seen?;
        let is_worth_it = limit > stack.bottom() && host::resident(stack.bottom(), limit) > 0;
        (is_worth_it && shut(stack, limit)).then_some(limit)
    });
    let Some(shut_to) = shut_to else { return 0 };
    let mut seen = stack.look(judge, |seen| seen);
    if let Some(Err(_)) = seen {
        seen = if smp::system_wide_barrier().is_ok() { stack.look(judge, |seen| seen) } else { None };
    }
    match seen {
        Some(Ok(limit) | Err(limit)) if limit >= shut_to => take(stack),
        _ => {
            open(stack);
            0
        }
    }
}

/// The lower part of a stack whose word is `Folded` with this place is shut: it is whole, and nobody may touch it.
///
/// Not `Shut`: what the host does and the word are two steps, so it is busy in between, as in `folding/hosted.rs`.
const SHUT: u64 = 0;

fn shut(stack: &Header, limit: usize) -> bool {
    irq::without(|| {
        if !(stack.word.shut(0, 0) && stack.word.hold(0)) {
            return false;
        }
        stack.shut_to.store(limit, Ordering::Relaxed);
        let is_shut = protect(stack.bottom(), limit, libc::PROT_NONE);
        if is_shut {
            stack.word.settle(SHUT);
        } else {
            stack.word.open(0);
        }
        is_shut
    })
}

/// Takes what is shut, unless somebody has opened it. How many bytes it was.
fn take(stack: &Header) -> usize {
    opened(stack, |to| {
        let before = host::resident(stack.bottom(), to);
        if advise(stack.bottom(), to, host::GUARD_INSTALL) { before } else { 0 }
    })
}

/// Opens what is shut, unless somebody else does.
fn open(stack: &Header) {
    opened(stack, |_| 0);
}

/// The same, after `first`, which is told where it ends, and whose answer it gives; 0 if it is not shut.
fn opened(stack: &Header, first: impl FnOnce(usize) -> usize) -> usize {
    // Nobody waits for a CPU that has gone to do something else.
    irq::without(|| {
        if !stack.word.claim(SHUT) {
            return 0;
        }
        let to = stack.shut_to.load(Ordering::Relaxed);
        let result = first(to);
        let is_open = protect(stack.bottom(), to, libc::PROT_READ | libc::PROT_WRITE);
        assert!(is_open, "the host does not give a stack its rights back");
        stack.word.open(0);
        result
    })
}
