//! Small trees, built here; then damaged ones.

mod topology;

use super::*;
use crate::machine::StartMethod;
use proptest::prelude::*;
use vm_fdt::{FdtReserveEntry, FdtWriter};

fn range(start: usize, bytes: usize) -> PhysRange {
    PhysRange::with_len(PhysAddr::new(start), bytes)
}

type Edit<'a> = &'a dyn Fn(&mut FdtWriter);

fn node(fdt: &mut FdtWriter, name: &str, fill: Edit<'_>) {
    let node = fdt.begin_node(name).unwrap();
    fill(fdt);
    fdt.end_node(node).unwrap();
}

fn memory(fdt: &mut FdtWriter, name: &str, reg: &[u64]) {
    node(fdt, name, &|fdt| {
        fdt.property_string("device_type", "memory").unwrap();
        fdt.property_array_u64("reg", reg).unwrap();
    });
}

fn cpu(fdt: &mut FdtWriter, id: u32, more: Edit<'_>) {
    node(fdt, &format!("cpu@{id:x}"), &|fdt| {
        fdt.property_string("device_type", "cpu").unwrap();
        fdt.property_u32("reg", id).unwrap();
        more(fdt);
    });
}

fn cpus(fdt: &mut FdtWriter, fill: Edit<'_>) {
    node(fdt, "cpus", &|fdt| {
        fdt.property_u32("#address-cells", 1).unwrap();
        fdt.property_u32("#size-cells", 0).unwrap();
        fill(fdt);
    });
}

fn strings(fdt: &mut FdtWriter, name: &str, values: &[&str]) {
    fdt.property_string_list(name, values.iter().map(|&value| value.into()).collect()).unwrap();
}

fn tree(reserved: &[FdtReserveEntry], fill: Edit<'_>) -> std::vec::Vec<u8> {
    let mut fdt = FdtWriter::new_with_mem_reserv(reserved).unwrap();
    node(&mut fdt, "", &|fdt| {
        fdt.property_u32("#address-cells", 2).unwrap();
        fdt.property_u32("#size-cells", 2).unwrap();
        fill(fdt);
    });
    fdt.finish().unwrap()
}

/// As QEMU's `virt` with a GICv3 and two NUMA nodes describes itself.
fn virt() -> std::vec::Vec<u8> {
    tree(&[], &|fdt| {
        fdt.property_string("compatible", "linux,dummy-virt").unwrap();
        node(fdt, "psci", &|fdt| {
            strings(fdt, "compatible", &["arm,psci-1.0", "arm,psci-0.2", "arm,psci"]);
            fdt.property_string("method", "hvc").unwrap();
        });
        memory(fdt, "memory@40000000", &[0x4000_0000, 0x1000_0000]);
        memory(fdt, "memory@50000000", &[0x5000_0000, 0x1000_0000, 0x1_0000_0000, 0x4000_0000]);
        node(fdt, "intc@8000000", &|fdt| {
            fdt.property_string("compatible", "arm,gic-v3").unwrap();
            fdt.property_u32("#interrupt-cells", 3).unwrap();
            fdt.property_u32("#redistributor-regions", 2).unwrap();
            fdt.property_array_u64("reg", &[0x800_0000, 0x1_0000, 0x80a_0000, 0xf6_0000, 0x40_0000_0000, 0x400_0000])
                .unwrap();
        });
        node(fdt, "timer", &|fdt| {
            strings(fdt, "compatible", &["arm,armv8-timer", "arm,armv7-timer"]);
            fdt.property_array_u32("interrupts", &[1, 13, 4, 1, 14, 4, 1, 11, 4, 1, 10, 4]).unwrap();
        });
        node(fdt, "pl011@9040000", &|fdt| {
            strings(fdt, "compatible", &["arm,pl011", "arm,primecell"]);
            fdt.property_array_u64("reg", &[0x904_0000, 0x1000]).unwrap();
        });
        node(fdt, "pl011@9000000", &|fdt| {
            strings(fdt, "compatible", &["arm,pl011", "arm,primecell"]);
            fdt.property_array_u64("reg", &[0x900_0000, 0x1000]).unwrap();
        });
        cpus(fdt, &|fdt| {
            for id in [0, 1, 0x100] {
                cpu(fdt, id, &|fdt| {
                    fdt.property_string("enable-method", "psci").unwrap();
                    fdt.property_u32("numa-node-id", id >> 8).unwrap();
                });
            }
            cpu(fdt, 0x101, &|fdt| {
                fdt.property_string("enable-method", "psci").unwrap();
                fdt.property_string("status", "disabled").unwrap();
            });
        });
        node(fdt, "chosen", &|fdt| {
            fdt.property_string("stdout-path", "/pl011@9000000").unwrap();
            fdt.property_string("bootargs", "log=debug -- hello").unwrap();
            fdt.property_u32("linux,initrd-start", 0x4800_0000).unwrap();
            fdt.property_u32("linux,initrd-end", 0x4800_1000).unwrap();
        });
    })
}

/// As a Pi 4's firmware does: devices behind a bus, spin tables, an alias with options for the console.
fn raspi4b(stdout: &str) -> std::vec::Vec<u8> {
    tree(&[FdtReserveEntry::new(0, 0x1000).unwrap()], &|fdt| {
        strings(fdt, "compatible", &["raspberrypi,4-model-b", "brcm,bcm2711"]);
        node(fdt, "aliases", &|fdt| {
            fdt.property_string("serial0", "/soc/serial@7e201000").unwrap();
            fdt.property_string("serial1", "/soc/serial@7e215040").unwrap();
        });
        node(fdt, "chosen", &|fdt| fdt.property_string("stdout-path", stdout).unwrap());
        node(fdt, "reserved-memory", &|fdt| {
            fdt.property_u32("#address-cells", 2).unwrap();
            fdt.property_u32("#size-cells", 2).unwrap();
            fdt.property_null("ranges").unwrap();
            node(fdt, "linux,cma", &|fdt| fdt.property_u64("size", 0x400_0000).unwrap());
            node(fdt, "nvram@1", &|fdt| fdt.property_array_u64("reg", &[0x3ef6_0000, 0x1000]).unwrap());
        });
        node(fdt, "soc", &|fdt| {
            fdt.property_string("compatible", "simple-bus").unwrap();
            fdt.property_u32("#address-cells", 1).unwrap();
            fdt.property_u32("#size-cells", 1).unwrap();
            // From 0x7e000000 and 0x40000000, both up into 64 bits.
            fdt.property_array_u32(
                "ranges",
                &[0x7e00_0000, 0, 0xfe00_0000, 0x180_0000, 0x4000_0000, 0, 0xff80_0000, 0x80_0000],
            )
            .unwrap();
            node(fdt, "serial@7e201000", &|fdt| {
                strings(fdt, "compatible", &["arm,pl011", "arm,primecell"]);
                fdt.property_array_u32("reg", &[0x7e20_1000, 0x200]).unwrap();
            });
            node(fdt, "serial@7e215040", &|fdt| {
                fdt.property_string("compatible", "brcm,bcm2835-aux-uart").unwrap();
                fdt.property_array_u32("reg", &[0x7e21_5040, 0x40]).unwrap();
            });
            node(fdt, "interrupt-controller@40041000", &|fdt| {
                fdt.property_string("compatible", "arm,gic-400").unwrap();
                fdt.property_u32("#interrupt-cells", 3).unwrap();
                fdt.property_array_u32("reg", &[0x4004_1000, 0x1000, 0x4004_2000, 0x2000]).unwrap();
            });
        });
        node(fdt, "timer", &|fdt| {
            fdt.property_string("compatible", "arm,armv8-timer").unwrap();
            fdt.property_array_u32("interrupts", &[1, 13, 4, 1, 14, 4, 1, 11, 4, 1, 10, 4]).unwrap();
            fdt.property_u32("clock-frequency", 54_000_000).unwrap();
        });
        memory(fdt, "memory@0", &[0, 0x3b40_0000, 0x4000_0000, 0xbc00_0000]);
        cpus(fdt, &|fdt| {
            for id in 0..4 {
                cpu(fdt, id, &|fdt| {
                    fdt.property_string("enable-method", "spin-table").unwrap();
                    fdt.property_u64("cpu-release-addr", 0xd8 + 8 * u64::from(id)).unwrap();
                });
            }
        });
    })
}

#[test]
fn virt_is_read() {
    let found = parse(&virt()).unwrap();
    assert_eq!(found.board, Some("virt"));
    assert_eq!(
        found.memory,
        [range(0x4000_0000, 0x1000_0000), range(0x5000_0000, 0x1000_0000), range(0x1_0000_0000, 0x4000_0000)]
    );
    assert_eq!(found.reserved, [range(0x4800_0000, 0x1000)]);
    let start = StartMethod::Psci { smc: false };
    assert_eq!(
        found.cpus,
        [(0, 0), (1, 0), (0x100, 1)]
            .map(|(hardware_id, node)| CpuDescription { node, ..CpuDescription::unplaced(hardware_id, start) })
    );
    assert_eq!(found.cpus_left_out, 1);
    let redistributors = [range(0x80a_0000, 0xf6_0000), range(0x40_0000_0000, 0x400_0000)].into_iter().collect();
    assert_eq!(
        found.interrupts,
        Some(InterruptController::GicV3 { distributor: range(0x800_0000, 0x1_0000), redistributors })
    );
    assert_eq!(found.timer_irq, Some(27));
    assert_eq!(found.uart, Some(Uart::Pl011 { base: PhysAddr::new(0x900_0000) }));
    assert_eq!(found.psci, Some(Conduit::Hvc));
    assert_eq!(found.command_line, "log=debug -- hello");
}

#[test]
fn raspi4b_is_read() {
    let found = parse(&raspi4b("serial0:115200n8")).unwrap();
    assert_eq!(found.board, Some("raspi4b"));
    assert_eq!(found.memory, [range(0, 0x3b40_0000), range(0x4000_0000, 0xbc00_0000)]);
    // The first page once, though both the reservation block and the spin table name it.
    assert_eq!(found.reserved, [range(0, 0x1000), range(0x3ef6_0000, 0x1000)]);
    assert_eq!(found.cpus.len(), 4);
    assert_eq!(found.cpus[3].start, StartMethod::SpinTable { release: PhysAddr::new(0xf0) });
    assert_eq!(
        found.interrupts,
        Some(InterruptController::GicV2 {
            distributor: range(0xff84_1000, 0x1000),
            cpu_interface: range(0xff84_2000, 0x2000)
        })
    );
    assert_eq!(found.uart, Some(Uart::Pl011 { base: PhysAddr::new(0xfe20_1000) }));
    assert_eq!(found.timer_hz, Some(54_000_000));
    let built_in = crate::board::raspi4b::BOARD;
    assert!(found.cpus.iter().eq(built_in.cpus), "the built-in data says the same");
    assert_eq!(found.uart, Some(built_in.uart));
}

#[test]
fn console_follows_stdout_path() {
    let mini = Some(Uart::MiniUart { base: PhysAddr::new(0xfe21_5040) });
    assert_eq!(parse(&raspi4b("serial1")).unwrap().uart, mini);
    assert_eq!(parse(&raspi4b("/soc/serial@7e215040:9600")).unwrap().uart, mini);
    // One that leads nowhere: the first port that is known.
    let first = Some(Uart::Pl011 { base: PhysAddr::new(0xfe20_1000) });
    assert_eq!(parse(&raspi4b("/soc/nothing")).unwrap().uart, first);
}

#[test]
fn more_cpus_than_fit_are_counted() {
    let blob = tree(&[], &|fdt| {
        memory(fdt, "memory", &[0, 0x1000]);
        node(fdt, "psci", &|fdt| {
            fdt.property_string("compatible", "arm,psci-0.2").unwrap();
            fdt.property_string("method", "smc").unwrap();
        });
        cpus(fdt, &|fdt| (0..70).for_each(|id| cpu(fdt, id, &|_| {})));
    });
    let found = parse(&blob).unwrap();
    assert_eq!((found.cpus.len(), found.cpus_left_out), (MAX_CPUS, 70 - MAX_CPUS));
    assert_eq!(found.cpus[1].start, StartMethod::Psci { smc: true });
}

#[test]
fn what_is_missing_is_named() {
    assert_eq!(parse(&[]).unwrap_err(), Error::Malformed);
    assert_eq!(parse(&tree(&[], &|_| {})).unwrap_err(), Error::NoMemory);
    assert_eq!(parse(&tree(&[], &|fdt| memory(fdt, "memory", &[0, 0x1000]))).unwrap_err(), Error::NoCpus);
    // Memory that ends past the end of the address space or is empty is none.
    let absurd = tree(&[], &|fdt| memory(fdt, "memory", &[u64::MAX - 0xfff, 0x2000, 0x1000, 0]));
    assert_eq!(parse(&absurd).unwrap_err(), Error::NoMemory);
}

#[test]
fn a_long_command_line_is_cut() {
    let blob = tree(&[], &|fdt| {
        memory(fdt, "memory", &[0, 0x1000]);
        cpus(fdt, &|fdt| cpu(fdt, 0, &|_| {}));
        node(fdt, "chosen", &|fdt| fdt.property_string("bootargs", &"ä".repeat(2000)).unwrap());
    });
    let found = parse(&blob).unwrap();
    assert!(found.command_line_cut && found.command_line.len() <= MAX_COMMAND_LINE);
    assert!(found.command_line.chars().all(|char| char == 'ä'));
}

#[test]
fn every_truncation_is_refused() {
    let blob = virt();
    for length in 0..blob.len() - 1 {
        assert_eq!(parse(&blob[..length]).unwrap_err(), Error::Malformed, "{length} bytes");
    }
}

#[test]
fn deep_nesting_is_left_alone() {
    fn nest(fdt: &mut FdtWriter, depth: usize) {
        node(fdt, "bus", &|fdt| {
            if depth > 0 {
                nest(fdt, depth - 1);
            }
        });
    }
    let blob = tree(&[], &|fdt| {
        memory(fdt, "memory", &[0, 0x1000]);
        cpus(fdt, &|fdt| cpu(fdt, 0, &|_| {}));
        nest(fdt, 40);
    });
    assert!(parse(&blob).is_ok());
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2000, ..ProptestConfig::default() })]

    #[test]
    fn damage_is_never_a_panic(edits in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..12), pi: bool) {
        let mut blob = if pi { raspi4b("serial0") } else { virt() };
        for (index, byte) in edits {
            let index = index.index(blob.len());
            blob[index] = byte;
        }
        let _ = parse(&blob);
    }

    #[test]
    fn noise_is_refused(blob in prop::collection::vec(any::<u8>(), 0..512)) {
        prop_assert!(parse(&blob).is_err());
    }
}
