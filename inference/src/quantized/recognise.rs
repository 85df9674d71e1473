//! Finds the quantized regions of an ONNX graph.
//!
//! Going through the nodes, every `QuantizeLinear` is asked what its value comes from. If that is
//! an operator that [`operators`](super::operators) knows, whose inputs are 8-bit tensors found
//! before, it becomes a step of a region, with the ReLU or clip in between; if not, a step that
//! quantizes an f32 value. Steps that depend on each other through an f32 operator cannot be in one
//! region: they get rising stages, and each stage is a region.

use foldhash::HashMap;
use kernels::{Isa, Quantization, Table, dequantize_one, quantize_one};
use tract_onnx::pb::{GraphProto, NodeProto};

use crate::onnx::Constants;
use crate::region::attributes::Attributes;

use super::operators;
use super::region::{Limits, Step, StepOp};

/// The steps in a graph.
pub(super) fn find<'a>(graph: &'a GraphProto, constants: &'a Constants) -> Finder<'a> {
    let mut finder = Finder::new(graph, constants);
    finder.find();
    finder
}

/// What was found so far.
pub(super) struct Finder<'a> {
    pub(super) graph: &'a GraphProto,
    pub(super) constants: &'a Constants,
    /// The node that makes each value.
    makers: HashMap<&'a str, usize>,
    /// How often each value is used, by nodes or as an output of the graph.
    uses: HashMap<&'a str, usize>,
    /// How each 8-bit tensor is quantized, and the step that makes it.
    pub(super) tensors: Vec<Quantization>,
    pub(super) makers_of_tensors: Vec<usize>,
    /// The tensor behind the output of each `QuantizeLinear` and `DequantizeLinear`.
    pub(super) values: HashMap<&'a str, usize>,
    /// The latest stage on which each f32 value depends.
    stages: HashMap<&'a str, usize>,
    pub(super) steps: Vec<Found<'a>>,
}

/// A step, and where it was found.
pub(super) struct Found<'a> {
    pub(super) step: Step,
    pub(super) stage: usize,
    /// The f32 values that its inputs are in the graph; none where they are not in it.
    pub(super) takes: Vec<&'a str>,
    /// The nodes that it stands for.
    pub(super) nodes: Vec<usize>,
}

/// An operator that ends in a `QuantizeLinear`.
pub(super) struct Match<'a> {
    /// Nothing where an 8-bit tensor is quantized again.
    pub(super) op: Option<StepOp>,
    pub(super) takes: Vec<&'a str>,
    /// Whether the output has the scale and zero point of the input.
    pub(super) keeps_scale: bool,
}

impl<'a> Finder<'a> {
    fn new(graph: &'a GraphProto, constants: &'a Constants) -> Finder<'a> {
        let mut makers = HashMap::default();
        let mut uses: HashMap<&str, usize> = HashMap::default();
        for (index, node) in graph.node.iter().enumerate() {
            makers.extend(node.output.iter().map(|name| (name.as_str(), index)));
            for name in &node.input {
                *uses.entry(name).or_default() += 1;
            }
        }
        for output in &graph.output {
            *uses.entry(&output.name).or_default() += 1;
        }
        Finder {
            graph,
            constants,
            makers,
            uses,
            tensors: Vec::new(),
            makers_of_tensors: Vec::new(),
            values: HashMap::default(),
            stages: HashMap::default(),
            steps: Vec::new(),
        }
    }

    fn find(&mut self) {
        for (index, node) in self.graph.node.iter().enumerate() {
            let done = match node.op_type.as_str() {
                "QuantizeLinear" => self.quantize(index, node).is_some(),
                "DequantizeLinear" => self.dequantize(node).is_some(),
                _ => false,
            };
            if !done {
                let stage = node.input.iter().map(|name| self.stage(name)).max();
                for output in &node.output {
                    self.stages.insert(output, stage.unwrap_or(0));
                }
            }
        }
    }

    /// The 8-bit tensor behind an f32 value or a quantized one.
    pub(super) fn behind(&self, value: &str) -> Option<usize> {
        self.values.get(value).copied()
    }

    /// The node that makes an f32 value which nothing else uses.
    pub(super) fn only_maker(&self, value: &str) -> Option<(usize, &'a NodeProto)> {
        let index = *self.makers.get(value)?;
        let node = &self.graph.node[index];
        let uses = |name: &str| self.uses.get(name).copied().unwrap_or(0);
        let others = node.output.iter().skip(1).all(|name| uses(name) == 0);
        (uses(value) == 1 && others && node.output.first()? == value).then_some((index, node))
    }

    /// The node that makes a value.
    pub(super) fn maker(&self, value: &str) -> Option<&'a NodeProto> {
        self.graph.node.get(*self.makers.get(value)?)
    }

    /// The table that makes a tensor from another, if a table does.
    pub(super) fn table_of(&self, tensor: usize) -> Option<(usize, &Table)> {
        match &self.steps[self.makers_of_tensors[tensor]].step {
            Step {
                op: StepOp::Table(table),
                inputs,
                ..
            } => Some((inputs[0], table)),
            _ => None,
        }
    }

    fn stage(&self, value: &str) -> usize {
        match self.behind(value) {
            Some(tensor) => self.steps[self.makers_of_tensors[tensor]].stage,
            None => self.stages.get(value).copied().unwrap_or(0),
        }
    }

    /// Scale and zero point of a `QuantizeLinear` or `DequantizeLinear` with one of each, as for
    /// `u8`: what is signed gets 128 added.
    fn quantization(&self, node: &NodeProto) -> Option<Quantization> {
        let scale = self.constants.float(node.input.get(1)?)?;
        let zero_point = match node.input.get(2).filter(|name| !name.is_empty()) {
            None => 0,
            Some(name) => {
                let constant = self.constants.get(name)?;
                let signed = constant.scalar::<i8>();
                let signed = signed.map(|value| value.cast_unsigned() ^ 0x80);
                signed.or_else(|| constant.scalar::<u8>())?
            }
        };
        let quantization = Quantization { scale, zero_point };
        quantization.check().ok()?;
        let plain = !Attributes(node).has("block_size") && !Attributes(node).has("output_dtype");
        plain.then_some(quantization)
    }

    fn dequantize(&mut self, node: &'a NodeProto) -> Option<()> {
        let tensor = self.behind(node.input.first()?)?;
        let same = self.quantization(node)? == self.tensors[tensor];
        same.then(|| self.values.insert(node.output.first()?, tensor))?;
        Some(())
    }

    fn quantize(&mut self, index: usize, node: &'a NodeProto) -> Option<()> {
        let quantization = self.quantization(node)?;
        let value = node.input.first()?.as_str();
        let output = node.output.first()?.as_str();
        let tensor = match self.operator(value, quantization) {
            Some((found, limits, mut nodes, name)) => {
                nodes.push(index);
                self.push_match(found, limits, nodes, name, quantization)?
            }
            None => {
                let op = StepOp::Quantize(0);
                let stage = self.stage(value) + 1;
                self.push(
                    op,
                    vec![value],
                    vec![],
                    Limits::NONE,
                    stage,
                    vec![index],
                    output,
                    quantization,
                )
            }
        };
        self.values.insert(output, tensor);
        Some(())
    }

    /// The operator that makes `value`, the limits set after it, the nodes of both and its name.
    fn operator(
        &self,
        value: &'a str,
        output: Quantization,
    ) -> Option<(Match<'a>, Limits, Vec<usize>, &'a str)> {
        let mut value = value;
        let mut limits = Limits::NONE;
        let mut nodes = Vec::new();
        loop {
            if self.behind(value).is_some() {
                let found = Match {
                    op: None,
                    takes: vec![value],
                    keeps_scale: true,
                };
                return Some((found, limits, nodes, value));
            }
            let (index, node) = self.only_maker(value)?;
            nodes.push(index);
            if let Some(own) = operators::limits(self, node) {
                limits = own.then(limits);
                value = node.input.first()?;
                continue;
            }
            let found = operators::recognise(self, node, output, limits)?;
            let name = if node.name.is_empty() {
                value
            } else {
                &node.name
            };
            return Some((found, limits, nodes, name));
        }
    }

    fn push_match(
        &mut self,
        found: Match<'a>,
        limits: Limits,
        nodes: Vec<usize>,
        name: &str,
        output: Quantization,
    ) -> Option<usize> {
        let Match {
            op,
            takes,
            keeps_scale,
        } = found;
        let inputs: Option<Vec<usize>> = takes.iter().map(|value| self.behind(value)).collect();
        let inputs = inputs?;
        let stage = takes.iter().map(|value| self.stage(value)).max()?;
        let input = self.tensors[*inputs.first()?];
        let (takes, inputs, nodes) = match op {
            Some(op) if !keeps_scale => {
                return Some(self.push(op, takes, inputs, limits, stage, nodes, name, output));
            }
            Some(op) => {
                let tensor = self.push(op, takes, inputs, Limits::NONE, stage, nodes, name, input);
                if limits == Limits::NONE && input == output {
                    return Some(tensor);
                }
                (vec![], vec![tensor], vec![])
            }
            None => (takes, inputs, nodes),
        };
        let table = Table::new(Isa::detect(), |byte| {
            let value = dequantize_one(byte, input);
            quantize_one(value.max(limits.min).min(limits.max), output)
        });
        let op = StepOp::Table(table);
        Some(self.push(op, takes, inputs, Limits::NONE, stage, nodes, name, output))
    }

    #[allow(clippy::too_many_arguments, reason = "the fields of a step")]
    fn push(
        &mut self,
        op: StepOp,
        takes: Vec<&'a str>,
        inputs: Vec<usize>,
        limits: Limits,
        stage: usize,
        nodes: Vec<usize>,
        name: &str,
        output: Quantization,
    ) -> usize {
        let tensor = self.tensors.len();
        self.tensors.push(output);
        self.makers_of_tensors.push(self.steps.len());
        let name = name.to_owned();
        let step = Step {
            name,
            op,
            inputs,
            output: tensor,
            limits,
        };
        self.steps.push(Found {
            step,
            stage,
            takes,
            nodes,
        });
        tensor
    }
}
