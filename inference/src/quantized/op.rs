//! A region as an operator of tract.

use std::sync::Arc;
use std::time::Duration;

use kernels::{Aligned, Isa, Workers};
use tract_onnx::tract_hir::internal::*;

use crate::profile::{Engine, LayerTime};

use super::plan::{Plan, Shape, shapes};
use super::region::Region;

/// The operator of a region, to run on `threads`.
pub(super) fn operator(region: Region, threads: usize) -> Box<dyn InferenceOp> {
    let region = Arc::new(region);
    expand(Unpacked { region, threads })
}

/// A region before the shapes of its inputs are known.
#[derive(Clone, Debug)]
struct Unpacked {
    region: Arc<Region>,
    threads: usize,
}

impl Expansion for Unpacked {
    fn name(&self) -> StaticName {
        "QuantizedRegion".into()
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
                let found = shapes(&self.region, &read(&dims)?)?;
                for ((tensor, _), output) in self.region.outputs.iter().zip(outputs) {
                    let dims: TVec<TDim> =
                        found[*tensor].dims().iter().map(|n| n.to_dim()).collect();
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
        let plan = Plan::new(&self.region, &read(&dims)?, Isa::detect())?;
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
        Shape::of(dims).with_context(|| format!("a quantized tensor of shape {dims:?}"))
    });
    shapes.collect()
}

/// A region that runs. Equal to itself alone: no two nodes are merged.
#[derive(Clone, Debug)]
struct Packed {
    plan: Arc<Plan>,
    threads: usize,
}

impl PartialEq for Packed {
    fn eq(&self, other: &Packed) -> bool {
        Arc::ptr_eq(&self.plan, &other.plan)
    }
}

impl Eq for Packed {}

impl Op for Packed {
    fn name(&self) -> StaticName {
        "QuantizedRegion".into()
    }

    op_as_typed_op!();
}

impl EvalOp for Packed {
    not_out_of_plan!();

    fn state(&self, _: &EvalContext) -> TractResult<Option<Box<dyn OpState>>> {
        Ok(Some(Box::new(Memory {
            arena: Aligned::new(self.plan.arena()),
            times: vec![Duration::ZERO; self.plan.steps().count()],
            workers: Workers::new(self.threads).context("threads for a region")?,
        })))
    }
}

impl TypedOp for Packed {
    fn output_facts(&self, _: &[&TypedFact]) -> TractResult<TVec<TypedFact>> {
        Ok(self
            .plan
            .outputs()
            .map(|shape| f32::fact(shape.dims()))
            .collect())
    }

    as_op!();
}

/// What a region works in; the same for every frame.
#[derive(Debug)]
struct Memory {
    arena: Aligned<u8>,
    workers: Workers,
    /// What each step took in the last run.
    times: Vec<Duration>,
}

/// With threads of its own.
impl Clone for Memory {
    fn clone(&self) -> Memory {
        Memory {
            arena: self.arena.clone(),
            workers: Workers::new(self.workers.count()).unwrap_or_else(|_| Workers::single()),
            times: self.times.clone(),
        }
    }
}

/// What each step of a region took in its last run.
pub(crate) fn times(op: &dyn Op, state: &dyn OpState) -> Option<Vec<LayerTime>> {
    let (op, memory) = (
        op.downcast_ref::<Packed>()?,
        state.downcast_ref::<Memory>()?,
    );
    let steps = op.plan.steps().zip(&memory.times);
    let layers = steps.map(|((name, kind, products), time)| LayerTime {
        name: name.to_owned(),
        kind: kind.to_owned(),
        engine: Engine::Int8,
        products: products as u64,
        time: *time,
    });
    Some(layers.collect())
}

impl OpState for Memory {
    fn eval(
        &mut self,
        _: &EvalContext,
        op: &dyn Op,
        inputs: TVec<TValue>,
    ) -> TractResult<TVec<TValue>> {
        let op = op
            .downcast_ref::<Packed>()
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
        op.plan.run(&values, arena, workers, times);
        let outputs = op.plan.outputs().enumerate().map(|(index, shape)| {
            let mut output = Tensor::zero::<f32>(&shape.dims())?;
            let mut plain = output.try_as_plain_ram_mut()?;
            op.plan
                .output(index, &self.arena, plain.as_slice_mut::<f32>()?);
            Ok(output.into_tvalue())
        });
        outputs.collect()
    }

    fn reset_lanes(&mut self, _: &[LaneId]) -> TractResult<()> {
        Ok(())
    }
}
