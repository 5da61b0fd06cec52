//! The system, described: what it is and what may be done on it.

use super::look::find_program;
use std::fs;
use std::process::{Command, Stdio};

/// A package manager.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Manager {
    /// Debian, Ubuntu and what stems from them.
    Apt,
    /// Fedora and what stems from it.
    Dnf,
    /// Arch Linux and what stems from it.
    Pacman,
    /// macOS, or Linux with Homebrew.
    Brew,
}

/// What `sudo` does for us.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Sudo {
    /// Nothing: it is not there, or wants a password that nobody is there to type.
    No,
    /// It asks for a password, and somebody is there.
    Asks,
    /// It asks for none.
    Free,
}

/// All that planning asks about a system.
#[derive(Clone, Debug)]
pub struct System {
    /// Its package manager, if it has one we know.
    pub manager: Option<Manager>,
    /// `debian`, `ubuntu`, ... (`ID` in os-release).
    pub id: String,
    /// `12`, `24.04`, ... (`VERSION_ID`).
    pub version: String,
    /// `bookworm`, ... (`VERSION_CODENAME`).
    pub codename: String,
    /// Whether we are root.
    pub root: bool,
    /// What `sudo` does for us.
    pub sudo: Sudo,
    /// Whether rustup is there.
    pub rustup: bool,
    /// The text of all of apt's source files.
    pub apt_sources: String,
}

impl System {
    /// This one; `attended`: somebody is there to be asked.
    #[must_use]
    pub fn this(attended: bool) -> Self {
        let release = fs::read_to_string("/etc/os-release").unwrap_or_default();
        let has = |name| find_program(name).is_some();
        let managers =
            [("apt-get", Manager::Apt), ("dnf", Manager::Dnf), ("pacman", Manager::Pacman), ("brew", Manager::Brew)];
        let root = is_root();
        let sudo = match !root && has("sudo") {
            true if passwordless() => Sudo::Free,
            true if attended => Sudo::Asks,
            _ => Sudo::No,
        };
        Self {
            manager: managers.into_iter().find(|(program, _)| has(program)).map(|(_, m)| m),
            id: field(&release, "ID"),
            version: field(&release, "VERSION_ID"),
            codename: field(&release, "VERSION_CODENAME"),
            root,
            sudo,
            rustup: has("rustup"),
            apt_sources: apt_sources(),
        }
    }
}

fn field(release: &str, key: &str) -> String {
    let value = release.lines().find_map(|l| l.strip_prefix(key)?.strip_prefix('='));
    value.unwrap_or("").trim_matches('"').to_owned()
}

fn is_root() -> bool {
    // SAFETY: geteuid has no arguments, touches no memory and cannot fail.
    unsafe { libc::geteuid() == 0 }
}

fn passwordless() -> bool {
    let mut sudo = Command::new("sudo");
    sudo.args(["-n", "true"]).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    sudo.status().is_ok_and(|s| s.success())
}

fn apt_sources() -> String {
    let mut text = fs::read_to_string("/etc/apt/sources.list").unwrap_or_default();
    for entry in fs::read_dir("/etc/apt/sources.list.d").into_iter().flatten().flatten() {
        text.push_str("\n\n");
        text.push_str(&fs::read_to_string(entry.path()).unwrap_or_default());
    }
    text
}

/// A source for the backports of `codename`, made from the system's own source of that release: the same mirror, the
/// same key. `None` if backports are there already or no such source is found.
#[must_use]
pub fn backports_source(sources: &str, codename: &str) -> Option<String> {
    let backports = format!("{codename}-backports");
    if lines_of(sources).any(|l| l.split_whitespace().any(|w| w == backports)) {
        return None;
    }
    one_line_style(sources, codename, &backports).or_else(|| stanza_style(sources, codename, &backports))
}

/// The lines that are not comments.
fn lines_of(text: &str) -> impl Iterator<Item = &str> {
    text.lines().map(str::trim).filter(|l| !l.starts_with('#'))
}

/// `deb [options] URI suite component...`
fn one_line_style(sources: &str, codename: &str, backports: &str) -> Option<String> {
    let words = |l: &str| l.split_whitespace().map(str::to_owned).collect::<Vec<_>>();
    let line = lines_of(sources).map(words).find(|w| {
        w.first().is_some_and(|d| d == "deb") && w.iter().any(|s| s == codename) && w.iter().any(|c| c == "main")
    })?;
    let at = line.iter().position(|w| w == codename)?;
    Some(format!("{} {backports} main\n", line[..at].join(" ")))
}

/// The stanzas of `.sources` files.
fn stanza_style(sources: &str, codename: &str, backports: &str) -> Option<String> {
    let stanzas = sources.split("\n\n").map(|s| lines_of(s).collect::<Vec<_>>());
    let value = |stanza: &[&str], key: &str| -> Option<String> {
        stanza.iter().find_map(|l| {
            l.split_once(':').filter(|(k, _)| k.eq_ignore_ascii_case(key)).map(|(_, v)| v.trim().to_owned())
        })
    };
    for stanza in stanzas {
        let Some(uris) = value(&stanza, "URIs") else { continue };
        let suites = value(&stanza, "Suites").unwrap_or_default();
        let types = value(&stanza, "Types").unwrap_or_default();
        if !suites.split_whitespace().any(|s| s == codename) || !types.split_whitespace().any(|t| t == "deb") {
            continue;
        }
        let signed = value(&stanza, "Signed-By").filter(|s| s.starts_with('/'));
        let options = signed.map_or(String::new(), |key| format!(" [signed-by={key}]"));
        let uri = uris.split_whitespace().next()?.to_owned();
        return Some(format!("deb{options} {uri} {backports} main\n"));
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn os_release() {
        let text = "PRETTY_NAME=\"Debian\"\nID=debian\nVERSION_ID=\"12\"\nVERSION_CODENAME=bookworm\n";
        assert_eq!((field(text, "ID"), field(text, "VERSION_ID")), ("debian".into(), "12".into()));
        assert_eq!(field(text, "NOTHING"), "");
    }

    #[test]
    fn backports_come_from_the_systems_own_mirror() {
        let stanza = "Types: deb\n# URL\nURIs: http://debian.example/debian\nSuites: bookworm bookworm-updates\n\
                      Components: main\nSigned-By: /usr/share/keyrings/k.gpg\n\nTypes: deb\nURIs: http://other.example\n\
                      Suites: bookworm-security\n";
        assert_eq!(
            backports_source(stanza, "bookworm").unwrap(),
            "deb [signed-by=/usr/share/keyrings/k.gpg] http://debian.example/debian bookworm-backports main\n"
        );
        let line =
            "# deb http://old.example bookworm main\ndeb [trusted=no] http://m.example/debian bookworm main contrib\n";
        assert_eq!(
            backports_source(line, "bookworm").unwrap(),
            "deb [trusted=no] http://m.example/debian bookworm-backports main\n"
        );
        assert_eq!(backports_source(&format!("{stanza}\nSuites: bookworm-backports\n"), "bookworm"), None);
        assert_eq!(backports_source("deb http://m.example sid main", "bookworm"), None);
    }
}
