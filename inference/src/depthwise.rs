//! Depthwise convolutions of `f32`, which tract leaves mostly scalar on x86-64, in `kernels`.

use std::sync::{Arc, Mutex, PoisonError};

use kernels::{FloatDepthwise, Image, Isa, Window, Workers};
use tract_core::ops::cnn::{Conv, KernelFormat};
use tract_core::ops::nn::DataFormat;
use tract_onnx::tract_hir::internal::*;

/// Replaces the depthwise convolutions of a model for one frame that `kernels` can compute.
pub(crate) fn replace(model: &mut TypedModel, threads: usize) -> TractResult<()> {
    let mut layers = Vec::new();
    for node in model.nodes() {
        if let Some(layer) = layer(model, node)? {
            layers.push((node.id, layer, node.outputs[0].fact.shape.rank()));
        }
    }
    if layers.is_empty() {
        return Ok(());
    }
    let workers = Workers::new(threads).context("threads for depthwise convolutions")?;
    let workers = Arc::new(Mutex::new(workers));
    for (id, layer, rank) in layers {
        let op = Planes {
            layer: Arc::new(layer),
            rank,
            workers: Arc::clone(&workers),
        };
        let node = model.node(id);
        TypedModelPatch::replace_single_op(model, node, &node.inputs[..1], op)?.apply(model)?;
    }
    Ok(())
}

fn layer(model: &TypedModel, node: &TypedNode) -> TractResult<Option<FloatDepthwise>> {
    let Some(conv) = node.op_as::<Conv>() else {
        return Ok(None);
    };
    let facts = model.node_input_facts(node.id)?;
    let [input, weights, bias] = facts[..] else {
        return Ok(None);
    };
    let pool = &conv.pool_spec;
    let channels = pool.input_channels;
    let known = conv.q_params.is_none()
        && facts
            .iter()
            .all(|fact| fact.datum_type == f32::datum_type())
        && channels > 1
        && conv.group == channels
        && pool.output_channels == channels
        && conv.kernel_fmt == KernelFormat::OIHW
        && matches!(pool.data_format, DataFormat::NCHW | DataFormat::CHW)
        && pool.dilations().iter().all(|n| *n == 1);
    let (Some([1, _, height, width] | [_, height, width]), Some(weights), Some(bias)) =
        (input.shape.as_concrete(), &weights.konst, &bias.konst)
    else {
        return Ok(None);
    };
    let [rows, columns] = pool.kernel_shape[..] else {
        return Ok(None);
    };
    if !known {
        return Ok(None);
    }
    let padding = pool.computed_padding(&[*height, *width]);
    let window = Window {
        kernel: [rows, columns],
        stride: [pool.stride(0), pool.stride(1)],
        pad_before: [padding[0].pad_before, padding[1].pad_before],
        pad_after: [padding[0].pad_after, padding[1].pad_after],
    };
    let image = Image {
        height: *height,
        width: *width,
        channels,
    };
    let weights = weights.try_as_plain_ram()?.as_slice::<f32>()?.to_vec();
    let mut bias = bias.try_as_plain_ram()?.as_slice::<f32>()?.to_vec();
    if bias.len() == 1 {
        bias = vec![bias[0]; channels];
    }
    // What does not fit stays with tract.
    let layer = FloatDepthwise::new(Isa::detect(), image, window, weights, bias).ok();
    let shape = [padding[0].convoluted, padding[1].convoluted];
    Ok(layer.filter(|layer| [layer.output().height, layer.output().width] == shape))
}

/// A depthwise convolution. Equal to itself alone: no two nodes are merged.
#[derive(Clone, Debug)]
pub(crate) struct Planes {
    pub(crate) layer: Arc<FloatDepthwise>,
    /// 4, or 3 where tract has dropped the batch.
    rank: usize,
    /// The model's.
    workers: Arc<Mutex<Workers>>,
}

impl PartialEq for Planes {
    fn eq(&self, other: &Planes) -> bool {
        Arc::ptr_eq(&self.layer, &other.layer)
    }
}

impl Eq for Planes {}

impl Planes {
    fn shape(&self) -> TVec<usize> {
        let Image {
            height,
            width,
            channels,
        } = self.layer.output();
        [1, channels, height, width][4 - self.rank..].into()
    }
}

impl Op for Planes {
    fn name(&self) -> StaticName {
        "FloatDepthwise".into()
    }

    op_as_typed_op!();
}

impl EvalOp for Planes {
    op_out_of_plan!();

    fn eval(&self, _: &EvalContext, inputs: TVec<TValue>) -> TractResult<TVec<TValue>> {
        let input = inputs.first().context("no input")?.try_as_plain_ram()?;
        let mut output = Tensor::zero::<f32>(&self.shape())?;
        let mut workers = self.workers.lock().unwrap_or_else(PoisonError::into_inner);
        let mut plain = output.try_as_plain_ram_mut()?;
        let values = plain.as_slice_mut::<f32>()?;
        self.layer
            .run(input.as_slice::<f32>()?, values, &mut workers);
        Ok(tvec!(output.into_tvalue()))
    }
}

impl TypedOp for Planes {
    fn output_facts(&self, _: &[&TypedFact]) -> TractResult<TVec<TypedFact>> {
        Ok(tvec!(f32::fact(self.shape())))
    }

    as_op!();
}

#[cfg(test)]
mod tests {
    use super::*;

    fn conv(channels: usize, kernel: usize, stride: usize, format: DataFormat) -> TypedModel {
        let mut model = TypedModel::default();
        let batch: &[usize] = if format.has_n() { &[1] } else { &[] };
        let shape: TVec<usize> = batch.iter().copied().chain([channels, 9, 11]).collect();
        let x = model.add_source("x", f32::fact(&shape)).unwrap();
        let drawn = |shape: &[usize], seed: usize| {
            let len = shape.iter().product();
            let values: Vec<f32> = (0..len)
                .map(|i| ((i * 7 + seed) % 13) as f32 / 6.5 - 1.0)
                .collect();
            Tensor::from_shape(shape, &values).unwrap()
        };
        let weights = model
            .add_const("w", drawn(&[channels, 1, kernel, kernel], 3))
            .unwrap();
        let bias = model.add_const("b", drawn(&[channels], 5)).unwrap();
        let padding = tract_core::ops::cnn::PaddingSpec::SameUpper;
        let pool_spec = tract_core::ops::cnn::PoolSpec::new(
            format,
            tvec!(kernel, kernel),
            padding,
            None,
            Some(tvec!(stride, stride)),
            channels,
            channels,
        );
        let op = Conv {
            pool_spec,
            kernel_fmt: KernelFormat::OIHW,
            group: channels,
            q_params: None,
        };
        let out = model.wire_node("conv", op, &[x, weights, bias]).unwrap();
        model.select_output_outlets(&out).unwrap();
        model
    }

    #[test]
    fn the_same_values_as_in_tract() {
        for format in [DataFormat::NCHW, DataFormat::CHW] {
            for (channels, kernel, stride) in
                [(2, 3, 1), (5, 3, 2), (17, 5, 1), (4, 5, 2), (3, 7, 3)]
            {
                let plain = conv(channels, kernel, stride, format);
                let mut ours = plain.clone();
                replace(&mut ours, 2).unwrap();
                let replaced = ours.nodes().iter().filter(|node| node.op_is::<Planes>());
                assert_eq!(replaced.count(), 1, "{format:?}");
                let shape = plain
                    .input_fact(0)
                    .unwrap()
                    .shape
                    .as_concrete()
                    .unwrap()
                    .to_vec();
                let len: usize = shape.iter().product();
                let values: Vec<f32> = (0..len).map(|i| (i % 31) as f32 / 15.0 - 1.0).collect();
                let input = Tensor::from_shape(&shape, &values).unwrap();
                let [expected, found] = [plain, ours].map(|model| {
                    let runnable = model.into_optimized().unwrap().into_runnable().unwrap();
                    let mut outputs = runnable.run(tvec!(input.clone().into_tvalue())).unwrap();
                    outputs.remove(0).into_tensor()
                });
                let last_bits = Approximation::Approximate;
                expected.close_enough(&found, last_bits).unwrap();
            }
        }
    }
}
