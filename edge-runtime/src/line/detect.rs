//! Finds items on the belt: what does not look like the empty belt, in connected regions, cut where
//! items touch.
//!
//! The frame is reduced to cells ([`grid`]) and compared with the learned belt ([`belt`]) after the
//! light of the whole scene has been taken out. A cell is not belt when it is brighter than the
//! belt's dirt makes it, of another colour, or darker than a shadow. Gaps and holes are closed and
//! specks removed ([`shape`]), and the regions are cut at their necks ([`split`]).

mod belt;
mod grid;
mod shape;
mod split;

use super::geometry::{Geometry, PixelBox};
use belt::{Belt, sum};
use boards::{Direction, Profile};
use grid::{CellBox, Colour, Grid};
use models::RgbView;
use serde::{Deserialize, Serialize};
use shape::STEP;
use split::{Cuts, Part, Splitter, disc_radius};
use std::ops::Add;

/// One region that is not belt.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Detection {
    pub(crate) area: PixelBox,
    /// Pixels of the frame inside the region itself.
    pub(crate) pixels: u32,
    /// There may be two items in it, with too slight a neck between them to cut there.
    pub(crate) crowded: bool,
}

/// What counts as an item.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct DetectorConfig {
    /// Millimetres per pixel of the frame, the mean of both ways.
    pub(crate) mm_per_px: f64,
    /// Where the belt runs to.
    pub(crate) direction: Direction,
    /// The belt in the frame; the whole frame where there is none. Nothing is found outside.
    pub(crate) belt: Option<PixelBox>,
    /// Regions smaller than this are dirt.
    pub(crate) min_area_mm2: f64,
    /// Gaps up to this are closed.
    pub(crate) close_mm: f64,
    /// What is thinner than this is dirt, and at least what is thinner than two cells.
    pub(crate) open_mm: f64,
    /// How much brighter than the belt is not belt, in standard deviations of the belt's dirt.
    pub(crate) deviations: f32,
    /// The share of its light that a shadow takes from the belt at the most. What is darker is an
    /// item. In hard light, with shadows near black, dark items cannot be told from shadows.
    pub(crate) shadow_share: f32,
    /// A region is cut in two at a neck narrower than this share of the smaller part.
    pub(crate) neck_share: f32,
}

impl DetectorConfig {
    pub(crate) fn new(mm_per_px: [f64; 2], direction: Direction) -> Self {
        Self {
            mm_per_px: (mm_per_px[0] + mm_per_px[1]) / 2.0,
            direction,
            belt: None,
            min_area_mm2: 250.0,
            close_mm: 6.0,
            open_mm: 4.0,
            deviations: 3.0,
            shadow_share: 0.36,
            neck_share: 0.75,
        }
    }

    /// What the board says, and defaults for the rest.
    pub(crate) fn of_board(board: &Profile) -> Self {
        let default = Self::new(Geometry::new(board).mm_per_px(), board.belt().direction);
        let own = board.detection();
        Self {
            belt: own
                .belt_px
                .map(|[x0, y0, x1, y1]| PixelBox { x0, y0, x1, y1 }),
            min_area_mm2: own.min_area_mm2.unwrap_or(default.min_area_mm2),
            shadow_share: own.shadow_share.map_or(default.shadow_share, |v| v as f32),
            neck_share: own.neck_share.map_or(default.neck_share, |v| v as f32),
            ..default
        }
    }
}

/// Frames that are learned from before the first detection.
const LEARNING_FRAMES: u32 = 8;
/// A colour is another than the belt's when a channel is off by so many levels.
const COLOUR_LEVELS: f32 = 9.0;

/// The belt as learned so far, and what it needs to look at a frame without allocating.
pub(crate) struct Detector {
    config: DetectorConfig,
    state: Option<State>,
}

impl Detector {
    pub(crate) fn new(config: DetectorConfig) -> Self {
        Self {
            config,
            state: None,
        }
    }

    /// Looks at a frame and learns from it. Nothing is found in the first frames: the belt has to
    /// show between the items by then. A frame of another size starts the learning again.
    pub(crate) fn detect(&mut self, frame: &RgbView<'_>, found: &mut Vec<Detection>) {
        found.clear();
        let dimensions = (frame.width(), frame.height());
        let state = match &mut self.state {
            Some(state) if state.grid.frame() == dimensions => state,
            state => state.insert(State::new(&self.config, dimensions)),
        };
        state.look(&self.config, frame, found);
    }

    /// The index of the last frame's detection that the pixel belongs to.
    pub(crate) fn at_pixel(&self, x_px: u32, y_px: u32) -> Option<usize> {
        let state = self.state.as_ref()?;
        let cell = state.grid.at_pixel(x_px, y_px)?;
        let part = state.splitter.part_of(cell)?;
        state.kept.iter().position(|kept| *kept == part)
    }
}

/// How far a cell is off the belt, in levels.
#[derive(Debug, Clone, Copy, Default)]
struct Off {
    /// Below 0 where it is darker.
    brighter: f32,
    /// The channel that is off most, apart from the brightness.
    colour: f32,
}

impl Add for Off {
    type Output = Self;

    fn add(self, other: Self) -> Self {
        Self {
            brighter: self.brighter + other.brighter,
            colour: self.colour + other.colour,
        }
    }
}

/// What is kept for frames of one size.
struct State {
    grid: Grid,
    area: CellBox,
    frames: u32,
    belt: Belt,
    splitter: Splitter,
    /// Pixel sums of a row of cells.
    sums: Vec<u32>,
    cells: Vec<Colour>,
    off: Vec<Off>,
    smooth: Vec<Off>,
    sums_of_three: Vec<Off>,
    mask: Vec<bool>,
    scratch: Vec<bool>,
    distances: Vec<u16>,
    stack: Vec<u32>,
    /// The parts that are detections, in their order.
    kept: Vec<usize>,
}

impl State {
    fn new(config: &DetectorConfig, dimensions: (u32, u32)) -> Self {
        let grid = Grid::new(dimensions, config.direction.is_horizontal());
        let (width, height) = dimensions;
        let frame = PixelBox {
            x0: 0,
            y0: 0,
            x1: width,
            y1: height,
        };
        let count = grid.cells();
        Self {
            grid,
            area: grid.inside(config.belt.unwrap_or(frame)),
            frames: 0,
            belt: Belt::new(grid),
            splitter: Splitter::new(grid),
            sums: vec![0; width as usize * 3],
            cells: vec![[0.0; 3]; count],
            off: vec![Off::default(); count],
            smooth: vec![Off::default(); count],
            sums_of_three: vec![Off::default(); count],
            mask: vec![false; count],
            scratch: vec![false; count],
            distances: vec![0; count],
            stack: Vec::with_capacity(count),
            kept: Vec::new(),
        }
    }

    fn look(&mut self, config: &DetectorConfig, frame: &RgbView<'_>, found: &mut Vec<Detection>) {
        self.grid.reduce(frame, &mut self.sums, &mut self.cells);
        self.frames = self.frames.saturating_add(1);
        self.kept.clear();
        let light = self.belt.light(&self.cells, self.grid, self.area);
        if self.frames > LEARNING_FRAMES {
            self.compare(light);
            self.threshold(config, light);
            self.tidy(config);
            self.collect(config, found);
        }
        let all = self.frames == 1 || self.frames == LEARNING_FRAMES;
        self.belt.learn(&self.cells, self.grid, light, all);
    }

    fn compare(&mut self, light: f32) {
        let pairs = self.cells.iter().zip(&self.belt.mean);
        for ((now, mean), off) in pairs.zip(&mut self.off) {
            let (now_sum, mean_sum) = (sum(now), sum(mean));
            let ratio = now_sum / mean_sum.max(1.0);
            let colour: Colour = std::array::from_fn(|c| (now[c] - mean[c] * ratio).abs());
            *off = Off {
                brighter: (now_sum - mean_sum * light) / 3.0,
                colour: colour[0].max(colour[1]).max(colour[2]),
            };
        }
        smooth(
            &self.off,
            self.grid,
            &mut self.sums_of_three,
            &mut self.smooth,
        );
    }

    /// Decides by the mean around a cell, which dirt hardly moves, and by half by the cell itself, so
    /// that items do not grow by their surroundings.
    fn threshold(&mut self, config: &DetectorConfig, light: f32) {
        self.mask.fill(false);
        let [from, to] = self.area.along.map(|a| a as usize);
        for lane in self.area.lanes[0] as usize..self.area.lanes[1] as usize {
            let bright = config.deviations * self.belt.deviation[lane];
            for cell in lane * self.grid.length + from..lane * self.grid.length + to {
                let level = sum(&self.belt.mean[cell]) / 3.0 * light;
                let dark = bright.max(config.shadow_share * level);
                let is_off = |off: Off, share: f32| {
                    off.brighter > bright * share
                        || off.colour > COLOUR_LEVELS * share
                        || -off.brighter > dark * share
                };
                self.mask[cell] = is_off(self.smooth[cell], 1.0) && is_off(self.off[cell], 0.5);
            }
        }
    }

    /// Closes gaps and holes, removes specks, and measures the distance to the edge of what is left.
    fn tidy(&mut self, config: &DetectorConfig) {
        let cell_mm = config.mm_per_px * self.grid.factor as f64;
        let reach = |mm: f64| ((f64::from(STEP) * mm / 2.0 / cell_mm).round() as u16).max(STEP);
        let (mask, scratch) = (&mut self.mask, &mut self.scratch);
        shape::close(mask, self.grid, reach(config.close_mm), scratch);
        shape::fill_holes(mask, self.grid, scratch, &mut self.stack);
        shape::open(mask, self.grid, reach(config.open_mm), scratch);
        shape::distances(mask, self.grid, &mut self.distances);
    }

    /// The parts of the mask, in the order in which a reader would meet them.
    fn collect(&mut self, config: &DetectorConfig, found: &mut Vec<Detection>) {
        let cell_mm = config.mm_per_px * self.grid.factor as f64;
        let min_cells = (config.min_area_mm2 / (cell_mm * cell_mm)).max(1.0);
        let (grid, cuts) = (
            self.grid,
            Cuts {
                neck_share: config.neck_share,
                min_radius: disc_radius(min_cells),
            },
        );
        let parts = self.splitter.split(&self.distances, grid, cuts);
        for (index, part) in parts.filter(|(_, part)| f64::from(part.cells) >= min_cells) {
            let detection = to_detection(&part, grid);
            let place = |d: &Detection| (d.area.y0, d.area.x0);
            let at = found.partition_point(|d| place(d) <= place(&detection));
            found.insert(at, detection);
            self.kept.insert(at, index);
        }
    }
}

fn to_detection(part: &Part, grid: Grid) -> Detection {
    Detection {
        area: grid.to_pixels(part.area),
        pixels: part.cells * (grid.factor * grid.factor) as u32,
        crowded: part.doubtful,
    }
}

/// The mean of the 3 by 3 neighbourhood of each cell; edges are repeated.
fn smooth(values: &[Off], grid: Grid, threes: &mut [Off], out: &mut [Off]) {
    let length = grid.length;
    let rows = values
        .chunks_exact(length)
        .zip(threes.chunks_exact_mut(length));
    for (row, out) in rows {
        let last = length - 1;
        out[0] = row[0] + row[0] + row[1.min(last)];
        for (three, out) in row.windows(3).zip(&mut out[1..]) {
            *out = three[0] + three[1] + three[2];
        }
        out[last] = row[last.saturating_sub(1)] + row[last] + row[last];
    }
    for (lane, row) in out.chunks_exact_mut(length).enumerate() {
        let above = &threes[lane.saturating_sub(1) * length..][..length];
        let here = &threes[lane * length..][..length];
        let below = &threes[(lane + 1).min(grid.lanes - 1) * length..][..length];
        for (((out, a), b), c) in row.iter_mut().zip(above).zip(here).zip(below) {
            let sum = *a + *b + *c;
            *out = Off {
                brighter: sum.brighter / 9.0,
                colour: sum.colour / 9.0,
            };
        }
    }
}

#[cfg(test)]
mod tests;
