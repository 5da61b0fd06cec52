//! Traces: out of a running guest's memory into a file, and out of the file into what people look at.
//!
//! [`memory`] is the guest's memory as a file that two programs map; [`area`] finds the rings in it and takes records out;
//! [`recorder`] does so in a thread of its own while the guest runs, finds [`names`] for the addresses in them, and writes a [`file`]. What a record says and how the
//! file is made up stands in [`isochron_wire::trace`].
//!
//! [`command`] reads a file: [`follow`] makes [`steps`] of records, [`picture`] takes [`figures`] of those, [`findings`] says what
//! stands out, [`tables`], [`plots`] and [`flames`] show it in a terminal and on a page ([`html`]), and [`chrome`] writes it for viewers.

pub mod area;
pub mod chrome;
pub mod command;
pub mod figures;
pub mod file;
pub mod findings;
pub mod flames;
pub mod follow;
pub mod html;
pub mod memory;
pub mod names;
pub mod picture;
pub mod plots;
pub mod recorder;
pub mod steps;
pub mod tables;
