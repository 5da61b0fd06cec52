//! The figures on a terminal, again and again, and the keys.

use super::board::Picture;
use super::keys::{Asked, View};
use super::{Guest, LOOK, Seen, plain};
use crate::cli::TopArgs;
use crate::error::{Error, INTERRUPTED};
use crate::signals;
use ratatui::Frame;
use ratatui::crossterm::event::{self, Event, KeyEventKind};
use ratatui::layout::{Alignment, Constraint, Layout, Rect};
use ratatui::style::{Color, Modifier, Style};
use ratatui::text::Line;
use ratatui::widgets::{Cell, Paragraph, Row, Table};
use std::io;
use std::path::Path;
use std::time::{Duration, Instant};

/// Runs until the user has seen enough.
///
/// # Errors
/// [`Error::Io`] if the terminal fails.
pub fn run(args: &TopArgs, guest: &mut Guest, seen: &mut Seen) -> Result<u8, Error> {
    let failed = |source: io::Error| Error::io("draw on", Path::new("the terminal"))(source);
    let mut terminal = ratatui::try_init().map_err(failed)?;
    let result = shown(&mut terminal, args, guest, seen).map_err(failed);
    ratatui::restore();
    result
}

fn shown(
    terminal: &mut ratatui::DefaultTerminal,
    args: &TopArgs,
    guest: &mut Guest,
    seen: &mut Seen,
) -> io::Result<u8> {
    let every = Duration::from_secs_f64(args.every);
    let mut view = View { sort: args.sort, filter: args.filter.clone().unwrap_or_default(), ..View::default() };
    let (mut picture, mut next) = (Picture { title: seen.title.clone(), ..Picture::default() }, Instant::now());
    let mut is_new = true;
    loop {
        if signals::requested() {
            return Ok(INTERRUPTED);
        }
        seen.look();
        // What a guest came to stays to be looked at.
        if Instant::now() >= next && !view.paused && picture.ended.is_none() {
            picture = seen.picture(guest);
            (next, is_new) = (Instant::now() + every, true);
        }
        if is_new {
            terminal.draw(|frame| draw(frame, &picture, &view))?;
            is_new = false;
        }
        if event::poll(LOOK)? {
            match event::read()? {
                Event::Key(key) if key.kind != KeyEventKind::Release => match view.key(key) {
                    Asked::Quit => return Ok(guest.code()),
                    Asked::Reset => seen.board.reset_worst(),
                    Asked::Nothing => {}
                },
                _ => {}
            }
            let all = view.threads(&picture).len();
            view.skipped = view.skipped.min(all.saturating_sub(1));
            is_new = true;
        }
    }
}

/// Lines that CPUs take at the most; what is beyond is told.
fn cpu_lines(height: u16, cpus: usize) -> u16 {
    let most = (height / 3).max(2);
    u16::try_from(cpus).unwrap_or(u16::MAX).min(most)
}

/// Draws all of it.
pub fn draw(frame: &mut Frame<'_>, picture: &Picture, view: &View) {
    let area = frame.area();
    let shown = cpu_lines(area.height, picture.cpus.len());
    let groups = plain::groups(picture);
    let lines = [1, shown + 1, 1, u16::from(!groups.is_empty())];
    let [head, cpus, memory, group, threads, said, keys] = Layout::vertical([
        Constraint::Length(lines[0]),
        Constraint::Length(lines[1]),
        Constraint::Length(lines[2]),
        Constraint::Length(lines[3]),
        Constraint::Min(3),
        Constraint::Length(1),
        Constraint::Length(1),
    ])
    .areas(area);
    let bold = Style::new().add_modifier(Modifier::BOLD);
    frame.render_widget(Line::styled(plain::head(picture), bold), head);
    draw_cpus(frame, cpus, picture, shown as usize);
    let mut about_memory = plain::memory(picture);
    let style = if picture.lost > 0 {
        about_memory = plain::lost(picture);
        Style::new().fg(Color::Red)
    } else {
        Style::new()
    };
    frame.render_widget(Line::styled(about_memory, style), memory);
    frame.render_widget(Line::raw(groups), group);
    draw_threads(frame, threads, picture, view);
    frame.render_widget(Line::styled(format!("> {}", picture.said), Style::new().fg(Color::DarkGray)), said);
    draw_keys(frame, keys, view);
}

fn header<const N: usize>(names: [&'static str; N]) -> Row<'static> {
    Row::new(names).style(Style::new().add_modifier(Modifier::REVERSED))
}

fn right(text: String) -> Cell<'static> {
    Cell::from(Line::from(text).alignment(Alignment::Right))
}

fn draw_cpus(frame: &mut Frame<'_>, area: Rect, picture: &Picture, shown: usize) {
    let rows = picture.cpus.iter().zip(plain::cpus(picture)).take(shown).map(|(row, cells)| {
        let [cpu, busy, waiting, switches, preempted, stolen, runs] = cells;
        let color = match row.busy {
            busy if busy > 0.9 => Color::Red,
            busy if busy > 0.5 => Color::Yellow,
            _ => Color::Green,
        };
        let bar = "#".repeat((row.busy * 10.0).round() as usize);
        let bar = Cell::from(format!("{bar:<10}")).style(Style::new().fg(color));
        Row::new([
            cpu.into(),
            bar,
            right(busy),
            right(waiting),
            right(switches),
            right(preempted),
            right(stolen),
            runs.into(),
        ])
    });
    let widths = [3, 10, 6, 11, 10, 8, 8].map(Constraint::Length).into_iter().chain([Constraint::Min(8)]);
    let more = picture.cpus.len() - shown.min(picture.cpus.len());
    let runs = if more > 0 { "runs (more CPUs below)" } else { "runs" };
    let names = ["CPU", "busy", "%", "waiting", "switches/s", "off/s", "stolen/s", runs];
    frame.render_widget(Table::new(rows, widths).header(header(names)), area);
}

fn draw_threads(frame: &mut Frame<'_>, area: Rect, picture: &Picture, view: &View) {
    let threads = view.threads(picture);
    let rows = threads.iter().skip(view.skipped).take(area.height as usize).map(|thread| {
        let [name, id, state, cpu, share, time, runs, worst, aside] = plain::thread(thread);
        Row::new([
            name.into(),
            right(id),
            state.into(),
            right(cpu),
            right(share),
            right(time),
            right(runs),
            right(worst),
            right(aside),
        ])
    });
    let widths = [Constraint::Min(12)].into_iter().chain([6, 9, 3, 5, 8, 7, 8, 6].map(Constraint::Length));
    let names = ["thread", "id", "state", "CPU", "CPU %", "time", "runs/s", "worst", "aside"];
    frame.render_widget(Table::new(rows, widths).header(header(names)), area);
}

fn draw_keys(frame: &mut Frame<'_>, area: Rect, view: &View) {
    let text = if view.typing {
        format!("filter: {}_   Enter keeps it, Esc drops it", view.filter)
    } else {
        let filter = if view.filter.is_empty() { String::new() } else { format!(" [{}]", view.filter) };
        let paused = if view.paused { " PAUSED" } else { "" };
        format!(
            "by {}{filter}{paused}  c,t,d,r,n sort  / filter  z zero delays  p pause  arrows  q quit",
            view.sort.name()
        )
    };
    frame.render_widget(Paragraph::new(text).style(Style::new().add_modifier(Modifier::REVERSED)), area);
}

#[cfg(test)]
mod tests {
    use super::super::board::tests::board;
    use super::super::live::Clock;
    use super::*;
    use ratatui::Terminal;
    use ratatui::backend::TestBackend;

    fn lines(picture: &Picture, view: &View, width: u16, height: u16) -> Vec<String> {
        let mut terminal = Terminal::new(TestBackend::new(width, height)).unwrap();
        terminal.draw(|frame| draw(frame, picture, view)).unwrap();
        let buffer = terminal.backend().buffer();
        let line = |y| (0..width).map(|x| buffer[(x, y)].symbol()).collect::<String>().trim_end().to_owned();
        (0..height).map(line).collect()
    }

    fn picture() -> Picture {
        let mut picture = board().picture(Some(Clock { hz: 1_000_000, newest: 1000, age: 0.0 }));
        picture.title = "latency on virt (aarch64)".into();
        picture.said = "hello".into();
        let row = picture.threads[0].clone();
        for id in 2..60 {
            picture.threads.push(super::super::board::ThreadRow {
                id,
                name: format!("thread-{id}"),
                share: 0.5 / id as f64,
                worst: 1_234_567 * id,
                aside: (id % 3, 0.5),
                group: "hogs".into(),
                ..row.clone()
            });
        }
        picture
    }

    #[test]
    fn all_of_it_fits_into_80_by_24() {
        let text = lines(&picture(), &View::default(), 80, 24);
        let all = text.join("\n");
        assert!(text[0].starts_with("latency on virt (aarch64) · 1 ms of its time"), "{all}");
        assert!(text[1].starts_with("CPU busy"), "{all}");
        assert!(text[2].starts_with("0   ######") && text[2].contains("60.0"), "{all}");
        assert!(
            text[4].starts_with("memory")
                && text[5].starts_with("group hogs: 39 threads set aside 59× for 19.5 s, 0 now"),
            "{all}"
        );
        assert!(text[6].starts_with("thread ") && text[6].contains("worst") && text[6].ends_with("aside"), "{all}");
        assert!(text[7].starts_with("worker ") && text[7].contains("sleep") && text[7].contains("600 µs"), "{all}");
        assert_eq!(text[22], "> hello", "{all}");
        assert!(text[23].starts_with("by cpu") && text[23].ends_with("q quit"), "{all}");
        assert!(text[8..22].iter().all(|line| line.starts_with("thread-")), "{all}");
    }

    #[test]
    fn the_view_is_kept_to() {
        let view = View { skipped: 3, filter: "5".into(), typing: true, ..View::default() };
        let text = lines(&picture(), &view, 80, 24);
        assert!(text[23].starts_with("filter: 5_"), "{text:?}");
        // Three of those with a 5 in their names are above.
        assert!(text[7].starts_with("thread-35"), "{text:?}");
        // Nothing is too small to be drawn on.
        for (width, height) in [(1, 1), (20, 5), (200, 60)] {
            assert_eq!(lines(&picture(), &View::default(), width, height).len(), height as usize);
        }
        lines(&Picture::default(), &View::default(), 80, 24);
    }
}
