//! A [`models::Graph`] as a burn module: the graph says what is computed, burn computes it.

use std::sync::Arc;

use burn::module::{Module, Param, ParamId};
use burn::tensor::activation::relu;
use burn::tensor::module::{batch_norm, batch_norm_train, conv2d};
use burn::tensor::ops::ConvOptions;
use burn::tensor::{Device, Tensor, TensorData};
use models::graph::{Activation, GraphError, Padding, Shape};
use models::{Graph, Op, Weights};

use crate::random::{Purpose, generator, unit};

/// A trainable network: one [`Layer`] per node of its graph.
#[derive(Module, Debug)]
pub(crate) struct Network {
    layers: Vec<Layer>,
    #[module(skip)]
    plan: Arc<Plan>,
}

/// The parameters of one node; a node without any has them all empty.
#[derive(Module, Debug)]
struct Layer {
    /// Convolution: `[out, in / groups, height, width]`.
    kernel: Option<Param<Tensor<4>>>,
    /// Dense layer: `[out, in]`.
    matrix: Option<Param<Tensor<2>>>,
    /// Batch norm: factor.
    scale: Option<Param<Tensor<1>>>,
    /// Convolution, dense layer, batch norm: summand.
    bias: Option<Param<Tensor<1>>>,
    /// Batch norm: running mean.
    mean: Option<Param<Tensor<1>>>,
    /// Batch norm: running variance.
    variance: Option<Param<Tensor<1>>>,
}

/// The graph and what follows from it.
#[derive(Debug)]
struct Plan {
    graph: Graph,
    shapes: Vec<Shape>,
    /// For every node the last node that reads it.
    last_use: Vec<usize>,
}

/// What flows between nodes, with the batch as first dimension.
#[derive(Clone, Debug)]
pub(crate) enum Value {
    /// `[batch, channels, height, width]`
    Map(Tensor<4>),
    /// `[batch, features]`
    Features(Tensor<2>),
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

/// Where dropout masks come from: our own generator, so that every back end and every split of a
/// batch over threads drops the same values.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Dropout {
    pub(crate) seed: u64,
    pub(crate) step: u64,
    /// The batch row that is row 0 here.
    pub(crate) first_row: usize,
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
        values[from] = Some(input);
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
                [a, b] => add(take(a), take(b)),
                _ => unreachable!("no operation takes more than two inputs"),
            };
            values[index] = Some(value);
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
            (Op::Activation(f), Value::Map(x)) => Value::Map(activate(f, x)),
            (Op::Activation(f), Value::Features(x)) => Value::Features(activate(f, x)),
            (Op::GlobalAvgPool, Value::Map(x)) => {
                let [n, c, h, w] = x.dims();
                Value::Features(x.reshape([n, c, h * w]).mean_dim(2).reshape([n, c]))
            }
            (Op::Dense { .. }, Value::Features(x)) => Value::Features(layer.dense(x)),
            (Op::Dropout { p }, x) => match mode {
                Mode::Inference => x,
                Mode::Training { dropout, .. } => dropout.apply(index, p, x),
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

impl Layer {
    fn new(graph: &Graph, index: usize, weights: &Weights, device: &Device) -> Layer {
        let node = &graph.nodes[index];
        let data = |name: &str| {
            let tensor = weights.get(&format!("{}.{name}", node.name))?;
            Some(TensorData::new(tensor.data.clone(), tensor.shape.clone()))
        };
        // A parameter's id is its place: optimizer states are stored under it.
        let id = |slot: u64| ParamId::from(index as u64 * 8 + slot);
        let vector =
            |name: &str, slot: u64| data(name).map(|data| param::<1>(id(slot), data, device));
        let conv = matches!(node.op, Op::Conv { .. });
        let dense = matches!(node.op, Op::Dense { .. });
        let norm = matches!(node.op, Op::BatchNorm { .. });
        Layer {
            kernel: data("weight")
                .filter(|_| conv)
                .map(|d| param(id(0), d, device)),
            matrix: data("weight")
                .filter(|_| dense)
                .map(|d| param(id(1), d, device)),
            scale: data("weight")
                .filter(|_| norm)
                .map(|d| param(id(2), d, device)),
            bias: vector("bias", 3),
            mean: vector("mean", 4),
            variance: vector("var", 5),
        }
    }

    fn tracked(&self) -> Layer {
        Layer {
            kernel: tracked(&self.kernel),
            matrix: tracked(&self.matrix),
            scale: tracked(&self.scale),
            bias: tracked(&self.bias),
            mean: constant(&self.mean),
            variance: constant(&self.variance),
        }
    }

    fn save(&self, node: &str, weights: &mut Weights) {
        save(weights, node, "weight", &self.kernel);
        save(weights, node, "weight", &self.matrix);
        save(weights, node, "weight", &self.scale);
        save(weights, node, "bias", &self.bias);
        save(weights, node, "mean", &self.mean);
        save(weights, node, "var", &self.variance);
    }

    fn conv(&self, x: Tensor<4>, form: ConvForm, mode: Mode) -> Tensor<4> {
        let kernel = self
            .kernel
            .as_ref()
            .expect("a convolution has a kernel")
            .val();
        let bias = self.bias.as_ref().map(|b| b.val());
        let [n, c, h, w] = x.dims();
        let pads = form.padding.resolve([h, w], form.kernel, form.stride);
        let padded = [pads.top, pads.left, pads.bottom, pads.right] != [0; 4];
        let pointwise = form.kernel == [1, 1] && form.stride == 1 && form.groups == 1 && !padded;
        if pointwise && matches!(mode, Mode::Training { .. }) {
            // The same as a product of matrices, whose gradients are two more. conv2d's own weight
            // gradient is a convolution with a kernel as large as the map, and many times slower.
            let [out, ..] = kernel.dims();
            let y = kernel.reshape([1, out, c]).matmul(x.reshape([n, c, h * w]));
            let y = y.reshape([n, out, h, w]);
            return match bias {
                Some(bias) => y + bias.reshape([1, out, 1, 1]),
                None => y,
            };
        }
        let padding = [(pads.top, pads.bottom), (pads.left, pads.right)];
        let stride = [form.stride; 2];
        conv2d(
            x,
            kernel,
            bias,
            ConvOptions::new_with_padding(stride, padding, [1; 2], form.groups),
        )
    }

    fn norm(&self, x: Tensor<4>, eps: f64, mode: Mode) -> (Tensor<4>, Option<BatchStatistics>) {
        let value = |p: &Option<Param<Tensor<1>>>| {
            p.as_ref().expect("a batch norm has four parameters").val()
        };
        let (scale, bias) = (value(&self.scale), value(&self.bias));
        if let Mode::Training {
            norm: Norm::Batch, ..
        } = mode
        {
            let [n, _, h, w] = x.dims();
            let seen = batch_norm_train(x, scale, bias, eps);
            let (mean, variance) = (seen.mean, seen.variance);
            let statistics = BatchStatistics {
                node: 0,
                count: n * h * w,
                mean,
                variance,
            };
            (seen.output, Some(statistics))
        } else {
            let (mean, variance) = (value(&self.mean), value(&self.variance));
            (batch_norm(x, scale, bias, mean, variance, eps), None)
        }
    }

    fn dense(&self, x: Tensor<2>) -> Tensor<2> {
        let matrix = self
            .matrix
            .as_ref()
            .expect("a dense layer has a matrix")
            .val();
        let bias = self.bias.as_ref().expect("a dense layer has a bias").val();
        let [out, _] = matrix.dims();
        x.matmul(matrix.transpose()) + bias.reshape([1, out])
    }
}

/// The numbers of an [`Op::Conv`].
struct ConvForm {
    kernel: [usize; 2],
    stride: usize,
    padding: Padding,
    groups: usize,
}

impl Dropout {
    fn apply(&self, node: usize, p: f64, x: Value) -> Value {
        match x {
            Value::Map(x) => {
                let shape = x.dims();
                let mask = self.mask(node, p, shape[0], shape[1..].iter().product());
                let mask = Tensor::from_data(TensorData::new(mask, shape), &x.device());
                Value::Map(x * mask)
            }
            Value::Features(x) => {
                let shape = x.dims();
                let mask = self.mask(node, p, shape[0], shape[1]);
                let mask = Tensor::from_data(TensorData::new(mask, shape), &x.device());
                Value::Features(x * mask)
            }
        }
    }

    fn mask(&self, node: usize, p: f64, rows: usize, row_len: usize) -> Vec<f32> {
        let kept = 1.0 / (1.0 - p as f32);
        let mut mask = Vec::with_capacity(rows * row_len);
        for row in self.first_row..self.first_row + rows {
            let position = [self.step, row as u64, node as u64];
            let mut rng = generator(self.seed, Purpose::Dropout, position);
            mask.extend((0..row_len).map(|_| if unit(&mut rng) < p as f32 { 0.0 } else { kept }));
        }
        mask
    }
}

fn param<const D: usize>(id: ParamId, data: TensorData, device: &Device) -> Param<Tensor<D>> {
    Param::initialized(id, Tensor::from_data(data, device))
}

fn tracked<const D: usize>(param: &Option<Param<Tensor<D>>>) -> Option<Param<Tensor<D>>> {
    param
        .as_ref()
        .map(|p| Param::initialized(p.id, p.val().autodiff().require_grad()))
}

fn constant<const D: usize>(param: &Option<Param<Tensor<D>>>) -> Option<Param<Tensor<D>>> {
    param
        .as_ref()
        .map(|p| Param::initialized(p.id, p.val().autodiff()))
}

fn save<const D: usize>(
    weights: &mut Weights,
    node: &str,
    name: &str,
    param: &Option<Param<Tensor<D>>>,
) {
    if let Some(param) = param {
        let tensor = param.val();
        let shape = tensor.dims().to_vec();
        weights.insert(
            format!("{node}.{name}"),
            models::Tensor {
                shape,
                data: floats(tensor),
            },
        );
    }
}

/// A tensor's values in row-major order.
pub(crate) fn floats<const D: usize>(tensor: Tensor<D>) -> Vec<f32> {
    tensor
        .into_data()
        .try_into_vec()
        .expect("the tensors here hold f32")
}

fn activate<const D: usize>(f: Activation, x: Tensor<D>) -> Tensor<D> {
    match f {
        Activation::Relu => relu(x),
        // Inference: one pass. Training: clamp's gradient takes many, those of two relus fewer.
        Activation::Relu6 if !x.is_autodiff() => x.clamp(0.0, 6.0),
        Activation::Relu6 => relu(relu(x).neg().add_scalar(6.0)).neg().add_scalar(6.0),
    }
}

fn add(a: Value, b: Value) -> Value {
    match (a, b) {
        (Value::Map(a), Value::Map(b)) => Value::Map(a + b),
        (Value::Features(a), Value::Features(b)) => Value::Features(a + b),
        _ => unreachable!("shape inference lets only equal shapes be added"),
    }
}

impl Value {
    /// A batch from numbers: `shape` is one sample's.
    pub(crate) fn new(data: Vec<f32>, shape: Shape, device: &Device) -> Value {
        let batch = data.len() / shape.len();
        match shape {
            Shape::Map {
                channels,
                height,
                width,
            } => {
                let data = TensorData::new(data, [batch, channels, height, width]);
                Value::Map(Tensor::from_data(data, device))
            }
            Shape::Features(features) => Value::Features(Tensor::from_data(
                TensorData::new(data, [batch, features]),
                device,
            )),
        }
    }

    /// The numbers of a batch.
    pub(crate) fn floats(self) -> Vec<f32> {
        match self {
            Value::Map(x) => floats(x),
            Value::Features(x) => floats(x),
        }
    }
}

impl Network {
    /// The shape of one sample at a node's output.
    pub(crate) fn shape(&self, node: usize) -> Shape {
        self.plan.shapes[node]
    }
}

#[cfg(test)]
#[path = "network_tests.rs"]
mod tests;
