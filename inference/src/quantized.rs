//! Quantized networks: what runs in 8 bits instead of in tract's f32.
//!
//! An exporter writes a quantized network as QDQ: around every f32 operator stand a
//! `DequantizeLinear` per input and a `QuantizeLinear` after it. [`recognise`] finds the operators
//! whose surroundings are whole, and [`assemble`] takes them out of the ONNX graph, together, as
//! [`Region`]s; [`plan`] packs a region into the layers of `kernels` once its shapes are known, and it
//! comes into tract's graph in their place. What is not recognised stays as it was.
//!
//! ```text
//! f32 ─ Q ─ DQ ─ Conv ─ Relu ─ Q ─ DQ ─ Add ─ Q ─ DQ ─ f32    becomes    f32 ─ region ─ f32
//! ```

mod assemble;
mod operators;
mod plan;
mod recognise;
mod region;
#[cfg(test)]
mod tests;

use kernels::Isa;
use tract_onnx::pb::GraphProto;

use crate::onnx::Constants;
use crate::region::{PlanError, Shape};
pub(crate) use plan::Plan;
use region::{Region, StepOp};

impl crate::region::Region for Region {
    type Plan = Plan;
    const OPERATOR: &'static str = "QuantizedRegion";

    fn name(&self) -> &str {
        &self.name
    }

    fn inputs(&self) -> &[String] {
        &self.inputs
    }

    fn outputs(&self) -> impl ExactSizeIterator<Item = &str> {
        self.outputs.iter().map(|(_, name)| name.as_str())
    }

    fn shapes(&self, inputs: &[Shape]) -> Result<Vec<Shape>, PlanError> {
        let shapes = plan::shapes(self, inputs)?;
        let outputs = self.outputs.iter().map(|(tensor, _)| shapes[*tensor]);
        Ok(outputs.collect())
    }

    fn weight_bytes(&self) -> usize {
        let convolutions = self.steps.iter().map(|step| match &step.op {
            StepOp::Conv(conv) | StepOp::Dense(conv) => conv.weights.len::<1>(),
            _ => 0,
        });
        convolutions.sum()
    }

    fn plan(&self, inputs: &[Shape], isa: Isa) -> Result<Plan, PlanError> {
        Plan::new(self, inputs, isa)
    }
}

/// Takes the quantized regions out of a graph: each becomes one node, named as its region.
pub(crate) fn extract(graph: &mut GraphProto, constants: &Constants) -> Vec<Region> {
    assemble::extract(graph, constants)
}
