//! Flame graphs: where run time went, and where waiting time went.

use super::picture::Picture;
use inferno::flamegraph::color::{BackgroundColor, BasicPalette};
use inferno::flamegraph::{self, Options, Palette};
use std::collections::BTreeMap;

/// Run time by thread and named parts of the program; `None` without any.
#[must_use]
pub fn run_time(picture: &Picture, names: &BTreeMap<u64, String>) -> Option<String> {
    draw(BasicPalette::Hot, picture.run_stacks(names))
}

/// Waiting time by thread, reason, mutex and who ended it; `None` without any.
#[must_use]
pub fn waiting_time(picture: &Picture) -> Option<String> {
    let stacks = picture.paths.iter().map(|((who, reason, lock, by), (_, ns))| {
        let lock = lock.map(|lock| picture.lock_name(lock));
        let stack = [Some(who.clone()), Some(reason.name().to_owned()), lock, Some(format!("until {by}"))];
        (stack.into_iter().flatten().collect(), *ns)
    });
    draw(BasicPalette::Blue, stacks)
}

fn draw(palette: BasicPalette, stacks: impl Iterator<Item = (Vec<String>, u64)>) -> Option<String> {
    // `;` is between the parts of a stack, and a number behind the last blank is its weight.
    let plain = |name: &String| name.replace(';', ",").split_whitespace().collect::<Vec<_>>().join(" ");
    let text = |stack: Vec<String>| stack.iter().map(plain).collect::<Vec<_>>().join(";");
    let mut sums = BTreeMap::<String, u64>::new();
    stacks.filter(|(_, ns)| *ns > 0).for_each(|(stack, ns)| *sums.entry(text(stack)).or_default() += ns);
    let lines: Vec<String> = sums.into_iter().map(|(stack, ns)| format!("{stack} {ns}")).collect();
    if lines.is_empty() {
        return None;
    }
    let mut options = Options::default();
    // What is around it says what it is.
    options.title = String::new();
    options.count_name = "ns".to_owned();
    options.name_type = "Part:".to_owned();
    options.colors = Palette::Basic(palette);
    options.bgcolors = Some(BackgroundColor::Flat(inferno::flamegraph::color::Color { r: 255, g: 255, b: 255 }));
    options.hash = true;
    options.min_width = 0.05;
    let mut svg = Vec::new();
    flamegraph::from_lines(&mut options, lines.iter().map(String::as_str), &mut svg).ok()?;
    String::from_utf8(svg).ok()
}
