//! The first stage where the backbone is frozen: the classifier learns from stored features.

use std::time::Instant;

use anyhow::{Context, Result};

use super::{Trainer, classifier};
use crate::checkpoint::Scaler;
use crate::config::HeadConfig;
use crate::discriminant::Discriminant;
use crate::features::{Backbone, Rows, Stored, Views};
use crate::loader::Photos;
use crate::material::StoredFeatures;
use crate::network::Norm;
use crate::student::Stage;

impl Trainer<'_> {
    /// Trains the classifier on features of the frozen backbone.
    pub(super) fn train_head(&mut self, head: &HeadConfig) -> Result<()> {
        self.train_on_features("head", head, 0)?;
        if self.state.epochs == head.stage.epochs {
            // The discriminant stays behind: its large weights of opposite signs cancel out on the
            // features they were fitted to, and neither dropout nor another backbone keeps that up.
            self.state.discriminant = None;
            self.begin_stage();
        }
        Ok(())
    }

    /// Trains the classifier once more, on features of the network that was fine-tuned.
    pub(super) fn train_head_again(&mut self, head: &HeadConfig) -> Result<()> {
        let before = self.config.epochs_until_refit();
        if self.state.epochs == before {
            self.begin_stage();
        }
        self.train_on_features("refit", head, before)
    }

    /// Takes what the last stage came to as what the next one begins with.
    fn begin_stage(&mut self) {
        self.state.weights = self.state.network_weights(&self.graph);
        self.state.average.clear();
        self.state.scaler = None;
        self.state.optimizer.clear();
    }

    fn train_on_features(
        &mut self,
        name: &'static str,
        head: &HeadConfig,
        first_epoch: u32,
    ) -> Result<()> {
        if self.state.epochs >= first_epoch + head.stage.epochs {
            return Ok(());
        }
        let node = self
            .graph
            .feature_node()
            .context("the network has no classifier")?;
        let material = self.features(head, node)?;
        let stage = Stage {
            name,
            config: &head.stage,
            first_epoch,
            lesson: self.lesson(node, 1, Norm::Running, &head.stage),
            norm_momentum: 0.0,
            thaw: None,
        };
        self.train_stage(&stage, &material)
    }

    /// Computes or reads the features; scales them, and makes the classifier fit.
    fn features(&mut self, head: &HeadConfig, node: usize) -> Result<StoredFeatures> {
        let [train, validation] = self.stored(node, head.views)?;
        let (mut train, mut validation) = (train.read()?, validation.read()?);
        if head.standardize && self.state.scaler.is_none() {
            let scaler = Scaler::measure(&train.rows, train.width);
            scaler.unfold_from(&mut self.state.weights, classifier(&self.graph));
            self.state.scaler = Some(scaler);
        }
        if let Some(scaler) = &self.state.scaler {
            scaler.apply(&mut train.rows);
            scaler.apply(&mut validation.rows);
        }
        if head.discriminant > 0.0 && self.state.discriminant.is_none() {
            let views = |&item: &usize| std::iter::repeat_n(item, head.views);
            let row_items: Vec<usize> = self.train.items().iter().flat_map(views).collect();
            let found = Discriminant::fit(&train, &row_items, self.labels.len())?;
            self.state.discriminant = Some(found.scaled(head.discriminant));
        }
        let (train, validation) = (Box::new(train), Box::new(validation));
        Ok(StoredFeatures {
            discriminant: self.state.discriminant.clone(),
            ..self.stored_features(node, head.views, train, validation)
        })
    }

    /// What comes after a frozen node learns from what is stored there.
    pub(super) fn maps(&self, node: usize, views: usize) -> Result<StoredFeatures> {
        let [train, validation] = self.stored(node, views)?;
        Ok(self.stored_features(node, views, Box::new(train), Box::new(validation)))
    }

    fn stored_features(
        &self,
        node: usize,
        views: usize,
        train: Box<dyn Rows>,
        validation: Box<dyn Rows>,
    ) -> StoredFeatures {
        StoredFeatures {
            node,
            views,
            train_items: self.train.items().to_vec(),
            validation_items: self.validation.items().to_vec(),
            train,
            validation,
            discriminant: None,
            labels: self.labels.clone(),
            device: self.device.clone(),
            seed: self.config.seed,
            threads: self.config.threads,
        }
    }

    /// The output of a node for the photos to learn from and those to validate on.
    fn stored(&self, node: usize, views: usize) -> Result<[Stored; 2]> {
        let backbone = Backbone::new(&self.graph, &self.state.weights, node, self.spec)?;
        let folder = self.run.folder().join("features");
        let look = |photos: &Photos, count: usize| {
            let views = Views {
                count,
                augment: &self.config.augment,
                seed: self.config.seed,
            };
            backbone.store(photos, &views, &folder, self.config.threads, &self.stop)
        };
        let started = Instant::now();
        let stored = [look(&self.train, views)?, look(&self.validation, 1)?];
        let images = self.train.len() * views + self.validation.len();
        let seconds = started.elapsed().as_secs_f64();
        let rate = images as f64 / seconds.max(1e-9);
        eprintln!("features of {images} images in {seconds:.1} s ({rate:.1} images/s)");
        Ok(stored)
    }
}
