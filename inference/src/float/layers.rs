//! The layers of `kernels` in f32.

use std::io;

use kernels::float::{
    Activation, Conv, Depthwise, GlobalAverage, Pool, activate, add, from_planes, multiply,
};
use kernels::{Isa, Workers};

use crate::onnx::Room;
use crate::region::{self, ConvStep, Fault, Padding, Shape, Step, StepOp};

use super::F32;

#[derive(Debug)]
pub(crate) enum Layer {
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

impl region::Layer<f32> for Layer {
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

    fn run(
        &self,
        isa: Isa,
        entering: &[&[f32]],
        [a, b]: [&[f32]; 2],
        output: &mut [f32],
        workers: &mut Workers,
    ) {
        match self {
            Layer::Enter { input, channels } => {
                from_planes(entering[*input], *channels, output, workers);
            }
            Layer::Conv(layer) => layer.run(a, None, output, workers),
            Layer::ConvAdd(layer) => layer.run(a, Some(b), output, workers),
            Layer::Depthwise(layer) => layer.run(a, output, workers),
            Layer::Add(activation) => add(isa, [a, b], *activation, output, workers),
            Layer::Multiply(activation) => multiply(isa, [a, b], *activation, output, workers),
            Layer::MultiplySwapped(activation) => {
                multiply(isa, [b, a], *activation, output, workers);
            }
            Layer::Activate(activation) => activate(isa, a, *activation, output, workers),
            Layer::GlobalAverage(layer) => layer.run(a, output, workers),
            Layer::Pool(layer) => layer.run(a, output, workers),
        }
    }
}

/// The layer of a step that computes something; `room` is for weights.
pub(super) fn layer(
    step: &Step<F32>,
    shapes: &[Shape],
    isa: Isa,
    room: &mut Room<f32>,
) -> Result<Option<Layer>, Fault> {
    let image = |index: usize| shapes[step.inputs[index]].image;
    let activation = step.activation;
    Ok(Some(match &step.op {
        StepOp::Enter(input) => Layer::Enter {
            input: *input,
            channels: shapes[step.output].image.channels,
        },
        StepOp::Conv(conv) | StepOp::Dense(conv) => {
            let (image, bias) = (image(0), &conv.parameters.bias);
            let window = conv.window.over(image);
            let weights = conv.read(room)?;
            if conv.is_depthwise() {
                let layer = Depthwise::new(isa, image, window, weights, bias, activation);
                Layer::Depthwise(layer?)
            } else {
                let layer = Conv::new(isa, image, window, weights, bias, activation)?;
                match step.inputs.len() {
                    1 => Layer::Conv(layer),
                    _ => Layer::ConvAdd(layer),
                }
            }
        }
        StepOp::Add => Layer::Add(activation),
        StepOp::Mul if image(0).pixels() < image(1).pixels() => Layer::MultiplySwapped(activation),
        StepOp::Mul => Layer::Multiply(activation),
        StepOp::Function(function) => Layer::Activate(*function),
        StepOp::GlobalAverage { .. } => Layer::GlobalAverage(GlobalAverage::new(isa, image(0))?),
        StepOp::Pool(kind, window) => {
            let window = window.over(image(0));
            Layer::Pool(Pool::new(isa, *kind, image(0), window)?)
        }
        StepOp::Flatten { .. } | StepOp::Same => return Ok(None),
    }))
}

impl ConvStep<F32> {
    /// The weights as kernels take them.
    pub(super) fn read<'a>(&self, room: &'a mut Room<f32>) -> io::Result<&'a [f32]> {
        let ordered = self.weights.read(f32::from_le_bytes, room)?;
        let depth = ordered.len() / self.channels.max(1);
        for factors in &self.parameters.factors {
            for (weights, factor) in ordered.chunks_exact_mut(depth.max(1)).zip(factors) {
                weights.iter_mut().for_each(|weight| *weight *= factor);
            }
        }
        Ok(ordered)
    }

    /// Whether each channel is taken by itself.
    pub(super) fn is_depthwise(&self) -> bool {
        let [rows, columns] = self.window.kernel;
        self.groups == self.channels && self.weight_count() == self.channels * rows * columns
    }

    /// Whether it is a factor and a sum for each channel.
    pub(super) fn is_norm(&self) -> bool {
        let pads = matches!(self.window.padding, Padding::Explicit([0, 0, 0, 0]));
        self.is_depthwise() && self.window.kernel == [1, 1] && self.window.stride == [1, 1] && pads
    }
}
