//! A region as an operator of tract.

use std::sync::Arc;
use std::time::Duration;

use kernels::{Aligned, Isa, Workers};
use tract_core::ops::source::TypedSource;
use tract_onnx::tract_hir::internal::*;

use crate::float::F32;
use crate::profile::LayerTime;
use crate::quantized::Int8;

use super::{Arithmetic, Plan, Region, Shape};

/// Gives the nodes that stand for regions their operators, to run on `threads`.
pub(crate) fn attach<A: Arithmetic>(
    model: &mut InferenceModel,
    regions: Vec<Region<A>>,
    threads: usize,
) {
    for region in regions {
        let node = model.nodes().iter().find(|node| node.name == region.name);
        if let Some(id) = node.map(|node| node.id) {
            let region = Arc::new(region);
            model.node_mut(id).op = expand(Unpacked { region, threads });
        }
    }
}

/// A region before the shapes of its inputs are known.
#[derive(Clone, Debug)]
struct Unpacked<A: Arithmetic> {
    region: Arc<Region<A>>,
    threads: usize,
}

impl<A: Arithmetic> Expansion for Unpacked<A> {
    fn name(&self) -> StaticName {
        A::OPERATOR.into()
    }

    fn nboutputs(&self) -> TractResult<usize> {
        Ok(self.region.outputs.len())
    }

    fn rules<'r, 'p: 'r, 's: 'r>(
        &'s self,
        solver: &mut Solver<'r>,
        inputs: &'p [TensorProxy],
        outputs: &'p [TensorProxy],
    ) -> InferenceResult {
        for end in inputs.iter().chain(outputs) {
            solver.equals(&end.datum_type, f32::datum_type())?;
        }
        let given = inputs.iter().map(|input| &input.shape);
        solver.given_all(
            given,
            move |solver: &mut Solver<'r>, found: Vec<TVec<TDim>>| {
                let dims = found.iter().map(|dims| {
                    let dims = dims.iter().map(|dim| Ok(dim.to_usize()?));
                    dims.collect::<TractResult<Vec<usize>>>()
                });
                let dims = dims.collect::<TractResult<Vec<_>>>()?;
                let shapes = self.region.shapes(&read(&dims)?)?;
                for ((tensor, _), output) in self.region.outputs.iter().zip(outputs) {
                    let dims = shapes[*tensor].dims();
                    let dims: TVec<TDim> = dims.iter().map(|n| n.to_dim()).collect();
                    solver.equals(&output.shape, dims)?;
                }
                Ok(())
            },
        )
    }

    fn wire(
        &self,
        prefix: &str,
        model: &mut TypedModel,
        inputs: &[OutletId],
    ) -> TractResult<TVec<OutletId>> {
        let dims = inputs.iter().map(|input| {
            let shape = &model.outlet_fact(*input)?.shape;
            shape.as_concrete().context("a shape that is not fixed")
        });
        let dims = dims.collect::<TractResult<Vec<_>>>()?;
        let shapes = read(&dims)?;
        let plan = Plan::new(&self.region, &shapes, Isa::detect())?;
        let op = Packed {
            plan: Arc::new(plan),
            threads: self.threads,
        };
        model.wire_node(prefix, op, inputs)
    }

    fn runs_out_of_plan(&self) -> bool {
        false
    }
}

fn read(dims: &[impl AsRef<[usize]>]) -> TractResult<Vec<Shape>> {
    let shapes = dims.iter().map(|dims| {
        let dims = dims.as_ref();
        Shape::of(dims).with_context(|| format!("a tensor of shape {dims:?}"))
    });
    shapes.collect()
}

/// A region that runs. Equal to itself alone: no two nodes are merged.
#[derive(Clone, Debug)]
struct Packed<A: Arithmetic> {
    plan: Arc<Plan<A>>,
    threads: usize,
}

impl<A: Arithmetic> PartialEq for Packed<A> {
    fn eq(&self, other: &Packed<A>) -> bool {
        Arc::ptr_eq(&self.plan, &other.plan)
    }
}

impl<A: Arithmetic> Eq for Packed<A> {}

impl<A: Arithmetic> Op for Packed<A> {
    fn name(&self) -> StaticName {
        A::OPERATOR.into()
    }

    op_as_typed_op!();
}

impl<A: Arithmetic> EvalOp for Packed<A> {
    not_out_of_plan!();

    fn state(&self, _: &EvalContext) -> TractResult<Option<Box<dyn OpState>>> {
        Ok(Some(Box::new(Memory::<A> {
            arena: Aligned::new(self.plan.arena()),
            times: vec![Duration::ZERO; self.plan.steps().len()],
            workers: Workers::new(self.threads).context("threads for a region")?,
        })))
    }
}

impl<A: Arithmetic> TypedOp for Packed<A> {
    fn output_facts(&self, _: &[&TypedFact]) -> TractResult<TVec<TypedFact>> {
        Ok(self
            .plan
            .outputs()
            .map(|shape| f32::fact(shape.dims()))
            .collect())
    }

    as_op!();
}

/// Whether regions compute all of a model. Their layers are held to the shapes when they are planned.
pub(crate) fn are_all(model: &TypedModel) -> bool {
    model.nodes().iter().all(|node| {
        let int8 = node.op_is::<Packed<Int8>>();
        int8 || node.op_is::<Packed<F32>>() || node.op_is::<TypedSource>()
    })
}

/// What a region works in; the same for every frame.
#[derive(Debug)]
struct Memory<A: Arithmetic> {
    arena: Aligned<A::Value>,
    workers: Workers,
    /// What each step took in the last run.
    times: Vec<Duration>,
}

/// With threads of its own.
impl<A: Arithmetic> Clone for Memory<A> {
    fn clone(&self) -> Memory<A> {
        Memory {
            arena: self.arena.clone(),
            workers: Workers::new(self.workers.count()).unwrap_or_else(|_| Workers::single()),
            times: self.times.clone(),
        }
    }
}

/// What each step of a region of such an arithmetic took in its last run.
pub(crate) fn times<A: Arithmetic>(op: &dyn Op, state: &dyn OpState) -> Option<Vec<LayerTime>> {
    let (op, memory) = (
        op.downcast_ref::<Packed<A>>()?,
        state.downcast_ref::<Memory<A>>()?,
    );
    let steps = op.plan.steps().zip(&memory.times);
    let layers = steps.map(|((name, kind, products), time)| LayerTime {
        name: name.to_owned(),
        kind: kind.to_owned(),
        engine: A::ENGINE,
        products: products as u64,
        time: *time,
    });
    Some(layers.collect())
}

impl<A: Arithmetic> OpState for Memory<A> {
    fn eval(
        &mut self,
        _: &EvalContext,
        op: &dyn Op,
        inputs: TVec<TValue>,
    ) -> TractResult<TVec<TValue>> {
        let op = op
            .downcast_ref::<Packed<A>>()
            .context("the memory of another operator")?;
        let plain = inputs.iter().map(|input| input.try_as_plain_ram());
        let plain = plain.collect::<TractResult<TVec<_>>>()?;
        let values = plain.iter().map(|input| input.as_slice::<f32>());
        let values = values.collect::<TractResult<TVec<_>>>()?;
        let Memory {
            arena,
            workers,
            times,
        } = self;
        let arena: &mut [A::Value] = arena;
        op.plan.run(&values, arena, workers, times);
        let outputs = op.plan.outputs().enumerate().map(|(index, shape)| {
            let mut output = Tensor::zero::<f32>(&shape.dims())?;
            let mut plain = output.try_as_plain_ram_mut()?;
            op.plan
                .output(index, arena, plain.as_slice_mut::<f32>()?, workers);
            Ok(output.into_tvalue())
        });
        outputs.collect()
    }

    fn reset_lanes(&mut self, _: &[LaneId]) -> TractResult<()> {
        Ok(())
    }
}
