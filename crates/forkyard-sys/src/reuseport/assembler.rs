//! Instructions of the kernel's BPF machine, put together here so that no compiler is needed
//! on a user's machine. Only those that [`program`](super::program) uses; their encoding is
//! that of the kernel's `Documentation/bpf/standardization/instruction-set.rst`.

use std::os::fd::{AsRawFd, BorrowedFd};

/// Marks the number in a 64-bit load as the descriptor of a map (`BPF_PSEUDO_MAP_FD`).
const PSEUDO_MAP_FD: u8 = 1;

/// Classes and modes of operation codes that `libc` does not name.
const CLASS_ALU32: u8 = 0x04;
const CLASS_JUMP: u8 = 0x05;
const CLASS_ALU64: u8 = 0x07;
const CLASS_LOAD: u8 = 0x01;
const CLASS_STORE: u8 = 0x03;
const MODE_MEMORY: u8 = 0x60;
const MODE_ATOMIC: u8 = 0xc0;
const SOURCE_REGISTER: u8 = 0x08;
const LOAD_64_IMMEDIATE: u8 = 0x18;
const JUMP_ALWAYS: u8 = 0x00;
const CALL: u8 = 0x80;
const EXIT: u8 = 0x90;

/// What an atomic addition does: `ADD` is 0, and this one fetches the value from before.
const ATOMIC_ADD_AND_FETCH: i32 = 0x01;

/// A register. A call takes its arguments in [`R1`](Self::R1) to [`R5`](Self::R5), which it
/// leaves undefined, and returns in [`R0`](Self::R0). [`R6`](Self::R6) to [`R9`](Self::R9)
/// survive it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(super) enum Register {
    R0,
    R1,
    R2,
    R3,
    R4,
    R5,
    R6,
    R7,
    R8,
    R9,
    /// The end of the stack, of which there are 512 bytes below. Read only.
    Stack,
}

/// How much is loaded or stored.
#[derive(Clone, Copy, Debug)]
#[repr(u8)]
pub(super) enum Width {
    Bits8 = 0x10,
    Bits32 = 0x00,
    Bits64 = 0x18,
}

/// What is done to a register. All numbers are unsigned.
#[derive(Clone, Copy, Debug)]
#[repr(u8)]
pub(super) enum Operation {
    Add = 0x00,
    Multiply = 0x20,
    ShiftRight = 0x70,
    Modulo = 0x90,
    Xor = 0xa0,
    Move = 0xb0,
}

/// When to jump.
#[derive(Clone, Copy, Debug)]
#[repr(u8)]
pub(super) enum Condition {
    Equal = 0x10,
    NotEqual = 0x50,
    /// Unsigned.
    Less = 0xa0,
}

/// What an operation or a comparison takes as its second operand.
#[derive(Clone, Copy, Debug)]
pub(super) enum Operand {
    Register(Register),
    /// Extended with its sign where the operation has 64 bits.
    Number(i32),
}

impl From<Register> for Operand {
    fn from(register: Register) -> Self {
        Self::Register(register)
    }
}

impl From<i32> for Operand {
    fn from(number: i32) -> Self {
        Self::Number(number)
    }
}

/// A function of the kernel (`enum bpf_func_id`).
#[derive(Clone, Copy, Debug)]
#[repr(i32)]
pub(super) enum Helper {
    /// `(map, &key)`: a pointer to the value, or null.
    MapLookup = 1,
    /// `(context, offset, to, length, from which header on)`: 0 or an error.
    LoadBytesRelative = 68,
    /// `(context, map, &key, flags)`: 0 or an error.
    SelectReuseport = 82,
}

/// One instruction as the kernel reads it (`struct bpf_insn`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(C)]
pub(super) struct Instruction {
    code: u8,
    registers: u8,
    offset: i16,
    immediate: i32,
}

/// A place in the program that can be jumped to, from before or after.
#[derive(Clone, Copy, Debug)]
pub(super) struct Label(usize);

/// A program in the making.
#[derive(Debug, Default)]
pub(super) struct Assembler {
    code: Vec<Instruction>,
    /// Where each label is, once that is known.
    labels: Vec<Option<usize>>,
    /// Which instruction jumps to which label.
    jumps: Vec<(usize, Label)>,
}

impl Assembler {
    /// A label without a place, to jump ahead.
    pub(super) fn label(&mut self) -> Label {
        self.labels.push(None);
        Label(self.labels.len() - 1)
    }

    /// The label's place is here.
    pub(super) fn place(&mut self, label: Label) {
        self.labels[label.0] = Some(self.code.len());
    }

    /// `target = target ∘ operand` in 64 bits.
    pub(super) fn operate(&mut self, what: Operation, target: Register, by: impl Into<Operand>) {
        self.with_operand(CLASS_ALU64 | what as u8, target, 0, by.into());
    }

    /// The same in 32 bits. The upper half becomes zero.
    pub(super) fn operate_32(&mut self, what: Operation, target: Register, by: impl Into<Operand>) {
        self.with_operand(CLASS_ALU32 | what as u8, target, 0, by.into());
    }

    /// `target = value`.
    pub(super) fn set(&mut self, target: Register, value: impl Into<Operand>) {
        self.operate(Operation::Move, target, value);
    }

    /// `target = stack + offset`, a pointer to what is there.
    pub(super) fn point_to_stack(&mut self, target: Register, offset: i16) {
        self.set(target, Register::Stack);
        self.operate(Operation::Add, target, i32::from(offset));
    }

    /// `target = *(pointer + offset)`, with zeros above.
    pub(super) fn load(&mut self, width: Width, target: Register, from: Register, offset: i16) {
        let code = CLASS_LOAD | MODE_MEMORY | width as u8;
        self.push(code, target as u8, from as u8, offset, 0);
    }

    /// `*(pointer + offset) = source`.
    pub(super) fn store(&mut self, width: Width, to: Register, offset: i16, source: Register) {
        let code = CLASS_STORE | MODE_MEMORY | width as u8;
        self.push(code, to as u8, source as u8, offset, 0);
    }

    /// `addend = *pointer` and `*pointer += addend` at one stroke, in 64 bits. Linux 5.12.
    pub(super) fn fetch_add(&mut self, pointer: Register, addend: Register) {
        let code = CLASS_STORE | MODE_ATOMIC | Width::Bits64 as u8;
        self.push(code, pointer as u8, addend as u8, 0, ATOMIC_ADD_AND_FETCH);
    }

    /// `target = map`.
    pub(super) fn load_map(&mut self, target: Register, map: BorrowedFd<'_>) {
        self.push(LOAD_64_IMMEDIATE, target as u8, PSEUDO_MAP_FD, 0, map.as_raw_fd());
        // The second half of the number, which makes the instruction twice as long.
        self.push(0, 0, 0, 0, 0);
    }

    /// Calls a function of the kernel.
    pub(super) fn call(&mut self, helper: Helper) {
        self.push(CLASS_JUMP | CALL, 0, 0, 0, helper as i32);
    }

    /// Goes on elsewhere.
    pub(super) fn jump(&mut self, to: Label) {
        self.jumps.push((self.code.len(), to));
        self.push(CLASS_JUMP | JUMP_ALWAYS, 0, 0, 0, 0);
    }

    /// Goes on elsewhere if `left` compares so with `right`, in 64 bits.
    pub(super) fn jump_if(
        &mut self,
        left: Register,
        condition: Condition,
        right: impl Into<Operand>,
        to: Label,
    ) {
        self.jumps.push((self.code.len(), to));
        self.with_operand(CLASS_JUMP | condition as u8, left, 0, right.into());
    }

    /// Ends the program. R0 is the result.
    pub(super) fn exit(&mut self) {
        self.push(CLASS_JUMP | EXIT, 0, 0, 0, 0);
    }

    /// The instructions, with all jumps filled in.
    pub(super) fn finish(mut self) -> Vec<Instruction> {
        for (from, label) in self.jumps {
            let to = self.labels[label.0].expect("invariant: a label jumped to has its place");
            // Counted from the instruction after the jump. Programs here are short.
            let distance = to.cast_signed() - from.cast_signed() - 1;
            self.code[from].offset =
                i16::try_from(distance).expect("invariant: a program is shorter than 32768");
        }
        self.code
    }

    fn with_operand(&mut self, code: u8, target: Register, offset: i16, operand: Operand) {
        match operand {
            Operand::Register(source) => {
                self.push(code | SOURCE_REGISTER, target as u8, source as u8, offset, 0);
            }
            Operand::Number(number) => self.push(code, target as u8, 0, offset, number),
        }
    }

    fn push(&mut self, code: u8, target: u8, source: u8, offset: i16, immediate: i32) {
        // Two bit fields, of which C puts the first one where the machine's bytes begin.
        let registers = if cfg!(target_endian = "little") {
            target | source << 4
        } else {
            target << 4 | source
        };
        self.code.push(Instruction { code, registers, offset, immediate });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn jumps_go_both_ways_and_count_from_the_next_instruction() {
        let mut assembler = Assembler::default();
        let (start, end) = (assembler.label(), assembler.label());
        assembler.place(start);
        assembler.jump_if(Register::R1, Condition::Equal, 7, end);
        assembler.jump(start);
        assembler.place(end);
        assembler.exit();
        let offsets: Vec<_> = assembler.finish().iter().map(|one| one.offset).collect();
        assert_eq!(offsets, [1, -2, 0]);
    }

    #[test]
    #[cfg(target_endian = "little")]
    fn instructions_are_encoded_as_the_kernel_reads_them() {
        let mut assembler = Assembler::default();
        assembler.set(Register::R6, Register::R1);
        assembler.load(Width::Bits32, Register::R8, Register::R6, 32);
        assembler.fetch_add(Register::R0, Register::R8);
        let code = assembler.finish();
        let of =
            |code, registers, offset, immediate| Instruction { code, registers, offset, immediate };
        assert_eq!(
            code,
            [of(0xbf, 0x16, 0, 0), of(0x61, 0x68, 32, 0), of(0xdb, 0x80, 0, 1)],
            "mov r6, r1; r8 = *(u32 *)(r6 + 32); r8 = atomic_fetch_add(r0, r8)"
        );
    }
}
