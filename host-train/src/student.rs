//! What learns in a stage of training.

use anyhow::Result;
use burn::module::Module;
use burn::optim::ModuleOptimizer;
use burn::tensor::Device;
use models::Graph;

use crate::checkpoint::{Checkpoint, Epoch};
use crate::clip::clip;
use crate::config::StageConfig;
use crate::network::Network;
use crate::optimizer;
use crate::step::{Learned, Lesson};
use crate::thaw::Thaw;

/// A stage of a run.
pub(crate) struct Stage<'a> {
    pub(crate) name: &'static str,
    pub(crate) config: &'a StageConfig,
    /// Epochs before it.
    pub(crate) first_epoch: u32,
    pub(crate) lesson: Lesson,
    pub(crate) norm_momentum: f32,
    /// How the network thaws, where all of it may learn.
    pub(crate) thaw: Option<Thaw>,
}

/// What learns in a stage.
pub(crate) struct Student {
    pub(crate) network: Network,
    /// The moving average of its weights, where one is kept.
    pub(crate) average: Option<Network>,
    pub(crate) optimizer: ModuleOptimizer,
}

impl Student {
    /// What a stage begins or goes on with.
    pub(crate) fn new(
        config: &StageConfig,
        graph: &Graph,
        state: &Checkpoint,
        device: &Device,
    ) -> Result<Student> {
        let network = |weights| Network::new(graph.clone(), weights, device);
        let learning = network(&state.weights)?;
        let mut optimizer = optimizer::optimizer(config, &learning);
        if !state.optimizer.is_empty() {
            optimizer = optimizer::restore(optimizer, &state.optimizer)?;
        }
        let average = match (config.ema > 0.0, state.average.is_empty()) {
            (false, _) => None,
            (true, true) => Some(learning.clone()),
            (true, false) => Some(network(&state.average)?),
        };
        Ok(Student {
            network: learning,
            average,
            optimizer,
        })
    }

    /// What is validated and kept.
    pub(crate) fn best_known(&self) -> &Network {
        self.average.as_ref().unwrap_or(&self.network)
    }

    /// Takes step number `step` of a stage.
    pub(crate) fn step(&mut self, stage: &Stage, lr: f64, mut learned: Learned, step: u64) {
        if stage.config.clip_norm > 0.0 {
            clip(
                &self.network,
                &mut learned.gradients,
                stage.config.clip_norm,
            );
        }
        // burn's optimizers want autodiff tensors, though nothing is recorded here.
        let changed = self
            .optimizer
            .step(lr, self.network.clone().train(), learned.gradients);
        let before = std::mem::replace(&mut self.network, changed.valid());
        // The step of every optimizer here is proportional to the learning rate.
        if let Some(factors) = stage.thaw.as_ref().and_then(Thaw::factors) {
            self.network.shorten_step(&before, factors);
        }
        self.network
            .update_statistics(&learned.statistics, stage.norm_momentum);
        if let Some(average) = &mut self.average {
            // At first an average over all steps: the first weights say little.
            let decay = stage
                .config
                .ema
                .min((1.0 + step as f64) / (10.0 + step as f64));
            average.approach(&self.network, stage.lesson.from, (1.0 - decay) as f32);
        }
    }
}

/// Whether the best validation accuracy is `patience` epochs ago (0: however long it is ago).
pub(crate) fn gives_up<'a>(epochs: impl Iterator<Item = &'a Epoch>, patience: u32) -> bool {
    let (mut best, mut waited) = (f64::NEG_INFINITY, 0);
    for accuracy in epochs.filter_map(|epoch| epoch.val_item_accuracy) {
        if accuracy > best {
            (best, waited) = (accuracy, 0);
        } else {
            waited += 1;
        }
    }
    patience > 0 && waited >= patience
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check_patience(accuracies: &[f64], patience: u32, expect: bool) {
        let epoch = |(index, &accuracy): (usize, &f64)| Epoch {
            epoch: index as u32 + 1,
            stage: "full".into(),
            lr: 0.1,
            train_loss: 1.0,
            train_accuracy: 0.5,
            val_loss: None,
            val_item_accuracy: Some(accuracy),
            val_category_accuracy: None,
            seconds: 1.0,
        };
        let history: Vec<Epoch> = accuracies.iter().enumerate().map(epoch).collect();
        assert_eq!(gives_up(history.iter(), patience), expect);
    }

    #[test]
    fn a_stage_gives_up_when_nothing_gets_better() {
        check_patience(&[0.5, 0.6, 0.6, 0.6], 2, true);
        check_patience(&[0.5, 0.6, 0.6, 0.6], 3, false);
        check_patience(&[0.5, 0.6, 0.6, 0.7], 2, false);
        check_patience(&[0.5, 0.4, 0.3, 0.2], 0, false);
        check_patience(&[], 1, false);
    }
}
