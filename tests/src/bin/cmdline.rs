//! What stands on the kernel command line reaches the kernel and the program.
//@ machines: virt, raspi4b, q35, microvm, hosted
//@ run: arguments
//@ args: first cores=1 log=loud x=3 -- last
//@ run: no_arguments
//@ args:
//@ run: one_core
//@ cores: 1
//@ args: only=1
//@ run: two_cores
//@ cores: 2
//@ log: debug
//@ args: only=2
//@ run: bad_log
//@ log: loud
//@ expect: exit 2
//@ says: log=loud is not allowed; say off, error, warn, info, debug or trace
//@ run: unknown_key
//@ machines: virt, q35
//@ log: warn
//@ qemu: -append bogus=1
//@ says: unknown key `bogus` is ignored
#![no_std]
#![no_main]

use isochron::kernel::cmdline::split;
use isochron::log;
use isochron_guest_tests::prelude::*;

#[isochron::main]
fn main() -> u8 {
    run(cases![arguments_come_through, keys_are_obeyed, quotes_hold_words_together])
}

fn arguments_come_through() -> Outcome {
    let words: Vec<&str> = isochron::args().collect();
    match words.first() {
        None => {}
        // What looks like the kernel's keys, or like the mark before the arguments, is the program's behind that mark.
        Some(&"first") => check_eq!(words, ["first", "cores=1", "log=loud", "x=3", "--", "last"]),
        Some(_) => check!(words.len() == 1 && words[0].starts_with("only="), "{words:?}"),
    }
    check!(isochron::args().eq(words), "a second look finds other arguments");
    Ok(())
}

fn keys_are_obeyed() -> Outcome {
    let only = isochron::args().find_map(|word| word.strip_prefix("only=")).and_then(|number| number.parse().ok());
    let described = isochron::kernel::report::facts().cpus_described;
    check_eq!(thread::cpu_count(), only.unwrap_or(described));
    let level = if only == Some(2) { log::LevelFilter::Debug } else { log::LevelFilter::Warn };
    check_eq!(log::max_level(), level);
    Ok(())
}

fn quotes_hold_words_together() -> Outcome {
    check!(split("a \"two words\" \"\" b").eq(["a", "two words", "", "b"]));
    Ok(())
}
