//! Items with few photos.

use rand::Rng;

/// How much a photo of each item counts so that all items count the same: 1 on average over the photos.
/// Items without photos have 1.
pub(crate) fn item_weights(items: &[usize], classes: usize) -> Vec<f32> {
    let counts = counts(items, classes);
    let present = counts.iter().filter(|&&count| count > 0).count();
    let weight = |&count: &usize| match count {
        0 => 1.0,
        count => items.len() as f32 / (present * count) as f32,
    };
    counts.iter().map(weight).collect()
}

/// As many photos as there are, every item as likely as every other.
pub(crate) fn draw(items: &[usize], classes: usize, rng: &mut impl Rng) -> Vec<usize> {
    let mut photos = vec![Vec::new(); classes];
    for (photo, &item) in items.iter().enumerate() {
        photos[item].push(photo);
    }
    photos.retain(|photos| !photos.is_empty());
    let mut below = |count: usize| (rng.next_u64() % count as u64) as usize;
    let one = |_| {
        let photos = &photos[below(photos.len())];
        photos[below(photos.len())]
    };
    (0..items.len()).map(one).collect()
}

fn counts(items: &[usize], classes: usize) -> Vec<usize> {
    let mut counts = vec![0; classes];
    for &item in items {
        counts[item] += 1;
    }
    counts
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::random::{Purpose, generator};
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn weighted_photos_of_every_item_count_the_same(
            items in proptest::collection::vec(0usize..6, 1..200),
        ) {
            let weights = item_weights(&items, 7);
            let totals: Vec<f32> = (0..6)
                .map(|item| items.iter().filter(|i| **i == item).count() as f32 * weights[item])
                .filter(|total| *total > 0.0)
                .collect();
            for total in &totals {
                prop_assert!((total - totals[0]).abs() < 1e-2 * totals[0]);
            }
            let sum: f32 = items.iter().map(|&item| weights[item]).sum();
            prop_assert!((sum / items.len() as f32 - 1.0).abs() < 1e-3);
        }
    }

    #[test]
    fn rare_items_are_drawn_as_often_as_others() {
        let mut items = vec![0; 9000];
        items.extend([2; 1000]);
        let drawn = draw(&items, 3, &mut generator(1, Purpose::Order, [0; 3]));
        assert_eq!(drawn.len(), items.len());
        let rare = drawn.iter().filter(|&&photo| items[photo] == 2).count();
        assert!((4700..5300).contains(&rare), "{rare}");
    }
}
