//! This CPU's APIC id, before any interrupt controller is set up.

use core::arch::x86_64::{__cpuid, __cpuid_count};

/// The id by which the firmware's tables name this CPU: 32 bits where CPUID leaf 0xb exists (Intel SDM vol. 2,
/// "CPUID", leaf 0x0b), else 8 bits.
#[must_use]
pub fn apic_id() -> u64 {
    if __cpuid(0).eax >= 0xb {
        let topology = __cpuid_count(0xb, 0);
        if topology.ebx != 0 {
            return u64::from(topology.edx);
        }
    }
    u64::from(__cpuid(1).ebx >> 24)
}
