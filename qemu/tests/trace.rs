//! Records on their way from a guest to a file: none lost but those that are counted, whatever becomes of the guest.

use isochron_qemu::trace::file::{Counts, TraceFile};
use isochron_wire::trace::{Event, name_part};
use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

/// Where a test's trace goes.
fn place(name: &str) -> PathBuf {
    std::env::temp_dir().join(format!("isochron-trace-{name}-{}", std::process::id()))
}

/// Runs a program and records it into `file`.
fn record(file: &Path, app: &str, options: &[&str], arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_isochron"))
        .current_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join(".."))
        .args(["run", app, "--trace"])
        .arg(file)
        .args(options)
        .arg("--")
        .args(arguments)
        .output()
        .expect("the host program starts")
}

/// What was found of `bench_trace`: the marks of each CPU, the threads' names, the counts, how it ended.
struct Found {
    marks: BTreeMap<u32, Vec<u64>>,
    names: BTreeMap<u64, String>,
    counts: Vec<Counts>,
    ending: String,
}

fn read(path: &Path) -> Found {
    let mut file = TraceFile::open(path).expect("a trace");
    assert_eq!(file.fault, None);
    let (mut marks, mut names) = (BTreeMap::<_, Vec<_>>::new(), BTreeMap::<_, String>::new());
    let mut last = 0;
    for note in file.notes().expect("it can be read") {
        assert!(note.time >= last, "in the order of time");
        last = note.time;
        match note.event {
            Event::Mark => marks.entry(note.cpu).or_default().push(note.argument),
            Event::Named => {
                let (part, length) = name_part(note.argument);
                names.entry(note.thread).or_default().push_str(&String::from_utf8_lossy(&part[..length]));
            }
            _ => {}
        }
    }
    let ending = file.end.as_ref().expect("it ends").ending.clone();
    let _ = fs::remove_file(path);
    Found { marks, names, counts: file.counts(), ending }
}

/// Each CPU's marks are those that were made, in their order, but for as many as were dropped.
fn check(found: &Found, cpus: u32, made: u64) {
    assert_eq!(found.counts.len(), cpus as usize);
    for cpu in 0..cpus {
        let (marks, counts) = (&found.marks[&cpu], found.counts[cpu as usize]);
        assert!(marks.is_sorted_by(|a, b| a < b), "CPU {cpu}");
        let missing = made - marks.len() as u64;
        assert!(missing <= counts.dropped, "CPU {cpu}: {missing} of {made} are missing, {counts:?}");
        if counts.dropped == 0 {
            assert!(marks.iter().copied().eq(0..made), "CPU {cpu}");
        }
        assert!(found.names.values().any(|name| *name == format!("writer on CPU {cpu}")), "{:?}", found.names);
    }
}

#[test]
fn records_come_from_every_machine() {
    let hosted: &[&str] = if cfg!(all(target_arch = "x86_64", target_os = "linux")) { &["hosted"] } else { &[] };
    for machine in ["virt", "q35"].iter().chain(hosted) {
        for cpus in ["1", "2", "4"] {
            let file = place(&format!("{machine}-{cpus}"));
            let output = record(&file, "bench_trace", &["--machine", machine, "--cpus", cpus], &["20000"]);
            assert!(output.status.success(), "{machine}: {}", String::from_utf8_lossy(&output.stderr));
            let found = read(&file);
            check(&found, cpus.parse().unwrap(), 20_000);
            assert_eq!(found.ending, "ended with code 0");
            let (written, dropped) = found.counts.iter().fold((0, 0), |(w, d), of| (w + of.written, d + of.dropped));
            let lost = if dropped == 0 { "none lost".into() } else { format!("{dropped} lost") };
            let said = String::from_utf8_lossy(&output.stderr).into_owned();
            assert!(said.contains(&format!("{written} records, {lost}")), "{said}");
            assert!(String::from_utf8_lossy(&output.stdout).contains("trace_lost"));
        }
    }
}

#[test]
fn a_guest_that_dies_or_hangs_leaves_its_records() {
    for machine in ["virt", "q35"] {
        for (how, code, ending) in [("panic", 101, "panicked on CPU"), ("hang", 124, "no end after")] {
            let file = place(&format!("{machine}-{how}"));
            let options = ["--machine", machine, "--cpus", "2", "--timeout", "8"];
            let output = record(&file, "bench_trace", &options, &["500", how]);
            assert_eq!(output.status.code(), Some(code), "{}", String::from_utf8_lossy(&output.stderr));
            let found = read(&file);
            check(&found, 2, 500);
            assert!(found.ending.contains(ending), "{}", found.ending);
        }
    }
}

/// A deterministic run: a sum over all records in their order, and the report; `None` if the host came so late that it shows.
fn deterministic(name: &str) -> Option<(u64, String)> {
    let (file, report) = (place(name), place(&format!("{name}.json")));
    let json = report.to_str().unwrap();
    let options = ["--cpus", "2", "--memory", "32", "--deterministic", "--json", json];
    let output = record(&file, "bench_trace", &options, &["150000"]);
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "{said}");
    let mut trace = TraceFile::open(&file).expect("a trace");
    // The ring, of 65536 records, was gone round twice.
    assert!(trace.counts().iter().all(|of| of.written + of.dropped >= 150_000));
    let sum = trace.notes().unwrap().fold(0u64, |sum, note| {
        let words = [note.time, note.thread, note.argument, note.event as u64, u64::from(note.cpu)];
        words.iter().fold(sum, |sum, word| (sum ^ word).wrapping_mul(0x100_0000_01b3).rotate_left(7))
    });
    let figures = fs::read_to_string(&report).unwrap();
    let _ = (fs::remove_file(&file), fs::remove_file(&report));
    (said.contains("none lost") && !said.contains("nearly full")).then_some((sum, figures))
}

#[test]
fn who_reads_changes_nothing_in_a_deterministic_run() {
    let runs: Vec<_> = ["a", "b", "c", "d"].iter().filter_map(|name| deterministic(name)).take(2).collect();
    // Where the host is so busy that it came late again and again, there is nothing to compare.
    assert!(runs.windows(2).all(|pair| pair[0] == pair[1]), "{runs:?}");
}

#[test]
fn a_trace_that_cannot_be_written_is_told_and_the_program_has_run() {
    if !Path::new("/dev/full").exists() {
        return;
    }
    let output = record(Path::new("/dev/full"), "bench_trace", &["--cpus", "1"], &["60000"]);
    assert_eq!(output.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&output.stdout).contains("trace_mark "));
    assert!(String::from_utf8_lossy(&output.stderr).contains("cannot write /dev/full"));
}

#[test]
fn a_program_built_without_tracing_is_built_with_it() {
    let file = place("hello");
    let output = record(&file, "hello", &["--trace-classes", "none"], &[]);
    assert!(output.status.success());
    assert_eq!(read(&file).counts, [Counts::default(); 4]);
}
