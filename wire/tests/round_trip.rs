//! Every record survives the line; a damaged line is never taken for a record.

use isochron_wire::{Cells, Fixed, MAX_CELLS, Outcome, ParseError, Record, encode_death, encode_note, encode_panic};

fn f(thousandths: i64) -> Fixed {
    Fixed::from_thousandths(thousandths)
}

const CELLS: [Fixed; 3] = [Fixed::ZERO, Fixed::from_thousandths(52_125), Fixed::from_thousandths(-3)];

fn all() -> Vec<Record<'static>> {
    let many = Box::leak(vec![f(1_234); MAX_CELLS].into_boxed_slice());
    vec![
        Record::Start { schema: 1, app: "latency", machine: "virt", arch: "aarch64", cpus: 4, clock_hz: 62_500_000 },
        Record::Distribution {
            name: "yield_switch",
            unit: "ns",
            samples: 100_000,
            min: f(57_000),
            mean: f(58_125),
            p50: f(58_000),
            p99: f(61_000),
            p999: f(70_001),
            max: f(i64::MAX),
        },
        Record::Value { name: "boot_to_main", unit: "ns", value: f(1_234_567_500) },
        Record::Bucket { name: "yield_switch", low: f(50_000), high: f(60_000), count: u64::MAX },
        Record::Row { name: "line_transfer", unit: "ns", row: 2, cells: Cells::new(&CELLS) },
        Record::Row { name: "line_transfer", unit: "ns", row: 3, cells: Cells::new(&[]) },
        Record::Row { name: "line_transfer", unit: "ns", row: 63, cells: Cells::new(many) },
        Record::Note { name: "ipi_latency", text: "skipped: one CPU *only* *deadbeef" },
        Record::Note { name: "ipi_latency", text: "" },
        Record::Note { name: "ipi_latency", text: "  two  spaces and µs " },
        Record::Progress { done: 3, total: 16, text: "yield_switch" },
        Record::TestPlan { count: 12 },
        Record::TestBegin { name: "heap::frees_elsewhere" },
        Record::TestEnd { name: "boots", outcome: Outcome::Passed, text: "" },
        Record::TestEnd { name: "boots", outcome: Outcome::Failed, text: "left != right" },
        Record::TestEnd { name: "boots", outcome: Outcome::Ignored, text: "needs 2 CPUs" },
        Record::Panic { cpu: 63, thread: "worker 3", text: "index out of bounds, at src/a.rs:3:4" },
        Record::Panic { cpu: 0, thread: "", text: "" },
        Record::Death { cpu: 1, thread: "thread-9", text: "a message, at src/a.rs:3:4" },
        Record::Buried,
        Record::Register { name: "elr_el1", value: 0xffff_ffff_8020_0010 },
        Record::Path { name: "delays", text: "CPU 0, 3 times" },
        Record::Frame { pc: 0 },
        Record::Exit { code: 101 },
    ]
}

#[test]
fn every_record_survives_the_line() {
    for record in all() {
        let line = record.to_string();
        assert!(line.starts_with('\x1e') && line.ends_with('\n'));
        assert_eq!(line.matches('\n').count(), 1, "{line:?}");
        assert_eq!(Record::parse(&line), Ok(record), "{line:?}");
        assert_eq!(Record::parse(line.trim_end_matches('\n')), Ok(record), "{line:?}");
        assert_eq!(Record::parse(&line.replace('\n', "\r\n")), Ok(record), "{line:?}");
    }
}

#[test]
fn a_damaged_line_is_refused() {
    for record in all() {
        let line = record.to_string();
        let line = line.trim_end_matches('\n');
        for (at, _) in line.char_indices().skip(1) {
            // Cut short, torn at the start, one character changed, one doubled: the ways a console loses bytes.
            let cut = &line[..at];
            assert!(Record::parse(cut).is_err(), "{cut:?}");
            let torn = format!("\x1e{}", &line[at..]);
            assert!(at == 1 || Record::parse(&torn).is_err(), "{torn:?}");
            let changed: String =
                line.char_indices().map(|(i, c)| if i == at { if c == 'q' { 'p' } else { 'q' } } else { c }).collect();
            assert!(Record::parse(&changed).is_err(), "{changed:?}");
            let last = line[..at].char_indices().last().map_or(0, |(i, _)| i);
            let doubled = format!("{}{}", &line[..at], &line[last..]);
            assert!(Record::parse(&doubled).is_err(), "{doubled:?}");
        }
    }
}

#[test]
fn two_lines_in_one_are_refused() {
    let (a, b) = (Record::Exit { code: 0 }.to_string(), Record::Exit { code: 1 }.to_string());
    assert!(Record::parse(&format!("{}{b}", a.trim_end())).is_err());
    assert!(Record::parse(&format!("{}text{b}", &a[..3])).is_err());
}

#[test]
fn ordinary_output_is_told_apart() {
    for line in ["", "\n", "hello", "value a ns 1 *00000000", " \x1evalue"] {
        assert_eq!(Record::parse(line), Err(ParseError::NotARecord), "{line:?}");
    }
    assert_eq!(Record::parse("\x1evalue a ns 1"), Err(ParseError::NoChecksum));
    assert_eq!(Record::parse("\x1evalue a ns 1 *00000000"), Err(ParseError::WrongChecksum));
}

/// A line with a right checksum around a body that breaks a rule.
fn signed(body: &str) -> String {
    let sum = body.bytes().fold(0x811c_9dc5u32, |sum, b| (sum ^ u32::from(b)).wrapping_mul(0x0100_0193));
    format!("\x1e{body} *{sum:08x}\n")
}

#[test]
fn fields_are_checked_behind_a_right_checksum() {
    for (body, error) in [
        ("nonsense 1", ParseError::UnknownKind),
        ("exit", ParseError::MissingField),
        ("exit 256", ParseError::BadNumber),
        ("exit -1", ParseError::BadNumber),
        ("exit 1 2", ParseError::ExtraField),
        ("value Boot ns 1", ParseError::BadName),
        ("value boot  1", ParseError::BadName),
        ("value boot ns 1.2345", ParseError::BadNumber),
        ("begin a::", ParseError::BadName),
        ("end a maybe x", ParseError::BadName),
        ("frame 0x12", ParseError::BadNumber),
        ("row m ns 0 1 x", ParseError::BadNumber),
        ("panic 0 no separator", ParseError::MissingField),
    ] {
        assert_eq!(Record::parse(&signed(body)), Err(error), "{body}");
    }
    let long = format!("row m ns 0{}", " 1".repeat(MAX_CELLS + 1));
    assert_eq!(Record::parse(&signed(&long)), Err(ParseError::BadNumber));
}

#[test]
fn what_cannot_be_sent_is_not_begun() {
    let too_many = [Fixed::ZERO; MAX_CELLS + 1];
    for record in [
        Record::Value { name: "Not Snake", unit: "ns", value: Fixed::ZERO },
        Record::Value { name: "fine", unit: "", value: Fixed::ZERO },
        Record::TestBegin { name: "a b" },
        Record::Row { name: "m", unit: "ns", row: 0, cells: Cells::new(&too_many) },
    ] {
        let mut out = String::new();
        assert!(record.encode(&mut out).is_err());
        assert_eq!(out, "");
    }
}

#[test]
fn text_keeps_its_lines_and_loses_what_a_console_would_obey() {
    let line = Record::Note { name: "n", text: "one\ntwo\tthree\x1b[31m\x1e" }.to_string();
    let Ok(Record::Note { text, .. }) = Record::parse(&line) else { panic!("{line:?}") };
    assert!(isochron_wire::text_lines(text).eq(["one", "two three?[31m?"]));
}

#[test]
fn formatted_messages_need_no_buffer() {
    let mut line = String::new();
    encode_panic(&mut line, 2, "idle", format_args!("{} of\n{}", 1, "two")).unwrap();
    assert_eq!(Record::parse(&line), Ok(Record::Panic { cpu: 2, thread: "idle", text: "1 of\x1ftwo" }));
    line.clear();
    encode_death(&mut line, 3, "thread-1", format_args!("{}", 7)).unwrap();
    assert_eq!(Record::parse(&line), Ok(Record::Death { cpu: 3, thread: "thread-1", text: "7" }));
    line.clear();
    encode_note(&mut line, "noise_gap", format_args!("{:?}", "x")).unwrap();
    assert_eq!(Record::parse(&line), Ok(Record::Note { name: "noise_gap", text: "\"x\"" }));
    assert!(encode_note(&mut line, "Noise", format_args!("")).is_err());
}
