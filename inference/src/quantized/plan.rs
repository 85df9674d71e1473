//! A region packed for the shapes of its inputs: layers, and the memory that they share.

use std::ops;
use std::time::Duration;

use kernels::{
    Add, Conv, Depthwise, GlobalAverage, Grouped, Image, Isa, KernelError, Mul, Pool, Quantization,
    Range, Requantize, Table, Workers, dequantize, quantize_one, quantize_planes,
};

use crate::onnx::Room;
use crate::profile::Engine;
use crate::region::memory::{Places, Use};
use crate::region::{self, PlanError, Ready, Schedule, Shape};

use super::region::{Bias, ConvStep, Limits, Region, Step, StepOp};

/// A region ready to run.
#[derive(Debug)]
pub(crate) struct Plan {
    isa: Isa,
    steps: Schedule<Layer>,
    outputs: Vec<Leaving>,
    /// Bytes of memory that a run needs.
    arena: usize,
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
    bytes: ops::Range<usize>,
}

impl Plan {
    /// Packs `region` for inputs of these shapes.
    pub(super) fn new(region: &Region, inputs: &[Shape], isa: Isa) -> Result<Plan, PlanError> {
        let shapes = shapes(region, inputs)?;
        let lens: Vec<usize> = shapes.iter().map(|shape| shape.image.len()).collect();
        let uses = region.steps.iter().map(|step| Use {
            inputs: &step.inputs,
            output: step.output,
            same: matches!(step.op, StepOp::Flatten { .. }),
        });
        let leaving: Vec<usize> = region.outputs.iter().map(|(tensor, _)| *tensor).collect();
        let places = Places::new(&lens, &uses.collect::<Vec<_>>(), &leaving);
        let steps = region
            .steps
            .iter()
            .filter(|step| !places.is_alias(step.output));
        let mut room = Room::default();
        let steps = steps.map(|step| {
            let layer = layer(region, step, &shapes, isa, &mut room)?;
            let inputs = step
                .inputs
                .iter()
                .map(|tensor| places.values(*tensor))
                .collect();
            let output = places.values(step.output);
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
            bytes: places.values(*tensor),
        };
        Ok(Plan {
            isa,
            steps: Schedule(steps.collect::<Result<_, _>>()?),
            outputs: region.outputs.iter().map(leaving).collect(),
            arena: places.total(),
        })
    }
}

impl region::Plan for Plan {
    type Value = u8;
    const ENGINE: Engine = Engine::Int8;
    const LEAVING: &'static str = "back to f32";

    fn outputs(&self) -> impl Iterator<Item = Shape> {
        self.outputs.iter().map(|output| output.shape)
    }

    fn arena(&self) -> usize {
        self.arena
    }

    fn steps(&self) -> impl Iterator<Item = (&str, &'static str, usize)> {
        self.steps.0.iter().map(|step| {
            let (kind, products) = step.layer.describe();
            (step.name.as_str(), kind, products)
        })
    }

    fn run(
        &self,
        inputs: &[&[f32]],
        arena: &mut [u8],
        workers: &mut Workers,
        times: &mut [Duration],
    ) {
        self.steps
            .run(arena, times, |layer, a, b, out| match layer {
                Layer::Quantize {
                    input,
                    channels,
                    quantization,
                } => quantize_planes(
                    self.isa,
                    inputs[*input],
                    *channels,
                    *quantization,
                    out,
                    workers,
                ),
                Layer::Conv(layer) => layer.run(a, out, workers),
                Layer::Depthwise(layer) => layer.run(a, out, workers),
                Layer::Grouped(layer) => layer.run(a, out, workers),
                Layer::Add(layer) => layer.run(a, b, out, workers),
                Layer::Mul(layer) => layer.run(a, b, out, workers),
                Layer::Table(layer) => layer.run(a, out, workers),
                Layer::GlobalAverage(layer) => layer.run(a, out, workers),
                Layer::Pool(layer) => layer.run(a, out, workers),
            });
    }

    fn output(&self, index: usize, arena: &[u8], values: &mut [f32], _: &mut Workers) {
        let Leaving {
            shape,
            quantization,
            bytes,
        } = &self.outputs[index];
        let bytes = &arena[bytes.clone()];
        dequantize(bytes, shape.image.channels, *quantization, values);
    }
}

/// The shape of every tensor of a region.
pub(super) fn shapes(region: &Region, inputs: &[Shape]) -> Result<Vec<Shape>, PlanError> {
    let mut shapes = vec![Shape::NONE; region.tensors.len()];
    for step in &region.steps {
        let wrong = || PlanError::Shape {
            step: step.name.clone(),
        };
        let kernel = |source| PlanError::Kernel {
            step: step.name.clone(),
            source,
        };
        let of = |index: usize| step.inputs.get(index).map(|tensor| shapes[*tensor]);
        let first = of(0).unwrap_or(Shape::NONE);
        let pixel = first.pixel();
        shapes[step.output] = match &step.op {
            StepOp::Quantize(input) => *inputs.get(*input).ok_or_else(wrong)?,
            StepOp::Conv(conv) if !first.flat => {
                let channels = conv.scales.len();
                let taps = conv.window.kernel[0] * conv.window.kernel[1];
                let depth = first.image.channels / conv.groups;
                if depth * conv.groups != first.image.channels
                    || conv.weights.len::<1>() != channels * taps * depth
                {
                    return Err(wrong());
                }
                let window = conv.window.over(first.image);
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
            StepOp::Mul => of(1)
                .and_then(|second| first.product(second))
                .ok_or_else(wrong)?,
            StepOp::GlobalAverage { keep_dims } if !first.flat => Shape {
                image: pixel,
                flat: !keep_dims,
            },
            StepOp::Pool(_, step) if !first.flat => {
                let window = step.over(first.image);
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

/// `room` is for weights.
fn layer(
    region: &Region,
    step: &Step,
    shapes: &[Shape],
    isa: Isa,
    room: &mut Room<i8>,
) -> Result<Layer, PlanError> {
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
            let flip = if conv.signed { 0 } else { 0x80 };
            let signed = |[byte]: [u8; 1]| (byte ^ flip).cast_signed();
            let weights = conv.weights.read(signed, room);
            let weights = weights.map_err(|error| PlanError::Weights {
                step: step.name.clone(),
                why: error.to_string(),
            })?;
            convolution(conv, weights, image(0), of(0), output, range, isa)
        }
        StepOp::Add => Add::new(isa, [of(0), of(1)], output.scale, range).map(Layer::Add),
        StepOp::Mul => Mul::new(isa, [of(0), of(1)], output.scale, range).map(Layer::Mul),
        StepOp::Table(table) => Ok(Layer::Table(table.clone())),
        StepOp::GlobalAverage { .. } => {
            GlobalAverage::new(isa, image(0), of(0), output.scale, range).map(Layer::GlobalAverage)
        }
        StepOp::Pool(kind, step) => {
            let window = step.over(image(0));
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
    weights: &[i8],
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
    let window = conv.window.over(image);
    let zero_point = input.zero_point;
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
