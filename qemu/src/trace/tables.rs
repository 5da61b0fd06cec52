//! A recording's figures as tables: the same in a terminal and in a report.

use super::figures::Times;
use super::findings::time;
use super::picture::Picture;
use super::steps::Reason;
use crate::style::grouped;
use std::cmp::Reverse;
use std::collections::BTreeMap;

/// A table. The first column is of names, the others of figures.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Table {
    /// What it is about.
    pub title: &'static str,
    /// The columns' heads.
    pub head: Vec<&'static str>,
    /// As many cells in each as the head has.
    pub rows: Vec<Vec<String>>,
}

/// Rows of tables that could have any number.
const MOST: usize = 12;

/// The heads of percentiles, and which they are.
const PERCENTILES: [(&str, f64); 4] = [("p50", 50.0), ("p99", 99.0), ("p99.9", 99.9), ("p99.99", 99.99)];

/// All that have rows. `names`: what addresses are called.
#[must_use]
pub fn tables(picture: &Picture, names: &BTreeMap<u64, String>) -> Vec<Table> {
    let mut all = vec![cpus(picture), threads(picture), late_threads(picture), families(picture)];
    all.extend([delays(picture), waits(picture), wake_up(picture), worst(picture), paths(picture), locks(picture)]);
    all.extend([spans(picture, names), counters(picture, names), others(picture)]);
    all.retain(|table| !table.rows.is_empty());
    all
}

/// Count, percentiles and maximum.
fn distribution(times: &Times) -> Vec<String> {
    let percentiles = PERCENTILES.iter().map(|(_, percent)| time(times.percentile(*percent)));
    std::iter::once(grouped(times.count())).chain(percentiles).chain([time(times.max())]).collect()
}

fn distribution_head(first: &'static str) -> Vec<&'static str> {
    [first, "count"].into_iter().chain(PERCENTILES.map(|(name, _)| name)).chain(["max"]).collect()
}

fn distributions<'t>(
    title: &'static str,
    first: &'static str,
    rows: impl Iterator<Item = (String, &'t Times)>,
) -> Table {
    let row = |(name, times): (String, &Times)| std::iter::once(name).chain(distribution(times)).collect();
    let rows = rows.filter(|(_, times)| times.count() > 0).map(row).collect();
    Table { title, head: distribution_head(first), rows }
}

fn share(part: u64, whole: u64) -> String {
    format!("{:.1} %", part as f64 * 100.0 / whole.max(1) as f64)
}

fn cpus(picture: &Picture) -> Table {
    let length = picture.length();
    let row = |(number, cpu): (usize, &super::picture::CpuFigures)| {
        vec![
            format!("CPU {number}"),
            share(cpu.ran, length),
            share(cpu.idle, length),
            grouped(cpu.switches),
            grouped(cpu.preempted),
            grouped(cpu.stolen),
            grouped(cpu.depth.max()),
            time(cpu.delays.percentile(50.0)),
            time(cpu.delays.percentile(99.0)),
            time(cpu.delays.max()),
        ]
    };
    let head =
        vec!["CPU", "busy", "idle", "switches", "preempted", "stolen", "most waiting", "delay p50", "p99", "max"];
    Table { title: "CPUs", head, rows: picture.cpus.iter().enumerate().map(row).collect() }
}

const THREAD_HEAD: [&str; 9] =
    ["thread", "ran", "runs", "preempted", "longest run", "ready", "worst", "waited", "woke others"];

fn thread_rows(picture: &Picture, key: impl Fn(&super::picture::ThreadFigures) -> u64) -> Vec<Vec<String>> {
    let mut all: Vec<_> = picture.threads.iter().filter(|(_, thread)| key(thread) > 0).collect();
    all.sort_by_key(|(number, thread)| (Reverse(key(thread)), **number));
    let row = |(_, thread): &(&u64, &super::picture::ThreadFigures)| {
        vec![
            thread.name.clone(),
            time(thread.ran),
            grouped(thread.runs),
            grouped(thread.preempted),
            time(thread.longest_run),
            time(thread.ready),
            time(thread.worst),
            time(thread.waited),
            grouped(thread.woke),
        ]
    };
    all.iter().take(MOST).map(row).collect()
}

fn threads(picture: &Picture) -> Table {
    let rows = thread_rows(picture, |thread| thread.ran);
    Table { title: "Threads that ran longest", head: THREAD_HEAD.to_vec(), rows }
}

fn late_threads(picture: &Picture) -> Table {
    let rows = thread_rows(picture, |thread| thread.worst);
    Table { title: "Threads that waited longest for a CPU", head: THREAD_HEAD.to_vec(), rows }
}

fn families(picture: &Picture) -> Table {
    let mut all: Vec<_> = picture.families.iter().filter(|family| family.delays.count() > 0).collect();
    all.sort_by_key(|family| (Reverse(family.delays.total()), family.name.clone()));
    let named = |family: &&super::picture::Family| match family.threads {
        0 | 1 => family.name.clone(),
        many => format!("{} ({})", family.name, grouped(many)),
    };
    let rows = all.iter().take(MOST).map(|family| (named(family), &family.delays));
    distributions("Scheduling delay by thread", "threads", rows)
}

fn delays(picture: &Picture) -> Table {
    let all = std::iter::once(("all".to_owned(), &picture.delays));
    let reasons = picture.reasons.iter().map(|(reason, figures)| (format!("after {}", reason.name()), &figures.delays));
    let ways = picture.ways.iter().map(|(way, times)| (format!("via {way}"), times));
    distributions("Scheduling delay: from ready to run", "delay", all.chain(reasons).chain(ways))
}

fn waits(picture: &Picture) -> Table {
    let rows = picture.reasons.iter().map(|(reason, figures)| (reason.name().to_owned(), &figures.waits));
    let mut table = distributions("Waiting, by reason", "reason", rows);
    table.head.push("total");
    let totals = picture.reasons.values().filter(|figures| figures.waits.count() > 0);
    for (row, figures) in table.rows.iter_mut().zip(totals) {
        row.push(time(figures.waits.total()));
    }
    table
}

fn wake_up(picture: &Picture) -> Table {
    let [here, elsewhere] = &picture.wakes;
    let sum = |which: fn(&super::picture::CpuFigures) -> &Times| picture.cpus.iter().map(which);
    let names = |name: &'static str| move |(cpu, times)| (format!("{name} CPU {cpu}"), times);
    let rows = [("wake-up to run, same CPU".to_owned(), here), ("wake-up to run, another CPU".to_owned(), elsewhere)];
    let timers = sum(|cpu| &cpu.timers).enumerate().map(names("timer due to its handler,"));
    let interrupts = sum(|cpu| &cpu.ipis).enumerate().map(names("interrupt to its handler,"));
    distributions("The way of a wake-up", "part", rows.into_iter().chain(timers).chain(interrupts))
}

fn worst(picture: &Picture) -> Table {
    let row = |delay: &super::picture::Delay| {
        let meanwhile = delay
            .meanwhile
            .iter()
            .take(2)
            .map(|(thread, ns)| format!("{} ({})", picture.thread_name(*thread), time(*ns)));
        vec![
            picture.thread_name(delay.phase.thread),
            time(delay.ns),
            time(picture.since_start(delay.phase.from)),
            format!("CPU {}", delay.phase.cpu),
            if delay.after == Reason::New { "it was made".into() } else { delay.after.name().to_owned() },
            delay.way.to_owned(),
            meanwhile.collect::<Vec<_>>().join(", "),
        ]
    };
    let head = vec!["thread", "waited", "since", "for", "after", "via", "meanwhile ran"];
    Table {
        title: "The longest waits for a CPU, by thread and CPU",
        head,
        rows: picture.worst.iter().take(MOST).map(row).collect(),
    }
}

fn paths(picture: &Picture) -> Table {
    let mut all: Vec<_> = picture.paths.iter().collect();
    all.sort_by(|(a, x), (b, y)| y.1.cmp(&x.1).then_with(|| a.cmp(b)));
    let row = |((who, reason, lock, by), (count, total)): &(&super::picture::Path, &(u64, u64))| {
        let what = lock.map_or_else(|| reason.name().to_owned(), |lock| format!("lock {}", picture.lock_name(lock)));
        vec![who.clone(), what, by.clone(), grouped(*count), time(*total), time(total / count.max(&1))]
    };
    let head = vec!["who waited", "for", "ended by", "times", "in all", "mean"];
    Table { title: "Hot wait paths", head, rows: all.iter().take(MOST).map(row).collect() }
}

fn locks(picture: &Picture) -> Table {
    let mut all: Vec<_> = picture.locks.values().collect();
    all.sort_by_key(|lock| (Reverse(lock.waits.total()), lock.name.clone()));
    let row = |lock: &&super::picture::LockFigures| {
        let (waiter, holder) = lock.longest.map_or((String::new(), String::new()), |(waiter, holder, ..)| {
            let holder = holder.map_or_else(|| "?".to_owned(), |holder| picture.thread_name(holder));
            (picture.thread_name(waiter), holder)
        });
        let waits = &lock.waits;
        let figures =
            [time(waits.total()), time(waits.percentile(50.0)), time(waits.percentile(99.0)), time(waits.max())];
        [lock.name.clone(), grouped(waits.count())].into_iter().chain(figures).chain([waiter, holder]).collect()
    };
    let head = vec!["mutex", "waits", "in all", "p50", "p99", "max", "longest: who", "held by"];
    Table { title: "Mutexes that were waited for", head, rows: all.iter().take(MOST).map(row).collect() }
}

fn spans(picture: &Picture, names: &BTreeMap<u64, String>) -> Table {
    let name = |label: &u64| names.get(label).cloned().unwrap_or_else(|| format!("{label:#x}"));
    let rows = picture.spans.iter().map(|(label, times)| (name(label), times));
    distributions("Named parts of the program", "part", rows)
}

fn counters(picture: &Picture, names: &BTreeMap<u64, String>) -> Table {
    let row = |(label, (count, least, most, last)): (&u32, &(u64, u64, u64, u64))| {
        let name = names.get(&u64::from(*label)).cloned().unwrap_or_else(|| format!("{label:#x}"));
        vec![name, grouped(*count), grouped(*least), grouped(*most), grouped(*last)]
    };
    let head = vec!["counter", "set", "least", "most", "last"];
    Table { title: "Counters", head, rows: picture.counters.iter().map(row).collect() }
}

fn others(picture: &Picture) -> Table {
    let rows = picture.others.iter().map(|(name, count)| vec![(*name).to_owned(), grouped(*count)]).collect();
    Table { title: "Also seen", head: vec!["what", "times"], rows }
}
