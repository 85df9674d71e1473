//! A graph and its weights as ONNX.
//!
//! Input `image` `[N, 3, S, S]`, output `logits` `[N, classes]`, opset 13, which every runtime in use
//! reads.

use models::graph::{Activation, GraphError, Pads, Shape};
use models::{Graph, Op, Tensor, Weights};
use prost::Message;
use tract_onnx::pb::attribute_proto::AttributeType;
use tract_onnx::pb::tensor_proto::DataType;
use tract_onnx::pb::tensor_shape_proto::{Dimension, dimension};
use tract_onnx::pb::{
    AttributeProto, GraphProto, ModelProto, NodeProto, OperatorSetIdProto, TensorProto,
    TensorShapeProto, TypeProto, ValueInfoProto, type_proto,
};

const OPSET: i64 = 13;
/// The IR version that came with opset 13 (ONNX 1.8).
const IR_VERSION: i64 = 7;

/// How weights are stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Storage {
    /// 32-bit floating point.
    F32,
    /// 8-bit integers with a factor per output channel; computed in f32.
    Int8,
}

/// Writes a network as the bytes of an ONNX file.
///
/// # Errors
/// `weights` do not fit `graph`.
pub(crate) fn encode(
    graph: &Graph,
    weights: &Weights,
    storage: Storage,
) -> Result<Vec<u8>, GraphError> {
    graph.check(weights)?;
    let shapes = graph.shapes()?;
    let mut writer = Writer {
        graph,
        shapes: &shapes,
        weights,
        storage,
        proto: GraphProto::default(),
    };
    writer.proto.name = graph.name.clone();
    for index in 1..graph.nodes.len() {
        writer.node(index);
    }
    let [channels, height, width] = graph.input;
    writer.proto.input = vec![value_info("image", &[channels, height, width])];
    writer.proto.output = vec![value_info("logits", &[shapes[graph.nodes.len() - 1].len()])];
    let model = ModelProto {
        ir_version: IR_VERSION,
        opset_import: vec![OperatorSetIdProto {
            domain: String::new(),
            version: OPSET,
        }],
        producer_name: env!("CARGO_PKG_NAME").to_owned(),
        producer_version: env!("CARGO_PKG_VERSION").to_owned(),
        graph: Some(writer.proto),
        ..ModelProto::default()
    };
    Ok(model.encode_to_vec())
}

struct Writer<'a> {
    graph: &'a Graph,
    shapes: &'a [Shape],
    weights: &'a Weights,
    storage: Storage,
    proto: GraphProto,
}

impl Writer<'_> {
    /// The name of a node's output.
    fn value(&self, index: usize) -> String {
        if index == 0 {
            "image".to_owned()
        } else if index == self.graph.nodes.len() - 1 {
            "logits".to_owned()
        } else {
            self.graph.nodes[index].name.clone()
        }
    }

    fn node(&mut self, index: usize) {
        let node = &self.graph.nodes[index];
        let name = node.name.clone();
        let mut inputs: Vec<String> = node.inputs.iter().map(|&input| self.value(input)).collect();
        let output = self.value(index);
        match node.op {
            Op::Input => {}
            Op::Conv {
                kernel,
                stride,
                padding,
                groups,
                bias,
                ..
            } => {
                let Shape::Map { height, width, .. } = self.shapes[node.inputs[0]] else {
                    return;
                };
                let pads = padding.resolve([height, width], kernel, stride);
                inputs.push(self.weight(&format!("{name}.weight")));
                if bias {
                    inputs.push(self.constant(&format!("{name}.bias")));
                }
                let mut attributes = window(kernel, stride, pads);
                attributes.extend([ints("dilations", &[1, 1]), int("group", groups)]);
                self.push("Conv", &name, inputs, output, attributes);
            }
            Op::BatchNorm { eps } => {
                for kind in ["weight", "bias", "mean", "var"] {
                    inputs.push(self.constant(&format!("{name}.{kind}")));
                }
                let attributes = vec![float("epsilon", eps as f32)];
                self.push("BatchNormalization", &name, inputs, output, attributes);
            }
            Op::GroupNorm { groups, eps } => self.group_norm(index, groups, eps),
            Op::Activation(activation) => self.activation(activation, &name, inputs, output),
            Op::MaxPool {
                kernel,
                stride,
                padding,
            } => {
                let Shape::Map { height, width, .. } = self.shapes[node.inputs[0]] else {
                    return;
                };
                let pads = padding.resolve([height, width], kernel, stride);
                let attributes = window(kernel, stride, pads);
                self.push("MaxPool", &name, inputs, output, attributes);
            }
            Op::GlobalAvgPool => {
                let pooled = format!("{name}.pooled");
                self.push("GlobalAveragePool", &pooled, inputs, pooled.clone(), vec![]);
                self.push(
                    "Flatten",
                    &name,
                    vec![pooled.clone()],
                    output,
                    vec![int("axis", 1)],
                );
            }
            Op::Dense { .. } => {
                inputs.push(self.weight(&format!("{name}.weight")));
                inputs.push(self.constant(&format!("{name}.bias")));
                self.push("Gemm", &name, inputs, output, vec![int("transB", 1)]);
            }
            Op::Add => self.push("Add", &name, inputs, output, vec![]),
            Op::Mul => {
                // Features `[N, C]` as a map `[N, C, 1, 1]`.
                let spread = format!("{name}.factors");
                let axes = self.integers("height_and_width", &[2, 3]);
                let features = vec![inputs[1].clone(), axes];
                self.push("Unsqueeze", &spread, features, spread.clone(), vec![]);
                inputs[1] = spread;
                self.push("Mul", &name, inputs, output, vec![]);
            }
            // In inference they pass on what they get.
            Op::Dropout { .. } | Op::StochasticDepth { .. } => {
                self.push("Identity", &name, inputs, output, vec![])
            }
        }
    }

    /// Opset 13 has no group norm: an instance norm of groups laid out as channels, then the factors and
    /// summands of the channels.
    fn group_norm(&mut self, index: usize, groups: usize, eps: f64) {
        let node = &self.graph.nodes[index];
        let Shape::Map {
            channels,
            height,
            width,
        } = self.shapes[index]
        else {
            return;
        };
        let (name, input) = (node.name.clone(), self.value(node.inputs[0]));
        let [grouped, normal, laid_out, scaled] =
            ["grouped", "normal", "laid_out", "scaled"].map(|part| format!("{name}.{part}"));
        // 0 stands for the size of the batch.
        let groups_shape = self.integers(&format!("{grouped}.shape"), &[0, groups as i64, -1]);
        self.push(
            "Reshape",
            &grouped,
            vec![input, groups_shape],
            grouped.clone(),
            vec![],
        );
        let [one, zero] = [("ones", 1.0), ("zeros", 0.0)].map(|(what, value)| {
            let bytes = float_bytes(&vec![value; groups]);
            self.shared(initializer(
                &format!("{what}.{groups}"),
                &[groups],
                DataType::Float,
                bytes,
            ))
        });
        let epsilon = vec![float("epsilon", eps as f32)];
        self.push(
            "InstanceNormalization",
            &normal,
            vec![grouped, one, zero],
            normal.clone(),
            epsilon,
        );
        let sides = [0, channels as i64, height as i64, width as i64];
        let shape = self.integers(&format!("{laid_out}.shape"), &sides);
        self.push(
            "Reshape",
            &laid_out,
            vec![normal, shape],
            laid_out.clone(),
            vec![],
        );
        let [weight, bias] = ["weight", "bias"].map(|kind| {
            let name = format!("{name}.{kind}");
            let bytes = float_bytes(&self.weights[&name].data);
            self.shared(initializer(
                &name,
                &[channels, 1, 1],
                DataType::Float,
                bytes,
            ))
        });
        self.push(
            "Mul",
            &scaled,
            vec![laid_out, weight],
            scaled.clone(),
            vec![],
        );
        let output = self.value(index);
        self.push("Add", &name, vec![scaled, bias], output, vec![]);
    }

    /// Opset 13 has no HardSwish; sigmoid linear units are a product in every opset.
    fn activation(
        &mut self,
        activation: Activation,
        name: &str,
        mut inputs: Vec<String>,
        output: String,
    ) {
        let hard = || vec![float("alpha", 1.0 / 6.0), float("beta", 0.5)];
        match activation {
            Activation::Relu => self.push("Relu", name, inputs, output, vec![]),
            Activation::Relu6 => {
                inputs.push(self.scalar("zero", 0.0));
                inputs.push(self.scalar("six", 6.0));
                self.push("Clip", name, inputs, output, vec![]);
            }
            Activation::Sigmoid => self.push("Sigmoid", name, inputs, output, vec![]),
            Activation::HardSigmoid => self.push("HardSigmoid", name, inputs, output, hard()),
            Activation::Silu | Activation::HardSwish => {
                let gate = format!("{name}.gate");
                match activation {
                    Activation::Silu => {
                        self.push("Sigmoid", &gate, inputs.clone(), gate.clone(), vec![]);
                    }
                    _ => self.push("HardSigmoid", &gate, inputs.clone(), gate.clone(), hard()),
                }
                inputs.push(gate);
                self.push("Mul", name, inputs, output, vec![]);
            }
        }
    }

    fn push(
        &mut self,
        op: &str,
        name: &str,
        input: Vec<String>,
        output: String,
        attribute: Vec<AttributeProto>,
    ) {
        self.proto.node.push(NodeProto {
            input,
            output: vec![output],
            name: name.to_owned(),
            op_type: op.to_owned(),
            attribute,
            ..NodeProto::default()
        });
    }

    /// The value that holds a convolution's or dense layer's weight.
    fn weight(&mut self, name: &str) -> String {
        if self.storage == Storage::F32 {
            return self.constant(name);
        }
        let tensor = &self.weights[name];
        let (codes, scales) = quantize(tensor);
        let channels = scales.len();
        let [codes_name, scale_name, zero_name] =
            ["int8", "scale", "zero"].map(|part| format!("{name}.{part}"));
        let bytes = |codes: &[i8]| codes.iter().map(|&code| code as u8).collect();
        self.proto.initializer.extend([
            initializer(&codes_name, &tensor.shape, DataType::Int8, bytes(&codes)),
            initializer(
                &scale_name,
                &[channels],
                DataType::Float,
                float_bytes(&scales),
            ),
            initializer(&zero_name, &[channels], DataType::Int8, vec![0; channels]),
        ]);
        let inputs = vec![codes_name, scale_name, zero_name];
        self.push(
            "DequantizeLinear",
            name,
            inputs,
            name.to_owned(),
            vec![int("axis", 0)],
        );
        name.to_owned()
    }

    fn constant(&mut self, name: &str) -> String {
        let tensor = &self.weights[name];
        let bytes = float_bytes(&tensor.data);
        self.proto
            .initializer
            .push(initializer(name, &tensor.shape, DataType::Float, bytes));
        name.to_owned()
    }

    fn scalar(&mut self, name: &str, value: f32) -> String {
        let bytes = float_bytes(&[value]);
        self.shared(initializer(name, &[], DataType::Float, bytes))
    }

    fn integers(&mut self, name: &str, values: &[i64]) -> String {
        let bytes = values.iter().flat_map(|n| n.to_le_bytes()).collect();
        self.shared(initializer(name, &[values.len()], DataType::Int64, bytes))
    }

    /// A constant that several nodes take.
    fn shared(&mut self, tensor: TensorProto) -> String {
        let name = tensor.name.clone();
        if self
            .proto
            .initializer
            .iter()
            .all(|known| known.name != name)
        {
            self.proto.initializer.push(tensor);
        }
        name
    }
}

/// Symmetric 8-bit codes in -127..=127 and a factor per output channel (the first dimension).
fn quantize(tensor: &Tensor) -> (Vec<i8>, Vec<f32>) {
    let channels = tensor.shape.first().copied().unwrap_or(1).max(1);
    let mut codes = Vec::with_capacity(tensor.data.len());
    let mut scales = Vec::with_capacity(channels);
    for channel in tensor
        .data
        .chunks_exact((tensor.data.len() / channels).max(1))
    {
        let largest = channel.iter().fold(0.0f32, |most, x| most.max(x.abs()));
        let scale = if largest > 0.0 { largest / 127.0 } else { 1.0 };
        codes.extend(channel.iter().map(|x| (x / scale).round() as i8));
        scales.push(scale);
    }
    (codes, scales)
}

/// What convolutions and pools have in common.
fn window(kernel: [usize; 2], stride: usize, pads: Pads) -> Vec<AttributeProto> {
    vec![
        ints("kernel_shape", &kernel),
        ints("pads", &[pads.top, pads.left, pads.bottom, pads.right]),
        ints("strides", &[stride; 2]),
    ]
}

fn initializer(name: &str, shape: &[usize], data_type: DataType, raw_data: Vec<u8>) -> TensorProto {
    TensorProto {
        name: name.to_owned(),
        dims: shape.iter().map(|&side| side as i64).collect(),
        data_type: data_type as i32,
        raw_data,
        ..TensorProto::default()
    }
}

fn float_bytes(values: &[f32]) -> Vec<u8> {
    values
        .iter()
        .flat_map(|value| value.to_le_bytes())
        .collect()
}

fn attribute(name: &str, kind: AttributeType) -> AttributeProto {
    AttributeProto {
        name: name.to_owned(),
        r#type: kind as i32,
        ..AttributeProto::default()
    }
}

fn int(name: &str, value: usize) -> AttributeProto {
    AttributeProto {
        i: value as i64,
        ..attribute(name, AttributeType::Int)
    }
}

fn ints(name: &str, values: &[usize]) -> AttributeProto {
    let ints = values.iter().map(|&value| value as i64).collect();
    AttributeProto {
        ints,
        ..attribute(name, AttributeType::Ints)
    }
}

fn float(name: &str, value: f32) -> AttributeProto {
    AttributeProto {
        f: value,
        ..attribute(name, AttributeType::Float)
    }
}

/// A value of f32 with a symbolic batch before `shape`.
fn value_info(name: &str, shape: &[usize]) -> ValueInfoProto {
    let batch = dimension::Value::DimParam("N".to_owned());
    let sides = shape
        .iter()
        .map(|&side| dimension::Value::DimValue(side as i64));
    let dim = std::iter::once(batch)
        .chain(sides)
        .map(|value| Dimension {
            value: Some(value),
            ..Dimension::default()
        })
        .collect();
    let tensor = type_proto::Tensor {
        elem_type: DataType::Float as i32,
        shape: Some(TensorShapeProto { dim }),
    };
    ValueInfoProto {
        name: name.to_owned(),
        r#type: Some(TypeProto {
            value: Some(type_proto::Value::TensorType(tensor)),
            ..TypeProto::default()
        }),
        ..ValueInfoProto::default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::initialize::initialize;
    use crate::random::{Purpose, generator, normal};
    use models::{passes, reference, zoo};
    use tract_onnx::prelude::{
        DatumExt, Framework, InferenceModelExt, IntoRunnable, Tensor as Value, tvec,
    };

    /// The weights as a runtime sees them that reads [`Storage::Int8`].
    fn rounded(weights: &Weights) -> Weights {
        let mut rounded = weights.clone();
        for (name, tensor) in &mut rounded {
            if name.ends_with(".weight") && tensor.shape.len() > 1 {
                let (codes, scales) = quantize(tensor);
                let per_channel = tensor.data.len() / scales.len();
                for (index, value) in tensor.data.iter_mut().enumerate() {
                    *value = f32::from(codes[index]) * scales[index / per_channel];
                }
            }
        }
        rounded
    }

    /// The file computes in tract what the reference evaluator computes with `expect`.
    #[track_caller]
    fn check(graph: &Graph, weights: &Weights, storage: Storage, expect: &Weights) {
        let mut rng = generator(4, Purpose::Parity, [0; 3]);
        let count = graph.input.iter().product();
        let input: Vec<f32> = (0..count).map(|_| normal(&mut rng)).collect();
        let expected = reference::run(graph, expect, &input).unwrap();
        let bytes = encode(graph, weights, storage).unwrap();
        let [channels, height, width] = graph.input;
        let shape = [1, channels, height, width];
        let model = tract_onnx::onnx()
            .model_for_read(&mut &bytes[..])
            .unwrap()
            .with_input_fact(0, f32::fact(shape).into())
            .unwrap()
            .into_optimized()
            .unwrap()
            .into_runnable()
            .unwrap();
        let input = Value::from_shape(&shape, &input).unwrap();
        let output = model.run(tvec!(input.into())).unwrap();
        let output = output[0].to_plain_array_view::<f32>().unwrap();
        assert_eq!(output.shape(), [1, expected.len()]);
        for (found, wanted) in output.iter().zip(&expected) {
            assert!(
                (found - wanted).abs() < 1e-3 * wanted.abs().max(1.0),
                "{found} {wanted}"
            );
        }
    }

    #[test]
    fn a_network_that_was_not_folded_is_written_as_it_is() {
        let graph = zoo::build("mobilenet-v2-0.35", 5, Some(32)).unwrap();
        let weights = initialize(&graph, 2).unwrap();
        check(&graph, &weights, Storage::F32, &weights);
    }

    #[test]
    fn eight_bit_weights_are_what_was_rounded() {
        let graph = zoo::build("efficientnet-lite0", 5, Some(32)).unwrap();
        let weights = initialize(&graph, 2).unwrap();
        let (graph, weights) = passes::fold_batch_norm(&graph, &weights).unwrap();
        check(&graph, &weights, Storage::Int8, &rounded(&weights));
        let size = |storage| encode(&graph, &weights, storage).unwrap().len() as f64;
        assert!(size(Storage::F32) / size(Storage::Int8) > 3.5);
    }

    #[test]
    fn rounding_is_at_most_half_a_step_of_the_channel() {
        let tensor = Tensor {
            shape: vec![2, 3],
            data: vec![0.0, 0.0, 0.0, -5.0, 0.02, 4.99],
        };
        let (codes, scales) = quantize(&tensor);
        assert_eq!(codes[..3], [0, 0, 0]);
        assert_eq!(codes[3], -127);
        for (index, value) in tensor.data.iter().enumerate() {
            let scale = scales[index / 3];
            assert!((f32::from(codes[index]) * scale - value).abs() <= scale * 0.501);
        }
    }
}
