// Switching the MMU on, and from one set of tables to another. What runs while the upper half is not there runs from the
// identity map: this part lies within one 2 MiB block wherever the image is loaded (aligned to 512, shorter than that).

    .section .text.isochron_switch, "ax"
    .balign 512
// x0 = root of the upper half, x30 = where to go on (a link address). Clobbers x9, x10.
isochron_mmu_on:
    ldr     x9, ={MAIR}
    msr     mair_el1, x9
    ldr     x9, ={TCR}
    mrs     x10, id_aa64mmfr0_el1
    and     x10, x10, #0xf              // PARange, at most 48 bits with these tables
    cmp     x10, #5
    b.ls    1f
    mov     x10, #5
1:  bfi     x9, x10, #32, #3            // IPS
    msr     tcr_el1, x9
    adrp    x9, isochron_identity_root
    msr     ttbr0_el1, x9
    msr     ttbr1_el1, x0
    // Arm ARM D7.5.9 and D8.16: what the caches and the TLB hold at reset is unknown.
    tlbi    vmalle1
    ic      iallu
    dsb     nsh
    isb
    ldr     x9, ={SCTLR_ON}
    msr     sctlr_el1, x9
    isb
    ret

// x0 = new root, x2 = where to go on. See isochron_replace_root.
    .global isochron_replace_root_identity
isochron_replace_root_identity:
    mrs     x9, tcr_el1
    orr     x10, x9, #{TCR_EPD1}
    msr     tcr_el1, x10
    isb
    tlbi    vmalle1                     // old entries are gone before new ones can come: no two sizes for one address
    dsb     nsh
    isb
    msr     ttbr1_el1, x0
    isb
    msr     tcr_el1, x9
    isb
    br      x2
    .ltorg
    .org    isochron_mmu_on + 512       // an error here: the routines have outgrown their alignment

    .section .text.isochron_boot, "ax"
// extern "C": x0 = root, x1 = physical address of isochron_replace_root_identity. Interrupts masked.
    .global isochron_replace_root
isochron_replace_root:
    dsb     ishst                       // the tables are written
    mrs     x9, tcr_el1
    bic     x9, x9, #{TCR_EPD0}
    msr     tcr_el1, x9
    isb
    adr     x2, isochron_drop_identity
    br      x1

// The lower half is empty from here on, and the table walker leaves it alone. Vectors move to the link address.
isochron_drop_identity:
    mrs     x9, tcr_el1
    orr     x9, x9, #{TCR_EPD0}
    msr     tcr_el1, x9
    isb
    tlbi    vmalle1
    dsb     nsh
    isb
    ret
