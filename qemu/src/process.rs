//! Child processes that never outlive their purpose.

use crate::error::Error;
use crate::signals;
use std::process::{Child, Command, ExitStatus};
use std::thread::sleep;
use std::time::{Duration, Instant};

/// A child that is killed when this is dropped, and, on Linux, when this process dies in whatever way.
#[derive(Debug)]
pub struct Guarded(Child);

impl Guarded {
    /// Starts `command`. The calling thread must live as long as the child: on Linux the child dies with it.
    ///
    /// # Errors
    /// [`Error::Start`] if the program cannot be started.
    pub fn start(command: &mut Command) -> Result<Self, Error> {
        die_with_parent(command);
        let program = command.get_program().to_string_lossy().into_owned();
        command.spawn().map(Self).map_err(|source| Error::Start { program, source })
    }

    /// The child, for its pipes.
    pub fn child(&mut self) -> &mut Child {
        &mut self.0
    }

    /// The exit status, if it has ended.
    #[must_use]
    pub fn ended(&mut self) -> Option<ExitStatus> {
        self.0.try_wait().ok().flatten()
    }

    /// Waits at most `limit` for the end.
    #[must_use]
    pub fn wait_for(&mut self, limit: Duration) -> Option<ExitStatus> {
        let deadline = Instant::now() + limit;
        let mut pause = Duration::from_micros(200);
        loop {
            if let Some(status) = self.ended() {
                return Some(status);
            }
            if Instant::now() >= deadline {
                return None;
            }
            sleep(pause);
            pause = (pause * 2).min(Duration::from_millis(20));
        }
    }

    /// Waits for the end, or for Ctrl-C: then the child is killed.
    ///
    /// # Errors
    /// [`Error::Interrupted`].
    pub fn wait(&mut self) -> Result<ExitStatus, Error> {
        loop {
            if let Some(status) = self.wait_for(Duration::from_millis(100)) {
                return if signals::requested() { Err(Error::Interrupted) } else { Ok(status) };
            }
            if signals::requested() {
                self.kill();
                return Err(Error::Interrupted);
            }
        }
    }

    /// Waits at most `limit` for the end: whether it was a success, and the most memory that the child had, in bytes (0
    /// where the system does not tell). `None`: it took too long, and was killed.
    ///
    /// # Errors
    /// [`Error::Interrupted`] after Ctrl-C; the child is killed.
    pub fn wait_with_peak(mut self, limit: Duration) -> Result<Option<(bool, u64)>, Error> {
        let deadline = Instant::now() + limit;
        loop {
            // SAFETY: all zero is a valid `rusage`.
            let mut usage: libc::rusage = unsafe { std::mem::zeroed() };
            let mut status = 0;
            // SAFETY: both places are writable, and the child was not waited for yet: its number is still its own.
            let pid = unsafe { libc::wait4(self.0.id().cast_signed(), &raw mut status, libc::WNOHANG, &raw mut usage) };
            if pid != 0 {
                // Waited for: the standard library's handle must not do so again, nor signal whoever has the number next.
                std::mem::forget(self);
                let success = pid > 0 && libc::WIFEXITED(status) && libc::WEXITSTATUS(status) == 0;
                let unit = if cfg!(target_os = "linux") { 1024 } else { 1 };
                return Ok(Some((success, u64::try_from(usage.ru_maxrss).unwrap_or(0) * unit)));
            }
            if signals::requested() {
                self.kill();
                return Err(Error::Interrupted);
            }
            if Instant::now() >= deadline {
                self.kill();
                return Ok(None);
            }
            sleep(Duration::from_millis(5));
        }
    }

    /// Kills the child, if it still runs, and takes its status away.
    pub fn kill(&mut self) {
        if self.ended().is_none() {
            // Both fail only if it has ended in between.
            let _ = self.0.kill();
            let _ = self.0.wait();
        }
    }
}

impl Drop for Guarded {
    fn drop(&mut self) {
        self.kill();
    }
}

#[cfg(target_os = "linux")]
fn die_with_parent(command: &mut Command) {
    use std::os::unix::process::CommandExt;
    let parent = std::process::id();
    let set = move || {
        // SAFETY: prctl(PR_SET_PDEATHSIG) takes a signal number and touches no memory; getppid has no arguments. Both are
        // async-signal-safe, as code between fork and exec must be.
        let orphan = unsafe {
            libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL as libc::c_ulong);
            libc::getppid() as u32 != parent
        };
        // The parent may have died before the request was made: then nobody would send the signal.
        if orphan { Err(std::io::ErrorKind::BrokenPipe.into()) } else { Ok(()) }
    };
    // SAFETY: the closure allocates nothing, takes no lock and calls only async-signal-safe functions.
    unsafe { command.pre_exec(set) };
}

#[cfg(not(target_os = "linux"))]
fn die_with_parent(_command: &mut Command) {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_dropped_child_is_gone() {
        let mut child = Guarded::start(Command::new("sleep").arg("1000")).unwrap();
        let pid = child.child().id();
        assert!(child.wait_for(Duration::from_millis(1)).is_none());
        drop(child);
        // SAFETY: kill with signal 0 only asks whether the process exists.
        assert_eq!(unsafe { libc::kill(pid.cast_signed(), 0) }, -1);
    }

    #[test]
    fn what_is_not_there_is_told() {
        let error = Guarded::start(&mut Command::new("no-such-program-anywhere")).unwrap_err();
        assert!(error.to_string().starts_with("cannot start no-such-program-anywhere"), "{error}");
    }
}
