//! Depthwise convolutions, some neighbouring outputs of a block of channels at a time.

use super::{Instructions, LANES, Lanes, Limits, Vector, Work, on};
use crate::{Image, Isa, Window};

/// Some rows of a depthwise convolution for a block of channels.
pub(crate) struct Rows<'a> {
    pub(crate) values: &'a [f32],
    pub(crate) input: Image,
    pub(crate) output: Image,
    pub(crate) window: Window,
    /// For each row and column of the window the weights.
    pub(crate) weights: &'a [Lanes],
    pub(crate) bias: &'a Lanes,
    pub(crate) limits: Limits,
    /// The first row of the output.
    pub(crate) first: usize,
    /// The first channel of the block.
    pub(crate) channel: usize,
}

/// Computes the rows that `out` has place for.
pub(crate) fn rows(isa: Isa, rows: &Rows<'_>, out: &mut [f32]) {
    let Rows {
        input,
        output,
        window,
        ..
    } = rows;
    assert!(rows.values.len() == input.len() && rows.channel < input.channels);
    assert!(window.output(*input, input.channels).ok() == Some(*output));
    assert!(rows.weights.len() == window.kernel[0] * window.kernel[1]);
    let row = output.width * output.channels;
    assert!(out.len().is_multiple_of(row) && rows.first + out.len() / row <= output.height);
    // SAFETY: lengths are checked above.
    unsafe { on(isa, rows, out) }
}

impl Work for &Rows<'_> {
    #[inline(always)]
    unsafe fn on<I: Instructions>(self, out: &mut [f32]) {
        // SAFETY: the contract is that of this function.
        unsafe {
            if self.input.channels.wrapping_sub(self.channel) >= LANES {
                each_row::<I, true>(self, out);
            } else {
                each_row::<I, false>(self, out);
            }
        }
    }
}

/// What lies under the window in one row of the output.
struct Under<'a> {
    rows: &'a Rows<'a>,
    /// The first row of the input that does, at the block's first channel.
    values: *const f32,
    /// The rows of the window that lie in the input.
    from: usize,
    end: usize,
}

/// # Safety
/// The CPU has the instructions, and lengths are as [`rows`] checks them; a block of channels is there
/// as a whole where that is said.
#[inline(always)]
unsafe fn each_row<I: Instructions, const WHOLE: bool>(rows: &Rows<'_>, out: &mut [f32]) {
    let Rows {
        input,
        output,
        window,
        ..
    } = *rows;
    let [height, width] = window.kernel;
    let [top, left] = window.pad_before;
    let [down, right] = window.stride;
    // Outputs from `inside` to `outside` see no padding at their sides.
    let inside = left.div_ceil(right).min(output.width);
    let outside = match (input.width.wrapping_add(left)).checked_sub(width) {
        Some(room) => (room / right).wrapping_add(1).clamp(inside, output.width),
        None => inside,
    };
    let pitch = input.width.wrapping_mul(input.channels);
    for (y, out) in out
        .chunks_exact_mut(output.width.wrapping_mul(output.channels))
        .enumerate()
    {
        let first = rows.first.wrapping_add(y).wrapping_mul(down);
        let from = top.saturating_sub(first).min(height);
        let end = (input.height.wrapping_add(top)).saturating_sub(first);
        let row = first
            .wrapping_add(from)
            .wrapping_sub(top)
            .wrapping_mul(pitch);
        let under = Under {
            rows,
            values: rows
                .values
                .as_ptr()
                .wrapping_add(row.wrapping_add(rows.channel)),
            from,
            end: end.clamp(from, height),
        };
        let out = out.as_mut_ptr().wrapping_add(rows.channel);
        // SAFETY: in between no window reaches beyond a row; others are cut to it.
        unsafe {
            for x in (0..inside).chain(outside..output.width) {
                let first = x.wrapping_mul(right);
                let from = left.saturating_sub(first).min(width);
                let end = input.width.wrapping_add(left).saturating_sub(first);
                neighbours::<I::Whole, 1, WHOLE>(&under, x, [from, end.clamp(from, width)], out);
            }
            let mut x = inside;
            while I::COLUMNS >= 8 && x.wrapping_add(8) <= outside {
                neighbours::<I::Whole, 8, WHOLE>(&under, x, [0, width], out);
                x = x.wrapping_add(8);
            }
            while I::COLUMNS >= 4 && x.wrapping_add(4) <= outside {
                neighbours::<I::Whole, 4, WHOLE>(&under, x, [0, width], out);
                x = x.wrapping_add(4);
            }
            while x < outside {
                neighbours::<I::Whole, 1, WHOLE>(&under, x, [0, width], out);
                x = x.wrapping_add(1);
            }
        }
    }
}

/// `COUNT` outputs from column `x` on, of the columns `from..end` of the window.
///
/// # Safety
/// As for [`each_row`]; so many outputs exist, and these columns of their windows lie in the input.
#[inline(always)]
unsafe fn neighbours<V: Vector, const COUNT: usize, const WHOLE: bool>(
    under: &Under<'_>,
    x: usize,
    [from, end]: [usize; 2],
    out: *mut f32,
) {
    let Rows {
        input,
        window,
        weights,
        bias,
        limits,
        channel,
        ..
    } = *under.rows;
    let step = input.channels;
    let channels = step.wrapping_sub(channel);
    let [_, width] = window.kernel;
    let [_, right] = window.stride;
    // SAFETY: the contract is that of this function.
    unsafe {
        let mut sums = [V::load(bias.0.as_ptr()); COUNT];
        let pixel = x.wrapping_mul(right).wrapping_sub(window.pad_before[1]);
        let apart = right.wrapping_mul(step);
        let mut values = under.values;
        for row in under.from..under.end {
            let weights = weights.as_ptr().wrapping_add(width.wrapping_mul(row));
            for column in from..end {
                let weight = V::load(weights.wrapping_add(column).cast());
                let at = pixel.wrapping_add(column).wrapping_mul(step);
                let mut value = values.wrapping_add(at);
                for sum in &mut sums {
                    let factor = if WHOLE {
                        V::load(value)
                    } else {
                        V::load_first(value, channels)
                    };
                    *sum = factor.multiply_add(weight, *sum);
                    value = value.wrapping_add(apart);
                }
            }
            values = values.wrapping_add(input.width.wrapping_mul(step));
        }
        let (min, max) = (V::splat(limits.min), V::splat(limits.max));
        for (index, sum) in sums.into_iter().enumerate() {
            let to = out.wrapping_add(x.wrapping_add(index).wrapping_mul(step));
            if WHOLE {
                sum.limit(min, max).store(to);
            } else {
                sum.limit(min, max).store_first(to, channels);
            }
        }
    }
}
