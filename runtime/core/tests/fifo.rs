//! The list without a lock, against a queue of the standard library.
#![cfg(not(loom))]

use isochron_core::fifo::Fifo;
use isochron_core::link::{Link, Linked};
use proptest::prelude::*;
use std::collections::VecDeque;
use std::ptr::NonNull;

struct Node {
    link: Link<Self>,
    number: usize,
}

// SAFETY: the link is a field, found without making a reference to the whole.
unsafe impl Linked for Node {
    unsafe fn link(node: NonNull<Self>) -> NonNull<Link<Self>> {
        // SAFETY: the node is alive (the trait's contract).
        unsafe { NonNull::new_unchecked(&raw mut (*node.as_ptr()).link) }
    }
}

/// The longest way of a random test: Miri is a thousand times slower.
const STEPS: usize = if cfg!(miri) { 12 } else { 200 };

proptest! {
    #[test]
    fn first_in_first_out_and_back_to_the_front(steps in prop::collection::vec(0..4u8, 0..STEPS)) {
        let mut nodes: Vec<Box<Node>> = (0..200).map(|number| Box::new(Node { link: Link::new(), number })).collect();
        let nodes: Vec<NonNull<Node>> = nodes.iter_mut().map(|node| NonNull::from(&mut **node)).collect();
        let (mut list, mut model) = (Fifo::new(), VecDeque::new());
        for (number, step) in steps.into_iter().enumerate() {
            match step {
                0 => {
                    // SAFETY: alive to the end, and each is pushed once by its number.
                    unsafe { list.push(nodes[number]) };
                    model.push_back(number);
                }
                1 => {
                    // SAFETY: as above.
                    unsafe { list.push_first(nodes[number]) };
                    model.push_front(number);
                }
                // SAFETY: alive to the end.
                _ => prop_assert_eq!(list.pop().map(|node| unsafe { node.as_ref() }.number), model.pop_front()),
            }
            prop_assert_eq!(list.is_empty(), model.is_empty());
        }
    }
}
