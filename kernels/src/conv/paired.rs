//! Weights for products of bytes that are added up in 16 bits first.
//!
//! `vpmaddubsw` multiplies bytes of 0..=255 with weights and adds neighbours, in 16 bits: exact as
//! long as the weights of one sign add up to 128 at most, because 255 * 128 < 2^15. Sums of two such
//! instructions are still exact where that holds for the four weights together; only then do they
//! have to be widened. So groups of four values are taken in steps of two, paired so that their
//! weights fit each other; a group that fits no other is paired with weights of zero.

use crate::arch::{PANEL, Step, Steps};
use crate::packing::pack;

/// Values in a group.
const GROUP: usize = 4;

/// What weights of one sign may add up to.
const MOST: i16 = 128;

/// The weights of one group for a panel's channels.
type Group = [[i8; GROUP]; PANEL];

/// Panel after panel, each with steps of its own.
#[derive(Debug)]
pub(crate) struct Paired {
    steps: Vec<Step>,
    /// Where each panel's steps end.
    ends: Vec<usize>,
    /// How many values from its start on a row must have.
    reach: usize,
}

impl Paired {
    /// Packs `weights`, which are in the order output channel, row, column, input channel, where
    /// `segment` of them belong to a row, and the input's rows lie `row` values apart. Nothing if
    /// there is a group in which neighbours are too large.
    pub(crate) fn new(
        weights: &[i8],
        segments: usize,
        segment: usize,
        row: usize,
    ) -> Option<Paired> {
        let groups = segment.div_ceil(GROUP);
        let offsets: Vec<u32> = (0..segments)
            .flat_map(|y| (0..groups).map(move |group| y * row + group * GROUP))
            .map(|offset| offset.try_into().ok())
            .collect::<Option<_>>()?;
        let mut paired = Paired {
            steps: Vec::new(),
            ends: Vec::new(),
            reach: (segments - 1) * row + groups * GROUP,
        };
        for channels in weights.chunks(PANEL * segments * segment) {
            let mut panel = vec![[[0; GROUP]; PANEL]; segments * groups];
            pack(
                channels,
                [segments, segment],
                PANEL,
                panel.as_flattened_mut(),
            );
            let loads: Vec<Load> = panel.iter().map(Load::of).collect();
            if loads.iter().any(Load::is_too_large) {
                return None;
            }
            paired.add(&panel, &loads, &offsets);
        }
        Some(paired)
    }

    /// Adds a panel's groups: each with the first of the next few that it fits.
    fn add(&mut self, panel: &[Group], loads: &[Load], offsets: &[u32]) {
        const AHEAD: usize = 64;
        let mut taken = vec![false; panel.len()];
        for first in 0..panel.len() {
            if std::mem::replace(&mut taken[first], true) {
                continue;
            }
            let others = (first + 1..panel.len()).filter(|other| !taken[*other]);
            let fits = |other: &usize| !loads[first].with(&loads[*other]).is_too_large();
            let second = others.take(AHEAD).find(fits);
            let mut step = Step {
                offsets: [offsets[first]; 2],
                weights: [panel[first], [[0; GROUP]; PANEL]],
            };
            if let Some(second) = second {
                taken[second] = true;
                step.offsets[1] = offsets[second];
                step.weights[1] = panel[second];
            }
            self.steps.push(step);
        }
        self.ends.push(self.steps.len());
    }

    pub(crate) fn panel(&self, index: usize) -> Steps<'_> {
        let first = index.checked_sub(1).map_or(0, |before| self.ends[before]);
        Steps::new(&self.steps[first..self.ends[index]], self.reach)
    }
}

/// What the weights of each sign add up to, for each channel and pair of neighbours.
#[derive(Clone, Copy)]
struct Load {
    positive: [i16; 2 * PANEL],
    negative: [i16; 2 * PANEL],
}

impl Load {
    fn of(group: &Group) -> Load {
        let pairs = group.as_flattened().as_chunks::<2>().0;
        let sums = |sign: i16| {
            let mut sums = [0; 2 * PANEL];
            for (sum, pair) in sums.iter_mut().zip(pairs) {
                *sum = pair
                    .map(|weight| (sign * i16::from(weight)).max(0))
                    .iter()
                    .sum();
            }
            sums
        };
        Load {
            positive: sums(1),
            negative: sums(-1),
        }
    }

    fn with(&self, other: &Load) -> Load {
        let add = |a: &[i16; 2 * PANEL], b: &[i16; 2 * PANEL]| {
            std::array::from_fn(|index| a[index].saturating_add(b[index]))
        };
        Load {
            positive: add(&self.positive, &other.positive),
            negative: add(&self.negative, &other.negative),
        }
    }

    fn is_too_large(&self) -> bool {
        let loads = self.positive.iter().chain(&self.negative);
        loads.max().is_some_and(|load| *load > MOST)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::collection::vec;
    use proptest::prelude::*;

    proptest! {
        /// Every weight is in one step, at the offset of its value, and no sum can leave 16 bits,
        /// whatever the values are.
        #[test]
        fn steps_hold_every_weight_once_and_never_overflow(
            segments in 1..=3_usize, segment in 1..=40_usize, channels in 1..=20_usize,
            most in 0..=127_i8, seed in vec(any::<i8>(), 50..90),
        ) {
            let row = segment + 5;
            let weights: Vec<i8> = seed
                .iter()
                .cycle()
                .take(channels * segments * segment)
                .map(|weight| (*weight).clamp(-most, most))
                .collect();
            let Some(paired) = Paired::new(&weights, segments, segment, row) else {
                prop_assert!(most > 64, "weights of 64 always fit");
                return Ok(());
            };
            for (channel, weights) in weights.chunks_exact(segments * segment).enumerate() {
                let mut found = vec![0_i32; paired.reach];
                let steps = paired.panel(channel / PANEL);
                for step in steps.iter() {
                    for pair in [0, 2] {
                        let mut sums = [0_i32; 2];
                        for (offset, groups) in step.offsets.iter().zip(&step.weights) {
                            let group = groups[channel % PANEL];
                            for at in pair..pair + 2 {
                                found[*offset as usize + at] += i32::from(group[at]);
                                sums[usize::from(group[at] < 0)] += 255 * i32::from(group[at]);
                            }
                        }
                        prop_assert!(sums.iter().all(|sum| i16::try_from(*sum).is_ok()));
                    }
                }
                for (index, weight) in weights.iter().enumerate() {
                    let at = index / segment * row + index % segment;
                    prop_assert_eq!(std::mem::take(&mut found[at]), i32::from(*weight));
                }
                prop_assert!(found.iter().all(|weight| *weight == 0));
            }
        }
    }
}
