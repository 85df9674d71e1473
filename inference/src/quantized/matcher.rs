//! Finds the quantized operators of an ONNX graph.
//!
//! Going through the nodes, every `QuantizeLinear` is asked what its value comes from. If that is
//! an operator that [`operators`](super::operators) knows, whose inputs are 8-bit tensors found
//! before, it becomes a step, with the ReLU or clip in between; if not, a step that quantizes an f32
//! value.

use foldhash::HashMap;
use kernels::{Isa, Quantization, Table, dequantize_one, quantize_one};
use tract_onnx::pb::{GraphProto, NodeProto};

use crate::onnx::Constants;
use crate::region::attributes::Attributes;
use crate::region::{Finder, StepOp};

use super::{Int8, Limits, operators};

/// The steps in a graph.
pub(super) fn find<'a>(graph: &'a GraphProto, constants: &'a Constants) -> Finder<'a, Int8> {
    let mut matcher = Matcher::new(graph, constants);
    for node in &graph.node {
        let done = match node.op_type.as_str() {
            "QuantizeLinear" => matcher.quantize(node).is_some(),
            "DequantizeLinear" => matcher.dequantize(node).is_some(),
            _ => false,
        };
        if !done {
            matcher.found.skip(node);
        }
    }
    matcher.found
}

/// What was found so far, and how the nodes of the graph depend on each other.
pub(super) struct Matcher<'a> {
    pub(super) found: Finder<'a, Int8>,
    /// The node that makes each value.
    makers: HashMap<&'a str, usize>,
    /// How often each value is used, by nodes or as an output of the graph.
    uses: HashMap<&'a str, usize>,
}

/// What a value that is then quantized comes from.
struct Match<'a> {
    name: &'a str,
    /// Nothing where an 8-bit tensor is quantized again.
    op: Option<StepOp<Int8>>,
    takes: &'a [String],
    limits: Limits,
}

impl<'a> Matcher<'a> {
    fn new(graph: &'a GraphProto, constants: &'a Constants) -> Matcher<'a> {
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
        Matcher {
            found: Finder::new(graph, constants),
            makers,
            uses,
        }
    }

    /// The node that makes a value.
    pub(super) fn maker(&self, value: &str) -> Option<&'a NodeProto> {
        self.found.graph.node.get(*self.makers.get(value)?)
    }

    /// The node that makes an f32 value which nothing else uses.
    fn only_maker(&self, value: &str) -> Option<&'a NodeProto> {
        let node = self.maker(value)?;
        let uses = |name: &str| self.uses.get(name).copied().unwrap_or(0);
        let others = node.output.iter().skip(1).all(|name| uses(name) == 0);
        (uses(value) == 1 && others && node.output.first()? == value).then_some(node)
    }

    /// Scale and zero point of a `QuantizeLinear` or `DequantizeLinear` with one of each, as for
    /// `u8`: what is signed gets 128 added.
    fn quantization(&self, node: &NodeProto) -> Option<Quantization> {
        let constants = self.found.constants;
        let scale = constants.float(node.input.get(1)?)?;
        let zero_point = match node.input.get(2).filter(|name| !name.is_empty()) {
            None => 0,
            Some(name) => {
                let constant = constants.get(name)?;
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
        let tensor = self.found.behind(node.input.first()?)?;
        let same = self.quantization(node)? == self.found.tensor(tensor);
        let output = node.output.first().filter(|_| same)?;
        self.found.name(output, tensor);
        Some(())
    }

    fn quantize(&mut self, node: &'a NodeProto) -> Option<()> {
        let quantization = self.quantization(node)?;
        let takes = node.input.get(..1)?;
        let output = node.output.first()?;
        let tensor = match self.operator(node, quantization) {
            Some(found) => self.push(found, quantization)?,
            None => {
                let op = StepOp::Enter(0);
                let inputs = Vec::new();
                self.found
                    .push(output, op, Limits::NONE, takes, inputs, quantization)
            }
        };
        self.found.name(output, tensor);
        Some(())
    }

    /// The operator that makes what a `QuantizeLinear` takes, and the limits that are set after it.
    fn operator(&self, quantize: &'a NodeProto, output: Quantization) -> Option<Match<'a>> {
        let mut taker = quantize;
        let mut limits = Limits::NONE;
        loop {
            let takes = taker.input.get(..1)?;
            let value = takes.first()?;
            if self.found.behind(value).is_some() {
                return Some(Match {
                    name: value,
                    op: None,
                    takes,
                    limits,
                });
            }
            let node = self.only_maker(value)?;
            if let Some(own) = operators::limits(self, node) {
                limits = own.then(limits);
                taker = node;
                continue;
            }
            let (op, takes) = operators::recognise(self, node, output, limits)?;
            return Some(Match {
                name: if node.name.is_empty() {
                    value
                } else {
                    &node.name
                },
                op: Some(op),
                takes,
                limits,
            });
        }
    }

    fn push(&mut self, found: Match<'a>, output: Quantization) -> Option<usize> {
        let Match {
            name,
            op,
            mut takes,
            limits,
        } = found;
        let inputs = takes.iter().map(|value| self.found.behind(value));
        let mut inputs = inputs.collect::<Option<Vec<usize>>>()?;
        let input = self.found.tensor(*inputs.first()?);
        if let Some(op) = op {
            if !operators::keeps_scale(&op) {
                let tensor = self.found.push(name, op, limits, takes, inputs, output);
                return Some(tensor);
            }
            let tensor = self
                .found
                .push(name, op, Limits::NONE, takes, inputs, input);
            if limits == Limits::NONE && input == output {
                return Some(tensor);
            }
            (takes, inputs) = (&[], vec![tensor]);
        }
        let table = Table::new(Isa::detect(), |byte| {
            quantize_one(limits.of(dequantize_one(byte, input)), output)
        });
        let op = StepOp::Function(table);
        Some(
            self.found
                .push(name, op, Limits::NONE, takes, inputs, output),
        )
    }
}
