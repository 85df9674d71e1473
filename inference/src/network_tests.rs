//! Networks with regions against the same networks in tract's f32.

use prost::Message;
use tract_onnx::pb::{
    AttributeProto, GraphProto, NodeProto, TensorProto, TensorShapeProto, TypeProto,
    ValueInfoProto, attribute_proto::AttributeType, tensor_proto::DataType,
    tensor_shape_proto::Dimension, tensor_shape_proto::dimension::Value, type_proto,
};

use super::*;

pub(super) const SIDE: usize = 9;

#[derive(Default)]
struct Writer(GraphProto);

impl Writer {
    fn node(&mut self, op: &str, inputs: &[&str], output: &str, ints: &[(&str, &[i64])]) {
        let attribute = ints.iter().map(|(name, ints)| AttributeProto {
            name: (*name).to_owned(),
            r#type: if *name == "group" || *name == "transB" {
                AttributeType::Int
            } else {
                AttributeType::Ints
            } as i32,
            i: ints[0],
            ints: ints.to_vec(),
            ..AttributeProto::default()
        });
        self.0.node.push(NodeProto {
            op_type: op.to_owned(),
            input: inputs.iter().map(|input| (*input).to_owned()).collect(),
            output: vec![output.to_owned()],
            name: output.to_owned(),
            attribute: attribute.collect(),
            ..NodeProto::default()
        });
    }

    fn constant(&mut self, name: &str, kind: DataType, dims: &[i64], raw_data: Vec<u8>) {
        self.0.initializer.push(TensorProto {
            name: name.to_owned(),
            data_type: kind as i32,
            dims: dims.to_vec(),
            raw_data,
            ..TensorProto::default()
        });
    }

    /// Constants of f32, from -0.4 to 0.5.
    fn floats(&mut self, name: &str, dims: &[i64]) {
        let count: i64 = dims.iter().product();
        let seed = name.len() as i64;
        let values = (0..count).map(|index| ((index * 7 + seed) % 10 - 4) as f32 / 10.0);
        let raw = values.flat_map(f32::to_le_bytes).collect();
        self.constant(name, DataType::Float, dims, raw);
    }

    /// A convolution with weights and bias, of `channels` by themselves where `group` says so.
    fn conv(&mut self, input: &str, output: &str, dims: &[i64], stride: i64, group: i64) {
        let [w, b] = ["w", "b"].map(|end| format!("{output}.{end}"));
        self.floats(&w, dims);
        self.floats(&b, &dims[..1]);
        let pad = dims[2] / 2;
        let attributes: [(&str, &[i64]); 4] = [
            ("kernel_shape", &dims[2..]),
            ("strides", &[stride, stride]),
            ("pads", &[pad; 4]),
            ("group", &[group]),
        ];
        self.node("Conv", &[input, &w, &b], output, &attributes);
    }

    /// `value` quantized and dequantized again, as `value.d`.
    fn around(&mut self, value: &str, scale: f32, zero_point: u8) {
        let [s, z, q, d] = ["s", "z", "q", "d"].map(|end| format!("{value}.{end}"));
        self.constant(&s, DataType::Float, &[], scale.to_le_bytes().to_vec());
        self.constant(&z, DataType::Uint8, &[], vec![zero_point]);
        self.node("QuantizeLinear", &[value, &s, &z], &q, &[]);
        self.node("DequantizeLinear", &[&q, &s, &z], &d, &[]);
    }

    /// Weights of 8 bits, one scale per output channel, as `name.d`.
    fn weight(&mut self, name: &str, dims: &[i64]) {
        let [s, z, d] = ["s", "z", "d"].map(|end| format!("{name}.{end}"));
        let count: i64 = dims.iter().product();
        let values = (0..count).map(|index| (index * 89 % 255) as u8).collect();
        let scales = (0..dims[0]).flat_map(|n| (0.004 + 0.001 * n as f32).to_le_bytes());
        let scales = scales.collect();
        self.constant(name, DataType::Int8, dims, values);
        self.constant(&s, DataType::Float, &dims[..1], scales);
        self.constant(&z, DataType::Int8, &dims[..1], vec![0; dims[0] as usize]);
        self.node("DequantizeLinear", &[name, &s, &z], &d, &[]);
        let axis = AttributeProto {
            name: "axis".to_owned(),
            r#type: AttributeType::Int as i32,
            ..AttributeProto::default()
        };
        self.0.node.last_mut().unwrap().attribute.push(axis);
    }
}

fn value(name: &str, dims: &[usize]) -> ValueInfoProto {
    let dim = dims.iter().map(|n| Dimension {
        value: Some(Value::DimValue(*n as i64)),
        ..Dimension::default()
    });
    let tensor = type_proto::Tensor {
        elem_type: DataType::Float as i32,
        shape: Some(TensorShapeProto { dim: dim.collect() }),
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

/// A residual block after a strided convolution, then pooling and a dense layer.
pub(super) fn network() -> pb::ModelProto {
    let mut net = Writer::default();
    net.around("image", 1.0 / 64.0, 128);
    net.weight("stem", &[5, 3, 3, 3]);
    let stem: [(&str, &[i64]); 3] = [
        ("kernel_shape", &[3, 3]),
        ("strides", &[2, 2]),
        ("pads", &[1, 1, 1, 1]),
    ];
    net.node("Conv", &["image.d", "stem.d"], "a", &stem);
    net.node("Relu", &["a"], "b", &[]);
    net.around("b", 0.05, 0);
    net.weight("deep", &[5, 1, 3, 3]);
    let deep: [(&str, &[i64]); 3] = [
        ("kernel_shape", &[3, 3]),
        ("pads", &[1, 1, 1, 1]),
        ("group", &[5]),
    ];
    net.node("Conv", &["b.d", "deep.d"], "c", &deep);
    net.around("c", 0.06, 120);
    net.node("Add", &["b.d", "c.d"], "sum", &[]);
    net.around("sum", 0.09, 90);
    net.node("GlobalAveragePool", &["sum.d"], "mean", &[]);
    net.around("mean", 0.04, 100);
    net.node("Flatten", &["mean.d"], "flat", &[]);
    net.around("flat", 0.04, 100);
    net.weight("dense", &[4, 5]);
    net.node("Gemm", &["flat.d", "dense.d"], "out", &[("transB", &[1])]);
    net.around("out", 0.02, 128);
    net.model("out.d")
}

/// What networks in f32 consist of, with one operator in between that stays in tract.
pub(super) fn float_network() -> pb::ModelProto {
    let mut net = Writer::default();
    net.conv("image", "stem", &[18, 3, 3, 3], 2, 1);
    for name in ["scale", "shift", "mean"] {
        net.floats(name, &[18]);
    }
    let variance = [0.7_f32; 18].iter().flat_map(|value| value.to_le_bytes());
    net.constant("variance", DataType::Float, &[18], variance.collect());
    let norm = ["stem", "scale", "shift", "mean", "variance"];
    net.node("BatchNormalization", &norm, "normed", &[]);
    net.node("Relu", &["normed"], "a", &[]);
    net.conv("a", "b", &[18, 1, 3, 3], 1, 18);
    net.node("Sigmoid", &["b"], "b.s", &[]);
    net.node("Mul", &["b", "b.s"], "c", &[]);
    net.node("GlobalAveragePool", &["c"], "mean of c", &[]);
    net.conv("mean of c", "narrow", &[4, 18, 1, 1], 1, 1);
    net.node("HardSwish", &["narrow"], "narrow.h", &[]);
    net.conv("narrow.h", "wide", &[18, 4, 1, 1], 1, 1);
    net.node("Sigmoid", &["wide"], "gate", &[]);
    net.node("Mul", &["gate", "c"], "gated", &[]);
    net.conv("gated", "d", &[18, 18, 1, 1], 1, 1);
    net.node("Add", &["a", "d"], "sum", &[]);
    net.node("LeakyRelu", &["sum"], "e", &[]);
    let window: [(&str, &[i64]); 3] = [
        ("kernel_shape", &[3, 3]),
        ("strides", &[2, 2]),
        ("pads", &[1, 1, 1, 1]),
    ];
    net.node("MaxPool", &["e"], "most", &window);
    net.node("AveragePool", &["e"], "average", &window);
    net.node("Sub", &["most", "average"], "outside", &[]);
    net.node("Add", &["outside", "average"], "again", &[]);
    net.conv("again", "f", &[20, 18, 1, 1], 1, 1);
    net.node("HardSigmoid", &["f"], "g", &[]);
    net.node("GlobalAveragePool", &["g"], "mean of g", &[]);
    net.node("Flatten", &["mean of g"], "flat", &[]);
    net.floats("dense", &[4, 20]);
    net.floats("dense.b", &[4]);
    let inputs = ["flat", "dense", "dense.b"];
    net.node("Gemm", &inputs, "out", &[("transB", &[1])]);
    net.model("out")
}

impl Writer {
    fn model(mut self, output: &str) -> pb::ModelProto {
        self.0.name = "test".to_owned();
        self.0.input = vec![value("image", &[1, 3, SIDE, SIDE])];
        self.0.output = vec![value(output, &[1, 4])];
        pb::ModelProto {
            ir_version: 8,
            opset_import: vec![pb::OperatorSetIdProto {
                domain: String::new(),
                version: 14,
            }],
            graph: Some(self.0),
            ..pb::ModelProto::default()
        }
    }
}

pub(super) fn read(proto: &pb::ModelProto) -> Onnx {
    Onnx::read(&proto.encode_to_vec().into()).unwrap()
}

pub(super) fn run(model: TypedModel, image: &[f32]) -> Vec<f32> {
    let image = Tensor::from_shape(&[1, 3, SIDE, SIDE], image).unwrap();
    let plan = model.into_runnable().unwrap();
    let output = plan.run(tvec!(image.into_tvalue())).unwrap();
    output[0]
        .try_as_plain_ram()
        .unwrap()
        .as_slice::<f32>()
        .unwrap()
        .to_vec()
}

#[test]
fn eight_bits_compute_what_tract_computes_in_f32() {
    let reader = tract_onnx::onnx()
        .with_ignore_output_shapes(true)
        .with_ignore_value_info(true);
    let proto = network();
    for seed in 0..20_usize {
        let noise = |index: usize| ((index * 7919 + seed * 104_729) % 1000) as f32 / 250.0 - 2.0;
        let image: Vec<f32> = (0..3 * SIDE * SIDE).map(noise).collect();
        let int8 = with_regions(&reader, read(&proto), Kinds::Both, SIDE, 4, 2).unwrap();
        assert!(
            int8.nodes()
                .iter()
                .any(|node| node.op.name() == "QuantizedRegion")
        );
        assert!(int8.nodes().len() <= 3, "{int8}");
        let plain = typed(reader.model_for_proto_model(&proto).unwrap(), SIDE, 4).unwrap();
        let (int8, plain) = (run(int8, &image), run(plain, &image));
        // A value half way between two can be rounded otherwise in f32, and go on through layers.
        for (a, b) in int8.iter().zip(&plain) {
            assert!((a - b).abs() <= 2.0 * 0.02 + 1e-6, "{int8:?} {plain:?}");
        }
        assert!(plain.iter().any(|value| value.abs() > 0.05), "{plain:?}");
    }
}

#[test]
fn regions_of_f32_compute_what_tract_computes() {
    let reader = tract_onnx::onnx()
        .with_ignore_output_shapes(true)
        .with_ignore_value_info(true);
    let proto = float_network();
    for seed in 0..5_usize {
        let noise = |index: usize| ((index * 7919 + seed * 104_729) % 1000) as f32 / 250.0 - 2.0;
        let image: Vec<f32> = (0..3 * SIDE * SIDE).map(noise).collect();
        let ours = with_regions(&reader, read(&proto), Kinds::Both, SIDE, 4, 2).unwrap();
        let regions = ours.nodes().iter().map(|node| node.op.name());
        let regions = regions.filter(|name| name == "FloatRegion").count();
        assert_eq!(regions, 2, "{ours}");
        let plain = typed(reader.model_for_proto_model(&proto).unwrap(), SIDE, 4).unwrap();
        let (ours, plain) = (run(ours, &image), run(plain, &image));
        for (a, b) in ours.iter().zip(&plain) {
            assert!(
                (a - b).abs() <= 1e-5 * (1.0 + b.abs()),
                "{ours:?} {plain:?}"
            );
        }
        assert!(plain.iter().any(|value| value.abs() > 0.05), "{plain:?}");
    }
}

#[test]
fn what_is_not_quantized_beside_a_quantized_region_is_a_region_of_f32() {
    let reader = tract_onnx::onnx()
        .with_ignore_output_shapes(true)
        .with_ignore_value_info(true);
    let mut net = Writer::default();
    net.conv("image", "stem", &[6, 3, 3, 3], 2, 1);
    net.node("Relu", &["stem"], "a", &[]);
    net.around("a", 0.02, 0);
    net.weight("w", &[4, 6, 1, 1]);
    net.node("Conv", &["a.d", "w.d"], "b", &[("kernel_shape", &[1, 1])]);
    net.around("b", 0.02, 128);
    net.conv("b.d", "c", &[4, 4, 3, 3], 1, 1);
    net.node("GlobalAveragePool", &["c"], "mean", &[]);
    net.node("Flatten", &["mean"], "out", &[]);
    let proto = net.model("out");
    let ours = with_regions(&reader, read(&proto), Kinds::Both, SIDE, 4, 1).unwrap();
    let names: Vec<_> = ours.nodes().iter().map(|node| node.op.name()).collect();
    let expected = ["Source", "FloatRegion", "QuantizedRegion", "FloatRegion"];
    assert_eq!(names, expected);
    let plain = typed(reader.model_for_proto_model(&proto).unwrap(), SIDE, 4).unwrap();
    let image: Vec<f32> = (0..3 * SIDE * SIDE)
        .map(|at| (at % 17) as f32 / 8.0 - 1.0)
        .collect();
    let (ours, plain) = (run(ours, &image), run(plain, &image));
    for (a, b) in ours.iter().zip(&plain) {
        assert!((a - b).abs() <= 0.05, "{ours:?} {plain:?}");
    }
}
