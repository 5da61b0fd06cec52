//! `top`: what a guest's CPUs and threads do, while they do it.
//!
//! The guest records its scheduler's events into memory that this program has mapped too ([`live`] takes them out and puts them in
//! order), [`board`] makes figures of them, and [`screen`] and [`plain`] show these. The guest knows nothing of it, and waits for nothing.

pub mod board;
pub mod keys;
pub mod live;
pub mod plain;
pub mod screen;

use crate::cli::TopArgs;
use crate::console::{self, Said};
use crate::error::{Error, INTERRUPTED};
use crate::launch::Launch;
use crate::prepare::{Request, ensure};
use crate::process::Guarded;
use crate::run::share;
use crate::signals;
use crate::style::Style;
use crate::workspace::Workspace;
use board::{Board, Picture};
use keys::View;
use live::Live;
use std::fs::File;
use std::io::{self, IsTerminal, Write};
use std::os::unix::process::CommandExt;
use std::process::Stdio;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

/// Between two looks into the guest's rings.
const LOOK: Duration = Duration::from_millis(2);

/// Builds, boots, watches, shows; gives the exit code: 0, or that of a guest which ended with another.
///
/// # Errors
/// As a run's preparation; [`Error::Usage`] without a terminal and without `--once`; [`Error::Machine`] if the guest never began.
pub fn command(workspace: &Workspace, args: &TopArgs) -> Result<u8, Error> {
    let request = Request::check(workspace, &args.run())?;
    let has_terminal = io::stdout().is_terminal() && io::stdin().is_terminal();
    if !args.once && !has_terminal {
        return Err(Error::Usage("top: there is no terminal to draw on; say --once for a text".into()));
    }
    ensure(workspace, &request)?;
    let (mut launch, _) = request.prepare(workspace)?;
    let memory = share(&mut launch)?;
    let extent = if request.machine.is_hosted() { None } else { Some(u64::from(request.memory) << 20) };
    let title = format!("{} on {} ({})", request.program.name, request.machine.name, request.machine.arch.name());
    let mut guest = Guest::start(&launch)?;
    let files: Vec<File> = memory.files().filter_map(|file| file.try_clone().ok()).collect();
    let mut seen = Seen { live: Live::new(memory), board: Board::new(request.deterministic), title, extent, files };
    if args.once {
        return once(args, &mut guest, &mut seen);
    }
    screen::run(args, &mut guest, &mut seen)
}

/// What is known of the guest.
pub struct Seen {
    live: Live,
    board: Board,
    title: String,
    /// Bytes of the machine's memory; `None` for a process.
    extent: Option<u64>,
    files: Vec<File>,
}

impl Seen {
    /// Takes in what the guest has recorded.
    fn look(&mut self) {
        self.live.look(&mut self.board);
    }

    /// The figures since the last time.
    fn picture(&mut self, guest: &mut Guest) -> Picture {
        self.look();
        let mut picture = self.board.picture(self.live.clock());
        picture.title = self.title.clone();
        picture.lost = self.live.lost();
        picture.memory = (self.touched(guest), self.extent);
        picture.ended = guest.ended();
        picture.said = guest.last_line();
        picture
    }

    /// Bytes of memory that the guest has touched since it began, as far as the system tells.
    fn touched(&self, guest: &mut Guest) -> Option<u64> {
        if self.extent.is_some() {
            use std::os::unix::fs::MetadataExt;
            return self.files.iter().map(|file| file.metadata().ok().map(|about| about.blocks() * 512)).sum();
        }
        let statm = std::fs::read_to_string(format!("/proc/{}/statm", guest.process.child().id())).ok()?;
        let pages: u64 = statm.split_whitespace().nth(1)?.parse().ok()?;
        // SAFETY: asks for a number.
        let page = unsafe { libc::sysconf(libc::_SC_PAGESIZE) };
        Some(pages * u64::try_from(page).ok()?)
    }
}

/// The guest, and the thread that reads its console.
pub struct Guest {
    process: Guarded,
    said: Arc<Mutex<Said>>,
    exit: Option<String>,
}

impl Guest {
    fn start(launch: &Launch) -> Result<Self, Error> {
        let mut command = launch.command();
        // A terminal's Ctrl-C is for this program.
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null()).process_group(0);
        let mut process = Guarded::start(&mut command)?;
        let said = Arc::new(Mutex::new(Said::default()));
        if let Some(console) = process.child().stdout.take() {
            let said = Arc::clone(&said);
            thread::spawn(move || {
                console::follow(console, &mut |event| said.lock().unwrap_or_else(PoisonError::into_inner).take(&event));
            });
        }
        Ok(Self { process, said, exit: None })
    }

    /// How it ended, if it has.
    fn ended(&mut self) -> Option<String> {
        if self.exit.is_none() {
            let status = self.process.ended()?;
            let said = self.said.lock().unwrap_or_else(PoisonError::into_inner);
            self.exit = Some(match (said.exit, status.code()) {
                (Some(code), _) => format!("ended with code {code}"),
                (None, Some(code)) => format!("gone without a word ({code})"),
                (None, None) => "gone: killed".into(),
            });
        }
        self.exit.clone()
    }

    fn last_line(&self) -> String {
        self.said.lock().unwrap_or_else(PoisonError::into_inner).last.clone()
    }

    /// The code that the guest said it ends with; 0 if it was ended from here.
    fn code(&self) -> u8 {
        self.said.lock().unwrap_or_else(PoisonError::into_inner).exit.unwrap_or(0)
    }
}

/// `--once`: looks for a while, and prints the figures of the whole of it.
fn once(args: &TopArgs, guest: &mut Guest, seen: &mut Seen) -> Result<u8, Error> {
    let (started, limit) = (Instant::now(), Duration::from_secs_f64(args.seconds));
    let mut began = None;
    loop {
        if signals::requested() {
            return Ok(INTERRUPTED);
        }
        seen.look();
        if seen.live.has_begun() {
            began.get_or_insert_with(Instant::now);
        }
        let over = began.is_some_and(|began: Instant| began.elapsed() >= limit);
        if over || guest.ended().is_some() {
            break;
        }
        if began.is_none() && started.elapsed() > Duration::from_secs(60) {
            return Err(Error::Machine("the guest did not begin within 60 s".into()));
        }
        thread::sleep(LOOK);
    }
    let picture = seen.picture(guest);
    if !seen.live.has_begun() {
        return Err(Error::Machine(format!("the guest never began to record: {}", guest.last_line())));
    }
    let view = View { sort: args.sort, filter: args.filter.clone().unwrap_or_default(), ..View::default() };
    if let Some(json) = &args.json {
        crate::artefact::write_json(json, &plain::json(&picture, &view))?;
    }
    let text = plain::text(&picture, &view, Style::of(&io::stdout()));
    // A reader that has gone away is no failure.
    let _ = io::stdout().write_all(text.as_bytes());
    Ok(guest.code())
}
