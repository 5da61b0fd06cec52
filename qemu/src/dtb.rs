//! The device tree of a Raspberry Pi 4 as QEMU models it.
//!
//! On the board the firmware hands over its own; QEMU's `raspi4b` hands over none unless it is given one. This one says
//! what the firmware's would say about the parts that QEMU has. QEMU itself adds the kernel command line, and replaces
//! the memory nodes.

use vm_fdt::{FdtWriter, FdtWriterResult};

/// Where secondary CPU number 0 would wait; each further CPU 8 bytes on.
const SPIN_TABLE: u64 = 0xd8;
/// Memory up to the part that the graphics processor keeps.
const LOW_MEMORY: u64 = 0x3c00_0000;
/// The GIC-400's number for itself in `interrupt-parent`.
const GIC: u32 = 1;

/// The blob for `cpus` CPUs (1 to 4) and 2 GiB of memory.
///
/// # Errors
/// What the writer refuses; with these constant contents, nothing.
pub fn raspi4b(cpus: u32) -> FdtWriterResult<Vec<u8>> {
    let mut fdt = FdtWriter::new()?;
    let root = fdt.begin_node("")?;
    fdt.property_string_list("compatible", vec!["raspberrypi,4-model-b".into(), "brcm,bcm2711".into()])?;
    fdt.property_string("model", "Raspberry Pi 4 Model B")?;
    fdt.property_u32("#address-cells", 2)?;
    fdt.property_u32("#size-cells", 2)?;
    fdt.property_u32("interrupt-parent", GIC)?;

    let node = fdt.begin_node("chosen")?;
    fdt.property_string("stdout-path", "/serial@fe201000:115200n8")?;
    fdt.end_node(node)?;

    for (at, size) in [(0, LOW_MEMORY), (0x4000_0000, 0x4000_0000)] {
        let node = fdt.begin_node(&format!("memory@{at:x}"))?;
        fdt.property_string("device_type", "memory")?;
        fdt.property_array_u64("reg", &[at, size])?;
        fdt.end_node(node)?;
    }

    let all = fdt.begin_node("cpus")?;
    fdt.property_u32("#address-cells", 1)?;
    fdt.property_u32("#size-cells", 0)?;
    for cpu in 0..cpus {
        let node = fdt.begin_node(&format!("cpu@{cpu}"))?;
        fdt.property_string("device_type", "cpu")?;
        fdt.property_string("compatible", "arm,cortex-a72")?;
        fdt.property_u32("reg", cpu)?;
        fdt.property_string("enable-method", "spin-table")?;
        fdt.property_u64("cpu-release-addr", SPIN_TABLE + u64::from(cpu) * 8)?;
        fdt.end_node(node)?;
    }
    fdt.end_node(all)?;

    let node = fdt.begin_node("timer")?;
    fdt.property_string("compatible", "arm,armv8-timer")?;
    // PPIs, active low: secure physical, physical, virtual, hypervisor.
    fdt.property_array_u32("interrupts", &[1, 13, 0xf08, 1, 14, 0xf08, 1, 11, 0xf08, 1, 10, 0xf08])?;
    fdt.end_node(node)?;

    let node = fdt.begin_node("interrupt-controller@ff841000")?;
    fdt.property_string("compatible", "arm,gic-400")?;
    fdt.property_null("interrupt-controller")?;
    fdt.property_u32("#interrupt-cells", 3)?;
    fdt.property_array_u64("reg", &[0xff84_1000, 0x1000, 0xff84_2000, 0x2000])?;
    fdt.property_phandle(GIC)?;
    fdt.end_node(node)?;

    let node = fdt.begin_node("serial@fe201000")?;
    fdt.property_string_list("compatible", vec!["arm,pl011".into(), "arm,primecell".into()])?;
    fdt.property_array_u64("reg", &[0xfe20_1000, 0x200])?;
    // SPI 121, level high.
    fdt.property_array_u32("interrupts", &[0, 121, 4])?;
    fdt.end_node(node)?;

    fdt.end_node(root)?;
    fdt.finish()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn word(blob: &[u8], at: usize) -> u32 {
        u32::from_be_bytes(blob[at..at + 4].try_into().unwrap())
    }

    /// Every property with the path of its node, read back by the format's own description (Devicetree Specification,
    /// "Flattened Devicetree (DTB) Format").
    fn properties(blob: &[u8]) -> Vec<(String, Vec<u8>)> {
        assert_eq!(word(blob, 0), 0xd00d_feed);
        assert_eq!(word(blob, 4) as usize, blob.len());
        let (mut at, strings) = (word(blob, 8) as usize, word(blob, 12) as usize);
        let text = |at: usize| String::from_utf8(blob[at..].iter().copied().take_while(|b| *b != 0).collect()).unwrap();
        let (mut path, mut found) = (Vec::<String>::new(), Vec::new());
        loop {
            let token = word(blob, at);
            at += 4;
            match token {
                1 => {
                    let name = text(at);
                    at += (name.len() + 4) & !3;
                    path.push(name);
                }
                2 => drop(path.pop()),
                3 => {
                    let (len, name) = (word(blob, at) as usize, text(strings + word(blob, at + 4) as usize));
                    found.push((format!("{}/{name}", path.join("/")), blob[at + 8..at + 8 + len].to_vec()));
                    at += 8 + ((len + 3) & !3);
                }
                9 => return found,
                _ => panic!("token {token} at {at}"),
            }
        }
    }

    #[test]
    fn reads_back() {
        for cpus in 1..=4 {
            let all = properties(&raspi4b(cpus).unwrap());
            let get = |name: &str| all.iter().find(|(n, _)| n == name).map(|(_, v)| v.clone());
            assert_eq!(all.iter().filter(|(n, _)| n.ends_with("/cpu-release-addr")).count(), cpus as usize);
            let last = get(&format!("/cpus/cpu@{}/cpu-release-addr", cpus - 1)).unwrap();
            assert_eq!(last, (0xd8 + 8 * (u64::from(cpus) - 1)).to_be_bytes());
            assert_eq!(get("/serial@fe201000/reg").unwrap(), [0, 0, 0, 0, 0xfe, 0x20, 0x10, 0, 0, 0, 0, 0, 0, 0, 2, 0]);
            assert_eq!(get("/interrupt-controller@ff841000/compatible").unwrap(), b"arm,gic-400\0");
            assert_eq!(get("/cpus/cpu@0/enable-method").unwrap(), b"spin-table\0");
            assert!(get(&format!("/cpus/cpu@{cpus}/reg")).is_none());
        }
    }
}
