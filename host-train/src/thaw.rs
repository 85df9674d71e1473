//! Which part of a network learns when, and how fast: gradual unfreezing and discriminative learning
//! rates (Howard and Ruder 2018).

use anyhow::{Context, Result};
use models::Graph;
use models::graph::{GraphError, Shape};

use crate::config::FullConfig;

/// Nodes that all data passes through, at the ends of a network's stages. A stage is what works on
/// maps of one size; the last one is the classifier.
pub(crate) struct Stages {
    cuts: Vec<usize>,
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
        let mut cuts = Vec::new();
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
            }
            read_until = read_until.max(last_use[index]);
        }
        cuts.extend(feature_node);
        cuts.sort_unstable();
        cuts.dedup();
        cuts.retain(|&cut| cut > 0);
        let nodes = graph.nodes.len();
        Ok(Stages { cuts, nodes })
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
mod tests {
    use super::*;
    use models::zoo;

    #[test]
    fn stages_end_where_all_data_passes_and_maps_get_smaller() {
        for name in zoo::names() {
            let graph = zoo::build(name, 10, Some(64)).unwrap();
            let stages = Stages::new(&graph).unwrap();
            assert!(stages.cuts.len() >= 4, "{name}: {:?}", stages.cuts);
            assert_eq!(stages.cuts.last(), graph.feature_node().as_ref(), "{name}");
            for &cut in &stages.cuts {
                let later = graph.nodes.iter().skip(cut + 1);
                let around = later.flat_map(|node| &node.inputs).find(|&&i| i < cut);
                assert_eq!(around, None, "{name}: around {cut}");
            }
        }
    }

    #[test]
    fn one_stage_after_the_other_thaws() {
        let graph = zoo::build("mobilenet-v2", 10, None).unwrap();
        let mut full = FullConfig::fine_tune();
        let frozen = |full: &FullConfig, epoch| Thaw::new(&graph, full).unwrap().frozen(epoch);
        assert_eq!(frozen(&full, 0), 0);
        full.thaw_epochs = 2;
        assert_eq!(Some(frozen(&full, 0)), graph.feature_node());
        assert_eq!(frozen(&full, 0), frozen(&full, 1));
        let course: Vec<usize> = (0..20).step_by(2).map(|e| frozen(&full, e)).collect();
        assert!(
            course.is_sorted_by(|a, b| a > b || (*a, *b) == (0, 0)),
            "{course:?}"
        );
        assert_eq!(course.last(), Some(&0));
    }

    #[test]
    fn earlier_stages_learn_more_slowly() {
        let graph = zoo::build("resnet18", 10, None).unwrap();
        let mut full = FullConfig::fine_tune();
        assert!(Thaw::new(&graph, &full).unwrap().factors().is_none());
        full.stage_decay = 0.5;
        let thaw = Thaw::new(&graph, &full).unwrap();
        let factors = thaw.factors().unwrap();
        assert!(factors.is_sorted());
        assert_eq!(factors.last(), Some(&1.0));
        assert_eq!(factors[graph.feature_node().unwrap()], 0.5);
    }
}
