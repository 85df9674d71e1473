//! Finds items on the belt: what does not look like the empty belt, in connected regions.
//!
//! The belt is learned: for every pixel of a reduced frame a running mean and deviation of its
//! colour, which follow slow changes (light, dirt that stays) and are hardly moved by what passes.
//! A frame is compared with it after the light of the whole scene has been taken out. Being darker
//! counts less than being brighter or of another colour, so that shadows are not items.

use super::geometry::PixelBox;
use models::RgbView;
use serde::{Deserialize, Serialize};

/// One region that is not belt.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Detection {
    pub(crate) area: PixelBox,
    /// Pixels of the frame inside the region itself.
    pub(crate) pixels: u32,
}

/// What counts as an item.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct DetectorConfig {
    /// Millimetres per pixel of the frame, the mean of both ways.
    pub(crate) mm_per_px: f64,
    /// Regions smaller than this are dirt.
    pub(crate) min_area_mm2: f64,
    /// Gaps up to this are closed.
    pub(crate) close_mm: f64,
    /// Deviations from the belt's mean beyond which a pixel is not belt.
    pub(crate) deviations: f32,
}

impl DetectorConfig {
    pub(crate) fn new(mm_per_px: [f64; 2]) -> Self {
        Self {
            mm_per_px: (mm_per_px[0] + mm_per_px[1]) / 2.0,
            min_area_mm2: 250.0,
            close_mm: 6.0,
            deviations: 4.0,
        }
    }
}

/// The belt as learned so far, and what it needs to look at a frame without allocating.
pub(crate) struct Detector {
    config: DetectorConfig,
    size: Option<Reduced>,
    frames: u32,
    mean: Vec<Colour>,
    variance: Vec<Colour>,
    small: Vec<Colour>,
    mask: Vec<bool>,
    scratch: Vec<bool>,
    lights: Vec<f32>,
    stack: Vec<u32>,
}

type Colour = [f32; 3];

/// The frame reduced by an integer factor.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Reduced {
    factor: usize,
    width: usize,
    height: usize,
    frame: (u32, u32),
}

/// Wanted width of the reduced frame.
const REDUCED_WIDTH: u32 = 240;
/// Frames of empty belt learned before the first detection.
const LEARNING_FRAMES: u32 = 8;
/// How slowly the belt is relearned, in frames; and where something lies on it.
const MEMORY_FRAMES: f32 = 150.0;
const MEMORY_FRAMES_COVERED: f32 = 1500.0;
/// Least deviation of a pixel, for belts without texture.
const MIN_DEVIATION: f32 = 2.5;
/// A shadow darkens by up to this share and hardly changes the colour.
const SHADOW_SHARE: f32 = 0.36;
const SHADOW_COLOUR: f32 = 7.0;

impl Detector {
    pub(crate) fn new(config: DetectorConfig) -> Self {
        Self {
            config,
            size: None,
            frames: 0,
            mean: Vec::new(),
            variance: Vec::new(),
            small: Vec::new(),
            mask: Vec::new(),
            scratch: Vec::new(),
            lights: Vec::new(),
            stack: Vec::new(),
        }
    }

    /// Looks at a frame and learns from it. Nothing is found in the first frames, which should show
    /// the empty belt. A frame of another size starts the learning again.
    pub(crate) fn detect(&mut self, frame: &RgbView<'_>, found: &mut Vec<Detection>) {
        found.clear();
        let size = self.resize(frame);
        reduce(frame, size, &mut self.small);
        self.frames = self.frames.saturating_add(1);
        if self.frames <= LEARNING_FRAMES {
            let rate = 1.0 / self.frames as f32;
            self.mask.fill(false);
            self.learn(1.0, rate, rate);
            return;
        }
        let light = self.light();
        self.compare(light);
        self.tidy(size);
        self.collect(size, found);
        let rate = 1.0 / (self.frames as f32).min(MEMORY_FRAMES);
        self.learn(light, rate, 1.0 / MEMORY_FRAMES_COVERED);
    }

    fn resize(&mut self, frame: &RgbView<'_>) -> Reduced {
        let dimensions = (frame.width(), frame.height());
        if let Some(size) = self.size
            && size.frame == dimensions
        {
            return size;
        }
        let factor = ((frame.width() + REDUCED_WIDTH / 2) / REDUCED_WIDTH).max(1) as usize;
        let size = Reduced {
            factor,
            width: frame.width() as usize / factor,
            height: frame.height() as usize / factor,
            frame: dimensions,
        };
        let count = size.width * size.height;
        self.size = Some(size);
        self.frames = 0;
        self.mean = vec![[0.0; 3]; count];
        self.variance = vec![[MIN_DEVIATION * MIN_DEVIATION; 3]; count];
        self.small = vec![[0.0; 3]; count];
        self.mask = vec![false; count];
        self.scratch = vec![false; count];
        size
    }

    /// How much brighter the scene is than what was learned: the median over the belt's pixels.
    fn light(&mut self) -> f32 {
        self.lights.clear();
        let pixels = self.small.iter().zip(&self.mean).zip(&self.mask);
        // `mask` still says what lay on the belt in the frame before.
        for ((now, mean), _) in pixels.step_by(11).filter(|(_, covered)| !**covered) {
            self.lights.push(sum(now) / sum(mean).max(1.0));
        }
        if self.lights.len() < self.small.len() / 100 {
            return 1.0;
        }
        let middle = self.lights.len() / 2;
        let (_, median, _) = self.lights.select_nth_unstable_by(middle, f32::total_cmp);
        median.clamp(0.6, 1.6)
    }

    fn compare(&mut self, light: f32) {
        let limit = self.config.deviations;
        let learned = self.mean.iter().zip(&self.variance);
        for ((now, (mean, variance)), mask) in self.small.iter().zip(learned).zip(&mut self.mask) {
            *mask = !is_belt(now, mean, variance, light, limit);
        }
    }

    /// Removes specks, closes gaps.
    fn tidy(&mut self, size: Reduced) {
        let px = |mm: f64| mm / (self.config.mm_per_px * size.factor as f64);
        let close = (px(self.config.close_mm) / 2.0).ceil() as usize;
        majority(&self.mask, &mut self.scratch, size);
        std::mem::swap(&mut self.mask, &mut self.scratch);
        spread(&mut self.mask, &mut self.scratch, size, close, true);
        spread(&mut self.mask, &mut self.scratch, size, close, false);
    }

    /// Connected regions of the mask, in the order in which a reader would meet them.
    fn collect(&mut self, size: Reduced, found: &mut Vec<Detection>) {
        let scale = self.config.mm_per_px * size.factor as f64;
        let min_pixels = (self.config.min_area_mm2 / (scale * scale)).max(1.0) as u32;
        self.scratch.copy_from_slice(&self.mask);
        for start in 0..self.scratch.len() {
            if self.scratch[start] {
                let (area, pixels) = flood(&mut self.scratch, &mut self.stack, size, start);
                if pixels >= min_pixels {
                    found.push(full_size(area, pixels, size));
                }
            }
        }
        merge_nested(found);
    }

    fn learn(&mut self, light: f32, rate: f32, rate_covered: f32) {
        let learned = self.mean.iter_mut().zip(&mut self.variance);
        for ((now, (mean, variance)), covered) in self.small.iter().zip(learned).zip(&self.mask) {
            let rate = if *covered { rate_covered } else { rate };
            for c in 0..3 {
                // West's update: the first frame has no deviation, whatever the mean was before.
                let before = now[c] / light - mean[c];
                mean[c] += rate * before;
                let after = now[c] / light - mean[c];
                if !covered {
                    variance[c] += rate * (before * after - variance[c]);
                }
            }
        }
    }
}

fn sum(colour: &Colour) -> f32 {
    colour[0] + colour[1] + colour[2]
}

fn is_belt(now: &Colour, mean: &Colour, variance: &Colour, light: f32, limit: f32) -> bool {
    let difference: Colour = std::array::from_fn(|c| now[c] - mean[c] * light);
    let grey = sum(&difference) / 3.0;
    let deviation = (sum(variance) / 3.0).sqrt().max(MIN_DEVIATION);
    let colour = difference.map(|d| (d - grey).abs());
    let colour = colour[0].max(colour[1]).max(colour[2]);
    if colour > limit * deviation.min(3.0 * MIN_DEVIATION) {
        return false;
    }
    if grey >= 0.0 {
        return grey <= limit * deviation;
    }
    let brightness = sum(mean) / 3.0 * light;
    let shadow = if colour < SHADOW_COLOUR {
        SHADOW_SHARE * brightness
    } else {
        0.0
    };
    -grey <= (limit * deviation).max(shadow)
}

/// Averages squares of `factor` pixels.
fn reduce(frame: &RgbView<'_>, size: Reduced, small: &mut [Colour]) {
    let stride = frame.width() as usize * 3;
    let weight = 1.0 / (size.factor * size.factor) as f32;
    for (y, row) in small.chunks_exact_mut(size.width).enumerate() {
        let rows = &frame.data()[y * size.factor * stride..(y + 1) * size.factor * stride];
        for (x, pixel) in row.iter_mut().enumerate() {
            let mut sums = [0u32; 3];
            for line in rows.chunks_exact(stride) {
                let cells = &line[x * size.factor * 3..(x + 1) * size.factor * 3];
                for cell in cells.chunks_exact(3) {
                    for c in 0..3 {
                        sums[c] += u32::from(cell[c]);
                    }
                }
            }
            *pixel = sums.map(|s| s as f32 * weight);
        }
    }
}

/// Keeps what most of its 3 by 3 neighbourhood agrees with.
fn majority(mask: &[bool], out: &mut [bool], size: Reduced) {
    for y in 0..size.height {
        let rows = y.saturating_sub(1)..(y + 2).min(size.height);
        for x in 0..size.width {
            let columns = x.saturating_sub(1)..(x + 2).min(size.width);
            let (mut set, mut all) = (0, 0);
            for row in rows.clone() {
                let cells = &mask[row * size.width..][columns.clone()];
                set += cells.iter().filter(|m| **m).count();
                all += cells.len();
            }
            out[y * size.width + x] = 2 * set > all;
        }
    }
}

/// Grows what equals `value` by `reach` pixels in all directions, as a square would.
/// Growing the set pixels and then the others closes gaps.
fn spread(mask: &mut [bool], scratch: &mut [bool], size: Reduced, reach: usize, value: bool) {
    let grow = |get: &dyn Fn(usize) -> bool, length: usize, set: &mut dyn FnMut(usize)| {
        let mut last: Option<usize> = None;
        let mut done = 0;
        for i in 0..length {
            if get(i) == value {
                let from = done.max(i.saturating_sub(reach));
                (from..=i).for_each(&mut *set);
                done = i + 1;
                last = Some(i);
            } else if last.is_some_and(|l| i - l <= reach) {
                set(i);
                done = i + 1;
            }
        }
    };
    scratch.copy_from_slice(mask);
    for y in 0..size.height {
        let start = y * size.width;
        grow(&|x| mask[start + x], size.width, &mut |x| {
            scratch[start + x] = value;
        });
    }
    mask.copy_from_slice(scratch);
    for x in 0..size.width {
        grow(&|y| scratch[y * size.width + x], size.height, &mut |y| {
            mask[y * size.width + x] = value;
        });
    }
}

/// Clears one connected region and returns its box in the reduced frame and its pixels.
fn flood(mask: &mut [bool], stack: &mut Vec<u32>, size: Reduced, start: usize) -> (PixelBox, u32) {
    let (x, y) = ((start % size.width) as u32, (start / size.width) as u32);
    let mut area = PixelBox {
        x0: x,
        y0: y,
        x1: x + 1,
        y1: y + 1,
    };
    let mut pixels = 0;
    stack.clear();
    stack.push(start as u32);
    mask[start] = false;
    while let Some(index) = stack.pop() {
        let index = index as usize;
        let (x, y) = (index % size.width, index / size.width);
        pixels += 1;
        area.x0 = area.x0.min(x as u32);
        area.x1 = area.x1.max(x as u32 + 1);
        area.y0 = area.y0.min(y as u32);
        area.y1 = area.y1.max(y as u32 + 1);
        let mut visit = |neighbour: usize| {
            if mask[neighbour] {
                mask[neighbour] = false;
                stack.push(neighbour as u32);
            }
        };
        if x > 0 {
            visit(index - 1);
        }
        if x + 1 < size.width {
            visit(index + 1);
        }
        if y > 0 {
            visit(index - size.width);
        }
        if y + 1 < size.height {
            visit(index + size.width);
        }
    }
    (area, pixels)
}

/// Back to the pixels of the frame. A box that reaches the reduced frame's end reaches the frame's.
fn full_size(area: PixelBox, pixels: u32, size: Reduced) -> Detection {
    let factor = size.factor as u32;
    let end = |value: u32, reduced: usize, full: u32| {
        if value as usize == reduced {
            full
        } else {
            value * factor
        }
    };
    Detection {
        area: PixelBox {
            x0: area.x0 * factor,
            y0: area.y0 * factor,
            x1: end(area.x1, size.width, size.frame.0),
            y1: end(area.y1, size.height, size.frame.1),
        },
        pixels: pixels * factor * factor,
    }
}

/// Regions whose boxes lie mostly within another's belong to it: parts of one item.
fn merge_nested(found: &mut Vec<Detection>) {
    let size = |b: &PixelBox| u64::from(b.x1 - b.x0) * u64::from(b.y1 - b.y0);
    let shared = |a: &PixelBox, b: &PixelBox| {
        let w = a.x1.min(b.x1).saturating_sub(a.x0.max(b.x0));
        let h = a.y1.min(b.y1).saturating_sub(a.y0.max(b.y0));
        u64::from(w) * u64::from(h)
    };
    let mut index = 0;
    while index < found.len() {
        let other = (index + 1..found.len()).find(|&other| {
            let (a, b) = (&found[index].area, &found[other].area);
            shared(a, b) * 2 > size(a).min(size(b))
        });
        let Some(other) = other else {
            index += 1;
            continue;
        };
        let inner = found.remove(other);
        let outer = &mut found[index];
        outer.pixels += inner.pixels;
        outer.area.x0 = outer.area.x0.min(inner.area.x0);
        outer.area.y0 = outer.area.y0.min(inner.area.y0);
        outer.area.x1 = outer.area.x1.max(inner.area.x1);
        outer.area.y1 = outer.area.y1.max(inner.area.y1);
    }
}

#[cfg(test)]
mod tests;
