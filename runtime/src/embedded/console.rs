//! The console as `embedded-io` has it: to write to. There is no console input in this system, so there is no `Read`.

use core::convert::Infallible;
use embedded_io::{ErrorType, Write};
use isochron_kernel::console;

/// The console, for libraries that write by `embedded-io` or `embedded-io-async`.
///
/// What one call writes stays together. It is out when the call returns: nothing is kept back, and the asynchronous `write` never
/// waits.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Console;

/// The most that goes out under one lock, with interrupts masked.
const MOST: usize = 256;

impl ErrorType for Console {
    type Error = Infallible;
}

impl Write for Console {
    fn write(&mut self, bytes: &[u8]) -> Result<usize, Infallible> {
        let count = bytes.len().min(MOST);
        console::lock().write_bytes(&bytes[..count]);
        Ok(count)
    }

    fn flush(&mut self) -> Result<(), Infallible> {
        Ok(())
    }
}

impl embedded_io_async::Write for Console {
    async fn write(&mut self, bytes: &[u8]) -> Result<usize, Infallible> {
        Write::write(self, bytes)
    }

    async fn flush(&mut self) -> Result<(), Infallible> {
        Ok(())
    }
}
