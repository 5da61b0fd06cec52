//! The machines: what each can have, as data.

use crate::error::Error;
use crate::suggest;

/// An instruction set.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Arch {
    /// ARM64.
    Aarch64,
    /// x86-64.
    X86_64,
}

impl Arch {
    /// The name in reports and of QEMU's program.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Aarch64 => "aarch64",
            Self::X86_64 => "x86_64",
        }
    }

    /// The Rust target guests are built for.
    #[must_use]
    pub const fn target(self) -> &'static str {
        match self {
            Self::Aarch64 => "aarch64-unknown-none",
            Self::X86_64 => "x86_64-unknown-linux-musl",
        }
    }

    /// QEMU's program.
    #[must_use]
    pub const fn qemu(self) -> &'static str {
        match self {
            Self::Aarch64 => "qemu-system-aarch64",
            Self::X86_64 => "qemu-system-x86_64",
        }
    }
}

/// Which board.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Board {
    /// QEMU's generic ARM64 board.
    Virt,
    /// Raspberry Pi 4 B.
    Raspi4b,
    /// A PC, entered through PVH.
    Q35,
    /// QEMU's smallest x86 machine, entered through PVH.
    Microvm,
    /// A PC that boots the disk image through BIOS.
    PcBios,
    /// A PC that boots the disk image through UEFI.
    PcUefi,
    /// A process here, without QEMU.
    Hosted,
}

/// A machine's limits.
#[derive(Debug)]
pub struct Machine {
    /// Which board.
    pub board: Board,
    /// Its name on the command line.
    pub name: &'static str,
    /// One line for people.
    pub about: &'static str,
    /// Its instruction set.
    pub arch: Arch,
    /// The most CPUs.
    pub max_cpus: u32,
    /// The least memory, in MiB.
    pub min_memory: u32,
    /// The most memory, in MiB.
    pub max_memory: u32,
    /// The memory if nothing is said, in MiB.
    pub default_memory: u32,
    /// Whether memory and CPUs can be split into NUMA nodes.
    pub numa: bool,
}

/// All machines, the default one first.
pub static MACHINES: [Machine; 7] = [
    Machine {
        board: Board::Virt,
        name: "virt",
        about: "QEMU's generic ARM64 board: GICv3, PSCI, PL011",
        arch: Arch::Aarch64,
        max_cpus: 64,
        min_memory: 8,
        max_memory: 65536,
        default_memory: 256,
        numa: true,
    },
    Machine {
        board: Board::Raspi4b,
        name: "raspi4b",
        about: "Raspberry Pi 4 B: GIC-400, spin-table, PL011",
        arch: Arch::Aarch64,
        max_cpus: 4,
        min_memory: 2048,
        max_memory: 2048,
        default_memory: 2048,
        numa: false,
    },
    Machine {
        board: Board::Q35,
        name: "q35",
        about: "PC with ACPI and PCIe, entered through PVH",
        arch: Arch::X86_64,
        max_cpus: 64,
        min_memory: 8,
        max_memory: 65536,
        default_memory: 256,
        numa: true,
    },
    Machine {
        board: Board::Microvm,
        name: "microvm",
        about: "QEMU's smallest x86 machine, entered through PVH",
        arch: Arch::X86_64,
        max_cpus: 64,
        min_memory: 8,
        max_memory: 65536,
        default_memory: 256,
        numa: false,
    },
    Machine {
        board: Board::PcBios,
        name: "pc-bios",
        about: "PC that boots the disk image through BIOS",
        arch: Arch::X86_64,
        max_cpus: 64,
        min_memory: 64,
        max_memory: 65536,
        default_memory: 256,
        numa: false,
    },
    Machine {
        board: Board::PcUefi,
        name: "pc-uefi",
        about: "PC that boots the disk image through UEFI",
        arch: Arch::X86_64,
        max_cpus: 64,
        min_memory: 64,
        max_memory: 65536,
        default_memory: 256,
        numa: false,
    },
    Machine {
        board: Board::Hosted,
        name: "hosted",
        about: "a Linux process, its threads the CPUs: native, without QEMU",
        arch: Arch::X86_64,
        max_cpus: 64,
        min_memory: 16,
        max_memory: 1 << 24,
        default_memory: 2048,
        numa: false,
    },
];

impl Machine {
    /// Whether it is a process here rather than a machine in QEMU.
    #[must_use]
    pub fn is_hosted(&self) -> bool {
        self.board == Board::Hosted
    }

    /// Whether this system can have it at all.
    #[must_use]
    pub fn is_possible(&self) -> bool {
        !self.is_hosted() || cfg!(all(target_arch = "x86_64", target_os = "linux"))
    }

    /// The Rust target of its guests.
    #[must_use]
    pub fn target(&self) -> &'static str {
        if self.is_hosted() { "x86_64-unknown-linux-gnu" } else { self.arch.target() }
    }

    /// The program that runs its guests, as people know it.
    #[must_use]
    pub fn runner(&self) -> &'static str {
        if self.is_hosted() { "the program" } else { self.arch.qemu() }
    }

    /// The machine of that name.
    ///
    /// # Errors
    /// [`Error::Usage`] with the names that exist.
    pub fn find(name: &str) -> Result<&'static Self, Error> {
        let names = MACHINES.iter().map(|m| m.name);
        MACHINES.iter().find(|m| m.name == name).ok_or_else(|| Error::Usage(suggest::unknown("machine", name, names)))
    }

    /// Checks a number of CPUs.
    ///
    /// # Errors
    /// [`Error::Usage`] with the range that is allowed.
    pub fn check_cpus(&self, cpus: u32) -> Result<u32, Error> {
        if (1..=self.max_cpus).contains(&cpus) {
            return Ok(cpus);
        }
        Err(Error::Usage(format!("--cpus {cpus}: {} can have 1 to {} CPUs", self.name, self.max_cpus)))
    }

    /// Checks an amount of memory in MiB, or gives the default.
    ///
    /// # Errors
    /// [`Error::Usage`] with the range that is allowed.
    pub fn check_memory(&self, memory: Option<u32>) -> Result<u32, Error> {
        let Some(memory) = memory else { return Ok(self.default_memory) };
        if (self.min_memory..=self.max_memory).contains(&memory) {
            return Ok(memory);
        }
        Err(Error::Usage(if self.min_memory == self.max_memory {
            format!("--memory {memory}: QEMU's {} always has {} MiB", self.name, self.min_memory)
        } else {
            format!("--memory {memory}: {} can have {} to {} MiB", self.name, self.min_memory, self.max_memory)
        }))
    }

    /// Checks a number of NUMA nodes against the CPUs and memory they share.
    ///
    /// # Errors
    /// [`Error::Usage`] with what is allowed.
    pub fn check_numa(&self, nodes: Option<u32>, cpus: u32) -> Result<Option<u32>, Error> {
        match nodes {
            None => Ok(None),
            Some(_) if !self.numa => {
                let able: Vec<_> = MACHINES.iter().filter(|m| m.numa).map(|m| m.name).collect();
                Err(Error::Usage(format!("--numa: {} has one node; use {}", self.name, able.join(" or "))))
            }
            Some(n) if n == 0 || n > cpus || n > 8 => {
                Err(Error::Usage(format!("--numa {n}: 1 to {} nodes, one CPU in each at least", cpus.min(8))))
            }
            Some(n) => Ok(Some(n)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_found_or_suggested() {
        assert_eq!(Machine::find("virt").unwrap().board, Board::Virt);
        let text = Machine::find("raspi4").unwrap_err().to_string();
        assert!(text.contains("raspi4b") && text.contains("microvm") && text.lines().count() == 1, "{text}");
    }

    #[test]
    fn limits_are_told() {
        let pi = Machine::find("raspi4b").unwrap();
        assert_eq!(pi.check_cpus(4).unwrap(), 4);
        assert!(pi.check_cpus(5).unwrap_err().to_string().contains("1 to 4"));
        assert!(pi.check_memory(Some(256)).unwrap_err().to_string().contains("2048"));
        let virt = Machine::find("virt").unwrap();
        assert!(virt.check_cpus(0).is_err() && virt.check_cpus(1000).is_err() && virt.check_cpus(64).is_ok());
        assert!(virt.check_memory(Some(1)).unwrap_err().to_string().contains("8 to"));
        assert_eq!(virt.check_memory(None).unwrap(), 256);
        assert!(virt.check_numa(Some(5), 4).is_err() && virt.check_numa(Some(2), 4).unwrap() == Some(2));
        assert!(pi.check_numa(Some(2), 4).unwrap_err().to_string().contains("q35"));
    }
}
