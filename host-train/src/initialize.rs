//! Weights of a network that has learned nothing yet.

use models::graph::GraphError;
use models::{Graph, Op, Tensor, Weights};

use crate::random::{Purpose, generator, normal};

/// Random weights: convolutions normal with deviation `sqrt(2 / fan out)` (He et al. 2015), dense
/// layers normal with deviation 0.01, biases 0, batch norms doing nothing.
pub(crate) fn initialize(graph: &Graph, seed: u64) -> Result<Weights, GraphError> {
    let mut weights = Weights::new();
    for (index, parameter) in graph.parameters()?.into_iter().enumerate() {
        let shape = &parameter.shape;
        let (node, kind) = parameter
            .name
            .rsplit_once('.')
            .unwrap_or((&parameter.name, ""));
        let op = graph.find(node).map(|node| graph.nodes[node].op);
        let deviation = match (op, kind) {
            (
                Some(Op::Conv {
                    out,
                    kernel: [h, w],
                    groups,
                    ..
                }),
                "weight",
            ) => Some((2.0 / (out / groups * h * w).max(1) as f32).sqrt()),
            (Some(Op::Dense { .. }), "weight") => Some(0.01),
            _ => None,
        };
        let tensor = match (deviation, kind) {
            (Some(deviation), _) => {
                let mut rng = generator(seed, Purpose::Weights, [index as u64, 0, 0]);
                let count = shape.iter().product();
                let data = (0..count).map(|_| normal(&mut rng) * deviation).collect();
                Tensor {
                    shape: shape.clone(),
                    data,
                }
            }
            (None, "weight" | "var") => Tensor::filled(shape, 1.0),
            (None, _) => Tensor::filled(shape, 0.0),
        };
        weights.insert(parameter.name, tensor);
    }
    Ok(weights)
}
