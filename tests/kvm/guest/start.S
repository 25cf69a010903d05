/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * From the PVH entry (Xen's docs/misc/pvh.pandoc: 32-bit protected mode, flat, paging off, ebx =
 * hvm_start_info) to guest_main in ring 3, and the few instructions that need ring 0 afterwards:
 * sleeping, taking an interrupt, handing an exception to ring 3.
 *
 * Some hosts emulate ring 0 at 2 million instructions a second and run ring 3 natively. So ring 0
 * does next to nothing: page tables are built by the assembler, the IDT by guest_main, every
 * page and segment is open to ring 3, and IOPL 3 gives it the ports.
 */
#define CODE0 0x08
#define DATA3 0x1b
#define CODE3 0x23
#define TSS 0x28
#define TSS_SIZE (0x68 + 8192 + 1)
#define RFLAGS 0x3002 /* IOPL 3, interrupts off: they are taken in ring 0's hlt only */
#define PAGE 0x67 /* dirty, accessed, user, writable, present */
#define PAGE_2M 0xe7
#define UNCACHED 0x18 /* PCD, PWT */
#define XEN_ELFNOTE_PHYS32_ENTRY 18

	.section .note.Xen, "a", @note
	.balign 4
	.long 4, 8, XEN_ELFNOTE_PHYS32_ENTRY
	.asciz "Xen"
	.quad start32

	.section .text.start, "ax"
	.code32
	.globl start32
start32:
	cld
	mov $stack_top, %esp
	mov $tss, %eax
	mov %ax, gdt_tss + 2
	shr $16, %eax
	mov %al, gdt_tss + 4
	mov %ah, gdt_tss + 7
	lgdt gdt_pointer
	mov $pml4, %eax
	mov %eax, %cr3
	mov %cr4, %eax
	or $0x20, %eax /* PAE */
	mov %eax, %cr4
	mov $0xc0000080, %ecx /* EFER */
	rdmsr
	or $0x100, %eax /* LME */
	wrmsr
	mov %cr0, %eax
	or $0x80000001, %eax /* PG, PE */
	mov %eax, %cr0
	ljmp $CODE0, $start64

	.code64
start64:
	mov $DATA3, %eax
	mov %eax, %ds
	mov %eax, %es
	lidt idt_pointer
	mov $TSS, %eax
	ltr %ax
	mov %ebx, %edi
	pushq $DATA3
	pushq $stack_top - 8
	pushq $RFLAGS
	pushq $CODE3
	pushq $guest_main
	iretq

/*
 * int3: until an interrupt. sti lets none in before hlt has begun, so no wake-up is lost. (int $N
 * would do, but is not emulated on those hosts.)
 */
gate_sleep:
	sti
	hlt
	cli
	iretq

gate_interrupt:
	push %rax
	mov $0xfee000b0, %eax /* the local APIC's EOI */
	movl $0, (%rax)
	pop %rax
	iretq

/* fault_main(vector, error, rip, address, ring) in ring 3, on a stack of its own. */
gate_fault:
	pop %rdi
	pop %rsi
	mov (%rsp), %rdx
	mov %cr2, %rcx
	mov 8(%rsp), %r8
	movq $fault_main, (%rsp)
	movq $CODE3, 8(%rsp)
	movq $RFLAGS, 16(%rsp)
	movq $fault_stack_top - 8, 24(%rsp)
	movq $DATA3, 32(%rsp)
	iretq

/* Vectors 8, 10-14, 17, 21, 29 and 30 come with an error code. */
	.set vector, 0
	.rept 32
	.balign 16
	.if vector == 0
gate_faults:
	.endif
	.ifeq (0x60227d00 >> vector) & 1
	pushq $0
	.endif
	pushq $vector
	jmp gate_fault
	.set vector, vector + 1
	.endr

	.section .rodata
	.balign 8
	.globl gate_sleep_address, gate_interrupt_address, gate_faults_address
gate_sleep_address:
	.quad gate_sleep
gate_interrupt_address:
	.quad gate_interrupt
gate_faults_address:
	.quad gate_faults

	.data
	.balign 8
gdt:
	.quad 0
	.quad 0x00af9b000000ffff /* ring 0 code, 64 bits */
	.quad 0x00cf93000000ffff /* ring 0 data */
	.quad 0x00cff3000000ffff /* ring 3 data */
	.quad 0x00affb000000ffff /* ring 3 code, 64 bits */
gdt_tss:
	.quad 0x0000890000000000 + TSS_SIZE - 1
	.quad 0
gdt_end:
gdt_pointer:
	.word gdt_end - gdt - 1
	.quad gdt
idt_pointer:
	.word 256 * 16 - 1
	.quad idt

	.balign 16
	.space 12
tss:	/* 4 before a multiple of 16, so that rsp0 is aligned */
	.long 0
	.quad ring0_stack_top
	.space 0x66 - 12
	.word 0x68 /* the map of ports follows: all are allowed; a byte of ones ends it */
	.space 8192
	.byte 0xff

/* Identity: RAM below 1 GiB, device windows from there to 4 GiB. paging_map adds what is above. */
	.balign 4096
	.globl pml4, pdpt
pml4:
	.quad pdpt + PAGE
	.fill 511, 8, 0
pdpt:
	.quad page_directories + PAGE
	.quad page_directories + 4096 + PAGE
	.quad page_directories + 8192 + PAGE
	.quad page_directories + 12288 + PAGE
	.fill 508, 8, 0
page_directories:
	.set at, 0
	.rept 512
	.quad at + PAGE_2M
	.set at, at + 0x200000
	.endr
	.rept 3 * 512
	.quad at + PAGE_2M + UNCACHED
	.set at, at + 0x200000
	.endr

	.bss
	.balign 4096
	.globl idt
idt:
	.space 256 * 16
	.space 65536
stack_top:
	.space 8192
fault_stack_top:
	.space 4096
ring0_stack_top:
	.space 16

	.section .note.GNU-stack, "", @progbits
