//! What drivers and libraries of the embedded world ask for, so that they run as they are.
//!
//! | crate | what is there | feature |
//! | --- | --- | --- |
//! | `critical-section` | one section for all CPUs, interrupts masked: `critical_section.rs` | `critical-section` |
//! | `embassy-time-driver` | time and wake-ups for `embassy-time`: `time_driver.rs` | `embassy-time` |
//! | `embedded-io`, `embedded-io-async` | [`Console`], to write to | `embedded-io` |
//!
//! All are on unless a program says otherwise, and take no place in a program that does not use them. Tasks run by
//! [`spawn_async`](crate::future::spawn_async) or [`block_on`](crate::future::block_on()); no other executor is needed.

#[cfg(feature = "embedded-io")]
mod console;
#[cfg(feature = "critical-section")]
mod critical_section;
#[cfg(feature = "embassy-time")]
mod time_driver;

#[cfg(feature = "embedded-io")]
pub use console::Console;
