//! What the empty belt looks like, learned while items pass over it.
//!
//! A few dozen earlier frames are kept. In every cell the belt is the colour that most of them agree
//! on near the lane's own colour: items differ from each other, the belt does not. Only frames in
//! which something has moved are kept, so that a belt at rest teaches nothing. All levels are those
//! of one light; the light of a frame is the most common ratio of its cells to the learned belt.

use super::grid::{CellBox, Colour, Grid};

/// Frames that are remembered.
const SAMPLES: usize = 48;
/// A frame is kept when this many have passed since the last; at the start of the learning, sooner.
const MOST_FRAMES_BETWEEN: u64 = 100;
/// A cell has changed when its level has by this much.
const CHANGE: u8 = 4;
/// One cell in so many has to have changed for a frame to be worth keeping.
const CHANGED_ONE_IN: usize = 500;
/// Levels around the lane's, in every channel, within which a sample shows the belt.
const BELT_LEVELS: u8 = 24;
/// One sample in so many has to show the belt for it to be believed.
const SUPPORT_ONE_IN: usize = 16;
/// Every lane is relearned in the time between two kept frames, and at least this many.
const REFRESH_FRAMES: usize = 32;
/// Lights further from the learned one than this are not followed.
const LIGHTS: [f32; 2] = [0.5, 2.0];
/// Least deviation of a lane in levels, for belts without texture.
const MIN_DEVIATION: f32 = 2.5;

/// The belt as learned so far.
#[derive(Default)]
pub(super) struct Belt {
    /// Colours of kept frames, one frame after the other, and their levels.
    colours: Vec<[u8; 3]>,
    levels: Vec<u8>,
    kept: usize,
    next: usize,
    frames: u64,
    last_kept: u64,
    next_lane: usize,
    /// Per cell.
    pub(super) mean: Vec<Colour>,
    /// Per lane: how much the belt's level varies, dirt included.
    pub(super) deviation: Vec<f32>,
    ratios: Vec<f32>,
}

/// The level of a colour: its mean.
fn level(colour: [u8; 3]) -> u8 {
    let sum: u16 = colour.iter().map(|c| u16::from(*c)).sum();
    (sum / 3) as u8
}

pub(super) fn sum(colour: &Colour) -> f32 {
    colour[0] + colour[1] + colour[2]
}

impl Belt {
    pub(super) fn new(grid: Grid) -> Self {
        Self {
            colours: vec![[0; 3]; grid.cells() * SAMPLES],
            levels: vec![0; grid.cells() * SAMPLES],
            mean: vec![[0.0; 3]; grid.cells()],
            deviation: vec![MIN_DEVIATION; grid.lanes],
            ratios: Vec::with_capacity(grid.cells()),
            ..Self::default()
        }
    }

    /// How much brighter the frame is than what was learned, from the cells of `area`.
    pub(super) fn light(&mut self, cells: &[Colour], grid: Grid, area: CellBox) -> f32 {
        if self.kept == 0 {
            return 1.0;
        }
        self.ratios.clear();
        let [from, to] = area.along.map(|a| a as usize);
        for lane in area.lanes[0] as usize..area.lanes[1] as usize {
            let row = lane * grid.length;
            let pairs = cells[row + from..row + to]
                .iter()
                .zip(&self.mean[row + from..row + to]);
            // Every eleventh cell, in another place in each lane.
            for (now, mean) in pairs.skip(lane * 7 % 11).step_by(11) {
                self.ratios.push(sum(now) / sum(mean).max(1.0));
            }
        }
        self.ratios.sort_unstable_by(f32::total_cmp);
        let share = (self.ratios.len() / 3).max(1);
        let middle = narrowest(&self.ratios, share).map_or(1.0, |at| self.ratios[at + share / 2]);
        middle.clamp(LIGHTS[0], LIGHTS[1])
    }

    /// Learns from a frame under `light`. `all` relearns every lane at once.
    pub(super) fn learn(&mut self, cells: &[Colour], grid: Grid, light: f32, all: bool) {
        self.frames += 1;
        let due = (self.frames / SAMPLES as u64).min(MOST_FRAMES_BETWEEN);
        if self.kept == 0 || self.frames - self.last_kept >= due && self.has_changed(cells, light) {
            self.keep(cells, light);
        }
        let lanes = if all {
            grid.lanes
        } else {
            grid.lanes.div_ceil(REFRESH_FRAMES.max(due as usize))
        };
        for _ in 0..lanes {
            self.refresh(self.next_lane % grid.lanes, grid);
            self.next_lane = (self.next_lane + 1) % grid.lanes;
        }
    }

    fn has_changed(&self, cells: &[Colour], light: f32) -> bool {
        let last = (self.next + SAMPLES - 1) % SAMPLES;
        let levels = &self.levels[last * cells.len()..][..cells.len()];
        let changed = |(now, level): (&Colour, &u8)| {
            (sum(now) / (3.0 * light) - f32::from(*level)).abs() > f32::from(CHANGE)
        };
        let count = cells
            .iter()
            .zip(levels)
            .filter(|pair| changed(*pair))
            .count();
        count * CHANGED_ONE_IN > cells.len()
    }

    fn keep(&mut self, cells: &[Colour], light: f32) {
        let start = self.next * cells.len();
        let colours = &mut self.colours[start..start + cells.len()];
        let levels = &mut self.levels[start..start + cells.len()];
        let scale = 1.0 / light;
        for ((colour, kept), kept_level) in cells.iter().zip(colours).zip(levels) {
            *kept = colour.map(|c| (c * scale + 0.5) as u8);
            *kept_level = level(*kept);
        }
        self.kept = (self.kept + 1).min(SAMPLES);
        self.next = (self.next + 1) % SAMPLES;
        self.last_kept = self.frames;
    }

    fn refresh(&mut self, lane: usize, grid: Grid) {
        let (cells, start) = (grid.cells(), lane * grid.length);
        let lane_colour = self.lane_colour(start, grid);
        let rows = (0..self.kept).map(|s| s * cells + start);
        let (mut squares, mut count) = (0u64, 0u32);
        for x in 0..grid.length {
            let samples = rows.clone().map(|row| row + x);
            let mean = self
                .agreed(lane_colour, samples.clone())
                .or_else(|| self.most_common(samples.clone()))
                .unwrap_or(lane_colour);
            let middle = (sum(&mean) / 3.0 + 0.5) as u8;
            for index in samples {
                let off = self.levels[index].abs_diff(middle);
                if off <= BELT_LEVELS {
                    squares += u64::from(off) * u64::from(off);
                    count += 1;
                }
            }
            self.mean[start + x] = mean;
        }
        self.deviation[lane] = (squares as f32 / count.max(1) as f32)
            .sqrt()
            .max(MIN_DEVIATION);
    }

    /// The most common level of each channel of a lane.
    fn lane_colour(&self, start: usize, grid: Grid) -> Colour {
        let mut counts = [[0u32; 256]; 3];
        for sample in 0..self.kept {
            let row = sample * grid.cells() + start;
            for colour in &self.colours[row..row + grid.length] {
                for (counts, value) in counts.iter_mut().zip(colour) {
                    // At most samples times length: wrapping is never seen, only faster.
                    let count = &mut counts[usize::from(*value)];
                    *count = count.wrapping_add(1);
                }
            }
        }
        let share = ((self.kept * grid.length) as u32 / 4).max(1);
        counts.map(|counts| most_common_level(&counts, share))
    }

    /// The mean of the samples that agree with each other near the lane's colour.
    fn agreed(&self, lane: Colour, samples: impl Iterator<Item = usize> + Clone) -> Option<Colour> {
        let mut middle = lane;
        for _ in 0..2 {
            let near = middle.map(|c| (c + 0.5) as u8);
            let (mut total, mut count) = ([0u32; 3], 0u32);
            for index in samples.clone() {
                let colour = self.colours[index];
                let off = |c: usize| colour[c].abs_diff(near[c]);
                if off(0).max(off(1)).max(off(2)) <= BELT_LEVELS {
                    for (total, value) in total.iter_mut().zip(colour) {
                        // At most samples times 255: wrapping is never seen, only faster.
                        *total = total.wrapping_add(u32::from(value));
                    }
                    count += 1;
                }
            }
            if count == 0 || count as usize * SUPPORT_ONE_IN < self.kept {
                return None;
            }
            middle = total.map(|t| t as f32 / count as f32);
        }
        Some(middle)
    }

    /// The mean of the quarter of the samples that lie closest together, once there are enough.
    fn most_common(&self, samples: impl Iterator<Item = usize> + Clone) -> Option<Colour> {
        // Until then a cell that never showed its lane's colour is taken to be covered.
        if self.kept < SAMPLES {
            return None;
        }
        let mut sorted = [0u8; SAMPLES];
        for (slot, index) in sorted.iter_mut().zip(samples.clone()) {
            *slot = self.levels[index];
        }
        let sorted = &mut sorted[..self.kept];
        sorted.sort_unstable();
        let share = self.kept / 4;
        let levels: [f32; SAMPLES] = std::array::from_fn(|i| {
            sorted
                .get(i)
                .map_or(f32::INFINITY, |level| f32::from(*level))
        });
        let at = narrowest(&levels[..self.kept], share)?;
        let range = sorted[at]..=sorted[at + share - 1];
        let (mut total, mut count) = ([0.0; 3], 0.0);
        for index in samples.filter(|i| range.contains(&self.levels[*i])) {
            for (total, value) in total.iter_mut().zip(self.colours[index]) {
                *total += f32::from(value);
            }
            count += 1.0;
        }
        (count > 0.0).then(|| total.map(|t| t / count))
    }
}

/// The middle of the narrowest range of levels that holds `share` of what was counted.
fn most_common_level(counts: &[u32; 256], share: u32) -> f32 {
    let (mut best, mut low, mut within) = ((usize::MAX, 0), 0, 0);
    for high in 0..counts.len() {
        within += counts[high];
        while low < high && within - counts[low] >= share {
            within -= counts[low];
            low += 1;
        }
        if within >= share {
            best = best.min((high - low, low + high));
        }
    }
    best.1 as f32 / 2.0
}

/// Where the narrowest range of `share` values begins. `None` where there are fewer.
fn narrowest(sorted: &[f32], share: usize) -> Option<usize> {
    let width = |at: usize| sorted[at + share - 1] - sorted[at];
    let starts = (sorted.len() + 1).checked_sub(share.max(1))?;
    (0..starts).min_by(|a, b| width(*a).total_cmp(&width(*b)))
}
