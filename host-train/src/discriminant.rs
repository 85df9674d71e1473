//! Linear discriminant analysis of features (Fisher 1936), with a shrunk covariance.
//!
//! It assumes that each item's features are normal around a mean of their own with a common
//! covariance `S`; the log-odds are then linear: `w_k = S^-1 m_k`, `c_k = -m_k w_k / 2`. Alone about as
//! good as softmax regression, and better together: one errs where the other does not.

use anyhow::{Result, ensure};
use models::Weights;
use serde::{Deserialize, Serialize};

use crate::features::Features;

/// How far the covariance is moved towards a multiple of the identity.
const SHRINKAGE: f64 = 0.1;

/// A linear classifier.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Discriminant {
    /// Rows of one value per feature, a row per item.
    weight: Vec<f32>,
    /// One per item.
    bias: Vec<f32>,
}

impl Discriminant {
    /// Fits rows of features with these items.
    ///
    /// # Errors
    /// The features do not vary or are not finite.
    pub(crate) fn fit(
        features: &Features,
        items: &[usize],
        classes: usize,
    ) -> Result<Discriminant> {
        let width = features.width;
        let means = means(features, items, classes);
        let mut covariance = covariance(features, items, &means);
        let trace: f64 = (0..width).map(|i| covariance[i * width + i]).sum();
        ensure!(
            trace.is_finite() && trace > 0.0,
            "the features of the photos do not vary"
        );
        covariance
            .iter_mut()
            .for_each(|value| *value *= 1.0 - SHRINKAGE);
        for i in 0..width {
            covariance[i * width + i] += SHRINKAGE * trace / width as f64;
        }
        factorize(&mut covariance, width);
        let mut discriminant = Discriminant {
            weight: Vec::new(),
            bias: Vec::new(),
        };
        for mean in means.chunks_exact(width) {
            let row = solve(&covariance, mean);
            let product: f64 = mean.iter().zip(&row).map(|(m, w)| m * w).sum();
            discriminant.bias.push((-0.5 * product) as f32);
            discriminant.weight.extend(row.iter().map(|&w| w as f32));
        }
        // What all items have in common changes no decision, only the size of the outputs.
        center(&mut discriminant.weight, width);
        center(&mut discriminant.bias, 1);
        Ok(discriminant)
    }

    /// All outputs times `part`.
    pub(crate) fn scaled(mut self, part: f32) -> Discriminant {
        self.weight
            .iter_mut()
            .chain(&mut self.bias)
            .for_each(|value| *value *= part);
        self
    }

    /// Adds this classifier to another.
    pub(crate) fn add_to(&self, weights: &mut Weights, classifier: &str) {
        for (kind, ours) in [("weight", &self.weight), ("bias", &self.bias)] {
            if let Some(tensor) = weights.get_mut(&format!("{classifier}.{kind}")) {
                tensor
                    .data
                    .iter_mut()
                    .zip(ours)
                    .for_each(|(value, more)| *value += more);
            }
        }
    }

    /// Adds this classifier's outputs for rows of features to those of another.
    pub(crate) fn add_outputs(&self, rows: &[f32], outputs: &mut [f32]) {
        let classes = self.bias.len();
        let width = self.weight.len() / classes;
        for (row, output) in rows
            .chunks_exact(width)
            .zip(outputs.chunks_exact_mut(classes))
        {
            let own = self.weight.chunks_exact(width).zip(&self.bias);
            for ((weight, bias), output) in own.zip(output) {
                *output += bias + weight.iter().zip(row).map(|(w, x)| w * x).sum::<f32>();
            }
        }
    }
}

/// Subtracts the mean row from every row.
fn center(rows: &mut [f32], width: usize) {
    let count = (rows.len() / width).max(1) as f64;
    for column in 0..width {
        let of_column = rows.iter().skip(column).step_by(width);
        let mean = of_column.map(|&x| f64::from(x)).sum::<f64>() / count;
        rows.iter_mut()
            .skip(column)
            .step_by(width)
            .for_each(|x| *x -= mean as f32);
    }
}

/// The mean row of each item; zeros for an item without rows.
fn means(features: &Features, items: &[usize], classes: usize) -> Vec<f64> {
    let width = features.width;
    let mut means = vec![0.0; classes * width];
    let mut counts = vec![0usize; classes];
    for (row, &item) in features.rows.chunks_exact(width).zip(items) {
        counts[item] += 1;
        let mean = &mut means[item * width..(item + 1) * width];
        mean.iter_mut()
            .zip(row)
            .for_each(|(sum, &x)| *sum += f64::from(x));
    }
    for (mean, count) in means.chunks_exact_mut(width).zip(counts) {
        mean.iter_mut().for_each(|sum| *sum /= count.max(1) as f64);
    }
    means
}

/// The covariance of rows around their items' means: its lower triangle, row by row.
fn covariance(features: &Features, items: &[usize], means: &[f64]) -> Vec<f64> {
    let width = features.width;
    let mut covariance = vec![0.0; width * width];
    let mut apart = vec![0.0; width];
    for (row, &item) in features.rows.chunks_exact(width).zip(items) {
        let mean = &means[item * width..(item + 1) * width];
        for ((apart, &x), mean) in apart.iter_mut().zip(row).zip(mean) {
            *apart = f64::from(x) - mean;
        }
        for (i, line) in covariance.chunks_exact_mut(width).enumerate() {
            let factor = apart[i];
            line[..=i]
                .iter_mut()
                .zip(&apart)
                .for_each(|(sum, x)| *sum += factor * x);
        }
    }
    let count = items.len().max(1) as f64;
    covariance.iter_mut().for_each(|sum| *sum /= count);
    covariance
}

/// Replaces the lower triangle of a positive definite matrix by its Cholesky factor.
fn factorize(matrix: &mut [f64], width: usize) {
    for i in 0..width {
        let (above, rest) = matrix.split_at_mut(i * width);
        let row = &mut rest[..width];
        for j in 0..i {
            let other = &above[j * width..];
            row[j] = (row[j] - dot(&row[..j], &other[..j])) / other[j];
        }
        row[i] = (row[i] - dot(&row[..i], &row[..i])).sqrt();
    }
}

/// Solves `L L^T x = b` for the factor `L` that [`factorize`] leaves.
fn solve(factor: &[f64], b: &[f64]) -> Vec<f64> {
    let width = b.len();
    let mut x = b.to_vec();
    for i in 0..width {
        let row = &factor[i * width..];
        x[i] = (x[i] - dot(&row[..i], &x[..i])) / row[i];
    }
    for i in (0..width).rev() {
        x[i] /= factor[i * width + i];
        let known = x[i];
        for (unknown, value) in x[..i].iter_mut().zip(&factor[i * width..]) {
            *unknown -= value * known;
        }
    }
    x
}

fn dot(a: &[f64], b: &[f64]) -> f64 {
    // Four sums at once, so that the compiler can use vectors.
    let (quads_a, rest_a) = a.as_chunks::<4>();
    let (quads_b, rest_b) = b.as_chunks::<4>();
    let mut sums = [0.0; 4];
    for (a, b) in quads_a.iter().zip(quads_b) {
        for lane in 0..4 {
            sums[lane] += a[lane] * b[lane];
        }
    }
    let rest: f64 = rest_a.iter().zip(rest_b).map(|(a, b)| a * b).sum();
    sums.iter().sum::<f64>() + rest
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::random::{Purpose, generator, normal};
    use crate::step::highest;

    #[test]
    fn solving_undoes_a_product() {
        let width = 9;
        let mut rng = generator(1, Purpose::Weights, [0; 3]);
        let a: Vec<f64> = (0..width * width)
            .map(|_| f64::from(normal(&mut rng)))
            .collect();
        let row = |i: usize| &a[i * width..(i + 1) * width];
        // a a^T + 1, which is positive definite.
        let mut matrix: Vec<f64> = (0..width * width)
            .map(|n| dot(row(n / width), row(n % width)) + f64::from(n / width == n % width))
            .collect();
        let x: Vec<f64> = (0..width).map(|_| f64::from(normal(&mut rng))).collect();
        let b: Vec<f64> = matrix.chunks_exact(width).map(|row| dot(row, &x)).collect();
        factorize(&mut matrix, width);
        for (found, wanted) in solve(&matrix, &b).iter().zip(&x) {
            assert!((found - wanted).abs() < 1e-9, "{found} {wanted}");
        }
    }

    #[test]
    fn it_tells_apart_what_is_apart_along_a_noisy_axis() {
        let mut rng = generator(2, Purpose::Weights, [0; 3]);
        let (width, classes, count) = (6, 3, 600);
        let items: Vec<usize> = (0..count).map(|n| n % classes).collect();
        let rows = items.iter().flat_map(|&item| {
            let common = 10.0 * normal(&mut rng);
            let own: Vec<f32> = (0..width)
                .map(|f| common + f32::from(u8::from(f == item)) * 4.0 + 0.5 * normal(&mut rng))
                .collect();
            own
        });
        let features = Features {
            rows: rows.collect(),
            width,
        };
        let found = Discriminant::fit(&features, &items, classes).unwrap();
        let mut outputs = vec![0.0; count * classes];
        found.add_outputs(&features.rows, &mut outputs);
        let right = outputs
            .chunks(classes)
            .zip(&items)
            .filter(|(o, i)| highest(o) == **i)
            .count();
        assert!(right * 100 >= count * 97, "{right} of {count}");
    }

    #[test]
    fn features_that_never_vary_are_an_error() {
        let features = Features {
            rows: vec![1.0; 20],
            width: 2,
        };
        assert!(Discriminant::fit(&features, &[0; 10], 1).is_err());
    }
}
