// A build with LSE atomics, on a CPU that has none, would end at the first of them in an undefined instruction, before there
// is a console. So the primary says it here, where there is nothing yet: on the UART of the two machines that this image
// is made for, with the MMU off. A secondary without them stays away, and is reported as one that did not come up.

    .section .text.isochron_boot, "ax"
    // Answers "lower" in the flags where this build needs what the CPU lacks. Clobbers x9.
isochron_lacks_lse:
    mov     x9, #2
    .if {LSE}
    mrs     x9, id_aa64isar0_el1
    ubfx    x9, x9, #20, #4             // Atomic: 2 is FEAT_LSE (Arm ARM D19.2.61)
    .endif
    cmp     x9, #2
    ret

    // x22 = the image's physical address.
isochron_refuse:
    .if {LSE}
    ldr     x10, ={UART_VIRT}
    mrs     x9, midr_el1
    ubfx    x9, x9, #4, #12
    cmp     x9, #{PI_CPU_PART}
    b.ne    1f
    lsr     x9, x22, #30                // virt has no RAM below 1 GiB, a Pi 4 starts its kernels there
    cbnz    x9, 1f
    ldr     x10, ={UART_PI}
1:  adr     x11, 4f
2:  ldrb    w9, [x11], #1
    cbz     w9, 3f
    mov     w12, #20000                 // a port that is stuck does not hold up the end
21: ldr     w13, [x10, #0x18]
    tbz     w13, #5, 22f                // the FIFO has room
    subs    w12, w12, #1
    b.ne    21b
22: strb    w9, [x10]
    b       2b
    // Under an emulator this ends the machine; where nobody listens, the exception leads to the parking place.
3:  adr     x27, isochron_park
    mov     x0, #0x20                   // SYS_EXIT_EXTENDED
    adr     x1, 5f
    hlt     #0xf000
    b       isochron_park
    .ltorg
    // For people, and as the record by which the host knows a guest's own end (`Record::Exit` with code 1).
4:  .ascii  "\nThis build uses LSE atomics, which this CPU does not have: boot a CPU with Armv8.1 or later, or build without --lse\n"
    .asciz  "\036exit 1 *f73c428a\n"
    .balign 8
5:  .quad   0x20026, 1                  // ADP_Stopped_ApplicationExit, failed
    .endif
