//! The layers of a region in the order in which they run, each with its places in memory.

use std::ops::Range;
use std::time::{Duration, Instant};

/// Layers of the kind `L`.
#[derive(Debug)]
pub(crate) struct Schedule<L>(pub(crate) Vec<Ready<L>>);

/// One layer, and where in the arena its values are.
#[derive(Debug)]
pub(crate) struct Ready<L> {
    /// That of the ONNX node.
    pub(crate) name: String,
    pub(crate) layer: L,
    /// At most two.
    pub(crate) inputs: Vec<Range<usize>>,
    pub(crate) output: Range<usize>,
}

impl<L> Schedule<L> {
    /// Calls `compute` for every layer with its inputs (nothing where there are fewer than two) and
    /// its output; `times` gets what each took.
    pub(crate) fn run<T>(
        &self,
        arena: &mut [T],
        times: &mut [Duration],
        mut compute: impl FnMut(&L, &[T], &[T], &mut [T]),
    ) {
        let mut start = Instant::now();
        for (step, time) in self.0.iter().zip(times) {
            let (a, b, out) = step.places(arena);
            compute(&step.layer, a, b, out);
            let end = Instant::now();
            *time = end - start;
            start = end;
        }
    }
}

impl<L> Ready<L> {
    /// Places of tensors that live at the same time do not overlap.
    fn places<'a, T>(&self, arena: &'a mut [T]) -> (&'a [T], &'a [T], &'a mut [T]) {
        match self.inputs.as_slice() {
            [] => (&[], &[], &mut arena[self.output.clone()]),
            [a, b] if a != b => {
                let ranges = [a.clone(), b.clone(), self.output.clone()];
                match arena.get_disjoint_mut(ranges) {
                    Ok([a, b, out]) => (a, b, out),
                    Err(_) => unreachable!("places overlap"),
                }
            }
            [a, rest @ ..] => match arena.get_disjoint_mut([a.clone(), self.output.clone()]) {
                Ok([a, out]) if rest.is_empty() => (a, &[], out),
                Ok([a, out]) => (a, a, out),
                Err(_) => unreachable!("places overlap"),
            },
        }
    }
}
