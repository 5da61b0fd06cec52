//! What a test binary and Cargo say.

use std::path::PathBuf;

/// The verdict on one test, run alone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    Passed,
    Failed,
    /// There is no test of that name, or it is ignored.
    NotRun,
}

/// The verdict on `test` in the output of a run of it alone. A run that ended in the middle of the test (a second
/// panic while the first unwinds ends the process) counts as a failure of it.
pub fn verdict(output: &str, test: &str, ended_well: bool) -> Verdict {
    let line = output.lines().find_map(|line| line.strip_prefix("test ")?.strip_prefix(test)?.strip_prefix(" ... "));
    match line.map(str::trim) {
        Some("ok") if ended_well => Verdict::Passed,
        Some(word) if word.starts_with("ignored") => Verdict::NotRun,
        Some(_) => Verdict::Failed,
        None if !ended_well && output.contains("running 1 test") => Verdict::Failed,
        None => Verdict::NotRun,
    }
}

/// The names in what `--list --format terse` prints.
pub fn names(output: &str) -> Vec<&str> {
    output.lines().filter_map(|line| line.strip_suffix(": test")).collect()
}

/// The test binaries that Cargo built, with the names of their targets (`--message-format=json`).
pub fn executables(messages: &str) -> Vec<(String, PathBuf)> {
    let field = |line: &str, name: &str| {
        let (_, rest) = line.split_once(&format!("\"{name}\":\""))?;
        Some(rest.split_once('"')?.0.to_owned())
    };
    messages
        .lines()
        .filter(|line| line.contains("\"kind\":[\"test\"]"))
        .filter_map(|line| Some((field(line, "name")?, PathBuf::from(field(line, "executable")?))))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn verdicts() {
        let passed = "\nrunning 1 test\ntest pushes ... ok\n\ntest result: ok. 1 passed; 0 failed; 0 ignored\n";
        assert_eq!(verdict(passed, "pushes", true), Verdict::Passed);
        let failed = "running 1 test\ntest pushes ... FAILED\n\nfailures:\n---- pushes stdout ----\nno\n";
        assert_eq!(verdict(failed, "pushes", false), Verdict::Failed);
        assert_eq!(verdict("running 1 test\n", "pushes", false), Verdict::Failed, "the process ended within it");
        assert_eq!(verdict("running 1 test\ntest pushes ... ", "pushes", false), Verdict::Failed, "the same");
        assert_eq!(verdict("running 0 tests\n\ntest result: ok. 0 passed\n", "pushes", true), Verdict::NotRun);
        assert_eq!(verdict("running 1 test\ntest pushes ... ignored\n", "pushes", true), Verdict::NotRun);
        assert_eq!(verdict(passed, "push", true), Verdict::NotRun, "another test");
    }

    #[test]
    fn listed_names() {
        assert_eq!(names("pushes: test\npops: test\n\n2 tests, 0 benchmarks\n"), ["pushes", "pops"]);
    }

    #[test]
    fn built_binaries() {
        let messages = concat!(
            r#"{"reason":"compiler-artifact","target":{"kind":["lib"],"name":"isochron_core"},"executable":null}"#,
            "\n",
            r#"{"reason":"compiler-artifact","target":{"kind":["test"],"name":"loom_wake"},"executable":"/t/a-1"}"#,
            "\n",
            r#"{"reason":"build-finished","success":true}"#,
        );
        assert_eq!(executables(messages), [("loom_wake".to_owned(), PathBuf::from("/t/a-1"))]);
    }
}
