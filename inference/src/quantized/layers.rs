//! The layers of `kernels` in 8 bits.

use kernels::{
    Add, Conv, Depthwise, GlobalAverage, Grouped, Image, Isa, KernelError, Mul, Pool, Quantization,
    Range, Requantize, Table, Workers, quantize_planes,
};

use crate::onnx::Room;
use crate::region::{self, ConvStep, Fault, Region, Shape, Step, StepOp};

use super::{Bias, Int8};

#[derive(Debug)]
pub(crate) enum Layer {
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

impl region::Layer<u8> for Layer {
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

    fn run(
        &self,
        isa: Isa,
        entering: &[&[f32]],
        [a, b]: [&[u8]; 2],
        output: &mut [u8],
        workers: &mut Workers,
    ) {
        match self {
            Layer::Quantize {
                input,
                channels,
                quantization,
            } => {
                let planes = entering[*input];
                quantize_planes(isa, planes, *channels, *quantization, output, workers);
            }
            Layer::Conv(layer) => layer.run(a, output, workers),
            Layer::Depthwise(layer) => layer.run(a, output, workers),
            Layer::Grouped(layer) => layer.run(a, output, workers),
            Layer::Add(layer) => layer.run(a, b, output, workers),
            Layer::Mul(layer) => layer.run(a, b, output, workers),
            Layer::Table(layer) => layer.run(a, output, workers),
            Layer::GlobalAverage(layer) => layer.run(a, output, workers),
            Layer::Pool(layer) => layer.run(a, output, workers),
        }
    }
}

/// The layer of a step that computes something; `room` is for weights.
pub(super) fn layer(
    region: &Region<Int8>,
    step: &Step<Int8>,
    shapes: &[Shape],
    isa: Isa,
    room: &mut Room<i8>,
) -> Result<Option<Layer>, Fault> {
    let of = |index: usize| region.tensors[step.inputs[index]];
    let image = |index: usize| shapes[step.inputs[index]].image;
    let output = region.tensors[step.output];
    let range = step.activation.range(output);
    Ok(Some(match &step.op {
        StepOp::Enter(input) => Layer::Quantize {
            input: *input,
            channels: shapes[step.output].image.channels,
            quantization: output,
        },
        StepOp::Conv(conv) | StepOp::Dense(conv) => {
            let flip = if conv.parameters.signed { 0 } else { 0x80 };
            let signed = |[byte]: [u8; 1]| (byte ^ flip).cast_signed();
            let weights = conv.weights.read(signed, room)?;
            convolution(conv, weights, image(0), of(0), output, range, isa)?
        }
        StepOp::Add => Layer::Add(Add::new(isa, [of(0), of(1)], output.scale, range)?),
        StepOp::Mul => Layer::Mul(Mul::new(isa, [of(0), of(1)], output.scale, range)?),
        StepOp::Function(table) => Layer::Table(table.clone()),
        StepOp::GlobalAverage { .. } => {
            let average = GlobalAverage::new(isa, image(0), of(0), output.scale, range);
            Layer::GlobalAverage(average?)
        }
        StepOp::Pool(kind, step) => {
            let window = step.over(image(0));
            let pool = Pool::new(isa, *kind, image(0), window, of(0), output.scale, range);
            Layer::Pool(pool?)
        }
        StepOp::Flatten { .. } | StepOp::Same => return Ok(None),
    }))
}

fn convolution(
    conv: &ConvStep<Int8>,
    weights: &[i8],
    image: Image,
    input: Quantization,
    output: Quantization,
    range: Range,
    isa: Isa,
) -> Result<Layer, KernelError> {
    let parameters = &conv.parameters;
    let sums: Vec<f32> = parameters
        .scales
        .iter()
        .map(|scale| input.scale * scale)
        .collect();
    let bias = sums
        .iter()
        .enumerate()
        .map(|(channel, scale)| match &parameters.bias {
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
    } else if conv.groups == image.channels && conv.groups == conv.channels {
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
