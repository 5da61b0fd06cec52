// The vectors (Arm ARM D1.3.1): four groups of four, 128 bytes each. See vectors.rs for the plan.

    .macro to_nested
    .balign 128
    fmov    d31, x0                     // nobody goes back: the registers of floating point are scratch
    mov     x0, #{NESTED}
    b       isochron_nested
    .endm

    .macro to_fault origin
    .balign 128
    sub     sp, sp, #{TRAP_FRAME}
    stp     x0, x1, [sp]
    mov     x1, \origin
    b       isochron_fault
    .endm

// From an interrupt's handler, on the exception stack: it may have touched a page that is folded. Whoever finds the stack pointer
// near the address has run out of that stack, or has none: then nobody goes back. x0 is kept in a register that nothing else uses.
    .macro to_nested_fault
    .balign 128
    msr     tpidrro_el0, x0
    mrs     x0, esr_el1
    ubfx    x0, x0, #26, #6
    cmp     x0, #{DATA_ABORT}
    b.ne    1f
    mrs     x0, far_el1
    sub     x0, sp, x0
    add     x0, x0, #{NEAR}
    lsr     x0, x0, #{NEAR_BITS} + 1
    cbz     x0, 1f
    mrs     x0, tpidrro_el0
    sub     sp, sp, #{TRAP_FRAME}
    stp     x0, x1, [sp]
    mov     x1, #{NESTED}
    b       isochron_fault
1:  mrs     x0, tpidrro_el0
    fmov    d31, x0
    mov     x0, #{NESTED}
    b       isochron_nested
    .endm

// All of a frame but x0 and x1; x0 = elr_el1, x1 = spsr_el1. The lowest words first. Changes x0 and x1.
    .macro save_frame
    stp     x2, x3, [sp]
    stp     x29, x0, [sp, #{RECORD}]
    stp     x30, x1, [sp, #{X30}]
    add     x29, sp, #{RECORD}
    mrs     x0, fpsr
    stp     x4, x5, [sp, #16]
    stp     x6, x7, [sp, #32]
    stp     x8, x9, [sp, #48]
    stp     x10, x11, [sp, #64]
    stp     x12, x13, [sp, #80]
    stp     x14, x15, [sp, #96]
    stp     x16, x17, [sp, #112]
    stp     x18, x0, [sp, #{X18}]
    stp     q0, q1, [sp, #{Q}]
    stp     q2, q3, [sp, #{Q} + 32]
    stp     q4, q5, [sp, #{Q} + 64]
    stp     q6, q7, [sp, #{Q} + 96]
    stp     q8, q9, [sp, #{Q} + 128]
    stp     q10, q11, [sp, #{Q} + 160]
    stp     q12, q13, [sp, #{Q} + 192]
    stp     q14, q15, [sp, #{Q} + 224]
    stp     q16, q17, [sp, #{Q} + 256]
    stp     q18, q19, [sp, #{Q} + 288]
    stp     q20, q21, [sp, #{Q} + 320]
    stp     q22, q23, [sp, #{Q} + 352]
    stp     q24, q25, [sp, #{Q} + 384]
    stp     q26, q27, [sp, #{Q} + 416]
    stp     q28, q29, [sp, #{Q} + 448]
    stp     q30, q31, [sp, #{Q} + 480]
    .endm

// All of a frame but x0 and x1, which it changes.
    .macro restore_frame
    ldp     q0, q1, [sp, #{Q}]
    ldp     q2, q3, [sp, #{Q} + 32]
    ldp     q4, q5, [sp, #{Q} + 64]
    ldp     q6, q7, [sp, #{Q} + 96]
    ldp     q8, q9, [sp, #{Q} + 128]
    ldp     q10, q11, [sp, #{Q} + 160]
    ldp     q12, q13, [sp, #{Q} + 192]
    ldp     q14, q15, [sp, #{Q} + 224]
    ldp     q16, q17, [sp, #{Q} + 256]
    ldp     q18, q19, [sp, #{Q} + 288]
    ldp     q20, q21, [sp, #{Q} + 320]
    ldp     q22, q23, [sp, #{Q} + 352]
    ldp     q24, q25, [sp, #{Q} + 384]
    ldp     q26, q27, [sp, #{Q} + 416]
    ldp     q28, q29, [sp, #{Q} + 448]
    ldp     q30, q31, [sp, #{Q} + 480]
    ldp     x18, x2, [sp, #{X18}]
    ldp     x30, x1, [sp, #{X30}]
    ldp     x29, x0, [sp, #{RECORD}]
    msr     fpsr, x2
    msr     spsr_el1, x1
    msr     elr_el1, x0
    ldp     x2, x3, [sp]
    ldp     x4, x5, [sp, #16]
    ldp     x6, x7, [sp, #32]
    ldp     x8, x9, [sp, #48]
    ldp     x10, x11, [sp, #64]
    ldp     x12, x13, [sp, #80]
    ldp     x14, x15, [sp, #96]
    ldp     x16, x17, [sp, #112]
    .endm

    .section .text.isochron_vectors, "ax"
    .balign 2048
    .global isochron_vectors
isochron_vectors:
    // From EL1 on SP_EL0: threads and worker loops.
    to_fault #{SYNCHRONOUS}
    .balign 128
    b       isochron_interrupt
    to_fault #{FIQ}
    to_fault #{SERROR}
    // From EL1 on SP_EL1: from exception handling itself.
    to_nested_fault
    to_nested
    to_nested
    to_nested
    // From EL0 nothing comes: the groups for it are left out.

    .balign 64
    .global isochron_interrupt
isochron_interrupt:
    stp     x0, x1, [sp]
    mrs     x0, sp_el0
    tbnz    x0, #{PACKED_BIT}, isochron_interrupt_packed
    mrs     x0, elr_el1
    mrs     x1, spsr_el1
    msr     spsel, #0
    sub     sp, sp, #{FRAME}
    save_frame                          // its first store may find no page: then the stack grows, and it is done again
    .global isochron_interrupt_saved
isochron_interrupt_saved:
    msr     spsel, #1
    bl      {HANDLE_INTERRUPT}
    tbnz    w0, #0, 2f
    msr     spsel, #0
    restore_frame
    add     sp, sp, #{FRAME}
    msr     spsel, #1
    ldp     x0, x1, [sp]
    eret
// Everybody who switches of its own will has FPCR = 0. One who has not keeps it to itself: nobody else shall run with it.
2:  ldp     x0, x1, [sp]
    msr     spsel, #0
    stp     x0, x1, [sp, #{X0}]
    mrs     x0, fpcr
    str     x0, [sp, #{FPCR}]
    cbz     x0, 3f
    msr     fpcr, xzr
3:  bl      {PREEMPT}
    ldr     x0, [sp, #{FPCR}]
    cbz     x0, 1f
    msr     fpcr, x0
1:  restore_frame
    ldp     x0, x1, [sp, #{X0}]
    add     sp, sp, #{FRAME}
    eret

// The frame is on the exception stack, with x0 and x1.
isochron_interrupt_packed:
    ldp     x0, x1, [sp]
    sub     sp, sp, #{FRAME}
    stp     x0, x1, [sp, #{X0}]
    mrs     x0, elr_el1
    mrs     x1, spsr_el1
    save_frame
    bl      {HANDLE_INTERRUPT}
    tbz     w0, #0, 1b
    mov     x0, sp
    mrs     x1, sp_el0
    bl      {TO_AREA}
    cbz     x0, 1b                      // no memory: it goes on
    add     sp, sp, #{FRAME}
    msr     spsel, #0
    mov     sp, x0
    add     x29, sp, #{RECORD}
    mrs     x0, fpcr
    str     x0, [sp, #{FPCR}]
    cbz     x0, 4f
    msr     fpcr, xzr
4:  bl      {PREEMPT}
    mov     x0, sp
    bl      {GIVE_AREA}
    ldr     x0, [sp, #{FPCR}]
    cbz     x0, 5f
    msr     fpcr, x0
5:  restore_frame
    mov     x1, sp
    ldr     x0, [x1, #{SP}]
    msr     spsel, #1
    msr     sp_el0, x0
    ldp     x0, x1, [x1, #{X0}]
    eret

// x1 = origin; x0 and x1 are saved at sp, the frame.
isochron_fault:
    stp     x2, x3, [sp, #16]
    str     x30, [sp, #{TRAP_X30}]
    bl      isochron_save_rest_of_frame
    mrs     x2, sp_el0
    str     x2, [sp, #{TRAP_SP}]
    tbz     x1, #{COMES_BACK_BIT}, isochron_synchronous
1:  mov     x0, sp
    ldr     x30, [sp, #{TRAP_PC}]       // the handler's frame record leads to what faulted
    b       {HANDLE_FAULT}

// A stack may have to grow: then there is a way back. What a call keeps is in the frame as well, and free.
isochron_synchronous:
    mov     x19, sp
    mrs     x20, fpsr
    mov     x21, x1
    stp     q0, q1, [sp, #-512]!
    stp     q2, q3, [sp, #32]
    stp     q4, q5, [sp, #64]
    stp     q6, q7, [sp, #96]
    stp     q8, q9, [sp, #128]
    stp     q10, q11, [sp, #160]
    stp     q12, q13, [sp, #192]
    stp     q14, q15, [sp, #224]
    stp     q16, q17, [sp, #256]
    stp     q18, q19, [sp, #288]
    stp     q20, q21, [sp, #320]
    stp     q22, q23, [sp, #352]
    stp     q24, q25, [sp, #384]
    stp     q26, q27, [sp, #416]
    stp     q28, q29, [sp, #448]
    stp     q30, q31, [sp, #480]
    mov     x0, x19
    bl      {GROW}
    ldp     q2, q3, [sp, #32]
    ldp     q4, q5, [sp, #64]
    ldp     q6, q7, [sp, #96]
    ldp     q8, q9, [sp, #128]
    ldp     q10, q11, [sp, #160]
    ldp     q12, q13, [sp, #192]
    ldp     q14, q15, [sp, #224]
    ldp     q16, q17, [sp, #256]
    ldp     q18, q19, [sp, #288]
    ldp     q20, q21, [sp, #320]
    ldp     q22, q23, [sp, #352]
    ldp     q24, q25, [sp, #384]
    ldp     q26, q27, [sp, #416]
    ldp     q28, q29, [sp, #448]
    ldp     q30, q31, [sp, #480]
    ldp     q0, q1, [sp], #512
    msr     fpsr, x20
    mov     x1, x21
    tbz     w0, #0, 1b
    ldp     x2, x3, [sp, #16]
    ldp     x4, x5, [sp, #32]
    ldp     x6, x7, [sp, #48]
    ldp     x8, x9, [sp, #64]
    ldp     x10, x11, [sp, #80]
    ldp     x12, x13, [sp, #96]
    ldp     x14, x15, [sp, #112]
    ldp     x16, x17, [sp, #128]
    ldp     x18, x19, [sp, #144]
    ldp     x20, x21, [sp, #160]
    ldp     x22, x23, [sp, #176]
    ldp     x24, x25, [sp, #192]
    ldp     x26, x27, [sp, #208]
    ldp     x28, x29, [sp, #224]
    ldr     x30, [sp, #{TRAP_X30}]
    ldp     x0, x1, [sp], #{TRAP_FRAME}
    eret

// x4 to x29, pc and pstate, into the frame at sp. Changes x2 and x3.
isochron_save_rest_of_frame:
    stp     x4, x5, [sp, #32]
    stp     x6, x7, [sp, #48]
    stp     x8, x9, [sp, #64]
    stp     x10, x11, [sp, #80]
    stp     x12, x13, [sp, #96]
    stp     x14, x15, [sp, #112]
    stp     x16, x17, [sp, #128]
    stp     x18, x19, [sp, #144]
    stp     x20, x21, [sp, #160]
    stp     x22, x23, [sp, #176]
    stp     x24, x25, [sp, #192]
    stp     x26, x27, [sp, #208]
    stp     x28, x29, [sp, #224]
    mrs     x2, elr_el1
    mrs     x3, spsr_el1
    stp     x2, x3, [sp, #{TRAP_PC}]
    ret

// x0 = origin, its own value in d31. The stack pointer may be anything.
isochron_nested:
    fmov    d30, x1
    fmov    d29, x2
    fmov    d28, x3
    adrp    x1, isochron_emergency_owner
    add     x1, x1, :lo12:isochron_emergency_owner
    mrs     x2, mpidr_el1               // never 0: bit 31 is RES1
1:  ldaxr   x3, [x1]
    cbnz    x3, 2f
    stxr    w3, x2, [x1]
    cbnz    w3, 1b
    mov     x3, sp
    adrp    x1, {EMERGENCY}
    add     x1, x1, :lo12:{EMERGENCY}
    add     x1, x1, #{EMERGENCY_SIZE}
    sub     sp, x1, #{TRAP_FRAME}
    str     x3, [sp, #{TRAP_SP}]
    mov     x1, x0
    fmov    x2, d31
    fmov    x3, d30
    stp     x2, x3, [sp]
    fmov    x2, d29
    fmov    x3, d28
    stp     x2, x3, [sp, #16]
    str     x30, [sp, #{TRAP_X30}]
    bl      isochron_save_rest_of_frame
    mov     x0, sp
    ldr     x30, [sp, #{TRAP_PC}]
    b       {HANDLE_FAULT}
2:  cmp     x3, x2
    b.ne    3f                          // another CPU reports, or this one has given up
    mov     x3, #1
    str     x3, [x1]
    adrp    x1, {EMERGENCY}
    add     x1, x1, :lo12:{EMERGENCY}
    add     x1, x1, #{EMERGENCY_SIZE}
    mov     sp, x1
    b       {GIVE_UP}
3:  msr     daifset, #0xf
4:  wfi
    b       4b

    .balign 2048
    .global isochron_step_over_vectors
isochron_step_over_vectors:
    // Everything else is masked, so what comes is synchronous: the first entry of each group for EL1.
    .rept 5
    .balign 128
    mrs     x17, elr_el1
    add     x17, x17, #4
    msr     elr_el1, x17
    mov     x0, #-1
    eret
    .endr

    .section .data.isochron_emergency_owner, "aw"
    .balign 8
isochron_emergency_owner:
    .quad   0
