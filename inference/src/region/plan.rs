//! A region packed for the shapes of its inputs: layers, and the memory that they share.

use std::fmt::Debug;
use std::ops::Range;
use std::time::{Duration, Instant};

use kernels::{Isa, Workers};

use crate::onnx::Room;

use super::memory::{Places, Use};
use super::{Arithmetic, PlanError, Region, Shape, StepOp};

/// A step packed as kernels take it.
pub(crate) trait Layer<T>: Debug + Send + Sync + 'static {
    /// What it is called in a profile, and how many products it sums.
    fn describe(&self) -> (&'static str, usize);

    /// Computes `output` from two tensors (nothing where it takes fewer), or from what comes into the
    /// region.
    fn run(
        &self,
        isa: Isa,
        entering: &[&[f32]],
        inputs: [&[T]; 2],
        output: &mut [T],
        workers: &mut Workers,
    );
}

/// A region ready to run.
#[derive(Debug)]
pub(crate) struct Plan<A: Arithmetic> {
    isa: Isa,
    /// In the order in which they run.
    steps: Vec<Ready<A::Layer>>,
    outputs: Vec<Leaving<A>>,
    /// Values of memory that a run needs.
    arena: usize,
}

/// One layer, and where in the arena its values are.
#[derive(Debug)]
struct Ready<L> {
    /// That of the ONNX node.
    name: String,
    layer: L,
    /// At most two.
    inputs: Vec<Range<usize>>,
    output: Range<usize>,
}

/// What leaves, and where in the arena it is.
#[derive(Debug)]
struct Leaving<A: Arithmetic> {
    shape: Shape,
    tensor: A::Tensor,
    values: Range<usize>,
}

impl<A: Arithmetic> Plan<A> {
    /// Packs `region` for inputs of these shapes.
    pub(crate) fn new(
        region: &Region<A>,
        inputs: &[Shape],
        isa: Isa,
    ) -> Result<Plan<A>, PlanError> {
        kernels::in_one_piece(region.weight_bytes(), || Plan::pack(region, inputs, isa))
    }

    fn pack(region: &Region<A>, inputs: &[Shape], isa: Isa) -> Result<Plan<A>, PlanError> {
        let shapes = region.shapes(inputs)?;
        let places = places(region, &shapes);
        let (mut steps, mut room) = (Vec::new(), Room::default());
        for step in &region.steps {
            let layer = A::layer(region, step, &shapes, isa, &mut room);
            let Some(layer) = layer.map_err(|fault| step.refuse(fault))? else {
                continue;
            };
            let inputs = step.inputs.iter().map(|tensor| places.values(*tensor));
            steps.push(Ready {
                name: step.name.clone(),
                layer,
                inputs: inputs.collect(),
                output: places.values(step.output),
            });
        }
        let outputs = region.outputs.iter().map(|(tensor, _)| Leaving {
            shape: shapes[*tensor],
            tensor: region.tensors[*tensor],
            values: places.values(*tensor),
        });
        Ok(Plan {
            isa,
            steps,
            outputs: outputs.collect(),
            arena: places.total(),
        })
    }

    /// The shapes of what leaves.
    pub(crate) fn outputs(&self) -> impl Iterator<Item = Shape> {
        self.outputs.iter().map(|output| output.shape)
    }

    /// Values of memory that a run needs.
    pub(crate) fn arena(&self) -> usize {
        self.arena
    }

    /// Name, kind and products of every step.
    pub(crate) fn steps(&self) -> impl ExactSizeIterator<Item = (&str, &'static str, usize)> {
        self.steps.iter().map(|step| {
            let (kind, products) = step.layer.describe();
            (step.name.as_str(), kind, products)
        })
    }

    /// Computes all steps in `arena`, which has the plan's length; `times` gets what each took.
    pub(crate) fn run(
        &self,
        entering: &[&[f32]],
        arena: &mut [A::Value],
        workers: &mut Workers,
        times: &mut [Duration],
    ) {
        let mut start = Instant::now();
        for (step, time) in self.steps.iter().zip(times) {
            let (inputs, output) = step.values(arena);
            step.layer.run(self.isa, entering, inputs, output, workers);
            let end = Instant::now();
            *time = end - start;
            start = end;
        }
    }

    /// Brings output `index` of the last run outside.
    pub(crate) fn output(
        &self,
        index: usize,
        arena: &[A::Value],
        planes: &mut [f32],
        workers: &mut Workers,
    ) {
        let Leaving {
            shape,
            tensor,
            values,
        } = &self.outputs[index];
        let values = &arena[values.clone()];
        A::leave(*tensor, shape.image.channels, values, planes, workers);
    }
}

fn places<A: Arithmetic>(region: &Region<A>, shapes: &[Shape]) -> Places {
    let lens: Vec<usize> = shapes.iter().map(|shape| shape.image.len()).collect();
    let uses = region.steps.iter().map(|step| Use {
        inputs: &step.inputs,
        output: step.output,
        same: matches!(step.op, StepOp::Flatten { .. } | StepOp::Same),
    });
    let leaving: Vec<usize> = region.outputs.iter().map(|(tensor, _)| *tensor).collect();
    Places::new(&lens, &uses.collect::<Vec<_>>(), &leaving)
}

impl<L> Ready<L> {
    /// Inputs and output. Places of tensors that live at the same time do not overlap.
    fn values<'a, T>(&self, arena: &'a mut [T]) -> ([&'a [T]; 2], &'a mut [T]) {
        match self.inputs.as_slice() {
            [] => ([&[], &[]], &mut arena[self.output.clone()]),
            [a, b] if a != b => {
                let ranges = [a.clone(), b.clone(), self.output.clone()];
                match arena.get_disjoint_mut(ranges) {
                    Ok([a, b, output]) => ([a, b], output),
                    Err(_) => unreachable!("places overlap"),
                }
            }
            [a, rest @ ..] => match arena.get_disjoint_mut([a.clone(), self.output.clone()]) {
                Ok([a, output]) if rest.is_empty() => ([a, &[]], output),
                Ok([a, output]) => ([a, a], output),
                Err(_) => unreachable!("places overlap"),
            },
        }
    }
}
