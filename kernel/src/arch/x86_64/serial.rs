//! The console's bytes: a 16550 behind I/O ports (National Semiconductor PC16550D).

use super::io;
use crate::machine::{Machine, Uart};
use core::sync::atomic::{AtomicU16, AtomicU32, Ordering};

/// Offsets of the registers from the first port.
const DATA: u16 = 0;
const INTERRUPT_ENABLE: u16 = 1;
const FIFO_CONTROL: u16 = 2;
const LINE_CONTROL: u16 = 3;
const MODEM_CONTROL: u16 = 4;
const LINE_STATUS: u16 = 5;
const SCRATCH: u16 = 7;

/// 8 data bits, no parity, 1 stop bit; the same with the divisor latch open.
const LINE_8N1: u8 = 0x03;
const LINE_DIVISOR: u8 = 0x83;
/// FIFOs on and emptied.
const FIFO_ON: u8 = 0x07;
/// Terminal ready, request to send.
const MODEM_READY: u8 = 0x03;
/// The transmit FIFO is empty.
const TRANSMIT_EMPTY: u8 = 1 << 5;
/// Bytes that the empty FIFO takes.
const FIFO_LEN: usize = 16;

/// Times the status is read before a burst is dropped. An access takes about a microsecond on a real bus, and 16 bytes
/// at 115200 baud take 1.4 ms.
const PATIENCE: u32 = 20_000;

/// The first port; 0: there is none.
static PORT: AtomicU16 = AtomicU16::new(0);
/// Status reads that the next burst may wait for. After a burst that was dropped it is small, until one goes out: a
/// port that is stuck costs its whole patience once.
static PATIENCE_NOW: AtomicU32 = AtomicU32::new(PATIENCE);

/// Sets the port to 115200 baud, 8N1. If nothing answers there, [`write`] does nothing.
///
/// # Safety
/// Once, on the primary CPU.
pub unsafe fn init(machine: &Machine) {
    let Some(Uart::Ns16550Port { port }) = machine.uart else { return };
    // SAFETY: these are a 16550's ports, or nobody's.
    unsafe {
        for probe in [0xa5, 0x5a] {
            io::out_u8(port + SCRATCH, probe);
            if io::in_u8(port + SCRATCH) != probe {
                return;
            }
        }
        io::out_u8(port + INTERRUPT_ENABLE, 0);
        io::out_u8(port + LINE_CONTROL, LINE_DIVISOR);
        io::out_u8(port + DATA, 1); // 115200 baud
        io::out_u8(port + INTERRUPT_ENABLE, 0);
        io::out_u8(port + LINE_CONTROL, LINE_8N1);
        io::out_u8(port + FIFO_CONTROL, FIFO_ON);
        io::out_u8(port + MODEM_CONTROL, MODEM_READY);
    }
    PORT.store(port, Ordering::Relaxed);
}

/// Writes bytes. It takes no lock, and drops bytes rather than wait for ever.
pub fn write(bytes: &[u8]) {
    let port = PORT.load(Ordering::Relaxed);
    if port == 0 {
        return;
    }
    for burst in bytes.chunks(FIFO_LEN) {
        let patience = PATIENCE_NOW.load(Ordering::Relaxed);
        // SAFETY: `init` found a 16550 here. Reading its status changes nothing that is used.
        let ready = (0..patience).any(|_| unsafe { io::in_u8(port + LINE_STATUS) } & TRANSMIT_EMPTY != 0);
        PATIENCE_NOW.store(if ready { PATIENCE } else { 1 }, Ordering::Relaxed);
        if ready {
            for byte in burst {
                // SAFETY: as above: the empty FIFO takes a whole burst.
                unsafe { io::out_u8(port + DATA, *byte) }
            }
        }
    }
}
