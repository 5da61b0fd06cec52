//! Links the programs with the machine's linker script, and again when the script changes.

use std::env;

fn main() {
    println!("cargo:rerun-if-changed=build.rs");
    if env::var_os("CARGO_CFG_ISOCHRON_BARE").is_none() {
        return;
    }
    let arch = env::var("CARGO_CFG_TARGET_ARCH").expect("cargo names the target's architecture");
    // The folder is on the linker's search path: `boot/build.rs` puts it there.
    println!("cargo:rustc-link-arg-bins=-Tisochron.ld");
    println!("cargo:rerun-if-changed=../targets/{arch}/isochron.ld");
}
