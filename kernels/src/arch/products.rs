//! Matrix products of int8 layers.

use std::ops::RangeInclusive;

#[cfg(target_arch = "aarch64")]
use super::neon;
use super::portable;
#[cfg(target_arch = "x86_64")]
use super::{avx2, avx512};
use crate::factor::Factor;
use crate::isa::Kind;
use crate::{Isa, Range};

/// Output channels in a panel of packed weights.
pub(crate) const PANEL: usize = 16;

/// The input side of a matrix product.
///
/// A row is `segments` runs of `groups` groups of factors, `segment_step` factors apart.
pub(crate) struct Rows<'a, T> {
    pub(super) factors: &'a [T],
    /// Where in `factors` each row starts.
    pub(super) starts: &'a [usize],
    pub(super) segments: usize,
    pub(super) segment_step: usize,
    pub(super) groups: usize,
    /// Where the row ends that starts last.
    pub(super) end: usize,
}

impl<'a, T: Factor> Rows<'a, T> {
    pub(crate) fn new(
        factors: &'a [T],
        starts: &'a [usize],
        [segments, segment_step]: [usize; 2],
        groups: usize,
    ) -> Rows<'a, T> {
        let end = largest(starts) + (segments - 1) * segment_step + T::GROUP * groups;
        Rows {
            factors,
            starts,
            segments,
            segment_step,
            groups,
            end,
        }
    }

    /// Factors in a row.
    pub(crate) fn len(&self) -> usize {
        self.segments * self.groups * T::GROUP
    }
}

/// The largest of some; four at a time, because each comparison waits for the one before.
fn largest(values: &[usize]) -> usize {
    let (fours, rest) = values.as_chunks::<4>();
    let mut most = [0; 4];
    for four in fours {
        for (most, value) in most.iter_mut().zip(four) {
            *most = (*most).max(*value);
        }
    }
    most.iter().chain(rest).copied().max().unwrap_or(0)
}

/// One panel of weights and what becomes of the sums.
pub(crate) struct Panel<'a, T> {
    /// For every segment and group of factors the weights of each channel.
    pub(crate) weights: &'a [T],
    /// Whether a weight may be -128.
    #[cfg_attr(
        not(target_arch = "aarch64"),
        allow(dead_code, reason = "only smull has to know")
    )]
    pub(crate) extreme: bool,
    pub(crate) end: End<'a>,
}

/// What becomes of the sums of a panel, or of some side by side.
#[derive(Clone, Copy)]
pub(crate) struct End<'a> {
    pub(crate) bias: &'a [i32],
    pub(crate) scale: &'a [f32],
    pub(crate) range: Range,
    /// How many of the channels exist.
    pub(crate) columns: usize,
    /// From one row of the output to the next.
    pub(crate) step: usize,
    /// Whether sums times scales fit in 16 bits.
    #[cfg_attr(
        not(target_arch = "aarch64"),
        allow(dead_code, reason = "only NEON narrows by an instruction of its own")
    )]
    pub(crate) fits_words: bool,
}

impl End<'_> {
    /// Holds all lengths to each other.
    pub(super) fn check(&self, panels: RangeInclusive<usize>, rows: usize, out: &[u8]) {
        let channels = self.bias.len();
        assert!(channels.is_multiple_of(PANEL) && panels.contains(&(channels / PANEL)));
        assert!(rows > 0 && (1..=channels).contains(&self.columns));
        assert!(self.scale.len() == channels);
        assert!(out.len() >= (rows - 1) * self.step + self.columns);
    }
}

/// Two groups of factors and their weights for each channel of a panel: in 16 bits no sum of
/// products of neighbours in both can overflow.
#[derive(Clone, Debug)]
#[repr(C)]
pub(crate) struct Step {
    pub(crate) weights: [[[i8; 4]; PANEL]; 2],
    /// Where in a row the groups lie.
    pub(crate) offsets: [u32; 2],
}

/// The steps of one panel.
pub(crate) struct Steps<'a> {
    steps: &'a [Step],
    reach: usize,
}

impl<'a> Steps<'a> {
    /// `reach` is how many factors a row has; the steps lie within.
    pub(crate) fn new(steps: &'a [Step], reach: usize) -> Steps<'a> {
        let within = |step: &Step| step.offsets.iter().all(|at| *at as usize + 4 <= reach);
        debug_assert!(steps.iter().all(within));
        Steps { steps, reach }
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &'a Step> {
        self.steps.iter()
    }
}

/// Holds all lengths to each other.
fn check<T: Factor, W>(
    rows: &Rows<'_, T>,
    weights: &[W],
    end: &End<'_>,
    panels: RangeInclusive<usize>,
    out: &[u8],
) {
    end.check(panels, rows.starts.len(), out);
    assert!(weights.len() == rows.len() * end.bias.len());
    assert!(rows.end <= rows.factors.len());
}

/// The sums of all rows with one panel, requantized.
pub(crate) fn multiply_words(
    isa: Isa,
    rows: &Rows<'_, i16>,
    panel: &Panel<'_, i16>,
    out: &mut [u8],
) {
    check(rows, panel.weights, &panel.end, 1..=1, out);
    match isa.0 {
        #[cfg(target_arch = "x86_64")]
        // SAFETY: an Isa is made only where the CPU has it; lengths are checked above.
        Kind::Avx2 | Kind::Vnni => unsafe { avx2::multiply(rows, panel, out) },
        _ => portable::multiply(rows, panel.weights, &panel.end, out),
    }
}

/// As [`multiply_words`], with factors and weights of 8 bits.
pub(crate) fn multiply_bytes(isa: Isa, rows: &Rows<'_, i8>, panel: &Panel<'_, i8>, out: &mut [u8]) {
    check(rows, panel.weights, &panel.end, 1..=1, out);
    match isa.0 {
        #[cfg(target_arch = "aarch64")]
        // SAFETY: an Isa is made only where the CPU has it; lengths are checked above.
        Kind::Neon => unsafe { neon::multiply(rows, panel, out) },
        #[cfg(target_arch = "aarch64")]
        // SAFETY: as above.
        Kind::DotProduct => unsafe { neon::multiply_dot(rows, panel, out) },
        #[cfg(target_arch = "aarch64")]
        // SAFETY: as above; `in_order` has put the weights so.
        Kind::Matrix => unsafe { neon::multiply_matrix(rows, panel, out) },
        _ => portable::multiply(rows, panel.weights, &panel.end, out),
    }
}

/// Puts the packed weights of some segments in the order in which [`multiply_bytes`] reads them.
pub(crate) fn in_order(isa: Isa, weights: &mut [i8], groups: usize) {
    match isa.0 {
        #[cfg(target_arch = "aarch64")]
        Kind::Matrix => neon::in_order(weights, groups),
        _ => _ = (weights, groups),
    }
}

/// As [`multiply_words`], with bytes as they are and the weights in steps.
pub(crate) fn multiply_pairs(
    isa: Isa,
    rows: &Rows<'_, u8>,
    steps: &Steps<'_>,
    end: &End<'_>,
    out: &mut [u8],
) {
    end.check(1..=1, rows.starts.len(), out);
    let last = rows.starts.iter().max().copied().unwrap_or(0);
    assert!(last + steps.reach <= rows.factors.len());
    match isa.0 {
        #[cfg(target_arch = "x86_64")]
        // SAFETY: an Isa is made only where the CPU has it; rows and steps are checked above.
        Kind::Avx2 | Kind::Vnni => unsafe { avx2::multiply_pairs(rows, steps, end, out) },
        _ => portable::multiply_pairs(rows, steps, end, out),
    }
}

/// The most panels that [`multiply_quads`] takes side by side.
pub(crate) const ABREAST: usize = 4;

/// As [`multiply_words`], with scales of at most 1/2, bytes as they are, and the weights of some panels side by side:
/// for every segment and group of four factors those of each channel.
pub(crate) fn multiply_quads(
    isa: Isa,
    rows: &Rows<'_, u8>,
    weights: &[i8],
    end: &End<'_>,
    out: &mut [u8],
) {
    check(rows, weights, end, 1..=ABREAST, out);
    match isa.0 {
        #[cfg(target_arch = "x86_64")]
        // SAFETY: an Isa is made only where the CPU has it; lengths are checked above.
        Kind::Vnni => unsafe { avx512::multiply(rows, weights, end, out) },
        _ => portable::multiply(rows, weights, end, out),
    }
}
