//! Where in one piece of memory each tensor of a region lives.

use std::ops::Range;

use super::plan::Shape;
use super::region::{Region, Step, StepOp};

/// Places start at multiples of this many bytes: a cache line.
const ALIGN: usize = 64;

/// A place for each tensor. Two that live at the same time do not overlap.
pub(super) struct Places {
    /// The tensor whose place each tensor has: its own unless it is only another shape of it.
    owner: Vec<usize>,
    bytes: Vec<Range<usize>>,
    total: usize,
}

impl Places {
    pub(super) fn new(region: &Region, shapes: &[Shape]) -> Places {
        let owner = owners(region);
        let lives = lives(region, &owner);
        let mut order: Vec<usize> = (0..shapes.len()).filter(|t| owner[*t] == *t).collect();
        order.sort_by_key(|tensor| std::cmp::Reverse(shapes[*tensor].image.len()));
        let mut bytes = vec![0..0; shapes.len()];
        let mut placed: Vec<usize> = Vec::new();
        let mut total = 0;
        for tensor in order {
            let len = shapes[tensor].image.len();
            let mut taken: Vec<Range<usize>> = placed
                .iter()
                .filter(|other| overlap(&lives[tensor], &lives[**other]))
                .map(|other| bytes[*other].clone())
                .collect();
            taken.sort_by_key(|range| range.start);
            let mut start = 0;
            for range in taken {
                if start + len <= range.start {
                    break;
                }
                start = start.max(range.end.next_multiple_of(ALIGN));
            }
            bytes[tensor] = start..start + len;
            total = total.max(start + len);
            placed.push(tensor);
        }
        Places {
            owner,
            bytes,
            total,
        }
    }

    /// Whether the step computes nothing: its output has the place of its input.
    pub(super) fn is_alias(&self, step: &Step) -> bool {
        self.owner[step.output] != step.output
    }

    pub(super) fn bytes(&self, tensor: usize) -> Range<usize> {
        self.bytes[self.owner[tensor]].clone()
    }

    pub(super) fn total(&self) -> usize {
        self.total
    }
}

fn owners(region: &Region) -> Vec<usize> {
    let mut owner: Vec<usize> = (0..region.tensors.len()).collect();
    for step in &region.steps {
        if let (StepOp::Flatten { .. }, [input]) = (&step.op, step.inputs.as_slice()) {
            owner[step.output] = owner[*input];
        }
    }
    owner
}

/// The steps during which each tensor is needed, by its owner: both ends count.
fn lives(region: &Region, owner: &[usize]) -> Vec<Range<usize>> {
    let never = Range {
        start: usize::MAX,
        end: 0,
    };
    let mut lives = vec![never; owner.len()];
    let mut touch = |tensor: usize, at: usize| {
        let life = &mut lives[owner[tensor]];
        *life = life.start.min(at)..life.end.max(at + 1);
    };
    for (at, step) in region.steps.iter().enumerate() {
        step.inputs.iter().for_each(|tensor| touch(*tensor, at));
        touch(step.output, at);
    }
    for (tensor, _) in &region.outputs {
        touch(*tensor, region.steps.len());
    }
    lives
}

fn overlap(a: &Range<usize>, b: &Range<usize>) -> bool {
    a.start < b.end && b.start < a.end
}
