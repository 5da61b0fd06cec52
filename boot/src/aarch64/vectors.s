// Vectors for the few places that try something the machine may refuse: whatever comes goes on at the address in x27,
// once. With x27 = 0 the CPU parks: there is no console yet to say more on. The half that is for EL0 is left out.

    .section .text.isochron_boot_vectors, "ax"
    .balign 2048
    .global isochron_boot_vectors
isochron_boot_vectors:
    .rept 8
    .balign 128
    cbz     x27, isochron_park
    msr     elr_el1, x27
    mov     x27, xzr
    eret
    .endr
