//! The console's bytes: PL011 (Arm DDI 0183) or the BCM2711's mini UART (BCM2711 ARM Peripherals, 2.2).

use crate::board::{raspi4b, virt};
use crate::machine::{Machine, Uart};
use core::ptr;
use core::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use isochron_boot::layout::direct_map;

/// Looks at the status register before a byte is dropped. At 115,200 baud a byte takes 87 us and a look at a device at least
/// 50 ns, so this is ten bytes' time or more.
const PATIENCE: u32 = 20_000;

/// PL011 registers.
mod pl011 {
    pub const DATA: usize = 0x00;
    pub const FLAGS: usize = 0x18;
    pub const FLAGS_BUSY: u32 = 1 << 3;
    pub const FLAGS_TX_FULL: u32 = 1 << 5;
    pub const DIVISOR: usize = 0x24;
    pub const DIVISOR_FRACTION: usize = 0x28;
    pub const LINE: usize = 0x2c;
    pub const LINE_8N1_FIFO: u32 = 3 << 5 | 1 << 4;
    pub const CONTROL: usize = 0x30;
    pub const CONTROL_ON: u32 = 1 | 1 << 8 | 1 << 9;
    pub const INTERRUPT_MASK: usize = 0x38;
    pub const INTERRUPT_CLEAR: usize = 0x44;
}

/// Mini UART registers, from `AUX_MU_IO_REG`.
mod mini {
    pub const DATA: usize = 0x00;
    pub const STATUS: usize = 0x14;
    pub const STATUS_TX_READY: u32 = 1 << 5;
}

/// The registers, or 0. Bit 0: it is a mini UART.
static BASE: AtomicUsize = AtomicUsize::new(0);
/// A byte was dropped last time: the port is stuck, the next ones do not wait.
static STUCK: AtomicBool = AtomicBool::new(false);

/// Sets the port up.
///
/// # Safety
/// Once, with the registers mapped.
pub unsafe fn init(machine: &Machine) {
    match machine.uart {
        Some(Uart::Pl011 { base }) => {
            let base = direct_map(base).as_usize();
            let clock = if machine.name == raspi4b::NAME { raspi4b::UART_CLOCK_HZ } else { virt::UART_CLOCK_HZ };
            // SAFETY: the caller's.
            unsafe { init_pl011(base, clock) };
            // Release: partner of the acquire in `write`; who finds the port finds it set up.
            BASE.store(base, Ordering::Release);
        }
        // The firmware sets it up (`enable_uart=1`), pins and clock included.
        Some(Uart::MiniUart { base }) => BASE.store(direct_map(base).as_usize() | 1, Ordering::Release),
        Some(Uart::Ns16550Port { .. }) | None => {}
    }
}

/// 8 data bits, no parity, FIFO on, no interrupts. The firmware's divisor stays; if there is none, 115,200 baud.
unsafe fn init_pl011(base: usize, clock: u32) {
    // SAFETY: the caller's; registers of the PL011, in the order that DDI 0183, 3.3.8 asks for.
    unsafe {
        for _ in 0..PATIENCE {
            if read(base, pl011::FLAGS) & pl011::FLAGS_BUSY == 0 {
                break;
            }
        }
        write_register(base, pl011::CONTROL, 0);
        if read(base, pl011::DIVISOR) == 0 {
            // In 64ths of 16 clocks a bit, rounded (DDI 0183, 3.3.6).
            let divisor = (4 * clock + 115_200 / 2) / 115_200;
            write_register(base, pl011::DIVISOR, divisor >> 6);
            write_register(base, pl011::DIVISOR_FRACTION, divisor & 63);
        }
        write_register(base, pl011::LINE, pl011::LINE_8N1_FIFO);
        write_register(base, pl011::INTERRUPT_MASK, 0);
        write_register(base, pl011::INTERRUPT_CLEAR, 0x7ff);
        write_register(base, pl011::CONTROL, pl011::CONTROL_ON);
    }
}

/// Takes no lock; drops bytes rather than wait for ever.
pub fn write(bytes: &[u8]) {
    // Acquire: partner of the release in `init`.
    let base = BASE.load(Ordering::Acquire);
    if base == 0 {
        return;
    }
    let (status, wanted, data) =
        if base & 1 == 0 { (pl011::FLAGS, 0, pl011::DATA) } else { (mini::STATUS, mini::STATUS_TX_READY, mini::DATA) };
    let (base, mask) = if base & 1 == 0 { (base, pl011::FLAGS_TX_FULL) } else { (base & !1, mini::STATUS_TX_READY) };
    for byte in bytes {
        // Relaxed: a hint.
        let patience = if STUCK.load(Ordering::Relaxed) { 1 } else { PATIENCE };
        // SAFETY: `init` found the registers there.
        let ready = (0..patience).any(|_| unsafe { read(base, status) } & mask == wanted);
        STUCK.store(!ready, Ordering::Relaxed);
        if ready {
            // SAFETY: as above.
            unsafe { write_register(base, data, u32::from(*byte)) };
        }
    }
}

unsafe fn read(base: usize, register: usize) -> u32 {
    // SAFETY: the caller names a mapped register.
    unsafe { ptr::read_volatile(ptr::with_exposed_provenance(base + register)) }
}

unsafe fn write_register(base: usize, register: usize, value: u32) {
    // SAFETY: the caller names a mapped register.
    unsafe { ptr::write_volatile(ptr::with_exposed_provenance_mut(base + register), value) }
}
