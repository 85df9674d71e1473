//! Finds what becomes regions, and takes it out of the graph.
//!
//! Steps that depend on each other through an operator outside cannot be in one region: they get
//! rising stages, and each stage is a region.

use foldhash::{HashMap, HashSet};
use kernels::float::Activation;
use tract_onnx::pb::GraphProto;

use crate::onnx::Constants;
use crate::region::{self, Keep};

use super::operators::recognise;
use super::{Region, Step, StepOp, fuse};

/// Takes the regions out of `graph`; each becomes one node, named as its region.
pub(super) fn extract(graph: &mut GraphProto, constants: &Constants) -> Vec<Region> {
    let finder = Finder::new(graph, constants);
    let keep = finder.keep();
    let stages = finder.found.iter().map(|found| found.stage);
    let mut stages: Vec<usize> = stages.collect();
    stages.sort_unstable();
    stages.dedup();
    let regions: Vec<Region> = stages
        .into_iter()
        .map(|stage| fuse::fuse(finder.region(stage, &keep)))
        .collect();
    if !regions.is_empty() {
        region::put(graph, &keep, &regions);
    }
    regions
}

/// A node that becomes a step.
struct Found<'a> {
    node: usize,
    stage: usize,
    name: &'a str,
    op: StepOp,
    activation: Activation,
    takes: &'a [String],
    gives: &'a str,
}

struct Finder<'a> {
    graph: &'a GraphProto,
    found: Vec<Found<'a>>,
    /// The stage of each value that a step gives.
    inside: HashMap<&'a str, usize>,
}

impl<'a> Finder<'a> {
    fn new(graph: &'a GraphProto, constants: &Constants) -> Finder<'a> {
        let mut finder = Finder {
            graph,
            found: Vec::new(),
            inside: HashMap::default(),
        };
        // The latest stage on which each other value depends.
        let mut outside: HashMap<&str, usize> = HashMap::default();
        for (index, node) in graph.node.iter().enumerate() {
            let step = recognise(constants, node).and_then(|(op, activation, inputs)| {
                let takes = node.input.get(..inputs)?;
                let tensors = takes.iter().all(|name| !constants.has(name));
                tensors.then_some((op, activation, takes))
            });
            let stage = |name: &String| match finder.inside.get(name.as_str()) {
                Some(stage) => (*stage, *stage),
                None => {
                    let stage = outside.get(name.as_str()).copied().unwrap_or(0);
                    (stage, stage + 1)
                }
            };
            if let Some((op, activation, takes)) = step {
                let gives = node.output[0].as_str();
                let stage = takes.iter().map(|name| stage(name).1).max().unwrap_or(1);
                finder.inside.insert(gives, stage);
                finder.found.push(Found {
                    node: index,
                    stage,
                    name: if node.name.is_empty() {
                        gives
                    } else {
                        &node.name
                    },
                    op,
                    activation,
                    takes,
                    gives,
                });
            } else {
                let stage = node.input.iter().map(|name| stage(name).0).max();
                let outputs = node.output.iter().map(String::as_str);
                outside.extend(outputs.map(|name| (name, stage.unwrap_or(0))));
            }
        }
        finder.drop_small();
        finder
    }

    /// Without a convolution there is nothing to gain.
    fn drop_small(&mut self) {
        let gains = |found: &&Found<'_>| matches!(found.op, StepOp::Conv(_) | StepOp::Dense(_));
        let large: HashSet<usize> = self.found.iter().filter(gains).map(|f| f.stage).collect();
        self.found.retain(|found| large.contains(&found.stage));
        self.inside.retain(|_, stage| large.contains(stage));
    }

    /// What the outputs of the graph and the regions depend on.
    fn keep(&self) -> Keep {
        let outputs = self.graph.output.iter().map(|output| output.name.clone());
        let mut keep = Keep {
            values: outputs.collect(),
            nodes: HashSet::default(),
        };
        for found in &self.found {
            let others = found.takes.iter();
            let others = others.filter(|name| self.inside.get(name.as_str()) != Some(&found.stage));
            keep.values.extend(others.cloned());
        }
        let inside: HashSet<usize> = self.found.iter().map(|found| found.node).collect();
        for (index, node) in self.graph.node.iter().enumerate().rev() {
            let needed = node.output.iter().any(|name| keep.values.contains(name));
            if needed && !inside.contains(&index) {
                keep.nodes.insert(index);
                keep.values.extend(node.input.iter().cloned());
            }
        }
        keep
    }

    fn region(&self, stage: usize, keep: &Keep) -> Region {
        let mut region = Region {
            name: region::free_name(self.graph, format!("f32 region {stage}")),
            inputs: Vec::new(),
            steps: Vec::new(),
            tensors: 0,
            outputs: Vec::new(),
        };
        let mut tensors: HashMap<&str, usize> = HashMap::default();
        for found in self.found.iter().filter(|found| found.stage == stage) {
            let inputs = found
                .takes
                .iter()
                .map(|name| *tensors.entry(name).or_insert_with(|| region.enter(name)));
            let inputs = inputs.collect();
            let output = region.tensor();
            tensors.insert(found.gives, output);
            region.steps.push(Step {
                name: found.name.to_owned(),
                op: found.op.clone(),
                inputs,
                output,
                activation: found.activation,
            });
            if keep.values.contains(found.gives) {
                region.outputs.push((output, found.gives.to_owned()));
            }
        }
        region
    }
}

impl Region {
    fn tensor(&mut self) -> usize {
        self.tensors += 1;
        self.tensors - 1
    }

    /// The tensor of a value from outside.
    fn enter(&mut self, name: &str) -> usize {
        let output = self.tensor();
        self.steps.push(Step {
            name: name.to_owned(),
            op: StepOp::Enter(self.inputs.len()),
            inputs: Vec::new(),
            output,
            activation: Activation::None,
        });
        self.inputs.push(name.to_owned());
        output
    }
}
