//! Puts the steps that were found together as regions, and one node for each into the graph.

use std::collections::{BTreeMap, VecDeque};

use foldhash::{HashMap, HashSet};
use tract_onnx::pb::{GraphProto, NodeProto};

use super::finder::Found;
use super::{Arithmetic, Finder, Region, Step, StepOp};

/// What of a graph stays beside its regions.
#[derive(Debug)]
pub(crate) struct Keep {
    pub(crate) nodes: HashSet<usize>,
    pub(crate) values: HashSet<String>,
}

impl<A: Arithmetic> Finder<'_, A> {
    /// What the outputs of the graph and the regions depend on.
    pub(crate) fn keep(&self) -> Keep {
        let outputs = self.graph.output.iter().map(|output| output.name.clone());
        let mut values: HashSet<String> = outputs.collect();
        for found in &self.steps {
            let takes = found.takes.iter();
            let others = takes.filter(|value| self.stage(value) != Some(found.stage));
            values.extend(others.cloned());
        }
        let mut nodes = HashSet::default();
        for (index, node) in self.graph.node.iter().enumerate().rev() {
            let first = node.output.first();
            let inside = first.is_some_and(|value| self.stage(value).is_some());
            if !inside && node.output.iter().any(|value| values.contains(value)) {
                nodes.insert(index);
                values.extend(node.input.iter().cloned());
            }
        }
        Keep { nodes, values }
    }

    /// A region for each stage.
    pub(crate) fn regions(mut self, keep: &Keep) -> Vec<Region<A>> {
        let mut stages: BTreeMap<usize, Assembly<A>> = BTreeMap::new();
        for found in std::mem::take(&mut self.steps) {
            let stage = stages.entry(found.stage).or_insert_with(|| {
                let name = format!("{} {}", A::REGION, found.stage);
                Assembly::new(free_name(self.graph, name))
            });
            stage.add(found, &self.tensors);
        }
        let values = self.graph.node.iter().flat_map(|node| &node.output);
        for value in values.filter(|value| keep.values.contains(*value)) {
            let stage = self.stage(value).and_then(|stage| stages.get_mut(&stage));
            if let (Some(stage), Some(tensor)) = (stage, self.behind(value)) {
                stage.leave(tensor, value);
            }
        }
        let regions = stages
            .into_values()
            .map(|stage| stage.region.without_idle());
        regions.collect()
    }
}

/// A region that grows.
struct Assembly<A: Arithmetic> {
    region: Region<A>,
    /// Its tensors, by those of the finder.
    tensors: HashMap<usize, usize>,
}

impl<A: Arithmetic> Assembly<A> {
    fn new(name: String) -> Assembly<A> {
        let region = Region {
            name,
            inputs: Vec::new(),
            steps: Vec::new(),
            tensors: Vec::new(),
            outputs: Vec::new(),
        };
        Assembly {
            region,
            tensors: HashMap::default(),
        }
    }

    /// Adds a step; what it takes from outside and from earlier regions comes as f32. (In 8 bits that
    /// is quantized again, exactly.)
    fn add(&mut self, found: Found<'_, A>, tensors: &[A::Tensor]) {
        let Found {
            mut step, takes, ..
        } = found;
        if let (StepOp::Enter(_), [value]) = (&step.op, takes) {
            self.enter(value, step.output, tensors);
            return;
        }
        for (index, input) in step.inputs.iter_mut().enumerate() {
            *input = match self.tensors.get(input) {
                Some(own) => *own,
                None => self.enter(&takes[index], *input, tensors),
            };
        }
        step.output = self.tensor(step.output, tensors);
        self.region.steps.push(step);
    }

    /// The region's own tensor for another one of the finder.
    fn tensor(&mut self, tensor: usize, tensors: &[A::Tensor]) -> usize {
        let own = self.region.tensors.len();
        self.region.tensors.push(tensors[tensor]);
        self.tensors.insert(tensor, own);
        own
    }

    /// A step that makes a tensor of a value from outside.
    fn enter(&mut self, value: &str, tensor: usize, tensors: &[A::Tensor]) -> usize {
        let inputs = &mut self.region.inputs;
        let input = inputs.iter().position(|input| input == value);
        let input = input.unwrap_or_else(|| {
            inputs.push(value.to_owned());
            inputs.len() - 1
        });
        let output = self.tensor(tensor, tensors);
        self.region.steps.push(Step {
            name: value.to_owned(),
            op: StepOp::Enter(input),
            inputs: Vec::new(),
            output,
            activation: A::NO_ACTIVATION,
        });
        output
    }

    fn leave(&mut self, tensor: usize, value: &str) {
        if let Some(own) = self.tensors.get(&tensor) {
            self.region.outputs.push((*own, value.to_owned()));
        }
    }
}

impl<A: Arithmetic> Region<A> {
    /// Without the steps on which no output depends.
    fn without_idle(mut self) -> Region<A> {
        let mut used = vec![false; self.tensors.len()];
        for (tensor, _) in &self.outputs {
            used[*tensor] = true;
        }
        for step in self.steps.iter().rev() {
            if used[step.output] {
                step.inputs.iter().for_each(|input| used[*input] = true);
            }
        }
        self.steps.retain(|step| used[step.output]);
        self
    }
}

/// Leaves of `graph` what stays, and a node for each region.
pub(crate) fn take_out<A: Arithmetic>(graph: &mut GraphProto, keep: &Keep, regions: &[Region<A>]) {
    if regions.is_empty() {
        return;
    }
    let mut index = 0..;
    graph.node.retain(|_| {
        index
            .next()
            .is_some_and(|index| keep.nodes.contains(&index))
    });
    graph.node.extend(regions.iter().map(|region| {
        NodeProto {
            op_type: A::OPERATOR.to_owned(),
            name: region.name.clone(),
            input: region.inputs.clone(),
            output: region
                .outputs
                .iter()
                .map(|(_, name)| name.clone())
                .collect(),
            ..NodeProto::default()
        }
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
fn free_name(graph: &GraphProto, name: String) -> String {
    let mut name = name;
    while graph.node.iter().any(|node| node.name == name) {
        name.push('\'');
    }
    name
}
