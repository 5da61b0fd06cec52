//! How Isochron's own costs grow: with the number of threads, as a process, and with the number of CPUs, by counted
//! instructions.

use super::figures::Figures;
use crate::artefact::{write_json, write_whole};
use crate::cli::{CompareArgs, GuestArgs, RunArgs};
use crate::error::Error;
use crate::prepare::{Request, ensure};
use crate::stream::Event;
use crate::style::Style;
use crate::verdict;
use crate::watch::{Limits, watch};
use crate::workspace::Workspace;
use isochron_wire::Record;
use serde_json::json;
use std::fmt::Write as _;
use std::io::{self, Write as _};

const APP: &str = "growth";
const COSTS: [&str; 3] = ["switch", "wake", "steal"];
const THREADS: [u32; 7] = [1, 10, 100, 1_000, 10_000, 100_000, 1_000_000];
const CPUS: [u32; 7] = [1, 2, 4, 8, 16, 32, 64];
/// Threads of the runs with different numbers of CPUs.
const THREADS_FOR_CPUS: u32 = 1_000;

/// One kind of growth: what grows, its steps, and what a figure is.
struct Series {
    title: &'static str,
    unit: &'static str,
    steps: Vec<u32>,
    run: fn(u32) -> RunArgs,
}

fn by_threads(threads: u32) -> RunArgs {
    let guest = GuestArgs {
        machine: "hosted".into(),
        cpus: 2,
        memory: Some(16_384),
        app_args: vec![threads.to_string()],
        ..GuestArgs::of(APP)
    };
    RunArgs { guest, timeout: Some(300), ..RunArgs::of(APP) }
}

fn by_cpus(cpus: u32) -> RunArgs {
    let app_args = vec![THREADS_FOR_CPUS.to_string()];
    RunArgs { guest: GuestArgs { cpus, deterministic: true, app_args, ..GuestArgs::of(APP) }, ..RunArgs::of(APP) }
}

/// Runs both series, prints them, and writes a picture and a report.
///
/// # Errors
/// As a run of an app.
pub fn command(workspace: &Workspace, args: &CompareArgs) -> Result<u8, Error> {
    let short = if args.quick { 3 } else { 7 };
    let series = [
        Series {
            title: "by threads (a process with 2 CPUs, native)",
            unit: "ns",
            steps: THREADS[..short].to_vec(),
            run: by_threads,
        },
        Series {
            title: "by CPUs (ARM64 virt, 1000 threads; instructions of all CPUs together)",
            unit: "instructions",
            steps: CPUS[..short].to_vec(),
            run: by_cpus,
        },
    ];
    let style = Style::of(&io::stdout());
    let rounds = args.rounds.unwrap_or(if args.quick { 1 } else { 3 });
    let (mut text, mut pictures, mut reports) = (String::new(), Vec::new(), Vec::new());
    for series in &series {
        let mut lines = Vec::new();
        for step in &series.steps {
            // What is counted is the same each time.
            let run = (series.run)(*step);
            let rounds = if run.guest.deterministic { 1 } else { rounds };
            let mut figures = Figures::default();
            for round in 0..rounds {
                eprintln!("{} {step} ({} of {rounds})", series.title, round + 1);
                measure(workspace, &run, &mut figures)?;
            }
            let median = |cost: &&str| figures.of(cost, APP).map(|samples| samples.median());
            lines.push((*step, COSTS.iter().map(median).collect::<Vec<_>>()));
        }
        text += &table(series, &lines, style);
        pictures.push(picture(series, &lines));
        let steps: Vec<_> = lines
            .iter()
            .map(|(step, costs)| json!({"step": step, "switch": costs[0], "wake": costs[1], "steal": costs[2]}))
            .collect();
        reports.push(json!({"title": series.title, "unit": series.unit, "steps": steps}));
    }
    let _ = io::stdout().write_all(text.as_bytes());
    let dir = workspace.out_dir(APP, "all")?;
    for (name, picture) in ["threads.svg", "cpus.svg"].iter().zip(&pictures) {
        write_whole(&dir.join(name), picture.as_bytes())?;
    }
    let json = args.json.clone().unwrap_or_else(|| dir.join("report.json"));
    let report = json!({"schema": 1, "kind": "growth", "series": reports});
    write_json(&json, &report)?;
    println!("{}", style.dim(&format!("report {} · 2 plots in {}", workspace.shown(&json), workspace.shown(&dir))));
    Ok(0)
}

fn measure(workspace: &Workspace, args: &RunArgs, figures: &mut Figures) -> Result<(), Error> {
    let request = Request::check(workspace, args)?;
    ensure(workspace, &request)?;
    let (launch, _) = request.prepare(workspace)?;
    let mut exit = None;
    let watched = watch(&mut launch.command(), Limits::seconds(request.timeout), &mut |event| match event {
        Event::Record(Record::Value { name, value, .. }) if COSTS.contains(&name) => {
            figures.add(name, APP, value.to_f64())
        }
        Event::Record(Record::Exit { code }) => exit = Some(code),
        _ => {}
    })?;
    match verdict::code(&watched, request.machine, exit, request.timeout, &request.again)? {
        0 => Ok(()),
        code => Err(Error::Tool { doing: request.again, said: format!("the guest ended with code {code}") }),
    }
}

fn shown(value: Option<f64>) -> String {
    value.map_or("-".into(), |value| format!("{value:.1}"))
}

fn table(series: &Series, lines: &[(u32, Vec<Option<f64>>)], style: Style) -> String {
    let mut out = format!("{}\n", style.bold(series.title));
    let _ = writeln!(out, "{:>10}{:>12}{:>12}{:>12}  {}", "", COSTS[0], COSTS[1], COSTS[2], series.unit);
    for (step, costs) in lines {
        let _ = writeln!(out, "{step:>10}{:>12}{:>12}{:>12}", shown(costs[0]), shown(costs[1]), shown(costs[2]));
    }
    out
}

/// Both axes logarithmic: a straight level line is a cost that does not grow.
fn picture(series: &Series, lines: &[(u32, Vec<Option<f64>>)]) -> String {
    const WIDTH: f64 = 720.0;
    const HEIGHT: f64 = 360.0;
    const STYLE: &str = "text{font:12px system-ui,sans-serif;fill:#333}.t{font-size:16px;font-weight:600}.g{stroke:#8884}\
        .f{fill:#fff}polyline{fill:none;stroke-width:2}\
        @media(prefers-color-scheme:dark){text{fill:#ddd}.f{fill:#16181c}}";
    const COLOURS: [&str; 3] = ["#0072b2", "#009e73", "#d55e00"];
    let all = lines.iter().flat_map(|(_, costs)| costs.iter().flatten().copied());
    let (least, most) = all.fold((f64::INFINITY, 1.0f64), |(low, high), value| (low.min(value), high.max(value)));
    let (low, high) = (least.max(1.0).log10().floor(), most.log10().ceil());
    let first = f64::from(lines.first().map_or(1, |line| line.0)).ln();
    let last = f64::from(lines.last().map_or(2, |line| line.0)).ln();
    let x = |step: u32| 70.0 + (WIDTH - 110.0) * (f64::from(step).ln() - first) / (last - first).max(1.0);
    let y = |value: f64| HEIGHT - 50.0 - (HEIGHT - 120.0) * (value.max(1.0).log10() - low) / (high - low).max(1.0);
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {HEIGHT}\" width=\"{WIDTH}\" height=\"{HEIGHT}\" \
         role=\"img\">\n<title>{0}</title>\n<style>{STYLE}</style>\n<rect class=\"f\" width=\"100%\" height=\"100%\"/>\n\
         <text class=\"t\" x=\"20\" y=\"28\">Cost {0}</text>\n",
        series.title
    );
    for power in low as i32..=high as i32 {
        let at = y(10f64.powi(power));
        let _ = writeln!(svg, "<line class=\"g\" x1=\"70\" x2=\"{}\" y1=\"{at:.1}\" y2=\"{at:.1}\"/>", WIDTH - 40.0);
        let _ = writeln!(svg, "<text x=\"62\" y=\"{:.1}\" text-anchor=\"end\">{}</text>", at + 4.0, 10f64.powi(power));
    }
    for (step, _) in lines {
        let _ =
            writeln!(svg, "<text x=\"{:.1}\" y=\"{}\" text-anchor=\"middle\">{step}</text>", x(*step), HEIGHT - 28.0);
    }
    for (index, cost) in COSTS.iter().enumerate() {
        let points: Vec<String> = lines
            .iter()
            .filter_map(|(step, costs)| costs[index].map(|value| format!("{:.1},{:.1}", x(*step), y(value))))
            .collect();
        let _ = writeln!(svg, "<polyline points=\"{}\" stroke=\"{}\"/>", points.join(" "), COLOURS[index]);
        let left = 70.0 + 110.0 * index as f64;
        let _ = writeln!(
            svg,
            "<text x=\"{left}\" y=\"52\" style=\"fill:{}\">{cost} ({})</text>",
            COLOURS[index], series.unit
        );
    }
    svg += "</svg>\n";
    svg
}
