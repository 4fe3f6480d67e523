"""Small mistakes in what is Arm's alone. tests/mutants has those that an x86 CPU can show."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Mistake:
    """In a header of csrc, which a test includes, the one of vectors for an ISA."""

    file: str
    before: str
    after: str
    isa: str = "neon"
    test: str = "test_vec.c"


VECTORS = [
    ("vbslq_f32(vcgtq_f32(a, b), a, b)", "vmaxq_f32(a, b)"),  # of NaN
    ("vbslq_f32(vcltq_f32(a, b), a, b)", "vminq_f32(a, b)"),
    ("return vfmaq_f32(c, a, b);", "return vaddq_f32(c, vmulq_f32(a, b));"),
    ("return vmvnq_u32(vcltq_f32(a, b));", "return vcgeq_f32(a, b);"),
    ("return vmvnq_u32(vceqq_f32(a, a));", "return vceqq_f32(a, a);"),
    ("vdupq_n_u32(0xFE000000u)), is_zero", "vdupq_n_u32(0xFE800000u)), is_zero"),
    ("return vf_any_lane(vbicq_u32(", "return vf_any_lane(vandq_u32("),
    ("vdupq_n_u32(0xFF000000u)", "vdupq_n_u32(0xFF000001u)"),
    ("vdupq_n_u32(0x04040404u)", "vdupq_n_u32(0x04040400u)"),
    ("vld1q_u32(lf_eighths + 4)", "vld1q_u32(lf_eighths)"),
    ("return vcvtnq_s32_f32(a);", "return vcvtq_s32_f32(a);"),  # towards zero
    ("return vshrq_n_s32(a, 23);", "return vshrq_n_s32(a, 22);"),
    ("vgetq_lane_f32(a, 2)", "vgetq_lane_f32(a, 3)"),
    ("return count & 2 ? vcombine_f32(pair, single)", "return count ? vcombine_f32(pair, single)"),
    ("vdupq_n_s32(INT32_MAX)", "vdupq_n_s32(-1)"),
]
ALL = [
    *(Mistake("isa/vec_neon.h", before, after) for before, after in VECTORS),
    Mistake("isa/dot_neon.h", "vpaddq_s16(low, high)", "vpaddq_s16(high, low)"),
    Mistake("isa/dot_neon.h", "vmull_high_s8(w, x)", "vmull_s8(vget_low_s8(w), vget_low_s8(x))"),
    Mistake("isa/dot_neondot.h", "operand, 0)", "operand, 1)", "neondot"),
    Mistake("isa/quants_neon.h", "vget_lane_s32(", "1 + vget_lane_s32(", "neondot"),
    Mistake(
        "cpu/cpu.h", "<< lf_tick_shift(hertz)", "<< lf_tick_shift(hertz) / 2", test="test_cpu.c"
    ),
]
