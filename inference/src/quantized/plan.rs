//! A region packed for the shapes of its inputs: layers, and the memory that they share.

use std::time::{Duration, Instant};

use kernels::{
    Add, Conv, Depthwise, GlobalAverage, Grouped, Image, Isa, KernelError, Mul, Pool, Quantization,
    Range, Requantize, Table, Window, Workers, dequantize, quantize_one, quantize_planes,
};

use super::PlanError;
use super::region::{Bias, ConvStep, Limits, Padding, Region, Step, StepOp, WindowStep};

/// The shape of a tensor outside: `[1, channels, height, width]` or `[1, channels]`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Shape {
    pub(super) image: Image,
    pub(super) flat: bool,
}

impl Shape {
    pub(super) fn of(dims: &[usize]) -> Option<Shape> {
        let (flat, channels, height, width) = match *dims {
            [1, channels] => (true, channels, 1, 1),
            [1, channels, height, width] => (false, channels, height, width),
            _ => return None,
        };
        let image = Image {
            height,
            width,
            channels,
        };
        Some(Shape { image, flat })
    }

    pub(super) fn dims(&self) -> Vec<usize> {
        let Image {
            height,
            width,
            channels,
        } = self.image;
        if self.flat {
            vec![1, channels]
        } else {
            vec![1, channels, height, width]
        }
    }
}

/// A region ready to run.
#[derive(Debug)]
pub(super) struct Plan {
    isa: Isa,
    steps: Vec<Ready>,
    outputs: Vec<Leaving>,
    /// Bytes of memory that a run needs.
    arena: usize,
}

/// One step, and where in the arena its values are.
#[derive(Debug)]
struct Ready {
    /// That of the ONNX node.
    name: String,
    layer: Layer,
    inputs: Vec<std::ops::Range<usize>>,
    output: std::ops::Range<usize>,
}

#[derive(Debug)]
enum Layer {
    Quantize {
        input: usize,
        channels: usize,
        quantization: Quantization,
    },
    Conv(Conv),
    Depthwise(Depthwise),
    Grouped(Grouped),
    Add(Add),
    Mul(Mul),
    Table(Table),
    GlobalAverage(GlobalAverage),
    Pool(Pool),
}

impl Layer {
    /// What it is called in a profile, and how many products it sums.
    fn describe(&self) -> (&'static str, usize) {
        match self {
            Layer::Quantize { .. } => ("quantize", 0),
            Layer::Conv(layer) => ("convolution", layer.products()),
            Layer::Depthwise(layer) => ("depthwise", layer.products()),
            Layer::Grouped(layer) => ("groups", layer.products()),
            Layer::Add(_) => ("add", 0),
            Layer::Mul(_) => ("multiply", 0),
            Layer::Table(_) => ("table", 0),
            Layer::GlobalAverage(_) => ("global average", 0),
            Layer::Pool(_) => ("pool", 0),
        }
    }
}

#[derive(Debug)]
struct Leaving {
    shape: Shape,
    quantization: Quantization,
    bytes: std::ops::Range<usize>,
}

impl Plan {
    /// Packs `region` for inputs of these shapes.
    pub(super) fn new(region: &Region, inputs: &[Shape], isa: Isa) -> Result<Plan, PlanError> {
        let shapes = shapes(region, inputs)?;
        let places = super::memory::Places::new(region, &shapes);
        let steps = region.steps.iter().filter(|step| !places.is_alias(step));
        let steps = steps.map(|step| {
            let layer = layer(region, step, &shapes, isa)?;
            let inputs = step
                .inputs
                .iter()
                .map(|tensor| places.bytes(*tensor))
                .collect();
            let output = places.bytes(step.output);
            Ok(Ready {
                name: step.name.clone(),
                layer,
                inputs,
                output,
            })
        });
        let leaving = |(tensor, _): &(usize, String)| Leaving {
            shape: shapes[*tensor],
            quantization: region.tensors[*tensor],
            bytes: places.bytes(*tensor),
        };
        Ok(Plan {
            isa,
            steps: steps.collect::<Result<_, _>>()?,
            outputs: region.outputs.iter().map(leaving).collect(),
            arena: places.total(),
        })
    }

    /// The shapes of what comes out.
    pub(super) fn outputs(&self) -> impl Iterator<Item = Shape> {
        self.outputs.iter().map(|output| output.shape)
    }

    pub(super) fn arena(&self) -> usize {
        self.arena
    }

    /// Name, kind and products of every step.
    pub(super) fn steps(&self) -> impl Iterator<Item = (&str, &'static str, usize)> {
        self.steps.iter().map(|step| {
            let (kind, products) = step.layer.describe();
            (step.name.as_str(), kind, products)
        })
    }

    /// Computes all steps in `arena`, which has the plan's length; `times` gets what each took.
    pub(super) fn run(
        &self,
        inputs: &[&[f32]],
        arena: &mut [u8],
        workers: &mut Workers,
        times: &mut [Duration],
    ) {
        let mut start = Instant::now();
        for (step, time) in self.steps.iter().zip(times) {
            step.run(self.isa, inputs, arena, workers);
            let end = Instant::now();
            *time = end - start;
            start = end;
        }
    }

    /// Output `index` of the last run, as f32.
    pub(super) fn output(&self, index: usize, arena: &[u8], values: &mut [f32]) {
        let Leaving {
            shape,
            quantization,
            bytes,
        } = &self.outputs[index];
        dequantize(
            &arena[bytes.clone()],
            shape.image.channels,
            *quantization,
            values,
        );
    }
}

impl Ready {
    fn run(&self, isa: Isa, inputs: &[&[f32]], arena: &mut [u8], workers: &mut Workers) {
        // Places of tensors that live at the same time do not overlap.
        let (a, b, out) = match self.inputs.as_slice() {
            [] => (&[][..], &[][..], &mut arena[self.output.clone()]),
            [a, b] if a != b => {
                let ranges = [a.clone(), b.clone(), self.output.clone()];
                match arena.get_disjoint_mut(ranges) {
                    Ok([a, b, out]) => (&*a, &*b, out),
                    Err(_) => unreachable!("places overlap"),
                }
            }
            [a, ..] => match arena.get_disjoint_mut([a.clone(), self.output.clone()]) {
                Ok([a, out]) => (&*a, &*a, out),
                Err(_) => unreachable!("places overlap"),
            },
        };
        match &self.layer {
            Layer::Quantize {
                input,
                channels,
                quantization,
            } => {
                quantize_planes(isa, inputs[*input], *channels, *quantization, out, workers);
            }
            Layer::Conv(layer) => layer.run(a, out, workers),
            Layer::Depthwise(layer) => layer.run(a, out, workers),
            Layer::Grouped(layer) => layer.run(a, out, workers),
            Layer::Add(layer) => layer.run(a, b, out, workers),
            Layer::Mul(layer) => layer.run(a, b, out, workers),
            Layer::Table(layer) => layer.run(a, out, workers),
            Layer::GlobalAverage(layer) => layer.run(a, out, workers),
            Layer::Pool(layer) => layer.run(a, out, workers),
        }
    }
}

/// The shape of every tensor of a region.
pub(super) fn shapes(region: &Region, inputs: &[Shape]) -> Result<Vec<Shape>, PlanError> {
    let none = Shape {
        image: Image {
            height: 0,
            width: 0,
            channels: 0,
        },
        flat: false,
    };
    let mut shapes = vec![none; region.tensors.len()];
    for step in &region.steps {
        let wrong = || PlanError::Shape {
            step: step.name.clone(),
        };
        let kernel = |source| PlanError::Kernel {
            step: step.name.clone(),
            source,
        };
        let of = |index: usize| step.inputs.get(index).map(|tensor| shapes[*tensor]);
        let first = of(0).unwrap_or(none);
        let pixel = Image {
            height: 1,
            width: 1,
            ..first.image
        };
        shapes[step.output] = match &step.op {
            StepOp::Quantize(input) => *inputs.get(*input).ok_or_else(wrong)?,
            StepOp::Conv(conv) if !first.flat => {
                let channels = conv.scales.len();
                let taps = conv.window.kernel[0] * conv.window.kernel[1];
                let depth = first.image.channels / conv.groups;
                if depth * conv.groups != first.image.channels
                    || conv.weights.len() != channels * taps * depth
                {
                    return Err(wrong());
                }
                let window = window(conv.window, first.image);
                let image = window.output(first.image, channels).map_err(kernel)?;
                Shape { image, flat: false }
            }
            StepOp::Dense(dense) if first.flat => {
                let image = Image {
                    channels: dense.scales.len(),
                    ..pixel
                };
                Shape { image, flat: true }
            }
            StepOp::Table(_) => first,
            StepOp::Add if of(1) == Some(first) => first,
            StepOp::Mul => match of(1) {
                Some(second) if second == first => first,
                Some(second) if second.image == pixel && !second.flat => first,
                Some(second)
                    if Image {
                        height: 1,
                        width: 1,
                        ..second.image
                    } == first.image =>
                {
                    second
                }
                _ => return Err(wrong()),
            },
            StepOp::GlobalAverage { keep_dims } if !first.flat => Shape {
                image: pixel,
                flat: !keep_dims,
            },
            StepOp::Pool(_, step) if !first.flat => {
                let window = window(*step, first.image);
                let channels = first.image.channels;
                let image = window.output(first.image, channels).map_err(kernel)?;
                Shape { image, flat: false }
            }
            StepOp::Flatten { channels }
                if first.image == pixel && channels.is_none_or(|n| n == pixel.channels) =>
            {
                Shape {
                    image: pixel,
                    flat: true,
                }
            }
            _ => return Err(wrong()),
        };
        shapes[step.output].image.check().map_err(kernel)?;
    }
    Ok(shapes)
}

fn layer(region: &Region, step: &Step, shapes: &[Shape], isa: Isa) -> Result<Layer, PlanError> {
    let of = |index: usize| region.tensors[step.inputs[index]];
    let image = |index: usize| shapes[step.inputs[index]].image;
    let output = region.tensors[step.output];
    let range = range(step.limits, output);
    let layer = match &step.op {
        StepOp::Quantize(input) => Ok(Layer::Quantize {
            input: *input,
            channels: shapes[step.output].image.channels,
            quantization: output,
        }),
        StepOp::Conv(conv) | StepOp::Dense(conv) => {
            convolution(conv, image(0), of(0), output, range, isa)
        }
        StepOp::Add => Add::new(isa, [of(0), of(1)], output.scale, range).map(Layer::Add),
        StepOp::Mul => Mul::new(isa, [of(0), of(1)], output.scale, range).map(Layer::Mul),
        StepOp::Table(table) => Ok(Layer::Table(table.clone())),
        StepOp::GlobalAverage { .. } => {
            GlobalAverage::new(isa, image(0), of(0), output.scale, range).map(Layer::GlobalAverage)
        }
        StepOp::Pool(kind, step) => {
            let window = window(*step, image(0));
            Pool::new(isa, *kind, image(0), window, of(0), output.scale, range).map(Layer::Pool)
        }
        StepOp::Flatten { .. } => Ok(Layer::Table(Table::new(isa, |byte| byte))),
    };
    layer.map_err(|source| PlanError::Kernel {
        step: step.name.clone(),
        source,
    })
}

fn convolution(
    conv: &ConvStep,
    image: Image,
    input: Quantization,
    output: Quantization,
    range: Range,
    isa: Isa,
) -> Result<Layer, KernelError> {
    let sums: Vec<f32> = conv
        .scales
        .iter()
        .map(|scale| input.scale * scale)
        .collect();
    let bias = sums
        .iter()
        .enumerate()
        .map(|(channel, scale)| match &conv.bias {
            Bias::None => 0,
            Bias::Float(values) => steps(f64::from(values[channel]), *scale),
            Bias::Quantized(values, scales) => {
                let own = scales[if scales.len() == 1 { 0 } else { channel }];
                // An exporter's product of scales may be rounded otherwise than this one.
                if (own / scale - 1.0).abs() < 1e-5 {
                    values[channel]
                } else {
                    steps(f64::from(values[channel]) * f64::from(own), *scale)
                }
            }
        });
    let requantize = Requantize {
        bias: bias.collect(),
        scale: sums.iter().map(|scale| scale / output.scale).collect(),
        range,
    };
    let window = window(conv.window, image);
    let (zero_point, weights) = (input.zero_point, &conv.weights);
    if conv.groups == 1 {
        Conv::new(isa, image, window, zero_point, weights, &requantize).map(Layer::Conv)
    } else if conv.groups == image.channels && conv.groups == requantize.bias.len() {
        Depthwise::new(isa, image, window, zero_point, weights, &requantize).map(Layer::Depthwise)
    } else {
        let groups = conv.groups;
        Grouped::new(isa, image, window, zero_point, weights, &requantize, groups)
            .map(Layer::Grouped)
    }
}

/// `value / scale`, rounded and saturated.
fn steps(value: f64, scale: f32) -> i32 {
    (value / f64::from(scale)).round_ties_even() as i32
}

/// The bytes of values within limits; quantization is monotone.
fn range(limits: Limits, output: Quantization) -> Range {
    Range {
        zero_point: output.zero_point,
        min: quantize_one(limits.min, output),
        max: quantize_one(limits.max, output),
    }
}

fn window(step: WindowStep, image: Image) -> Window {
    let WindowStep {
        kernel,
        stride,
        padding,
    } = step;
    let (pad_before, pad_after) = match padding {
        Padding::Explicit([top, left, bottom, right]) => ([top, left], [bottom, right]),
        Padding::Same { odd_at_end } => {
            let total = |axis: usize, size: usize| {
                let outputs = size.div_ceil(stride[axis]);
                (outputs.saturating_sub(1) * stride[axis] + kernel[axis]).saturating_sub(size)
            };
            let total = [total(0, image.height), total(1, image.width)];
            let smaller = total.map(|n| n / 2);
            let larger = total.map(|n| n - n / 2);
            if odd_at_end {
                (smaller, larger)
            } else {
                (larger, smaller)
            }
        }
    };
    Window {
        kernel,
        stride,
        pad_before,
        pad_after,
    }
}
