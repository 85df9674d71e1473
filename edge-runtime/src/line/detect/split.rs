//! Regions cut where they are narrow: items that touch.
//!
//! The distance to the region's edge has a peak in the middle of every item. Flooding from the peaks
//! down (Vincent and Soille, "Watersheds in digital spaces", 1991), two peaks meet at the neck
//! between them; where the neck is hardly narrower than the smaller item both are one item, and
//! otherwise the region is cut there.

use super::grid::{CellBox, Grid};
use super::shape::{STEP, neighbours};

/// Where to cut.
#[derive(Debug, Clone, Copy)]
pub(super) struct Cuts {
    /// A neck narrower than this share of the smaller of two parts is cut. Half way from there to 1
    /// it is not, and the region may be two items.
    pub(super) neck_share: f32,
    /// Parts that do not hold a disc of this radius, a chamfer distance, are not cut off.
    pub(super) min_radius: u16,
}

/// One part of a region.
#[derive(Debug, Clone, Copy)]
pub(super) struct Part {
    pub(super) area: CellBox,
    pub(super) cells: u32,
    /// There may be two items in it.
    pub(super) doubtful: bool,
    /// The part that this one has become one with; itself if none.
    parent: u32,
    /// Distance to the edge at the peak, and at the widest neck to another part.
    peak: u16,
    neck: u16,
}

/// Cuts a mask into parts.
#[derive(Default)]
pub(super) struct Splitter {
    /// Per cell, 1 + the index of its part; 0 where there is none.
    labels: Vec<u32>,
    parts: Vec<Part>,
    order: Vec<u32>,
    starts: Vec<u32>,
    queue: Vec<u32>,
}

impl Splitter {
    pub(super) fn new(grid: Grid) -> Self {
        Self {
            labels: vec![0; grid.cells()],
            order: Vec::with_capacity(grid.cells()),
            queue: Vec::with_capacity(grid.cells()),
            ..Self::default()
        }
    }

    /// The index of the part that a cell belongs to.
    pub(super) fn part_of(&self, cell: usize) -> Option<usize> {
        self.labels[cell].checked_sub(1).map(|part| part as usize)
    }

    /// Cuts the cells with a distance above 0. Yields the indices and facts of the parts.
    pub(super) fn split(
        &mut self,
        distances: &[u16],
        grid: Grid,
        cuts: Cuts,
    ) -> impl Iterator<Item = (usize, Part)> + '_ {
        self.sort(distances);
        self.labels.fill(0);
        self.parts.clear();
        for at in 0..self.order.len() {
            let cell = self.order[at] as usize;
            self.flood(cell, distances[cell], grid, cuts);
        }
        self.keep_cores(distances);
        self.grow_cores(distances, grid);
        self.measure(grid);
        let whole = |(index, part): &(usize, Part)| part.parent as usize == *index;
        self.parts.iter().copied().enumerate().filter(whole)
    }

    /// Cells by falling distance, in a stable order.
    fn sort(&mut self, distances: &[u16]) {
        let most = distances.iter().copied().max().unwrap_or(0) as usize;
        self.starts.clear();
        self.starts.resize(most + 2, 0);
        for distance in distances.iter().filter(|d| **d > 0) {
            self.starts[most - *distance as usize + 1] += 1;
        }
        for i in 1..self.starts.len() {
            self.starts[i] += self.starts[i - 1];
        }
        self.order.clear();
        self.order.resize(self.starts[most] as usize, 0);
        for (cell, distance) in distances.iter().enumerate().filter(|(_, d)| **d > 0) {
            let slot = &mut self.starts[most - *distance as usize];
            self.order[*slot as usize] = cell as u32;
            *slot += 1;
        }
    }

    fn root(&self, mut part: u32) -> u32 {
        while self.parts[part as usize].parent != part {
            part = self.parts[part as usize].parent;
        }
        part
    }

    /// Gives a cell to the highest part that it touches, and decides about those that meet in it.
    fn flood(&mut self, cell: usize, distance: u16, grid: Grid, cuts: Cuts) {
        let mut touching = [0u32; 8];
        let mut count = 0;
        around(grid, cell, |neighbour| {
            if let Some(label) = self.labels[neighbour].checked_sub(1) {
                let root = self.root(label);
                if !touching[..count].contains(&root) {
                    touching[count] = root;
                    count += 1;
                }
            }
        });
        let touching = &touching[..count];
        let peak = |part: &u32| self.parts[*part as usize].peak;
        let highest = touching.iter().copied().reduce(|best, part| {
            if peak(&part) > peak(&best) {
                part
            } else {
                best
            }
        });
        let Some(highest) = highest else {
            let index = self.parts.len() as u32;
            self.parts.push(Part {
                area: CellBox::cell(cell / grid.length, cell % grid.length),
                cells: 0,
                doubtful: false,
                parent: index,
                peak: distance,
                neck: 0,
            });
            self.labels[cell] = index + 1;
            return;
        };
        self.labels[cell] = highest + 1;
        for &other in touching.iter().filter(|part| **part != highest) {
            self.meet(highest as usize, other as usize, distance, cuts);
        }
    }

    fn meet(&mut self, high: usize, low: usize, neck: u16, cuts: Cuts) {
        let peak = self.parts[low].peak;
        let share = f32::from(neck) / f32::from(peak.max(1));
        let large = peak >= cuts.min_radius;
        if large && share < cuts.neck_share {
            for part in [high, low] {
                self.parts[part].neck = self.parts[part].neck.max(neck);
            }
            return;
        }
        let doubtful = self.parts[low].doubtful || large && share < (1.0 + cuts.neck_share) / 2.0;
        self.parts[high].doubtful |= doubtful;
        self.parts[high].neck = self.parts[high].neck.max(self.parts[low].neck);
        self.parts[low].parent = high as u32;
    }

    /// Leaves each part the cells that no neck reaches.
    fn keep_cores(&mut self, distances: &[u16]) {
        self.queue.clear();
        for at in 0..self.order.len() {
            let cell = self.order[at] as usize;
            let Some(label) = self.labels[cell].checked_sub(1) else {
                continue;
            };
            let root = self.root(label);
            let core = distances[cell] > self.parts[root as usize].neck;
            self.labels[cell] = if core { root + 1 } else { 0 };
            if core {
                self.queue.push(cell as u32);
            }
        }
    }

    /// Lets the cores grow into the rest at the same pace.
    fn grow_cores(&mut self, distances: &[u16], grid: Grid) {
        let mut at = 0;
        while at < self.queue.len() {
            let cell = self.queue[at] as usize;
            at += 1;
            neighbours(grid, cell, |neighbour| {
                if distances[neighbour] > 0 && self.labels[neighbour] == 0 {
                    self.labels[neighbour] = self.labels[cell];
                    self.queue.push(neighbour as u32);
                }
            });
        }
    }

    fn measure(&mut self, grid: Grid) {
        for &cell in &self.order {
            let (lane, along) = (cell as usize / grid.length, cell as usize % grid.length);
            if let Some(label) = self.labels[cell as usize].checked_sub(1) {
                let part = &mut self.parts[label as usize];
                part.area.include(&CellBox::cell(lane, along));
                part.cells += 1;
            }
        }
    }
}

/// The radius in chamfer distance of a disc of so many cells.
pub(super) fn disc_radius(cells: f64) -> u16 {
    (f64::from(STEP) * (cells / std::f64::consts::PI).sqrt()).round() as u16
}

/// Calls `visit` with the cells that share a side or a corner with `index`.
fn around(grid: Grid, index: usize, mut visit: impl FnMut(usize)) {
    let (lane, x) = (index / grid.length, index % grid.length);
    for row in lane.saturating_sub(1)..(lane + 2).min(grid.lanes) {
        for column in x.saturating_sub(1)..(x + 2).min(grid.length) {
            if (row, column) != (lane, x) {
                visit(row * grid.length + column);
            }
        }
    }
}
