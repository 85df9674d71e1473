//! A region packed for the shapes of its inputs: layers, and the memory that they share.

use std::io;
use std::ops::Range;
use std::time::Duration;

use kernels::float::{
    Activation, Conv, Depthwise, GlobalAverage, Pool, activate, add, from_planes, multiply,
    to_planes,
};
use kernels::{Isa, KernelError, Workers};

use crate::onnx::Room;
use crate::profile::Engine;
use crate::region::memory::{Places, Use};
use crate::region::{self, PlanError, Ready, Schedule, Shape};

use super::{ConvStep, Region, Step, StepOp};

/// A region ready to run.
#[derive(Debug)]
pub(crate) struct Plan {
    isa: Isa,
    steps: Schedule<Layer>,
    outputs: Vec<(Shape, Range<usize>)>,
    /// Values of memory that a run needs.
    arena: usize,
}

#[derive(Debug)]
enum Layer {
    Enter {
        input: usize,
        channels: usize,
    },
    Conv(Conv),
    /// A convolution and a sum.
    ConvAdd(Conv),
    Depthwise(Depthwise),
    Add(Activation),
    /// The second factor may have one pixel.
    Multiply(Activation),
    /// As before, with the factors the other way round.
    MultiplySwapped(Activation),
    Activate(Activation),
    GlobalAverage(GlobalAverage),
    Pool(Pool),
}

impl Layer {
    /// What it is called in a profile, and how many products it sums.
    fn describe(&self) -> (&'static str, usize) {
        match self {
            Layer::Enter { .. } => ("from planes", 0),
            Layer::Conv(layer) => ("convolution", layer.products()),
            Layer::ConvAdd(layer) => ("convolution, add", layer.products()),
            Layer::Depthwise(layer) => ("depthwise", layer.products()),
            Layer::Add(_) => ("add", 0),
            Layer::Multiply(_) | Layer::MultiplySwapped(_) => ("multiply", 0),
            Layer::Activate(_) => ("activation", 0),
            Layer::GlobalAverage(_) => ("global average", 0),
            Layer::Pool(_) => ("pool", 0),
        }
    }
}

impl Plan {
    /// Packs `region` for inputs of these shapes.
    pub(super) fn new(region: &Region, inputs: &[Shape], isa: Isa) -> Result<Plan, PlanError> {
        let shapes = shapes(region, inputs)?;
        let lens: Vec<usize> = shapes.iter().map(|shape| shape.image.len()).collect();
        let uses = region.steps.iter().map(|step| Use {
            inputs: &step.inputs,
            output: step.output,
            same: matches!(step.op, StepOp::Flatten { .. } | StepOp::Same),
        });
        let leaving: Vec<usize> = region.outputs.iter().map(|(tensor, _)| *tensor).collect();
        let places = Places::new(&lens, &uses.collect::<Vec<_>>(), &leaving);
        let (mut steps, mut room) = (Vec::new(), Room::default());
        for step in &region.steps {
            let Some(layer) = layer(step, &shapes, isa, &mut room) else {
                continue;
            };
            let inputs = step.inputs.iter().map(|tensor| places.values(*tensor));
            steps.push(Ready {
                name: step.name.clone(),
                layer: layer?,
                inputs: inputs.collect(),
                output: places.values(step.output),
            });
        }
        let outputs = leaving
            .into_iter()
            .map(|tensor| (shapes[tensor], places.values(tensor)));
        Ok(Plan {
            isa,
            steps: Schedule(steps),
            outputs: outputs.collect(),
            arena: places.total(),
        })
    }
}

impl region::Plan for Plan {
    type Value = f32;
    const ENGINE: Engine = Engine::F32;
    const LEAVING: &'static str = "to planes";

    fn outputs(&self) -> impl Iterator<Item = Shape> {
        self.outputs.iter().map(|(shape, _)| *shape)
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
        arena: &mut [f32],
        workers: &mut Workers,
        times: &mut [Duration],
    ) {
        let isa = self.isa;
        self.steps
            .run(arena, times, |layer, a, b, out| match layer {
                Layer::Enter { input, channels } => {
                    from_planes(inputs[*input], *channels, out, workers);
                }
                Layer::Conv(layer) => layer.run(a, None, out, workers),
                Layer::ConvAdd(layer) => layer.run(a, Some(b), out, workers),
                Layer::Depthwise(layer) => layer.run(a, out, workers),
                Layer::Add(activation) => add(isa, [a, b], *activation, out, workers),
                Layer::Multiply(activation) => multiply(isa, [a, b], *activation, out, workers),
                Layer::MultiplySwapped(activation) => {
                    multiply(isa, [b, a], *activation, out, workers);
                }
                Layer::Activate(activation) => activate(isa, a, *activation, out, workers),
                Layer::GlobalAverage(layer) => layer.run(a, out, workers),
                Layer::Pool(layer) => layer.run(a, out, workers),
            });
    }

    fn output(&self, index: usize, arena: &[f32], values: &mut [f32], workers: &mut Workers) {
        let (shape, place) = &self.outputs[index];
        to_planes(&arena[place.clone()], shape.image.channels, values, workers);
    }
}

fn kernel(step: &Step, source: KernelError) -> PlanError {
    PlanError::Kernel {
        step: step.name.clone(),
        source,
    }
}

/// The shape of every tensor of a region.
pub(super) fn shapes(region: &Region, inputs: &[Shape]) -> Result<Vec<Shape>, PlanError> {
    let mut shapes = vec![Shape::NONE; region.tensors];
    for step in &region.steps {
        let wrong = || PlanError::Shape {
            step: step.name.clone(),
        };
        let of = |index: usize| step.inputs.get(index).map(|tensor| shapes[*tensor]);
        let first = of(0).unwrap_or(Shape::NONE);
        let (image, flat) = match &step.op {
            StepOp::Enter(input) => {
                let shape = inputs.get(*input).ok_or_else(wrong)?;
                (shape.image, shape.flat)
            }
            StepOp::Conv(conv) if !first.flat => {
                if conv.weights.len::<4>() != conv.weights_for(first) {
                    return Err(wrong());
                }
                let window = conv.window.over(first.image);
                let image = window.output(first.image, conv.bias.len());
                (image.map_err(|source| kernel(step, source))?, false)
            }
            StepOp::Dense(dense)
                if first.flat && dense.weights.len::<4>() == dense.weights_for(first) =>
            {
                let mut image = first.image;
                image.channels = dense.bias.len();
                (image, true)
            }
            StepOp::Activate | StepOp::Same => (first.image, first.flat),
            StepOp::Add if of(1) == Some(first) => (first.image, first.flat),
            StepOp::Mul => {
                let product = of(1).and_then(|second| first.product(second));
                let shape = product.ok_or_else(wrong)?;
                (shape.image, shape.flat)
            }
            StepOp::GlobalAverage { keep_dims } if !first.flat => (first.pixel(), !keep_dims),
            StepOp::Pool(_, window) if !first.flat => {
                let window = window.over(first.image);
                let image = window.output(first.image, first.image.channels);
                (image.map_err(|source| kernel(step, source))?, false)
            }
            StepOp::Flatten { channels }
                if first.image == first.pixel()
                    && channels.is_none_or(|n| n == first.image.channels) =>
            {
                (first.image, true)
            }
            _ => return Err(wrong()),
        };
        image.check().map_err(|source| kernel(step, source))?;
        let shape = Shape { image, flat };
        // What a convolution adds.
        if let (StepOp::Conv(_), Some(addend)) = (&step.op, of(1))
            && addend != shape
        {
            return Err(wrong());
        }
        shapes[step.output] = shape;
    }
    Ok(shapes)
}

impl ConvStep {
    fn weights_for(&self, input: Shape) -> usize {
        let [rows, columns] = self.window.kernel;
        let depth = if self.depthwise {
            1
        } else {
            input.image.channels
        };
        rows * columns * depth * self.bias.len()
    }

    /// The weights as kernels take them.
    pub(super) fn read<'a>(&self, room: &'a mut Room<f32>) -> io::Result<&'a [f32]> {
        let ordered = self.weights.read(f32::from_le_bytes, room)?;
        let depth = ordered.len() / self.bias.len().max(1);
        for factors in &self.factors {
            for (weights, factor) in ordered.chunks_exact_mut(depth.max(1)).zip(factors) {
                weights.iter_mut().for_each(|weight| *weight *= factor);
            }
        }
        Ok(ordered)
    }

    /// Whether it is a factor and a sum for each channel.
    pub(super) fn is_norm(&self) -> bool {
        let pads = matches!(self.window.padding, region::Padding::Explicit([0, 0, 0, 0]));
        self.depthwise && self.window.kernel == [1, 1] && self.window.stride == [1, 1] && pads
    }
}

/// The layer of a step that computes something; `room` is for weights.
fn layer(
    step: &Step,
    shapes: &[Shape],
    isa: Isa,
    room: &mut Room<f32>,
) -> Option<Result<Layer, PlanError>> {
    let shape = |index: usize| shapes[step.inputs[index]];
    let activation = step.activation;
    let layer = match &step.op {
        StepOp::Enter(input) => Ok(Layer::Enter {
            input: *input,
            channels: shapes[step.output].image.channels,
        }),
        StepOp::Conv(conv) | StepOp::Dense(conv) => {
            let image = shape(0).image;
            let (window, bias) = (conv.window.over(image), &conv.bias);
            let weights = match conv.read(room) {
                Ok(weights) => weights,
                Err(error) => {
                    return Some(Err(PlanError::Weights {
                        step: step.name.clone(),
                        why: error.to_string(),
                    }));
                }
            };
            if conv.depthwise {
                Depthwise::new(isa, image, window, weights, bias, activation).map(Layer::Depthwise)
            } else {
                let conv = Conv::new(isa, image, window, weights, bias, activation);
                conv.map(if step.inputs.len() == 1 {
                    Layer::Conv
                } else {
                    Layer::ConvAdd
                })
            }
        }
        StepOp::Add => Ok(Layer::Add(activation)),
        StepOp::Mul if shape(0).image.pixels() < shape(1).image.pixels() => {
            Ok(Layer::MultiplySwapped(activation))
        }
        StepOp::Mul => Ok(Layer::Multiply(activation)),
        StepOp::Activate => Ok(Layer::Activate(activation)),
        StepOp::GlobalAverage { .. } => {
            GlobalAverage::new(isa, shape(0).image).map(Layer::GlobalAverage)
        }
        StepOp::Pool(kind, window) => {
            let image = shape(0).image;
            Pool::new(isa, *kind, image, window.over(image)).map(Layer::Pool)
        }
        StepOp::Flatten { .. } | StepOp::Same => return None,
    };
    Some(layer.map_err(|source| kernel(step, source)))
}
