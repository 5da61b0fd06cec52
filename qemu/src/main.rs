//! `isochron`: see the library.

fn main() -> std::process::ExitCode {
    isochron_qemu::main(std::env::args_os()).into()
}
