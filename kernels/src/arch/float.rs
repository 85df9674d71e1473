//! The inner loops of `f32` layers, written once over vectors of [`LANES`] values; each set of
//! instructions gives its vector.
//!
//! Every output is one chain of multiply-adds in the order of the weights, however the work is cut,
//! so that it does not depend on the number of threads. Where a CPU rounds once (fused) and where
//! twice, last bits differ.

#[cfg(target_arch = "aarch64")]
use super::neon_float;
use super::portable_float;
#[cfg(target_arch = "x86_64")]
use super::{avx2_float, avx512_float};
use crate::Isa;
use crate::isa::Kind;

/// Output channels that are computed side by side.
pub(crate) const LANES: usize = 16;

/// [`LANES`] values in memory.
#[derive(Clone, Copy, Debug, PartialEq)]
#[repr(C, align(64))]
pub(crate) struct Lanes(pub(crate) [f32; LANES]);

impl Lanes {
    pub(crate) const ZERO: Lanes = Lanes([0.0; LANES]);

    /// `values` in whole lanes, zeros at the end.
    pub(crate) fn pack(values: &[f32]) -> Vec<Lanes> {
        let lanes = values.chunks(LANES).map(|values| {
            let mut lanes = Lanes::ZERO;
            lanes.0[..values.len()].copy_from_slice(values);
            lanes
        });
        lanes.collect()
    }
}

/// [`LANES`] values in registers.
///
/// # Safety
/// All functions ask for the CPU's instructions, and for memory as far as they say.
pub(super) trait Vector: Copy {
    /// The most rows of a tile, and its panels of [`LANES`] channels: so many sums fit in registers.
    const ROWS: usize;
    const PANELS: usize;
    /// Panels of a tile of one row.
    const WIDE: usize;
    /// Neighbouring outputs of a depthwise convolution.
    const COLUMNS: usize;

    unsafe fn splat(value: f32) -> Self;
    /// From [`LANES`] values.
    unsafe fn load(from: *const f32) -> Self;
    /// To [`LANES`] values.
    unsafe fn store(self, to: *mut f32);
    /// `self * factor + sum`.
    unsafe fn multiply_add(self, factor: Self, sum: Self) -> Self;
    unsafe fn add(self, other: Self) -> Self;
    /// What is less than `min` or more than `max` becomes that; what is no number stays.
    unsafe fn limit(self, min: Self, max: Self) -> Self;

    /// From `count` values, and zeros.
    #[inline(always)]
    unsafe fn load_first(from: *const f32, count: usize) -> Self {
        let mut lanes = Lanes::ZERO;
        // SAFETY: the contract.
        unsafe {
            std::ptr::copy_nonoverlapping(from, lanes.0.as_mut_ptr(), count);
            Self::load(lanes.0.as_ptr())
        }
    }

    /// To `count` values.
    #[inline(always)]
    unsafe fn store_first(self, to: *mut f32, count: usize) {
        let mut lanes = Lanes::ZERO;
        // SAFETY: the contract.
        unsafe {
            self.store(lanes.0.as_mut_ptr());
            std::ptr::copy_nonoverlapping(lanes.0.as_ptr(), to, count);
        }
    }
}

/// The limits of what is stored.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Limits {
    pub(crate) min: f32,
    pub(crate) max: f32,
}

/// A matrix product: each row is `segments` runs of `depth` values, `segment_step` apart.
#[derive(Clone, Copy)]
pub(crate) struct Product<'a> {
    pub(crate) values: &'a [f32],
    /// Where in `values` each row starts.
    pub(crate) starts: &'a [usize],
    pub(crate) segments: usize,
    pub(crate) segment_step: usize,
    pub(crate) depth: usize,
    /// Panel after panel; in each, for every value of a row the weights of its channels.
    pub(crate) weights: &'a [Lanes],
    /// For each panel.
    pub(crate) bias: &'a [Lanes],
    /// What is added to the output, which it lies like.
    pub(crate) addend: Option<&'a [f32]>,
    pub(crate) limits: Limits,
    /// How many of the panels' channels exist.
    pub(crate) columns: usize,
    /// From one row of the output to the next.
    pub(crate) step: usize,
}

/// Computes all rows with all panels.
pub(crate) fn multiply(isa: Isa, product: &Product<'_>, out: &mut [f32]) {
    let Product { starts, bias, .. } = *product;
    let (rows, panels, panel_len) = (starts.len(), bias.len(), product.segments * product.depth);
    assert!(rows > 0 && (1..=panels * LANES).contains(&product.columns));
    assert!((panels - 1) * LANES < product.columns && panel_len > 0);
    assert!(product.weights.len() == panels * panel_len);
    let last = starts.iter().max().copied().unwrap_or(0);
    let reach = (product.segments - 1) * product.segment_step + product.depth;
    assert!(last + reach <= product.values.len());
    let end = (rows - 1) * product.step + product.columns;
    assert!(out.len() >= end && product.addend.is_none_or(|addend| addend.len() >= end));
    let Extent {
        rows: most_rows,
        panels: most_panels,
    } = extent(isa, rows);
    for first_panel in (0..panels).step_by(most_panels) {
        let count = most_panels.min(panels - first_panel);
        let column = first_panel * LANES;
        let mut first = 0;
        for tile in 0..rows.div_ceil(most_rows) {
            // As large as each other: a tile of one row costs as much as one of four.
            let next = (tile + 1) * rows / rows.div_ceil(most_rows);
            let at = first * product.step + column;
            let tile = Product {
                starts: &starts[first..next],
                weights: &product.weights[first_panel * panel_len..][..count * panel_len],
                bias: &bias[first_panel..][..count],
                addend: product.addend.map(|addend| &addend[at..]),
                columns: (product.columns - column).min(count * LANES),
                ..*product
            };
            // SAFETY: an Isa is made only where the CPU has it; lengths are checked above.
            unsafe {
                match isa.0 {
                    #[cfg(target_arch = "x86_64")]
                    Kind::Vnni => avx512_float::tile(&tile, &mut out[at..]),
                    #[cfg(target_arch = "x86_64")]
                    Kind::Avx2 => avx2_float::tile(&tile, &mut out[at..]),
                    #[cfg(target_arch = "aarch64")]
                    Kind::Neon | Kind::DotProduct | Kind::Matrix => {
                        neon_float::tile(&tile, &mut out[at..])
                    }
                    Kind::Portable => portable_float::tile(&tile, &mut out[at..]),
                }
            }
            first = next;
        }
    }
}

/// The size of a tile.
struct Extent {
    rows: usize,
    panels: usize,
}

impl Extent {
    fn of<V: Vector>(rows: usize) -> Extent {
        Extent {
            rows: V::ROWS,
            panels: if rows == 1 { V::WIDE } else { V::PANELS },
        }
    }
}

fn extent(isa: Isa, rows: usize) -> Extent {
    match isa.0 {
        #[cfg(target_arch = "x86_64")]
        Kind::Vnni => Extent::of::<avx512_float::Zmm>(rows),
        #[cfg(target_arch = "x86_64")]
        Kind::Avx2 => Extent::of::<avx2_float::Ymm>(rows),
        #[cfg(target_arch = "aarch64")]
        Kind::Neon | Kind::DotProduct | Kind::Matrix => Extent::of::<neon_float::Quads>(rows),
        Kind::Portable => Extent::of::<portable_float::Array>(rows),
    }
}

/// A tile whose sums stay in registers.
///
/// # Safety
/// The CPU has the vector's instructions; `tile` has `ROWS` rows and `PANELS` panels, and its
/// lengths are as [`multiply`] checks them.
#[inline(always)]
pub(super) unsafe fn tile<V: Vector, const ROWS: usize, const PANELS: usize>(
    tile: &Product<'_>,
    out: &mut [f32],
) {
    if ROWS > V::ROWS || PANELS > V::WIDE || (ROWS > 1 && PANELS > V::PANELS) {
        unreachable!("a larger tile than fits");
    }
    // SAFETY: rows reach no further than the values, panels than the weights, stores than `out`.
    unsafe {
        let mut sums = [[V::splat(0.0); PANELS]; ROWS];
        let mut rows = [tile.values.as_ptr(); ROWS];
        for row in 0..ROWS {
            rows[row] = rows[row].wrapping_add(*tile.starts.get_unchecked(row));
            for panel in 0..PANELS {
                sums[row][panel] = V::load(tile.bias.as_ptr().wrapping_add(panel).cast());
            }
        }
        let panel_len = tile.segments.wrapping_mul(tile.depth);
        let mut weights = tile.weights.as_ptr();
        for _ in 0..tile.segments {
            for at in 0..tile.depth {
                let mut factors = [V::splat(0.0); PANELS];
                for (panel, factors) in factors.iter_mut().enumerate() {
                    let panel = weights.wrapping_add(panel_len.wrapping_mul(panel));
                    *factors = V::load(panel.cast());
                }
                for row in 0..ROWS {
                    let value = V::splat(*rows[row].wrapping_add(at));
                    for panel in 0..PANELS {
                        sums[row][panel] = value.multiply_add(factors[panel], sums[row][panel]);
                    }
                }
                weights = weights.wrapping_add(1);
            }
            for row in &mut rows {
                *row = row.wrapping_add(tile.segment_step);
            }
        }
        let (min, max) = (V::splat(tile.limits.min), V::splat(tile.limits.max));
        for row in 0..ROWS {
            for panel in 0..PANELS {
                let at = tile.step.wrapping_mul(row).wrapping_add(LANES * panel);
                let count = tile.columns.wrapping_sub(LANES * panel);
                let mut value = sums[row][panel];
                if let Some(addend) = tile.addend {
                    let addend = addend.as_ptr().wrapping_add(at);
                    value = value.add(if count >= LANES {
                        V::load(addend)
                    } else {
                        V::load_first(addend, count)
                    });
                }
                value = value.limit(min, max);
                let to = out.as_mut_ptr().wrapping_add(at);
                if count >= LANES {
                    value.store(to);
                } else {
                    value.store_first(to, count);
                }
            }
        }
    }
}

/// One row of a depthwise convolution for a block of channels.
pub(crate) struct Line<'a> {
    pub(crate) values: &'a [f32],
    /// Where in `values` each row under the window starts, at the block's first channel.
    pub(crate) rows: &'a [usize],
    /// For each of `rows` and each column of the window the weights.
    pub(crate) weights: &'a [Lanes],
    pub(crate) bias: &'a Lanes,
    pub(crate) limits: Limits,
    /// Columns of the input, of the window and of the output.
    pub(crate) width: usize,
    pub(crate) kernel: usize,
    pub(crate) columns: usize,
    pub(crate) stride: usize,
    /// Columns of zeros left of the input.
    pub(crate) left: usize,
    /// How many of the block's channels exist.
    pub(crate) channels: usize,
    /// From one column to the next, in input and output.
    pub(crate) step: usize,
}

/// Computes the row; `out` starts at the block's first channel.
pub(crate) fn line(isa: Isa, line: &Line<'_>, out: &mut [f32]) {
    assert!((1..=LANES).contains(&line.channels) && line.width > 0 && line.columns > 0);
    assert!(line.weights.len() == line.rows.len() * line.kernel && line.stride > 0);
    let last = line.rows.iter().max().copied().unwrap_or(0);
    let reach = (line.width - 1) * line.step + line.channels;
    assert!(line.rows.is_empty() || last + reach <= line.values.len());
    assert!(out.len() >= (line.columns - 1) * line.step + line.channels);
    // SAFETY: an Isa is made only where the CPU has it; lengths are checked above.
    unsafe {
        match isa.0 {
            #[cfg(target_arch = "x86_64")]
            Kind::Vnni => avx512_float::line(line, out),
            #[cfg(target_arch = "x86_64")]
            Kind::Avx2 => avx2_float::line(line, out),
            #[cfg(target_arch = "aarch64")]
            Kind::Neon | Kind::DotProduct | Kind::Matrix => neon_float::line(line, out),
            Kind::Portable => portable_float::line(line, out),
        }
    }
}

/// # Safety
/// The CPU has the vector's instructions, and lengths are as [`line`] checks them.
#[inline(always)]
pub(super) unsafe fn any_line<V: Vector>(line: &Line<'_>, out: &mut [f32]) {
    // SAFETY: the contract is that of this function.
    unsafe {
        if line.channels == LANES {
            columns::<V, true>(line, out);
        } else {
            columns::<V, false>(line, out);
        }
    }
}

/// # Safety
/// As for [`any_line`]; a whole block of channels exists where that is said.
#[inline(always)]
unsafe fn columns<V: Vector, const WHOLE: bool>(line: &Line<'_>, out: &mut [f32]) {
    // Outputs from `inside` to `outside` see no padding.
    let inside = line.left.div_ceil(line.stride).min(line.columns);
    let outside = match (line.width.wrapping_add(line.left)).checked_sub(line.kernel) {
        Some(room) => (room / line.stride)
            .wrapping_add(1)
            .clamp(inside, line.columns),
        None => inside,
    };
    // SAFETY: the window of no output in between reaches beyond a row; others are cut to it.
    unsafe {
        for x in (0..inside).chain(outside..line.columns) {
            let first = x.wrapping_mul(line.stride);
            let from = line.left.saturating_sub(first).min(line.kernel);
            let end = line.width.wrapping_add(line.left).saturating_sub(first);
            neighbours::<V, 1, WHOLE>(line, x, from, end.clamp(from, line.kernel), out);
        }
        let mut x = inside;
        while V::COLUMNS >= 8 && x.wrapping_add(8) <= outside {
            neighbours::<V, 8, WHOLE>(line, x, 0, line.kernel, out);
            x = x.wrapping_add(8);
        }
        while V::COLUMNS >= 4 && x.wrapping_add(4) <= outside {
            neighbours::<V, 4, WHOLE>(line, x, 0, line.kernel, out);
            x = x.wrapping_add(4);
        }
        while x < outside {
            neighbours::<V, 1, WHOLE>(line, x, 0, line.kernel, out);
            x = x.wrapping_add(1);
        }
    }
}

/// `COUNT` outputs from column `x` on, of the columns `from..end` of the window.
///
/// # Safety
/// As for [`columns`]; so many outputs exist, and these columns of their windows lie in the input.
#[inline(always)]
unsafe fn neighbours<V: Vector, const COUNT: usize, const WHOLE: bool>(
    line: &Line<'_>,
    x: usize,
    from: usize,
    end: usize,
    out: &mut [f32],
) {
    // SAFETY: the contract is that of this function.
    unsafe {
        let mut sums = [V::load(line.bias.0.as_ptr()); COUNT];
        let pixel = x.wrapping_mul(line.stride).wrapping_sub(line.left);
        let apart = line.stride.wrapping_mul(line.step);
        for (index, row) in line.rows.iter().enumerate() {
            let weights = line
                .weights
                .as_ptr()
                .wrapping_add(line.kernel.wrapping_mul(index));
            for column in from..end {
                let weight = V::load(weights.wrapping_add(column).cast());
                let at = pixel.wrapping_add(column).wrapping_mul(line.step);
                let mut value = line.values.as_ptr().wrapping_add(row.wrapping_add(at));
                for sum in &mut sums {
                    let factor = if WHOLE {
                        V::load(value)
                    } else {
                        V::load_first(value, line.channels)
                    };
                    *sum = factor.multiply_add(weight, *sum);
                    value = value.wrapping_add(apart);
                }
            }
        }
        let (min, max) = (V::splat(line.limits.min), V::splat(line.limits.max));
        for (index, sum) in sums.into_iter().enumerate() {
            let at = x.wrapping_add(index).wrapping_mul(line.step);
            let to = out.as_mut_ptr().wrapping_add(at);
            if WHOLE {
                sum.limit(min, max).store(to);
            } else {
                sum.limit(min, max).store_first(to, line.channels);
            }
        }
    }
}

/// The functions of a set of instructions, over its vector.
macro_rules! kernels {
    ($vector:ty $(, $feature:meta)?) => {
        /// # Safety
        /// The CPU has the instructions, and lengths are as `super::float::multiply` checks them.
        pub(super) unsafe fn tile(
            tile: &crate::arch::float::Product<'_>,
            out: &mut [f32],
        ) {
            /// # Safety
            /// As above; the tile has so many rows and panels.
            $(#[$feature])?
            unsafe fn fixed<const ROWS: usize, const PANELS: usize>(
                tile: &crate::arch::float::Product<'_>,
                out: &mut [f32],
            ) {
                // SAFETY: the contract is that of this function.
                unsafe { crate::arch::float::tile::<$vector, ROWS, PANELS>(tile, out) }
            }
            // SAFETY: the contract is that of this function.
            unsafe {
                match (tile.starts.len(), tile.bias.len()) {
                    (1, 1) => fixed::<1, 1>(tile, out),
                    (1, 2) => fixed::<1, 2>(tile, out),
                    (1, 3) => fixed::<1, 3>(tile, out),
                    (1, 4) => fixed::<1, 4>(tile, out),
                    (2, 1) => fixed::<2, 1>(tile, out),
                    (2, 2) => fixed::<2, 2>(tile, out),
                    (3, 1) => fixed::<3, 1>(tile, out),
                    (3, 2) => fixed::<3, 2>(tile, out),
                    (4, 1) => fixed::<4, 1>(tile, out),
                    (4, 2) => fixed::<4, 2>(tile, out),
                    (5, 1) => fixed::<5, 1>(tile, out),
                    (5, 2) => fixed::<5, 2>(tile, out),
                    (6, 1) => fixed::<6, 1>(tile, out),
                    (6, 2) => fixed::<6, 2>(tile, out),
                    (7, 1) => fixed::<7, 1>(tile, out),
                    (7, 2) => fixed::<7, 2>(tile, out),
                    (8, 1) => fixed::<8, 1>(tile, out),
                    (8, 2) => fixed::<8, 2>(tile, out),
                    (9, 1) => fixed::<9, 1>(tile, out),
                    (9, 2) => fixed::<9, 2>(tile, out),
                    (10, 1) => fixed::<10, 1>(tile, out),
                    (10, 2) => fixed::<10, 2>(tile, out),
                    (11, 1) => fixed::<11, 1>(tile, out),
                    (11, 2) => fixed::<11, 2>(tile, out),
                    (12, 1) => fixed::<12, 1>(tile, out),
                    (12, 2) => fixed::<12, 2>(tile, out),
                    (13, 1) => fixed::<13, 1>(tile, out),
                    (13, 2) => fixed::<13, 2>(tile, out),
                    (14, 1) => fixed::<14, 1>(tile, out),
                    (14, 2) => fixed::<14, 2>(tile, out),
                    _ => unreachable!("a tile of another size"),
                }
            }
        }

        /// # Safety
        /// The CPU has the instructions, and lengths are as `super::float::line` checks them.
        $(#[$feature])?
        pub(super) unsafe fn line(line: &crate::arch::float::Line<'_>, out: &mut [f32]) {
            // SAFETY: the contract is that of this function.
            unsafe { crate::arch::float::any_line::<$vector>(line, out) }
        }

        /// # Safety
        /// The CPU has the instructions.
        $(#[$feature])?
        pub(super) unsafe fn vectorized<R>(work: impl FnOnce() -> R) -> R {
            work()
        }

        /// # Safety
        /// The CPU has the instructions.
        $(#[$feature])?
        pub(super) unsafe fn products_alone(rounds: usize) -> usize {
            // SAFETY: the contract is that of this function.
            unsafe { crate::arch::float::sums_alone::<$vector>(rounds) }
        }
    };
}
pub(super) use kernels;

/// Runs `work` compiled for the instruction set; what it calls must be inlined to gain from that.
#[inline(always)]
pub(crate) fn vectorized<R>(isa: Isa, work: impl FnOnce() -> R) -> R {
    // SAFETY: an Isa is made only where the CPU has it.
    unsafe {
        match isa.0 {
            #[cfg(target_arch = "x86_64")]
            Kind::Vnni => avx512_float::vectorized(work),
            #[cfg(target_arch = "x86_64")]
            Kind::Avx2 => avx2_float::vectorized(work),
            #[cfg(target_arch = "aarch64")]
            Kind::Neon | Kind::DotProduct | Kind::Matrix => neon_float::vectorized(work),
            Kind::Portable => portable_float::vectorized(work),
        }
    }
}

/// Multiplies and adds in registers, `rounds` times; gives how many products that were.
pub(crate) fn products_alone(isa: Isa, rounds: usize) -> usize {
    // SAFETY: an Isa is made only where the CPU has it.
    unsafe {
        match isa.0 {
            #[cfg(target_arch = "x86_64")]
            Kind::Vnni => avx512_float::products_alone(rounds),
            #[cfg(target_arch = "x86_64")]
            Kind::Avx2 => avx2_float::products_alone(rounds),
            #[cfg(target_arch = "aarch64")]
            Kind::Neon | Kind::DotProduct | Kind::Matrix => neon_float::products_alone(rounds),
            Kind::Portable => portable_float::products_alone(rounds),
        }
    }
}

/// # Safety
/// The CPU has the vector's instructions.
#[inline(always)]
pub(super) unsafe fn sums_alone<V: Vector>(rounds: usize) -> usize {
    const SUMS: usize = 6;
    // SAFETY: the contract is that of this function.
    unsafe {
        let value = V::splat(std::hint::black_box(0.5));
        let mut sums = [V::splat(std::hint::black_box(1.0)); SUMS];
        for _ in 0..rounds {
            for sum in &mut sums {
                *sum = sum.multiply_add(value, value);
            }
        }
        std::hint::black_box(sums.map(|sum| {
            let mut lanes = Lanes::ZERO;
            sum.store(lanes.0.as_mut_ptr());
            lanes
        }));
    }
    rounds * SUMS * LANES
}
