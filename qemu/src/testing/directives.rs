//! What a test kernel asks for, in comments at the top of its source.
//!
//! ```text
//! //@ machines: virt, q35        where it runs               [virt, q35]
//! //@ cpus: 1, 2, 4              with how many CPUs          [4]
//! //@ memory: 64                 MiB                         [the machine's default]
//! //@ numa: 2                    NUMA nodes
//! //@ cores: 2                   `cores=` on the kernel command line
//! //@ log: debug                 `log=` on the kernel command line
//! //@ args: fast n=3             the program's arguments
//! //@ qemu: -cpu max             more arguments for QEMU
//! //@ expect: panic "overflow"   how it must end: pass, panic "TEXT", timeout, flood, exit N    [pass]
//! //@ expect: death "overflow"   a thread must die alone, and then as `pass`
//! //@ says: two words            what must be in its output or in the report of its panic or death; may stand several times
//! //@ timeout: 30                seconds                     [120; deterministic 600]
//! //@ deterministic: yes         one instruction = 1 ns      [no]
//! //@ repeat: 20                 boots in a row              [1]
//! //@ checked: yes             built with the checks of debug builds [no]
//! //@ lse: yes                 built with LSE atomics             [no]
//! //@ hardened: yes            built with the hardened heap          [no]
//! //@ sanitizer: no            left out where kernels are built with a sanitizer; `only`: left out elsewhere  [yes]
//! //@ trace: yes               built with tracing, for all its runs   [no]
//! //@ quick: no                  runs only when named        [yes]
//! //@ run: gicv2                 from here on: another run, with this label
//! ```
//!
//! Lists are parted by commas or spaces. A kernel runs on every machine with every number of CPUs; a number that a machine
//! cannot have is left out. Whoever tells that it began must have as many CPUs up as it was given. Lines before the first `run:` hold for all runs; each `run: LABEL` begins a run of its own that changes some of them. Without
//! `run:` there is one.

use crate::cli::Sanitizer;
use std::fmt;

/// How a run must end.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub enum Expect {
    /// With code 0 and every case passed.
    #[default]
    Pass,
    /// With a panic whose message contains this.
    Panic(String),
    /// As `Pass`, but a thread must have died with a message that contains this.
    Death(String),
    /// Not at all.
    Timeout,
    /// By being stopped, because it printed without end.
    Flood,
    /// With this code.
    Exit(u8),
}

/// One run's wishes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wish {
    /// What tells it from the kernel's other runs; empty if it is the only one.
    pub label: String,
    /// Machines by name.
    pub machines: Vec<String>,
    /// Numbers of CPUs.
    pub cpus: Vec<u32>,
    /// Memory in MiB.
    pub memory: Option<u32>,
    /// NUMA nodes.
    pub numa: Option<u32>,
    /// `cores=`.
    pub cores: Option<u32>,
    /// `log=`.
    pub log: Option<String>,
    /// The program's arguments.
    pub args: Vec<String>,
    /// More arguments for QEMU.
    pub qemu: Vec<String>,
    /// How it must end.
    pub expect: Expect,
    /// What it must have said.
    pub says: Vec<String>,
    /// Seconds.
    pub timeout: Option<u64>,
    /// One instruction = 1 ns.
    pub deterministic: bool,
    /// Built with the checks of debug builds.
    pub checked: bool,
    /// Built with LSE atomics.
    pub lse: bool,
    /// Built with the hardened heap.
    pub hardened: bool,
    /// Bears a sanitizer.
    pub sanitizer: bool,
    /// Is nothing without one.
    pub sanitizer_only: bool,
    /// Built with it: no directive, but what the whole test was asked for.
    pub sanitized_by: Option<Sanitizer>,
    /// Boots in a row.
    pub repeat: u32,
    /// Whether it runs without being named.
    pub quick: bool,
}

impl Default for Wish {
    fn default() -> Self {
        Self {
            label: String::new(),
            machines: vec!["virt".into(), "q35".into()],
            cpus: vec![4],
            memory: None,
            numa: None,
            cores: None,
            log: None,
            args: Vec::new(),
            qemu: Vec::new(),
            expect: Expect::Pass,
            says: Vec::new(),
            timeout: None,
            deterministic: false,
            checked: false,
            lse: false,
            hardened: false,
            sanitizer: true,
            sanitizer_only: false,
            sanitized_by: None,
            repeat: 1,
            quick: true,
        }
    }
}

/// A directive that cannot be understood.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Malformed {
    /// The line, from 1.
    pub line: usize,
    /// What is wrong with it.
    pub why: String,
}

impl fmt::Display for Malformed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "line {}: {}", self.line, self.why)
    }
}

/// The runs that a source asks for.
///
/// # Errors
/// The first line that cannot be understood.
pub fn parse(source: &str) -> Result<Vec<Wish>, Malformed> {
    let (mut common, mut runs) = (Wish::default(), Vec::<Wish>::new());
    for (index, line) in source.lines().enumerate() {
        let Some(text) = line.strip_prefix("//@") else { continue };
        let fail = |why: String| Malformed { line: index + 1, why };
        let (key, value) = text.split_once(':').ok_or_else(|| fail(format!("'//@{text}' has no ':'")))?;
        let (key, value) = (key.trim(), value.trim());
        if key == "run" {
            if value.is_empty() || runs.iter().any(|r| r.label == value) {
                return Err(fail("each 'run:' needs a label of its own".into()));
            }
            runs.push(Wish { label: value.to_owned(), ..common.clone() });
        } else {
            set(runs.last_mut().unwrap_or(&mut common), key, value).map_err(fail)?;
        }
    }
    Ok(if runs.is_empty() { vec![common] } else { runs })
}

fn set(wish: &mut Wish, key: &str, value: &str) -> Result<(), String> {
    let words = || value.split_whitespace().map(str::to_owned).collect::<Vec<_>>();
    let list = || value.replace(',', " ").split_whitespace().map(str::to_owned).collect::<Vec<_>>();
    match key {
        "machines" => wish.machines = list(),
        "cpus" => wish.cpus = list().iter().map(|w| number(key, w)).collect::<Result<_, _>>()?,
        "memory" => wish.memory = Some(number(key, value)?),
        "numa" => wish.numa = Some(number(key, value)?),
        "cores" => wish.cores = Some(number(key, value)?),
        "timeout" => wish.timeout = Some(number(key, value)?),
        "repeat" => wish.repeat = number(key, value)?,
        "log" => wish.log = Some(value.to_owned()),
        "args" => wish.args = words(),
        "qemu" => wish.qemu = words(),
        "checked" => wish.checked = yes(key, value)?,
        "lse" => wish.lse = yes(key, value)?,
        "hardened" => wish.hardened = yes(key, value)?,
        "sanitizer" if value == "only" => wish.sanitizer_only = true,
        "sanitizer" => wish.sanitizer = yes(key, value)?,
        // It is about the program, not the run: `Workspace::tests` has seen it.
        "trace" if value == "yes" => {}
        "quick" => wish.quick = yes(key, value)?,
        "deterministic" => wish.deterministic = yes(key, value)?,
        "expect" => wish.expect = expect(value)?,
        "says" => wish.says.push(value.to_owned()),
        _ => return Err(format!("no directive is called '{key}'")),
    }
    Ok(())
}

fn number<T: std::str::FromStr>(key: &str, value: &str) -> Result<T, String> {
    value.parse().map_err(|_| format!("{key}: '{value}' is no number that fits"))
}

fn yes(key: &str, value: &str) -> Result<bool, String> {
    match value {
        "yes" => Ok(true),
        "no" => Ok(false),
        _ => Err(format!("{key}: yes or no, not '{value}'")),
    }
}

fn expect(value: &str) -> Result<Expect, String> {
    let (word, rest) = value.split_once(' ').unwrap_or((value, ""));
    match word {
        "pass" => Ok(Expect::Pass),
        "timeout" => Ok(Expect::Timeout),
        "flood" => Ok(Expect::Flood),
        "exit" => Ok(Expect::Exit(number("expect: exit", rest.trim())?)),
        "panic" | "death" => {
            let text = rest.trim().strip_prefix('"').and_then(|t| t.strip_suffix('"'));
            let text = text.ok_or_else(|| format!("expect: {word} \"TEXT\""))?.to_owned();
            Ok(if word == "panic" { Expect::Panic(text) } else { Expect::Death(text) })
        }
        _ => Err(format!("expect: pass, panic \"TEXT\", death \"TEXT\", timeout, flood or exit N, not '{value}'")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_said_is_one_plain_run() {
        assert_eq!(parse("//! A kernel.\nfn main() {}").unwrap(), [Wish::default()]);
    }

    #[test]
    fn everything_said() {
        let source = "//! x\n//@ machines: virt, raspi4b\n//@ cpus: 1 8\n//@ memory: 64\n//@ args: a b=1\n\
                      //@ qemu: -cpu max\n//@ expect: panic \"stack: overflow\"\n//@ timeout: 9\n//@ quick: no\n\
                      //@ repeat: 20\n//@ deterministic: yes\n//@ numa: 2\n//@ cores: 1\n//@ log: debug\n";
        let all = parse(source).unwrap();
        let [wish] = all.as_slice() else { panic!() };
        assert_eq!((wish.machines.len(), wish.cpus.as_slice(), wish.memory), (2, [1, 8].as_slice(), Some(64)));
        assert_eq!((wish.args.len(), wish.qemu.len(), wish.repeat, wish.quick), (2, 2, 20, false));
        assert_eq!(wish.expect, Expect::Panic("stack: overflow".into()));
        assert_eq!((wish.timeout, wish.numa, wish.cores, wish.deterministic), (Some(9), Some(2), Some(1), true));
    }

    #[test]
    fn runs_inherit_and_change() {
        let source = "//@ memory: 64\n//@ run: gicv2\n//@ qemu: -machine virt,gic-version=2\n//@ run: small\n//@ memory: 16\n//@ expect: exit 3";
        let runs = parse(source).unwrap();
        assert_eq!(runs.len(), 2);
        assert_eq!((runs[0].label.as_str(), runs[0].memory, runs[0].qemu.len()), ("gicv2", Some(64), 2));
        assert_eq!((runs[1].label.as_str(), runs[1].memory, &runs[1].expect), ("small", Some(16), &Expect::Exit(3)));
    }

    #[test]
    fn mistakes_name_their_line() {
        for (source, line) in [
            ("//@ machine: virt", 1),
            ("\n//@ cpus: many", 2),
            ("//@ expect: glory", 1),
            ("//@ expect: panic text", 1),
            ("//@ expect: death", 1),
            ("//@ quick: maybe", 1),
            ("//@ nothing", 1),
            ("//@ run:", 1),
            ("//@ run: a\n//@ run: a", 2),
        ] {
            assert_eq!(parse(source).unwrap_err().line, line, "{source}");
        }
    }
}
