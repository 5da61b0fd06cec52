//! Planning: from what is missing and what the system is, to steps and to the one command.

use super::look::Needs;
use super::system::{Manager, Sudo, System, backports_source};
use crate::launch::quoted;

/// One thing to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Step {
    /// What it does, for people.
    pub say: String,
    /// The program and its arguments.
    pub words: Vec<String>,
    /// Whether we may do it ourselves.
    pub possible: bool,
}

impl Step {
    /// As one line for a shell.
    #[must_use]
    pub fn typed(&self) -> String {
        self.words.iter().map(|word| quoted(word)).collect::<Vec<_>>().join(" ")
    }
}

/// What to do about [`Needs`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Plan {
    /// In order.
    pub steps: Vec<Step>,
    /// All of it as one line for a shell.
    pub command: String,
}

impl Plan {
    /// The steps that we may do ourselves.
    pub fn possible(&self) -> impl Iterator<Item = &Step> {
        self.steps.iter().filter(|step| step.possible)
    }

    /// Whether one of those will ask for a password.
    #[must_use]
    pub fn asks_password(&self) -> bool {
        self.possible().any(|step| step.words[0] == "sudo" && step.words[1] != "-n")
    }
}

/// The file that the backports source is put into.
const BACKPORTS_FILE: &str = "/etc/apt/sources.list.d/isochron-backports.list";

/// Plans the installation.
#[must_use]
pub fn plan(system: &System, needs: &Needs) -> Plan {
    let mut steps = Vec::new();
    for (kind, names) in [("target", &needs.targets), ("component", &needs.components)] {
        if !names.is_empty() {
            let mut words = vec!["rustup".to_owned(), kind.to_owned(), "add".to_owned()];
            words.extend(["--toolchain".to_owned(), needs.channel.clone()]);
            words.extend(names.iter().cloned());
            let say = format!("adding Rust {kind} {}", names.join(", "));
            steps.push(Step { say, words, possible: system.rustup });
        }
    }
    let mut by_hand = None;
    if needs.needs_packages() {
        match packages(system, needs) {
            Some(more) => steps.extend(more),
            None => by_hand = Some("your package manager: QEMU 9 or newer for aarch64 and x86_64, and OVMF".to_owned()),
        }
    }
    if needs.gdb {
        match debugger(system, !needs.needs_packages()) {
            Some(more) => steps.extend(more),
            None => {
                let both =
                    by_hand.map_or_else(|| "your package manager".to_owned(), |by_hand| format!("{by_hand}, and"));
                by_hand = Some(format!("{both}: gdb with Python and all architectures"));
            }
        }
    }
    let command = steps.iter().map(Step::typed).chain(by_hand).collect::<Vec<_>>().join(" && ");
    Plan { steps, command }
}

/// The steps with the system's package manager; `None` if it has none that we know.
fn packages(system: &System, needs: &Needs) -> Option<Vec<Step>> {
    let manager = system.manager?;
    let what = match &needs.old_qemu {
        Some((have, _)) => format!("a newer QEMU than {have}"),
        None => "QEMU for ARM64 and x86-64".to_owned(),
    };
    let say = |with: &str| format!("installing {what} ({with})");
    let install = |text: &str, say: String| as_root(system, say, words(text));
    // What the release has is what is installed already: only another release, or a build of one's own, is newer.
    if manager == Manager::Apt && needs.old_qemu.is_some() && !is_debian_12(system) {
        return None;
    }
    Some(match manager {
        Manager::Apt => apt(system, &what),
        Manager::Dnf => {
            let list = "dnf install -y qemu-system-aarch64-core qemu-system-x86-core edk2-ovmf";
            vec![install(list, say("dnf"))]
        }
        Manager::Pacman => {
            let list = "pacman -S --needed --noconfirm qemu-system-aarch64 qemu-system-x86 edk2-ovmf";
            vec![install(list, say("pacman"))]
        }
        Manager::Brew => {
            let verb = if needs.old_qemu.is_some() { "upgrade" } else { "install" };
            vec![Step { say: say("Homebrew"), words: words(&format!("brew {verb} qemu")), possible: true }]
        }
    })
}

/// The steps that install a debugger; the package lists are read if they were not before.
fn debugger(system: &System, lists: bool) -> Option<Vec<Step>> {
    let (with, text) = match system.manager? {
        Manager::Apt => ("apt", "apt-get install -y --no-install-recommends gdb-multiarch"),
        Manager::Dnf => ("dnf", "dnf install -y gdb"),
        Manager::Pacman => ("pacman", "pacman -S --needed --noconfirm gdb"),
        Manager::Brew => {
            let say = "installing gdb (Homebrew)".into();
            return Some(vec![Step { say, words: words("brew install gdb"), possible: true }]);
        }
    };
    let mut steps = Vec::new();
    if lists && with == "apt" {
        steps.push(as_root(system, "reading package lists (apt)".into(), words("apt-get update -q")));
    }
    steps.push(as_root(system, format!("installing gdb ({with})"), words(text)));
    Some(steps)
}

fn apt(system: &System, what: &str) -> Vec<Step> {
    let backports = is_debian_12(system);
    let mut steps = Vec::new();
    if backports && let Some(line) = backports_source(&system.apt_sources, &system.codename) {
        let mut shell = words("sh -c");
        shell.push(format!("echo '{}' > {BACKPORTS_FILE}", line.trim_end()));
        steps.push(as_root(system, format!("adding {}-backports to apt's sources", system.codename), shell));
    }
    steps.push(as_root(system, "reading package lists (apt)".into(), words("apt-get update -q")));
    let suite = if backports { format!(" -t {}-backports", system.codename) } else { String::new() };
    let list = "qemu-system-x86 qemu-system-arm ovmf qemu-efi-aarch64";
    let text = format!("apt-get install -y --no-install-recommends{suite} {list}");
    steps.push(as_root(system, format!("installing {what} (apt)"), words(&text)));
    steps
}

/// Debian 12 itself has QEMU 7.2; its backports have one that knows the Raspberry Pi 4.
fn is_debian_12(system: &System) -> bool {
    system.id == "debian" && system.version == "12"
}

/// A step that only root can do.
fn as_root(system: &System, say: String, words: Vec<String>) -> Step {
    let sudo: &[&str] = match (system.root, system.sudo) {
        (true, _) => &[],
        (false, Sudo::Free) => &["sudo", "-n"],
        (false, Sudo::Asks | Sudo::No) => &["sudo"],
    };
    let words = sudo.iter().map(|&word| word.to_owned()).chain(words).collect();
    Step { say, words, possible: system.root || system.sudo != Sudo::No }
}

fn words(text: &str) -> Vec<String> {
    text.split_whitespace().map(str::to_owned).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn system(manager: Option<Manager>, id: &str, version: &str) -> System {
        System {
            manager,
            id: id.into(),
            version: version.into(),
            codename: if id == "debian" { "bookworm".into() } else { String::new() },
            root: false,
            sudo: Sudo::Free,
            rustup: true,
            apt_sources: "deb http://m.example/debian bookworm main".into(),
        }
    }

    fn all_possible(plan: &Plan) -> bool {
        !plan.steps.is_empty() && plan.possible().count() == plan.steps.len()
    }

    fn qemu() -> Needs {
        Needs { channel: "1.95.0".into(), qemu: vec!["qemu-system-aarch64"], ..Needs::default() }
    }

    #[test]
    fn debian_12_takes_backports() {
        let plan = plan(&system(Some(Manager::Apt), "debian", "12"), &qemu());
        assert_eq!(plan.steps.len(), 3);
        assert!(all_possible(&plan) && plan.steps[0].say.contains("bookworm-backports"));
        assert!(plan.steps[0].words.last().unwrap().contains("deb http://m.example/debian bookworm-backports main"));
        assert!(plan.steps[2].words.join(" ").contains("-t bookworm-backports qemu-system-x86 qemu-system-arm"));
        assert!(plan.command.starts_with("sudo -n sh -c ") && plan.command.lines().count() == 1, "{}", plan.command);
        let mut there = system(Some(Manager::Apt), "debian", "12");
        there.apt_sources.push_str("\ndeb http://m.example/debian bookworm-backports main");
        assert_eq!(super::plan(&there, &qemu()).steps.len(), 2);
    }

    #[test]
    fn an_old_qemu_is_replaced_only_where_there_is_a_newer_one() {
        let old = Needs { old_qemu: Some(("7.2.0".into(), 9)), ..Needs::default() };
        let debian = plan(&system(Some(Manager::Apt), "debian", "12"), &old);
        assert!(all_possible(&debian) && debian.steps.iter().any(|s| s.say.contains("newer QEMU than 7.2.0")));
        let ubuntu = plan(&system(Some(Manager::Apt), "ubuntu", "24.04"), &old);
        assert!(ubuntu.steps.is_empty() && ubuntu.command.contains("QEMU 9 or newer"));
    }

    #[test]
    fn others_install_plainly() {
        for (manager, id, version, text) in [
            (Manager::Apt, "debian", "13", "--no-install-recommends qemu-system-x86"),
            (Manager::Apt, "ubuntu", "24.04", "--no-install-recommends qemu-system-x86"),
            (Manager::Dnf, "fedora", "42", "dnf install -y qemu-system-aarch64-core"),
            (Manager::Pacman, "arch", "", "pacman -S --needed --noconfirm qemu-system-aarch64"),
            (Manager::Brew, "", "", "brew install qemu"),
        ] {
            let plan = plan(&system(Some(manager), id, version), &qemu());
            assert!(all_possible(&plan) && plan.command.contains(text), "{id}: {}", plan.command);
            assert_eq!(plan.command.contains("sudo"), manager != Manager::Brew);
        }
    }

    #[test]
    fn without_rights_there_is_the_one_command() {
        let mut user = system(Some(Manager::Apt), "ubuntu", "24.04");
        user.sudo = Sudo::No;
        let plan = plan(&user, &qemu());
        assert_eq!(plan.possible().count(), 0);
        assert!(plan.command.starts_with("sudo apt-get update"), "{}", plan.command);
        let unknown = super::plan(&system(None, "void", ""), &qemu());
        assert!(unknown.steps.is_empty() && unknown.command.contains("QEMU"));
        // What needs no rights is done all the same.
        let both = super::plan(&user, &Needs { targets: vec!["t".into()], ..qemu() });
        let say: Vec<_> = both.possible().map(|step| step.say.as_str()).collect();
        assert_eq!((say, both.steps.len()), (vec!["adding Rust target t"], 3));
    }

    #[test]
    fn a_password_is_asked_for_only_where_it_is_needed() {
        let mut user = system(Some(Manager::Apt), "ubuntu", "24.04");
        assert!(!plan(&user, &qemu()).asks_password());
        user.sudo = Sudo::Asks;
        let plan = plan(&user, &qemu());
        assert!(plan.asks_password() && all_possible(&plan) && plan.command.starts_with("sudo apt-get update"));
        assert!(!super::plan(&user, &Needs { targets: vec!["t".into()], ..Needs::default() }).asks_password());
    }

    #[test]
    fn rust_parts_come_from_rustup_alone() {
        let needs = Needs {
            targets: vec!["t".into()],
            components: vec!["c".into()],
            channel: "1.95.0".into(),
            ..Needs::default()
        };
        let mut user = system(None, "x", "");
        user.sudo = Sudo::No;
        let plan = plan(&user, &needs);
        assert!(all_possible(&plan));
        assert_eq!(plan.command, "rustup target add --toolchain 1.95.0 t && rustup component add --toolchain 1.95.0 c");
        user.rustup = false;
        assert_eq!(super::plan(&user, &needs).possible().count(), 0);
    }

    #[test]
    fn a_debugger_is_installed_by_itself() {
        let needs = Needs { channel: "1.95.0".into(), gdb: true, ..Needs::default() };
        let plan = plan(&system(Some(Manager::Apt), "debian", "12"), &needs);
        assert!(all_possible(&plan) && plan.steps.len() == 2, "{plan:?}");
        assert!(plan.command.ends_with("apt-get install -y --no-install-recommends gdb-multiarch"), "{}", plan.command);
        assert!(!plan.command.contains("qemu"), "{}", plan.command);
        let none = super::plan(&system(None, "other", "1"), &needs);
        assert!(none.steps.is_empty() && none.command.contains("gdb with Python"), "{}", none.command);
        let both = super::plan(&system(Some(Manager::Apt), "debian", "13"), &Needs { gdb: true, ..qemu() });
        assert_eq!(both.command.matches("apt-get update").count(), 1, "{}", both.command);
    }
}
