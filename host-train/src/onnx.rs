//! A graph and its weights as ONNX.
//!
//! Input `image` `[N, 3, S, S]`, output `logits` `[N, classes]`, opset 13, which every runtime in use
//! reads. Features are maps of one pixel, and dense layers convolutions of it; the output alone is
//! flattened. What is 8-bit is written as pairs of `QuantizeLinear` and `DequantizeLinear`.

mod layers;
mod proto;

use models::graph::{GraphError, Shape};
use models::quantize::{Affine, Scheme};
use models::{Graph, Op, Weights};
use prost::Message;
use tract_onnx::pb::tensor_proto::DataType;
use tract_onnx::pb::{
    AttributeProto, GraphProto, ModelProto, NodeProto, OperatorSetIdProto, TensorProto,
};

use proto::{float, float_bytes, initializer, int, value_info, window};

const OPSET: i64 = 13;
/// The IR version that came with opset 13 (ONNX 1.8).
const IR_VERSION: i64 = 7;

/// Writes a network as the bytes of an ONNX file, with what `scheme` says in 8 bits.
///
/// # Errors
/// `weights` do not fit `graph`.
pub(crate) fn encode(
    graph: &Graph,
    weights: &Weights,
    scheme: &Scheme,
) -> Result<Vec<u8>, GraphError> {
    graph.check(weights)?;
    let shapes = graph.shapes()?;
    let mut writer = Writer {
        graph,
        shapes: &shapes,
        weights,
        scheme,
        proto: GraphProto::default(),
    };
    writer.proto.name = graph.name.clone();
    for index in 0..graph.nodes.len() {
        writer.node(index);
        if let Some(affine) = scheme.tensors[index] {
            writer.round(&output_name(graph, index), affine);
        }
    }
    let last = graph.nodes.len() - 1;
    let flat = vec![int("axis", 1)];
    let features = vec![writer.value(last)];
    writer.push("Flatten", "logits", features, "logits".to_owned(), flat);
    let [channels, height, width] = graph.input;
    writer.proto.input = vec![value_info(IMAGE, &[channels, height, width])];
    writer.proto.output = vec![value_info("logits", &[shapes[last].len()])];
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

/// The name of the input.
const IMAGE: &str = "image";

/// The f32 value that a node computes, before it is rounded.
pub(crate) fn output_name(graph: &Graph, index: usize) -> String {
    match index {
        0 => IMAGE.to_owned(),
        _ => graph.nodes[index].name.clone(),
    }
}

/// What an f32 value is after it went through 8 bits.
pub(crate) fn rounded_name(name: &str) -> String {
    format!("{name}.rounded")
}

struct Writer<'a> {
    graph: &'a Graph,
    shapes: &'a [Shape],
    weights: &'a Weights,
    scheme: &'a Scheme,
    proto: GraphProto,
}

impl Writer<'_> {
    /// The value that those take who take a node's output.
    fn value(&self, index: usize) -> String {
        let name = output_name(self.graph, index);
        match self.scheme.tensors[index] {
            Some(_) => rounded_name(&name),
            None => name,
        }
    }

    fn node(&mut self, index: usize) {
        let node = &self.graph.nodes[index];
        let inputs: Vec<String> = node.inputs.iter().map(|&input| self.value(input)).collect();
        let output = output_name(self.graph, index);
        let name = node.name.clone();
        match node.op {
            Op::Input => {}
            Op::Conv { .. } | Op::Dense { .. } => self.layer(index, inputs),
            Op::BatchNorm { eps } => {
                let parameters = ["weight", "bias", "mean", "var"];
                let constants = parameters.map(|kind| self.constant(&format!("{name}.{kind}")));
                let inputs = inputs.into_iter().chain(constants).collect();
                let attributes = vec![float("epsilon", eps as f32)];
                self.push("BatchNormalization", &name, inputs, output, attributes);
            }
            Op::GroupNorm { groups, eps } => self.group_norm(index, groups, eps),
            Op::Activation(activation) => self.activation(activation, index, inputs),
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
            Op::GlobalAvgPool => self.push("GlobalAveragePool", &name, inputs, output, vec![]),
            Op::Add => self.push("Add", &name, inputs, output, vec![]),
            Op::Mul => self.push("Mul", &name, inputs, output, vec![]),
            // In inference they pass on what they get.
            Op::Dropout { .. } | Op::StochasticDepth { .. } => {
                self.push("Identity", &name, inputs, output, vec![])
            }
        }
    }

    /// Lets a value go through 8 bits; the result has the [`rounded_name`] of it.
    fn round(&mut self, value: &str, affine: Affine) {
        let [codes, scale, zero] = ["codes", "scale", "zero"].map(|part| format!("{value}.{part}"));
        self.proto.initializer.extend([
            initializer(&scale, &[], DataType::Float, float_bytes(&[affine.scale])),
            initializer(&zero, &[], DataType::Uint8, vec![affine.zero_point]),
        ]);
        let inputs = vec![value.to_owned(), scale.clone(), zero.clone()];
        self.push("QuantizeLinear", &codes, inputs, codes.clone(), vec![]);
        let (inputs, rounded) = (vec![codes, scale, zero], rounded_name(value));
        self.push(
            "DequantizeLinear",
            &rounded,
            inputs,
            rounded.clone(),
            vec![],
        );
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

    fn constant(&mut self, name: &str) -> String {
        let tensor = &self.weights[name];
        self.floats(name, &tensor.shape, &tensor.data)
    }

    fn floats(&mut self, name: &str, shape: &[usize], values: &[f32]) -> String {
        let tensor = initializer(name, shape, DataType::Float, float_bytes(values));
        self.proto.initializer.push(tensor);
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
        let mut known = self.proto.initializer.iter();
        if known.all(|known| known.name != name) {
            self.proto.initializer.push(tensor);
        }
        name
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::initialize::initialize;
    use crate::random::{Purpose, generator, normal};
    use models::quantize::{Role, quantize_bias, quantize_weight, roles};
    use models::{Node, passes, reference, zoo};
    use tract_onnx::prelude::{
        DatumExt, Framework, InferenceModelExt, IntoRunnable, Tensor as Value, tvec,
    };

    /// The file computes this in tract.
    #[track_caller]
    fn check(graph: &Graph, weights: &Weights, scheme: &Scheme, input: &[f32], expected: &[f32]) {
        let bytes = encode(graph, weights, scheme).unwrap();
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
        let input = Value::from_shape(&shape, input).unwrap();
        let output = model.run(tvec!(input.into())).unwrap();
        let output = output[0].to_plain_array_view::<f32>().unwrap();
        assert_eq!(output.shape(), [1, expected.len()]);
        for (found, wanted) in output.iter().zip(expected) {
            assert!(
                (found - wanted).abs() < 1e-3 * wanted.abs().max(1.0),
                "{found} {wanted}"
            );
        }
    }

    fn drawn(graph: &Graph) -> Vec<f32> {
        let mut rng = generator(4, Purpose::Parity, [0; 3]);
        let count = graph.input.iter().product();
        (0..count).map(|_| normal(&mut rng)).collect()
    }

    #[test]
    fn a_network_that_was_not_folded_is_written_as_it_is() {
        let graph = zoo::build("mobilenet-v2-0.35", 5, Some(32)).unwrap();
        let weights = initialize(&graph, 2).unwrap();
        let input = drawn(&graph);
        let expected = reference::run(&graph, &weights, &input).unwrap();
        check(&graph, &weights, &Scheme::float(&graph), &input, &expected);
    }

    /// Computes what a scheme says, node by node.
    fn in_bytes(graph: &Graph, weights: &Weights, scheme: &Scheme, input: &[f32]) -> Vec<f32> {
        let mut weights = weights.clone();
        for (node, _) in graph.nodes.iter().zip(&scheme.weights).filter(|(_, w)| **w) {
            let input = scheme.tensors[node.inputs[0]].unwrap().scale;
            let [weight, bias] = ["weight", "bias"].map(|kind| format!("{}.{kind}", node.name));
            let codes = quantize_weight(&weights[&weight], &weights[&bias].data, input);
            let whole = quantize_bias(&weights[&bias].data, &codes.scales, input);
            let units = codes.scales.iter().map(|scale| input * scale);
            let rounded = whole.iter().zip(units).map(|(n, unit)| *n as f32 * unit);
            weights.get_mut(&bias).unwrap().data = rounded.collect();
            weights.get_mut(&weight).unwrap().data = codes.dequantize();
        }
        // A chain: each node by itself on the rounded output of the one before.
        let (mut value, shapes) = (input.to_vec(), graph.shapes().unwrap());
        for (index, node) in graph.nodes.iter().enumerate() {
            if index > 0 {
                let Shape::Map {
                    channels,
                    height,
                    width,
                } = shapes[index - 1]
                else {
                    panic!("a chain of maps");
                };
                let own = |name: &&String| name.starts_with(&format!("{}.", node.name));
                let single = Graph {
                    name: "node".into(),
                    input: [channels, height, width],
                    nodes: vec![
                        graph.nodes[0].clone(),
                        Node {
                            inputs: vec![0],
                            ..node.clone()
                        },
                    ],
                };
                let own = weights.keys().filter(own).cloned().collect::<Vec<_>>();
                let own = own
                    .into_iter()
                    .map(|name| (name.clone(), weights[&name].clone()));
                value = reference::run(&single, &own.collect(), &value).unwrap();
            }
            if let Some(affine) = scheme.tensors[index] {
                value.iter_mut().for_each(|x| *x = affine.round(*x));
            }
        }
        value
    }

    #[test]
    fn a_network_in_bytes_computes_what_its_scheme_says() {
        let whole = zoo::build("efficientnet-lite0", 5, Some(32)).unwrap();
        let whole = whole.prefix(whole.find("blocks.1.expand.act").unwrap());
        let weights = reference::random_weights(&whole, 2).unwrap();
        let (graph, weights) = passes::fold_batch_norm(&whole, &weights).unwrap();
        let input = drawn(&graph);
        let values = reference::run_all(&graph, &weights, &input).unwrap();
        let range = |values: &Vec<f32>| {
            let [low, high] = [f32::min, f32::max].map(|f| values.iter().copied().fold(0.0, f));
            Affine::covering([low, high])
        };
        let ranges: Vec<Affine> = values.iter().map(range).collect();
        let scheme = Scheme::new(&graph, &ranges, &BTreeSet::new());
        assert_eq!(roles(&graph)[1], Role::Fused);
        assert!(scheme.weights.iter().filter(|in_bytes| **in_bytes).count() > 3);
        let expected = in_bytes(&graph, &weights, &scheme, &input);
        check(&graph, &weights, &scheme, &input, &expected);
    }
    /// ONNX Runtime quantizes layers by itself whose weights and biases are f32 constants between 8-bit tensors.
    #[test]
    fn layers_that_stay_f32_stay_so_in_onnx_runtime() {
        let whole = zoo::build("efficientnet-lite0", 5, Some(32)).unwrap();
        let whole = whole.prefix(whole.find("blocks.1.expand.act").unwrap());
        let mut weights = reference::random_weights(&whole, 2).unwrap();
        // One scale for all channels is not enough.
        let depthwise = weights.get_mut("blocks.0.depthwise.conv.weight").unwrap();
        for (index, weight) in depthwise.data.iter_mut().enumerate() {
            *weight *= [1.0, 0.01][index / 9 % 2];
        }
        let (graph, weights) = passes::fold_batch_norm(&whole, &weights).unwrap();
        let input = drawn(&graph);
        let values = reference::run_all(&graph, &weights, &input).unwrap();
        let range = |values: &Vec<f32>| {
            let [low, high] = [f32::min, f32::max].map(|f| values.iter().copied().fold(0.0, f));
            Affine::covering([low, high])
        };
        let ranges: Vec<Affine> = values.iter().map(range).collect();
        let float = ["stem.conv", "blocks.0.depthwise.conv"].map(str::to_owned);
        let scheme = Scheme::new(&graph, &ranges, &BTreeSet::from(float));
        let layers = graph.nodes.iter().zip(&scheme.weights);
        let layers = layers.filter(|(node, _)| matches!(node.op, Op::Conv { .. }));
        assert_eq!(layers.filter(|(_, in_bytes)| !**in_bytes).count(), 2);
        let expected = in_bytes(&graph, &weights, &scheme, &input);
        check(&graph, &weights, &scheme, &input, &expected);
        let onnx = encode(&graph, &weights, &scheme).unwrap();
        if let Some(found) = crate::zoo_tests::in_onnx_runtime(&onnx, &input, 32) {
            let far = found.iter().zip(&expected);
            let far = far.filter(|(a, b)| (*a - *b).abs() > 1e-3 * b.abs().max(1.0));
            let share = far.count() as f64 / expected.len() as f64;
            assert!(share < 0.01, "{share}");
        }
    }
}
