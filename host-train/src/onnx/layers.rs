//! Layers with weights, and functions of several operators.

use models::Op;
use models::graph::{Activation, Shape};
use models::quantize::{Affine, GATE, quantize_bias, quantize_weight};
use tract_onnx::pb::tensor_proto::DataType;

use super::proto::{float, float_bytes, initializer, int, ints, window};
use super::{Writer, output_name, rounded_name};

impl Writer<'_> {
    /// A convolution; a dense layer is one of a single pixel.
    pub(super) fn layer(&mut self, index: usize, mut inputs: Vec<String>) {
        let node = &self.graph.nodes[index];
        let (name, weight) = (&node.name, &self.weights[&format!("{}.weight", node.name)]);
        let mut shape = weight.shape.clone();
        shape.resize(4, 1);
        let (attributes, groups, has_bias) = match (node.op, self.shapes[node.inputs[0]]) {
            (
                Op::Conv {
                    kernel,
                    stride,
                    padding,
                    groups,
                    bias,
                    ..
                },
                Shape::Map { height, width, .. },
            ) => {
                let pads = padding.resolve([height, width], kernel, stride);
                (window(kernel, stride, pads), groups, bias)
            }
            _ => (vec![ints("kernel_shape", &[1, 1])], 1, true),
        };
        let attributes = attributes
            .into_iter()
            .chain([ints("dilations", &[1, 1]), int("group", groups)])
            .collect();
        let [weight_name, bias_name] = ["weight", "bias"].map(|kind| format!("{name}.{kind}"));
        let input = self.scheme.tensors[node.inputs[0]];
        match input.filter(|_| self.scheme.weights[index]) {
            Some(input) => {
                let bias = self.weights.get(&bias_name).filter(|_| has_bias);
                let bias = bias.map_or(&[][..], |bias| &bias.data);
                inputs.extend(self.codes(name, shape, bias, input));
            }
            None => {
                let values = &weight.data;
                inputs.push(self.floats(&weight_name, &shape, values));
                if input.is_some() {
                    let bias = self.weights.get(&bias_name).filter(|_| has_bias);
                    let zeros = vec![0.0; shape[0]];
                    let bias = bias.map_or(&zeros, |bias| &bias.data);
                    inputs.push(self.exact_bias(name, bias));
                } else if has_bias {
                    inputs.push(self.constant(&bias_name));
                }
            }
        }
        let output = output_name(self.graph, index);
        self.push("Conv", name, inputs, output, attributes);
    }

    /// Weight and bias of a layer as integers, behind what makes f32 values of them.
    fn codes(
        &mut self,
        layer: &str,
        shape: Vec<usize>,
        bias: &[f32],
        input: Affine,
    ) -> Vec<String> {
        let codes = quantize_weight(&self.weights[&format!("{layer}.weight")], bias, input.scale);
        let channels = codes.scales.len();
        let bytes = codes
            .values
            .iter()
            .map(|code| code.cast_unsigned())
            .collect();
        let mut values = vec![self.integer_constant(
            &format!("{layer}.weight"),
            (&shape, DataType::Int8, bytes),
            &codes.scales,
            vec![0; channels],
        )];
        if !bias.is_empty() {
            let units: Vec<f32> = codes.scales.iter().map(|s| input.scale * s).collect();
            let bias = quantize_bias(bias, &codes.scales, input.scale);
            let bytes = bias.iter().flat_map(|n| n.to_le_bytes()).collect();
            values.push(self.integer_constant(
                &format!("{layer}.bias"),
                (&[channels], DataType::Int32, bytes),
                &units,
                vec![0; 4 * channels],
            ));
        }
        values
    }

    /// The bias of a layer that stays f32 between 8-bit tensors, to the bit, but as integers: ONNX Runtime
    /// takes 8-bit weights of its own making, with one scale for all channels, where both weight and
    /// bias of such a layer are f32 constants.
    fn exact_bias(&mut self, layer: &str, bias: &[f32]) -> String {
        let (codes, scales): (Vec<i32>, Vec<f32>) = bias.iter().map(|&x| mantissa(x)).unzip();
        let channels = bias.len();
        let bytes = codes.iter().flat_map(|n| n.to_le_bytes()).collect();
        self.integer_constant(
            &format!("{layer}.bias"),
            (&[channels], DataType::Int32, bytes),
            &scales,
            vec![0; 4 * channels],
        )
    }

    /// A constant stored as integers with a scale per channel; `zeros`: the bytes of the zero points.
    fn integer_constant(
        &mut self,
        name: &str,
        (shape, kind, bytes): (&[usize], DataType, Vec<u8>),
        scales: &[f32],
        zeros: Vec<u8>,
    ) -> String {
        let [codes, scale, zero] = ["codes", "scale", "zero"].map(|part| format!("{name}.{part}"));
        self.proto.initializer.extend([
            initializer(&codes, shape, kind, bytes),
            initializer(
                &scale,
                &[scales.len()],
                DataType::Float,
                float_bytes(scales),
            ),
            initializer(&zero, &[scales.len()], kind, zeros),
        ]);
        let axis = vec![int("axis", 0)];
        let inputs = vec![codes, scale, zero];
        self.push("DequantizeLinear", name, inputs, name.to_owned(), axis);
        name.to_owned()
    }

    /// Opset 13 has no HardSwish; sigmoid linear units are a product in every opset.
    pub(super) fn activation(
        &mut self,
        activation: Activation,
        index: usize,
        mut inputs: Vec<String>,
    ) {
        let name = &self.graph.nodes[index].name;
        let output = output_name(self.graph, index);
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
                let (op, attributes) = match activation {
                    Activation::Silu => ("Sigmoid", vec![]),
                    _ => ("HardSigmoid", hard()),
                };
                self.push(op, &gate, inputs.clone(), gate.clone(), attributes);
                let source = self.graph.nodes[index].inputs[0];
                let in_bytes = |index: usize| self.scheme.tensors[index].is_some();
                if in_bytes(source) && in_bytes(index) {
                    self.round(&gate, GATE);
                    inputs.push(rounded_name(&gate));
                } else {
                    inputs.push(gate);
                }
                self.push("Mul", name, inputs, output, vec![]);
            }
        }
    }

    /// Opset 13 has no group norm: an instance norm of groups laid out as channels, then the factors and
    /// summands of the channels.
    pub(super) fn group_norm(&mut self, index: usize, groups: usize, eps: f64) {
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
        let output = output_name(self.graph, index);
        self.push("Add", &name, vec![scaled, bias], output, vec![]);
    }
}

/// An integer and a power of two whose product is `x`.
fn mantissa(x: f32) -> (i32, f32) {
    let exponent = x.to_bits() >> 23 & 255;
    let unit = f32::from_bits(exponent.saturating_sub(23).max(1) << 23);
    ((x / unit) as i32, unit)
}

#[cfg(test)]
mod tests {
    use super::mantissa;

    #[test]
    fn a_bias_as_integers_is_the_same_to_the_bit() {
        for x in [
            0.0,
            1.0,
            -1.0,
            0.1,
            -3.25e-7,
            16_777_215.0,
            1.999_999_9,
            -6.0e20,
        ] {
            let (code, unit) = mantissa(x);
            assert_eq!(code as f32 * unit, x, "{code} {unit}");
            assert!(code.abs() <= 1 << 24);
        }
    }
}
