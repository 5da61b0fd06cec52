//! What an alarm says.

use crate::Duration;
use core::fmt;
use isochron_kernel::boot::layout::MAX_CPUS;
use isochron_kernel::cpu::CpuId;
use isochron_kernel::report as kernel_report;

/// What is borne before an alarm is raised.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Bounds {
    /// A CPU may idle so long while threads wait for another.
    pub idle: Duration,
    /// So many threads may wait for one CPU.
    pub queue: usize,
    /// A thread may wait so long for a CPU.
    pub runnable: Duration,
}

impl Default for Bounds {
    /// Half a second, 128 threads, one second.
    fn default() -> Self {
        Self { idle: Duration::from_millis(500), queue: 128, runnable: Duration::from_secs(1) }
    }
}

/// Why it was raised.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Cause {
    /// A CPU has idled for longer than its bound, and all the while threads waited for another.
    IdleCpu {
        /// The one that idles.
        idle: CpuId,
        /// For how long.
        time: Duration,
    },
    /// More threads wait for one CPU than its bound.
    LongQueue,
    /// A thread has waited for longer than its bound.
    LongWait,
    /// Threads wait for a CPU that does not answer: its interrupts have been masked for some time.
    Silent,
}

/// The beginning of a thread's name.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Name {
    text: [u8; Self::MOST],
    len: u8,
}

impl Name {
    /// The most bytes that are kept of a name.
    pub const MOST: usize = 23;

    #[cfg(feature = "trace")]
    pub(super) fn of(thread: &crate::thread::control::Thread) -> Self {
        let mut name = Self { text: [0; Self::MOST], len: 0 };
        // What does not fit is cut off.
        let _ = thread.write_name(&mut name);
        name
    }

    /// As text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        core::str::from_utf8(&self.text[..usize::from(self.len)]).unwrap_or("?")
    }
}

impl fmt::Write for Name {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        for c in text.chars() {
            let at = usize::from(self.len);
            if at + c.len_utf8() > Self::MOST {
                return Err(fmt::Error);
            }
            c.encode_utf8(&mut self.text[at..]);
            self.len += c.len_utf8() as u8;
        }
        Ok(())
    }
}

impl fmt::Debug for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self.as_str(), f)
    }
}

/// A thread that waits for a CPU.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Waiting {
    /// Its number.
    pub thread: u64,
    /// Its name, or one made of its number.
    pub name: Name,
    /// For how long.
    pub time: Duration,
    /// Whether only this CPU may run it.
    pub bound: bool,
}

/// Threads starve, and this is the evidence.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Alarm {
    /// Why it was raised.
    pub cause: Cause,
    /// The CPU for which threads wait.
    pub cpu: CpuId,
    /// How many.
    pub waiting: usize,
    /// The one that has waited longest; `None` if the CPU did not answer, or nobody waits any more.
    pub longest: Option<Waiting>,
    /// The thread that runs there, by number and name.
    pub running: Option<(u64, Name)>,
    /// How many threads wait for each CPU.
    pub(super) lengths: [u16; MAX_CPUS],
    /// Of so many CPUs.
    pub(super) cpus: usize,
}

impl Alarm {
    /// How many threads wait for each CPU, by number.
    #[must_use]
    pub fn queues(&self) -> &[u16] {
        &self.lengths[..self.cpus]
    }
}

impl fmt::Display for Alarm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { cpu, waiting, .. } = self;
        match self.cause {
            Cause::IdleCpu { idle, time } => {
                write!(f, "CPU {idle} has idled for {time} while {waiting} threads wait for CPU {cpu}")?;
            }
            Cause::LongQueue => write!(f, "{waiting} threads wait for CPU {cpu}")?,
            Cause::LongWait => write!(f, "a thread waits too long for CPU {cpu}, with {waiting} in its queue")?,
            Cause::Silent => write!(f, "CPU {cpu} takes no interrupts while {waiting} threads wait for it")?,
        }
        if let Some(Waiting { thread, name, time, bound }) = self.longest {
            let bound = if bound { ", bound to it" } else { "" };
            write!(f, "; longest: '{}' ({thread}) for {time}{bound}", name.as_str())?;
        }
        if let Some((thread, name)) = self.running {
            write!(f, "; '{}' ({thread}) runs there", name.as_str())?;
        }
        f.write_str("; queues:")?;
        self.queues().iter().try_for_each(|length| write!(f, " {length}"))
    }
}

/// Says an alarm to the host, as a remark of the run's report: something to give to [`watch`](super::watch).
pub fn report(alarm: &Alarm) {
    kernel_report::note("starvation", format_args!("{alarm}"));
}
