//! `image`: something to boot a real machine from.

use crate::artefact::{self, write_whole};
use crate::build::{self, How};
use crate::cli::{ImageArgs, ImageKind};
use crate::error::Error;
use crate::launch::command_line;
use crate::machine::{Arch, Machine};
use crate::process::Guarded;
use crate::setup::{self, Wanted};
use crate::workspace::Workspace;
use std::env;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Mutex, PoisonError};

/// Makes what is asked for, and says where it is.
///
/// # Errors
/// [`Error::Usage`] for a program that does not exist; [`Error::Build`], [`Error::Io`] and [`Error::Tool`] on the way.
pub fn image(workspace: &Workspace, args: &ImageArgs) -> Result<u8, Error> {
    let program = workspace.program(&args.app)?;
    let line = command_line(None, None, None, &args.app_args)?;
    let (machine, name) = match args.machine {
        ImageKind::Raspi4b => ("raspi4b", "raspi4b"),
        ImageKind::Pc => ("q35", "pc"),
    };
    let components = if args.machine == ImageKind::Pc { vec!["rust-src".to_owned()] } else { Vec::new() };
    setup::ensure(workspace, &Wanted { components, ..Wanted::default() }, false)?;
    let elf =
        build::build(workspace, &[&program], Machine::find(machine)?, How { trace: program.traces, ..How::default() })?
            .remove(&program.name);
    let elf = elf.ok_or_else(|| Error::Build { what: program.name.clone() })?;
    let dir = match &args.out {
        Some(dir) => env::current_dir().map_err(Error::io("read", Path::new(".")))?.join(dir),
        None => workspace.out_dir(&program.name, &format!("{name}-image"))?,
    };
    fs::create_dir_all(&dir).map_err(Error::io("create", &dir))?;
    let made = match args.machine {
        ImageKind::Raspi4b => card(workspace, &program.name, &elf, &line, &dir)?,
        ImageKind::Pc => {
            vec![disk(workspace, &elf, &line, &dir)?]
        }
    };
    for path in made {
        println!("{}", workspace.shown(&path));
    }
    Ok(0)
}

/// What the Pi's firmware reads before it starts the kernel.
const CONFIG: &str = "\
# Read by the Raspberry Pi's firmware.
arm_64bit=1
kernel=kernel8.img
# The PL011 on pins 8 and 10 (GPIO 14 and 15), 115200 baud: Bluetooth, which has it otherwise, is off.
enable_uart=1
dtoverlay=disable-bt
# Constant clocks: measured times stay comparable.
force_turbo=1
disable_splash=1
";

fn readme(app: &str) -> String {
    format!(
        "Isochron for the Raspberry Pi 4: {app}

Copy all files of this folder to the first partition (FAT32) of an SD card, beside the Pi's own firmware:

    start4.elf              the firmware that runs before the kernel
    fixup4.dat              its settings for the amount of memory
    bcm2711-rpi-4-b.dtb     the device tree it hands to the kernel
    overlays/disable-bt.dtbo  gives the PL011 UART to pins 8 and 10

These belong to the Raspberry Pi project and are not ours to ship. They are in the folder boot/ of its public
repository 'raspberrypi/firmware' on GitHub, and on every SD card that Raspberry Pi Imager has written: on such a card,
copy our files over the ones that are there.

Then connect a 3.3 V serial adapter to pin 6 (ground), pin 8 (the Pi's TXD) and pin 10 (its RXD), 115200 baud, 8N1, and
switch the Pi on.

    kernel8.img    the program, loaded at 0x80000
    config.txt     settings for the firmware
    cmdline.txt    the kernel command line: cores=N log=LEVEL -- ARGUMENTS
"
    )
}

fn card(workspace: &Workspace, app: &str, elf: &Path, line: &str, dir: &Path) -> Result<Vec<PathBuf>, Error> {
    let made = artefact::make(elf, Arch::Aarch64, &workspace.out_dir(app, "raspi4b")?)?;
    let kernel = fs::read(&made.boot).map_err(Error::io("read", &made.boot))?;
    let files: [(&str, Vec<u8>); 4] = [
        ("kernel8.img", kernel),
        ("config.txt", CONFIG.into()),
        ("cmdline.txt", format!("{line}\n").into_bytes()),
        ("README.txt", readme(app).into_bytes()),
    ];
    let mut paths = Vec::new();
    for (name, data) in files {
        let path = dir.join(name);
        write_whole(&path, &data)?;
        paths.push(path);
    }
    Ok(paths)
}

/// The disk image for a run: a folder of its own in `dir` for each command line, made by one thread at a time.
///
/// # Errors
/// As [`disk`].
pub fn disk_for(workspace: &Workspace, elf: &Path, line: &str, dir: &Path) -> Result<PathBuf, Error> {
    static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());
    let _held = ONE_AT_A_TIME.lock().unwrap_or_else(PoisonError::into_inner);
    let name: String = line.chars().map(|c| if c.is_ascii_alphanumeric() { c } else { '_' }).take(60).collect();
    let dir = dir.join(format!("disk-{name}"));
    fs::create_dir_all(&dir).map_err(Error::io("create", &dir))?;
    disk(workspace, elf, line, &dir)
}

/// Makes the disk image of a kernel with a command line in `dir`, for BIOS and UEFI, unless it is there already.
///
/// # Errors
/// [`Error::Tool`] if the image builder or the tool that strips the kernel fails, [`Error::Build`] if the former cannot
/// be built.
pub fn disk(workspace: &Workspace, elf: &Path, line: &str, dir: &Path) -> Result<PathBuf, Error> {
    let image = dir.join("pc.img");
    let (kernel, text) = (dir.join("disk-kernel.elf"), dir.join("command-line.txt"));
    let newer = |than: &Path| {
        let age = |p: &Path| fs::metadata(p).and_then(|m| m.modified()).ok();
        age(&image).zip(age(than)).is_some_and(|(made, from)| made > from)
    };
    if newer(elf) && fs::read_to_string(&text).is_ok_and(|t| t == line) {
        return Ok(image);
    }
    let tool = build_tool(workspace)?;
    strip(elf, &kernel)?;
    let _ = fs::remove_file(&image);
    write_whole(&text, line.as_bytes())?;
    let mut command = Command::new(tool);
    command.args([&kernel, &text, &image]);
    finish(command, "making the disk image")?;
    // It is inside the image now.
    let _ = fs::remove_file(&kernel);
    Ok(image)
}

/// Builds the image builder: the first time, that takes minutes.
fn build_tool(workspace: &Workspace) -> Result<PathBuf, Error> {
    let folder = workspace.root.join("targets/pc-image");
    let target = workspace.target.join("pc-image");
    let tool = target.join("debug/isochron-pc-image");
    if !tool.exists() {
        eprintln!("building the bootloader's stages: this takes minutes, once");
    }
    let mut command = build::cargo(workspace);
    // The stages are built with features that stable compilers keep behind this switch.
    command.current_dir(&folder).env("CARGO_TARGET_DIR", &target).env("RUSTC_BOOTSTRAP", "1");
    command.args(["build", "--locked"]);
    if Guarded::start(&mut command)?.wait()?.success() {
        Ok(tool)
    } else {
        Err(Error::Build { what: "the bootloader's image builder".into() })
    }
}

/// The kernel without debug information, sections kept: the bootloader looks for its settings in one.
fn strip(elf: &Path, to: &Path) -> Result<(), Error> {
    let objcopy = setup::tool("llvm-objcopy").ok_or_else(|| Error::Missing {
        what: "llvm-objcopy is not in the toolchain".into(),
        command: "rustup component add llvm-tools".into(),
    })?;
    let mut command = Command::new(objcopy);
    command.arg("--strip-all").arg(elf).arg(to);
    finish(command, "stripping the kernel")
}

fn finish(mut command: Command, doing: &str) -> Result<(), Error> {
    command.stderr(std::process::Stdio::piped());
    let mut child = Guarded::start(&mut command)?;
    let said = child.child().stderr.take().and_then(|p| std::io::read_to_string(p).ok()).unwrap_or_default();
    if child.wait()?.success() {
        return Ok(());
    }
    let said = said.lines().map(str::trim).find(|l| !l.is_empty()).unwrap_or("it said nothing").to_owned();
    Err(Error::Tool { doing: doing.to_owned(), said })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::artefact::tests::elf;

    #[test]
    fn a_card_has_what_the_firmware_asks_for() {
        let dir = env::temp_dir().join(format!("isochron-card-{}", std::process::id()));
        fs::create_dir_all(&dir).unwrap();
        let workspace = Workspace { root: dir.clone(), target: dir.join("target") };
        let mut head = vec![0u8; 64];
        head[56..60].copy_from_slice(b"ARM\x64");
        fs::write(dir.join("hello"), elf(&[(0x8_0000, &head)])).unwrap();
        let made = card(&workspace, "hello", &dir.join("hello"), "-- a", &dir).unwrap();
        assert_eq!(made.len(), 4);
        assert_eq!(fs::read(dir.join("kernel8.img")).unwrap(), head);
        assert_eq!(fs::read_to_string(dir.join("cmdline.txt")).unwrap(), "-- a\n");
        let config = fs::read_to_string(dir.join("config.txt")).unwrap();
        for line in ["arm_64bit=1", "enable_uart=1", "dtoverlay=disable-bt", "kernel=kernel8.img"] {
            assert!(config.lines().any(|l| l == line), "{line}");
        }
        let readme = fs::read_to_string(dir.join("README.txt")).unwrap();
        for name in ["start4.elf", "fixup4.dat", "bcm2711-rpi-4-b.dtb", "raspberrypi/firmware"] {
            assert!(readme.contains(name), "{name}");
        }
        fs::remove_dir_all(dir).unwrap();
    }
}
