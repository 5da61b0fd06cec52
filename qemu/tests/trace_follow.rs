//! From records to steps: what each sequence of records means.

use isochron_qemu::trace::follow::Follower;
use isochron_qemu::trace::steps::{Reason, Step, Waker};
use isochron_wire::trace::{Event, Left, NOBODY, Note, Origin, Queue};

fn note(time: u64, cpu: u32, event: Event, reason: u8, thread: u64, argument: u64) -> Note {
    Note { time, cpu, event, reason, extra: 0, thread, argument }
}

fn steps(notes: &[Note]) -> Vec<Step> {
    let (mut follower, mut found) = (Follower::default(), Vec::new());
    notes.iter().for_each(|note| follower.take(*note, &mut |_, step| found.push(step)));
    follower.finish(&mut |_, step| found.push(step));
    found
}

/// `kind thread from..to what`, `!` behind it if it is open at the end.
fn told(notes: &[Note]) -> Vec<String> {
    let line = |step: Step| match step {
        Step::Ran { phase: p, until, .. } => {
            Some(format!("ran {} {}..{} {}", p.thread, p.from, p.to, until.map_or("!", Reason::name)))
        }
        Step::Waited { phase: p, reason, waker, lock } => {
            let by = waker.map_or("!".to_owned(), |waker| format!("{waker:?}"));
            let lock = lock.map_or(String::new(), |lock| format!(" {:#x} of {:?}", lock.lock, lock.holder));
            Some(format!("waited {} {}..{} {} {by}{lock}", p.thread, p.from, p.to, reason.name()))
        }
        Step::Ready { phase: p, after, way } => {
            let open = if p.open { "!" } else { "" };
            Some(format!("ready {} {}..{} {} {}{open}", p.thread, p.from, p.to, after.name(), way.name()))
        }
        Step::Depth { cpu, at, depth } => Some(format!("depth {cpu} {at} {depth}")),
        _ => None,
    };
    steps(notes).into_iter().filter_map(line).collect()
}

#[test]
fn a_life_from_spawn_to_exit() {
    let life = [
        note(10, 0, Event::Spawned, 0, 7, 1),
        note(11, 0, Event::Queued, Queue::Own as u8, 7, 0),
        note(20, 0, Event::SwitchedIn, 0, 7, 0x70),
        note(30, 0, Event::SwitchedOut, Left::Channel as u8, 7, 0),
        note(41, 1, Event::Woken, 0, 7, 1),
        note(42, 1, Event::Queued, Queue::Inbox as u8, 7, 0),
        note(45, 0, Event::Taken, Origin::Inbox as u8, 7, 0),
        note(50, 0, Event::SwitchedIn, 0, 7, 0x70),
        note(55, 0, Event::Preempted, 0, 7, 0),
        note(56, 0, Event::SwitchedOut, Left::Yield as u8, 7, 0),
        note(60, 2, Event::Taken, Origin::Node as u8, 7, 0),
        note(61, 2, Event::SwitchedIn, 0, 7, 0x70),
        note(70, 2, Event::SwitchedOut, Left::Exit as u8, 7, 0),
    ];
    assert_eq!(
        told(&life),
        [
            "depth 0 11 1",
            "depth 0 20 0",
            "ready 7 10..20 new own queue",
            "ran 7 20..30 channel",
            "waited 7 30..41 channel Thread(1)",
            "depth 0 42 1",
            "depth 0 50 0",
            "ready 7 41..50 channel inbox",
            "ran 7 50..56 preempted",
            "depth 2 60 1",
            "depth 2 61 0",
            "ready 7 56..61 preempted stolen within a node",
            "ran 7 61..70 park",
        ]
    );
}

#[test]
fn a_lock_wait_has_its_mutex_and_its_holder() {
    let wait = [
        note(1, 0, Event::SwitchedIn, 0, 3, 0x30),
        note(2, 1, Event::SwitchedIn, 0, 4, 0x40),
        note(5, 1, Event::LockWait, 0, 4, 0x999),
        note(5, 1, Event::LockHeld, 0, 4, 0x30),
        note(6, 1, Event::SwitchedOut, Left::Wait as u8, 4, 0),
        note(9, 0, Event::Woken, 0, 4, 3),
        note(12, 1, Event::SwitchedIn, 0, 4, 0x40),
        note(13, 1, Event::LockEnd, 0, 4, 0x999),
        note(20, 1, Event::SwitchedOut, Left::Wait as u8, 4, 0),
    ];
    let told = told(&wait);
    assert!(told.contains(&"waited 4 6..9 lock Thread(3) 0x999 of Some(3)".to_owned()), "{told:?}");
    assert!(told.contains(&"waited 4 20..20 wait !".to_owned()), "the lock's wait is over: {told:?}");
    assert!(told.contains(&"ran 3 1..20 !".to_owned()), "{told:?}");
}

#[test]
fn a_wake_up_that_comes_before_the_sleeper_has_left() {
    let race = [
        note(1, 0, Event::SwitchedIn, 0, 3, 0x30),
        note(9, 1, Event::Woken, 0, 3, 8),
        note(10, 0, Event::SwitchedOut, Left::Park as u8, 3, 0),
        note(12, 0, Event::Stayed, 0, 3, 0),
        note(20, 0, Event::SwitchedOut, Left::Park as u8, 3, 0),
    ];
    let told = told(&race);
    assert_eq!(
        told,
        ["ran 3 1..10 park", "ready 3 10..12 park in turn", "ran 3 12..20 park", "waited 3 20..20 park !"]
    );
}

#[test]
fn who_wakes_is_told_apart() {
    let sleep =
        |at| [note(at, 0, Event::SwitchedIn, 0, 3, 0x30), note(at + 1, 0, Event::SwitchedOut, Left::Sleep as u8, 3, 0)];
    let mut notes = Vec::new();
    notes.extend(sleep(1));
    notes.extend([note(5, 0, Event::Timer, 0, 9, 4), note(6, 0, Event::Woken, 0, 3, 9)]);
    notes.extend(sleep(10));
    notes.push(note(15, 0, Event::Woken, 0, 3, 9));
    notes.extend(sleep(20));
    notes.push(note(25, 1, Event::Woken, 0, 3, NOBODY));
    let wakers: Vec<_> = steps(&notes)
        .into_iter()
        .filter_map(|step| match step {
            Step::Waited { waker, .. } => waker,
            _ => None,
        })
        .collect();
    assert_eq!(wakers, [Waker::Timer, Waker::Thread(9), Waker::Machine]);
}

#[test]
fn a_group_without_time_waits_too() {
    let told = told(&[
        note(1, 0, Event::SwitchedIn, 0, 3, 0x30),
        note(5, 0, Event::SwitchedOut, Left::Yield as u8, 3, 0),
        note(6, 0, Event::Throttled, 0, 3, 0),
        note(90, 0, Event::Queued, Queue::Ranked as u8, 3, 0),
        note(95, 0, Event::SwitchedIn, 0, 3, 0x30),
    ]);
    assert_eq!(told[1], "waited 3 6..90 throttled Machine");
    assert!(told.contains(&"ready 3 90..95 throttled ranked list".to_owned()), "{told:?}");
}

#[test]
fn spans_nest_and_run_time_belongs_to_the_innermost() {
    let notes = [
        note(1, 0, Event::SwitchedIn, 0, 3, 0x30),
        note(10, 0, Event::SpanBegin, 0, 3, 0xa),
        note(15, 0, Event::SpanBegin, 0, 3, 0xb),
        note(20, 0, Event::SpanEnd, 0, 3, 0xb),
        note(30, 0, Event::SpanEnd, 0, 3, 0xa),
        note(31, 0, Event::SpanEnd, 0, 3, 0xc),
        note(40, 0, Event::SwitchedOut, Left::Exit as u8, 3, 0),
    ];
    let (mut follower, mut spans, mut ran) = (Follower::default(), Vec::new(), Vec::new());
    for at in notes {
        follower.take(at, &mut |follower, step| match step {
            Step::Span { phase, label, depth } => spans.push((label, phase.from, phase.to, depth)),
            Step::RanIn { thread, from, to } => ran.push((follower.spans(thread).collect::<Vec<_>>(), to - from)),
            _ => {}
        });
    }
    assert_eq!(spans, [(0xb, 15, 20, 1), (0xa, 10, 30, 0)]);
    let want = [(vec![], 9), (vec![0xa], 5), (vec![0xa, 0xb], 5), (vec![0xa], 10), (vec![], 1), (vec![], 9)];
    assert_eq!(ran, want);
}

#[test]
fn a_gap_is_no_step() {
    // The thread was never seen to begin, and what it does between two runs was lost.
    let told = told(&[
        note(5, 0, Event::SwitchedOut, Left::Park as u8, 3, 0),
        note(50, 0, Event::SwitchedIn, 0, 3, 0x30),
        note(60, 1, Event::SwitchedIn, 0, 3, 0x30),
        note(70, 1, Event::SwitchedOut, Left::Exit as u8, 3, 0),
    ]);
    assert_eq!(told, ["ran 3 60..70 park"]);
}
