//! What the programs share: reading arguments, and measuring.
//!
//! On the host only the pure parts exist ([`arguments`], [`options`], [`measure::Recorder`]), for tests.
#![cfg_attr(not(test), no_std)]
#![warn(missing_docs)]

extern crate alloc;

pub mod arguments;
pub mod measure;
pub mod options;
