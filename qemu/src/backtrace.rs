//! A guest's panic, or the death of one of its threads, with names for its addresses.

use crate::style::Style;
use isochron_wire::{Record, text_lines};
use std::fmt::Write;
use std::path::Path;

/// A panic as the guest told it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Panic {
    /// One thread has died, and the others go on.
    pub alone: bool,
    /// The CPU.
    pub cpu: u32,
    /// The thread.
    pub thread: String,
    /// The message.
    pub text: String,
    /// Registers, as they came.
    pub registers: Vec<(String, u64)>,
    /// Return addresses, innermost first.
    pub frames: Vec<u64>,
}

/// The most frames that are kept: a torn stack can go in circles.
const MAX_FRAMES: usize = 128;

impl Panic {
    /// Takes in a record that belongs to a panic. The first panic is the one that counts.
    pub fn take(panic: &mut Option<Self>, record: &Record<'_>) {
        match (record, panic) {
            (Record::Panic { cpu, thread, text }, panic @ None) => {
                let text = text_lines(text).collect::<Vec<_>>().join("\n");
                *panic = Some(Self { cpu: *cpu, thread: (*thread).to_owned(), text, ..Self::default() });
            }
            (record, Some(panic)) => panic.append(record),
            _ => {}
        }
    }

    /// Takes in a record that belongs to the death of a thread; the whole of it, once all is said.
    pub fn take_death(death: &mut Option<Self>, record: &Record<'_>) -> Option<Self> {
        match (record, &mut *death) {
            (Record::Death { cpu, thread, text }, death) => {
                let text = text_lines(text).collect::<Vec<_>>().join("\n");
                *death = Some(Self { alone: true, cpu: *cpu, thread: (*thread).to_owned(), text, ..Self::default() });
            }
            (Record::Buried, death) => return death.take(),
            (record, Some(death)) => death.append(record),
            _ => {}
        }
        None
    }

    fn append(&mut self, record: &Record<'_>) {
        match record {
            Record::Register { name, value } if self.registers.len() < MAX_FRAMES => {
                self.registers.push(((*name).to_owned(), *value));
            }
            Record::Frame { pc } if self.frames.len() < MAX_FRAMES => self.frames.push(*pc),
            _ => {}
        }
    }

    /// The panic for people: message, backtrace with source lines (paths relative to `root`), registers.
    #[must_use]
    pub fn render(&self, elf: &Path, root: &Path, style: Style) -> String {
        let headline = if self.alone {
            format!("thread '{}' died on CPU {}", self.thread, self.cpu)
        } else {
            let thread = if self.thread.is_empty() { String::new() } else { format!(", thread '{}'", self.thread) };
            format!("the guest panicked on CPU {}{thread}", self.cpu)
        };
        let mut out = format!("{}\n", style.red(&headline));
        for line in self.text.lines() {
            let _ = writeln!(out, "  {line}");
        }
        if !self.frames.is_empty() {
            let _ = writeln!(out, "{}", style.bold("backtrace, innermost first"));
            out += &self.backtrace(elf, root, style);
        }
        if !self.registers.is_empty() {
            let _ = writeln!(out, "{}", style.bold("registers"));
            for row in self.registers.chunks(4) {
                let cells: Vec<String> = row.iter().map(|(n, v)| format!("{n:>9} {v:016x}")).collect();
                let _ = writeln!(out, " {}", style.dim(&cells.join("")));
            }
        }
        out
    }

    fn backtrace(&self, elf: &Path, root: &Path, style: Style) -> String {
        let symbols = addr2line::Loader::new(elf).ok();
        let mut out = String::new();
        for (index, pc) in self.frames.iter().enumerate() {
            let found = symbols.as_ref().map(|s| frames_at(s, *pc, root)).unwrap_or_default();
            let number = format!("{index:>4}:");
            if found.is_empty() {
                let _ = writeln!(out, "{number} {pc:#018x}");
            }
            for (inlined, (name, place)) in found.into_iter().enumerate() {
                let lead = if inlined == 0 { number.as_str() } else { "     " };
                let _ = writeln!(out, "{lead} {}", style.cyan(&name));
                if let Some(place) = place {
                    let _ = writeln!(out, "          at {}", style.dim(&place));
                }
            }
        }
        out
    }
}

/// What the scheduler itself does between a thread's code and the place where its stack is looked at.
const MACHINERY: [&str; 10] = [
    "isochron::trace::",
    "isochron::probe::",
    "isochron::worker::",
    "isochron::thread::guard::",
    "isochron_kernel::backtrace::",
    "isochron_kernel::trap::",
    "isochron_kernel::irq::",
    "isochron_kernel::arch::",
    "isochron_interrupt",
    "core::",
];

/// The functions at return addresses, innermost first, each with its place in the source (paths relative to `root`): from the
/// program's own on, without the scheduler's in front of them.
#[must_use]
pub fn calls(elf: &Path, root: &Path, frames: &[u64]) -> Vec<String> {
    let Ok(symbols) = addr2line::Loader::new(elf) else { return Vec::new() };
    let named = frames.iter().flat_map(|pc| {
        let found = frames_at(&symbols, *pc, root);
        if found.is_empty() { vec![(format!("{pc:#018x}"), None)] } else { found }
    });
    let of_machinery = |name: &str| {
        let name = name.trim_start_matches('<');
        MACHINERY.iter().any(|start| name.starts_with(start))
    };
    let own = named.skip_while(|(name, _)| of_machinery(name));
    own.map(|(name, place)| place.map_or(name.clone(), |place| format!("{name} ({place})"))).collect()
}

/// The functions at a return address, the inlined ones first, each with its place in the source.
fn frames_at(symbols: &addr2line::Loader, pc: u64, root: &Path) -> Vec<(String, Option<String>)> {
    // The call is what is meant, and it ends where the return address points.
    let call = pc.saturating_sub(1);
    let mut found = Vec::new();
    if let Ok(mut frames) = symbols.find_frames(call) {
        while let Ok(Some(frame)) = frames.next() {
            let name = frame.function.as_ref().and_then(|f| f.raw_name().ok().map(|n| plain_name(&n)));
            let place = frame.location.and_then(|l| {
                let file = relative(l.file?, root);
                Some(l.line.map_or(file.clone(), |line| format!("{file}:{line}")))
            });
            found.extend(name.map(|name| (name, place)));
        }
    }
    if found.is_empty() {
        found.extend(symbols.find_symbol(call).map(|name| (plain_name(name), None)));
    }
    found
}

fn plain_name(name: &str) -> String {
    format!("{:#}", rustc_demangle::demangle(name))
}

/// A source path that says which file, not on whose machine.
fn relative(file: &str, root: &Path) -> String {
    let root = root.to_string_lossy();
    if let Some(rest) = file.strip_prefix(root.as_ref()) {
        return rest.trim_start_matches('/').to_owned();
    }
    for (mark, shown) in [("/registry/src/", ""), ("/library/", "library/")] {
        if let Some((_, rest)) = file.split_once(mark) {
            let rest = if shown.is_empty() { rest.split_once('/').map_or(rest, |(_, rest)| rest) } else { rest };
            return format!("{shown}{rest}");
        }
    }
    file.to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_death_is_whole_when_it_is_buried() {
        let (mut panic, mut death) = (None, None);
        let mut whole = Vec::new();
        for record in [
            Record::Frame { pc: 1 },
            Record::Death { cpu: 1, thread: "one", text: "a\x1fb" },
            Record::Register { name: "x0", value: 7 },
            Record::Frame { pc: 2 },
            Record::Buried,
            Record::Frame { pc: 3 },
            Record::Buried,
        ] {
            Panic::take(&mut panic, &record);
            whole.extend(Panic::take_death(&mut death, &record));
        }
        let [death] = whole.as_slice() else { panic!("{whole:?}") };
        assert_eq!((death.cpu, death.frames.as_slice(), death.registers.len()), (1, [2].as_slice(), 1));
        assert!(
            death.render(Path::new("/nowhere"), Path::new("/"), Style::plain()).contains("thread 'one' died on CPU 1")
        );
        assert_eq!(panic, None);
    }

    #[test]
    fn the_first_panic_counts() {
        let mut panic = None;
        for record in [
            Record::Frame { pc: 1 },
            Record::Panic { cpu: 1, thread: "main", text: "a\x1fb" },
            Record::Register { name: "x0", value: 7 },
            Record::Frame { pc: 2 },
            Record::Panic { cpu: 2, thread: "other", text: "later" },
        ] {
            Panic::take(&mut panic, &record);
        }
        let panic = panic.unwrap();
        assert_eq!((panic.text.as_str(), panic.cpu, panic.frames.as_slice()), ("a\nb", 1, [2].as_slice()));
        let text = panic.render(Path::new("/nowhere"), Path::new("/"), Style::plain());
        assert!(text.starts_with("the guest panicked on CPU 1, thread 'main'\n  a\n  b\n"), "{text}");
        assert!(text.contains("   0: 0x0000000000000002") && text.contains("x0 0000000000000007"), "{text}");
    }

    #[test]
    fn a_circle_of_frames_is_cut() {
        let mut panic = Some(Panic::default());
        for pc in 0..10_000 {
            Panic::take(&mut panic, &Record::Frame { pc });
        }
        assert_eq!(panic.unwrap().frames.len(), MAX_FRAMES);
    }

    #[test]
    fn paths_name_no_machine() {
        let root = Path::new("/home/me/isochron");
        assert_eq!(relative("/home/me/isochron/kernel/src/lib.rs", root), "kernel/src/lib.rs");
        assert_eq!(
            relative("/home/me/.cargo/registry/src/index-1/spin-0.12.0/src/lib.rs", root),
            "spin-0.12.0/src/lib.rs"
        );
        assert_eq!(relative("/rustc/abc/library/core/src/option.rs", root), "library/core/src/option.rs");
    }

    #[test]
    fn addresses_of_this_very_program_have_names() {
        let exe = std::env::current_exe().unwrap();
        let symbols = addr2line::Loader::new(&exe).unwrap();
        let data = std::fs::read(&exe).unwrap();
        use object::{Object, ObjectSymbol};
        let file = object::File::parse(&*data).unwrap();
        let symbol = file.symbols().find(|s| s.name().is_ok_and(|n| n.contains("plain_name"))).unwrap();
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
        let found = frames_at(&symbols, symbol.address() + 1, root);
        assert!(found.iter().any(|(n, _)| n.ends_with("backtrace::plain_name")), "{found:?}");
        let place = found.last().unwrap().1.clone().unwrap();
        assert!(place.starts_with("qemu/src/backtrace.rs:"), "{place}");
    }
}
