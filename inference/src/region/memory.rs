//! Where in one piece of memory each tensor of a region lives.

use std::ops::Range;

/// Places start at multiples of this many values, also of bytes: a cache line.
const ALIGN: usize = 64;

/// What of a step says how long its tensors live.
pub(crate) struct Use<'a> {
    pub(crate) inputs: &'a [usize],
    pub(crate) output: usize,
    /// Whether the output has the values of the only input.
    pub(crate) same: bool,
}

/// A place for each tensor. Two that live at the same time do not overlap.
pub(crate) struct Places {
    /// The tensor whose place each tensor has: its own unless it has the same values.
    owner: Vec<usize>,
    values: Vec<Range<usize>>,
    total: usize,
}

impl Places {
    /// For tensors of these lengths, some of which are needed after the last step.
    pub(crate) fn new(lens: &[usize], steps: &[Use<'_>], leaving: &[usize]) -> Places {
        let owner = owners(lens.len(), steps);
        let lives = lives(steps, leaving, &owner);
        let mut order: Vec<usize> = (0..lens.len()).filter(|t| owner[*t] == *t).collect();
        order.sort_by_key(|tensor| std::cmp::Reverse(lens[*tensor]));
        let mut values = vec![0..0; lens.len()];
        let mut placed: Vec<usize> = Vec::new();
        let mut total = 0;
        for tensor in order {
            let len = lens[tensor];
            let mut taken: Vec<Range<usize>> = placed
                .iter()
                .filter(|other| overlap(&lives[tensor], &lives[**other]))
                .map(|other| values[*other].clone())
                .collect();
            taken.sort_by_key(|range| range.start);
            let mut start = 0;
            for range in taken {
                if start + len <= range.start {
                    break;
                }
                start = start.max(range.end.next_multiple_of(ALIGN));
            }
            values[tensor] = start..start + len;
            total = total.max(start + len);
            placed.push(tensor);
        }
        Places {
            owner,
            values,
            total,
        }
    }

    pub(crate) fn values(&self, tensor: usize) -> Range<usize> {
        self.values[self.owner[tensor]].clone()
    }

    pub(crate) fn total(&self) -> usize {
        self.total
    }
}

fn owners(count: usize, steps: &[Use<'_>]) -> Vec<usize> {
    let mut owner: Vec<usize> = (0..count).collect();
    for step in steps {
        if let (true, [input]) = (step.same, step.inputs) {
            owner[step.output] = owner[*input];
        }
    }
    owner
}

/// The steps during which each tensor is needed, by its owner: both ends count.
fn lives(steps: &[Use<'_>], leaving: &[usize], owner: &[usize]) -> Vec<Range<usize>> {
    let never = Range {
        start: usize::MAX,
        end: 0,
    };
    let mut lives = vec![never; owner.len()];
    let mut touch = |tensor: usize, at: usize| {
        let life = &mut lives[owner[tensor]];
        *life = life.start.min(at)..life.end.max(at + 1);
    };
    for (at, step) in steps.iter().enumerate() {
        step.inputs.iter().for_each(|tensor| touch(*tensor, at));
        touch(step.output, at);
    }
    for tensor in leaving {
        touch(*tensor, steps.len());
    }
    lives
}

fn overlap(a: &Range<usize>, b: &Range<usize>) -> bool {
    a.start < b.end && b.start < a.end
}
