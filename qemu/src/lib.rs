//! The host program behind `cargo run`: set up, build, launch, watch, report.
//!
//! One way through: [`cli`] reads what is asked, [`prepare`] checks it and makes what a machine boots ([`build`],
//! [`artefact`], [`dtb`], [`launch`]), [`watch`] runs QEMU and takes the guest's console apart ([`stream`]),
//! [`verdict`] says what the end means, and [`report`], [`table`], [`svg`] and [`backtrace`] show what was told.
//! [`setup`] installs what is missing. Of the guest, this program knows nothing but [`isochron_wire`].

pub mod artefact;
pub mod backtrace;
pub mod build;
pub mod cli;
pub mod compare;
pub mod console;
pub mod debug;
pub mod dtb;
pub mod error;
pub mod image;
pub mod launch;
pub mod list;
pub mod machine;
pub mod prepare;
pub mod process;
pub mod report;
pub mod reports;
pub mod run;
pub mod setup;
pub mod signals;
pub mod stream;
pub mod style;
pub mod suggest;
pub mod svg;
pub mod table;
pub mod testing;
pub mod top;
pub mod trace;
pub mod verdict;
pub mod watch;
pub mod workspace;

use cli::{Command, Parsed};
use error::Error;
use std::ffi::OsString;
use std::io::Write;
use workspace::Workspace;

/// The whole program: reads the arguments, does what they say, and gives the exit code.
pub fn main(args: impl IntoIterator<Item = OsString>) -> u8 {
    match cli::parse(args).and_then(dispatch) {
        Ok(code) => code,
        Err(error) => {
            let style = style::Style::of(&std::io::stderr());
            eprintln!("{} {error}", style.red("isochron:"));
            error.exit_code()
        }
    }
}

fn dispatch(parsed: Parsed) -> Result<u8, Error> {
    let command = match parsed {
        Parsed::Text(text) => {
            // A reader that has gone away is no failure.
            let _ = std::io::stdout().write_all(text.as_bytes());
            return Ok(0);
        }
        Parsed::Run(command) => command,
    };
    let workspace = Workspace::find()?;
    signals::catch();
    match command {
        Command::Run(args) => run::run(&workspace, &args),
        Command::List => Ok(list::list(&workspace)),
        Command::Setup { yes, debugger } => {
            let wanted = setup::Wanted::everything();
            let gdb = if debugger { wanted.qemu.clone() } else { Vec::new() };
            let (installed, _) = setup::ensure_or_old(&workspace, &setup::Wanted { gdb, ..wanted }, yes)?;
            if !installed {
                eprintln!("nothing to install");
            }
            Ok(0)
        }
        Command::Test(args) => testing::command(&args),
        Command::Compare(args) => compare::command(&workspace, &args),
        Command::Trace(args) => trace::command::command(&workspace, &args),
        Command::Image(args) => image::image(&workspace, &args),
        Command::Top(args) => top::command(&workspace, &args),
        Command::Debug(args) => debug::command(&workspace, &args),
        Command::Report { what } => reports::command(&workspace, &what),
    }
}
