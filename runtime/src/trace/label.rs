//! Parts of a program and numbers in it that a trace shows by name.

use super::points;
use core::marker::PhantomData;

/// A name for a part of the program, or for a number that it counts: a static.
///
/// What is recorded is where it lies; whoever reads the trace looks up the name in the program's file. Without the feature `trace`
/// it is nothing.
///
/// ```ignore
/// static PARSE: Label = Label::new("parse");
/// static WAITING: Label = Label::new("requests that wait");
///
/// let request = {
///     let _span = PARSE.span();
///     parse(bytes)
/// };
/// WAITING.count(queue.len() as u64);
/// ```
#[repr(C)]
#[derive(Debug)]
pub struct Label {
    // The host reads both out of the program's file.
    text: *const u8,
    length: usize,
}

// SAFETY: it stands for a `&'static str`.
unsafe impl Sync for Label {}

impl Label {
    /// Of that name.
    #[must_use]
    pub const fn new(name: &'static str) -> Self {
        Self { text: name.as_ptr(), length: name.len() }
    }

    /// The running thread is in that part of the program until the answer is dropped.
    #[inline]
    pub fn span(&'static self) -> Span {
        points::span_begins(self.address());
        Span { label: self, _not_send: PhantomData }
    }

    /// The number has this value from now on.
    #[inline]
    pub fn count(&'static self, value: u64) {
        points::count(self.address() as u32, value);
    }

    #[inline(always)]
    fn address(&'static self) -> u64 {
        core::ptr::from_ref(self).addr() as u64
    }
}

/// A part of the program that a thread is in: see [`Label::span`].
#[derive(Debug)]
#[must_use = "the span ends when this is dropped"]
pub struct Span {
    label: &'static Label,
    /// It is the thread's that began it.
    _not_send: PhantomData<*const ()>,
}

impl Drop for Span {
    #[inline]
    fn drop(&mut self) {
        points::span_ends(self.label.address());
    }
}
