// The first page tables: enough to run at the link address, to reach table frames inside the image through the direct
// map, and to read the device tree. The kernel builds its own from scratch later.
//
//   lower half  identity, the 2 MiB block of the switch code, read and execute; off again right after the switch
//   upper half  image: 4 KiB pages, each as its section wants it
//               direct map: 2 MiB blocks of the image and of the device tree, read and write
//
// Stores go past the caches while the MMU is off. The lines are dropped before, so that no dirty one is evicted over the
// tables later, and after, so that the walker, which does look into the caches, finds none that was read ahead (Arm ARM
// D7.5.9, DC IVAC; B2.8.1 on mismatched attributes).

    .section .boot_tables, "aw", %nobits
    .balign 4096
isochron_identity_root:
    .skip   4096
isochron_more_tables:
    .skip   {TABLES_SIZE} - 4096

    .section .text.isochron_boot, "ax"

// x20..x11 = device tree, both 0 if there is none. Answers x0 = root of the upper half. Clobbers x1 to x15.
isochron_first_tables:
    mov     x14, x30
    mov     x13, x11
    adrp    x28, isochron_identity_root
    mov     x0, x28
    adrp    x1, __boot_tables_end
    bl      isochron_invalidate
    bl      isochron_new_table          // the identity's root is the first page
    bl      isochron_new_table          // the upper half's root the second
    mov     x15, x6

    adrp    x0, isochron_identity_root
    adrp    x1, isochron_mmu_on
    and     x1, x1, #~0x1fffff
    mov     x2, x1
    add     x3, x1, #1
    ldr     x4, ={BLOCK_TEXT}
    mov     x5, #21
    bl      isochron_map

    mov     x0, x15
    mov     x5, #12
    ldr     x1, =__text_start
    adrp    x2, __text_start
    ldr     x3, =__text_end
    ldr     x4, ={TEXT}
    bl      isochron_map
    ldr     x3, =__rodata_end
    ldr     x4, ={RODATA}
    cmp     x1, x3
    b.hs    1f
    bl      isochron_map
1:  ldr     x3, =__data_end
    ldr     x4, ={DATA}
    bl      isochron_map

    mov     x5, #21
    ldr     x4, ={BLOCK_DATA}
    ldr     x9, ={DIRECT_MAP}
    and     x2, x22, #~0x1fffff
    add     x1, x2, x9
    adrp    x3, __image_end
    add     x3, x3, x9
    bl      isochron_map
    cbz     x20, 2f
    ldr     x9, ={DIRECT_MAP}
    and     x2, x20, #~0x1fffff
    add     x1, x2, x9
    add     x3, x13, x9
    bl      isochron_map
2:
    dsb     sy
    adrp    x0, isochron_identity_root
    mov     x1, x28
    bl      isochron_invalidate
    mov     x0, x15
    ret     x14

// Maps x1..x3 (virtual) to x2 (physical) under the root x0, by leaves of 1 << x5 bytes, with the descriptor bits x4.
// Leaves x1 and x2 behind what was mapped. Clobbers x6 to x10, x12.
isochron_map:
    mov     x12, x30
1:  mov     x6, x0
    mov     x7, #39
2:  lsr     x8, x1, x7
    and     x8, x8, #511
    add     x8, x6, x8, lsl #3
    cmp     x7, x5
    b.eq    4f
    ldr     x6, [x8]
    sub     x7, x7, #9
    ands    x6, x6, #0xfffffffff000
    b.ne    2b
    bl      isochron_new_table
    orr     x9, x6, #3
    str     x9, [x8]
    b       2b
4:  orr     x9, x2, x4
    str     x9, [x8]
    mov     x9, #1
    lsl     x9, x9, x5
    add     x1, x1, x9
    add     x2, x2, x9
    cmp     x1, x3
    b.lo    1b
    ret     x12

// x6 = a fresh, empty table. Clobbers x9, x10. The linker script bounds the image so that the pool cannot run out.
isochron_new_table:
    mov     x6, x28
    mov     x9, x28
    add     x28, x28, #4096
1:  stp     xzr, xzr, [x9], #16
    stp     xzr, xzr, [x9], #16
    stp     xzr, xzr, [x9], #16
    stp     xzr, xzr, [x9], #16
    cmp     x9, x28
    b.lo    1b
    ret

// Drops the cache lines of x0..x1, down to memory. Clobbers x0, x2, x3.
isochron_invalidate:
    mrs     x2, ctr_el0                 // DminLine: log2 of words
    ubfx    x2, x2, #16, #4
    mov     x3, #4
    lsl     x2, x3, x2
1:  dc      ivac, x0
    add     x0, x0, x2
    cmp     x0, x1
    b.lo    1b
    dsb     sy
    ret
    .ltorg
