//! Scales with which every runtime rounds sums and products to the same byte.
//!
//! A sum of two 8-bit tensors has one value for each pair of bytes. Where that value lies halfway between two
//! bytes, but for the rounding of f32, runtimes differ: one adds the zero point before it rounds, another
//! multiplies and adds in one step. One byte in a million is enough: behind some layers half of all bytes differ.

use super::scheme::consumers;
use super::{Affine, Role, roles};
use crate::graph::{Activation, Graph, Op};

/// How close to halfway a value may come, in bytes: what is summed is some hundred bytes, of which f32 keeps
/// 24 bits in each of a few steps.
const MARGIN: f64 = 1.0 / 32768.0;
/// A scale grows by this part of itself until nothing is close.
const STEP: f32 = 1.0 / 65536.0;
/// How often at most: 3%.
const STEPS: usize = 2048;
/// How the gate of a product with a function of itself is rounded.
pub const GATE: Affine = Affine {
    scale: 1.0 / 255.0,
    zero_point: 0,
};

/// Makes the scales of sums and products a little larger, so that no pair of bytes gives a value halfway between
/// two bytes. `ranges` has a rounding for every node, as [`Scheme::new`](super::Scheme::new) takes them.
pub fn avoid_ties(graph: &Graph, ranges: &mut [Affine]) {
    let (roles, consumers) = (roles(graph), consumers(graph));
    for (index, node) in graph.nodes.iter().enumerate() {
        // A ReLU limits the value before it is rounded, with its own range.
        let output = match (roles[index], consumers[index].as_slice()) {
            (Role::Own, _) => index,
            (Role::Fused, [only]) => *only,
            _ => continue,
        };
        let input = |place: usize| match roles[node.inputs[place]] {
            Role::Shared(owner) => ranges[owner],
            _ => ranges[node.inputs[place]],
        };
        let pairs = || (0..=u8::MAX).flat_map(|a| (0..=u8::MAX).map(move |b| [a, b]));
        let values: Vec<f64> = match node.op {
            Op::Add => {
                let [a, b] = [exact(input(0)), exact(input(1))];
                pairs()
                    .map(|[x, y]| a[usize::from(x)] + b[usize::from(y)])
                    .collect()
            }
            Op::Mul => {
                let [a, b] = [exact(input(0)), exact(input(1))];
                pairs()
                    .map(|[x, y]| a[usize::from(x)] * b[usize::from(y)])
                    .collect()
            }
            Op::Activation(activation @ (Activation::Silu | Activation::HardSwish)) => {
                let values = exact(input(0)).into_iter();
                values
                    .map(|value| value * gate(activation, value))
                    .collect()
            }
            _ => continue,
        };
        let first = ranges[output];
        for step in 0..STEPS {
            let scale = first.scale * (1.0 + STEP * step as f32);
            let tried = Affine { scale, ..first };
            if !any_tie(&values, tried) {
                ranges[output] = tried;
                break;
            }
        }
    }
}

/// What every byte stands for.
fn exact(affine: Affine) -> Vec<f64> {
    let steps = |byte: u8| f64::from(byte) - f64::from(affine.zero_point);
    let values = (0..=u8::MAX).map(|byte| steps(byte) * f64::from(affine.scale));
    values.collect()
}

/// The rounded gate of a sigmoid linear unit.
fn gate(activation: Activation, value: f64) -> f64 {
    let gate = match activation {
        Activation::Silu => 1.0 / (1.0 + (-value).exp()),
        _ => (value / 6.0 + 0.5).clamp(0.0, 1.0),
    };
    f64::from(GATE.round(gate as f32))
}

/// Whether a value within the range is nearly halfway between two bytes.
fn any_tie(values: &[f64], affine: Affine) -> bool {
    let (per_unit, zero_point) = (1.0 / f64::from(affine.scale), f64::from(affine.zero_point));
    values.iter().any(|value| {
        let bytes = value * per_unit + zero_point;
        let from_half = (bytes - bytes.floor() - 0.5).abs();
        from_half < MARGIN && (0.0..f64::from(u8::MAX)).contains(&bytes)
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::graph::Node;

    fn node(name: &str, op: Op, inputs: &[usize]) -> Node {
        Node {
            name: name.into(),
            op,
            inputs: inputs.to_vec(),
        }
    }

    /// A sum with a ReLU, a product with its own input, and SiLU of that.
    fn graph() -> Graph {
        Graph {
            name: "ties".into(),
            input: [3, 4, 4],
            nodes: vec![
                node("input", Op::Input, &[]),
                node("gate", Op::Activation(Activation::Sigmoid), &[0]),
                node("sum", Op::Add, &[0, 1]),
                node("relu", Op::Activation(Activation::Relu), &[2]),
                node("product", Op::Mul, &[3, 1]),
                node("silu", Op::Activation(Activation::Silu), &[4]),
                node("pool", Op::GlobalAvgPool, &[5]),
            ],
        }
    }

    fn draw(seed: u64) -> Vec<Affine> {
        let mut state = seed;
        let mut next = || {
            state = state
                .wrapping_mul(6364136223846793005)
                .wrapping_add(1442695040888963407);
            (state >> 40) as f32 / (1u64 << 24) as f32
        };
        let mut affine = |scale: f32| Affine {
            scale: scale * (0.5 + next()),
            zero_point: (200.0 * next()) as u8,
        };
        // A sum has about twice the range, and a product of steps some hundred times their size.
        [0.02, 0.02, 0.04, 0.04, 0.1, 0.1, 0.1]
            .map(&mut affine)
            .to_vec()
    }

    /// Bytes of a sum as three runtimes compute them: by ONNX's words, with the zero point added behind
    /// the rounding, and in fused steps.
    fn sums(a: Affine, b: Affine, out: Affine, x: u8, y: u8) -> [u8; 3] {
        let byte = |value: f32| value.clamp(0.0, 255.0) as u8;
        let [ra, rb] = [a.scale / out.scale, b.scale / out.scale];
        let [za, zb, zero] = [a, b, out].map(|affine| f32::from(affine.zero_point));
        let [x32, y32] = [x, y].map(f32::from);
        let apart = ((x32 - za) * ra + (y32 - zb) * rb).round_ties_even() + zero;
        let fixed = zero - ra.mul_add(za, rb * zb);
        let fused = x32.mul_add(ra, y32.mul_add(rb, fixed)).round_ties_even();
        [
            out.quantize(a.dequantize(x) + b.dequantize(y)),
            byte(apart),
            byte(fused),
        ]
    }

    /// The same for a product.
    fn products(a: Affine, b: Affine, out: Affine, x: u8, y: u8) -> [u8; 3] {
        let byte = |value: f32| value.clamp(0.0, 255.0) as u8;
        let steps = |affine: Affine, byte: u8| i32::from(byte) - i32::from(affine.zero_point);
        let product = (steps(a, x) * steps(b, y)) as f32 * (a.scale * b.scale / out.scale);
        let zero = f32::from(out.zero_point);
        [
            out.quantize(a.dequantize(x) * b.dequantize(y)),
            byte(product.round_ties_even() + zero),
            byte((product + zero).round_ties_even()),
        ]
    }

    fn count(ranges: &[Affine]) -> usize {
        let pairs = || (0..=u8::MAX).flat_map(|a| (0..=u8::MAX).map(move |b| [a, b]));
        let differ = |[a, b, c]: [u8; 3]| a != b || b != c;
        let of_sum = pairs().filter(|[x, y]| differ(sums(ranges[0], ranges[1], ranges[3], *x, *y)));
        let of_product =
            pairs().filter(|[x, y]| differ(products(ranges[3], ranges[1], ranges[4], *x, *y)));
        of_sum.count() + of_product.count()
    }

    #[test]
    fn sums_and_products_are_the_same_bytes_however_they_are_computed() {
        let (mut before, mut after) = (0, 0);
        for seed in 0..40 {
            let mut ranges = draw(seed);
            before += count(&ranges);
            let drawn = ranges.clone();
            avoid_ties(&graph(), &mut ranges);
            after += count(&ranges);
            for (index, (new, old)) in ranges.iter().zip(&drawn).enumerate() {
                let changed = [3, 4, 5].contains(&index);
                let grown = new.scale / old.scale - 1.0;
                assert!(
                    (0.0..0.04).contains(&grown) && (changed || grown == 0.0),
                    "{index}: {grown}"
                );
                assert_eq!(new.zero_point, old.zero_point);
            }
        }
        assert!(before > 0, "no ties were drawn");
        assert_eq!(after, 0);
    }
}
