//! The parameters of one node, and what they do.

use burn::module::{Module, Param, ParamId};
use burn::tensor::activation::{relu, sigmoid, silu};
use burn::tensor::module::{batch_norm, batch_norm_train, conv2d, max_pool2d};
use burn::tensor::ops::{ConvOptions, MaxPoolOptions};
use burn::tensor::{Device, Tensor, TensorData};
use models::graph::{Activation, Padding};
use models::{Graph, Op, Weights};

use crate::network::{BatchStatistics, Mode, Norm};
use crate::value::floats;

/// The parameters of one node; a node without any has them all empty.
#[derive(Module, Debug)]
pub(crate) struct Layer {
    /// Convolution: `[out, in / groups, height, width]`.
    pub(crate) kernel: Option<Param<Tensor<4>>>,
    /// Dense layer: `[out, in]`.
    pub(crate) matrix: Option<Param<Tensor<2>>>,
    /// Norms: factor.
    pub(crate) scale: Option<Param<Tensor<1>>>,
    /// Convolution, dense layer, norms: summand.
    pub(crate) bias: Option<Param<Tensor<1>>>,
    /// Batch norm: running mean.
    pub(crate) mean: Option<Param<Tensor<1>>>,
    /// Batch norm: running variance.
    pub(crate) variance: Option<Param<Tensor<1>>>,
}

/// The numbers of an [`Op::Conv`].
pub(crate) struct ConvForm {
    pub(crate) kernel: [usize; 2],
    pub(crate) stride: usize,
    pub(crate) padding: Padding,
    pub(crate) groups: usize,
}

impl Layer {
    pub(crate) fn new(graph: &Graph, index: usize, weights: &Weights, device: &Device) -> Layer {
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
        let norm = matches!(node.op, Op::BatchNorm { .. } | Op::GroupNorm { .. });
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

    pub(crate) fn tracked(&self) -> Layer {
        Layer {
            kernel: tracked(&self.kernel),
            matrix: tracked(&self.matrix),
            scale: tracked(&self.scale),
            bias: tracked(&self.bias),
            mean: constant(&self.mean),
            variance: constant(&self.variance),
        }
    }

    /// Moves the parameters towards those of `newest`, by this share of the way.
    pub(crate) fn approach(&mut self, newest: &Layer, share: f32) {
        approach(&mut self.kernel, &newest.kernel, share);
        approach(&mut self.matrix, &newest.matrix, share);
        approach(&mut self.scale, &newest.scale, share);
        approach(&mut self.bias, &newest.bias, share);
        approach(&mut self.mean, &newest.mean, share);
        approach(&mut self.variance, &newest.variance, share);
    }

    pub(crate) fn save(&self, node: &str, weights: &mut Weights) {
        save(weights, node, "weight", &self.kernel);
        save(weights, node, "weight", &self.matrix);
        save(weights, node, "weight", &self.scale);
        save(weights, node, "bias", &self.bias);
        save(weights, node, "mean", &self.mean);
        save(weights, node, "var", &self.variance);
    }

    pub(crate) fn conv(&self, x: Tensor<4>, form: ConvForm, mode: Mode) -> Tensor<4> {
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

    pub(crate) fn norm(
        &self,
        x: Tensor<4>,
        eps: f64,
        mode: Mode,
    ) -> (Tensor<4>, Option<BatchStatistics>) {
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

    pub(crate) fn group_norm(&self, x: Tensor<4>, groups: usize, eps: f64) -> Tensor<4> {
        let value = |p: &Option<Param<Tensor<1>>>| {
            let vector = p.as_ref().expect("a group norm has two parameters").val();
            let [channels] = vector.dims();
            vector.reshape([1, channels, 1, 1])
        };
        let shape = x.dims();
        let size = shape[1] * shape[2] * shape[3] / groups;
        let x = x.reshape([shape[0], groups, size]);
        let apart = x.clone() - x.mean_dim(2);
        let variance = apart.clone().square().mean_dim(2);
        let normal = apart / (variance + eps).sqrt();
        normal.reshape(shape) * value(&self.scale) + value(&self.bias)
    }

    pub(crate) fn dense(&self, x: Tensor<2>) -> Tensor<2> {
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

fn approach<const D: usize>(
    param: &mut Option<Param<Tensor<D>>>,
    newest: &Option<Param<Tensor<D>>>,
    share: f32,
) {
    if let (Some(old), Some(new)) = (param.take(), newest) {
        *param = Some(old.map(|old| old * (1.0 - share) + new.val() * share));
    }
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

pub(crate) fn activate<const D: usize>(f: Activation, x: Tensor<D>) -> Tensor<D> {
    match f {
        Activation::Relu => relu(x),
        // Inference: one pass. Training: clamp's gradient takes many, those of two relus fewer.
        Activation::Relu6 if !x.is_autodiff() => x.clamp(0.0, 6.0),
        Activation::Relu6 => relu(relu(x).neg().add_scalar(6.0)).neg().add_scalar(6.0),
        Activation::Sigmoid => sigmoid(x),
        Activation::Silu => silu(x),
        Activation::HardSigmoid => {
            activate(Activation::Relu6, x.add_scalar(3.0)).mul_scalar(1.0 / 6.0)
        }
        Activation::HardSwish => x.clone() * activate(Activation::HardSigmoid, x),
    }
}

/// The largest value under a sliding window.
pub(crate) fn max_pool(
    x: Tensor<4>,
    kernel: [usize; 2],
    stride: usize,
    padding: Padding,
) -> Tensor<4> {
    let [_, _, h, w] = x.dims();
    let pads = padding.resolve([h, w], kernel, stride);
    let padding = [(pads.top, pads.bottom), (pads.left, pads.right)];
    let options = MaxPoolOptions::new(kernel).with_stride([stride; 2]);
    max_pool2d(x, options.with_padding_pairs(padding))
}
