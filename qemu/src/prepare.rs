//! From what the user asked for to a machine that can be started.

use crate::artefact::{self, Artefact};
use crate::build::{self, How, Profile};
use crate::cli::{Accel, RunArgs};
use crate::dtb;
use crate::error::Error;
use crate::image;
use crate::launch::{self, Launch, Recorded, quoted};
use crate::machine::{Arch, Board, Machine};
use crate::setup::{self, Wanted};
use crate::workspace::{Program, Workspace};
use isochron_wire::trace::area::MIN_RECORDS;
use isochron_wire::trace::{ALL_CLASSES, CLASSES, RECORD_BYTES};
use std::path::{Path, PathBuf};

/// A checked request: everything in it exists and fits.
#[derive(Clone, Debug)]
pub struct Request {
    /// The program.
    pub program: Program,
    /// The machine.
    pub machine: &'static Machine,
    /// CPUs.
    pub cpus: u32,
    /// Memory in MiB.
    pub memory: u32,
    /// NUMA nodes.
    pub numa: Option<u32>,
    /// How instructions are executed.
    pub accel: Accel,
    /// One instruction = 1 ns.
    pub deterministic: bool,
    /// Seconds until it is given up.
    pub timeout: u64,
    /// How it is built.
    pub how: How,
    /// The kernel command line.
    pub command_line: String,
    /// Further arguments for QEMU.
    pub extra: Vec<String>,
    /// How to ask for the same again.
    pub again: String,
}

/// Seconds a run may take if nothing is said.
pub const TIMEOUT: u64 = 120;
/// The same for deterministic runs, which are slower.
pub const TIMEOUT_DETERMINISTIC: u64 = 600;

/// Records in each ring of a process, and the most in one of a machine.
pub const HOSTED_RECORDS: u64 = 1 << 18;

impl Request {
    /// Checks what the command line asks for; nothing is built or started.
    ///
    /// # Errors
    /// [`Error::Usage`] in one line that says what is allowed.
    pub fn check(workspace: &Workspace, args: &RunArgs) -> Result<Self, Error> {
        let program = workspace.program(&args.guest.app)?;
        let machine = Machine::find(&args.guest.machine)?;
        let cpus = machine.check_cpus(args.guest.cpus)?;
        let memory = machine.check_memory(args.guest.memory)?;
        let numa = machine.check_numa(args.guest.numa, cpus)?;
        if machine.is_hosted() {
            check_hosted(args)?;
        }
        check_accel(machine, args.accel, args.guest.deterministic)?;
        if let Some(cores) = args.cores
            && !(1..=cpus).contains(&cores)
        {
            return Err(Error::Usage(format!("--cores {cores}: the machine has {cpus} CPUs, so 1 to {cpus}")));
        }
        if args.lse && machine.board != Board::Virt {
            return Err(Error::Usage(format!("--lse: {} has no ARM64 CPU with LSE atomics; use virt", machine.name)));
        }
        if let Some(sanitizer) = args.sanitizer
            && !machine.is_hosted()
        {
            let name = sanitizer.name();
            return Err(Error::Usage(format!("--sanitizer {name}: only with --machine hosted, as a process")));
        }
        let profile = match (args.checked, args.lse, args.hardened) {
            _ if args.sanitizer.is_some() => Profile::Sanitized,
            (true, ..) => Profile::Checked,
            (_, true, _) => Profile::Lse,
            (.., true) => Profile::Hardened,
            _ => Profile::Usual,
        };
        let recorded = args.trace.as_ref().map(|_| Recorded {
            records: ring_records(machine, cpus, memory),
            classes: args.trace_classes.unwrap_or(ALL_CLASSES),
        });
        let default = if args.guest.deterministic { TIMEOUT_DETERMINISTIC } else { TIMEOUT };
        let traces = program.traces;
        Ok(Self {
            program,
            machine,
            cpus,
            memory,
            numa,
            accel: args.accel,
            deterministic: args.guest.deterministic,
            how: How { trace: recorded.is_some() || traces, listed: false, profile },
            timeout: args.timeout.unwrap_or(default),
            command_line: launch::command_line(args.cores, args.log.as_deref(), recorded, &args.guest.app_args)?,
            extra: launch::split_extra(&args.qemu_arg),
            again: again(args),
        })
    }

    /// What executes the guest's instructions, as reports say it.
    #[must_use]
    pub fn accel_name(&self) -> &'static str {
        if self.machine.is_hosted() { "native" } else { self.accel.name() }
    }

    /// What it needs on this system.
    #[must_use]
    pub fn wanted(&self) -> Wanted {
        let disk = matches!(self.machine.board, Board::PcBios | Board::PcUefi);
        Wanted {
            qemu: if self.machine.is_hosted() { Vec::new() } else { vec![self.machine.arch] },
            qemu_version: (self.machine.board == Board::Raspi4b).then_some(9),
            firmware: self.machine.board == Board::PcUefi,
            gdb: Vec::new(),
            components: if disk { vec!["rust-src".into()] } else { Vec::new() },
        }
    }

    /// Builds the program and makes what the machine boots.
    ///
    /// # Errors
    /// As [`build::build`], [`artefact::make`] and the disk image's builder.
    pub fn prepare(&self, workspace: &Workspace) -> Result<(Launch, Artefact), Error> {
        let made = build::build(workspace, &[&self.program], self.machine, self.how)?;
        self.launch(workspace, &made[&self.program.name])
    }

    /// Makes what the machine boots from a built ELF file.
    ///
    /// # Errors
    /// As [`artefact::make`] and the disk image's builder.
    pub fn launch(&self, workspace: &Workspace, elf: &Path) -> Result<(Launch, Artefact), Error> {
        let dir = workspace.out_dir(&self.how.profile.mark(&self.program.name), self.machine.name)?;
        let mut artefact = artefact::make(elf, self.machine.arch, &dir)?;
        if self.machine.is_hosted() {
            // The system loads the file as it is, and debuggers like its symbols.
            artefact.boot = elf.to_path_buf();
        }
        let mut launch = Launch {
            machine: self.machine,
            cpus: self.cpus,
            memory: self.memory,
            accel: self.accel,
            deterministic: self.deterministic,
            lse: self.how.profile == Profile::Lse,
            numa: self.numa,
            boot: artefact.boot.clone(),
            device_tree: None,
            firmware: None,
            command_line: self.command_line.clone(),
            shared: Vec::new(),
            extra: self.extra.clone(),
        };
        if self.machine.board == Board::Raspi4b {
            launch.device_tree = Some(device_tree(&dir, self.cpus)?);
        }
        if matches!(self.machine.board, Board::PcBios | Board::PcUefi) {
            launch.boot = image::disk_for(workspace, elf, &self.command_line, &dir)?;
            launch.firmware = setup::firmware().filter(|_| self.machine.board == Board::PcUefi);
        }
        Ok((launch, artefact))
    }
}

/// Records in each ring of a guest whose records go to the host: an eighth of its memory for all, and no more than make a
/// difference. A process's rings are not in the memory that it counts as its own.
fn ring_records(machine: &Machine, cpus: u32, memory: u32) -> u64 {
    let share = (u64::from(memory) << 20) / 8 / u64::from(cpus) / RECORD_BYTES as u64;
    let fit = if machine.is_hosted() { HOSTED_RECORDS } else { share.clamp(MIN_RECORDS, HOSTED_RECORDS) };
    1 << fit.ilog2()
}

fn device_tree(dir: &Path, cpus: u32) -> Result<PathBuf, Error> {
    let path = dir.join(format!("raspi4b-{cpus}.dtb"));
    let blob = dtb::raspi4b(cpus).map_err(|e| Error::Corrupt { path: path.clone(), why: e.to_string() })?;
    if std::fs::read(&path).ok().as_deref() != Some(&blob) {
        artefact::write_whole(&path, &blob)?;
    }
    Ok(path)
}

fn check_accel(machine: &Machine, accel: Accel, deterministic: bool) -> Result<(), Error> {
    if accel == Accel::Tcg {
        return Ok(());
    }
    let name = accel.name();
    if deterministic {
        return Err(Error::Usage(format!("--deterministic counts instructions, which --accel {name} cannot: use tcg")));
    }
    let host = std::env::consts::ARCH;
    if host != machine.arch.name() {
        return Err(Error::Usage(format!(
            "--accel {name} runs {host} guests here; {} is {}",
            machine.name,
            machine.arch.name()
        )));
    }
    if machine.board == Board::Raspi4b {
        return Err(Error::Usage(format!("--accel {name}: QEMU has raspi4b with tcg only")));
    }
    let right = if cfg!(target_os = "macos") { Accel::Hvf } else { Accel::Kvm };
    if accel != right {
        return Err(Error::Usage(format!("--accel {name} is not of this system; use {} or tcg", right.name())));
    }
    if accel == Accel::Kvm {
        let usable = std::fs::OpenOptions::new().read(true).write(true).open("/dev/kvm");
        usable.map_err(|e| Error::Usage(format!("--accel kvm: /dev/kvm cannot be opened ({}); use tcg", e.kind())))?;
    }
    Ok(())
}

/// What a process cannot have.
fn check_hosted(args: &RunArgs) -> Result<(), Error> {
    if args.guest.deterministic {
        return Err(Error::Usage(
            "--deterministic counts instructions in QEMU, which hosted does without: use virt".into(),
        ));
    }
    if args.accel != Accel::Tcg {
        return Err(Error::Usage(format!("--accel {}: hosted is native, without QEMU", args.accel.name())));
    }
    if !args.qemu_arg.is_empty() {
        return Err(Error::Usage("--qemu-arg: hosted runs without QEMU".into()));
    }
    if !Machine::find(&args.guest.machine)?.is_possible() {
        return Err(Error::Usage("--machine hosted: only on x86-64 Linux; use virt or q35".into()));
    }
    Ok(())
}

/// The command that asks for the same.
fn again(args: &RunArgs) -> String {
    let usual = RunArgs::of(&args.guest.app);
    let mut words = vec!["cargo".to_owned(), "run".into(), "--".into(), "run".into(), args.guest.app.clone()];
    let mut put = |option: &str, value: Option<String>| {
        if let Some(value) = value {
            words.extend([option.to_owned(), value]);
        }
    };
    put("--machine", (args.guest.machine != usual.guest.machine).then(|| args.guest.machine.clone()));
    put("--cpus", (args.guest.cpus != usual.guest.cpus).then(|| args.guest.cpus.to_string()));
    put("--memory", args.guest.memory.map(|m| m.to_string()));
    put("--accel", (args.accel != usual.accel).then(|| args.accel.name().to_owned()));
    put("--numa", args.guest.numa.map(|n| n.to_string()));
    put("--timeout", args.timeout.map(|n| n.to_string()));
    put("--cores", args.cores.map(|n| n.to_string()));
    put("--log", args.log.clone());
    put("--sanitizer", args.sanitizer.map(|sanitizer| sanitizer.name().to_owned()));
    put("--trace", args.trace.as_ref().map(|path| path.display().to_string()));
    let classes = |bits: &u16| {
        let names: Vec<_> = CLASSES.iter().enumerate().filter(|(at, _)| bits >> at & 1 != 0).map(|(_, n)| *n).collect();
        if names.is_empty() { "none".to_owned() } else { names.join(",") }
    };
    put("--trace-classes", args.trace_classes.as_ref().map(classes));
    for extra in &args.qemu_arg {
        put("--qemu-arg", Some(extra.clone()));
    }
    for (said, flag) in [
        (args.guest.deterministic, "--deterministic"),
        (args.checked, "--checked"),
        (args.lse, "--lse"),
        (args.hardened, "--hardened"),
    ] {
        if said {
            words.push(flag.into());
        }
    }
    if !args.guest.app_args.is_empty() {
        words.push("--".into());
        words.extend(args.guest.app_args.iter().cloned());
    }
    words.iter().map(|w| quoted(w)).collect::<Vec<_>>().join(" ")
}

/// Sets up what `request` needs, says so if it did, and finds QEMU.
///
/// # Errors
/// As [`setup::ensure`].
pub fn ensure(workspace: &Workspace, request: &Request) -> Result<(), Error> {
    setup::ensure(workspace, &request.wanted(), false).map(|_| ())
}

/// The architectures of those machines that QEMU has, each once.
#[must_use]
pub fn architectures(machines: &[&Machine]) -> Vec<Arch> {
    let has = |arch: &Arch| machines.iter().any(|m| m.arch == *arch && !m.is_hosted());
    [Arch::Aarch64, Arch::X86_64].into_iter().filter(has).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::Sanitizer;

    fn check(change: impl FnOnce(&mut RunArgs)) -> Result<Request, Error> {
        let mut args = RunArgs::of("hello");
        change(&mut args);
        Request::check(&Workspace::find().unwrap(), &args)
    }

    #[test]
    fn defaults() {
        let request = check(|_| ()).unwrap();
        assert_eq!((request.cpus, request.memory, request.timeout), (4, 256, 120));
        assert_eq!(request.again, "cargo run -- run hello");
        assert_eq!(check(|a| a.guest.deterministic = true).unwrap().timeout, 600);
        assert_eq!(check(|a| a.guest.machine = "raspi4b".into()).unwrap().memory, 2048);
    }

    #[test]
    fn the_same_again() {
        let request = check(|a| {
            a.guest.cpus = 2;
            a.qemu_arg = vec!["-cpu max".into()];
            a.guest.deterministic = true;
            a.guest.app_args = vec!["n=3".into()];
        });
        let want = "cargo run -- run hello --cpus 2 --qemu-arg '-cpu max' --deterministic -- n=3";
        assert_eq!(request.unwrap().again, want);
    }

    #[test]
    fn rings_leave_the_program_most_of_the_memory() {
        let traced = |cpus: u32, memory: u32, classes| {
            let change = |a: &mut RunArgs| {
                (a.guest.cpus, a.guest.memory, a.trace, a.trace_classes) =
                    (cpus, Some(memory), Some("t".into()), classes);
            };
            check(change).unwrap()
        };
        assert_eq!(traced(4, 256, None).command_line, "trace=262144,1023");
        assert_eq!(traced(4, 8, Some(0)).command_line, "trace=8192,0");
        assert_eq!(
            traced(64, 8, Some(5)).again,
            "cargo run -- run hello --cpus 64 --memory 8 --trace t --trace-classes threads,arrivals"
        );
        assert!(traced(1, 64, None).how.trace && !check(|_| ()).unwrap().how.trace);
    }

    #[test]
    fn what_does_not_fit_is_refused() {
        let bad: [fn(&mut RunArgs); 13] = [
            |a| a.sanitizer = Some(Sanitizer::Address),
            |a| (a.guest.machine, a.lse) = ("raspi4b".into(), true),
            |a| a.guest.app = "helo".into(),
            |a| a.guest.machine = "virtt".into(),
            |a| a.guest.cpus = 0,
            |a| a.guest.cpus = 1000,
            |a| a.guest.memory = Some(1),
            |a| a.guest.numa = Some(9),
            |a| a.cores = Some(5),
            |a| (a.accel, a.guest.deterministic) = (Accel::Kvm, true),
            |a| (a.guest.machine, a.guest.deterministic) = ("hosted".into(), true),
            |a| (a.guest.machine, a.accel) = ("hosted".into(), Accel::Kvm),
            |a| (a.guest.machine, a.qemu_arg) = ("hosted".into(), vec!["-s".into()]),
        ];
        for change in bad {
            let error = check(change).unwrap_err();
            assert_eq!(error.exit_code(), 2);
            assert_eq!(error.to_string().lines().count(), 1, "{error}");
        }
    }

    #[test]
    fn a_hypervisor_needs_its_own_architecture() {
        let foreign = if cfg!(target_arch = "x86_64") { "virt" } else { "q35" };
        let error = check(|a| (a.accel, a.guest.machine) = (Accel::Kvm, foreign.into())).unwrap_err();
        assert!(error.to_string().contains("guests here"), "{error}");
    }
}
