//! The sizes of photos.

use std::collections::BTreeMap;
use std::fmt;

use serde::Serialize;

/// How values are distributed.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub(super) struct Spread {
    pub(super) least: u32,
    pub(super) lower_quarter: u32,
    pub(super) median: u32,
    pub(super) upper_quarter: u32,
    pub(super) most: u32,
}

#[derive(Debug, PartialEq, Serialize)]
pub(super) struct SizeCount {
    pub(super) width: u32,
    pub(super) height: u32,
    pub(super) photos: usize,
}

impl Spread {
    /// Zeros where there is no value.
    pub(super) fn of(values: impl Iterator<Item = u32>) -> Spread {
        let mut sorted: Vec<u32> = values.collect();
        sorted.sort_unstable();
        let at = |quarters: usize| {
            let last = sorted.len().saturating_sub(1);
            sorted.get(last * quarters / 4).copied().unwrap_or(0)
        };
        Spread {
            least: at(0),
            lower_quarter: at(1),
            median: at(2),
            upper_quarter: at(3),
            most: at(4),
        }
    }
}

impl fmt::Display for Spread {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Spread {
            least,
            lower_quarter,
            median,
            upper_quarter,
            most,
        } = self;
        write!(
            f,
            "{least} to {most}, median {median}, half of them {lower_quarter} to {upper_quarter}"
        )
    }
}

/// Every size with its photos, the commonest first.
pub(super) fn size_counts(sizes: impl Iterator<Item = [u32; 2]>) -> Vec<SizeCount> {
    let mut counts: BTreeMap<[u32; 2], usize> = BTreeMap::new();
    sizes.for_each(|size| *counts.entry(size).or_default() += 1);
    let count = |([width, height], photos): ([u32; 2], usize)| SizeCount {
        width,
        height,
        photos,
    };
    let mut counts: Vec<SizeCount> = counts.into_iter().map(count).collect();
    counts.sort_by_key(|size| std::cmp::Reverse(size.photos));
    counts
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quarters_and_counts() {
        let spread = Spread::of([9, 1, 7, 3, 5].into_iter());
        assert_eq!(spread.to_string(), "1 to 9, median 5, half of them 3 to 7");
        assert_eq!(Spread::of([].into_iter()).most, 0);
        let sizes = size_counts([[4, 3], [2, 2], [4, 3]].into_iter());
        let count = |width, height, photos| SizeCount {
            width,
            height,
            photos,
        };
        assert_eq!(sizes, [count(4, 3, 2), count(2, 2, 1)]);
    }
}
