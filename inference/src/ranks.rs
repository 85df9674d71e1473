//! How many dimensions each value of a network has.
//!
//! tract reads the channels, rows and columns of an image without looking whether there are any: a
//! network that gives an image operator something else would have it read memory that is not its own. So
//! this is looked at before.

use foldhash::HashMap;
use tract_onnx::pb::{GraphProto, NodeProto};

use crate::InferenceError;
use crate::onnx::{Constants, Onnx};
use crate::region::attributes::Attributes;

/// Refuses a network in which an operator takes something else than it needs, or what is not known.
pub(crate) fn check(network: &Onnx) -> Result<(), InferenceError> {
    let Some(graph) = &network.model.graph else {
        return Ok(());
    };
    let ranks = Ranks::new(graph, &network.constants);
    let wrong = graph.node.iter().find(|node| !ranks.fit(node));
    match wrong {
        None => Ok(()),
        Some(node) => Err(InferenceError::Network(format!(
            "node {:?} ({}) takes values of another number of dimensions",
            node.name, node.op_type
        ))),
    }
}

struct Ranks<'a> {
    constants: &'a Constants,
    values: HashMap<&'a str, usize>,
}

impl<'a> Ranks<'a> {
    /// Nodes come after those that make their inputs, as ONNX asks for.
    fn new(graph: &'a GraphProto, constants: &'a Constants) -> Ranks<'a> {
        let inputs = graph.input.iter().filter_map(|input| {
            use tract_onnx::pb::type_proto::Value::TensorType;
            let TensorType(tensor) = input.r#type.as_ref()?.value.as_ref()?;
            Some((input.name.as_str(), tensor.shape.as_ref()?.dim.len()))
        });
        let mut ranks = Ranks {
            constants,
            values: inputs.collect(),
        };
        for node in &graph.node {
            if let Some(rank) = ranks.of_outputs(node) {
                let outputs = node.output.iter().map(|name| (name.as_str(), rank));
                ranks.values.extend(outputs);
            }
        }
        ranks
    }

    fn of(&self, name: &str) -> Option<usize> {
        let of_constant = || Some(self.constants.get(name)?.stated_dims().len());
        self.values.get(name).copied().or_else(of_constant)
    }

    fn of_input(&self, node: &NodeProto, index: usize) -> Option<usize> {
        self.of(node.input.get(index)?)
    }

    fn of_outputs(&self, node: &NodeProto) -> Option<usize> {
        let first = self.of_input(node, 0);
        match node.op_type.as_str() {
            "Flatten" | "Gemm" => Some(2),
            "Reshape" => Some(self.constants.integers(node.input.get(1)?)?.len()),
            "Squeeze" => first?.checked_sub(self.axes(node)?),
            "Unsqueeze" => Some(first? + self.axes(node)?),
            "ReduceMean" if Attributes(node).int("keepdims", 1) == 0 => {
                first?.checked_sub(self.axes(node)?)
            }
            "Add" | "Sub" | "Mul" | "Div" | "MatMul" => Some(first?.max(self.of_input(node, 1)?)),
            "QLinearMatMul" => Some(first?.max(self.of_input(node, 3)?)),
            _ => first,
        }
    }

    /// How many axes a node names.
    fn axes(&self, node: &NodeProto) -> Option<usize> {
        let attribute = node.attribute.iter().find(|a| a.name == "axes");
        let given = || Some(self.constants.integers(node.input.get(1)?)?.len());
        attribute.map(|axes| axes.ints.len()).or_else(given)
    }

    fn fit(&self, node: &NodeProto) -> bool {
        let is = |index: usize, rank: usize| self.of_input(node, index) == Some(rank);
        match node.op_type.as_str() {
            "Conv" => is(0, 4) && is(1, 4),
            "QLinearConv" => is(0, 4) && is(3, 4),
            "AveragePool"
            | "MaxPool"
            | "GlobalAveragePool"
            | "GlobalMaxPool"
            | "InstanceNormalization" => is(0, 4),
            // Of dense layers, too.
            "BatchNormalization" => is(0, 4) || is(0, 2),
            _ => true,
        }
    }
}
