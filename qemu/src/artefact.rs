//! From cargo's ELF file to what a machine boots.

use crate::error::Error;
use crate::machine::Arch;
use object::elf::{FileHeader64, PT_LOAD, PT_NOTE};
use object::read::elf::{FileHeader, ProgramHeader};
use object::{Endianness, LittleEndian};
use std::fs;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::UNIX_EPOCH;

/// What is booted, and where its symbols are.
#[derive(Clone, Debug)]
pub struct Artefact {
    /// The file the machine loads.
    pub boot: PathBuf,
    /// The ELF file with symbols.
    pub elf: PathBuf,
    /// Bytes of the file the machine loads: no symbols in it.
    pub image_size: u64,
}

/// The largest image that is believed: more means broken program headers.
const MAX_IMAGE: u64 = 1 << 30;

/// The ELF header's size, and where the three fields about sections are in it.
const HEADER: usize = 64;

/// Makes the bootable file in `dir`, unless it is there already for this very ELF.
///
/// # Errors
/// [`Error::Io`] if a file cannot be read or written, [`Error::Corrupt`] if the ELF is not one for `arch`.
pub fn make(elf: &Path, arch: Arch, dir: &Path) -> Result<Artefact, Error> {
    let boot = dir.join(match arch {
        Arch::Aarch64 => "kernel.img",
        Arch::X86_64 => "kernel.elf",
    });
    let about = fs::metadata(elf).map_err(Error::io("read", elf))?;
    let age = about.modified().ok().and_then(|t| t.duration_since(UNIX_EPOCH).ok()).map_or(0, |d| d.as_nanos());
    let stamp_path = dir.join("kernel.stamp");
    let made = |size: u64| format!("{} {age} {size}\n", about.len());
    if let (Ok(stamp), Ok(there)) = (fs::read_to_string(&stamp_path), fs::metadata(&boot))
        && stamp == made(there.len())
    {
        return Ok(Artefact { boot, elf: elf.to_path_buf(), image_size: there.len() });
    }
    let data = fs::read(elf).map_err(Error::io("read", elf))?;
    let image = match arch {
        Arch::Aarch64 => flat_image(&data),
        Arch::X86_64 => without_symbols(&data),
    };
    let image = image.map_err(|why| Error::Corrupt { path: elf.to_path_buf(), why })?;
    write_whole(&boot, &image)?;
    write_whole(&stamp_path, made(image.len() as u64).as_bytes())?;
    Ok(Artefact { boot, elf: elf.to_path_buf(), image_size: image.len() as u64 })
}

/// Writes a file so that nobody ever sees half of it.
///
/// # Errors
/// [`Error::Io`] naming the file.
pub fn write_whole(path: &Path, data: &[u8]) -> Result<(), Error> {
    let mut name = path.file_name().unwrap_or_default().to_os_string();
    // Several threads may make the same file at once.
    static COUNT: AtomicUsize = AtomicUsize::new(0);
    // Relaxed: only the number must be new.
    name.push(format!(".{}-{}.part", std::process::id(), COUNT.fetch_add(1, Ordering::Relaxed)));
    let part = path.with_file_name(name);
    let written = fs::write(&part, data).and_then(|()| fs::rename(&part, path));
    written.map_err(|source| {
        // What is left of it only takes room.
        let _ = fs::remove_file(&part);
        Error::io("write", path)(source)
    })
}

/// Writes a report for programs where the user wants it: a file is never seen half written; what is no plain file (a device, a
/// pipe, a link such as `/dev/stdout`) is written to and stays what it is.
///
/// # Errors
/// [`Error::Io`] naming the place.
pub fn write_json(path: &Path, value: &serde_json::Value) -> Result<(), Error> {
    let mut text = serde_json::to_string_pretty(value).unwrap_or_default();
    text.push('\n');
    if path == Path::new("/dev/stdout") {
        // Opened by its name, a file that the output goes to would begin anew.
        return io::stdout().write_all(text.as_bytes()).map_err(Error::io("write", path));
    }
    match fs::symlink_metadata(path) {
        Ok(about) if !about.is_file() => fs::write(path, text).map_err(Error::io("write", path)),
        _ => write_whole(path, text.as_bytes()),
    }
}

/// One loadable segment: physical address, bytes in the file, bytes in memory.
struct Segment<'a> {
    at: u64,
    data: &'a [u8],
}

fn segments(data: &[u8]) -> Result<Vec<Segment<'_>>, String> {
    let broken = |e: object::read::Error| e.to_string();
    let header = FileHeader64::<LittleEndian>::parse(data).map_err(broken)?;
    let endian = header.endian().map_err(broken)?;
    let mut found = Vec::new();
    for program in header.program_headers(endian, data).map_err(broken)? {
        if program.p_type(endian) == PT_LOAD && program.p_filesz(endian) > 0 {
            let data = program.data(endian, data).map_err(|()| "a segment lies outside the file (cut short?)")?;
            found.push(Segment { at: program.p_paddr(endian), data });
        }
    }
    if found.is_empty() { Err("nothing to load in it".into()) } else { Ok(found) }
}

/// A flat image: every segment at its physical address, counted from the lowest. The `Image` header is part of the
/// kernel itself, so that the file starts with it.
///
/// # Errors
/// What is wrong with the ELF.
pub fn flat_image(elf: &[u8]) -> Result<Vec<u8>, String> {
    let segments = segments(elf)?;
    let base = segments.iter().map(|s| s.at).min().unwrap_or(0);
    let end = segments.iter().map(|s| s.at.saturating_add(s.data.len() as u64)).max().unwrap_or(0);
    if end - base > MAX_IMAGE {
        return Err(format!("its segments are {} MiB apart", (end - base) >> 20));
    }
    let mut image = vec![0; (end - base) as usize];
    for segment in segments {
        let at = (segment.at - base) as usize;
        image[at..at + segment.data.len()].copy_from_slice(segment.data);
    }
    // Linux's `Image` header: the magic number at byte 56 (Documentation/arch/arm64/booting.rst).
    if image.get(56..60) != Some(b"ARM\x64") {
        return Err("it does not start with an ARM64 Image header".into());
    }
    Ok(image)
}

/// The same ELF up to the end of its last segment, without section headers: what `-kernel` needs and no more.
///
/// # Errors
/// What is wrong with the ELF.
pub fn without_symbols(elf: &[u8]) -> Result<Vec<u8>, String> {
    segments(elf)?;
    let broken = |e: object::read::Error| e.to_string();
    let header = FileHeader64::<Endianness>::parse(elf).map_err(broken)?;
    let endian = header.endian().map_err(broken)?;
    let mut end =
        header.e_phoff(endian) + u64::from(header.e_phnum.get(endian)) * u64::from(header.e_phentsize.get(endian));
    for program in header.program_headers(endian, elf).map_err(broken)? {
        if matches!(program.p_type(endian), PT_LOAD | PT_NOTE) {
            let (at, size) = program.file_range(endian);
            end = end.max(at + size);
        }
    }
    let mut image = elf.get(..end as usize).ok_or("it is cut short")?.to_vec();
    // e_shoff, then e_shentsize, e_shnum, e_shstrndx (System V ABI, "ELF Header").
    image[0x28..0x30].fill(0);
    image[0x3a..HEADER].fill(0);
    Ok(image)
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// A little ELF file with the given segments (physical address, bytes) and some symbols' worth of bytes after them.
    pub(crate) fn elf(segments: &[(u64, &[u8])]) -> Vec<u8> {
        let mut file = vec![0u8; HEADER + 56 * segments.len()];
        file[..7].copy_from_slice(b"\x7fELF\x02\x01\x01");
        file[0x10] = 2;
        file[0x12] = 183;
        file[0x14] = 1;
        file[0x20] = HEADER as u8;
        file[0x28..0x30].copy_from_slice(&0x4000u64.to_le_bytes());
        file[0x34] = HEADER as u8;
        file[0x36] = 56;
        file[0x38] = segments.len() as u8;
        file[0x3a] = 64;
        file[0x3c] = 5;
        for (index, (at, data)) in segments.iter().enumerate() {
            let offset = file.len() as u64;
            let entry = HEADER + 56 * index;
            file[entry] = 1;
            for (place, value) in
                [(8, offset), (16, *at), (24, *at), (32, data.len() as u64), (40, data.len() as u64 + 64)]
            {
                file[entry + place..entry + place + 8].copy_from_slice(&value.to_le_bytes());
            }
            file.extend_from_slice(data);
        }
        file.extend_from_slice(&[0xee; 500]);
        file
    }

    fn head() -> Vec<u8> {
        let mut head = vec![1u8; 64];
        head[56..60].copy_from_slice(b"ARM\x64");
        head
    }

    #[test]
    fn segments_land_at_their_addresses() {
        let image = flat_image(&elf(&[(0x4020_0100, b"data"), (0x4020_0000, &head())])).unwrap();
        assert_eq!(image.len(), 0x104);
        assert_eq!(&image[..64], head());
        assert!(image[64..0x100].iter().all(|b| *b == 0));
        assert_eq!(&image[0x100..], b"data");
    }

    #[test]
    fn corrupt_files_are_told() {
        let whole = elf(&[(0, &head())]);
        for cut in [0, 3, 40, 70, 150] {
            assert!(flat_image(&whole[..cut]).is_err() && without_symbols(&whole[..cut]).is_err(), "{cut}");
        }
        assert!(
            flat_image(&elf(&[(0, b"no header here, but long enough to look for one in the first 64 bytes")])).is_err()
        );
        assert!(flat_image(&elf(&[(0, &head()), (1 << 40, b"far")])).unwrap_err().contains("apart"));
    }

    #[test]
    fn symbols_go_and_segments_stay() {
        let whole = elf(&[(0x20_0000, b"code"), (0x20_1000, b"data")]);
        let lean = without_symbols(&whole).unwrap();
        assert_eq!(lean.len(), whole.len() - 500);
        assert_eq!(segments(&lean).unwrap().len(), 2);
        assert_eq!(&lean[0x28..0x30], &[0; 8]);
    }

    #[test]
    fn made_once_and_again_when_the_elf_changed() {
        let dir = std::env::temp_dir().join(format!("isochron-artefact-{}", std::process::id()));
        fs::create_dir_all(&dir).unwrap();
        let path = dir.join("hello");
        fs::write(&path, elf(&[(0, &head())])).unwrap();
        let first = make(&path, Arch::Aarch64, &dir).unwrap();
        assert_eq!(first.image_size, 64);
        let age = || fs::metadata(dir.join("kernel.img")).unwrap().modified().unwrap();
        let before = age();
        make(&path, Arch::Aarch64, &dir).unwrap();
        assert_eq!(age(), before);
        // A cut artefact is made again, and so is one of another ELF.
        fs::write(dir.join("kernel.img"), b"cut").unwrap();
        assert_eq!(make(&path, Arch::Aarch64, &dir).unwrap().image_size, 64);
        fs::write(&path, elf(&[(0, &head()), (64, b"more")])).unwrap();
        assert_eq!(make(&path, Arch::Aarch64, &dir).unwrap().image_size, 68);
        fs::remove_dir_all(&dir).unwrap();
    }

    #[test]
    fn a_full_disk_is_one_line_with_the_path() {
        if Path::new("/dev/full").exists() {
            let error = write_whole(Path::new("/proc/isochron"), b"x").unwrap_err().to_string();
            assert!(error.contains("/proc/isochron") && error.lines().count() == 1, "{error}");
        }
    }
}
