//! Shapes on the grid: distances, growing and shrinking, holes.
//!
//! Distances are chamfer distances (Borgefors, "Distance transformations in digital images", 1986):
//! 3 for a step along an axis, 4 for a diagonal one, within 6% of three times the Euclidean.

use super::grid::Grid;

/// The distance of two cells side by side.
pub(super) const STEP: u16 = 3;
const DIAGONAL: u16 = 4;
const FAR: u16 = u16::MAX - DIAGONAL;

/// The distance of every set cell to the nearest that is not, and 0 for the others. Beyond the first
/// and the last lane nothing is set. Beyond the lanes' ends the belt goes on, so that they are never
/// the nearest.
pub(super) fn distances(mask: &[bool], grid: Grid, out: &mut [u16]) {
    let (length, last) = (grid.length, grid.lanes.saturating_sub(1));
    for lane in 0..grid.lanes {
        let (done, rest) = out.split_at_mut(lane * length);
        let above = lane.checked_sub(1).map(|l| &done[l * length..]);
        let most = if lane == 0 || lane == last { STEP } else { FAR };
        for (x, set) in mask[lane * length..][..length].iter().enumerate() {
            let mut nearest = 0;
            if *set {
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

/// Closes gaps up to twice `reach`, a chamfer distance.
pub(super) fn close(mask: &mut [bool], grid: Grid, reach: u16, scratch: &mut [bool]) {
    spread(mask, grid, reach, scratch, |cell, other| *cell |= other);
    spread(mask, grid, reach, scratch, |cell, other| *cell &= other);
}

/// Removes what is thinner than twice `reach`, a chamfer distance.
pub(super) fn open(mask: &mut [bool], grid: Grid, reach: u16, scratch: &mut [bool]) {
    spread(mask, grid, reach, scratch, |cell, other| *cell &= other);
    spread(mask, grid, reach, scratch, |cell, other| *cell |= other);
}

/// Merges into every cell all others within `reach`.
fn spread(
    mask: &mut [bool],
    grid: Grid,
    reach: u16,
    scratch: &mut [bool],
    merge: impl Fn(&mut bool, bool),
) {
    scratch.copy_from_slice(mask);
    let rows = usize::from(reach / STEP);
    for (lane, out) in mask.chunks_exact_mut(grid.length).enumerate() {
        for row in lane.saturating_sub(rows)..(lane + rows + 1).min(grid.lanes) {
            let from = &scratch[row * grid.length..][..grid.length];
            let columns = columns_within(reach, row.abs_diff(lane) as u16).min(grid.length - 1);
            for shift in 0..=columns {
                let (left, right) = (grid.length - shift, shift);
                out[right..]
                    .iter_mut()
                    .zip(from)
                    .for_each(|(o, f)| merge(o, *f));
                let shifted = &from[right..];
                out[..left]
                    .iter_mut()
                    .zip(shifted)
                    .for_each(|(o, f)| merge(o, *f));
            }
        }
    }
}

/// The most columns off that a cell so many rows off is within `reach`, if 0 columns off is.
fn columns_within(reach: u16, rows: u16) -> usize {
    let chamfer = |columns: u16| DIAGONAL * rows.min(columns) + STEP * rows.abs_diff(columns);
    (0..=reach)
        .take_while(|c| chamfer(*c) <= reach)
        .count()
        .saturating_sub(1)
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
