//! Matrix products, in tiles whose sums stay in registers.

use super::{LANES, Lanes, Limits, Vector};
use crate::Isa;
#[cfg(target_arch = "aarch64")]
use crate::arch::neon_float;
use crate::arch::portable_float;
#[cfg(target_arch = "x86_64")]
use crate::arch::{avx2_float, avx512_float};
use crate::isa::Kind;

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
    // A last panel that is half empty is computed by itself, with half as many sums.
    let half = product.columns + LANES / 2 <= panels * LANES;
    let whole = if half { panels - 1 } else { panels };
    let mut next_panel = 0;
    while next_panel < panels {
        let first_panel = next_panel;
        let whole_left = whole.saturating_sub(first_panel);
        let count = most_panels.min(whole_left).max(1);
        next_panel += count;
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
            let out = &mut out[at..];
            // SAFETY: an Isa is made only where the CPU has it; lengths are checked above.
            unsafe {
                match (isa.0, whole_left > 0) {
                    #[cfg(target_arch = "x86_64")]
                    (Kind::Vnni, true) => avx512_float::tile(&tile, out),
                    #[cfg(target_arch = "x86_64")]
                    (Kind::Vnni, false) => avx512_float::half_tile(&tile, out),
                    #[cfg(target_arch = "x86_64")]
                    (Kind::Avx2, true) => avx2_float::tile(&tile, out),
                    #[cfg(target_arch = "x86_64")]
                    (Kind::Avx2, false) => avx2_float::half_tile(&tile, out),
                    #[cfg(target_arch = "aarch64")]
                    (Kind::Neon | Kind::DotProduct | Kind::Matrix, true) => {
                        neon_float::tile(&tile, out)
                    }
                    #[cfg(target_arch = "aarch64")]
                    (Kind::Neon | Kind::DotProduct | Kind::Matrix, false) => {
                        neon_float::half_tile(&tile, out)
                    }
                    (Kind::Portable, _) => portable_float::tile(&tile, out),
                }
            }
            first = next;
        }
    }
}

/// How far ahead of their use weights are asked for.
const AHEAD: usize = 24;

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
#[allow(
    clippy::needless_range_loop,
    reason = "row and panel number sums, values and outputs alike"
)]
pub(in crate::arch) unsafe fn tile<V: Vector, const ROWS: usize, const PANELS: usize>(
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
        for row in 0..ROWS {
            for panel in 0..PANELS {
                let at = tile.step.wrapping_mul(row).wrapping_add(LANES * panel);
                V::prefetch(out.as_ptr().wrapping_add(at));
                if let Some(addend) = tile.addend {
                    V::prefetch(addend.as_ptr().wrapping_add(at));
                }
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
                    V::prefetch(panel.wrapping_add(AHEAD).cast());
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
