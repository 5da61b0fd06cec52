//! Traces: out of a running guest's memory into a file, and out of the file into what people look at.
//!
//! [`memory`] is the guest's memory as a file that two programs map; [`area`] finds the rings in it and takes records out;
//! [`recorder`] does so in a thread of its own while the guest runs, finds [`names`] for the addresses in them, and writes a [`file`]. What a record says and how the
//! file is made up stands in [`isochron_wire::trace`].

pub mod area;
pub mod file;
pub mod memory;
pub mod names;
pub mod recorder;
