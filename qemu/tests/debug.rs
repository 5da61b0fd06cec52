//! `debug`: what gdb is told of a program whose threads wait in several ways, on each port; and that they go on afterwards.

use isochron_qemu::machine::Machine;
use isochron_qemu::setup;
use std::io::Write;
use std::process::Command;

/// What a gdb says that is told `commands`; `None`, and a line that says so, where there is none.
fn gdb(machine: &str, app: &str, cpus: &str, commands: &[&str]) -> Option<String> {
    let machine_is = Machine::find(machine).expect("a machine");
    if !machine_is.is_possible() || setup::gdb(machine_is.arch).is_none() {
        // `println!` would be swallowed where a test passes.
        let line = format!("skipped: debug on {machine}: no gdb with Python here (`cargo run -- setup --debugger`)\n");
        let _ = std::io::stderr().write_all(line.as_bytes());
        return None;
    }
    let mut debug = Command::new(env!("CARGO_BIN_EXE_isochron"));
    debug.args(["debug", app, "--machine", machine, "--cpus", cpus, "--timeout", "300"]).env("NO_COLOR", "1");
    debug.args(commands.iter().flat_map(|command| ["--command", command]));
    let output = debug.output().expect("the host program starts");
    let (said, err) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{machine}: {said}\n{err}");
    Some(format!("{said}\n{err}"))
}

/// The line of a table that has all of `words` in it, in their order.
fn has(said: &str, words: &[&str]) -> bool {
    said.lines().any(|line| {
        let mut rest = line;
        words.iter().all(|word| {
            let found = rest.split_once(word);
            rest = found.map_or("", |(_, rest)| rest);
            found.is_some()
        })
    })
}

/// Those of `lines` that come between the command that prints `begin` and the next.
fn after<'a>(said: &'a str, begin: &str, end: &str) -> &'a str {
    let rest = said.split_once(begin).unwrap_or_else(|| panic!("no `{begin}` in {said}")).1;
    rest.split_once(end).map_or(rest, |(part, _)| part)
}

fn threads_are_found(machine: &str) {
    let commands = [
        "break look_here",
        "continue",
        "iso cpus",
        "iso queues",
        "iso threads",
        "iso timers",
        "iso locks",
        "echo == waiter\\n",
        "iso bt waiter",
        "echo == computes\\n",
        "iso bt computes",
        "echo == busy\\n",
        "iso bt busy",
        "echo == main\\n",
        "backtrace",
        "echo == end\\n",
        "delete",
        "continue",
    ];
    let Some(said) = gdb(machine, "stuck", "2", &commands) else { return };
    for words in [
        // CPUs.
        &["0", "online", "'main'", "3"][..],
        &["1", "online", "'busy'", "0"],
        // Threads, each with what it is at.
        &["main", "runs on CPU 0", "stuck::look_here"],
        &["holder", "parked", "stuck::holds_the_lock"],
        &["receiver", "waits at a channel", "stuck::waits_for_a_message"],
        &["sleeper", "parked", "stuck::sleeps"],
        &["waiter", "parked", "stuck::waits_for_the_lock"],
        &["computes", "waits for CPU 0", "stuck::keeps_busy"],
        &["busy", "runs on CPU 1", "stuck::keeps_busy"],
        &["queued-1", "waits for CPU 0", "has not begun"],
        // Timers and locks.
        &["0 ", "wakes", "'sleeper'"],
        &["mutex", "'holder'", "'waiter'"],
    ] {
        assert!(has(&said, words), "{machine}: no line with {words:?} in\n{said}");
    }
    let waiting = after(&said, "CPU 0: 3 waiting\n", "CPU 1: 0 waiting");
    let order: Vec<&str> = waiting.lines().filter_map(|line| line.split('\'').nth(1)).collect();
    assert_eq!(order, ["computes", "queued-1", "queued-2"], "{machine}: {said}");
    // Calls of who waits, of who was taken off its CPU, and of who runs on another CPU.
    for (who, end, call) in [
        ("== waiter\n", "== computes\n", "stuck::waits_for_the_lock"),
        ("== computes\n", "== busy\n", "stuck::keeps_busy"),
        ("== busy\n", "== main\n", "stuck::keeps_busy"),
        ("== main\n", "== end\n", "stuck::look_here"),
    ] {
        assert!(after(&said, who, end).contains(call), "{machine}: no {call} in {who}{said}");
    }
    assert!(after(&said, "== end\n", "\0").contains("all let go"), "{machine}: it did not go on:\n{said}");
}

#[test]
fn threads_are_found_on_arm64() {
    threads_are_found("virt");
}

#[test]
fn threads_are_found_on_x86_64() {
    threads_are_found("q35");
}

#[test]
fn threads_are_found_in_a_process() {
    threads_are_found("hosted");
}

#[test]
fn a_thread_that_is_not_there_is_said() {
    let catch = "try:\n gdb.execute('iso bt nobody')\nexcept gdb.error as error:\n print(error)";
    let script = std::env::temp_dir().join(format!("isochron-gdb-{}.py", std::process::id()));
    std::fs::write(&script, catch).expect("a place for a file");
    let source = format!("source {}", script.display());
    let said = gdb("virt", "stuck", "1", &["break look_here", "continue", "iso", &source]);
    let _ = std::fs::remove_file(&script);
    let Some(said) = said else { return };
    for name in ["cpus", "queues", "threads", "bt", "timers", "locks"] {
        assert!(has(&said, &["iso ", name]), "{said}");
    }
    assert!(said.contains("there is no thread `nobody`"), "{said}");
}

#[test]
fn nobody_to_type_is_bad_usage() {
    let mut debug = Command::new(env!("CARGO_BIN_EXE_isochron"));
    let output = debug.args(["debug", "stuck"]).stdin(std::process::Stdio::null()).output().expect("it starts");
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(2), "{said}");
    assert!(said.contains("--command") && said.lines().count() == 1, "{said}");
}
