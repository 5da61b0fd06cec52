//! QEMU's command line for a machine and a program: pure, so that tests can read it.

use crate::cli::Accel;
use crate::error::Error;
use crate::machine::{Arch, Board, Machine};
use std::path::{Path, PathBuf};
use std::process::Command;

/// All that shapes one boot.
#[derive(Clone, Debug)]
pub struct Launch {
    /// On what.
    pub machine: &'static Machine,
    /// CPUs.
    pub cpus: u32,
    /// Memory in MiB.
    pub memory: u32,
    /// How instructions are executed.
    pub accel: Accel,
    /// One instruction = 1 ns.
    pub deterministic: bool,
    /// On a CPU with LSE atomics.
    pub lse: bool,
    /// NUMA nodes.
    pub numa: Option<u32>,
    /// What is booted: an `Image`, an ELF file or a disk image.
    pub boot: PathBuf,
    /// The device tree handed over, where the machine has none of its own.
    pub device_tree: Option<PathBuf>,
    /// UEFI firmware, for the machine that needs it.
    pub firmware: Option<PathBuf>,
    /// The kernel command line.
    pub command_line: String,
    /// Memory that this program reads too, as [`SharedMemory::names`](crate::trace::memory::SharedMemory::names) has it: a part
    /// for each node; none: nobody does.
    pub shared: Vec<String>,
    /// Further arguments, which come last and so win.
    pub extra: Vec<String>,
}

impl Launch {
    /// The command that runs the guest: QEMU, or the program itself.
    #[must_use]
    pub fn command(&self) -> Command {
        let mut command =
            Command::new(if self.machine.is_hosted() { path(&self.boot) } else { self.machine.arch.qemu().into() });
        command.args(self.arguments()).envs(self.environment());
        command
    }

    /// What a guest that is a process is told of its machine.
    #[must_use]
    pub fn environment(&self) -> Vec<(&'static str, String)> {
        if !self.machine.is_hosted() {
            return Vec::new();
        }
        let mut all = vec![("ISOCHRON_CPUS", self.cpus.to_string()), ("ISOCHRON_MEMORY", self.memory.to_string())];
        all.extend(self.shared.first().map(|file| ("ISOCHRON_SHARED", file.clone())));
        all
    }

    /// Its arguments.
    #[must_use]
    pub fn arguments(&self) -> Vec<String> {
        if self.machine.is_hosted() {
            return self.command_line.split_whitespace().map(str::to_owned).collect();
        }
        let mut all = Arguments(Vec::new());
        self.board(&mut all);
        let smp = if self.machine.board == Board::Raspi4b { 4 } else { self.cpus };
        all.pair("-smp", smp.to_string());
        all.pair("-m", self.memory.to_string());
        self.nodes(&mut all);
        match (self.accel, self.deterministic) {
            (Accel::Tcg, true) => {
                all.pair("-accel", "tcg,thread=single");
                all.pair("-icount", "shift=0,sleep=off");
            }
            (Accel::Tcg, false) => all.pair("-accel", "tcg,thread=multi"),
            (accel, _) => all.pair("-accel", accel.name()),
        }
        match self.machine.arch {
            Arch::Aarch64 => all.pair("-semihosting-config", "enable=on,target=native"),
            Arch::X86_64 => all.pair("-device", "isa-debug-exit,iobase=0xf4,iosize=4"),
        }
        all.flag("-nodefaults");
        all.pair("-display", "none");
        all.flag("-no-reboot");
        all.pair("-serial", "stdio");
        self.program(&mut all);
        all.0.extend(self.extra.iter().cloned());
        all.0
    }

    fn board(&self, all: &mut Arguments) {
        let native = self.accel != Accel::Tcg;
        // QEMU 10.0 ends with "Bad icount read" at the first x2APIC access while it counts instructions.
        let pc_cpu = if self.deterministic { "max,-x2apic" } else { "max" };
        let (machine, cpu) = match self.machine.board {
            Board::Virt if native => ("virt,gic-version=host", "host"),
            Board::Virt => ("virt,gic-version=3", if self.lse { "cortex-a76" } else { "cortex-a72" }),
            Board::Raspi4b => ("raspi4b", "cortex-a72"),
            Board::Microvm => ("microvm,acpi=on,pit=on,pic=on,rtc=on,isa-serial=on,auto-kernel-cmdline=off", pc_cpu),
            Board::Q35 | Board::PcBios | Board::PcUefi | Board::Hosted => ("q35", pc_cpu),
        };
        match self.shared.first().filter(|_| self.numa.is_none()) {
            Some(path) => {
                all.pair("-machine", format!("{machine},memory-backend=ram"));
                all.pair("-object", format!("memory-backend-file,id=ram,size={}M,{}", self.memory, backed_by(path)));
            }
            None => all.pair("-machine", machine),
        }
        // Under some nested hypervisors the host's ARCH_CAPABILITIES cannot be shown to a guest.
        let host = native && self.machine.arch == Arch::X86_64;
        all.pair("-cpu", if host { "host,arch-capabilities=off" } else { cpu });
    }

    /// The memory of each node, in MiB.
    #[must_use]
    pub fn node_memory(&self) -> Vec<u32> {
        let nodes = self.numa.unwrap_or(1).max(1);
        (0..nodes).map(|node| share(self.memory, node, nodes)).collect()
    }

    fn nodes(&self, all: &mut Arguments) {
        let Some(nodes) = self.numa.filter(|n| *n > 0) else { return };
        for (node, memory) in (0..nodes).zip(self.node_memory()) {
            let first = self.cpus * node / nodes;
            let last = first + share(self.cpus, node, nodes) - 1;
            let backed = self.shared.get(node as usize).map(|path| format!("file,{}", backed_by(path)));
            let backed = backed.unwrap_or_else(|| "ram".into());
            all.pair("-object", format!("memory-backend-{backed},id=node{node},size={memory}M"));
            all.pair("-numa", format!("node,nodeid={node},cpus={first}-{last},memdev=node{node}"));
        }
    }

    fn program(&self, all: &mut Arguments) {
        if matches!(self.machine.board, Board::PcBios | Board::PcUefi) {
            if let Some(firmware) = &self.firmware {
                all.pair("-bios", path(firmware));
            }
            // The BIOS stages set a graphics mode and wait for ever where there is none.
            all.pair("-vga", "std");
            all.pair("-drive", format!("format=raw,snapshot=on,file={}", path(&self.boot).replace(',', ",,")));
            return;
        }
        all.pair("-kernel", path(&self.boot));
        if let Some(tree) = &self.device_tree {
            all.pair("-dtb", path(tree));
        }
        if !self.command_line.is_empty() {
            all.pair("-append", &self.command_line);
        }
    }

    /// The whole command as one could type it: with memory of the guest's own.
    #[must_use]
    pub fn typed(&self) -> String {
        let alone = Self { shared: Vec::new(), ..self.clone() };
        let mut words: Vec<_> =
            alone.environment().into_iter().map(|(name, value)| format!("{name}={value}")).collect();
        words.push(alone.command().get_program().to_string_lossy().into_owned());
        words.extend(alone.arguments());
        words.iter().map(|w| quoted(w)).collect::<Vec<_>>().join(" ")
    }
}

/// A node's part of something that all share.
fn share(total: u32, node: u32, nodes: u32) -> u32 {
    total * (node + 1) / nodes - total * node / nodes
}

fn backed_by(path: &str) -> String {
    format!("mem-path={path},share=on")
}

struct Arguments(Vec<String>);

impl Arguments {
    fn flag(&mut self, flag: &str) {
        self.0.push(flag.to_owned());
    }

    fn pair(&mut self, option: &str, value: impl Into<String>) {
        self.0.push(option.to_owned());
        self.0.push(value.into());
    }
}

fn path(path: &Path) -> String {
    path.to_string_lossy().into_owned()
}

/// `word` as a shell takes it for one word.
#[must_use]
pub fn quoted(word: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_=,.:/+@%".contains(c);
    if !word.is_empty() && word.chars().all(plain) {
        return word.to_owned();
    }
    format!("'{}'", word.replace('\'', r"'\''"))
}

/// What a guest is to record for the host.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Recorded {
    /// Records in each CPU's ring.
    pub records: u64,
    /// The classes, as bits.
    pub classes: u16,
}

/// The kernel command line: the kernel's own keys, `--`, the program's arguments.
///
/// # Errors
/// [`Error::Usage`] for an argument that it cannot carry.
pub fn command_line(
    cores: Option<u32>,
    log: Option<&str>,
    recorded: Option<Recorded>,
    app_args: &[String],
) -> Result<String, Error> {
    let mut words = Vec::new();
    if let Some(cores) = cores {
        words.push(format!("cores={cores}"));
    }
    if let Some(log) = log {
        words.push(format!("log={log}"));
    }
    if let Some(Recorded { records, classes }) = recorded {
        words.push(format!("trace={records},{classes}"));
    }
    if !app_args.is_empty() {
        words.push("--".to_owned());
        words.extend(app_args.iter().cloned());
    }
    let unfit = |w: &&String| w.is_empty() || w.chars().any(|c| c.is_whitespace() || c.is_control());
    if let Some(word) = words.iter().find(unfit) {
        let shown = word.escape_debug();
        return Err(Error::Usage(format!("'{shown}' cannot be passed to a guest: no spaces, nothing empty")));
    }
    let line = words.join(" ");
    if line.len() > MAX_COMMAND_LINE {
        return Err(Error::Usage(format!(
            "the arguments take {} bytes; a kernel command line holds {MAX_COMMAND_LINE}",
            line.len()
        )));
    }
    Ok(line)
}

/// The longest command line that every kernel keeps.
const MAX_COMMAND_LINE: usize = 2048;

/// `"-OPTION VALUE"` in two; everything else as it is.
#[must_use]
pub fn split_extra(arguments: &[String]) -> Vec<String> {
    let split = |a: &String| match a.split_once(' ') {
        Some((option, value)) if option.starts_with('-') => vec![option.to_owned(), value.trim_start().to_owned()],
        _ => vec![a.clone()],
    };
    arguments.iter().flat_map(split).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn launch(machine: &str) -> Launch {
        Launch {
            machine: Machine::find(machine).unwrap(),
            cpus: 3,
            memory: 256,
            accel: Accel::Tcg,
            deterministic: false,
            lse: false,
            numa: None,
            boot: "k.img".into(),
            device_tree: None,
            firmware: None,
            command_line: String::new(),
            shared: Vec::new(),
            extra: Vec::new(),
        }
    }

    #[test]
    fn a_hosted_guest_is_its_own_program() {
        let mut launch = launch("hosted");
        launch.boot = "target/hello".into();
        launch.command_line = "cores=2 -- n=3".into();
        assert_eq!(launch.typed(), "ISOCHRON_CPUS=3 ISOCHRON_MEMORY=256 target/hello cores=2 -- n=3");
    }

    #[test]
    fn machines_differ_where_they_must() {
        let typed = launch("virt").typed();
        assert!(typed.starts_with("qemu-system-aarch64 -machine virt,gic-version=3 -cpu cortex-a72 -smp 3 -m 256 "));
        assert!(typed.contains("-semihosting-config enable=on,target=native") && !typed.contains("-append"));
        let pi = Launch { device_tree: Some("pi.dtb".into()), ..launch("raspi4b") }.typed();
        assert!(pi.contains("-smp 4") && pi.contains("-dtb pi.dtb"));
        let pc = Launch { command_line: "cores=2 -- a".into(), ..launch("q35") }.typed();
        assert!(pc.contains("isa-debug-exit,iobase=0xf4") && pc.contains("-append 'cores=2 -- a'"));
        assert!(launch("microvm").typed().contains("isa-serial=on"));
        assert!(launch("pc-bios").typed().contains("-drive format=raw,snapshot=on,file=k.img"));
    }

    #[test]
    fn deterministic_is_one_thread_and_one_nanosecond() {
        let typed = Launch { deterministic: true, ..launch("virt") }.typed();
        assert!(typed.contains("-accel tcg,thread=single -icount shift=0,sleep=off"));
    }

    #[test]
    fn nodes_share_everything() {
        let typed = Launch { numa: Some(2), ..launch("virt") }.typed();
        assert!(typed.contains("nodeid=0,cpus=0-0,memdev=node0") && typed.contains("nodeid=1,cpus=1-2,memdev=node1"));
        assert_eq!(typed.matches("size=128M").count(), 2);
    }

    #[test]
    fn shared_memory_is_a_file_to_qemu_and_no_part_of_what_people_type() {
        let shared = Launch { shared: vec!["/x".into()], ..launch("virt") };
        let said = shared.arguments().join(" ");
        assert!(said.starts_with("-machine virt,gic-version=3,memory-backend=ram "), "{said}");
        assert!(said.contains("-object memory-backend-file,id=ram,size=256M,mem-path=/x,share=on "), "{said}");
        assert_eq!(shared.typed(), launch("virt").typed());
        let nodes = Launch { numa: Some(2), shared: vec!["/x".into(), "/y".into()], ..launch("q35") };
        let said = nodes.arguments().join(" ");
        assert!(said.contains("memory-backend-file,mem-path=/y,share=on,id=node1,size=128M"), "{said}");
        assert!(!said.contains("memory-backend=ram"));
    }

    #[test]
    fn what_the_user_adds_comes_last() {
        let extra = split_extra(&["-cpu max".into(), "-S".into(), "value with space".into()]);
        assert_eq!(extra, ["-cpu", "max", "-S", "value with space"]);
        assert!(Launch { extra, ..launch("virt") }.typed().ends_with("-cpu max -S 'value with space'"));
    }

    #[test]
    fn command_lines() {
        let args = ["a=1".to_owned(), "b".to_owned()];
        assert_eq!(command_line(Some(2), Some("debug"), None, &args).unwrap(), "cores=2 log=debug -- a=1 b");
        assert_eq!(command_line(None, None, None, &[]).unwrap(), "");
        for bad in ["a b", "", "a\nb"] {
            assert_eq!(command_line(None, None, None, &[bad.to_owned()]).unwrap_err().exit_code(), 2);
        }
        assert!(command_line(None, None, None, &["x".repeat(3000)]).is_err());
    }
}
