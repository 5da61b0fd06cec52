//! Makes a BIOS and a UEFI disk image from a kernel: `isochron-pc-image KERNEL COMMAND-LINE-FILE BIOS-IMAGE UEFI-IMAGE`.
//!
//! The command line travels as the ramdisk, as plain text: the boot protocol has no other place for it.

use std::env;
use std::path::PathBuf;
use std::process::ExitCode;

fn main() -> ExitCode {
    let paths: Vec<PathBuf> = env::args_os().skip(1).map(PathBuf::from).collect();
    let [kernel, command_line, bios, uefi] = paths.as_slice() else {
        eprintln!("usage: isochron-pc-image KERNEL COMMAND-LINE-FILE BIOS-IMAGE UEFI-IMAGE");
        return ExitCode::from(2);
    };
    let mut builder = bootloader::DiskImageBuilder::new(kernel.clone());
    if command_line.metadata().is_ok_and(|m| m.len() > 0) {
        builder.set_ramdisk(command_line.clone());
    }
    // The serial line is the guest's alone; on a screen the bootloader still tells what it does.
    let mut config = bootloader::BootConfig::default();
    config.serial_logging = false;
    builder.set_boot_config(&config);
    let made = builder.create_bios_image(bios).and_then(|()| builder.create_uefi_image(uefi));
    match made {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error:#}");
            ExitCode::FAILURE
        }
    }
}
