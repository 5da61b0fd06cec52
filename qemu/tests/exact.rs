//! Programs whose figures are exact when one instruction is 1 ns, held to bounds: a ratio that grows here is not the host's
//! doing.

use isochron_qemu::reports::baseline::{self, Baseline, HEAP, IO_WAIT, MACHINES, ONE_CPU, RUNS, Run, Standing};
use isochron_qemu::reports::read::{Told, Which};
use std::collections::BTreeMap;
use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Arc, Mutex, OnceLock};

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

/// As [`figures_on`], on one CPU.
fn figures(machine: &str, app: &str, arguments: &[&str]) -> BTreeMap<String, f64> {
    figures_on(machine, 1, app, arguments)
}

/// The figures of a program that is run with `--deterministic`: values by name, and of distributions their P99 and, as
/// `NAME.max`, their greatest.
fn figures_on(machine: &str, cpus: u32, app: &str, arguments: &[&str]) -> BTreeMap<String, f64> {
    let report = std::env::temp_dir().join(format!("isochron-exact-{app}-{machine}-{}.json", std::process::id()));
    let output = Command::new(env!("CARGO_BIN_EXE_isochron"))
        .current_dir(root())
        .args(["run", app, "--machine", machine, "--deterministic", "--cpus", &cpus.to_string(), "--json"])
        .arg(&report)
        .arg("--")
        .args(arguments)
        .output()
        .expect("the host program starts");
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{app} on {machine}:\n{said}\n{}", String::from_utf8_lossy(&output.stderr));
    let text = fs::read_to_string(&report).expect("there is a report");
    let _ = fs::remove_file(&report);
    let report: serde_json::Value = serde_json::from_str(&text).expect("the report is JSON");
    let results = report["results"].as_array().expect("the report has results");
    let mut found = BTreeMap::new();
    for result in results {
        let Some(name) = result["name"].as_str() else { continue };
        let of = |field: &str| result.get(field).and_then(serde_json::Value::as_f64);
        found.extend(of("value").or(of("p99")).map(|value| (name.to_owned(), value)));
        found.extend(of("max").map(|value| (format!("{name}.max"), value)));
    }
    found
}

/// What a run of the baseline told: each is made once, whoever asks for it.
fn told(machine: &str, run: &Run) -> Told {
    type Runs = Mutex<BTreeMap<String, Arc<OnceLock<Told>>>>;
    static MADE: Runs = Mutex::new(BTreeMap::new());
    let name = format!("{}-{machine}", run.name);
    let made = MADE.lock().expect("nobody panicked here").entry(name.clone()).or_default().clone();
    let measure = || {
        let scratch = std::env::temp_dir().join(format!("isochron-baseline-{name}-{}.json", std::process::id()));
        let told = run.measure(Path::new(env!("CARGO_BIN_EXE_isochron")), &root(), machine, &scratch);
        told.unwrap_or_else(|error| panic!("{error}"))
    };
    made.get_or_init(measure).clone()
}

/// Its values by name, and of distributions their P99.
fn worst(machine: &str, run: &Run) -> BTreeMap<String, f64> {
    let figures = told(machine, run).figures.into_iter().filter(|figure| figure.which != Which::P50);
    figures.map(|figure| (figure.name, figure.value)).collect()
}

/// A change that makes something slower by more than a few percent says so in `qemu/baseline`.
#[test]
fn nothing_is_slower_than_the_baseline_says() {
    let mut rose = Vec::new();
    for machine in MACHINES {
        let baseline = Baseline::read(&root(), machine).unwrap_or_else(|error| panic!("{error}"));
        for run in &RUNS {
            let standing = Standing::of(&baseline.figures(run), &baseline::figures(&told(machine, run)));
            let lines = standing.lines().into_iter().map(|line| format!("{machine} {}: {line}\n", run.name));
            if standing.holds() {
                // What fell is no failure, and is said even so: `println!` would be swallowed where a test passes.
                let text: String =
                    lines.map(|line| format!("{line}worth recording: cargo run -- report baseline\n")).collect();
                let _ = std::io::stderr().write_all(text.as_bytes());
            } else {
                rose.extend(lines);
            }
        }
    }
    assert!(rose.is_empty(), "record what is worth it by `cargo run -- report baseline`:\n{}", rose.concat());
}

/// What a message to another thread of the same CPU and back takes, and a thread that is made and joined there: an instruction more
/// in every round shows here.
#[test]
fn messages_and_threads_on_one_cpu_stay_as_cheap_as_they_are() {
    for (machine, round, thread) in [("virt", 255.0, 350.0), ("q35", 290.0, 365.0)] {
        let found = worst(machine, &ONE_CPU);
        let figure = |name: &str| found.get(name).copied().unwrap_or_else(|| panic!("no {name} in {found:?}"));
        assert!(figure("channel_round_same_cpu") <= round, "{machine}: {found:?}");
        assert!(figure("spawn_join") <= thread, "{machine}: {found:?}");
    }
}

/// Mission B1: who is in no group wakes and is answered beside a group that uses up its quota as it does without it.
#[test]
fn a_throttled_group_does_not_delay_others() {
    for machine in ["virt", "q35"] {
        let found = figures(machine, "throttle", &["10000", "100000", "3", "600"]);
        let figure = |name: &str| found.get(name).copied().unwrap_or_else(|| panic!("no {name} in {found:?}"));
        // The group was at it, and was held to its tenth.
        assert!(figure("throttle_group_throttled") >= 5.0, "{machine}: {found:?}");
        assert!((90.0..=125.0).contains(&figure("throttle_group_share")), "{machine}: {found:?}");
        // One interrupt, one switch, and the charging of a member; a quantum would be a ratio of thousands.
        assert!(figure("throttle_wake_p99_ratio") < 5.0, "{machine}: {found:?}");
        assert!(figure("throttle_answer_p99_ratio") < 5.0, "{machine}: {found:?}");
        // Even if the group has no limit.
        for name in ["throttle_wake_unlimited", "throttle_answer_unlimited"] {
            assert!(figure(name) < 10_000.0, "{machine}: {found:?}");
        }
    }
}

/// Mission B2: when the period of a group of thousands begins, they come back a few at a time, and nobody waits for all of them.
#[test]
fn the_period_of_a_large_group_begins_bit_by_bit() {
    for machine in ["virt", "q35"] {
        let found = figures(machine, "throttle", &["1000", "10000", "3000", "300"]);
        let longest = found.get("throttle_wake_limited.max").copied().unwrap_or_else(|| panic!("{found:?}"));
        // All at once would be 3000 times some hundred instructions.
        assert!(longest < 20_000.0, "{machine}: {found:?}");
    }
}

/// Mission B7: threads that wait for a device take nothing from who computes, and what the device wakes takes little.
#[test]
fn who_waits_for_a_device_holds_no_cpu() {
    for machine in ["virt", "q35"] {
        let found = worst(machine, &IO_WAIT);
        let figure = |name: &str| found.get(name).copied().unwrap_or_else(|| panic!("no {name} in {found:?}"));
        assert_eq!(figure("io_wait_interrupts_silent"), 0.0, "{machine}: {found:?}");
        assert_eq!(figure("io_wait_idle_interrupts"), 0.0, "{machine}: {found:?}");
        assert!(figure("io_wait_share_silent") >= 999.0, "{machine}: {found:?}");
        assert!(figure("io_wait_share_served") >= 990.0, "{machine}: {found:?}");
        // One for each request; another may belong to the quantum that was under way.
        assert!((50.0..=51.0).contains(&figure("io_wait_interrupts_served")), "{machine}: {found:?}");
    }
}

/// Mission C7: what the program patterns are for shows in their figures; and they lose nothing (else they fail).
#[test]
fn program_patterns_show_what_they_are_for() {
    let p99 = |app: &str, arguments: &[&str], names: [&str; 2]| {
        let found = figures("virt", app, arguments);
        names.map(|name| found.get(name).copied().unwrap_or_else(|| panic!("no {name} in {found:?}")))
    };
    let [each, batch] = p99("log_commit", &["32", "20"], ["log_commit_each", "log_commit_batch"]);
    // 32 flushes of 200 us for each commit, against one and the window.
    assert!(each > 10.0 * batch, "{each} and {batch}");
    let [eager, cooperative] = p99("rebalance", &[], ["rebalance_eager", "rebalance_cooperative"]);
    assert!(eager > 10.0 * cooperative, "{eager} and {cooperative}");
    let [single, batch] = p99("remote_write", &["1000"], ["remote_write_single", "remote_write_batch"]);
    assert!(single > 10.0 * batch, "{single} and {batch}");
    let [alone, hints] = p99("pipeline", &["300"], ["pipeline_alone", "pipeline_hints"]);
    assert!(hints < 1.2 * alone, "{hints} and {alone}");
}

/// Mission B6: a group that heeds what it is told is never ended; one that does not is, with all that it holds; and while twenty
/// thousand die, nobody on their CPU or another wakes late by more than a part of a quantum.
#[test]
fn a_group_ends_alone_and_bit_by_bit() {
    const QUANTUM: f64 = 1_000_000.0;
    for machine in ["virt", "q35"] {
        let found = figures_on(machine, 2, "memory_limit", &[]);
        let figure = |name: &str| found.get(name).copied().unwrap_or_else(|| panic!("no {name} in {found:?}"));
        assert!(figure("cache_told") >= 3.0 && figure("cache_peak") < 1000.0, "{machine}: {found:?}");
        assert_eq!((figure("greedy_ended"), figure("greedy_kept")), (20.0, 0.0), "{machine}: {found:?}");
        assert_eq!(figure("crowd_members"), 20_000.0, "{machine}: {found:?}");
        assert!(figure("crowd_late_same_cpu.max") < QUANTUM / 2.0, "{machine}: {found:?}");
        assert!(figure("crowd_late_other_cpu.max") < QUANTUM / 2.0, "{machine}: {found:?}");
    }
}

/// Blocks go from CPU to CPU for little, and CPUs that allocate at once do not slow each other down.
#[test]
fn the_heap_scales() {
    for machine in ["virt", "q35"] {
        let found = worst(machine, &HEAP);
        let figure = |name: &str| found.get(name).copied().unwrap_or_else(|| panic!("no {name} in {found:?}"));
        assert!(figure("free_remote_64") <= 80.0, "{machine}: {found:?}");
        assert!(figure("alloc_returned_64") <= 80.0, "{machine}: {found:?}");
        assert!(figure("mixed_share") >= 0.9, "{machine}: {found:?}");
    }
}
