//! burn's optimizers and the learning-rate schedule.

use anyhow::{Context, Result};
use burn::module::ParamGroup;
use burn::optim::decay::WeightDecayConfig;
use burn::optim::momentum::MomentumConfig;
use burn::optim::{AdamWConfig, ModuleOptimizer, SgdConfig};
use burn::tensor::Bytes;

use crate::config::{Optimizer, StageConfig};
use crate::network::Network;

/// The optimizer of a stage, with weight decay on convolutions and dense layers only.
pub(crate) fn optimizer(stage: &StageConfig, network: &Network) -> ModuleOptimizer {
    let decayed = ParamGroup::from_ids(network.decayed());
    let decay = stage.weight_decay as f32;
    match stage.optimizer {
        Optimizer::Adamw => {
            // burn's default epsilon of 1e-5 is too large for small gradients.
            let adam = AdamWConfig::new().with_epsilon(1e-8);
            ModuleOptimizer::from(adam.clone().with_weight_decay(0.0).build()).with_group(
                decayed,
                adam.with_weight_decay(decay).build(),
                None,
            )
        }
        Optimizer::Sgd => {
            let momentum = MomentumConfig::new().with_momentum(0.9).with_dampening(0.0);
            let sgd = SgdConfig::new().with_momentum(Some(momentum));
            let decay = sgd
                .clone()
                .with_weight_decay(Some(WeightDecayConfig::new(decay)));
            ModuleOptimizer::from(sgd.build()).with_group(decayed, decay.build(), None)
        }
    }
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

/// The learning rate of a step in `0..steps`: a linear rise over the first `warmup` part, then half
/// a cosine down to 0 (Loshchilov and Hutter 2017, without restarts).
pub(crate) fn learning_rate(stage: &StageConfig, step: u64, steps: u64) -> f64 {
    let position = (step as f64 + 1.0) / steps.max(1) as f64;
    if position < stage.warmup {
        return stage.lr * position / stage.warmup;
    }
    let rest = (position - stage.warmup) / (1.0 - stage.warmup).max(f64::MIN_POSITIVE);
    stage.lr * 0.5 * (1.0 + (std::f64::consts::PI * rest.min(1.0)).cos())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::FullConfig;

    #[test]
    fn the_learning_rate_rises_and_falls() {
        let stage = StageConfig {
            lr: 1.0,
            warmup: 0.1,
            ..FullConfig::from_scratch().stage
        };
        let rates: Vec<f64> = (0..1000)
            .map(|step| learning_rate(&stage, step, 1000))
            .collect();
        assert!((rates[0] - 0.01).abs() < 1e-9);
        assert!((rates[99] - 1.0).abs() < 1e-3);
        assert!((rates[549] - 0.5).abs() < 1e-3);
        assert!(rates[999].abs() < 1e-6);
        assert!(rates.is_sorted_by(|a, b| a <= b) || rates[99..].is_sorted_by(|a, b| a >= b));
        assert!(rates[..99].is_sorted());
    }

    #[test]
    fn no_warmup_starts_at_the_top() {
        let stage = StageConfig {
            lr: 2.0,
            warmup: 0.0,
            ..FullConfig::from_scratch().stage
        };
        assert!(learning_rate(&stage, 0, 1_000_000) > 1.99);
    }
}
