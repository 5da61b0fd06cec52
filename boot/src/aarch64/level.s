// To EL1, from EL2 or EL1; the caller goes on at EL1 with the MMU off. x21 = the level at entry; x19 (a reading of
// CNTVCT_EL0 made at entry) is put on the scale that EL1 will see. Clobbers x9, x10.

    .section .text.isochron_boot, "ax"
isochron_to_el1:
    msr     daifset, #0xf
    ldr     x10, ={SCTLR_OFF}
    mrs     x9, CurrentEL
    lsr     x21, x9, #2
    cmp     x21, #1
    b.eq    1f
    cmp     x21, #2
    b.ne    isochron_park               // EL3 is the firmware's

    mrs     x9, hcr_el2
    tbnz    x9, #34, 2f                 // E2H: the reading was made without the offset
    mrs     x9, cntvoff_el2
    add     x19, x19, x9
2:  mov     x9, #(1 << 31)              // RW: EL1 is AArch64. No second stage, no traps, E2H and TGE off
    msr     hcr_el2, x9
    isb                                 // the layout of the next two depends on E2H
    mov     x9, #3                      // EL1PCEN, EL1PCTEN: the physical counter and timer do not trap
    msr     cnthctl_el2, x9
    mov     x9, #0x33ff                 // RES1 bits; FP and SIMD do not trap, SVE and SME do
    msr     cptr_el2, x9
    msr     cntvoff_el2, xzr            // virtual time is physical time, on every CPU
    msr     hstr_el2, xzr
    msr     vttbr_el2, xzr              // the VMID tags EL1's TLB entries even without a second stage: one for all CPUs
    mrs     x9, id_aa64dfr0_el1         // HPMN: all event counters belong to EL1, if there are any
    ubfx    x9, x9, #8, #4
    cbz     x9, 3f
    cmp     x9, #0xf
    mov     x9, xzr
    b.eq    3f
    mrs     x9, pmcr_el0
    ubfx    x9, x9, #11, #5
3:  msr     mdcr_el2, x9
    mrs     x9, id_aa64pfr0_el1
    ubfx    x9, x9, #24, #4             // GIC system registers
    cbz     x9, 4f
    mrs     x9, icc_sre_el2
    orr     x9, x9, #1                  // SRE: system registers here,
    orr     x9, x9, #8                  // Enable: and for EL1
    msr     icc_sre_el2, x9
    isb
    mrs     x9, icc_sre_el2
    tbz     x9, #0, 4f                  // firmware insists on memory-mapped access
    msr     ich_hcr_el2, xzr
4:  mrs     x9, id_aa64mmfr0_el1
    ubfx    x9, x9, #56, #4             // FGT: fine-grained traps off, their reset values are unknown
    cbz     x9, 5f
    msr     S3_4_C1_C1_4, xzr           // HFGRTR_EL2
    msr     S3_4_C1_C1_5, xzr           // HFGWTR_EL2
    msr     S3_4_C1_C1_6, xzr           // HFGITR_EL2
    msr     S3_4_C3_C1_4, xzr           // HDFGRTR_EL2
    msr     S3_4_C3_C1_5, xzr           // HDFGWTR_EL2
5:  mrs     x9, id_aa64mmfr1_el1
    ubfx    x9, x9, #40, #4             // HCX
    cbz     x9, 6f
    msr     S3_4_C1_C2_2, xzr           // HCRX_EL2
6:  mrs     x9, midr_el1
    msr     vpidr_el2, x9
    mrs     x9, mpidr_el1
    msr     vmpidr_el2, x9
    msr     sctlr_el1, x10
    mov     x9, #0x3c5                  // EL1 on SP_EL1, everything masked
    msr     spsr_el2, x9
    adr     x9, 7f
    msr     elr_el2, x9
    eret

1:  msr     spsel, #1
    msr     sctlr_el1, x10
    isb
7:  adrp    x9, isochron_boot_vectors
    add     x9, x9, :lo12:isochron_boot_vectors
    msr     vbar_el1, x9
    mov     x27, xzr
    mov     x9, #{CPACR}
    msr     cpacr_el1, x9
    msr     mdscr_el1, xzr
    isb
    msr     fpcr, xzr                   // unknown at reset
    msr     fpsr, xzr
    ret
    .ltorg

    .global isochron_park
isochron_park:
    msr     daifset, #0xf
1:  wfe
    b       1b
