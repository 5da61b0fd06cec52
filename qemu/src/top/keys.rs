//! What is shown and how it is sorted, and the keys that change it.

use super::board::{Picture, ThreadRow};
use clap::ValueEnum;
use ratatui::crossterm::event::{KeyCode, KeyEvent, KeyModifiers};

/// By what threads are sorted, the most first.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, ValueEnum)]
pub enum Sort {
    /// CPU time since the last picture.
    #[default]
    Cpu,
    /// CPU time since the beginning.
    Time,
    /// The longest that they were ready and did not run.
    Delay,
    /// How often they were given a CPU.
    Runs,
    /// Their names.
    Name,
}

impl Sort {
    /// In a word.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Cpu => "cpu",
            Self::Time => "time",
            Self::Delay => "delay",
            Self::Runs => "runs",
            Self::Name => "name",
        }
    }
}

/// What the user wants to see.
#[derive(Clone, Debug, Default)]
pub struct View {
    /// By what threads are sorted.
    pub sort: Sort,
    /// Only threads with this in their name or number.
    pub filter: String,
    /// The filter is being typed.
    pub typing: bool,
    /// So many threads are above the first line.
    pub skipped: usize,
    /// The picture stands still.
    pub paused: bool,
}

/// What a key asks for beyond what is seen.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Asked {
    /// Nothing.
    Nothing,
    /// The end.
    Quit,
    /// The longest delays begin anew.
    Reset,
}

impl View {
    /// Does what a key says.
    pub fn key(&mut self, key: KeyEvent) -> Asked {
        if key.modifiers.contains(KeyModifiers::CONTROL) && key.code == KeyCode::Char('c') {
            return Asked::Quit;
        }
        if self.typing {
            match key.code {
                KeyCode::Enter => self.typing = false,
                KeyCode::Esc => (self.typing, self.filter) = (false, String::new()),
                KeyCode::Backspace => drop(self.filter.pop()),
                KeyCode::Char(c) if self.filter.len() < 40 => self.filter.push(c),
                _ => {}
            }
            self.skipped = 0;
            return Asked::Nothing;
        }
        match key.code {
            KeyCode::Char('q') => return Asked::Quit,
            KeyCode::Char('z') => return Asked::Reset,
            KeyCode::Char('c') => self.sort = Sort::Cpu,
            KeyCode::Char('t') => self.sort = Sort::Time,
            KeyCode::Char('d') => self.sort = Sort::Delay,
            KeyCode::Char('r') => self.sort = Sort::Runs,
            KeyCode::Char('n') => self.sort = Sort::Name,
            KeyCode::Char('p' | ' ') => self.paused = !self.paused,
            KeyCode::Char('/') => (self.typing, self.filter) = (true, String::new()),
            KeyCode::Esc => self.filter.clear(),
            KeyCode::Down => self.skipped += 1,
            KeyCode::Up => self.skipped = self.skipped.saturating_sub(1),
            KeyCode::PageDown => self.skipped += 10,
            KeyCode::PageUp => self.skipped = self.skipped.saturating_sub(10),
            KeyCode::Home => self.skipped = 0,
            _ => {}
        }
        Asked::Nothing
    }

    /// The threads that are wanted, sorted.
    #[must_use]
    pub fn threads<'p>(&self, picture: &'p Picture) -> Vec<&'p ThreadRow> {
        let wanted = |row: &&ThreadRow| {
            self.filter.is_empty() || row.name.contains(&self.filter) || row.id.to_string() == self.filter
        };
        let mut rows: Vec<&ThreadRow> = picture.threads.iter().filter(wanted).collect();
        rows.sort_by(|a, b| {
            let first = match self.sort {
                Sort::Cpu => b.share.total_cmp(&a.share).then(b.total.total_cmp(&a.total)),
                Sort::Time => b.total.total_cmp(&a.total),
                Sort::Delay => b.worst.cmp(&a.worst),
                Sort::Runs => b.runs.total_cmp(&a.runs),
                Sort::Name => a.name.cmp(&b.name),
            };
            first.then(a.id.cmp(&b.id))
        });
        rows
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn press(view: &mut View, keys: &str) -> Asked {
        keys.chars().fold(Asked::Nothing, |_, c| {
            let code = match c {
                '\n' => KeyCode::Enter,
                '\x1b' => KeyCode::Esc,
                '\x08' => KeyCode::Backspace,
                c => KeyCode::Char(c),
            };
            view.key(KeyEvent::from(code))
        })
    }

    fn row(id: u64, name: &str, share: f64, worst: u64) -> ThreadRow {
        ThreadRow {
            id,
            name: name.into(),
            state: "runs",
            cpu: 0,
            share,
            total: 1.0 - share,
            runs: 0.0,
            worst,
            aside: (0, 0.0),
            group: String::new(),
        }
    }

    #[test]
    fn keys_sort_and_filter() {
        let picture = Picture {
            threads: vec![row(1, "alpha", 0.2, 50), row(2, "beta", 0.7, 10), row(3, "gamma", 0.2, 90)],
            ..Picture::default()
        };
        let order = |view: &View| view.threads(&picture).iter().map(|row| row.id).collect::<Vec<_>>();
        let mut view = View::default();
        assert_eq!(order(&view), [2, 1, 3]);
        for (key, want) in [("d", [3, 1, 2]), ("t", [1, 3, 2]), ("n", [1, 2, 3]), ("c", [2, 1, 3])] {
            press(&mut view, key);
            assert_eq!(order(&view), want, "{key}");
        }
        // While a filter is typed, letters are letters.
        assert_eq!(press(&mut view, "/qm\x08"), Asked::Nothing);
        assert_eq!((view.filter.as_str(), view.typing), ("q", true));
        press(&mut view, "\x08mm\n");
        assert_eq!(order(&view), [3]);
        press(&mut view, "/3\n");
        assert_eq!(order(&view), [3]);
        press(&mut view, "\x1b");
        assert_eq!(order(&view).len(), 3);
        assert_eq!((press(&mut view, "z"), press(&mut view, "q")), (Asked::Reset, Asked::Quit));
    }
}
