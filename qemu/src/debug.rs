//! `debug`: a program under gdb, which knows Isochron's threads by `qemu/gdb/isochron.py`.
//!
//! QEMU stands before the guest's first instruction and waits for gdb at a socket; a hosted program is gdb's own child. The guest
//! is built with its threads in a list. Its console goes on here while gdb has the terminal: QEMU is in a process group of its own,
//! so that Ctrl-C stops the guest, by way of gdb, and ends nothing.

use crate::cli::DebugArgs;
use crate::console;
use crate::error::{Error, INTERRUPTED};
use crate::launch::Launch;
use crate::prepare::Request;
use crate::process::Guarded;
use crate::setup::{self, Wanted};
use crate::stream::Event;
use crate::style::Style;
use crate::workspace::Workspace;
use std::fs;
use std::io::{self, IsTerminal, Read, Write};
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus, Stdio};
use std::thread;
use std::time::{Duration, Instant};

/// Seconds that commands may take if nothing is said.
const TIMEOUT: u64 = 120;
/// How long a machine that is switched off may take to be gone.
const LEAVES: Duration = Duration::from_millis(500);
/// How long QEMU may take to open its socket.
const OPENS: Duration = Duration::from_secs(20);

/// Builds the program, starts it and gdb, and gives gdb's exit code.
///
/// # Errors
/// As a run's preparation; [`Error::Missing`] without a gdb that will do; [`Error::Usage`] without commands where nobody could type
/// any; [`Error::TimedOut`] if the commands do not come to an end.
pub fn command(workspace: &Workspace, args: &DebugArgs) -> Result<u8, Error> {
    let mut request = Request::check(workspace, &args.run())?;
    request.how.listed = true;
    if args.command.is_empty() && !io::stdin().is_terminal() {
        return Err(Error::Usage("debug: there is no terminal to type at; say what to do by --command".into()));
    }
    let arch = request.machine.arch;
    setup::ensure(workspace, &Wanted { gdb: vec![arch], ..request.wanted() }, false)?;
    let Some(gdb) = setup::gdb(arch) else {
        return Err(Error::Usage(format!("there is no gdb for {}", arch.name())));
    };
    let (launch, artefact) = request.prepare(workspace)?;
    let mut typed = Command::new(gdb);
    typed.args(["-q", "-ex", "set confirm off", "-ex"]);
    typed.arg(format!("source {}", workspace.root.join("qemu/gdb/isochron.py").display()));
    let mut guest = None;
    let socket = Socket::new();
    let arguments = if request.machine.is_hosted() { launch.arguments() } else { Vec::new() };
    if request.machine.is_hosted() {
        hosted(&mut typed, &launch);
    } else {
        guest = Some(Guest::start(launch, &socket)?);
        typed.args(["-ex".to_owned(), format!("target remote {}", socket.0.display())]);
    }
    if !args.command.is_empty() {
        typed.args(["-nx", "-batch", "-ex", "set pagination off", "-ex", "set width 0"]).stdin(Stdio::null());
        typed.args(args.command.iter().flat_map(|command| ["-ex", command]));
    }
    if request.machine.is_hosted() {
        typed.args(["--args".as_ref(), artefact.elf.as_os_str()]).args(arguments);
    } else {
        typed.arg(&artefact.elf);
    }
    let limit = (!args.command.is_empty()).then(|| args.timeout.unwrap_or(TIMEOUT));
    let status = follow(&mut Guarded::start(&mut typed)?, limit, &request.again)?;
    // A machine that is switched off takes no leave of gdb, which then calls that an error.
    let patience = if status.success() { Duration::ZERO } else { LEAVES };
    if guest.is_some_and(|guest| guest.end(patience)) {
        return Ok(0);
    }
    Ok(match (status.code(), status.signal()) {
        (Some(code), _) => code as u8,
        (None, Some(libc::SIGINT)) => INTERRUPTED,
        _ => 1,
    })
}

/// Waits for gdb. Ctrl-C is gdb's.
fn follow(gdb: &mut Guarded, limit: Option<u64>, again: &str) -> Result<ExitStatus, Error> {
    let started = Instant::now();
    loop {
        if let Some(status) = gdb.wait_for(Duration::from_millis(100)) {
            return Ok(status);
        }
        if let Some(seconds) = limit.filter(|limit| started.elapsed().as_secs() >= *limit) {
            gdb.kill();
            return Err(Error::TimedOut { seconds, again: again.to_owned() });
        }
    }
}

/// What a program that is gdb's child needs: it runs its own interrupts by signals.
fn hosted(gdb: &mut Command, launch: &Launch) {
    gdb.envs(launch.environment());
    for command in ["handle SIGUSR1 SIGUSR2 SIGURG nostop noprint pass", "set startup-with-shell off", "starti"] {
        gdb.args(["-ex", command]);
    }
}

/// Where QEMU and gdb meet; gone when dropped.
struct Socket(PathBuf);

impl Socket {
    fn new() -> Self {
        // Short: a socket's path has room for some hundred bytes.
        Self(std::env::temp_dir().join(format!("isochron-gdb-{}", std::process::id())))
    }
}

impl Drop for Socket {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.0);
    }
}

/// A machine that waits for gdb, and the thread that shows its console.
struct Guest {
    qemu: Guarded,
    console: Option<thread::JoinHandle<()>>,
}

impl Guest {
    fn start(mut launch: Launch, socket: &Socket) -> Result<Self, Error> {
        let place = format!("socket,id=gdb,path={},server=on,wait=off", socket.0.display());
        launch.extra.extend(["-chardev".into(), place, "-gdb".into(), "chardev:gdb".into(), "-S".into()]);
        let mut command = launch.command();
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::inherit()).process_group(0);
        let mut qemu = Guarded::start(&mut command)?;
        let console = qemu.child().stdout.take().map(|console| thread::spawn(move || show(console)));
        wait_for(&socket.0, &mut qemu)?;
        Ok(Self { qemu, console })
    }

    /// Ends it; gives whether it had ended by itself, or was about to.
    fn end(mut self, patience: Duration) -> bool {
        let ended = self.qemu.wait_for(patience).is_some();
        self.qemu.kill();
        if let Some(console) = self.console.take() {
            let _ = console.join();
        }
        ended
    }
}

fn wait_for(socket: &Path, qemu: &mut Guarded) -> Result<(), Error> {
    let deadline = Instant::now() + OPENS;
    while !socket.exists() {
        if qemu.ended().is_some() {
            return Err(Error::Machine("QEMU ended before gdb could come; what it said stands above".into()));
        }
        if Instant::now() >= deadline {
            return Err(Error::Machine(format!("QEMU opened no socket for gdb within {} s", OPENS.as_secs())));
        }
        thread::sleep(Duration::from_millis(10));
    }
    Ok(())
}

/// Shows what the guest prints, and who dies.
fn show(console: impl Read) {
    let style = Style::of(&io::stdout());
    console::follow(console, &mut |event| {
        let mut stdout = io::stdout().lock();
        let _ = match event {
            Event::Text(text) => stdout.write_all(text),
            Event::Record(record) => match console::obituary(&record) {
                Some(said) => writeln!(stdout, "{}", style.red(&said)),
                None => Ok(()),
            },
            Event::Damaged(..) => Ok(()),
        };
        let _ = stdout.flush();
    });
}
