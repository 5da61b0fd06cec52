//! Set-up: find what is missing, and install it or say how.
//!
//! Looking costs a few file look-ups, no process, so that it can be done at every start. What is missing is put into a
//! [`Plan`] by pure code ([`plan`]), from a description of the system; carrying it out is the small rest.

mod look;
mod plan;
mod system;

pub use look::{Needs, Toolchain, firmware, gdb, look, parse_toolchain, tool};
pub use plan::{Plan, Step, plan};
pub use system::{Manager, Sudo, System, backports_source};

use crate::error::Error;
use crate::machine::Arch;
use crate::process::Guarded;
use crate::style::Style;
use crate::workspace::Workspace;
use indicatif::{ProgressBar, ProgressStyle};
use std::env;
use std::io::{IsTerminal, Write};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

/// What a command is about to use.
#[derive(Clone, Debug, Default)]
pub struct Wanted {
    /// QEMU for these.
    pub qemu: Vec<Arch>,
    /// The oldest major version of QEMU that will do, if it matters.
    pub qemu_version: Option<u32>,
    /// UEFI firmware for PCs.
    pub firmware: bool,
    /// A debugger for these.
    pub gdb: Vec<Arch>,
    /// Toolchain components beyond those of `rust-toolchain.toml`.
    pub components: Vec<String>,
}

impl Wanted {
    /// Everything that running and testing needs.
    #[must_use]
    pub fn everything() -> Self {
        Self { qemu: vec![Arch::Aarch64, Arch::X86_64], qemu_version: Some(9), ..Self::default() }
    }
}

/// Installs what is missing of `wanted`, as far as that is allowed here. Nothing missing: nothing is said or done.
///
/// # Errors
/// [`Error::Missing`] with the one command for what cannot be installed from here, or the user does not want.
pub fn ensure(workspace: &Workspace, wanted: &Wanted, yes: bool) -> Result<bool, Error> {
    let needs = look(workspace, wanted)?;
    if needs.is_empty() {
        return Ok(false);
    }
    let unattended = env::var_os("CI").is_some_and(|v| !v.is_empty());
    let attended = !unattended && std::io::stdin().is_terminal() && std::io::stderr().is_terminal();
    let system = System::this(attended);
    let plan = plan(&system, &needs);
    let missing =
        |needs: &Needs, command: &str| Error::Missing { what: needs.to_string(), command: command.to_owned() };
    let steps: Vec<&Step> = plan.possible().collect();
    if attended && !yes && !steps.is_empty() && !agreed(&needs, &steps) {
        return Err(missing(&needs, &plan.command));
    }
    if plan.asks_password() && !authenticated() {
        return Err(missing(&needs, &plan.command));
    }
    let style = Style::of(&std::io::stderr());
    for (number, step) in steps.iter().enumerate() {
        carry_out(step, number + 1, steps.len(), style, &plan.command)?;
    }
    let left = look(workspace, wanted)?;
    if left.is_empty() {
        return Ok(true);
    }
    if steps.len() == plan.steps.len() && !steps.is_empty() {
        return Err(Error::Missing { what: format!("after installation: {left}"), command: plan.command });
    }
    Err(missing(&left, &self::plan(&system, &left).command))
}

/// As [`ensure`], but a QEMU that is too old for some machines, with no newer one to be had, is only told of. Gives
/// whether anything was installed, and whether QEMU is new enough.
///
/// # Errors
/// As [`ensure`].
pub fn ensure_or_old(workspace: &Workspace, wanted: &Wanted, yes: bool) -> Result<(bool, bool), Error> {
    let any = ensure(workspace, &Wanted { qemu_version: None, ..wanted.clone() }, yes)?;
    match ensure(workspace, wanted, yes) {
        Ok(more) => Ok((any || more, true)),
        Err(Error::Missing { what, .. }) => {
            eprintln!("{} {what}; raspi4b is left out", Style::of(&std::io::stderr()).yellow("note:"));
            Ok((any, false))
        }
        Err(other) => Err(other),
    }
}

fn agreed(needs: &Needs, steps: &[&Step]) -> bool {
    eprintln!("{needs}\nThis would run:");
    for step in steps {
        eprintln!("  {}", step.typed());
    }
    eprint!("Install now? [Y/n] ");
    let _ = std::io::stderr().flush();
    let mut answer = String::new();
    let read = std::io::stdin().read_line(&mut answer);
    matches!(read, Ok(n) if n > 0) && matches!(answer.trim().to_lowercase().as_str(), "" | "y" | "yes")
}

/// Lets `sudo` ask for the password, before a progress line stands in its way.
fn authenticated() -> bool {
    Command::new("sudo").arg("-v").status().is_ok_and(|status| status.success())
}

/// Runs one step, with one line that says what it does and, when done, how long it took.
fn carry_out(step: &Step, number: usize, of: usize, style: Style, by_hand: &str) -> Result<(), Error> {
    let started = Instant::now();
    let head = format!("setup {number}/{of}: {}", step.say);
    let bar = ProgressBar::new_spinner();
    if std::io::stderr().is_terminal() {
        bar.set_style(
            ProgressStyle::with_template("{spinner} {msg} {elapsed}")
                .unwrap_or_else(|_| ProgressStyle::default_spinner()),
        );
        bar.set_message(head.clone());
        bar.enable_steady_tick(Duration::from_millis(120));
    } else {
        eprintln!("{head}");
    }
    let result = execute(step);
    bar.finish_and_clear();
    match result {
        Ok(()) => {
            if std::io::stderr().is_terminal() {
                eprintln!("{} {head} ({:.0} s)", style.green("✓"), started.elapsed().as_secs_f64());
            }
            Ok(())
        }
        Err(Error::Tool { said, .. }) => {
            let what = format!("{} failed: {said}", step.say);
            Err(Error::Missing { what, command: by_hand.to_owned() })
        }
        Err(other) => Err(other),
    }
}

fn execute(step: &Step) -> Result<(), Error> {
    let mut command = Command::new(&step.words[0]);
    command.args(&step.words[1..]).env("DEBIAN_FRONTEND", "noninteractive");
    // The outer cargo's choice of toolchain and library path are not meant for other programs.
    command.env_remove("LD_LIBRARY_PATH").env_remove("RUSTUP_TOOLCHAIN");
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped());
    let mut child = Guarded::start(&mut command)?;
    let pipe = child.child().stderr.take();
    let reader = pipe.map(|p| std::thread::spawn(move || std::io::read_to_string(p).unwrap_or_default()));
    let status = child.wait()?;
    let said = reader.and_then(|r| r.join().ok()).unwrap_or_default();
    if status.success() {
        return Ok(());
    }
    let telling = said.lines().rev().map(str::trim).find(|l| !l.is_empty()).unwrap_or("it said nothing");
    let telling =
        said.lines().map(str::trim).find(|l| l.starts_with("E:") || l.starts_with("error")).unwrap_or(telling);
    Err(Error::Tool { doing: step.say.clone(), said: telling.to_owned() })
}
