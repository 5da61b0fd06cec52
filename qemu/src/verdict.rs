//! What an ending means: the guest's code, or whose fault it was.

use crate::error::Error;
use crate::machine::{Arch, Machine};
use crate::watch::{Ending, Watched};
use isochron_wire::exit;
use std::process::ExitStatus;

/// The guest's exit code from QEMU's status, checked against what the guest itself said last.
///
/// # Errors
/// [`Error::Machine`] if QEMU failed or was killed, or the guest went away without a word; [`Error::Flood`],
/// [`Error::TimedOut`] (with `again`, how to run it again) and [`Error::Interrupted`] if it was stopped.
pub fn code(watched: &Watched, machine: &Machine, said: Option<u8>, limit: u64, again: &str) -> Result<u8, Error> {
    match &watched.ending {
        Ending::Exited(status) => exited(*status, machine, said, &watched.said),
        Ending::TimedOut => Err(Error::TimedOut { seconds: limit, again: again.to_owned() }),
        Ending::Flooded(why) => Err(Error::Flood(format!("{why}; it was stopped"))),
        Ending::Interrupted => Err(Error::Interrupted),
    }
}

fn exited(status: ExitStatus, machine: &Machine, said: Option<u8>, qemu_said: &str) -> Result<u8, Error> {
    let program = machine.runner();
    let Some(code) = status.code() else {
        let signal = std::os::unix::process::ExitStatusExt::signal(&status).unwrap_or(0);
        return Err(Error::Machine(format!("{program} was killed by signal {signal} before the guest ended")));
    };
    let told = match machine.arch {
        Arch::X86_64 if !machine.is_hosted() => exit::x86_code(code),
        Arch::X86_64 | Arch::Aarch64 => u8::try_from(code).ok(),
    };
    match (said, told) {
        // The guest panicked after it had said goodbye: the later word counts.
        (Some(said), Some(told)) if told != said && told == exit::PANIC => Ok(told),
        (Some(said), _) => Ok(said),
        // Status 1 without a word is how QEMU itself fails.
        (None, Some(told)) if told > 1 => Ok(told),
        (None, _) if !qemu_said.is_empty() || code == 1 => {
            let first = qemu_said.lines().find(|l| !l.trim().is_empty()).unwrap_or("it said nothing");
            let first = first.strip_prefix(program).unwrap_or(first).trim_start_matches(':').trim();
            Err(Error::Machine(format!("{program} failed with status {code}: {first}")))
        }
        _ => Err(Error::Machine(
            "the guest went away without a word (reset, triple fault or power-off before its exit record)".into(),
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::process::ExitStatusExt;
    use std::time::Duration;

    fn machine(arch: Arch) -> &'static Machine {
        Machine::find(if arch == Arch::Aarch64 { "virt" } else { "q35" }).unwrap()
    }

    fn judge(raw: i32, arch: Arch, said: Option<u8>, qemu: &str) -> Result<u8, Error> {
        let ending = Ending::Exited(ExitStatus::from_raw(raw));
        let watched = Watched { ending, tail: String::new(), said: qemu.into(), time: Duration::ZERO };
        code(&watched, machine(arch), said, 1, "again")
    }

    #[test]
    fn codes_travel_on_both_architectures() {
        for guest in 0..=exit::MAX {
            let status = i32::from(guest);
            assert_eq!(judge(status << 8, Arch::Aarch64, Some(guest), "").unwrap(), guest);
            let device = i32::try_from((exit::x86_port_value(guest) << 1) | 1).unwrap();
            assert_eq!(judge(device << 8, Arch::X86_64, Some(guest), "").unwrap(), guest);
        }
        assert_eq!(judge(101 << 8, Arch::Aarch64, None, "").unwrap(), 101);
        assert_eq!(judge(101 << 8, Arch::Aarch64, Some(0), "").unwrap(), 101);
    }

    #[test]
    fn qemus_own_failures_are_told() {
        for arch in [Arch::Aarch64, Arch::X86_64] {
            let text = judge(1 << 8, arch, None, &format!("{}: could not load kernel\nmore", arch.qemu()));
            let text = text.unwrap_err().to_string();
            assert!(text.contains("status 1: could not load kernel") && text.lines().count() == 1, "{text}");
            assert!(judge(9, arch, None, "").unwrap_err().to_string().contains("killed by signal 9"));
            assert!(judge(0, arch, None, "").unwrap_err().to_string().contains("without a word"));
        }
    }

    #[test]
    fn stopped_guests() {
        let watched = |ending| Watched { ending, tail: String::new(), said: String::new(), time: Duration::ZERO };
        let judge = |ending| code(&watched(ending), machine(Arch::Aarch64), None, 7, "cargo run").unwrap_err();
        assert_eq!(judge(Ending::TimedOut).exit_code(), 124);
        assert!(judge(Ending::TimedOut).to_string().contains("7 s"));
        assert_eq!(judge(Ending::Interrupted).exit_code(), 130);
        assert_eq!(judge(Ending::Flooded("x".into())).exit_code(), 1);
    }
}
