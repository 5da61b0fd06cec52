//! What `trace` makes of a recording: the planted faults by name, and a file that viewers take.

use isochron_wire::trace::RECORD_BYTES;
use serde_json::Value;
use std::collections::{BTreeMap, HashMap};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

fn place(name: &str) -> PathBuf {
    std::env::temp_dir().join(format!("isochron-show-{}-{name}", std::process::id()))
}

fn isochron(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_isochron"))
        .current_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join(".."))
        .args(arguments)
        .output()
        .expect("the host program starts")
}

fn done(arguments: &[&str]) -> String {
    let output = isochron(arguments);
    let (said, complaints) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{arguments:?}:\n{said}\n{complaints}");
    said.into_owned()
}

fn parse(path: &Path) -> Value {
    serde_json::from_str(&fs::read_to_string(path).expect("it was written")).expect("JSON")
}

/// A recording of the planted faults, and its files.
struct Planted {
    trace: PathBuf,
    json: PathBuf,
    chrome: PathBuf,
    html: PathBuf,
    said: String,
}

impl Planted {
    fn on(machine: &str) -> Self {
        let [trace, json, chrome, html] =
            ["trace", "json", "chrome.json", "html"].map(|end| place(&format!("{machine}.{end}")));
        let [t, j, c, h] = [&trace, &json, &chrome, &html].map(|path| path.to_str().unwrap().to_owned());
        done(&["run", "planted", "--machine", machine, "--deterministic", "--trace", &t]);
        let said = done(&["trace", &t, "--json", &j, "--chrome", &c, "--html", &h]);
        Self { trace, json, chrome, html, said }
    }
}

impl Drop for Planted {
    fn drop(&mut self) {
        for path in [&self.trace, &self.json, &self.chrome, &self.html] {
            let _ = fs::remove_file(path);
        }
    }
}

#[test]
fn the_planted_faults_are_found_by_thread_mutex_and_cpu() {
    for machine in ["virt", "q35"] {
        let planted = Planted::on(machine);
        let report = parse(&planted.json);
        let mut found: Vec<_> = report["findings"].as_array().unwrap().iter().collect();
        found.sort_by_key(|finding| finding["kind"].as_str().unwrap());
        let facts: Vec<_> = found.iter().map(|f| [&f["kind"], &f["thread"], &f["lock"], &f["cpu"]]).collect();
        let want = serde_json::json!([
            ["cpu_hogged", "spinner", null, 1],
            ["lock_held_long", "hoarder", "planted::LEDGER", null],
            ["queue_flooded", null, null, 2],
        ]);
        assert_eq!(serde_json::json!(facts), want, "{machine}");
        for words in ["'clerk' waited", "planted::LEDGER, held by 'hoarder'", "while 'spinner' ran on CPU 1", "CPU 2"] {
            assert!(planted.said.contains(words), "{machine}: no {words:?} in\n{}", planted.said);
        }
        assert!(planted.said.contains("booking") && planted.said.contains("threads of the flood that have ended"));
        assert_eq!((&report["lost"], &report["fault"]), (&serde_json::json!(0), &Value::Null));
        check_chrome(&parse(&planted.chrome));
        check_cut(&planted.trace);
        check_page(&planted.html);
    }
}

/// All that the page has to say is in it, and it needs nothing else. A browser opens it, if there is one.
fn check_page(path: &Path) {
    let page = fs::read_to_string(path).expect("it was written");
    for words in
        ["planted::LEDGER", "cpu hogged", "spinner", "booking", "p99.99", "prefers-color-scheme", "@media print"]
    {
        assert!(page.contains(words), "no {words:?} in the page");
    }
    assert_eq!(page.matches("class=\"finding\"").count(), 3);
    for reference in [" src=", " href=", "url(", "@import"] {
        // A flame graph's own background is a part of it.
        assert!(!page.replace("url(%23", "").contains(reference), "the page asks for something else: {reference}");
    }
    let shown = |name: &&&str| Command::new(name).arg("--version").output().is_ok_and(|found| found.status.success());
    let Some(browser) = ["chromium", "chromium-browser", "google-chrome"].iter().find(shown) else {
        eprintln!("skipped: there is no browser here to open the page (Debian: chromium)");
        return;
    };
    for (name, size) in [("wide", "1200,2600"), ("phone", "390,2600")] {
        let picture = place(&format!("{name}.png"));
        let output = Command::new(browser)
            .args(["--headless", "--no-sandbox", "--disable-gpu", "--enable-logging=stderr"])
            .arg(format!("--window-size={size}"))
            .arg(format!("--screenshot={}", picture.display()))
            .arg(format!("--user-data-dir={}", place("browser").display()))
            .arg(format!("file://{}", path.display()))
            .output()
            .expect("the browser starts");
        let complaints = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success() && !complaints.contains("CONSOLE"), "{name}: {complaints}");
        let shown = fs::metadata(&picture).expect("it took a picture").len();
        assert!(shown > 20_000, "{name}: a picture of {shown} bytes is an empty page");
        let _ = fs::remove_file(&picture);
    }
    let _ = fs::remove_dir_all(place("browser"));
}

/// A file that was cut is shown up to there, and it is said where.
fn check_cut(trace: &Path) {
    let whole = fs::read(trace).unwrap();
    let cut = place("cut.trace");
    fs::write(&cut, &whole[..whole.len() - RECORD_BYTES * 300]).unwrap();
    let said = done(&["trace", cut.to_str().unwrap()]);
    assert!(said.contains("the file was read up to byte") && said.contains("the file is cut short"), "{said}");
    fs::write(&cut, b"something else").unwrap();
    let output = isochron(&["trace", cut.to_str().unwrap()]);
    assert_eq!(output.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&output.stderr).contains("it is no trace"));
    for path in [cut.clone(), cut.with_extension("chrome.json"), cut.with_extension("report.html")] {
        let _ = fs::remove_file(path);
    }
}

/// The rules of the trace event format, as far as this program writes it.
fn check_chrome(trace: &Value) {
    let events = trace["traceEvents"].as_array().expect("a list of events");
    let mut tracks: HashMap<(u64, u64), Vec<(u64, u64)>> = HashMap::new();
    let (mut named, mut arrows) = (Vec::new(), BTreeMap::<u64, Vec<(&str, u64, u64, u64)>>::new());
    let picoseconds = |value: &Value| (value.as_f64().expect("a number") * 1e6).round() as u64;
    for event in events {
        let (phase, process) = (event["ph"].as_str().unwrap(), event["pid"].as_u64().unwrap());
        assert!(event["name"].as_str().is_some_and(|name| !name.is_empty()), "{event}");
        let track = event.get("tid").map(|track| track.as_u64().unwrap());
        match phase {
            "M" => named.push((event["name"].as_str().unwrap(), process, track.unwrap())),
            "X" => {
                let start = picoseconds(&event["ts"]);
                let lane = tracks.entry((process, track.unwrap())).or_default();
                lane.push((start, start + picoseconds(&event["dur"])));
            }
            "s" | "f" => {
                assert_eq!((event["bp"].as_str(), event["cat"].as_str()), (Some("e"), Some("wake")));
                let end = (phase, process, track.unwrap(), picoseconds(&event["ts"]));
                arrows.entry(event["id"].as_u64().unwrap()).or_default().push(end);
            }
            "C" => assert!(event["args"].as_object().unwrap().values().all(Value::is_u64), "{event}"),
            "i" => assert_eq!(event["s"].as_str(), Some("t")),
            other => panic!("an event of the phase {other:?}"),
        }
    }
    // Slices of a track lie in a row or inside each other.
    for (track, lane) in &mut tracks {
        assert!(named.contains(&("thread_name", track.0, track.1)), "track {track:?} has no name");
        lane.sort_by_key(|(from, to)| (*from, std::cmp::Reverse(*to)));
        let mut open: Vec<(u64, u64)> = Vec::new();
        for (from, to) in lane {
            while open.last().is_some_and(|around| around.1 <= *from) {
                open.pop();
            }
            assert!(open.last().is_none_or(|around| *to <= around.1), "{track:?}: {from}..{to} in {open:?}");
            open.push((*from, *to));
        }
    }
    assert!(arrows.len() > 100, "only {} arrows", arrows.len());
    for ends in arrows.values() {
        let [("s", _, _, from), ("f", _, _, to)] = ends[..] else { panic!("{ends:?}") };
        assert!(from <= to);
        for (_, process, track, at) in ends {
            let inside = tracks[&(*process, *track)].iter().any(|(from, to)| from <= at && at <= to);
            assert!(inside, "an arrow ends in no slice: {ends:?}");
        }
    }
    // A track for each CPU that ran something and for each thread, with a name.
    for (process, least) in [(1, 3), (2, 200), (3, 1)] {
        let count = tracks.keys().filter(|track| track.0 == process).count();
        assert!(count >= least, "{count} tracks in process {process}");
        assert!(named.contains(&("process_name", process, 0)));
    }
}
