//! The hot paths' machine code on ARM64 holds the barriers that the algorithms ask for.
//!
//! QEMU on a PC cannot tell: it does not reorder as ARM64 hardware may. So this looks at the code itself. The debug
//! information says which source function each instruction comes from, through all inlining; every copy of a function
//! that owes a barrier must hold it.

mod code;

use addr2line::Loader;
use code::Code;
use isochron_qemu::build::Profile;
use std::collections::BTreeMap;

/// An instruction that orders memory accesses.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Form {
    /// Orders everything before against everything after it.
    DmbIsh,
    /// Exclusive load with acquire.
    Ldaxr,
    /// Exclusive store with release.
    Stlxr,
    /// Load with acquire.
    Ldar,
    /// Store with release.
    Stlr,
}

impl Form {
    /// Whether `word` is one (Arm ARM, C4.1.94: barriers; load/store exclusive and ordered), of whatever size.
    fn is(self, word: u32) -> bool {
        // Size and registers are left out: o2, L, o1 and o0 tell the forms apart.
        const ORDERED: u32 = 0x3fe0_8000;
        match self {
            Self::DmbIsh => word == 0xd503_3bbf,
            Self::Ldaxr => word & ORDERED == 0x0840_8000,
            Self::Stlxr => word & ORDERED == 0x0800_8000,
            Self::Ldar => word & ORDERED == 0x08c0_8000,
            Self::Stlr => word & ORDERED == 0x0880_8000,
        }
    }
}

/// Exclusive stores of any kind.
fn is_exclusive_store(word: u32) -> bool {
    word & 0x3fe0_0000 == 0x0800_0000
}

/// Loads of one or two registers, exclusive ones included (Arm ARM, C4.1.94: bits 27 and 25, and the load bit).
fn is_load(word: u32) -> bool {
    word & 0x0a00_0000 == 0x0800_0000 && word & (1 << 22) != 0
}

/// What a function owes.
struct Debt {
    /// The function: the end of its path, without type parameters.
    function: &'static str,
    /// What each copy of it must hold.
    forms: &'static [Form],
    /// Somewhere before the first form, there must be one of these; after it, one of those.
    before: Option<fn(u32) -> bool>,
    after: Option<fn(u32) -> bool>,
    /// Why: what goes wrong without.
    why: &'static str,
}

const fn owes(function: &'static str, forms: &'static [Form], why: &'static str) -> Debt {
    Debt { function, forms, before: None, after: None, why }
}

/// The sleeper's and the pusher's side of the idle protocol, and the words through which threads change hands.
const DEBTS: &[Debt] = &[
    Debt {
        before: Some(is_exclusive_store),
        ..owes("IdleSet::announce", &[Form::DmbIsh], "a CPU looks at the queues before its sleep can be seen")
    },
    Debt {
        after: Some(is_load),
        ..owes("IdleSet::pick_idle", &[Form::DmbIsh], "a push is not seen by a CPU that is not seen asleep")
    },
    Debt {
        after: Some(is_load),
        ..owes("IdleSet::claim", &[Form::DmbIsh], "a hand-over is not seen by a CPU that is not seen asleep")
    },
    owes("IdleSet::look_again", &[Form::DmbIsh], "the last searcher misses what was pushed while it searched"),
    owes("IdleSet::cancel_sleep", &[Form::Ldaxr], "a woken CPU does not see what it was woken for"),
    owes("ThreadState::commit_park", &[Form::Stlxr], "a thread is run before its context is saved"),
    owes("ThreadState::unpark", &[Form::Ldaxr, Form::Stlxr], "a woken thread does not see what its waker wrote"),
    owes("Inbox::push", &[Form::Stlxr], "a thread that was handed over is seen before what is in it"),
    owes("Inbox::drain", &[Form::Ldaxr], "a thread that was handed over is seen before what is in it"),
    owes("RunQueue::steal_into", &[Form::Ldar], "a thief reads a slot before it is filled"),
    owes("RunQueue::free_reserved", &[Form::Stlxr], "a slot is filled again before a thief has read it"),
    owes("Owner::publish", &[Form::Stlr], "a thief reads a slot before it is filled"),
    owes("Completion::complete", &[Form::Ldaxr, Form::Stlxr], "a joiner does not see the result"),
    owes("RawMutex::try_lock", &[Form::Ldaxr], "what the lock protects is read before it is taken"),
    owes("RawMutex::try_unlock", &[Form::Stlxr], "what the lock protects is written after it is freed"),
];

/// One instruction and the functions it comes from, the innermost first.
struct Instruction {
    address: u64,
    word: u32,
    frames: Vec<Frame>,
}

struct Frame {
    name: String,
    /// The name without type parameters.
    plain: String,
    /// File and line, as far as they are known.
    place: String,
}

/// What of a program's text comes from functions that owe something.
fn instructions(code: &Code) -> Vec<Instruction> {
    let all = code.words.iter();
    all.map(|&(address, word)| Instruction { address, word, frames: frames(&code.symbols, address) })
        .filter(|found| found.frames.iter().any(|f| DEBTS.iter().any(|debt| f.plain.ends_with(debt.function))))
        .collect()
}

fn frames(symbols: &Loader, address: u64) -> Vec<Frame> {
    let mut found = Vec::new();
    if let Ok(mut frames) = symbols.find_frames(address) {
        while let Ok(Some(frame)) = frames.next() {
            let Some(name) = frame.function.as_ref().and_then(|function| function.raw_name().ok()) else { continue };
            let name = format!("{:#}", rustc_demangle::demangle(&name));
            let place = frame.location.and_then(|place| {
                let file = place.file?;
                // From the crate's folder on, whosever machine it was built on.
                let short = file.rsplit_once("/src/").map_or(file, |(_, rest)| rest);
                Some(format!("{short}:{}", place.line?))
            });
            found.push(Frame { plain: plain(&name), name, place: place.unwrap_or_default() });
        }
    }
    found
}

/// A path without its type parameters.
fn plain(name: &str) -> String {
    let (mut plain, mut depth) = (String::new(), 0u32);
    for c in name.chars() {
        match c {
            '<' => depth += 1,
            '>' => depth = depth.saturating_sub(1),
            _ if depth == 0 => plain.push(c),
            _ => {}
        }
    }
    plain
}

/// Every debt that is not paid, as a line that names function and place.
fn unpaid(code: &[Instruction], debts: &[Debt]) -> Vec<String> {
    let mut all = Vec::new();
    for debt in debts {
        let mut copies: BTreeMap<Vec<&str>, Vec<&Instruction>> = BTreeMap::new();
        for instruction in code {
            let at = instruction.frames.iter().position(|frame| frame.plain.ends_with(debt.function));
            if let Some(at) = at {
                // A copy is told by the functions around it. Not by the lines of the calls: what the compiler has merged
                // has lost them.
                let chain = instruction.frames[at + 1..].iter().map(|frame| frame.name.as_str()).collect();
                copies.entry(chain).or_default().push(instruction);
            }
        }
        if copies.is_empty() {
            all.push(format!(
                "{} is nowhere in the code: has it been renamed, or is nothing left of it?",
                debt.function
            ));
        }
        for copy in copies.values() {
            let holds = |form: Form| copy.iter().position(|instruction| form.is(instruction.word));
            let missing: Vec<Form> = debt.forms.iter().copied().filter(|form| holds(*form).is_none()).collect();
            let first = debt.forms.iter().filter_map(|form| holds(*form)).min().unwrap_or(0);
            let is = |test: Option<fn(u32) -> bool>, part: &[&Instruction]| {
                test.is_none_or(|test| part.iter().any(|instruction| test(instruction.word)))
            };
            let ordered = is(debt.before, &copy[..first]) && is(debt.after, &copy[first..]);
            if !missing.is_empty() || !ordered {
                let what = if missing.is_empty() { "the wrong order".to_owned() } else { format!("no {missing:?}") };
                let address = copy[0].address;
                let place = copy[0].frames.iter().map(|frame| format!("\n    in {} ({})", frame.name, frame.place));
                let place: String = place.collect();
                all.push(format!("{} at {address:#x}: {what}; {}{place}", debt.function, debt.why));
            }
        }
    }
    all
}

#[test]
fn hot_paths_hold_their_barriers() {
    let mut code = instructions(&code::channels(Profile::Usual));

    let missing = unpaid(&code, DEBTS);
    assert!(missing.is_empty(), "{}", missing.join("\n"));

    // Would it be seen if they were not there? With each form taken out, all that owe it must be found.
    for form in [Form::DmbIsh, Form::Ldaxr, Form::Stlxr, Form::Ldar, Form::Stlr] {
        let whole: Vec<u32> = code.iter().map(|instruction| instruction.word).collect();
        for instruction in &mut code {
            if form.is(instruction.word) {
                // A barrier becomes `nop`; bit 15 makes the difference between ordered and plain forms.
                instruction.word = if form == Form::DmbIsh { 0xd503_201f } else { instruction.word & !0x8000 };
            }
        }
        let found = unpaid(&code, DEBTS);
        for debt in DEBTS.iter().filter(|debt| debt.forms.contains(&form)) {
            assert!(
                found.iter().any(|line| line.starts_with(debt.function)),
                "{form:?} of {} goes unnoticed",
                debt.function
            );
        }
        for (instruction, word) in code.iter_mut().zip(whole) {
            instruction.word = word;
        }
    }
}

#[test]
fn forms_are_told_apart() {
    // As the assembler makes them: ldaxr x0, [x1]; stlxr w2, x0, [x1]; ldar x0, [x1]; stlr x0, [x1]; dmb ish;
    // ldxr x0, [x1]; stxr w2, x0, [x1]; ldr x0, [x1]; str x0, [x1]; dmb ishld; ldaxrb w0, [x1]; stlrb w0, [x1].
    let words = [
        (0xc85f_fc20, Some(Form::Ldaxr)),
        (0xc802_fc20, Some(Form::Stlxr)),
        (0xc8df_fc20, Some(Form::Ldar)),
        (0xc89f_fc20, Some(Form::Stlr)),
        (0xd503_3bbf, Some(Form::DmbIsh)),
        (0xc85f_7c20, None),
        (0xc802_7c20, None),
        (0xf940_0020, None),
        (0xf900_0020, None),
        (0xd503_39bf, None),
        (0x085f_fc20, Some(Form::Ldaxr)),
        (0x089f_fc20, Some(Form::Stlr)),
    ];
    for (word, form) in words {
        for other in [Form::DmbIsh, Form::Ldaxr, Form::Stlxr, Form::Ldar, Form::Stlr] {
            assert_eq!(other.is(word), form == Some(other), "{word:#x} as {other:?}");
        }
    }
    assert!(is_load(0xf940_0020) && is_load(0xc85f_7c20) && !is_load(0xf900_0020) && !is_load(0xd503_3bbf));
    assert!(is_exclusive_store(0xc802_7c20) && !is_exclusive_store(0xc85f_7c20));
}
