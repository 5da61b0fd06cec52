//! A build for CPUs with LSE atomics uses them: each change of a word that CPUs share is one instruction, and no loop of an
//! exclusive load and store is left. The usual build is the other way round, since it must run without LSE.

mod code;

use addr2line::Loader;
use isochron_qemu::build::Profile;

/// What an instruction does to a word that CPUs share.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Kind {
    /// One half of a loop: `ldxr`, `stxr`, and those that order.
    Exclusive,
    /// `cas`, with or without order.
    Cas,
    /// `ldadd`, `ldclr`, `ldset`, `swp` and the like.
    Fetch,
}

/// Arm ARM, C4.1.94: exclusive loads and stores; compare and swap; atomic memory operations.
fn kind(word: u32) -> Option<Kind> {
    if word & 0x3fa0_7c00 == 0x08a0_7c00 {
        Some(Kind::Cas)
    } else if word & 0x3f20_0c00 == 0x3820_0000 {
        Some(Kind::Fetch)
    } else if word & 0x3fa0_0000 == 0x0800_0000 {
        Some(Kind::Exclusive)
    } else {
        None
    }
}

/// The atomic instructions of a program's text, each with the function of ours that it comes from.
fn atomics(profile: Profile) -> Vec<(Kind, String)> {
    let code = code::channels(profile);
    let found = code.words.iter().filter_map(|&(address, word)| Some((kind(word)?, address)));
    found.map(|(kind, address)| (kind, function(&code.symbols, address))).collect()
}

/// The innermost function around `address` that is not of the standard library.
fn function(symbols: &Loader, address: u64) -> String {
    let Ok(mut frames) = symbols.find_frames(address) else { return String::new() };
    let mut name = String::new();
    while let Ok(Some(frame)) = frames.next() {
        let Some(raw) = frame.function.as_ref().and_then(|function| function.raw_name().ok()) else { continue };
        name = format!("{:#}", rustc_demangle::demangle(&raw));
        if name.contains("isochron") {
            break;
        }
    }
    name
}

#[test]
fn the_scheduler_changes_words_by_one_instruction() {
    let of = |all: &[(Kind, String)], wanted: Kind| -> Vec<String> {
        all.iter().filter(|(kind, _)| *kind == wanted).map(|(_, name)| name.clone()).collect()
    };
    let lse = atomics(Profile::Lse);
    // But for the load that arms WFE, which is no half of a loop, and what is assembly, and so has no name: the vectors'
    // lock, which is only for exceptions inside exceptions.
    let loops: Vec<String> = of(&lse, Kind::Exclusive)
        .into_iter()
        .filter(|name| !name.is_empty() && !name.ends_with("cpu::wait_for_store"))
        .collect();
    assert_eq!(loops, Vec::<String>::new());
    // The thread's state word, the queue of others' threads, and who sleeps.
    for (kind, function) in [
        (Kind::Cas, "ThreadState::"),
        (Kind::Fetch, "ThreadState::"),
        (Kind::Cas, "Inbox"),
        (Kind::Fetch, "IdleSet"),
        (Kind::Cas, "RawMutex"),
    ] {
        let found = of(&lse, kind);
        assert!(found.iter().any(|name| name.contains(function)), "no {kind:?} in {function}: {found:#?}");
    }
    let usual = atomics(Profile::Usual);
    assert_eq!((of(&usual, Kind::Cas), of(&usual, Kind::Fetch)), (Vec::new(), Vec::new()));
    assert!(of(&usual, Kind::Exclusive).len() > 50);
}

#[test]
fn instructions_are_told_apart() {
    // As the assembler makes them.
    let words = [
        (0xc85f_7c20, Some(Kind::Exclusive)), // ldxr x0, [x1]
        (0xc802_fc20, Some(Kind::Exclusive)), // stlxr w2, x0, [x1]
        (0x885f_fc20, Some(Kind::Exclusive)), // ldaxr w0, [x1]
        (0xc8a2_7c20, Some(Kind::Cas)),       // cas x2, x0, [x1]
        (0x88e2_fc20, Some(Kind::Cas)),       // casal w2, w0, [x1]
        (0xf822_0020, Some(Kind::Fetch)),     // ldadd x2, x0, [x1]
        (0xb8e2_8020, Some(Kind::Fetch)),     // swpal w2, w0, [x1]
        (0xf862_101f, Some(Kind::Fetch)),     // stclrl-like: ldclrl x2, xzr, [x0]
        (0xc8df_fc20, None),                  // ldar x0, [x1]
        (0xc89f_fc20, None),                  // stlr x0, [x1]
        (0xf940_0020, None),                  // ldr x0, [x1]
        (0xf862_6820, None),                  // ldr x0, [x1, x2]
        (0xd503_3bbf, None),                  // dmb ish
    ];
    for (word, want) in words {
        assert_eq!(kind(word), want, "{word:#x}");
    }
}
