//! Stacks give back what they have grown by and do not use: those that nobody has, and those of threads that wait, below their stack
//! pointers.
//!
//! Nobody is stopped for it, nor asked to wait. Pages that look as if they were not in use are *shut*
//! ([`isochron_core::page_word`]), and every CPU forgets them and passes a barrier; an access is a fault from then on, which opens the
//! page again, with what was in it. Then each stack is looked at once more. If its thread waits now, or it has none, a page below the
//! stack pointer was of no use at this moment, at which nobody could have got at it but by a fault: so if it is shut still, nobody
//! has written there since, and the frame goes.
//!
//! A thread that waits to be handed over (`isochron_core::thread_state`) may not have saved its stack pointer yet. After one more
//! barrier it has: what is read then was saved at a time after the first look, by that thread or by whoever has had the stack since.
//!
//! # Rejected
//! *Claiming the thread*, so that it cannot be woken meanwhile: all wake-ups would have to ask. *A list of all threads*: each that is
//! made or freed would pay for it. *Taking pools apart for it*: what CPUs have in stock is out of reach then.

use super::growth::{Entries, encoded, frame_of, shrunk};
use super::header::{self, Header, Judge};
use crate::arch;
use crate::memory::frames;
use crate::memory::page_table::RESERVED;
use crate::smp;
use isochron_boot::layout::PAGE_SIZE;
use isochron_boot::{PhysAddr, VirtAddr};
use isochron_core::page_word::{Page, PageWord};

/// See [`super::trim`].
pub(super) fn trim(judge: Judge) -> usize {
    if header::grown().filter(|stack| shut(stack, judge)).count() == 0 {
        return 0;
    }
    if let Err(cpu) = smp::forget_translations() {
        log::warn!("CPU {cpu} does not answer: stacks keep what they have grown by");
        return 0;
    }
    let (mut bytes, mut doubts) = (0, false);
    for stack in header::grown() {
        let seen = stack.look(judge, |seen| seen);
        stack.is_in_doubt.set(matches!(seen, Some(Err(_))));
        match seen {
            Some(Ok(limit)) => bytes += take(stack, limit),
            Some(Err(_)) => doubts = true,
            None => open(stack, stack.bottom()),
        }
    }
    if doubts && smp::system_wide_barrier().is_ok() {
        for stack in header::grown().filter(|stack| stack.is_in_doubt.get()) {
            match stack.look(judge, |seen| seen) {
                Some(Ok(limit) | Err(limit)) => bytes += take(stack, limit),
                None => open(stack, stack.bottom()),
            }
        }
    }
    bytes
}

/// The pages' words of a stack from `from` up to `to`, each with its page.
fn words(from: usize, to: usize) -> impl DoubleEndedIterator<Item = (usize, &'static PageWord)> {
    let mut entries = Entries::of(from);
    (from..to).step_by(PAGE_SIZE).filter_map(move |page| Some((page, PageWord::of(entries.entry(page)?))))
}

/// Shuts what a stack does not use, as it looks. Whether there is something shut.
fn shut(stack: &Header, judge: Judge) -> bool {
    stack.look(judge, |seen| {
        let Some(Ok(limit) | Err(limit)) = seen else { return false };
        let mut any = false;
        // Of what is backed, which is the upper part.
        for (page, word) in words(stack.bottom(), limit).rev() {
            match word.look() {
                Page::Here(RESERVED) => break,
                Page::Here(raw) => {
                    let Some(frame) = frame_of(raw) else { break };
                    if word.shut(encoded(frame), frame) {
                        any = true;
                        if arch::paging::INVALIDATES_EVERYWHERE {
                            arch::paging::invalidate(VirtAddr::new(page));
                        }
                    }
                }
                // By one that did not come to its end.
                _ => any = true,
            }
        }
        any
    })
}

/// Takes the frames of what is shut below `limit`, from the lowest on, and opens what is shut above it. How many bytes it was.
fn take(stack: &Header, limit: usize) -> usize {
    let mut bytes = 0;
    for (_, word) in words(stack.bottom(), limit) {
        if let Page::Shut(frame) = word.look()
            && word.discard(frame, RESERVED)
        {
            frames::free(PhysAddr::new(frame as usize));
            bytes += PAGE_SIZE;
        }
    }
    shrunk(bytes);
    open(stack, limit);
    bytes
}

/// Opens what is shut of a stack from `from` on.
fn open(stack: &Header, from: usize) {
    for (_, word) in words(from, stack.first()).rev() {
        if let Page::Shut(frame) = word.look() {
            word.reopen(frame, encoded(frame));
        }
    }
    arch::paging::publish();
}
