//! Puts the steps that were found together as regions, and one node for each into the graph.

use foldhash::{HashMap, HashSet};
use tract_onnx::pb::{GraphProto, NodeProto};

use crate::onnx::Constants;
use crate::region::{self, Keep};

use super::recognise::{self, Finder, Found};
use super::region::{Limits, Region, Step, StepOp};

/// Takes the regions out of `graph`; each becomes one node, named as its region.
pub(super) fn extract(graph: &mut GraphProto, constants: &Constants) -> Vec<Region> {
    let Some((regions, keep)) = Assembly::new(recognise::find(graph, constants)).regions() else {
        return Vec::new();
    };
    region::put(graph, &keep, &regions);
    regions
}

struct Assembly<'a> {
    finder: Finder<'a>,
    /// The stage of each tensor; none where it stays in tract.
    stages: Vec<Option<usize>>,
}

impl<'a> Assembly<'a> {
    /// A tensor that only operators outside use gains nothing from being quantized here.
    fn new(mut finder: Finder<'a>) -> Assembly<'a> {
        let steps = finder.steps.iter();
        let used: HashSet<usize> = steps.flat_map(|found| found.step.inputs.clone()).collect();
        let mut stages = vec![None; finder.tensors.len()];
        finder.steps.retain(|found| {
            let enters = matches!(found.step.op, StepOp::Quantize(_));
            let stays = !enters || used.contains(&found.step.output);
            stages[found.step.output] = stays.then_some(found.stage);
            stays
        });
        Assembly { finder, stages }
    }

    /// The stage of the tensor behind a value of the graph.
    fn stage(&self, value: &str) -> Option<usize> {
        self.stages[self.finder.behind(value)?]
    }

    fn regions(&self) -> Option<(Vec<Region>, Keep)> {
        let keep = self.keep();
        // A value that leaves a region does so as f32.
        let eight_bit = |node: &NodeProto| {
            node.op_type == "QuantizeLinear"
                && node
                    .output
                    .iter()
                    .any(|name| keep.values.contains(name) && self.stage(name).is_some())
        };
        if self.finder.graph.node.iter().any(eight_bit) {
            return None;
        }
        let mut stages: Vec<usize> = self.finder.steps.iter().map(|found| found.stage).collect();
        stages.sort_unstable();
        stages.dedup();
        let regions: Vec<Region> = stages
            .into_iter()
            .map(|stage| self.region(stage, &keep))
            .collect();
        (!regions.is_empty()).then_some((regions, keep))
    }

    /// The nodes outside that the outputs of the graph and the regions depend on.
    fn keep(&self) -> Keep {
        let graph = self.finder.graph;
        let steps = self.finder.steps.iter();
        let absorbed: HashSet<usize> = steps.flat_map(|found| found.nodes.clone()).collect();
        let mut values: HashSet<String> = graph.output.iter().map(|o| o.name.clone()).collect();
        for found in &self.finder.steps {
            for value in &found.takes {
                if self.stage(value) != Some(found.stage) {
                    values.insert((*value).to_owned());
                }
            }
        }
        let mut nodes = HashSet::default();
        for (index, node) in graph.node.iter().enumerate().rev() {
            let inside = absorbed.contains(&index)
                || node
                    .output
                    .first()
                    .is_some_and(|name| self.stage(name).is_some());
            if !inside && node.output.iter().any(|name| values.contains(name)) {
                nodes.insert(index);
                values.extend(node.input.iter().cloned());
            }
        }
        Keep { nodes, values }
    }

    fn region(&self, stage: usize, keep: &Keep) -> Region {
        let graph = self.finder.graph;
        let mut region = Region {
            name: region::free_name(graph, format!("int8 region {stage}")),
            inputs: Vec::new(),
            steps: Vec::new(),
            tensors: Vec::new(),
            outputs: Vec::new(),
        };
        let mut local = HashMap::default();
        for found in self
            .finder
            .steps
            .iter()
            .filter(|found| found.stage == stage)
        {
            self.add(found, &mut region, &mut local);
        }
        for node in &graph.node {
            for value in node
                .output
                .iter()
                .filter(|value| keep.values.contains(*value))
            {
                let tensor = self
                    .finder
                    .behind(value)
                    .and_then(|tensor| local.get(&tensor));
                if let (Some(tensor), Some(true)) = (tensor, self.stage(value).map(|s| s == stage))
                {
                    region.outputs.push((*tensor, value.clone()));
                }
            }
        }
        drop_unused(&mut region);
        region
    }

    /// Adds a step; what it takes from earlier regions comes as f32 and is quantized again, exactly.
    fn add(&self, found: &Found<'a>, region: &mut Region, local: &mut HashMap<usize, usize>) {
        if let StepOp::Quantize(_) = found.step.op {
            let tensor = self.enter(found.takes[0], found.step.output, region);
            local.insert(found.step.output, tensor);
            return;
        }
        for (index, tensor) in found.step.inputs.iter().enumerate() {
            if !local.contains_key(tensor) {
                let entered = self.enter(found.takes[index], *tensor, region);
                local.insert(*tensor, entered);
            }
        }
        let output = region.tensors.len();
        region.tensors.push(self.finder.tensors[found.step.output]);
        local.insert(found.step.output, output);
        let step = &found.step;
        region.steps.push(Step {
            name: step.name.clone(),
            op: step.op.clone(),
            inputs: step.inputs.iter().map(|tensor| local[tensor]).collect(),
            output,
            limits: step.limits,
        });
    }

    /// A step that quantizes the f32 value `name` as `tensor` is quantized.
    fn enter(&self, name: &str, tensor: usize, region: &mut Region) -> usize {
        let input = region.inputs.iter().position(|input| input == name);
        let input = input.unwrap_or_else(|| {
            region.inputs.push(name.to_owned());
            region.inputs.len() - 1
        });
        let output = region.tensors.len();
        region.tensors.push(self.finder.tensors[tensor]);
        region.steps.push(Step {
            name: name.to_owned(),
            op: StepOp::Quantize(input),
            inputs: Vec::new(),
            output,
            limits: Limits::NONE,
        });
        output
    }
}

/// Drops the steps on which no output depends: functions that became part of a later table.
fn drop_unused(region: &mut Region) {
    let mut used: HashSet<usize> = region.outputs.iter().map(|(tensor, _)| *tensor).collect();
    for step in region.steps.iter().rev() {
        if used.contains(&step.output) {
            used.extend(&step.inputs);
        }
    }
    region.steps.retain(|step| used.contains(&step.output));
}
