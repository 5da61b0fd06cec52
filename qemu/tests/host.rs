//! The built program against everything that goes wrong: exit codes, one clear line, no child left.
//!
//! Cargo and QEMU are shell scripts here: the one "builds" a tiny ELF file, the other plays a guest. Both are found the
//! way the real ones are.

use isochron_wire::Record;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

/// A folder with a stand-in cargo and QEMU, and a build folder; gone when dropped.
struct Stage(PathBuf);

impl Stage {
    /// `qemu` is the shell script that plays QEMU.
    fn new(name: &str, qemu: &str) -> Self {
        let dir = std::env::temp_dir().join(format!("isochron-stage-{name}-{}", std::process::id()));
        let stage = Self(dir);
        fs::create_dir_all(stage.0.join("bin")).unwrap();
        fs::write(stage.0.join("hello"), elf()).unwrap();
        let message = format!(
            r#"{{"reason":"compiler-artifact","target":{{"name":"hello"}},"executable":"{}"}}"#,
            stage.0.join("hello").display()
        );
        stage.script("cargo", &format!("echo '{message}'"));
        for program in ["qemu-system-aarch64", "qemu-system-x86_64"] {
            stage.script(program, &format!("echo $$ > {}\n{qemu}", stage.0.join("pid").display()));
        }
        stage
    }

    fn script(&self, name: &str, body: &str) {
        let path = self.0.join("bin").join(name);
        fs::write(&path, format!("#!/bin/sh\n{body}\n")).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
    }

    fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_isochron"));
        let path = format!("{}:{}", self.0.join("bin").display(), std::env::var("PATH").unwrap());
        command.args(args).env("PATH", path).env("CARGO", self.0.join("bin/cargo")).env("NO_COLOR", "1");
        command.env("CARGO_TARGET_DIR", self.0.join("target")).env("CI", "1");
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        command
    }

    fn run(&self, args: &[&str]) -> Output {
        self.command(args).output().unwrap()
    }

    /// The stand-in QEMU's process, once it has started.
    fn qemu(&self) -> i32 {
        let deadline = Instant::now() + Duration::from_secs(60);
        loop {
            if let Some(pid) = fs::read_to_string(self.0.join("pid")).ok().and_then(|t| t.trim().parse().ok()) {
                return pid;
            }
            assert!(Instant::now() < deadline, "QEMU was never started");
            sleep(Duration::from_millis(5));
        }
    }

    /// Waits until the stand-in QEMU is gone.
    fn assert_gone(&self) {
        let (pid, deadline) = (self.qemu(), Instant::now() + Duration::from_secs(20));
        while alive(pid) {
            assert!(Instant::now() < deadline, "QEMU (process {pid}) was left behind");
            sleep(Duration::from_millis(5));
        }
    }
}

impl Drop for Stage {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// Whether the process runs; one that has ended and was not yet collected does not.
fn alive(pid: i32) -> bool {
    match fs::read_to_string(format!("/proc/{pid}/stat")) {
        Ok(stat) => !matches!(stat.rsplit(')').next().map(str::trim_start), Some(rest) if rest.starts_with(['Z', 'X'])),
        // SAFETY: signal 0 only asks whether the process exists.
        Err(_) => !Path::new("/proc/self").exists() && unsafe { libc::kill(pid, 0) } == 0,
    }
}

/// An ELF file with one segment that starts with an ARM64 `Image` header.
fn elf() -> Vec<u8> {
    let mut file = vec![0u8; 64 + 56 + 64];
    file[..7].copy_from_slice(b"\x7fELF\x02\x01\x01");
    for (at, value) in [(0x10, 2), (0x12, 183), (0x14, 1), (0x20, 64), (0x34, 64), (0x36, 56), (0x38, 1)] {
        file[at] = value;
    }
    for (at, value) in [(0, 1), (8, 120), (32, 64), (40, 64)] {
        file[64 + at] = value;
    }
    file[120 + 56..120 + 60].copy_from_slice(b"ARM\x64");
    file
}

fn printf(record: &Record<'_>) -> String {
    let text = record.to_string().replace('\x1f', "\\037");
    format!("printf '\\036{}\\n'", text.trim_end().trim_start_matches('\x1e'))
}

fn stderr(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

fn stdout(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// The one line that says what went wrong.
fn complaint(output: &Output) -> String {
    let text = stderr(output);
    let lines: Vec<&str> = text.lines().filter(|l| l.starts_with("isochron: ")).collect();
    assert_eq!(lines.len(), 1, "{text}");
    lines[0].to_owned()
}

#[test]
fn bad_usage_is_one_line_and_2() {
    let stage = Stage::new("usage", "exit 0");
    for (args, says) in [
        (vec!["run", "helo"], "did you mean 'hello'"),
        (vec!["run", "hello", "--machine", "virtt"], "did you mean 'virt'"),
        (vec!["run", "hello", "--cpus", "0"], "1 to 64"),
        (vec!["run", "hello", "--cpus", "1000"], "1 to 64"),
        (vec!["run", "hello", "--machine", "raspi4b", "--cpus", "5"], "1 to 4"),
        (vec!["run", "hello", "--memory", "1"], "MiB"),
        (vec!["run", "hello", "--timeout", "soon"], "soon"),
        (vec!["run", "hello", "--log", "loud"], "off, error, warn"),
        (vec!["test", "no_such_test"], "no test is called 'no_such_test'"),
        (vec!["frobnicate"], "frobnicate"),
        (vec!["image", "--machine", "toaster"], "raspi4b"),
    ] {
        let output = stage.run(&args);
        assert_eq!(output.status.code(), Some(2), "{args:?}");
        assert!(
            stderr(&output).lines().count() == 1 && stderr(&output).contains(says),
            "{args:?}: {}",
            stderr(&output)
        );
        assert!(output.stdout.is_empty());
    }
    assert!(!stage.0.join("pid").exists(), "QEMU was started");
}

#[test]
fn a_run_shows_and_writes_what_was_measured() {
    let script = [
        "echo 'Hello.'".to_owned(),
        printf(&Record::Value { name: "hops", unit: "count", value: isochron_wire::Fixed::from_int(42) }),
        printf(&Record::Exit { code: 0 }),
        "exit 0".to_owned(),
    ];
    let stage = Stage::new("good", &script.join("\n"));
    let json = stage.0.join("r.json");
    let output = stage.run(&["run", "hello", "--json", json.to_str().unwrap()]);
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
    let text = stdout(&output);
    assert!(text.starts_with("Hello.\n") && text.contains("hops") && text.contains("42"), "{text}");
    assert!(text.contains("emulation") && !text.contains('\x1b') && !text.contains('\x1e'), "{text}");
    let report: serde_json::Value = serde_json::from_str(&fs::read_to_string(&json).unwrap()).unwrap();
    assert_eq!((report["app"].as_str(), report["schema"].as_u64()), (Some("hello"), Some(1)));
    assert_eq!(report["results"][0]["value"], 42);
}

#[test]
fn the_guests_code_is_the_exit_code() {
    let stage = Stage::new("code", &format!("{}\nexit 7", printf(&Record::Exit { code: 7 })));
    assert_eq!(stage.run(&["run", "hello"]).status.code(), Some(7));
    // The x86 device turns 7 + 16 into 47.
    let stage = Stage::new("code86", &format!("{}\nexit 47", printf(&Record::Exit { code: 7 })));
    assert_eq!(stage.run(&["run", "hello", "--machine", "q35"]).status.code(), Some(7));
}

#[test]
fn a_panic_is_shown_and_101() {
    let script = [
        printf(&Record::Panic { cpu: 1, thread: "main", text: "index out of bounds\x1fat a.rs:1" }),
        printf(&Record::Frame { pc: 0x1234 }),
        printf(&Record::Exit { code: 101 }),
        "exit 101".to_owned(),
    ];
    let output = Stage::new("panic", &script.join("\n")).run(&["run", "hello"]);
    assert_eq!(output.status.code(), Some(101));
    let text = stderr(&output);
    assert!(text.contains("panicked on CPU 1, thread 'main'") && text.contains("index out of bounds"), "{text}");
    assert!(text.contains("0x0000000000001234"), "{text}");
}

#[test]
fn a_hang_is_124_and_says_how_to_run_it_again() {
    let stage = Stage::new("hang", "echo 'up'; exec sleep 1000");
    let output = stage.run(&["run", "hello", "--timeout", "1", "--cpus", "2"]);
    assert_eq!(output.status.code(), Some(124));
    assert!(complaint(&output).contains("cargo run -- run hello --cpus 2 --timeout 1"), "{}", stderr(&output));
    assert!(stderr(&output).contains("\n  up\n"));
    stage.assert_gone();
}

#[test]
fn a_flood_is_stopped() {
    let stage = Stage::new("flood", "exec cat /dev/zero");
    let output = stage.run(&["run", "hello"]);
    assert_eq!(output.status.code(), Some(1));
    assert!(complaint(&output).contains("64 KiB"));
    assert!(output.stdout.len() < 1 << 20);
    stage.assert_gone();
}

#[test]
fn qemus_own_ends_are_one_line_and_1() {
    for (name, script, says) in [
        ("killed", "echo half; kill -9 $$", "killed by signal 9"),
        ("failed", "echo 'qemu-system-aarch64: could not load it' >&2; exit 1", "could not load it"),
        ("silent", "exit 0", "without a word"),
    ] {
        let output = Stage::new(name, script).run(&["run", "hello"]);
        assert_eq!(output.status.code(), Some(1), "{name}");
        assert!(complaint(&output).contains(says), "{name}: {}", stderr(&output));
    }
}

#[test]
fn a_corrupt_image_is_told() {
    let stage = Stage::new("corrupt", "exit 0");
    fs::write(stage.0.join("hello"), &elf()[..150]).unwrap();
    let output = stage.run(&["run", "hello"]);
    assert_eq!(output.status.code(), Some(1));
    assert!(complaint(&output).contains("corrupt"), "{}", stderr(&output));
}

#[test]
fn a_failed_build_is_told() {
    let stage = Stage::new("build", "exit 0");
    stage.script("cargo", "echo 'error: no' >&2; exit 101");
    let output = stage.run(&["run", "hello"]);
    assert_eq!(output.status.code(), Some(1));
    assert!(complaint(&output).contains("could not be built"));
}

#[test]
fn a_place_that_cannot_be_written_is_named() {
    let stage = Stage::new("disk", &format!("{}\nexit 0", printf(&Record::Exit { code: 0 })));
    let output = stage.run(&["run", "hello", "--json", "/dev/full"]);
    if Path::new("/dev/full").exists() {
        assert_eq!(output.status.code(), Some(1));
        assert_eq!(complaint(&output), "isochron: cannot write /dev/full: no space left on device");
    }
    let output = stage.run(&["run", "hello", "--json", "/nowhere/r.json"]);
    assert_eq!(output.status.code(), Some(1));
    assert!(complaint(&output).contains("cannot write /nowhere/r.json"));
    let stage = Stage::new("place", "exit 0");
    assert_eq!(stage.run(&["run", "hello", "--json", "/nowhere/r.json"]).status.code(), Some(1));
    assert!(!stage.0.join("pid").exists(), "QEMU was started for a report that has no place");
}

#[test]
fn without_qemu_and_rights_it_is_3_with_the_command() {
    let stage = Stage::new("missing", "exit 0");
    for program in ["qemu-system-aarch64", "qemu-system-x86_64"] {
        fs::remove_file(stage.0.join("bin").join(program)).unwrap();
    }
    // No package manager, no sudo, no QEMU on this path.
    let output = stage.command(&["run", "hello"]).env("PATH", stage.0.join("bin")).output().unwrap();
    assert_eq!(output.status.code(), Some(3), "{}", stderr(&output));
    assert!(complaint(&output).contains("qemu-system-aarch64"), "{}", stderr(&output));
}

#[test]
fn a_missing_qemu_is_installed_step_by_step() {
    let stage = Stage::new("install", "exit 0");
    let bin = stage.0.join("bin");
    for program in ["qemu-system-aarch64", "qemu-system-x86_64"] {
        fs::rename(bin.join(program), stage.0.join(program)).unwrap();
    }
    // The package manager of this little system. Nothing here may reach the real one: this is the whole path.
    stage.script("sh", "exit 0");
    stage.script("sudo", "shift; exec \"$@\"");
    stage.script("true", "exit 0");
    let log = stage.0.join("log").display().to_string();
    let from = stage.0.display();
    stage.script(
        "apt-get",
        &format!("echo \"$@\" >> {log}\n[ $1 = update ] || /bin/cp {from}/qemu-* {}", bin.display()),
    );
    let run = |args: &[&str]| stage.command(args).env("PATH", &bin).output().unwrap();
    let output = run(&["setup", "--yes"]);
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
    let log = fs::read_to_string(log).unwrap();
    assert!(log.starts_with("update") && log.contains("qemu-system-arm"), "{log}");
    let text = stderr(&output);
    assert!(text.contains("setup 1/") && text.contains("installing QEMU for ARM64 and x86-64 (apt)"), "{text}");
    assert_eq!(stderr(&run(&["setup", "--yes"])), "nothing to install\n");
}

#[test]
fn an_installation_that_fails_is_3_with_the_command() {
    let stage = Stage::new("refused", "exit 0");
    let bin = stage.0.join("bin");
    for program in ["qemu-system-aarch64", "qemu-system-x86_64"] {
        fs::remove_file(bin.join(program)).unwrap();
    }
    stage.script("sh", "exit 0");
    stage.script("sudo", "shift; exec \"$@\"");
    stage.script("true", "exit 0");
    stage.script("apt-get", "echo 'E: no network' >&2; exit 100");
    let output = stage.command(&["setup", "--yes"]).env("PATH", &bin).output().unwrap();
    assert_eq!(output.status.code(), Some(3), "{}", stderr(&output));
    assert!(complaint(&output).contains("E: no network") && complaint(&output).contains("apt-get install -y"));
}

#[test]
fn ctrl_c_ends_both_and_is_130() {
    for signal in [libc::SIGINT, libc::SIGTERM] {
        let stage = Stage::new(&format!("signal{signal}"), "exec sleep 1000");
        let mut host = stage.command(&["run", "hello"]).spawn().unwrap();
        stage.qemu();
        // SAFETY: a signal to a child of ours that has not been waited for.
        unsafe { libc::kill(host.id().cast_signed(), signal) };
        assert_eq!(host.wait().unwrap().code(), Some(130));
        stage.assert_gone();
    }
}

#[test]
fn ctrl_c_at_a_terminal_reaches_qemu_too_and_is_130() {
    use std::os::unix::process::CommandExt;
    // QEMU ends at once and with 0, as it does at a signal.
    let stage = Stage::new("terminal", "trap 'exit 0' INT\nwhile :; do sleep 0.01; done");
    let host = stage.command(&["run", "hello"]).process_group(0).spawn().unwrap();
    stage.qemu();
    sleep(Duration::from_millis(100));
    // SAFETY: a signal to a group of ours, whose leader has not been waited for.
    unsafe { libc::kill(-host.id().cast_signed(), libc::SIGINT) };
    let output = host.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(130), "{}", stderr(&output));
    assert_eq!(complaint(&output), "isochron: interrupted");
    stage.assert_gone();
}

#[cfg(target_os = "linux")]
#[test]
fn qemu_dies_with_a_host_that_is_killed() {
    let stage = Stage::new("kill9", "exec sleep 1000");
    let mut host = stage.command(&["run", "hello"]).spawn().unwrap();
    stage.qemu();
    host.kill().unwrap();
    host.wait().unwrap();
    stage.assert_gone();
}

#[test]
fn the_list_names_programs_and_machines() {
    let output = Stage::new("list", "exit 0").run(&["list"]);
    assert_eq!(output.status.code(), Some(0));
    assert!(stdout(&output).contains("hello") && stdout(&output).contains("raspi4b"));
}

#[test]
fn artefacts_are_made_once() {
    let stage = Stage::new("once", &format!("{}\nexit 0", printf(&Record::Exit { code: 0 })));
    let age = || fs::metadata(stage.0.join("target/isochron/hello-virt/kernel.img")).unwrap().modified().unwrap();
    assert_eq!(stage.run(&["run", "hello"]).status.code(), Some(0));
    let first = age();
    assert_eq!(stage.run(&["run", "hello"]).status.code(), Some(0));
    assert_eq!(age(), first);
}
