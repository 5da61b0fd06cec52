//! `report diff` as a user meets it: what it says, what it writes, and the exit codes that other programs go by.

use serde_json::{Value, json};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

/// A folder for reports; gone when dropped.
struct Folder(PathBuf);

impl Folder {
    fn new(name: &str) -> Self {
        let folder = std::env::temp_dir().join(format!("isochron-reports-{name}-{}", std::process::id()));
        fs::create_dir_all(&folder).unwrap();
        Self(folder)
    }

    fn file(&self, name: &str, text: impl AsRef<[u8]>) -> String {
        let path = self.0.join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, text).unwrap();
        path.display().to_string()
    }

    fn diff(&self, words: &[&str]) -> Output {
        let mut command = Command::new(env!("CARGO_BIN_EXE_isochron"));
        command.args(["report", "diff"]).args(words).env("NO_COLOR", "1").output().unwrap()
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

fn report(median: f64, deterministic: bool) -> Value {
    json!({
        "schema": 1, "app": "latency", "machine": "virt", "arch": "aarch64", "accel": "tcg", "cpus": 1,
        "deterministic": deterministic, "clock_hz": 62_500_000, "commit": null, "profile": "guest",
        "results": [
            {"name": "wake", "unit": "ns", "samples": 100, "min": median - 0.5, "mean": median, "p50": median,
             "p99": median + 0.4, "p999": median + 0.5, "max": median + 0.5,
             "histogram": [[median - 0.5, median + 0.5, 100]]},
            {"name": "interrupts", "unit": "count", "value": 3},
        ],
    })
}

#[test]
fn exit_codes_tell_a_slower_report_from_a_bad_one() {
    let folder = Folder::new("codes");
    let exact = |name: &str, median| folder.file(name, report(median, true).to_string());
    let (old, new) = (exact("old.json", 100.3), exact("new.json", 110.3));
    let mut other = report(100.3, true);
    other["machine"] = json!("q35");
    let other = folder.file("other.json", other.to_string());
    let mut next = report(100.3, true);
    next["schema"] = json!(2);
    let next = folder.file("next.json", next.to_string());
    let cut = folder.file("cut.json", &report(100.3, true).to_string()[..200]);
    let kind = folder.file("compare.json", json!({"schema": 1, "kind": "compare"}).to_string());
    let empty = folder.0.join("empty");
    fs::create_dir_all(&empty).unwrap();
    let empty = empty.display().to_string();
    for (words, code, says) in [
        (vec![old.as_str(), &old], 0, ""),
        (vec![&old, &new], 4, ""),
        (vec![&new, &old], 0, ""),
        (vec![&old, &new, "--allow", "9.9"], 4, ""),
        (vec![&old, &new, "--allow", "10"], 0, ""),
        (vec![&old, &other], 2, "differ in `machine`: virt in"),
        (vec![&old, &next], 1, "its form has the version 2"),
        (vec![&old, &cut], 1, "it is not JSON"),
        (vec![&old, &kind], 1, "it is a report of `compare`"),
        (vec![&old, &empty], 2, "has no report in it"),
        (vec![&old, "/nowhere/r.json"], 1, "cannot read /nowhere/r.json"),
    ] {
        let output = folder.diff(&words);
        let said = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(code), "{words:?}: {said}");
        assert!(said.contains(says) && said.lines().count() == usize::from(!says.is_empty()), "{words:?}: {said}");
        assert_eq!(output.stdout.is_empty(), !says.is_empty(), "{words:?}");
    }
}

#[test]
fn folders_are_sides_and_programs_get_json() {
    let folder = Folder::new("folders");
    for (side, medians) in [("a", [100.0, 100.5, 101.0]), ("b", [104.0, 104.5, 105.0])] {
        for (at, median) in medians.into_iter().enumerate() {
            folder.file(&format!("{side}/{at}.json"), report(median, false).to_string());
        }
    }
    let (a, b) = (folder.0.join("a").display().to_string(), folder.0.join("b").display().to_string());
    let json = folder.0.join("diff.json");
    let output = folder.diff(&[&a, &b, "--json", json.to_str().unwrap()]);
    assert_eq!(output.status.code(), Some(4));
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(text.contains("wake    p50  100 ns  104 ns  +4.0 %") && text.contains("2 slower · 0 faster"), "{text}");
    let told: Value = serde_json::from_str(&fs::read_to_string(&json).unwrap()).unwrap();
    assert_eq!((told["slower"].as_u64(), told["figures"][0]["noise"].as_f64()), (Some(2), Some(2.0)));
    // One that is not of the same run may not hide among the others.
    folder.file("b/3.json", report(104.0, true).to_string());
    let output = folder.diff(&[&a, &b]);
    assert_eq!(output.status.code(), Some(2));
    assert!(String::from_utf8_lossy(&output.stderr).contains("`deterministic`"));
}

#[test]
fn a_link_and_the_output_itself_stay_what_they_are() {
    let folder = Folder::new("links");
    let old = folder.file("old.json", report(100.0, true).to_string());
    let target = folder.file("target.json", "");
    let link = folder.0.join("link.json");
    std::os::unix::fs::symlink(&target, &link).unwrap();
    assert_eq!(folder.diff(&[&old, &old, "--json", link.to_str().unwrap()]).status.code(), Some(0));
    assert!(link.is_symlink() && fs::read_to_string(Path::new(&target)).unwrap().contains("\"diff\""));
    let output = folder.diff(&[&old, &old, "--json", "/dev/stdout"]);
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(text.starts_with("latency on virt") && text.trim_end().ends_with('}'), "{text}");
    assert!(Path::new("/dev/stdout").is_symlink());
}
