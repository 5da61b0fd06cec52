//! Watching a guest run: its console, its end, the clock, and Ctrl-C.

use crate::error::Error;
use crate::process::Guarded;
use crate::signals;
use crate::stream::{Event, Stream};
use std::collections::VecDeque;
use std::io::Read;
use std::process::{Command, ExitStatus, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::thread;
use std::time::{Duration, Instant};

/// What a guest may use up.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Time from start to end.
    pub time: Duration,
    /// Bytes of output without a pause of [`PAUSE`].
    pub output: u64,
}

/// Silence that ends a flood.
pub const PAUSE: Duration = Duration::from_secs(1);

/// Output without a pause that nobody reads.
pub const MAX_OUTPUT: u64 = 64 << 20;

impl Limits {
    /// A time limit, and the usual others.
    #[must_use]
    pub const fn seconds(seconds: u64) -> Self {
        Self { time: Duration::from_secs(seconds), output: MAX_OUTPUT }
    }
}

/// How it ended.
#[derive(Debug)]
pub enum Ending {
    /// By itself.
    Exited(ExitStatus),
    /// Stopped: its time was up.
    TimedOut,
    /// Stopped: it wrote without end, as the text says.
    Flooded(String),
    /// Stopped: Ctrl-C.
    Interrupted,
}

/// What is left when it has ended.
#[derive(Debug)]
pub struct Watched {
    /// How it ended.
    pub ending: Ending,
    /// The last of its console.
    pub tail: String,
    /// The last of what QEMU itself said.
    pub said: String,
    /// From start to end.
    pub time: Duration,
}

/// How often the clock and the flag are looked at while the guest is silent.
const TICK: Duration = Duration::from_millis(20);
/// How long output may still come after the process has ended.
const DRAIN: Duration = Duration::from_millis(300);

/// Starts `command`, reports its output as it comes, and sees that it ends. The child is gone when this returns.
///
/// # Errors
/// [`Error::Start`] if it cannot be started.
pub fn watch(command: &mut Command, limits: Limits, on: &mut dyn FnMut(Event<'_>)) -> Result<Watched, Error> {
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let started = Instant::now();
    let mut guest = Guarded::start(command)?;
    let (send, pieces) = sync_channel(8);
    if let Some(console) = guest.child().stdout.take() {
        thread::spawn(move || pump(console, &send));
    }
    let complaints = guest.child().stderr.take().map(|pipe| thread::spawn(move || last_of(pipe)));
    let mut stream = Stream::default();
    let mut ending = follow(&mut guest, &pieces, limits, started, &mut stream, on);
    guest.kill();
    // A terminal sends Ctrl-C to QEMU as well, which then ends by itself and may be seen to before the flag is.
    if signals::requested() {
        ending = Ending::Interrupted;
    }
    stream.finish(on);
    let said = complaints.map(|thread| wait_briefly(&thread).then(|| thread.join().ok()).flatten().unwrap_or_default());
    Ok(Watched { ending, tail: stream.tail(), said: said.unwrap_or_default(), time: started.elapsed() })
}

fn follow(
    guest: &mut Guarded,
    pieces: &Receiver<Vec<u8>>,
    limits: Limits,
    started: Instant,
    stream: &mut Stream,
    on: &mut dyn FnMut(Event<'_>),
) -> Ending {
    let (mut output, mut last, mut ended) = (0u64, Instant::now(), None::<(ExitStatus, Instant)>);
    loop {
        if signals::requested() {
            return Ending::Interrupted;
        }
        let left = limits.time.saturating_sub(started.elapsed());
        if left.is_zero() {
            return ended.map_or(Ending::TimedOut, |(status, _)| Ending::Exited(status));
        }
        match pieces.recv_timeout(TICK) {
            Ok(piece) => {
                if last.elapsed() >= PAUSE {
                    output = 0;
                }
                last = Instant::now();
                output += piece.len() as u64;
                if stream.push(&piece, on).is_err() {
                    return Ending::Flooded("the guest wrote a line of more than 64 KiB".into());
                }
                if output > limits.output {
                    let shown = if limits.output >> 20 > 0 { limits.output >> 20 } else { limits.output };
                    let unit = if limits.output >> 20 > 0 { "MiB" } else { "bytes" };
                    return Ending::Flooded(format!("the guest wrote more than {shown} {unit} without a pause"));
                }
            }
            // All was read that was there, however long that took. Something else holds the pipe open: what comes late is not
            // waited for.
            Err(RecvTimeoutError::Timeout) => {
                if let Some((status, at)) = ended
                    && at.elapsed() > DRAIN
                {
                    return Ending::Exited(status);
                }
            }
            // The console is closed: all was read, and the end cannot be far.
            Err(RecvTimeoutError::Disconnected) => match guest.wait_for(left.min(TICK)) {
                Some(status) => return Ending::Exited(status),
                None => continue,
            },
        }
        if ended.is_none() {
            ended = guest.ended().map(|status| (status, Instant::now()));
        }
    }
}

/// Reads the console into a short queue: when it is full the guest waits, as at a slow terminal.
fn pump(mut console: impl Read, send: &SyncSender<Vec<u8>>) {
    let mut buffer = vec![0; 32 << 10];
    loop {
        match console.read(&mut buffer) {
            Ok(0) => return,
            Ok(n) if send.send(buffer[..n].to_vec()).is_err() => return,
            Err(e) if e.kind() != std::io::ErrorKind::Interrupted => return,
            _ => {}
        }
    }
}

/// Reads to the end and keeps the last 8 KiB.
fn last_of(mut pipe: impl Read) -> String {
    let (mut kept, mut buffer) = (VecDeque::new(), [0; 4096]);
    while let Ok(n) = pipe.read(&mut buffer) {
        if n == 0 {
            break;
        }
        kept.extend(&buffer[..n]);
        let over = kept.len().saturating_sub(8 << 10);
        kept.drain(..over);
    }
    String::from_utf8_lossy(&kept.into_iter().collect::<Vec<u8>>()).trim().to_owned()
}

fn wait_briefly<T>(thread: &thread::JoinHandle<T>) -> bool {
    let deadline = Instant::now() + DRAIN;
    while !thread.is_finished() && Instant::now() < deadline {
        thread::sleep(Duration::from_millis(1));
    }
    thread.is_finished()
}

#[cfg(test)]
mod tests {
    use super::*;
    use isochron_wire::Record;

    /// Runs a shell script as the guest; gives what it printed, the records, and the end.
    fn guest(script: &str, limits: Limits) -> (String, Vec<String>, Watched) {
        let (mut text, mut found) = (Vec::new(), Vec::new());
        let watched = watch(Command::new("sh").args(["-c", script]), limits, &mut |event| match event {
            Event::Text(t) => text.extend_from_slice(t),
            Event::Record(r) => found.push(format!("{r:?}")),
            Event::Damaged(..) => found.push("damaged".into()),
        });
        (String::from_utf8(text).unwrap(), found, watched.unwrap())
    }

    #[test]
    fn a_slow_reader_loses_nothing() {
        let script = "for i in 1 2 3 4 5 6 7 8; do echo $i; sleep 0.02; done";
        let mut text = Vec::new();
        let watched = watch(Command::new("sh").args(["-c", script]), Limits::seconds(20), &mut |event| {
            if let Event::Text(piece) = event {
                text.extend_from_slice(piece);
                // As looking up the names of a backtrace does.
                thread::sleep(DRAIN / 2);
            }
        });
        assert!(matches!(watched.unwrap().ending, Ending::Exited(status) if status.success()));
        assert_eq!(String::from_utf8(text).unwrap(), "1\n2\n3\n4\n5\n6\n7\n8\n");
    }

    fn printf(record: &Record<'_>) -> String {
        format!("printf '\\036{}\\n';", record.to_string().trim_end().trim_start_matches('\x1e'))
    }

    #[test]
    fn output_records_and_code_arrive() {
        let script = format!("echo hello; {} echo oops >&2; exit 3", printf(&Record::Exit { code: 3 }));
        let (text, found, watched) = guest(&script, Limits::seconds(60));
        assert_eq!((text.as_str(), found.len()), ("hello\n", 1));
        assert!(matches!(watched.ending, Ending::Exited(s) if s.code() == Some(3)), "{watched:?}");
        assert_eq!(watched.said, "oops");
        assert_eq!(watched.tail, "hello\nexit 3\n");
    }

    #[test]
    fn a_hang_is_ended() {
        let (text, _, watched) =
            guest("echo up; exec sleep 1000", Limits { time: Duration::from_millis(200), ..Limits::seconds(1) });
        assert!(matches!(watched.ending, Ending::TimedOut));
        assert_eq!((text.as_str(), watched.tail.as_str()), ("up\n", "up\n"));
    }

    #[test]
    fn floods_are_ended() {
        let limits = Limits { output: 1 << 20, ..Limits::seconds(60) };
        let (text, _, watched) = guest("exec yes", limits);
        assert!(matches!(&watched.ending, Ending::Flooded(why) if why.contains("1 MiB")), "{watched:?}");
        assert!(text.len() < 2 << 20 && watched.tail.len() <= 64 << 10);
        let (_, _, watched) = guest("exec cat /dev/zero", limits);
        assert!(matches!(&watched.ending, Ending::Flooded(why) if why.contains("line")));
    }

    #[test]
    fn a_death_by_signal_is_seen() {
        let (_, _, watched) = guest("echo half; kill -9 $$", Limits::seconds(60));
        let Ending::Exited(status) = watched.ending else { panic!("{watched:?}") };
        assert_eq!(std::os::unix::process::ExitStatusExt::signal(&status), Some(9));
    }

    #[test]
    fn a_pipe_left_open_is_not_waited_for() {
        let (_, _, watched) = guest("sleep 5 & echo $!; exit 0", Limits::seconds(60));
        assert!(matches!(watched.ending, Ending::Exited(_)) && watched.time < Duration::from_secs(4));
    }

    #[test]
    fn broken_records_are_told_apart() {
        let (_, found, _) = guest("printf '\\036exit 0 *00000000\\n'", Limits::seconds(60));
        assert_eq!(found, ["damaged"]);
    }
}
