//! Every random number of a training run.
//!
//! A generator is made anew from the run's seed, a purpose and a position (epoch, sample, step...),
//! and never carried along. So the numbers do not depend on how many threads draw them, and a
//! resumed run draws the same ones as a run that was never stopped.

use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;

/// What the numbers are for; each purpose has its own sequence.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Purpose {
    /// First weights: position = parameter.
    Weights = 1,
    /// Order of the photos: position = epoch.
    Order = 2,
    /// Augmentation: position = epoch, sample.
    Augment = 3,
    /// Dropout masks: position = step, row, node.
    Dropout = 4,
    /// Images for a parity check where the photos are gone: position = image.
    Parity = 5,
    /// What is mixed into a batch: position = epoch, batch.
    Mix = 6,
}

/// The generator for one purpose and position.
pub(crate) fn generator(seed: u64, purpose: Purpose, position: [u64; 3]) -> ChaCha8Rng {
    let mut bytes = [0u8; 32];
    // A seed shares its first word with the purpose; multiplying by an odd number keeps all of it.
    let first = seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) ^ (purpose as u64) << 56;
    for (to, word) in bytes
        .chunks_exact_mut(8)
        .zip([first, position[0], position[1], position[2]])
    {
        to.copy_from_slice(&word.to_le_bytes());
    }
    ChaCha8Rng::from_seed(bytes)
}

/// Uniform in `0.0..1.0`.
pub(crate) fn unit(rng: &mut impl Rng) -> f32 {
    (rng.next_u32() >> 8) as f32 / (1u32 << 24) as f32
}

/// Uniform in `low..high`.
pub(crate) fn between(rng: &mut impl Rng, low: f32, high: f32) -> f32 {
    low + (high - low) * unit(rng)
}

/// Standard normal (Box and Muller 1958).
pub(crate) fn normal(rng: &mut impl Rng) -> f32 {
    let radius = (-2.0 * (1.0 - unit(rng)).ln()).sqrt();
    radius * (std::f32::consts::TAU * unit(rng)).cos()
}

/// Shuffles in place (Fisher and Yates).
pub(crate) fn shuffle<T>(rng: &mut impl Rng, items: &mut [T]) {
    for last in (1..items.len()).rev() {
        let other = (rng.next_u64() % (last as u64 + 1)) as usize;
        items.swap(last, other);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_depend_on_seed_purpose_and_position_only() {
        let first = |seed, purpose, position| generator(seed, purpose, position).next_u64();
        let base = first(1, Purpose::Order, [0, 0, 0]);
        assert_eq!(base, first(1, Purpose::Order, [0, 0, 0]));
        assert_ne!(base, first(2, Purpose::Order, [0, 0, 0]));
        assert_ne!(base, first(1, Purpose::Augment, [0, 0, 0]));
        assert_ne!(base, first(1, Purpose::Order, [1, 0, 0]));
        assert_ne!(base, first(1, Purpose::Order, [0, 0, 1]));
    }

    #[test]
    fn normals_have_mean_zero_and_variance_one() {
        let mut rng = generator(7, Purpose::Weights, [0; 3]);
        let draws: Vec<f64> = (0..20_000).map(|_| f64::from(normal(&mut rng))).collect();
        let mean = draws.iter().sum::<f64>() / draws.len() as f64;
        let variance = draws.iter().map(|x| (x - mean).powi(2)).sum::<f64>() / draws.len() as f64;
        assert!(
            mean.abs() < 0.03 && (variance - 1.0).abs() < 0.05,
            "{mean} {variance}"
        );
    }

    #[test]
    fn shuffling_keeps_every_item() {
        let mut items: Vec<usize> = (0..100).collect();
        shuffle(&mut generator(3, Purpose::Order, [0; 3]), &mut items);
        assert_ne!(items, (0..100).collect::<Vec<_>>());
        items.sort_unstable();
        assert_eq!(items, (0..100).collect::<Vec<_>>());
    }
}
