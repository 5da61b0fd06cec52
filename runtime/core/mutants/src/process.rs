//! A process that is given up on when it takes too long.

use std::fs::{self, File};
use std::io;
use std::path::Path;
use std::process::{Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

/// How a process ended.
#[derive(Debug)]
pub enum End {
    /// By itself. Well: with exit code 0.
    Exited { well: bool, out: String, err: String },
    /// It was ended at the deadline.
    TimedOut,
}

/// Runs `command` until it ends or `deadline` comes. What it prints goes through files in `folder`, so that a process
/// that prints much cannot block.
pub fn run(mut command: Command, folder: &Path, deadline: Instant) -> io::Result<End> {
    let (out, err) = (folder.join("stdout"), folder.join("stderr"));
    command.stdin(Stdio::null()).stdout(File::create(&out)?).stderr(File::create(&err)?);
    let mut child = command.spawn()?;
    loop {
        if let Some(status) = child.try_wait()? {
            let text = |path| fs::read(path).map(|bytes| String::from_utf8_lossy(&bytes).into_owned());
            return Ok(End::Exited { well: status.success(), out: text(out)?, err: text(err)? });
        }
        if Instant::now() >= deadline {
            child.kill()?;
            child.wait()?;
            return Ok(End::TimedOut);
        }
        sleep(Duration::from_millis(10));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shell(script: &str) -> Command {
        let mut command = Command::new("sh");
        command.args(["-c", script]);
        command
    }

    #[test]
    fn output_exit_and_time_out() {
        let folder = std::env::temp_dir().join(format!("isochron-mutants-{}", std::process::id()));
        fs::create_dir_all(&folder).unwrap();
        let soon = || Instant::now() + Duration::from_secs(60);
        match run(shell("echo yes; echo no >&2; exit 3"), &folder, soon()).unwrap() {
            End::Exited { well, out, err } => assert_eq!((well, out.trim(), err.trim()), (false, "yes", "no")),
            End::TimedOut => panic!("ended"),
        }
        assert!(matches!(run(shell("exec sleep 1000"), &folder, Instant::now()).unwrap(), End::TimedOut));
        fs::remove_dir_all(&folder).unwrap();
    }
}
