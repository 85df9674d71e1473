//! A plain evaluator of graphs in inference form: slow, for tests and for disputes.
//!
//! It says what a graph means. It computes in `f64` and every operation is written as its definition,
//! so that other evaluators can be held against it.

use crate::graph::{Activation, Graph, GraphError, Node, Op, Padding, Shape};
use crate::weights::{Tensor, Weights};

/// The last node's output for one image, `input` being its channels x height x width.
///
/// # Errors
/// The graph is not valid or the weights are not its own.
///
/// # Panics
/// Where `input` has another length than the graph's input.
pub fn run(graph: &Graph, weights: &Weights, input: &[f32]) -> Result<Vec<f32>, GraphError> {
    Ok(run_all(graph, weights, input)?.pop().unwrap_or_default())
}

/// The output of every node, in order; otherwise like [`run`].
pub fn run_all(
    graph: &Graph,
    weights: &Weights,
    input: &[f32],
) -> Result<Vec<Vec<f32>>, GraphError> {
    graph.check(weights)?;
    let shapes = graph.shapes()?;
    assert_eq!(
        input.len(),
        shapes[0].len(),
        "the input has another shape than the graph's"
    );
    let mut values: Vec<Vec<f64>> = Vec::with_capacity(graph.nodes.len());
    for (node, &shape) in graph.nodes.iter().zip(&shapes) {
        let parameter = |name: &str| {
            let name = format!("{}.{name}", node.name);
            weights
                .get(&name)
                .ok_or(GraphError::MissingParameter { name })
        };
        let operand = |n: usize| &values[node.inputs[n]];
        let value = match node.op {
            Op::Input => input.iter().map(|&x| f64::from(x)).collect(),
            Op::Conv { bias, .. } => {
                let bias = if bias { Some(parameter("bias")?) } else { None };
                let from = shapes[node.inputs[0]];
                conv(node, operand(0), from, shape, parameter("weight")?, bias)
            }
            Op::BatchNorm { eps } => {
                let [weight, bias] = [parameter("weight")?, parameter("bias")?];
                let [mean, var] = [parameter("mean")?, parameter("var")?];
                batch_norm(operand(0), shape, eps, [weight, bias, mean, var])
            }
            Op::GroupNorm { groups, eps } => {
                let parameters = [parameter("weight")?, parameter("bias")?];
                group_norm(operand(0), shape, groups, eps, parameters)
            }
            Op::Activation(activation) => operand(0)
                .iter()
                .map(|&x| activate(activation, x))
                .collect(),
            Op::GlobalAvgPool => {
                let area = operand(0).len() / shape.len();
                let mean = |channel: &[f64]| channel.iter().sum::<f64>() / area as f64;
                operand(0).chunks_exact(area).map(mean).collect()
            }
            Op::Dense { .. } => dense(operand(0), parameter("weight")?, parameter("bias")?),
            Op::Add => operand(0)
                .iter()
                .zip(operand(1))
                .map(|(a, b)| a + b)
                .collect(),
            Op::MaxPool {
                kernel,
                stride,
                padding,
            } => max_pool(
                operand(0),
                [shapes[node.inputs[0]], shape],
                kernel,
                stride,
                padding,
            ),
            Op::Mul => {
                let area = operand(0).len() / operand(1).len();
                let scale = |(channel, &factor): (&[f64], &f64)| {
                    channel.iter().map(|x| x * factor).collect::<Vec<f64>>()
                };
                let channels = operand(0).chunks_exact(area).zip(operand(1));
                channels.flat_map(scale).collect()
            }
            Op::Dropout { .. } | Op::StochasticDepth { .. } => operand(0).clone(),
        };
        values.push(value);
    }
    let single = |values: Vec<f64>| values.into_iter().map(|x| x as f32).collect();
    Ok(values.into_iter().map(single).collect())
}

/// Weights with which outputs neither vanish nor explode, drawn from `seed`: convolution and dense
/// weights of variance `2 / fan-in`, small biases, batch norms close to the identity with positive
/// variances. The same on every machine.
pub fn random_weights(graph: &Graph, seed: u64) -> Result<Weights, GraphError> {
    let mut random = Random(seed);
    let mut weights = Weights::new();
    for parameter in graph.parameters()? {
        let (centre, spread) = match (parameter.shape.len(), parameter.name.rsplit('.').next()) {
            (1, Some("weight" | "var")) => (1.0, 0.5),
            (1, _) => (0.0, 0.1),
            _ => {
                let fan_in: usize = parameter.shape[1..].iter().product();
                (0.0, (6.0 / fan_in as f64).sqrt())
            }
        };
        let count = parameter.shape.iter().product();
        let draw = |_| (centre + spread * random.next()) as f32;
        let data = (0..count).map(draw).collect();
        weights.insert(
            parameter.name,
            Tensor {
                shape: parameter.shape,
                data,
            },
        );
    }
    Ok(weights)
}

/// An input for `graph`, uniform in `-1.0..1.0`, drawn from `seed`. The same on every machine.
pub fn random_input(graph: &Graph, seed: u64) -> Vec<f32> {
    let mut random = Random(seed);
    (0..graph.input.iter().product())
        .map(|_| random.next() as f32)
        .collect()
}

/// SplitMix64 (Steele, Lea and Flood 2014).
struct Random(u64);

impl Random {
    /// Uniform in `-1.0..1.0`.
    fn next(&mut self) -> f64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^= z >> 31;
        (z >> 11) as f64 / (1u64 << 52) as f64 - 1.0
    }
}

fn activate(activation: Activation, x: f64) -> f64 {
    let sigmoid = || 1.0 / (1.0 + (-x).exp());
    let hard_sigmoid = || (x + 3.0).clamp(0.0, 6.0) / 6.0;
    match activation {
        Activation::Relu => x.max(0.0),
        Activation::Relu6 => x.clamp(0.0, 6.0),
        Activation::Sigmoid => sigmoid(),
        Activation::Silu => x * sigmoid(),
        Activation::HardSigmoid => hard_sigmoid(),
        Activation::HardSwish => x * hard_sigmoid(),
    }
}

fn max_pool(
    input: &[f64],
    [from, to]: [Shape; 2],
    kernel: [usize; 2],
    stride: usize,
    padding: Padding,
) -> Vec<f64> {
    let (
        Shape::Map { height, width, .. },
        Shape::Map {
            height: out_height,
            width: out_width,
            ..
        },
    ) = (from, to)
    else {
        return Vec::new();
    };
    let pads = padding.resolve([height, width], kernel, stride);
    // The part of a window that lies on the input.
    let covered = |position: usize, before: usize, kernel: usize, size: usize| {
        let start = position * stride;
        start.saturating_sub(before)..(start + kernel - before).min(size)
    };
    let mut output = Vec::with_capacity(to.len());
    for channel in input.chunks_exact(height * width) {
        for y in 0..out_height {
            for x in 0..out_width {
                let columns = covered(x, pads.left, kernel[1], width);
                let rows = covered(y, pads.top, kernel[0], height);
                let windows = rows.map(|row| &channel[row * width..][columns.clone()]);
                output.push(windows.flatten().fold(f64::NEG_INFINITY, |m, &x| m.max(x)));
            }
        }
    }
    output
}

fn conv(
    node: &Node,
    input: &[f64],
    from: Shape,
    to: Shape,
    weight: &Tensor,
    bias: Option<&Tensor>,
) -> Vec<f64> {
    let Op::Conv {
        out,
        kernel,
        stride,
        padding,
        groups,
        ..
    } = node.op
    else {
        return Vec::new();
    };
    let (
        Shape::Map {
            channels,
            height,
            width,
        },
        Shape::Map {
            height: out_height,
            width: out_width,
            ..
        },
    ) = (from, to)
    else {
        return Vec::new();
    };
    let pads = padding.resolve([height, width], kernel, stride);
    let [kernel_height, kernel_width] = kernel;
    let group_in = channels / groups;
    let mut output = Vec::with_capacity(to.len());
    for o in 0..out {
        let first_channel = o / (out / groups) * group_in;
        let start = bias.map_or(0.0, |bias| f64::from(bias.data[o]));
        for y in 0..out_height {
            for x in 0..out_width {
                let mut sum = start;
                for i in 0..group_in {
                    for ky in 0..kernel_height {
                        let Some(row) = (y * stride + ky).checked_sub(pads.top) else {
                            continue;
                        };
                        for kx in 0..kernel_width {
                            let Some(column) = (x * stride + kx).checked_sub(pads.left) else {
                                continue;
                            };
                            if row < height && column < width {
                                let at = ((first_channel + i) * height + row) * width + column;
                                let tap = ((o * group_in + i) * kernel_height + ky) * kernel_width;
                                sum += input[at] * f64::from(weight.data[tap + kx]);
                            }
                        }
                    }
                }
                output.push(sum);
            }
        }
    }
    output
}

fn batch_norm(input: &[f64], shape: Shape, eps: f64, parameters: [&Tensor; 4]) -> Vec<f64> {
    let area = input.len() / shape.channels();
    let norm = |(index, &x): (usize, &f64)| {
        let [weight, bias, mean, var] = parameters.map(|p| f64::from(p.data[index / area]));
        (x - mean) / (var + eps).sqrt() * weight + bias
    };
    input.iter().enumerate().map(norm).collect()
}

fn group_norm(
    input: &[f64],
    shape: Shape,
    groups: usize,
    eps: f64,
    [weight, bias]: [&Tensor; 2],
) -> Vec<f64> {
    let area = input.len() / shape.channels();
    let size = input.len() / groups;
    let moments = |group: &[f64]| {
        let mean = group.iter().sum::<f64>() / size as f64;
        let variance = group.iter().map(|x| (x - mean).powi(2)).sum::<f64>() / size as f64;
        (mean, variance)
    };
    let moments: Vec<(f64, f64)> = input.chunks_exact(size).map(moments).collect();
    let norm = |(index, &x): (usize, &f64)| {
        let (mean, variance) = moments[index / size];
        let [weight, bias] = [weight, bias].map(|p| f64::from(p.data[index / area]));
        (x - mean) / (variance + eps).sqrt() * weight + bias
    };
    input.iter().enumerate().map(norm).collect()
}

fn dense(input: &[f64], weight: &Tensor, bias: &Tensor) -> Vec<f64> {
    let row = |(weights, &bias): (&[f32], &f32)| {
        let products = weights.iter().zip(input).map(|(&w, &x)| f64::from(w) * x);
        f64::from(bias) + products.sum::<f64>()
    };
    weight
        .data
        .chunks_exact(input.len())
        .zip(&bias.data)
        .map(row)
        .collect()
}
