//! Which runs there are, and which a filter asks for.

use super::directives::{self, Expect, Wish};
use crate::cli::{GuestArgs, RunArgs, Sanitizer};
use crate::error::Error;
use crate::machine::Machine;
use crate::prepare::Request;
use crate::workspace::{Program, Workspace};
use std::fs;

/// One run of one kernel on one machine.
#[derive(Clone, Debug)]
pub struct Planned {
    /// `MACHINE-ARCH/cpusN/KERNEL`, with `[LABEL]` behind it if the kernel has several runs.
    pub id: String,
    /// What to boot.
    pub request: Request,
    /// How it must end.
    pub expect: Expect,
    /// `cores=`, if it has one.
    pub cores: Option<u32>,
    /// What it must have said.
    pub says: Vec<String>,
    /// Boots in a row.
    pub repeat: u32,
    /// Whether it runs without being named.
    pub quick: bool,
    /// The kernel's source, in which names of cases are looked for.
    source: String,
}

/// All runs of all test kernels, on `only` if it is given; with a sanitizer, those that are built as usual and can bear it.
///
/// # Errors
/// [`Error::Usage`] naming the file whose directives are malformed or ask for what no machine has.
pub fn plan(
    workspace: &Workspace,
    only: Option<&Machine>,
    sanitizer: Option<Sanitizer>,
) -> Result<Vec<Planned>, Error> {
    let mut all = Vec::new();
    for program in workspace.tests() {
        let source = fs::read_to_string(&program.source).map_err(Error::io("read", &program.source))?;
        let named = |why: String| Error::Usage(format!("{}: {why}", workspace.shown(&program.source)));
        for mut wish in directives::parse(&source).map_err(|e| named(e.to_string()))? {
            if sanitizer.is_none() && wish.sanitizer_only {
                continue;
            }
            if sanitizer.is_some() {
                if wish.checked || wish.lse || wish.hardened || !wish.sanitizer {
                    continue;
                }
                wish.sanitized_by = sanitizer;
            }
            expand(workspace, &program, &source, &wish, only, &mut all).map_err(|e| named(e.to_string()))?;
        }
    }
    Ok(all)
}

fn expand(
    workspace: &Workspace,
    program: &Program,
    source: &str,
    wish: &Wish,
    only: Option<&Machine>,
    all: &mut Vec<Planned>,
) -> Result<(), Error> {
    for name in &wish.machines {
        let machine = Machine::find(name)?;
        if !machine.is_possible() || only.is_some_and(|o| o.board != machine.board) {
            continue;
        }
        for cpus in wish.cpus.iter().copied().filter(|c| *c <= machine.max_cpus) {
            let guest = GuestArgs {
                app: program.name.clone(),
                machine: name.clone(),
                cpus,
                memory: wish.memory.filter(|_| machine.min_memory < machine.max_memory),
                deterministic: wish.deterministic,
                numa: wish.numa,
                app_args: wish.args.clone(),
            };
            let args = RunArgs {
                guest,
                timeout: wish.timeout,
                cores: wish.cores,
                log: wish.log.clone(),
                qemu_arg: wish.qemu.clone(),
                checked: wish.checked,
                lse: wish.lse,
                hardened: wish.hardened,
                sanitizer: wish.sanitized_by,
                ..RunArgs::of(&program.name)
            };
            let label = if wish.label.is_empty() { String::new() } else { format!("[{}]", wish.label) };
            all.push(Planned {
                id: format!("{name}-{}/cpus{cpus}/{}{label}", machine.arch.name(), program.name),
                request: Request::check(workspace, &args)?,
                expect: wish.expect.clone(),
                cores: wish.cores,
                says: wish.says.clone(),
                repeat: wish.repeat,
                quick: wish.quick,
                source: source.to_owned(),
            });
        }
    }
    Ok(())
}

/// The runs that can hold a test matching `filter`. Without one, all that are quick; one that is not quick must be
/// named.
#[must_use]
pub fn select(planned: Vec<Planned>, filter: Option<&str>) -> Vec<Planned> {
    let Some(filter) = filter.filter(|f| !f.is_empty()) else {
        return planned.into_iter().filter(|p| p.quick).collect();
    };
    // Part of a run's name, a whole test's name, or a case's name: then its kernel's source holds the last part.
    let case = filter.rsplit("::").next().unwrap_or(filter);
    let named = |p: &Planned| p.id.contains(filter) || filter.starts_with(&format!("{}::", p.id));
    let kernel = |p: &Planned| filter.contains(&p.request.program.name) || p.request.program.name.contains(filter);
    let holds = |p: &Planned| !case.is_empty() && !case.contains('/') && p.source.contains(case);
    planned.into_iter().filter(|p| (named(p) && (p.quick || kernel(p))) || (p.quick && holds(p))).collect()
}

#[cfg(test)]
pub(super) mod tests_support {
    use super::*;

    /// The first run that some directives ask for, of a program that exists.
    pub(crate) fn planned(directives: &str) -> Planned {
        let workspace = Workspace::find().unwrap();
        let program = workspace.program("hello").unwrap();
        let mut all = Vec::new();
        let wish = &directives::parse(directives).unwrap()[0];
        expand(&workspace, &program, "", wish, None, &mut all).unwrap();
        all.swap_remove(0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn planned(name: &str, directives: &str, source: &str) -> Vec<Planned> {
        let workspace = Workspace::find().unwrap();
        // Any program will do: nothing is built here. Its name is what the selection looks at.
        let program = workspace.program("hello").unwrap();
        let mut all = Vec::new();
        for wish in directives::parse(directives).unwrap() {
            expand(&workspace, &program, source, &wish, None, &mut all).unwrap();
        }
        for p in &mut all {
            p.id = p.id.replace("hello", name);
            p.request.program.name = name.to_owned();
        }
        all
    }

    fn ids(planned: Vec<Planned>, filter: Option<&str>) -> Vec<String> {
        select(planned, filter).into_iter().map(|p| p.id).collect()
    }

    #[test]
    fn every_machine_with_every_number_it_can_have() {
        let all = planned("suite", "//@ machines: virt, raspi4b\n//@ cpus: 1, 8\n//@ memory: 64", "");
        assert_eq!(
            ids(all, None),
            ["virt-aarch64/cpus1/suite", "virt-aarch64/cpus8/suite", "raspi4b-aarch64/cpus1/suite"]
        );
    }

    #[test]
    fn filters() {
        let all = || {
            let mut all = planned("suite", "", "case!(sleeps_in_order)");
            all.extend(planned("storm", "//@ quick: no", "case!(boots)"));
            all
        };
        assert_eq!(ids(all(), None), ["virt-aarch64/cpus4/suite", "q35-x86_64/cpus4/suite"]);
        assert_eq!(ids(all(), Some("storm")), ["virt-aarch64/cpus4/storm", "q35-x86_64/cpus4/storm"]);
        assert_eq!(ids(all(), Some("sleeps_in")), ["virt-aarch64/cpus4/suite", "q35-x86_64/cpus4/suite"]);
        assert_eq!(ids(all(), Some("q35-x86_64/cpus4/suite::sleeps_in_order")).len(), 2);
        assert_eq!(ids(all(), Some("q35")), ["q35-x86_64/cpus4/suite"]);
        assert!(ids(all(), Some("nowhere")).is_empty());
    }

    #[test]
    fn wishes_that_no_machine_fulfils_are_errors() {
        let workspace = Workspace::find().unwrap();
        let program = workspace.program("hello").unwrap();
        let wish = Wish { machines: vec!["virtt".into()], ..Wish::default() };
        assert!(expand(&workspace, &program, "", &wish, None, &mut Vec::new()).is_err());
    }
}
