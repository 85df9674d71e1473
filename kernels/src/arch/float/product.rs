//! Matrix products, in tiles whose sums stay in registers.

use super::{Instructions, LANES, Lanes, Limits, Vector, Work, on};
use crate::Isa;

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
    // SAFETY: lengths are checked above.
    unsafe { on(isa, product, out) }
}

impl Work for &Product<'_> {
    #[inline(always)]
    unsafe fn on<I: Instructions>(self, out: &mut [f32]) {
        let Product { starts, bias, .. } = *self;
        let (rows, panels) = (starts.len(), bias.len());
        let panel_len = self.weights.len() / panels;
        let most_panels = if rows == 1 { I::WIDE } else { I::PANELS };
        // A last panel that is half empty is computed by itself, with half as many sums.
        let half = self.columns + LANES / 2 <= panels * LANES;
        let whole = if half { panels - 1 } else { panels };
        let mut next_panel = 0;
        while next_panel < panels {
            let first_panel = next_panel;
            let whole_left = whole.saturating_sub(first_panel);
            let count = most_panels.min(whole_left).max(1);
            next_panel += count;
            let column = first_panel * LANES;
            let mut first = 0;
            for tile in 0..rows.div_ceil(I::ROWS) {
                // As large as each other: a tile of one row costs as much as one of four.
                let next = (tile + 1) * rows / rows.div_ceil(I::ROWS);
                let at = first * self.step + column;
                let tile = Product {
                    starts: &starts[first..next],
                    weights: &self.weights[first_panel * panel_len..][..count * panel_len],
                    bias: &bias[first_panel..][..count],
                    addend: self.addend.map(|addend| &addend[at..]),
                    columns: (self.columns - column).min(count * LANES),
                    ..*self
                };
                let out = &mut out[at..];
                // SAFETY: the contract is that of this function.
                unsafe {
                    if whole_left > 0 {
                        tile_of_any_size::<I, false>(&tile, out);
                    } else {
                        tile_of_any_size::<I, true>(&tile, out);
                    }
                }
                first = next;
            }
        }
    }
}

/// # Safety
/// The CPU has the instructions; lengths are as [`multiply`] checks them, and there is one panel if
/// `HALF`, which is half empty.
unsafe fn tile_of_any_size<I: Instructions, const HALF: bool>(tile: &Product<'_>, out: &mut [f32]) {
    macro_rules! tile {
        ($($rows:literal)*) => {
            match (tile.starts.len(), tile.bias.len()) {
                (1, 3) => I::run(Tile::<HALF, 1, 3>(tile), out),
                (1, 4) => I::run(Tile::<HALF, 1, 4>(tile), out),
                $(($rows, 1) => I::run(Tile::<HALF, $rows, 1>(tile), out),
                ($rows, 2) => I::run(Tile::<HALF, $rows, 2>(tile), out),)*
                _ => unreachable!("a tile of another size"),
            }
        };
    }
    // SAFETY: the contract is that of this function.
    unsafe { tile!(1 2 3 4 5 6 7 8 9 10 11 12 13 14) }
}

/// A tile of so many rows and panels; the only panel is half empty if `HALF`.
struct Tile<'a, const HALF: bool, const ROWS: usize, const PANELS: usize>(&'a Product<'a>);

impl<const HALF: bool, const ROWS: usize, const PANELS: usize> Work
    for Tile<'_, HALF, ROWS, PANELS>
{
    #[inline(always)]
    unsafe fn on<I: Instructions>(self, out: &mut [f32]) {
        let most = if HALF {
            1
        } else if ROWS > 1 {
            I::PANELS
        } else {
            I::WIDE
        };
        if ROWS > I::ROWS || PANELS > most {
            unreachable!("a larger tile than fits");
        }
        // SAFETY: the contract is that of this function.
        unsafe {
            if HALF {
                tile::<I, I::Half, ROWS, PANELS>(self.0, out);
            } else {
                tile::<I, I::Whole, ROWS, PANELS>(self.0, out);
            }
        }
    }
}

/// How far ahead of their use weights are asked for.
const AHEAD: usize = 24;

/// A tile whose sums stay in registers.
///
/// # Safety
/// The CPU has the instructions; `tile` has `ROWS` rows and `PANELS` panels, and its lengths are as
/// [`multiply`] checks them.
#[inline(always)]
#[allow(
    clippy::needless_range_loop,
    reason = "row and panel number sums, values and outputs alike"
)]
unsafe fn tile<I: Instructions, V: Vector, const ROWS: usize, const PANELS: usize>(
    tile: &Product<'_>,
    out: &mut [f32],
) {
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
                I::prefetch(out.as_ptr().wrapping_add(at));
                if let Some(addend) = tile.addend {
                    I::prefetch(addend.as_ptr().wrapping_add(at));
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
                    I::prefetch(panel.wrapping_add(AHEAD).cast());
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
                    value = value.add(if count >= V::LEN {
                        V::load(addend)
                    } else {
                        V::load_first(addend, count)
                    });
                }
                value = value.limit(min, max);
                let to = out.as_mut_ptr().wrapping_add(at);
                if count >= V::LEN {
                    value.store(to);
                } else {
                    value.store_first(to, count);
                }
            }
        }
    }
}
