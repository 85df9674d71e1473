//! Optimizers, and their states as bytes.

use anyhow::{Context, Result};
use burn::module::ParamGroup;
use burn::optim::decay::WeightDecayConfig;
use burn::optim::momentum::MomentumConfig;
use burn::optim::{AdamWConfig, ModuleOptimizer, SgdConfig};
use burn::tensor::Bytes;

use crate::config::{Optimizer, StageConfig};
use crate::nadam::NAdam;
use crate::network::Network;

/// The optimizer of a stage, with weight decay on convolutions and dense layers only.
pub(crate) fn optimizer(stage: &StageConfig, network: &Network) -> ModuleOptimizer {
    let decayed = ParamGroup::from_ids(network.decayed());
    let decay = stage.weight_decay;
    match stage.optimizer {
        Optimizer::Adamw => ModuleOptimizer::from(adamw(0.0).build()).with_group(
            decayed,
            adamw(decay).build(),
            None,
        ),
        Optimizer::Nadam => ModuleOptimizer::from(NAdam { weight_decay: 0.0 }).with_group(
            decayed,
            NAdam {
                weight_decay: decay,
            },
            None,
        ),
        Optimizer::Sgd => {
            ModuleOptimizer::from(sgd(0.0).build()).with_group(decayed, sgd(decay).build(), None)
        }
    }
}

fn adamw(weight_decay: f64) -> AdamWConfig {
    // burn's default epsilon of 1e-5 is too large for small gradients.
    let adam = AdamWConfig::new().with_epsilon(1e-8);
    adam.with_weight_decay(weight_decay as f32)
}

fn sgd(weight_decay: f64) -> SgdConfig {
    let momentum = MomentumConfig::new().with_momentum(0.9).with_dampening(0.0);
    let decay = WeightDecayConfig::new(weight_decay as f32);
    SgdConfig::new()
        .with_momentum(Some(momentum))
        .with_weight_decay(Some(decay))
}

/// The state of an optimizer as bytes.
pub(crate) fn save(optimizer: &ModuleOptimizer) -> Result<Vec<u8>> {
    let bytes = optimizer.into_bytes().map_err(|e| anyhow::anyhow!("{e}"))?;
    Ok(bytes.to_vec())
}

/// Puts a saved state into a new optimizer.
pub(crate) fn restore(optimizer: ModuleOptimizer, state: &[u8]) -> Result<ModuleOptimizer> {
    optimizer
        .from_bytes(Bytes::from_bytes_vec(state.to_vec()))
        .map_err(|e| anyhow::anyhow!("{e}"))
        .context("the optimizer's state cannot be restored")
}

#[cfg(test)]
mod tests {
    use super::*;
    use burn::optim::Optimizer;
    use burn::tensor::{Device, Tensor};

    /// Three parameters after each of five steps, as PyTorch 2.15 computes them with a learning rate of
    /// 0.02 and a weight decay of 0.1.
    #[track_caller]
    fn check(optimizer: impl Optimizer, expected: [[f32; 3]; 5]) {
        let gradients = [
            [0.1, -0.3, 0.5],
            [0.2, 0.4, -0.1],
            [-0.7, 0.05, 0.0],
            [0.3, -0.2, 0.9],
            [0.01, 0.6, -0.4],
        ];
        let device = Device::flex();
        let tensor = |values: [f32; 3]| Tensor::<1>::from_data(values, &device);
        let (mut parameter, mut state) = (tensor([0.5, -1.0, 2.0]), None);
        for (gradient, expected) in gradients.into_iter().zip(expected) {
            (parameter, state) = optimizer.step(0.02, parameter, tensor(gradient), state);
            let found = crate::value::floats(parameter.clone());
            for (found, expected) in found.iter().zip(expected) {
                assert!((found - expected).abs() < 1e-6, "{found} {expected}");
            }
        }
    }

    #[test]
    fn nadam_is_pytorchs() {
        let expected = [
            [0.4778709, -0.976871, 1.974871],
            [0.4576562, -0.9908834, 1.9737853],
            [0.4776661, -0.991528, 1.9688324],
            [0.4682663, -0.9808945, 1.9428529],
            [0.4672077, -0.9989246, 1.9467794],
        ];
        check(NAdam { weight_decay: 0.1 }, expected);
    }

    #[test]
    fn adamw_is_pytorchs() {
        let expected = [
            [0.479, -0.978, 1.9760001],
            [0.4587383, -0.9799142, 1.9618276],
            [0.4654538, -0.9822034, 1.9500035],
            [0.4659162, -0.9791699, 1.932801],
            [0.4660243, -0.9847161, 1.9223874],
        ];
        check(adamw(0.1).build(), expected);
    }

    #[test]
    fn sgd_is_pytorchs() {
        let expected = [
            [0.497, -0.992, 1.986],
            [0.489306, -0.990816, 1.9714279],
            [0.4954027, -0.9887687, 1.9543703],
            [0.493899, -0.9809486, 1.9171096],
            [0.4913579, -0.9839487, 1.8877409],
        ];
        check(sgd(0.1).build(), expected);
    }
}
