//! Which part of a network learns when, and how fast: gradual unfreezing and discriminative learning
//! rates (Howard and Ruder 2018).

use anyhow::{Context, Result};
use models::Graph;
use models::graph::{GraphError, Shape};

use crate::config::FullConfig;

/// Nodes that all data passes through, at the ends of a network's stages. A stage is what works on
/// maps of one size; the last one is the classifier.
pub(crate) struct Stages {
    /// The last nodes of all stages but the classifier.
    cuts: Vec<usize>,
    /// All nodes between the input and the classifier that all data passes through.
    gates: Vec<usize>,
    nodes: usize,
}

impl Stages {
    /// The stages of a classifier.
    pub(crate) fn new(graph: &Graph) -> Result<Stages, GraphError> {
        let shapes = graph.shapes()?;
        // Up to which node what a node gives, or one before it, is read.
        let mut read_until = 0;
        let mut last_cut = 0;
        let mut size = usize::MAX;
        let (mut cuts, mut gates) = (Vec::new(), Vec::new());
        let mut last_use: Vec<usize> = vec![0; graph.nodes.len()];
        for (index, node) in graph.nodes.iter().enumerate() {
            node.inputs
                .iter()
                .for_each(|&input| last_use[input] = index);
        }
        let feature_node = graph.feature_node();
        for (index, shape) in shapes.iter().enumerate() {
            if let Shape::Map { height, width, .. } = shape
                && height * width < size
            {
                size = height * width;
                cuts.push(last_cut);
            }
            // What is read behind this node must come from it alone.
            if read_until <= index {
                last_cut = index;
                gates.push(index);
            }
            read_until = read_until.max(last_use[index]);
        }
        cuts.extend(feature_node);
        cuts.sort_unstable();
        cuts.dedup();
        cuts.retain(|&cut| cut > 0);
        gates.retain(|&gate| gate > 0 && Some(gate) <= feature_node);
        let nodes = graph.nodes.len();
        Ok(Stages { cuts, gates, nodes })
    }

    /// The last nodes of all stages but the classifier.
    pub(crate) fn ends(&self) -> &[usize] {
        &self.cuts
    }

    /// All nodes between the input and the classifier that all data passes through.
    pub(crate) fn gates(&self) -> &[usize] {
        &self.gates
    }

    /// The node where what is frozen ends: `stage2` for the end of the second stage, or a node that
    /// all data passes through.
    pub(crate) fn find(&self, graph: &Graph, name: &str) -> Option<usize> {
        let stage = name.strip_prefix("stage").and_then(|n| n.parse().ok());
        match stage {
            Some(number) => self.cuts.get(usize::checked_sub(number, 1)?).copied(),
            None => graph.find(name).filter(|node| self.gates.contains(node)),
        }
    }

    /// The last node that keeps its weights while so many stages, counted from the end, learn; 0 where
    /// all do.
    pub(crate) fn frozen(&self, learning: usize) -> usize {
        match self.cuts.len().checked_sub(learning) {
            Some(cut) if learning > 0 => self.cuts[cut],
            Some(_) => self.nodes - 1,
            None => 0,
        }
    }

    /// How many stages come after that of a node.
    fn after(&self, node: usize) -> usize {
        self.cuts.iter().filter(|&&cut| cut >= node).count()
    }
}

/// How a network thaws.
pub(crate) struct Thaw {
    stages: Stages,
    epochs: u32,
    factors: Option<Vec<f32>>,
}

impl Thaw {
    /// As the settings say, for this network.
    pub(crate) fn new(graph: &Graph, full: &FullConfig) -> Result<Thaw> {
        let stages = Stages::new(graph).context("the network has no stages")?;
        let factor = |node| full.stage_decay.powi(stages.after(node) as i32) as f32;
        let factors = (full.stage_decay < 1.0).then(|| (0..stages.nodes).map(factor).collect());
        Ok(Thaw {
            stages,
            epochs: full.thaw_epochs,
            factors,
        })
    }

    /// The last node that keeps its weights in an epoch, counted from 0.
    pub(crate) fn frozen(&self, epoch: u32) -> usize {
        match epoch.checked_div(self.epochs) {
            Some(thawed) => self.stages.frozen(thawed as usize + 1),
            None => 0,
        }
    }

    /// What part of the learning rate each node has, where they differ.
    pub(crate) fn factors(&self) -> Option<&[f32]> {
        self.factors.as_deref()
    }
}

#[cfg(test)]
#[path = "thaw_tests.rs"]
mod tests;
