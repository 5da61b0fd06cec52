//! From the kernel's hand-over to the program's `main`, and from its return to the end of the machine.

use crate::thread::Builder;
use crate::{kernel, worker};
use core::fmt::Debug;
use isochron_kernel::cmdline::{Words, split};

/// Bytes of the main thread's stack.
pub const MAIN_STACK_SIZE: usize = 128 * 1024;

/// What `main` may return.
pub trait Termination {
    /// The code that the machine ends with.
    fn report(self) -> u8;
}

impl Termination for () {
    fn report(self) -> u8 {
        kernel::wire::exit::PASSED
    }
}

impl Termination for u8 {
    fn report(self) -> u8 {
        self
    }
}

impl<T: Termination, E: Debug> Termination for Result<T, E> {
    fn report(self) -> u8 {
        match self {
            Ok(value) => value.report(),
            Err(error) => {
                crate::println!("Error: {error:?}");
                kernel::wire::exit::FAILED
            }
        }
    }
}

unsafe extern "Rust" {
    /// Made by `#[isochron::main]`.
    safe fn __isochron_user_main() -> u8;
}

/// What `#[isochron::main]` calls: tells the host who begins, and runs `main`.
#[doc(hidden)]
pub fn run<T: Termination>(name: &'static str, main: fn() -> T) -> u8 {
    let entered = kernel::arch::clock::ticks();
    kernel::report::start(name, entered);
    main().report()
}

/// The primary CPU's first act: a thread for `main`, then work like every other CPU.
pub(crate) fn primary() -> ! {
    #[cfg(feature = "trace")]
    crate::trace::begin_if_asked();
    let main = Builder::new().name("main").stack_size(MAIN_STACK_SIZE).spawn(|| {
        crate::thread::this_is_main();
        // Its end is the program's: it is not to die because its stack cannot grow.
        crate::thread::back_stack().expect("the main thread has no memory for its stack");
        let code = __isochron_user_main();
        kernel::exit::exit(code)
    });
    match main {
        Ok(handle) => handle.detach(),
        Err(error) => panic!("the main thread cannot be made: {error}"),
    }
    worker::Worker::this().run()
}

/// The program's arguments: what stood behind `--` on the command line.
///
/// Separated by blanks; double quotes hold blanks together.
#[must_use]
pub fn args() -> Words<'static> {
    split(kernel::arguments())
}
