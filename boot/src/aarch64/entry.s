// The first instructions. Linux boot protocol: MMU and data cache off, x0 = physical address of the device tree.
//
// Registers that live through the whole of the primary's boot:
//   x19 counter at entry     x20 device tree (physical)     x21 exception level at entry
//   x22 image (physical)     x23 what is wrong with the device tree     x27 fix-up address (see vectors.s)
//   x28 next free page table (tables.s)

    .section .head.text, "ax"
    .global isochron_entry
isochron_entry:
    mrs     x19, cntvct_el0             // code0
    b       isochron_primary            // code1
    .quad   0                           // text_offset: the start of RAM (any multiple of 4 KiB does)
    .quad   __image_size                // image_size: with the memory that is zeroed
    .quad   0xa                         // flags: little-endian, 4 KiB pages, anywhere in memory
    .quad   0, 0, 0
    .ascii  "ARM\x64"
    .long   0

isochron_primary:
    mov     x20, x0
    bl      isochron_to_el1
    adrp    x22, __image_start
    bl      isochron_lacks_lse
    b.lo    isochron_refuse

    // Is there a device tree? It is read with the MMU off: a mapping of an address that nobody has vouched for would let
    // the CPU read ahead there. An abort of the read ends at 9: below.
    mov     x23, #{PROBLEM_ABSENT}
    cbz     x20, 9f
    mov     x23, #{PROBLEM_ALIGNMENT}
    tst     x20, #7
    b.ne    9f
    mov     x23, #{PROBLEM_RANGE}
    mrs     x9, id_aa64mmfr0_el1        // PARange
    and     x9, x9, #0xf
    adr     x10, 8f
    ldrb    w10, [x10, x9]
    lsr     x10, x20, x10
    cbnz    x10, 9f

    adr     x27, 1f                     // an SError that was pending before is not the device tree's
    msr     daifclr, #4
    isb
1:  msr     daifset, #0xf
    mov     x23, #{PROBLEM_ABORT}
    adr     x27, 9f
    msr     daifclr, #4                 // a bus error may come as an SError as well
    ldr     w9, [x20]
    ldr     w10, [x20, #4]
    dsb     sy
    isb
    msr     daifset, #0xf
    mov     x27, xzr

    mov     x23, #{PROBLEM_MAGIC}
    rev     w9, w9
    ldr     w11, =0xd00dfeed
    cmp     w9, w11
    b.ne    9f
    mov     x23, #{PROBLEM_SIZE}
    rev     w10, w10
    cmp     w10, #40                    // its header
    b.lo    9f
    mov     w11, #{MAX_DEVICE_TREE}
    cmp     w10, w11
    b.hi    9f
    mov     x23, #{PROBLEM_OVERLAP}
    add     x11, x20, x10               // its end
    adrp    x12, __image_end
    cmp     x11, x22
    ccmp    x20, x12, #2, hi            // carry set (no overlap) if it ends at or below the image's start
    b.lo    9f
    mov     x23, #{PROBLEM_NONE}
    b       2f
    // Bits of a physical address by PARange, at most what the direct map shows (64 TiB).
8:  .byte   32, 36, 40, 42, 44, 46, 46, 46, 46, 46, 46, 46, 46, 46, 46, 46
9:  msr     daifset, #0xf
    mov     x20, xzr
    mov     x11, xzr
2:
    bl      isochron_first_tables       // x20..x11 = device tree; answers x0 = root of the upper half
    ldr     x30, =3f
    b       isochron_mmu_on

    // From here at the link address, caches on.
3:  bl      isochron_drop_identity
    ldr     x0, =__bss_start
    ldr     x1, =__bss_end
    mrs     x9, dczid_el0               // blocks of 4 << BS bytes, at most 2 KiB; bit 4: not allowed
    tbnz    x9, #4, 5f
    and     x9, x9, #0xf
    mov     x10, #4
    lsl     x10, x10, x9
4:  cmp     x0, x1
    b.hs    6f
    dc      zva, x0
    add     x0, x0, x10
    b       4b
5:  cmp     x0, x1
    b.hs    6f
    stp     xzr, xzr, [x0], #16
    stp     xzr, xzr, [x0], #16
    b       5b
6:
    msr     spsel, #0
    ldr     x9, =isochron_boot_stack + {STACK_SIZE}
    mov     sp, x9
    mov     x29, xzr                    // the end of the frame-pointer chain
    mov     x30, xzr
    mov     x0, x20
    mov     x1, x23
    mov     x2, x19
    mov     x3, x21
    mov     x4, x22
    b       isochron_hand_off
    .ltorg

    // A secondary CPU, from PSCI CPU_ON or out of a spin table, in the same state as the primary at its entry. It finds
    // its slot by its own number: a spin table passes nothing on. The slots were cleaned to memory by who wrote them.
    .global isochron_secondary_entry
isochron_secondary_entry:
    bl      isochron_to_el1
    bl      isochron_lacks_lse
    b.lo    isochron_park
    mrs     x9, mpidr_el1
    ldr     x10, =0xff00ffffff          // Aff3, Aff2, Aff1, Aff0
    and     x9, x9, x10
    adrp    x24, {SLOTS}
    add     x24, x24, :lo12:{SLOTS}
    adrp    x11, {SLOTS_USED}
    ldr     x11, [x11, :lo12:{SLOTS_USED}]
    cbz     x11, isochron_park
1:  ldp     x12, x0, [x24]              // number, root
    cmp     x12, x9
    b.eq    2f
    add     x24, x24, #{SLOT_SIZE}
    subs    x11, x11, #1
    b.ne    1b
    b       isochron_park               // nobody called it
2:  ldp     x25, x26, [x24, #16]        // stack, entry
    ldr     x24, [x24, #32]             // argument
    ldr     x30, =3f
    b       isochron_mmu_on
3:  bl      isochron_drop_identity
    msr     spsel, #0
    mov     sp, x25
    mov     x29, xzr
    mov     x30, xzr
    mov     x0, x24
    br      x26
    .ltorg

    .section .bss.isochron_boot_stack, "aw", %nobits
    .balign 16

isochron_boot_stack:
    .skip   {STACK_SIZE}
