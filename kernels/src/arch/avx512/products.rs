//! Matrix products.

use std::arch::x86_64::*;

use super::super::{End, PANEL, Rows};
use super::requantized;

/// # Safety
/// The CPU has what this module is for, and lengths are as `super::super::multiply_quads` checks them.
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512vnni,avx512vbmi")]
pub(in super::super) unsafe fn multiply(
    rows: &Rows<'_, u8>,
    weights: &[i8],
    end: &End<'_>,
    out: &mut [u8],
) {
    let (weights, out) = (weights.as_ptr(), out.as_mut_ptr());
    // A dozen sums are enough to hide how long an instruction takes; with fewer of them in flight
    // the next tile begins while the last one's sums become bytes.
    // SAFETY: the contract is that of this function; a tile takes as many panels as there are.
    unsafe {
        match end.bias.len() / PANEL {
            1 => tiles::<1, 8>(rows, weights, end, out),
            2 => tiles::<2, 6>(rows, weights, end, out),
            3 => tiles::<3, 4>(rows, weights, end, out),
            _ => tiles::<4, 3>(rows, weights, end, out),
        }
    }
}

/// All rows, in tiles of up to `ROWS`.
///
/// # Safety
/// As for [`multiply`], of which `weights` and `out` are; there are `PANELS`.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512vnni,avx512vbmi")]
unsafe fn tiles<const PANELS: usize, const ROWS: usize>(
    rows: &Rows<'_, u8>,
    weights: *const i8,
    end: &End<'_>,
    mut out: *mut u8,
) {
    let (whole, rest) = rows.starts.as_chunks::<ROWS>();
    // SAFETY: the contract is that of this function; `out` stays within the output's rows.
    unsafe {
        for starts in whole {
            tile::<PANELS, ROWS>(rows, weights, end, starts, out);
            out = out.wrapping_add(end.step.wrapping_mul(ROWS));
        }
        macro_rules! rest {
            ($($rows:literal)*) => {
                match rest.len() {
                    $($rows if $rows < ROWS => {
                        if let Some(starts) = rest.first_chunk() {
                            tile::<PANELS, $rows>(rows, weights, end, starts, out);
                        }
                    })*
                    _ => {}
                }
            };
        }
        rest!(1 2 3 4 5 6 7);
    }
}

/// `ROWS` rows; their sums stay in registers.
///
/// # Safety
/// As for [`tiles`]; `starts` are some of the rows', and `out` belongs to the first of them.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512vnni,avx512vbmi")]
unsafe fn tile<const PANELS: usize, const ROWS: usize>(
    rows: &Rows<'_, u8>,
    mut weights: *const i8,
    end: &End<'_>,
    starts: &[usize; ROWS],
    out: *mut u8,
) {
    // SAFETY: `super::super::multiply_quads` holds every row to the length of the factors, and the weights
    // to the rows.
    let sum = |sums: &mut [[__m512i; PANELS]; ROWS]| unsafe {
        let mut factors = starts.map(|start| rows.factors.as_ptr().add(start));
        for _ in 0..rows.segments {
            let mut at = 0_usize;
            for _ in 0..rows.groups {
                let mut columns = [_mm512_setzero_si512(); PANELS];
                for column in &mut columns {
                    *column = _mm512_loadu_si512(weights.cast());
                    weights = weights.wrapping_add(64);
                }
                for (row, sums) in factors.iter().zip(&mut *sums) {
                    let four = _mm512_set1_epi32(row.add(at).cast::<i32>().read_unaligned());
                    for (sum, column) in sums.iter_mut().zip(columns) {
                        *sum = _mm512_dpbusd_epi32(*sum, four, column);
                    }
                }
                at = at.wrapping_add(4);
            }
            for row in &mut factors {
                *row = row.wrapping_add(rows.segment_step);
            }
        }
    };
    // SAFETY: the contract is that of this function.
    unsafe { requantized(end, out, sum) };
}
