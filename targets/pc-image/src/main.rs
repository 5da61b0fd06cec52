//! Makes a disk image that boots a kernel under BIOS and under UEFI: `isochron-pc-image KERNEL COMMAND-LINE-FILE IMAGE`.
//!
//! The `bootloader` crate makes an image for either. Its BIOS image has one FAT32 partition with all files; with the UEFI
//! loader among them, under the name that UEFI firmware looks for on any medium, one image serves both. (The partition
//! keeps the type of plain FAT32, as USB sticks have it: the BIOS stages take no other.)
//!
//! The command line travels as the ramdisk, as plain text: the boot protocol has no other place for it.

use std::env;
use std::error::Error;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

fn main() -> ExitCode {
    let paths: Vec<PathBuf> = env::args_os().skip(1).map(PathBuf::from).collect();
    let [kernel, command_line, image] = paths.as_slice() else {
        eprintln!("usage: isochron-pc-image KERNEL COMMAND-LINE-FILE IMAGE");
        return ExitCode::from(2);
    };
    match make(kernel, command_line, image) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error:#}");
            ExitCode::FAILURE
        }
    }
}

fn make(kernel: &Path, command_line: &Path, image: &Path) -> Result<(), Box<dyn Error>> {
    let mut builder = bootloader::DiskImageBuilder::new(kernel.to_path_buf());
    if command_line.metadata().is_ok_and(|m| m.len() > 0) {
        builder.set_ramdisk(command_line.to_path_buf());
    }
    // The serial line is the guest's alone; on a screen the bootloader still tells what it does.
    let mut config = bootloader::BootConfig::default();
    config.serial_logging = false;
    builder.set_boot_config(&config);
    // The crate gives the UEFI loader away as a file only in a folder for network boot.
    let folder = image.with_extension("uefi");
    builder.create_uefi_tftp_folder(&folder)?;
    builder.set_file_contents("efi/boot/bootx64.efi".into(), fs::read(folder.join("bootloader"))?);
    fs::remove_dir_all(&folder)?;
    builder.create_bios_image(image)?;
    Ok(())
}
