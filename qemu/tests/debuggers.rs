//! The system's own tools on a program of the hosted port: they need no help to find their way through a green thread's stack.

#![cfg(all(target_arch = "x86_64", target_os = "linux"))]

use isochron_qemu::workspace::Workspace;
use std::path::Path;
use std::process::{Command, Stdio};

/// It is stopped where the program prints.
#[test]
fn gdb_finds_the_way_from_a_system_call_to_the_threads_beginning() {
    if Command::new("gdb").arg("--version").stdout(Stdio::null()).stderr(Stdio::null()).status().is_err() {
        println!("gdb is not on this machine: left out");
        return;
    }
    let built = Command::new(env!("CARGO_BIN_EXE_isochron"))
        .current_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join(".."))
        .args(["run", "hello", "--machine", "hosted", "--cpus", "2"])
        .output()
        .expect("the host program starts");
    assert!(built.status.success(), "{}", String::from_utf8_lossy(&built.stderr));
    let program = Workspace::find().expect("it runs in one").target.join("x86_64-unknown-linux-gnu/guest/hello");
    // What is written first is the beginning of the report, by the program's first thread.
    let commands = [
        "set debuginfod enabled off",
        "handle SIGUSR1 SIGUSR2 SIGURG nostop noprint pass",
        "catch syscall write",
        "run",
        "backtrace",
        "kill",
    ];
    let output = Command::new("timeout")
        .args(["60", "gdb", "-q", "-nx", "-batch"])
        .args(commands.iter().flat_map(|command| ["-ex", command]))
        .arg(program)
        .env("ISOCHRON_CPUS", "2")
        .stdin(Stdio::null())
        .output()
        .expect("gdb can be started");
    let said = format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    if said.contains("Could not trace the inferior process") || said.contains("Operation not permitted") {
        println!("this machine lets no program be traced: left out");
        return;
    }
    let place = |what: &str| said.find(what).unwrap_or_else(|| panic!("gdb does not see {what}:\n{said}"));
    let (called, program, beginning) = (place("#0 "), place("__isochron_user_main"), place("thread_main"));
    assert!(called < program && program < beginning, "{said}");
}
