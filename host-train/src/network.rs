//! A [`models::Graph`] as a burn module: the graph says what is computed, burn computes it.

use std::sync::Arc;

use burn::module::{Module, ParamId};
use burn::tensor::{Device, Tensor};
use models::graph::{GraphError, Shape};
use models::quantize::Affine;
use models::{Graph, Op, Weights};

use crate::dropout::Dropout;
use crate::layer::{ConvForm, Layer, activate, max_pool};
use crate::value::{Value, add, mul};

/// A trainable network: one [`Layer`] per node of its graph.
#[derive(Module, Debug)]
pub(crate) struct Network {
    layers: Vec<Layer>,
    #[module(skip)]
    plan: Arc<Plan>,
}

/// The graph and what follows from it.
#[derive(Debug)]
struct Plan {
    graph: Graph,
    shapes: Vec<Shape>,
    /// For every node the last node that reads it.
    last_use: Vec<usize>,
    /// For every node how its output is rounded, if it is.
    rounding: Vec<Option<Affine>>,
}

impl Plan {
    fn round(&self, node: usize, value: Value) -> Value {
        match &self.rounding[node] {
            Some(affine) => value.round(affine),
            None => value,
        }
    }
}

/// How batch norms and dropouts behave.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Mode<'a> {
    /// Running statistics, no dropout.
    Inference,
    /// Dropout; batch norms as told.
    Training { norm: Norm, dropout: &'a Dropout },
}

/// Which statistics a batch norm uses while training.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Norm {
    /// Those of the batch.
    Batch,
    /// The running ones, which then stay as they are: for fine-tuning with small batches.
    Running,
}

/// What a batch norm saw in one pass.
#[derive(Clone, Debug)]
pub(crate) struct BatchStatistics {
    /// The batch norm's node.
    pub(crate) node: usize,
    /// Values per channel.
    pub(crate) count: usize,
    /// `[channels]`
    pub(crate) mean: Tensor<1>,
    /// `[channels]`, biased.
    pub(crate) variance: Tensor<1>,
}

impl Network {
    /// A network on a plain device; [`Network::tracked`] gives one that records gradients.
    ///
    /// # Errors
    /// `weights` do not fit `graph`.
    pub(crate) fn new(
        graph: Graph,
        weights: &Weights,
        device: &Device,
    ) -> Result<Network, GraphError> {
        let rounding = vec![None; graph.nodes.len()];
        Network::with_rounding(graph, weights, rounding, device)
    }

    /// A network whose nodes' outputs go through 8 bits: one rounding or none for every node. Gradients
    /// go straight through them, see [`Value::round`].
    ///
    /// # Errors
    /// `weights` do not fit `graph`.
    pub(crate) fn with_rounding(
        graph: Graph,
        weights: &Weights,
        rounding: Vec<Option<Affine>>,
        device: &Device,
    ) -> Result<Network, GraphError> {
        graph.check(weights)?;
        let shapes = graph.shapes()?;
        let mut last_use: Vec<usize> = (0..graph.nodes.len()).collect();
        for (index, node) in graph.nodes.iter().enumerate() {
            node.inputs
                .iter()
                .for_each(|&input| last_use[input] = index);
        }
        let layers = (0..graph.nodes.len())
            .map(|index| Layer::new(&graph, index, weights, device))
            .collect();
        Ok(Network {
            layers,
            plan: Arc::new(Plan {
                graph,
                shapes,
                last_use,
                rounding,
            }),
        })
    }

    /// The graph that this network interprets.
    pub(crate) fn graph(&self) -> &Graph {
        &self.plan.graph
    }

    /// A copy of all parameters.
    pub(crate) fn weights(&self) -> Weights {
        let mut weights = Weights::new();
        for (node, layer) in self.plan.graph.nodes.iter().zip(&self.layers) {
            layer.save(&node.name, &mut weights);
        }
        weights
    }

    /// A copy whose parameters after node `from` record gradients. Each copy has leaves of its own, so
    /// that threads share no graph of gradients. The other parameters record nothing: burn's
    /// automatic differentiation keeps leaves that no backward pass reaches, and slows down with them.
    pub(crate) fn tracked(&self, from: usize) -> Network {
        let track = |(index, layer): (usize, &Layer)| match index > from {
            true => layer.tracked(),
            false => layer.clone(),
        };
        let layers = self.layers.iter().enumerate().map(track).collect();
        Network {
            layers,
            plan: self.plan.clone(),
        }
    }

    /// The parameters that weight decay is meant for: those of convolutions and dense layers,
    /// without biases and norms.
    pub(crate) fn decayed(&self) -> Vec<ParamId> {
        let ids = |layer: &Layer| {
            [
                layer.kernel.as_ref().map(|p| p.id),
                layer.matrix.as_ref().map(|p| p.id),
            ]
        };
        self.layers.iter().flat_map(ids).flatten().collect()
    }

    /// The output of the last node, given that of node `from` (0: the input image).
    ///
    /// All that is read after `from` must come from it alone. Also returns what the batch norms
    /// saw, if they used the batch's statistics.
    pub(crate) fn forward(
        &self,
        from: usize,
        input: Value,
        mode: Mode,
    ) -> (Tensor<2>, Vec<BatchStatistics>) {
        let (value, statistics) = self.run(from, self.layers.len() - 1, input, mode);
        match value {
            Value::Features(logits) => (logits, statistics),
            Value::Map(_) => unreachable!("a classifier ends with features"),
        }
    }

    /// The output of node `to`, given that of node `from`; see [`Network::forward`].
    pub(crate) fn run(
        &self,
        from: usize,
        to: usize,
        input: Value,
        mode: Mode,
    ) -> (Value, Vec<BatchStatistics>) {
        let plan = &*self.plan;
        let mut statistics = Vec::new();
        let mut values: Vec<Option<Value>> = vec![None; to + 1];
        values[from] = Some(plan.round(from, input));
        for index in from + 1..=to {
            let node = &plan.graph.nodes[index];
            let mut take = |input: usize| {
                // The last reader takes the value, so that its memory can be used again.
                let slot = &mut values[input];
                if plan.last_use[input] == index {
                    slot.take()
                } else {
                    slot.clone()
                }
                .expect("a node's inputs come before it")
            };
            let value = match node.inputs[..] {
                [a] => self.apply(index, take(a), mode, &mut statistics),
                [a, b] if a == b => {
                    let value = take(a);
                    add(value.clone(), value)
                }
                [a, b] if node.op == Op::Mul => mul(take(a), take(b)),
                [a, b] => add(take(a), take(b)),
                _ => unreachable!("no operation takes more than two inputs"),
            };
            values[index] = Some(plan.round(index, value));
        }
        (
            values[to].take().expect("node `to` was just computed"),
            statistics,
        )
    }

    fn apply(
        &self,
        index: usize,
        input: Value,
        mode: Mode,
        statistics: &mut Vec<BatchStatistics>,
    ) -> Value {
        let layer = &self.layers[index];
        let node = &self.plan.graph.nodes[index];
        match (node.op, input) {
            (
                Op::Conv {
                    kernel,
                    stride,
                    padding,
                    groups,
                    ..
                },
                Value::Map(x),
            ) => {
                let form = ConvForm {
                    kernel,
                    stride,
                    padding,
                    groups,
                };
                Value::Map(layer.conv(x, form, mode))
            }
            (Op::BatchNorm { eps }, Value::Map(x)) => {
                let (y, seen) = layer.norm(x, eps, mode);
                statistics.extend(seen.map(|s| BatchStatistics { node: index, ..s }));
                Value::Map(y)
            }
            (Op::GroupNorm { groups, eps }, Value::Map(x)) => {
                Value::Map(layer.group_norm(x, groups, eps))
            }
            (Op::Activation(f), Value::Map(x)) => Value::Map(activate(f, x)),
            (Op::Activation(f), Value::Features(x)) => Value::Features(activate(f, x)),
            (Op::GlobalAvgPool, Value::Map(x)) => {
                let [n, c, h, w] = x.dims();
                Value::Features(x.reshape([n, c, h * w]).mean_dim(2).reshape([n, c]))
            }
            (Op::Dense { .. }, Value::Features(x)) => Value::Features(layer.dense(x)),
            (
                Op::MaxPool {
                    kernel,
                    stride,
                    padding,
                },
                Value::Map(x),
            ) => Value::Map(max_pool(x, kernel, stride, padding)),
            (Op::Dropout { p }, x) => match mode {
                Mode::Inference => x,
                Mode::Training { dropout, .. } => dropout.apply(index, p, x),
            },
            (Op::StochasticDepth { p }, x) => match mode {
                Mode::Inference => x,
                Mode::Training { dropout, .. } => dropout.apply_to_rows(index, p, x),
            },
            (op, _) => unreachable!("shape inference let {op:?} through"),
        }
    }

    /// Moves the running statistics of batch norms towards what was seen, as `momentum` says (0.1:
    /// a tenth of the way). `shards`: what each part of one batch saw, in the order of the parts.
    pub(crate) fn update_statistics(&mut self, shards: &[Vec<BatchStatistics>], momentum: f32) {
        let Some(first) = shards.first() else { return };
        for (position, seen) in first.iter().enumerate() {
            let parts: Vec<&BatchStatistics> = shards.iter().map(|s| &s[position]).collect();
            let (mean, variance) = combine(&parts);
            let layer = &mut self.layers[seen.node];
            for (param, new) in [(&mut layer.mean, mean), (&mut layer.variance, variance)] {
                if let Some(old) = param.take() {
                    *param = Some(old.map(|old| old * (1.0 - momentum) + new * momentum));
                }
            }
        }
    }

    /// Shortens the step from `before` to what each node's factor says; 1 leaves it as it is.
    pub(crate) fn shorten_step(&mut self, before: &Network, factors: &[f32]) {
        let layers = self.layers.iter_mut().zip(&before.layers).zip(factors);
        for ((layer, before), &factor) in layers.filter(|(_, factor)| **factor < 1.0) {
            let mut shorter = before.clone();
            shorter.approach(layer, factor);
            *layer = shorter;
        }
    }

    /// Moves the parameters after node `from` towards those of `newest`, by this share of the way.
    pub(crate) fn approach(&mut self, newest: &Network, from: usize, share: f32) {
        for (layer, newest) in self.layers.iter_mut().zip(&newest.layers).skip(from + 1) {
            layer.approach(newest, share);
        }
    }

    /// The shape of one sample at a node's output.
    pub(crate) fn shape(&self, node: usize) -> Shape {
        self.plan.shapes[node]
    }
}

/// Mean and unbiased variance of a whole batch from those of its parts (Chan et al. 1979).
fn combine(parts: &[&BatchStatistics]) -> (Tensor<1>, Tensor<1>) {
    let total: usize = parts.iter().map(|p| p.count).sum();
    let weight = |p: &BatchStatistics| p.count as f32 / total as f32;
    let sum = |terms: Vec<Tensor<1>>| terms.into_iter().reduce(|a, b| a + b);
    let inner = |t: &Tensor<1>| t.clone().inner();
    let mean = sum(parts.iter().map(|p| inner(&p.mean) * weight(p)).collect())
        .expect("a batch has at least one part");
    let spread = |p: &&BatchStatistics| {
        let apart = inner(&p.mean) - mean.clone();
        (inner(&p.variance) + apart.clone() * apart) * weight(p)
    };
    let variance = sum(parts.iter().map(spread).collect()).expect("the same parts");
    (
        mean.clone(),
        variance * (total as f32 / (total.max(2) - 1) as f32),
    )
}

#[cfg(test)]
#[path = "network_tests.rs"]
mod tests;
