//! The order in which weights are multiplied.

/// Groups that are packed at a time: of 4 bytes they are a line of the cache.
const GROUPS: usize = 16;

/// Packs weights in the order output channel, row, column, input channel, of which `segment` belong
/// to each of `segments` rows. For `lanes` output channels after the other: for every row and every
/// `GROUP` of its weights those of each channel. `packed` is zero where there is none.
pub(crate) fn pack<T: From<i8>, const GROUP: usize>(
    weights: &[i8],
    [segments, segment]: [usize; 2],
    lanes: usize,
    packed: &mut [[T; GROUP]],
) {
    let (depth, groups) = (segments * segment, segment.div_ceil(GROUP));
    let sets = packed.chunks_mut(lanes * segments * groups);
    for (channels, packed) in weights.chunks(lanes * depth).zip(sets) {
        // Of the last channels there may be fewer side by side.
        let lanes = packed.len() / (segments * groups);
        for (row, packed) in packed.chunks_exact_mut(lanes * groups).enumerate() {
            for (block, packed) in packed.chunks_mut(lanes * GROUPS).enumerate() {
                let first = row * segment + block * GROUPS * GROUP;
                let end = ((row + 1) * segment).min(first + GROUPS * GROUP);
                for (lane, weights) in channels.chunks_exact(depth).enumerate() {
                    let (whole, rest) = weights[first..end].as_chunks::<GROUP>();
                    let mut packed = packed.chunks_exact_mut(lanes);
                    for (group, packed) in whole.iter().zip(&mut packed) {
                        packed[lane] = group.map(T::from);
                    }
                    if let Some(packed) = packed.next() {
                        for (to, weight) in packed[lane].iter_mut().zip(rest) {
                            *to = T::from(*weight);
                        }
                    }
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn every_weight_is_where_it_is_multiplied(
            segments in 1..=3_usize, segment in 1..=90_usize, channels in 1..=40_usize,
            panels in 1..=3_usize,
        ) {
            let (depth, groups, lanes) = (segments * segment, segment.div_ceil(4), 8 * panels);
            let weight = |channel: usize, at: usize| ((channel * 37 + at * 11) % 251) as u8 as i8;
            let weights: Vec<i8> = (0..channels)
                .flat_map(|channel| (0..depth).map(move |at| weight(channel, at)))
                .collect();
            let whole = channels.next_multiple_of(8);
            let mut packed = vec![[0_i16; 4]; whole * segments * groups];
            pack(&weights, [segments, segment], lanes, &mut packed);
            for channel in 0..whole {
                let first = channel / lanes * lanes;
                let lanes = lanes.min(whole - first);
                for row in 0..segments {
                    for at in 0..4 * groups {
                        let group = (row * groups + at / 4) * lanes + channel - first;
                        let found = packed[first * segments * groups + group][at % 4];
                        let there = channel < channels && at < segment;
                        let expected = if there { weight(channel, row * segment + at) } else { 0 };
                        prop_assert_eq!(found, i16::from(expected));
                    }
                }
            }
        }
    }
}
