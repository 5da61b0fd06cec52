//! `report`: what was measured before against what is measured now.
//!
//! [`read`] takes reports from files, [`side`] makes one side of several, [`judge`] compares two sides, [`render`] shows what
//! came out, and [`baseline`] holds instruction counts to those that the repository keeps.

pub mod baseline;
pub mod judge;
pub mod read;
pub mod render;
pub mod side;

use crate::artefact::write_json;
use crate::cli::{BaselineArgs, DiffArgs, ReportCommand};
use crate::error::Error;
use crate::style::Style;
use crate::workspace::Workspace;
use side::Side;
use std::io::{self, Write};

/// The exit code of a comparison in which something got slower, and of a baseline that was risen above.
pub const SLOWER: u8 = 4;

/// Does what `report` was asked for, and gives the exit code: 0, or [`SLOWER`].
///
/// # Errors
/// [`Error::NotAReport`], [`Error::Incomparable`], [`Error::Io`]; of the baseline, what its runs fail with.
pub fn command(workspace: &Workspace, what: &ReportCommand) -> Result<u8, Error> {
    match what {
        ReportCommand::Diff(args) => diff(args),
        ReportCommand::Baseline(BaselineArgs { check }) => baseline::command(workspace, *check),
    }
}

fn diff(args: &DiffArgs) -> Result<u8, Error> {
    let (before, after) = (Side::read(&args.before)?, Side::read(&args.after)?);
    let comparison = judge::compare(&before, &after)?;
    let text = render::table(&comparison, args.all, Style::of(&io::stdout()));
    // A reader that has gone away (a closed pipe) is no failure.
    let _ = io::stdout().write_all(text.as_bytes());
    if let Some(json) = &args.json {
        write_json(json, &render::json(&comparison))?;
    }
    Ok(if comparison.slower(args.allow).next().is_some() { SLOWER } else { 0 })
}
