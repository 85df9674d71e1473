//! Regions: parts of a network that one operator of tract computes, with all their layers planned
//! and in one piece of memory.
//!
//! What a region is made of, and what of a graph becomes one, [`quantized`](crate::quantized) and
//! [`float`](crate::float) say; here is what both need.

pub(crate) mod attributes;
pub(crate) mod memory;
pub(crate) mod nodes;
mod op;
mod schedule;
mod shape;

use std::collections::VecDeque;
use std::time::Duration;

use foldhash::{HashMap, HashSet};
use kernels::{Isa, KernelError, Plain, Workers};
use thiserror::Error;
use tract_onnx::pb::{GraphProto, NodeProto};

use crate::profile::Engine;

pub(crate) use op::{are_all, attach, times};
pub(crate) use schedule::{Ready, Schedule};
pub(crate) use shape::{Padding, Shape, WindowStep};

/// Why a region cannot be planned.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub(crate) enum PlanError {
    #[error("{step}: {source}")]
    Kernel { step: String, source: KernelError },
    #[error("{step}: its input has another shape than it takes")]
    Shape { step: String },
    #[error("{step}: its weights cannot be read: {why}")]
    Weights { step: String, why: String },
}

/// Operators that pass each other tensors, no shapes known yet.
pub(crate) trait Region: std::fmt::Debug + Send + Sync + 'static {
    type Plan: Plan;
    /// The operator that stands for it.
    const OPERATOR: &'static str;

    /// Also that of its node.
    fn name(&self) -> &str;
    /// Values that come in.
    fn inputs(&self) -> &[String];
    /// Values that leave.
    fn outputs(&self) -> impl ExactSizeIterator<Item = &str>;
    /// The shapes of what leaves.
    fn shapes(&self, inputs: &[Shape]) -> Result<Vec<Shape>, PlanError>;
    /// Of all its layers.
    fn weight_bytes(&self) -> usize;
    /// Packs the layers for inputs of these shapes.
    fn plan(&self, inputs: &[Shape], isa: Isa) -> Result<Self::Plan, PlanError>;
}

/// A region ready to run.
pub(crate) trait Plan: std::fmt::Debug + Send + Sync + 'static {
    /// What its memory consists of.
    type Value: Plain + std::fmt::Debug;
    const ENGINE: Engine;
    /// What it is to bring a value outside.
    const LEAVING: &'static str;

    /// The shapes of what leaves.
    fn outputs(&self) -> impl Iterator<Item = Shape>;
    /// Values of memory that a run needs.
    fn arena(&self) -> usize;
    /// Name, kind and products of every step.
    fn steps(&self) -> impl Iterator<Item = (&str, &'static str, usize)>;
    /// Computes all steps in `arena`, which has the plan's length; `times` gets what each took.
    fn run(
        &self,
        inputs: &[&[f32]],
        arena: &mut [Self::Value],
        workers: &mut Workers,
        times: &mut [Duration],
    );
    /// Brings output `index` of the last run outside.
    fn output(
        &self,
        index: usize,
        arena: &[Self::Value],
        values: &mut [f32],
        workers: &mut Workers,
    );
}

/// What of a graph stays beside its regions.
#[derive(Debug, Default)]
pub(crate) struct Keep {
    pub(crate) nodes: HashSet<usize>,
    pub(crate) values: HashSet<String>,
}

/// Leaves of `graph` what stays, and a node for each region.
pub(crate) fn put<R: Region>(graph: &mut GraphProto, keep: &Keep, regions: &[R]) {
    let mut index = 0..;
    graph.node.retain(|_| {
        index
            .next()
            .is_some_and(|index| keep.nodes.contains(&index))
    });
    graph.node.extend(regions.iter().map(|region| NodeProto {
        op_type: R::OPERATOR.to_owned(),
        name: region.name().to_owned(),
        input: region.inputs().to_vec(),
        output: region.outputs().map(str::to_owned).collect(),
        ..NodeProto::default()
    }));
    sort(&mut graph.node);
}

/// Every node after those that make its inputs; one that waits for itself is left for tract to
/// refuse.
fn sort(nodes: &mut Vec<NodeProto>) {
    let mut makers = HashMap::default();
    for (index, node) in nodes.iter().enumerate() {
        makers.extend(node.output.iter().map(|name| (name.as_str(), index)));
    }
    let mut takers = vec![Vec::new(); nodes.len()];
    let mut waits = vec![0_usize; nodes.len()];
    for (index, node) in nodes.iter().enumerate() {
        for maker in node
            .input
            .iter()
            .filter_map(|name| makers.get(name.as_str()))
        {
            takers[*maker].push(index);
            waits[index] += 1;
        }
    }
    let mut ready: VecDeque<usize> = (0..nodes.len()).filter(|at| waits[*at] == 0).collect();
    let mut rank = vec![usize::MAX; nodes.len()];
    let mut ranks = 0..;
    while let (Some(index), Some(next)) = (ready.pop_front(), ranks.next()) {
        rank[index] = next;
        for taker in &takers[index] {
            waits[*taker] -= 1;
            if waits[*taker] == 0 {
                ready.push_back(*taker);
            }
        }
    }
    let mut ranked: Vec<(usize, NodeProto)> = rank.into_iter().zip(nodes.drain(..)).collect();
    ranked.sort_by_key(|(rank, _)| *rank);
    nodes.extend(ranked.into_iter().map(|(_, node)| node));
}

/// A name that no node of `graph` has.
pub(crate) fn free_name(graph: &GraphProto, name: String) -> String {
    let mut name = name;
    while graph.node.iter().any(|node| node.name == name) {
        name.push('\'');
    }
    name
}
