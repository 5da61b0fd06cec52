//! `top --once` of threads whose states are known, on each port.

use isochron_qemu::machine::Machine;
use serde_json::Value;
use std::fs;
use std::process::{Command, Stdio};

fn top(machine: &str, words: &[&str]) -> Option<(String, Value)> {
    if !Machine::find(machine).expect("a machine").is_possible() {
        return None;
    }
    let json = std::env::temp_dir().join(format!("isochron-top-{machine}-{}.json", std::process::id()));
    let mut top = Command::new(env!("CARGO_BIN_EXE_isochron"));
    top.args(["top", "stuck", "--machine", machine, "--cpus", "2", "--once", "--json"]).arg(&json).env("NO_COLOR", "1");
    let output = top.args(words).args(["--", "stay"]).output().expect("the host program starts");
    let (said, err) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert_eq!(output.status.code(), Some(0), "{machine}: {said}\n{err}");
    let figures = serde_json::from_str(&fs::read_to_string(&json).expect("there are figures")).expect("JSON");
    let _ = fs::remove_file(&json);
    Some((said.into_owned(), figures))
}

fn states_and_shares_are_seen(machine: &str) {
    let Some((said, figures)) = top(machine, &["--seconds", "2"]) else { return };
    let threads = figures["threads"].as_array().expect("threads");
    let thread = |name: &str| {
        threads.iter().find(|thread| thread["name"] == name).unwrap_or_else(|| panic!("{machine}: no {name} in {said}"))
    };
    for (name, state) in [("holder", "park"), ("receiver", "channel"), ("waiter", "lock"), ("main", "sleep")] {
        assert_eq!(thread(name)["state"], state, "{machine}: {said}");
    }
    // Both have a CPU to themselves for most of the time, and no record says so.
    for name in ["computes", "busy"] {
        let share = thread(name)["share"].as_f64().expect("a share");
        assert!(thread(name)["state"] == "runs" && share > 0.5 && share <= 1.0, "{machine}: {share} of {name}: {said}");
    }
    let cpus = figures["cpus"].as_array().expect("CPUs");
    assert_eq!(cpus.len(), 2, "{machine}: {said}");
    for (cpu, runs) in cpus.iter().zip(["computes", "busy"]) {
        let busy = cpu["busy"].as_f64().expect("a part");
        assert!(cpu["runs"] == runs && (0.5..=1.0).contains(&busy), "{machine}: {said}");
    }
    assert!(figures["memory_touched"].as_u64().is_some_and(|bytes| bytes > 100_000), "{machine}: {said}");
    assert!(said.contains("stuck on ") && said.contains("worst delay") && figures["lost"] == 0, "{machine}: {said}");
}

#[test]
fn states_and_shares_are_seen_on_arm64() {
    states_and_shares_are_seen("virt");
}

#[test]
fn states_and_shares_are_seen_on_x86_64() {
    states_and_shares_are_seen("q35");
}

#[test]
fn states_and_shares_are_seen_in_a_process() {
    states_and_shares_are_seen("hosted");
}

#[test]
fn a_filter_and_an_order_are_kept() {
    let Some((said, figures)) = top("virt", &["--seconds", "0.5", "--filter", "er", "--sort", "name"]) else { return };
    let names: Vec<&str> = figures["threads"].as_array().unwrap().iter().filter_map(|t| t["name"].as_str()).collect();
    assert_eq!(names, ["holder", "receiver", "sleeper", "waiter"], "{said}");
    assert!(!said.contains("computes  "), "{said}");
}

#[test]
fn without_a_terminal_it_is_bad_usage() {
    let mut top = Command::new(env!("CARGO_BIN_EXE_isochron"));
    let output = top.args(["top", "stuck"]).stdin(Stdio::null()).output().expect("it starts");
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(2), "{said}");
    assert!(said.contains("--once") && said.lines().count() == 1, "{said}");
}
