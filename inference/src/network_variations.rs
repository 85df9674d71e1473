//! Networks that nobody drew: variations of small ones, with regions and in tract alone.

use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::Index;
use prost::Message;

use super::tests::{SIDE, float_network, network, read, run};
use super::*;

/// One difference to a good network.
#[derive(Clone, Debug)]
enum Change {
    /// A number of an attribute.
    Attribute(Index, Index, i64),
    /// Another value, or constant, for an input.
    Input(Index, Index, Index),
    Operator(Index, &'static str),
    /// One value of a constant: a byte, or a factor for it.
    Value(Index, Index, u8),
    /// One dimension of a constant.
    Dimension(Index, Index, i64),
    /// A node less.
    Without(Index),
    /// An input less.
    Shorter(Index),
}

fn change() -> impl Strategy<Value = Change> {
    // A quotient can make much of a difference in the last bit.
    let operators = OPERATORS.into_iter().filter(|operator| *operator != "Div");
    let operators = prop::sample::select(operators.collect::<Vec<_>>());
    prop_oneof![
        6 => (any::<Index>(), any::<Index>(), -2..=6_i64)
            .prop_map(|(attribute, at, value)| Change::Attribute(attribute, at, value)),
        3 => any::<(Index, Index, Index)>().prop_map(|(node, input, value)| Change::Input(node, input, value)),
        2 => (any::<Index>(), operators).prop_map(|(node, operator)| Change::Operator(node, operator)),
        3 => any::<(Index, Index, u8)>().prop_map(|(constant, at, byte)| Change::Value(constant, at, byte)),
        2 => (any::<Index>(), any::<Index>(), 0..=6_i64)
            .prop_map(|(constant, at, value)| Change::Dimension(constant, at, value)),
        1 => any::<Index>().prop_map(Change::Without),
        1 => any::<Index>().prop_map(Change::Shorter),
    ]
}

fn apply(change: &Change, graph: &mut pb::GraphProto) {
    let mut names: Vec<String> = graph
        .node
        .iter()
        .flat_map(|node| node.output.clone())
        .collect();
    names.extend(
        graph
            .initializer
            .iter()
            .map(|constant| constant.name.clone()),
    );
    names.push("image".to_owned());
    match change {
        Change::Attribute(attribute, at, value) => {
            let attributes = graph.node.iter_mut().flat_map(|node| &mut node.attribute);
            let mut attributes: Vec<_> = attributes.collect();
            let attribute = attribute.get_mut(&mut attributes);
            attribute.i = *value;
            if !attribute.ints.is_empty() {
                let at = at.index(attribute.ints.len());
                attribute.ints[at] = *value;
            }
        }
        Change::Input(node, input, value) => {
            let node = node.get_mut(&mut graph.node);
            if !node.input.is_empty() {
                let input = input.index(node.input.len());
                node.input[input].clone_from(value.get(&names));
            }
        }
        Change::Operator(node, operator) => {
            node.get_mut(&mut graph.node).op_type = (*operator).to_owned();
        }
        Change::Value(constant, at, byte) => {
            let constant = constant.get_mut(&mut graph.initializer);
            let float = constant.data_type == pb::tensor_proto::DataType::Float as i32;
            let (values, []) = constant.raw_data.as_chunks_mut::<4>() else {
                return constant.raw_data[0] = *byte;
            };
            let value = at.get_mut(values);
            if float {
                // Not larger: differences in last bits would be.
                let factor = [-1.0, 0.0, 0.25, 3.0][usize::from(byte % 4)];
                *value = (f32::from_le_bytes(*value) * factor).to_le_bytes();
            } else {
                value[usize::from(byte % 4)] = *byte;
            }
        }
        Change::Dimension(constant, at, value) => {
            let dims = &mut constant.get_mut(&mut graph.initializer).dims;
            if !dims.is_empty() {
                let at = at.index(dims.len());
                dims[at] = *value;
            }
        }
        Change::Without(node) => {
            let node = node.index(graph.node.len());
            graph.node.remove(node);
        }
        Change::Shorter(node) => _ = node.get_mut(&mut graph.node).input.pop(),
    }
}

/// What a network gives, if it can be run at all.
fn outputs(model: Option<TypedModel>) -> Option<Vec<f32>> {
    let model = model?;
    let image: Vec<f32> = (0..3 * SIDE * SIDE)
        .map(|index| ((index * 7919) % 1000) as f32 / 250.0 - 2.0)
        .collect();
    quietly(|| run(model, &image)).ok()
}

/// Both, with regions and without.
fn both(proto: &pb::ModelProto) -> [Option<Vec<f32>>; 2] {
    let reader = tract_onnx::onnx()
        .with_ignore_output_shapes(true)
        .with_ignore_value_info(true);
    let ours = || {
        let network = read(proto);
        check_network(&network, proto.encoded_len(), SIDE).ok()?;
        with_regions(&reader, network, Kinds::Both, SIDE, 4, 1)
    };
    let plain = || {
        let network = read(proto);
        check_network(&network, proto.encoded_len(), SIDE).ok()?;
        typed(in_tract(&reader, network).ok()?, SIDE, 4).ok()
    };
    [
        outputs(quietly(ours).ok().flatten()),
        outputs(quietly(plain).ok().flatten()),
    ]
}

/// Whether they are the same within what rounding can be off. Where ours is no number, which is a
/// reject, tract's ReLU may have made 0 of one before.
fn agree(ours: &[f32], plain: &[f32], [absolute, relative]: [f32; 2]) -> bool {
    let near = |(a, b): (&f32, &f32)| a == b || (a - b).abs() <= absolute + relative * b.abs();
    ours.iter().any(|a| a.is_nan()) || ours.iter().zip(plain).all(near)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 3000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn f32(changes in vec(change(), 1..4)) {
        let mut proto = float_network();
        changes.iter().for_each(|change| apply(change, proto.graph.as_mut().unwrap()));
        if let [Some(ours), Some(plain)] = both(&proto) {
            prop_assert!(agree(&ours, &plain, [1e-4, 1e-4]), "{ours:?} {plain:?}");
        }
    }

    #[test]
    fn int8(changes in vec(change(), 1..4)) {
        let mut proto = network();
        changes.iter().for_each(|change| apply(change, proto.graph.as_mut().unwrap()));
        if let [Some(ours), Some(plain)] = both(&proto) {
            prop_assert!(agree(&ours, &plain, [0.1, 0.02]), "{ours:?} {plain:?}");
        }
    }
}
