//! Depthwise convolutions with the dot product: of each channel four neighbours in a row at once.

use std::arch::aarch64::*;
use std::arch::asm;

use super::super::{End, QuadLine};
use super::spread::COLUMN;
use super::{Clipped, Ending, Form, Limits, store, with_form};

/// Channels whose sums are in registers together.
const EIGHT: usize = 8;

/// # Safety
/// The CPU has the dot product, and lengths are as `super::super::check_quad_line` holds them.
pub(in crate::arch) unsafe fn quad_line(
    line: &QuadLine<'_, i8>,
    end: &End<'_>,
    columns: usize,
    out: &mut [u8],
) {
    let whole = end.columns / EIGHT * EIGHT;
    let out = out.as_mut_ptr();
    // SAFETY: the contract is that of this function.
    unsafe {
        if whole > 0 {
            with_form!(end.fits_words, end.range, F => all::<F>(line, end, whole, columns, out));
        }
        if whole < end.columns {
            let eight = Eight::load(line, end, whole);
            any::<Clipped>(line, &eight, columns, out.wrapping_add(whole));
        }
    }
}

/// # Safety
/// As for [`quad_line`]; `channels`, a multiple of eight, exist, and values and range have the form
/// `F`.
unsafe fn all<F: Form>(
    line: &QuadLine<'_, i8>,
    end: &End<'_>,
    channels: usize,
    columns: usize,
    out: *mut u8,
) {
    for first in (0..channels).step_by(EIGHT) {
        let out = out.wrapping_add(first);
        // SAFETY: the contract is that of this function.
        unsafe {
            let eight = Eight::load(line, end, first);
            match (line.step, line.rows.len(), line.fours) {
                (1, 3, 1) => eight.line::<1, _, F>(Known::<3, 1>, columns, out),
                (1, 5, 2) => eight.line::<1, _, F>(Known::<5, 2>, columns, out),
                (2, 3, 1) => eight.line::<2, _, F>(Known::<3, 1>, columns, out),
                (2, 5, 2) => eight.line::<2, _, F>(Known::<5, 2>, columns, out),
                _ => any::<Clipped>(line, &eight, columns, out),
            }
        }
    }
}

/// # Safety
/// As for [`quad_line`]; values and range have the form `F`.
unsafe fn any<F: Form>(line: &QuadLine<'_, i8>, eight: &Eight<'_>, columns: usize, out: *mut u8) {
    let (rows, fours) = (line.rows.len(), line.fours);
    // SAFETY: the contract is that of this function.
    unsafe {
        if line.step == 1 {
            eight.line::<1, _, F>(Any { rows, fours }, columns, out);
        } else {
            eight.line::<2, _, F>(Any { rows, fours }, columns, out);
        }
    }
}

/// The size of a window that eight channels are summed under.
trait Window: Copy {
    /// Whether all eight exist.
    const WHOLE: bool;

    fn rows(self) -> usize;

    /// Fours of columns in a row.
    fn fours(self) -> usize;
}

/// As networks have it, so that loops are unrolled.
#[derive(Clone, Copy)]
struct Known<const ROWS: usize, const FOURS: usize>;

impl<const ROWS: usize, const FOURS: usize> Window for Known<ROWS, FOURS> {
    const WHOLE: bool = true;

    #[inline(always)]
    fn rows(self) -> usize {
        ROWS
    }

    #[inline(always)]
    fn fours(self) -> usize {
        FOURS
    }
}

#[derive(Clone, Copy)]
struct Any {
    rows: usize,
    fours: usize,
}

impl Window for Any {
    const WHOLE: bool = false;

    #[inline(always)]
    fn rows(self) -> usize {
        self.rows
    }

    #[inline(always)]
    fn fours(self) -> usize {
        self.fours
    }
}

/// A line of eight channels.
struct Eight<'a> {
    line: &'a QuadLine<'a, i8>,
    /// Those of the first column.
    quads: *const i8,
    weights: *const i8,
    bias: *const i32,
    /// Of two outputs of eight channels.
    ending: Ending,
    /// From one column of the output to the next.
    step: usize,
}

impl<'a> Eight<'a> {
    /// # Safety
    /// Lengths are as `super::super::check_quad_line` holds them, and the block has a channel
    /// `first`, a multiple of eight.
    #[inline(always)]
    unsafe fn load(line: &'a QuadLine<'a, i8>, end: &End<'_>, first: usize) -> Eight<'a> {
        let (bias, scale) = (&end.bias[first..][..EIGHT], &end.scale[first..][..EIGHT]);
        // SAFETY: there are eight of each.
        let scale = unsafe { [vld1q_f32(scale.as_ptr()), vld1q_f32(scale[4..].as_ptr())] };
        Eight {
            line,
            quads: line.quads.as_ptr().wrapping_add(4 * first),
            weights: line.weights.as_ptr().wrapping_add(4 * first),
            bias: bias.as_ptr(),
            ending: Ending {
                scale: [scale[0], scale[1], scale[0], scale[1]],
                limits: Limits::of(end.range),
                columns: EIGHT.min(end.columns.wrapping_sub(first)),
            },
            step: end.step,
        }
    }

    /// The outputs of `columns` columns.
    ///
    /// # Safety
    /// The CPU has the dot product; `STEP` is that of the line; as many columns exist from `out` on.
    #[inline(always)]
    unsafe fn line<const STEP: usize, W: Window, F: Form>(
        &self,
        window: W,
        columns: usize,
        mut out: *mut u8,
    ) {
        let mut quads = self.quads;
        // SAFETY: the contract is that of this function; no column is beyond the last.
        unsafe {
            for _ in 0..columns / 8 {
                self.outputs::<STEP, 8, W, F>(window, quads, out);
                quads = quads.wrapping_add(STEP * 4 * COLUMN);
                out = out.wrapping_add(self.step.wrapping_mul(8));
            }
            match columns % 8 {
                1 => self.outputs::<STEP, 1, W, F>(window, quads, out),
                2 => self.outputs::<STEP, 2, W, F>(window, quads, out),
                3 => self.outputs::<STEP, 3, W, F>(window, quads, out),
                4 => self.outputs::<STEP, 4, W, F>(window, quads, out),
                5 => self.outputs::<STEP, 5, W, F>(window, quads, out),
                6 => self.outputs::<STEP, 6, W, F>(window, quads, out),
                7 => self.outputs::<STEP, 7, W, F>(window, quads, out),
                _ => {}
            }
        }
    }

    /// # Safety
    /// As for [`Eight::line`]; `COLUMNS` outputs exist from that on to which `quads` and `out`
    /// belong, which is in an even column.
    #[inline(always)]
    unsafe fn outputs<const STEP: usize, const COLUMNS: usize, W: Window, F: Form>(
        &self,
        window: W,
        quads: *const i8,
        out: *mut u8,
    ) {
        let mut weights = self.weights;
        // SAFETY: the contract is that of this function; `check_quad_line` holds rows and weights to
        // their lengths.
        unsafe {
            let mut sums = [[vdupq_n_s32(0); 2]; COLUMNS];
            for sums in &mut sums {
                *sums = load2_anew(self.bias);
            }
            for index in 0..window.rows() {
                let mut quads = quads.add(*self.line.rows.as_ptr().add(index));
                for _ in 0..window.fours() {
                    let near = [vld1q_s8(weights), vld1q_s8(weights.add(16))];
                    weights = weights.wrapping_add(COLUMN);
                    let mut places = [near; 2];
                    if STEP == 1 {
                        places[1] = [vld1q_s8(weights), vld1q_s8(weights.add(16))];
                        weights = weights.wrapping_add(COLUMN);
                    }
                    for (column, sums) in sums.iter_mut().enumerate() {
                        let from = quads.add(column * STEP / 2 * COLUMN);
                        let weights = places[column * STEP % 2];
                        sums[0] = dot(sums[0], vld1q_s8(from), weights[0]);
                        sums[1] = dot(sums[1], vld1q_s8(from.add(16)), weights[1]);
                    }
                    quads = quads.wrapping_add(2 * COLUMN);
                }
            }
            let to = |index: usize| out.wrapping_add(self.step.wrapping_mul(index));
            // Written out, because in a loop the sums would have to lie in memory.
            self.finish::<W, F>(sums.first(), sums.get(1), to(0));
            self.finish::<W, F>(sums.get(2), sums.get(3), to(2));
            self.finish::<W, F>(sums.get(4), sums.get(5), to(4));
            self.finish::<W, F>(sums.get(6), sums.get(7), to(6));
        }
    }

    /// Stores the bytes that become of the sums of two columns, of the first alone, or of none.
    ///
    /// # Safety
    /// `out` belongs to the first.
    #[inline(always)]
    unsafe fn finish<W: Window, F: Form>(
        &self,
        first: Option<&[int32x4_t; 2]>,
        second: Option<&[int32x4_t; 2]>,
        out: *mut u8,
    ) {
        let Some(first) = first else { return };
        let [c, d] = *second.unwrap_or(first);
        // SAFETY: the contract.
        unsafe {
            let bytes = self.ending.bytes::<F>([first[0], first[1], c, d]);
            let next = out.wrapping_add(self.step);
            if W::WHOLE {
                vst1_u8(out, vget_low_u8(bytes));
                if second.is_some() {
                    vst1_u8(next, vget_high_u8(bytes));
                }
            } else {
                store(bytes, out, self.ending.columns);
                if second.is_some() {
                    store(vextq_u8::<8>(bytes, bytes), next, self.ending.columns);
                }
            }
        }
    }
}

/// As [`super::load4_anew`], eight values.
///
/// # Safety
/// They are there.
#[inline(always)]
unsafe fn load2_anew(from: *const i32) -> [int32x4_t; 2] {
    let (a, b);
    // SAFETY: the contract.
    unsafe {
        asm!(
            "ldp {a:q}, {b:q}, [{from}]",
            a = out(vreg) a, b = out(vreg) b, from = in(reg) from,
            options(readonly, nostack, preserves_flags)
        );
    }
    [a, b]
}

/// Adds the products of each channel's four factors with its weights.
///
/// # Safety
/// The CPU has the dot product.
#[inline(always)]
unsafe fn dot(mut sums: int32x4_t, factors: int8x16_t, weights: int8x16_t) -> int32x4_t {
    // SAFETY: the caller's CPU has it; registers alone are touched.
    unsafe {
        asm!(
            ".arch_extension dotprod",
            "sdot {0:v}.4s, {1:v}.16b, {2:v}.16b",
            inout(vreg) sums, in(vreg) factors, in(vreg) weights,
            options(pure, nomem, nostack, preserves_flags)
        );
    }
    sums
}
