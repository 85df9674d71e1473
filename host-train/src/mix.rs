//! Photos mixed with other photos of their batch.

use models::PreprocessSpec;
use rand::Rng;

use crate::config::AugmentConfig;
use crate::loader::{Batch, square_len};
use crate::random::unit;
use crate::step::Target;

/// A batch to learn from.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Mixed {
    /// Packed RGB squares, one after the other.
    pub(crate) pixels: Vec<u8>,
    /// What each should be recognised as.
    pub(crate) targets: Vec<Target>,
}

/// Mixes every photo with its counterpart from the other end of the batch, if the settings say so:
/// pixel by pixel (Zhang et al., "mixup", 2018) or a rectangle of one into the other (Yun et al.,
/// "CutMix", 2019), by a share drawn from a beta distribution; with both, one of them at a time.
pub(crate) fn mix(
    batch: Batch,
    config: &AugmentConfig,
    spec: &PreprocessSpec,
    rng: &mut impl Rng,
) -> Mixed {
    let targets: Vec<Target> = batch.items.iter().map(|&item| Target::new(item)).collect();
    let mut mixed = Mixed {
        pixels: batch.pixels,
        targets,
    };
    let cuts = match (config.mixup > 0.0, config.cutmix > 0.0) {
        (false, false) => return mixed,
        (true, true) => unit(rng) < 0.5,
        (_, cuts) => cuts,
    };
    let alpha = if cuts { config.cutmix } else { config.mixup };
    let share = beta(alpha, rng);
    let source = mixed.pixels.clone();
    let size = square_len(spec);
    let side = spec.size as usize;
    let cut = Rectangle::draw(side, share, rng);
    let count = batch.items.len();
    for (index, square) in mixed.pixels.chunks_exact_mut(size).enumerate() {
        let other = count - 1 - index;
        let from = &source[other * size..(other + 1) * size];
        let share = match cuts {
            true => cut.copy(square, from, side),
            false => blend(square, from, share),
        };
        mixed.targets[index].mixed = (batch.items[other], share);
    }
    mixed
}

/// Puts a share of `from` into every pixel; gives the share.
fn blend(square: &mut [u8], from: &[u8], share: f32) -> f32 {
    for (value, &other) in square.iter_mut().zip(from) {
        *value = (f32::from(*value) * (1.0 - share) + f32::from(other) * share).round() as u8;
    }
    share
}

/// A part of a square.
struct Rectangle {
    rows: std::ops::Range<usize>,
    columns: std::ops::Range<usize>,
}

impl Rectangle {
    /// Around any pixel, with this share of the area where it does not leave the square.
    fn draw(side: usize, share: f32, rng: &mut impl Rng) -> Rectangle {
        let half = share.sqrt() * side as f32 / 2.0;
        let mut range = || {
            let centre = unit(rng) * side as f32;
            let start = (centre - half).max(0.0) as usize;
            let end = ((centre + half) as usize).min(side);
            start.min(end)..end
        };
        Rectangle {
            rows: range(),
            columns: range(),
        }
    }

    /// Copies this part of `from`; gives its share of the area.
    fn copy(&self, square: &mut [u8], from: &[u8], side: usize) -> f32 {
        for row in self.rows.clone() {
            let part = (row * side + self.columns.start) * 3..(row * side + self.columns.end) * 3;
            square[part.clone()].copy_from_slice(&from[part]);
        }
        (self.rows.len() * self.columns.len()) as f32 / (side * side) as f32
    }
}

/// Beta-distributed with both parameters `alpha`, at most 1 (Jöhnk 1964).
fn beta(alpha: f32, rng: &mut impl Rng) -> f32 {
    let alpha = alpha.clamp(0.01, 1.0);
    // Each try succeeds with probability of at least a half; the bound only rules out an endless loop.
    for _ in 0..1000 {
        let x = unit(rng).powf(1.0 / alpha);
        let y = unit(rng).powf(1.0 / alpha);
        if x + y > 0.0 && x + y <= 1.0 {
            return x / (x + y);
        }
    }
    0.5
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::random::{Purpose, generator};
    use models::Filter;

    const SIDE: u32 = 12;

    fn spec() -> PreprocessSpec {
        PreprocessSpec {
            size: SIDE,
            fill: [255; 3],
            filter: Filter::Triangle,
            mean: [0.5; 3],
            std: [0.5; 3],
        }
    }

    /// Photo `n` is all of the value `50 n`.
    fn batch() -> Batch {
        let size = square_len(&spec());
        Batch {
            pixels: (0..3u8).flat_map(|n| vec![50 * n; size]).collect(),
            items: vec![4, 5, 6],
        }
    }

    fn mixed(config: &AugmentConfig, seed: u64) -> Mixed {
        let mut rng = generator(seed, Purpose::Mix, [0; 3]);
        mix(batch(), config, &spec(), &mut rng)
    }

    #[test]
    fn without_mixing_a_batch_stays_as_it_is() {
        let plain = mixed(&AugmentConfig::off(), 1);
        assert_eq!(plain.pixels, batch().pixels);
        assert_eq!(plain.targets, [4, 5, 6].map(Target::new));
    }

    #[test]
    fn the_share_in_the_target_is_the_share_of_the_pixels() {
        for (mixup, cutmix) in [(0.4, 0.0), (0.0, 1.0), (1.0, 0.3)] {
            let config = AugmentConfig {
                mixup,
                cutmix,
                ..AugmentConfig::off()
            };
            for seed in 0..50 {
                let mixed = mixed(&config, seed);
                let size = square_len(&spec());
                let first = &mixed.pixels[..size];
                let mean = first.iter().map(|&x| f32::from(x)).sum::<f32>() / size as f32;
                let (other, share) = mixed.targets[0].mixed;
                assert_eq!((mixed.targets[0].item, other), (4, 6));
                // The first photo is 0, what is mixed in is 100.
                assert!((mean - 100.0 * share).abs() <= 0.51, "{mean} {share}");
            }
        }
    }

    #[test]
    fn beta_has_its_mean_and_variance() {
        for alpha in [0.2f32, 0.5, 1.0] {
            let mut rng = generator(3, Purpose::Mix, [1; 3]);
            let draws: Vec<f64> = (0..20_000)
                .map(|_| f64::from(beta(alpha, &mut rng)))
                .collect();
            let mean = draws.iter().sum::<f64>() / draws.len() as f64;
            let square = draws.iter().map(|x| (x - mean).powi(2)).sum::<f64>();
            let variance = square / draws.len() as f64;
            let expected = 1.0 / (4.0 * (2.0 * f64::from(alpha) + 1.0));
            assert!((mean - 0.5).abs() < 0.01, "{alpha}: {mean}");
            assert!((variance - expected).abs() < 0.01, "{alpha}: {variance}");
        }
    }
}
