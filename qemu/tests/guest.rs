//! The test kernels in QEMU, each case inside them as one test: see `isochron_qemu::testing`.

fn main() -> std::process::ExitCode {
    isochron_qemu::testing::harness().into()
}
