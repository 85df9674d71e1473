//! Shape inference: what shapes the tensors of a region have.

use super::{Arithmetic, ConvStep, Fault, PlanError, Region, Shape, Step, StepOp};

impl<A: Arithmetic> Region<A> {
    /// The shape of every tensor, for inputs of these shapes.
    pub(crate) fn shapes(&self, inputs: &[Shape]) -> Result<Vec<Shape>, PlanError> {
        let mut shapes = vec![Shape::NONE; self.tensors.len()];
        for step in &self.steps {
            let shape = step.shape(inputs, &shapes);
            shapes[step.output] = shape.map_err(|fault| step.refuse(fault))?;
        }
        Ok(shapes)
    }
}

impl<A: Arithmetic> Step<A> {
    /// The shape of the output, by those of the region's inputs and of the tensors before.
    fn shape(&self, inputs: &[Shape], shapes: &[Shape]) -> Result<Shape, Fault> {
        let of = |index: usize| self.inputs.get(index).map(|tensor| shapes[*tensor]);
        let first = of(0).unwrap_or(Shape::NONE);
        let (image, pixel) = (first.image, first.pixel());
        let (image, flat) = match &self.op {
            StepOp::Enter(input) => {
                let shape = inputs.get(*input).ok_or(Fault::Shape)?;
                (shape.image, shape.flat)
            }
            StepOp::Conv(conv) if !first.flat && conv.takes(first) => {
                let window = conv.window.over(image);
                (window.output(image, conv.channels)?, false)
            }
            StepOp::Dense(dense) if first.flat && dense.takes(first) => {
                let mut image = pixel;
                image.channels = dense.channels;
                (image, true)
            }
            StepOp::Function(_) | StepOp::Same => (image, first.flat),
            StepOp::Add if of(1) == Some(first) => (image, first.flat),
            StepOp::Mul => {
                let product = of(1).and_then(|second| first.product(second));
                let shape = product.ok_or(Fault::Shape)?;
                (shape.image, shape.flat)
            }
            StepOp::GlobalAverage { keep_dims } if !first.flat => (pixel, !keep_dims),
            StepOp::Pool(_, window) if !first.flat => {
                let window = window.over(image);
                (window.output(image, image.channels)?, false)
            }
            StepOp::Flatten { channels }
                if image == pixel && channels.is_none_or(|n| n == pixel.channels) =>
            {
                (pixel, true)
            }
            _ => return Err(Fault::Shape),
        };
        image.check()?;
        let shape = Shape { image, flat };
        match (&self.op, of(1)) {
            (StepOp::Conv(_), Some(addend)) if addend != shape => Err(Fault::Shape),
            _ => Ok(shape),
        }
    }
}

impl<A: Arithmetic> ConvStep<A> {
    /// Whether there are weights for as many channels.
    fn takes(&self, input: Shape) -> bool {
        let [rows, columns] = self.window.kernel;
        let depth = input.image.channels.checked_div(self.groups);
        depth.is_some_and(|depth| {
            depth * self.groups == input.image.channels
                && self.weight_count() == self.channels * rows * columns * depth
        })
    }
}
