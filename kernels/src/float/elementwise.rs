//! Layers that take each value by itself.

use crate::float::Activation;
use crate::workers::Workers;
use crate::{Isa, arch};

/// Values that one part of the work takes: they stay in the first cache between two passes.
const PART: usize = 4096;

/// The sum of two tensors.
///
/// # Panics
/// The lengths differ.
pub fn add(
    isa: Isa,
    [a, b]: [&[f32]; 2],
    activation: Activation,
    output: &mut [f32],
    workers: &mut Workers,
) {
    assert!(a.len() == output.len() && b.len() == output.len());
    workers.for_each_chunk(output, PART, &|index, out, _| {
        let (a, b) = (
            &a[index * PART..][..out.len()],
            &b[index * PART..][..out.len()],
        );
        arch::vectorized(isa, || {
            for ((out, a), b) in out.iter_mut().zip(a).zip(b) {
                *out = a + b;
            }
        });
        activation.apply(isa, out);
    });
}

/// The product of a tensor and another, or of each of its pixels and the only one of another.
///
/// # Panics
/// The first length is not a multiple of the second.
pub fn multiply(
    isa: Isa,
    [a, b]: [&[f32]; 2],
    activation: Activation,
    output: &mut [f32],
    workers: &mut Workers,
) {
    assert!(a.len() == output.len() && !b.is_empty() && a.len().is_multiple_of(b.len()));
    let part = if a.len() == b.len() {
        PART
    } else {
        PART.next_multiple_of(b.len())
    };
    workers.for_each_chunk(output, part, &|index, out, _| {
        let a = &a[index * part..][..out.len()];
        let b = if part == PART && b.len() > PART {
            &b[index * part..][..out.len()]
        } else {
            b
        };
        arch::vectorized(isa, || {
            for (a, out) in a.chunks(b.len()).zip(out.chunks_mut(b.len())) {
                for ((out, a), b) in out.iter_mut().zip(a).zip(b) {
                    *out = a * b;
                }
            }
        });
        activation.apply(isa, out);
    });
}

/// A function of each value.
///
/// # Panics
/// The lengths differ.
pub fn activate(
    isa: Isa,
    input: &[f32],
    activation: Activation,
    output: &mut [f32],
    workers: &mut Workers,
) {
    assert_eq!(input.len(), output.len());
    workers.for_each_chunk(output, PART, &|index, out, _| {
        out.copy_from_slice(&input[index * PART..][..out.len()]);
        activation.apply(isa, out);
    });
}
