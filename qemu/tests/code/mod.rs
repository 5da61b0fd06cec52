//! The machine code of a test kernel, for tests that look at it.

use addr2line::Loader;
use isochron_qemu::build::{self, How, Profile};
use isochron_qemu::machine::Machine;
use isochron_qemu::setup::{self, Wanted};
use isochron_qemu::workspace::Workspace;
use object::{Object, ObjectSection};
use std::fs;

/// A program's text.
pub struct Code {
    /// Each instruction and its address.
    pub words: Vec<(u64, u32)>,
    /// Which function it comes from.
    pub symbols: Loader,
}

/// Builds the test kernel `channels`, which has the scheduler's hot paths, for ARM64 `virt`, and reads it.
pub fn channels(profile: Profile) -> Code {
    let workspace = Workspace::find().expect("the test runs in the workspace");
    setup::ensure(&workspace, &Wanted::default(), true).expect("guests can be built");
    let program = workspace.program("channels").expect("there is a program to look at");
    let machine = Machine::find("virt").expect("a machine of that name");
    let how = How { profile, ..How::default() };
    let built = build::build(&workspace, &[&program], machine, how).expect("the program is built");
    let elf = &built["channels"];

    let data = fs::read(elf).expect("the program can be read");
    let file = object::File::parse(&*data).expect("the program is an ELF file");
    let text = file.section_by_name(".text").expect("the program has a text section");
    let bytes = text.data().expect("the text section has contents");
    let words = bytes.chunks_exact(4).map(|word| u32::from_le_bytes([word[0], word[1], word[2], word[3]]));
    let words = (text.address()..).step_by(4).zip(words).collect();
    Code { words, symbols: Loader::new(elf).expect("the program has debug information") }
}
