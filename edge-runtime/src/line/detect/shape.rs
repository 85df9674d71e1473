//! Shapes on the grid: distances, growing and shrinking, holes.
//!
//! Distances are chamfer distances (Borgefors, "Distance transformations in digital images", 1986):
//! 3 for a step along an axis, 4 for a diagonal one, within 6% of three times the Euclidean.

use super::grid::Grid;

/// The distance of two cells side by side.
pub(super) const STEP: u16 = 3;
const DIAGONAL: u16 = 4;
const FAR: u16 = u16::MAX - DIAGONAL;

/// What the cells beyond the first and the last lane are taken for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Sides {
    /// Whatever their neighbours are.
    Open,
    /// Not in the shape.
    Closed,
}

/// The distance of every cell equal to `value` to the nearest that is not, and 0 for the others.
/// Beyond the lanes' ends the belt goes on, so that they are never the nearest.
pub(super) fn distances(mask: &[bool], value: bool, grid: Grid, sides: Sides, out: &mut [u16]) {
    let (length, last) = (grid.length, grid.lanes.saturating_sub(1));
    for lane in 0..grid.lanes {
        let (done, rest) = out.split_at_mut(lane * length);
        let above = lane.checked_sub(1).map(|l| &done[l * length..]);
        let at_side = sides == Sides::Closed && (lane == 0 || lane == last);
        let most = if at_side { STEP } else { FAR };
        for (x, cell) in mask[lane * length..][..length].iter().enumerate() {
            let mut nearest = 0;
            if *cell == value {
                nearest = most;
                if x > 0 {
                    nearest = nearest.min(rest[x - 1] + STEP);
                }
                nearest = above.map_or(nearest, |above| nearest.min(beside(above, x)));
            }
            rest[x] = nearest;
        }
    }
    for lane in (0..grid.lanes).rev() {
        let (head, below) = out.split_at_mut((lane + 1) * length);
        let row = &mut head[lane * length..];
        let below = (lane < last).then(|| &below[..length]);
        for x in (0..length).rev() {
            let mut nearest = row[x];
            if nearest == 0 {
                continue;
            }
            if x + 1 < length {
                nearest = nearest.min(row[x + 1] + STEP);
            }
            row[x] = below.map_or(nearest, |below| nearest.min(beside(below, x)));
        }
    }
    // A shape without an edge has no distances that could be added to.
    for distance in out.iter_mut() {
        *distance = (*distance).min(FAR);
    }
}

/// The least distance by way of the neighbouring lane.
fn beside(lane: &[u16], x: usize) -> u16 {
    let mut nearest = lane[x] + STEP;
    if x > 0 {
        nearest = nearest.min(lane[x - 1] + DIAGONAL);
    }
    if let Some(next) = lane.get(x + 1) {
        nearest = nearest.min(next + DIAGONAL);
    }
    nearest.min(FAR)
}

/// Closes gaps up to twice `reach`.
pub(super) fn close(mask: &mut [bool], grid: Grid, reach: u16, scratch: &mut [u16]) {
    spread(mask, true, grid, reach, scratch);
    spread(mask, false, grid, reach, scratch);
}

/// Removes what is thinner than twice `reach`.
pub(super) fn open(mask: &mut [bool], grid: Grid, reach: u16, scratch: &mut [u16]) {
    spread(mask, false, grid, reach, scratch);
    spread(mask, true, grid, reach, scratch);
}

fn spread(mask: &mut [bool], value: bool, grid: Grid, reach: u16, scratch: &mut [u16]) {
    distances(mask, !value, grid, Sides::Open, scratch);
    for (cell, distance) in mask.iter_mut().zip(scratch.iter()) {
        *cell = (*distance <= reach) == value;
    }
}

/// Sets what is enclosed. Holes at the edge of the frame are not.
pub(super) fn fill_holes(
    mask: &mut [bool],
    grid: Grid,
    outside: &mut [bool],
    stack: &mut Vec<u32>,
) {
    outside.fill(false);
    stack.clear();
    let (lanes, length) = (grid.lanes, grid.length);
    let mut reach = |mask: &[bool], index: usize, stack: &mut Vec<u32>| {
        if !mask[index] && !outside[index] {
            outside[index] = true;
            stack.push(index as u32);
        }
    };
    for x in 0..length {
        reach(mask, x, stack);
        reach(mask, (lanes - 1) * length + x, stack);
    }
    for lane in 0..lanes {
        reach(mask, lane * length, stack);
        reach(mask, (lane + 1) * length - 1, stack);
    }
    while let Some(index) = stack.pop() {
        neighbours(grid, index as usize, |n| reach(mask, n, stack));
    }
    for (cell, outside) in mask.iter_mut().zip(outside.iter()) {
        *cell = !outside;
    }
}

/// Calls `visit` with the cells that share a side with `index`.
pub(super) fn neighbours(grid: Grid, index: usize, mut visit: impl FnMut(usize)) {
    let x = index % grid.length;
    if x > 0 {
        visit(index - 1);
    }
    if x + 1 < grid.length {
        visit(index + 1);
    }
    if index >= grid.length {
        visit(index - grid.length);
    }
    if index + grid.length < grid.cells() {
        visit(index + grid.length);
    }
}
