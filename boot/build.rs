//! Lets the linker find `isochron.ld`, the linker script of the machine that is built for.
//!
//! A program's own build script passes `-Tisochron.ld` (see `apps/build.rs`); the search path comes from here, so that
//! a program outside this workspace needs no path into it.

use std::env;
use std::path::Path;

fn main() {
    println!("cargo:rerun-if-changed=build.rs");
    // Only bare-metal targets have scripts; the cfg is set in `.cargo/config.toml`.
    if env::var_os("CARGO_CFG_ISOCHRON_BARE").is_none() {
        return;
    }
    let arch = env::var("CARGO_CFG_TARGET_ARCH").expect("cargo names the target's architecture");
    let manifest = env::var("CARGO_MANIFEST_DIR").expect("cargo names the package's folder");
    let scripts = Path::new(&manifest).join("../targets").join(arch);
    println!("cargo:rustc-link-search={}", scripts.display());
    println!("cargo:rerun-if-changed={}", scripts.display());
}
