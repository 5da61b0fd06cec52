//! Linux's sysfs: what the host says about its cores (`Documentation/admin-guide/cputopology.rst`,
//! `Documentation/ABI/testing/sysfs-devices-system-cpu` and `-node`).
//!
//! Pure: the port gives a way to read files. Whatever cannot be read or understood is simply not known.

use crate::machine::{CpuDescription, Nodes};
use core::fmt;
use heapless::String;

/// The most bytes of a file that count. Longer ones are not believed.
pub const MAX_FILE: usize = 1024;
/// The content of a file.
pub type Text = String<MAX_FILE>;
/// Reads the file of a path below `/sys/devices/system`.
pub type Read<'a> = &'a dyn Fn(fmt::Arguments<'_>) -> Option<Text>;

/// Caches of a CPU, and nodes, that are looked at.
const MAX_CACHES: usize = 16;
const MAX_NODES: u32 = 16;

/// Fills in where the CPU stands that runs on the host's CPU `host`.
pub fn place(read: Read<'_>, host: usize, cpu: &mut CpuDescription) {
    let first = |text: Option<Text>| list(&text?).next().map(|(first, _)| first as u64);
    // The first of those that share a part is its number.
    cpu.core = first(read(format_args!("cpu/cpu{host}/topology/thread_siblings_list")));
    cpu.cluster =
        last_cache(read, host).or_else(|| first(read(format_args!("cpu/cpu{host}/topology/core_siblings_list"))));
    let is_home = |node: &u32| {
        let text = read(format_args!("node/node{node}/cpulist"));
        text.is_some_and(|text| list(&text).any(|(first, last)| (first..=last).contains(&host)))
    };
    cpu.node = online(read).find(is_home).unwrap_or(0);
}

/// Fills in how far the nodes are apart. Whose memory is whose is not told: a program has no physical addresses.
pub fn distances(read: Read<'_>, nodes: &mut Nodes) {
    for from in online(read) {
        let Some(text) = read(format_args!("node/node{from}/distance")) else { continue };
        // A column for each node that is online, in order.
        for (to, distance) in online(read).zip(text.split_ascii_whitespace()) {
            if let Ok(distance) = distance.parse() {
                nodes.add_distance(from, to, distance);
            }
        }
    }
}

/// The first CPU of those that share the last cache.
fn last_cache(read: Read<'_>, host: usize) -> Option<u64> {
    let mut last = None;
    for index in 0..MAX_CACHES {
        let file = |name| read(format_args!("cpu/cpu{host}/cache/index{index}/{name}"));
        let Some(level) = file("level").and_then(|text| text.trim().parse::<u32>().ok()) else { break };
        let of_data = file("type").is_none_or(|kind| kind.trim() != "Instruction");
        // A first level is never what cores share.
        if of_data && level > 1 && last.is_none_or(|(highest, _)| level > highest) {
            let shared = file("shared_cpu_list").and_then(|text| list(&text).next().map(|(first, _)| first));
            last = shared.map(|first| (level, first as u64)).or(last);
        }
    }
    last.map(|(_, first)| first)
}

/// The nodes there are; node 0 if nothing is said.
fn online(read: Read<'_>) -> impl Iterator<Item = u32> {
    let text = read(format_args!("node/online"));
    let text = text.unwrap_or_else(|| "0".try_into().unwrap_or_default());
    (0..MAX_NODES).filter(move |node| list(&text).any(|(first, last)| (first..=last).contains(&(*node as usize))))
}

/// The ranges of a list like `0-3,8`. Parts that are none are passed over.
fn list(text: &str) -> impl Iterator<Item = (usize, usize)> {
    text.trim().split(',').filter_map(|part| {
        let (first, last) = part.split_once('-').unwrap_or((part, part));
        let range = (first.parse().ok()?, last.parse().ok()?);
        (range.0 <= range.1).then_some(range)
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::machine::{NodeDistance, StartMethod};
    use proptest::prelude::*;

    /// Two nodes of two cores with two threads each; the threads of a core are 4 apart; a third level for each node.
    fn server(path: &str) -> Option<std::string::String> {
        let number = |prefix: &str| path.strip_prefix(prefix)?.split('/').next()?.parse::<usize>().ok();
        let text = match path {
            "node/online" => "0-1".into(),
            "node/node0/distance" => "10 21".into(),
            "node/node1/distance" => "21 10".into(),
            "node/node0/cpulist" => "0-1,4-5".into(),
            "node/node1/cpulist" => "2-3,6-7".into(),
            _ => {
                let host = number("cpu/cpu")?;
                let (core, node) = (host % 4, host % 4 / 2);
                let siblings = format!("{core},{}", core + 4);
                match path.split_once(&format!("cpu{host}/"))?.1 {
                    "topology/thread_siblings_list" => siblings,
                    "cache/index0/level" | "cache/index1/level" => "1".into(),
                    "cache/index0/type" => "Data".into(),
                    "cache/index1/type" => "Instruction".into(),
                    "cache/index2/level" => "2".into(),
                    "cache/index3/level" => "3".into(),
                    "cache/index2/type" | "cache/index3/type" => "Unified".into(),
                    "cache/index2/shared_cpu_list" => siblings,
                    "cache/index3/shared_cpu_list" => format!("{}-{},{}", node * 2, node * 2 + 1, node * 2 + 4),
                    _ => return None,
                }
            }
        };
        (host_is_there(path)).then(|| text + "\n")
    }

    fn host_is_there(path: &str) -> bool {
        !path.starts_with("cpu/cpu8")
    }

    fn reader(files: impl Fn(&str) -> Option<std::string::String>) -> impl Fn(fmt::Arguments<'_>) -> Option<Text> {
        move |path| files(&path.to_string())?.as_str().try_into().ok()
    }

    fn place_of(read: Read<'_>, host: usize) -> (u32, Option<u64>, Option<u64>) {
        let mut cpu = CpuDescription::unplaced(0, StartMethod::Boot);
        place(read, host, &mut cpu);
        (cpu.node, cpu.cluster, cpu.core)
    }

    #[test]
    fn a_server_is_read() {
        let read = reader(server);
        assert_eq!(
            [0, 3, 4, 7].map(|host| place_of(&read, host)),
            [(0, Some(0), Some(0)), (1, Some(2), Some(3)), (0, Some(0), Some(0)), (1, Some(2), Some(3)),]
        );
        assert_eq!(place_of(&read, 8), (0, None, None));
        let mut nodes = Nodes::default();
        distances(&read, &mut nodes);
        let want = [(0, 0, 10), (0, 1, 21), (1, 0, 21), (1, 1, 10)];
        assert_eq!(nodes.distances, want.map(|(from, to, distance)| NodeDistance { from, to, distance }));
    }

    #[test]
    fn without_caches_the_package_is_the_cluster() {
        let read = reader(|path| match path {
            "cpu/cpu3/topology/core_siblings_list" => Some("2-3".into()),
            // A first level is of one core, whatever the host shares it with.
            "cpu/cpu3/cache/index0/level" => Some("1".into()),
            "cpu/cpu3/cache/index0/shared_cpu_list" => Some("3".into()),
            _ => None,
        });
        assert_eq!(place_of(&read, 3), (0, Some(2), None));
    }

    #[test]
    fn lists() {
        let all = |text| list(text).collect::<std::vec::Vec<_>>();
        assert_eq!(all("0-3,8,10-10\n"), [(0, 3), (8, 8), (10, 10)]);
        assert_eq!(all(""), []);
        assert_eq!(all("3-1,x,-,5,99999999999999999999"), [(5, 5)]);
    }

    proptest! {
        #[test]
        fn noise_is_never_a_panic(text in "[-0-9, \n]{0,40}", host in 0..100_usize) {
            let read = reader(|_| Some(text.clone()));
            place_of(&read, host);
            let mut nodes = Nodes::default();
            distances(&read, &mut nodes);
        }
    }
}
