//! Makes one step of several.

use kernels::float::Activation;

use crate::onnx::Room;
use crate::region::{Region, Step, StepOp};

use super::F32;

/// A region that computes the same in fewer steps.
pub(super) fn fuse(mut region: Region<F32>) -> Region<F32> {
    while region.products().is_some()
        || region.norms().is_some()
        || region.activations().is_some()
        || region.sums().is_some()
    {}
    region
}

/// How the steps of a region depend on each other, for each tensor.
struct Links {
    /// How often steps take it, or it leaves.
    uses: Vec<usize>,
    makers: Vec<Option<usize>>,
}

impl Links {
    fn of(region: &Region<F32>) -> Links {
        let mut links = Links {
            uses: vec![0; region.tensors.len()],
            makers: vec![None; region.tensors.len()],
        };
        for (index, step) in region.steps.iter().enumerate() {
            step.inputs.iter().for_each(|input| links.uses[*input] += 1);
            links.makers[step.output] = Some(index);
        }
        for (tensor, _) in &region.outputs {
            links.uses[*tensor] += 1;
        }
        links
    }

    /// The step that makes a tensor which nothing else uses.
    fn only_maker(&self, tensor: usize) -> Option<usize> {
        self.makers[tensor].filter(|_| self.uses[tensor] == 1)
    }
}

impl Region<F32> {
    /// The step that makes a tensor which nothing else uses and which has no activation yet.
    fn plain_maker(&self, links: &Links, tensor: usize) -> Option<usize> {
        let plain = |maker: &usize| self.steps[*maker].activation == Activation::None;
        links.only_maker(tensor).filter(plain)
    }

    /// A tensor times its sigmoid is one function of it.
    fn products(&mut self) -> Option<()> {
        let links = Links::of(self);
        let (index, gate, function) = self.steps.iter().enumerate().find_map(|(index, step)| {
            let (StepOp::Mul, [a, b]) = (&step.op, step.inputs.as_slice()) else {
                return None;
            };
            [[*a, *b], [*b, *a]].into_iter().find_map(|[x, gate]| {
                let maker = links.only_maker(gate)?;
                let Step {
                    op: StepOp::Function(function),
                    inputs,
                    ..
                } = &self.steps[maker]
                else {
                    return None;
                };
                let function = match function {
                    Activation::Sigmoid => Activation::Silu,
                    Activation::HardSigmoid { alpha, beta }
                        if (alpha - 1.0 / 6.0).abs() < 1e-6 && *beta == 0.5 =>
                    {
                        Activation::HardSwish
                    }
                    _ => return None,
                };
                (inputs == &[x]).then_some((index, maker, function))
            })
        })?;
        let inputs = self.steps[gate].inputs.clone();
        let product = &mut self.steps[index];
        product.op = StepOp::Function(function);
        product.inputs = inputs;
        self.steps.remove(gate);
        Some(())
    }

    /// Factors and sums per channel become part of the convolution before.
    fn norms(&mut self) -> Option<()> {
        let links = Links::of(self);
        let (index, maker, factors) = self.steps.iter().enumerate().find_map(|(index, step)| {
            let StepOp::Conv(norm) = &step.op else {
                return None;
            };
            let maker = self.plain_maker(&links, *step.inputs.first()?)?;
            let alone = step.inputs.len() == 1 && self.steps[maker].inputs.len() == 1;
            let StepOp::Conv(before) = &self.steps[maker].op else {
                return None;
            };
            let fits = norm.is_norm() && before.channels == norm.channels;
            let factors = || norm.read(&mut Room::default()).ok().map(<[f32]>::to_vec);
            let factors = (alone && fits).then(factors)??;
            Some((index, maker, factors))
        })?;
        let norm = self.steps.remove(index);
        let before = &mut self.steps[maker];
        if let (StepOp::Conv(norm), StepOp::Conv(conv)) = (&norm.op, &mut before.op) {
            let (norm, conv) = (&norm.parameters, &mut conv.parameters);
            for (bias, (factor, sum)) in conv.bias.iter_mut().zip(factors.iter().zip(&norm.bias)) {
                *bias = *bias * factor + sum;
            }
            conv.factors.push(factors);
        }
        before.output = norm.output;
        before.activation = norm.activation;
        Some(())
    }

    /// An activation becomes part of the step before.
    fn activations(&mut self) -> Option<()> {
        let links = Links::of(self);
        let (index, maker, function) =
            self.steps.iter().enumerate().find_map(|(index, step)| {
                let StepOp::Function(function) = step.op else {
                    return None;
                };
                let maker = self.plain_maker(&links, *step.inputs.first()?)?;
                let takes = matches!(
                    self.steps[maker].op,
                    StepOp::Conv(_) | StepOp::Dense(_) | StepOp::Add | StepOp::Mul
                );
                takes.then_some((index, maker, function))
            })?;
        let step = self.steps.remove(index);
        let before = &mut self.steps[maker];
        before.output = step.output;
        before.activation = function;
        Some(())
    }

    /// A sum becomes part of the convolution that makes one of its operands.
    fn sums(&mut self) -> Option<()> {
        let links = Links::of(self);
        let (index, maker, other) = self.steps.iter().enumerate().find_map(|(index, step)| {
            let (StepOp::Add, [a, b]) = (&step.op, step.inputs.as_slice()) else {
                return None;
            };
            [[*a, *b], [*b, *a]].into_iter().find_map(|[own, other]| {
                let maker = self.plain_maker(&links, own)?;
                let alone = self.steps[maker].inputs.len() == 1;
                let dense =
                    matches!(&self.steps[maker].op, StepOp::Conv(conv) if !conv.is_depthwise());
                (alone && dense && own != other).then_some((index, maker, other))
            })
        })?;
        // The convolution runs where the sum did: all that it takes is there by then.
        let mut conv = self.steps.remove(maker);
        let sum = &mut self.steps[index - 1];
        conv.inputs.push(other);
        conv.output = sum.output;
        conv.activation = sum.activation;
        *sum = conv;
        Some(())
    }
}
