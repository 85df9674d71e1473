//! What was found in an ONNX graph: steps, and the tensors that they pass each other.
//!
//! Steps that depend on each other through an operator outside cannot be in one region: they get
//! rising stages, and each stage is a region.

use foldhash::HashMap;
use tract_onnx::pb::{GraphProto, NodeProto};

use crate::onnx::Constants;

use super::{Arithmetic, Step, StepOp};

/// Told of every node of a graph, in their order.
#[derive(Debug)]
pub(crate) struct Finder<'a, A: Arithmetic> {
    pub(crate) graph: &'a GraphProto,
    pub(crate) constants: &'a Constants,
    /// In the order of their outputs.
    pub(super) steps: Vec<Found<'a, A>>,
    pub(super) tensors: Vec<A::Tensor>,
    /// The stage of the step that makes each tensor; none where it comes from outside.
    stages: Vec<Option<usize>>,
    /// The tensor behind a value of the graph.
    values: HashMap<&'a str, usize>,
    /// The latest stage on which each value outside depends.
    outside: HashMap<&'a str, usize>,
}

/// A step, and where it was found.
#[derive(Debug)]
pub(super) struct Found<'a, A: Arithmetic> {
    pub(super) step: Step<A>,
    pub(super) stage: usize,
    /// The values that its inputs are in the graph; none where they are not in it.
    pub(super) takes: &'a [String],
}

impl<'a, A: Arithmetic> Finder<'a, A> {
    pub(crate) fn new(graph: &'a GraphProto, constants: &'a Constants) -> Finder<'a, A> {
        Finder {
            graph,
            constants,
            steps: Vec::new(),
            tensors: Vec::new(),
            stages: Vec::new(),
            values: HashMap::default(),
            outside: HashMap::default(),
        }
    }

    /// The tensor behind a value.
    pub(crate) fn behind(&self, value: &str) -> Option<usize> {
        self.values.get(value).copied()
    }

    pub(crate) fn tensor(&self, tensor: usize) -> A::Tensor {
        self.tensors[tensor]
    }

    /// The step that makes a tensor.
    pub(crate) fn maker(&self, tensor: usize) -> Option<&Step<A>> {
        let outputs = |found: &Found<'a, A>| found.step.output;
        let index = self.steps.binary_search_by_key(&tensor, outputs).ok()?;
        Some(&self.steps[index].step)
    }

    /// The stage of the step that makes a value, if one does.
    pub(crate) fn stage(&self, value: &str) -> Option<usize> {
        self.stages[self.behind(value)?]
    }

    /// The latest stage on which a value depends.
    fn depends(&self, value: &str) -> usize {
        let outside = || self.outside.get(value).copied();
        self.stage(value).or_else(outside).unwrap_or(0)
    }

    /// Gives a tensor one more name in the graph.
    pub(crate) fn name(&mut self, value: &'a str, tensor: usize) {
        self.values.insert(value, tensor);
    }

    /// The tensor behind a value: one from outside where nothing is known of it.
    pub(crate) fn enter(&mut self, value: &'a str, tensor: A::Tensor) -> usize {
        self.behind(value).unwrap_or_else(|| {
            self.name(value, self.tensors.len());
            self.add(tensor, None)
        })
    }

    /// A node that is no step.
    pub(crate) fn skip(&mut self, node: &'a NodeProto) {
        let stage = node.input.iter().map(|value| self.depends(value)).max();
        let values = node.output.iter().map(String::as_str);
        let values = values.map(|value| (value, stage.unwrap_or(0)));
        self.outside.extend(values);
    }

    /// A step for nodes that take these values of the graph, and the tensor that it gives.
    pub(crate) fn push(
        &mut self,
        name: &str,
        op: StepOp<A>,
        activation: A::Activation,
        takes: &'a [String],
        inputs: Vec<usize>,
        tensor: A::Tensor,
    ) -> usize {
        let takings = takes.iter().map(|value| {
            let inside = self.stage(value);
            inside.unwrap_or_else(|| self.depends(value) + 1)
        });
        let made = inputs.iter().filter_map(|tensor| self.stages[*tensor]);
        let stage = takings.chain(made).max().unwrap_or(1);
        let output = self.add(tensor, Some(stage));
        let step = Step {
            name: name.to_owned(),
            op,
            inputs,
            output,
            activation,
        };
        self.steps.push(Found { step, stage, takes });
        output
    }

    fn add(&mut self, tensor: A::Tensor, stage: Option<usize>) -> usize {
        self.tensors.push(tensor);
        self.stages.push(stage);
        self.tensors.len() - 1
    }

    /// The steps, and the stage of each.
    pub(crate) fn steps(&self) -> impl Iterator<Item = (&Step<A>, usize)> {
        self.steps.iter().map(|found| (&found.step, found.stage))
    }

    /// Leaves the other steps to tract.
    pub(crate) fn retain(&mut self, stays: impl Fn(&Step<A>, usize) -> bool) {
        self.steps.retain(|found| {
            let stays = stays(&found.step, found.stage);
            if !stays {
                self.stages[found.step.output] = None;
            }
            stays
        });
    }
}
