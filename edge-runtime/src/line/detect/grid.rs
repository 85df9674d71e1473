//! The frame reduced to cells, laid out along the belt.

use crate::line::geometry::PixelBox;
use models::RgbView;

/// Red, green and blue, 0 to 255.
pub(super) type Colour = [f32; 3];

/// Wanted number of cells across the frame's width.
const REDUCED_WIDTH: u32 = 240;

/// A frame in square cells. A lane is a row of cells in the direction of travel: it sees the same
/// strip of belt all its length. Lanes are contiguous whatever the direction.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Grid {
    /// Side of a cell in pixels.
    pub(super) factor: usize,
    pub(super) lanes: usize,
    /// Cells in a lane.
    pub(super) length: usize,
    /// Lanes are rows of the frame, or its columns.
    horizontal: bool,
    frame: (u32, u32),
}

/// A range of cells: `from` and `to` (just outside) along the lanes and across them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct CellBox {
    pub(super) along: [u32; 2],
    pub(super) lanes: [u32; 2],
}

impl CellBox {
    pub(super) fn cell(lane: usize, along: usize) -> Self {
        Self {
            along: [along as u32, along as u32 + 1],
            lanes: [lane as u32, lane as u32 + 1],
        }
    }

    pub(super) fn include(&mut self, other: &Self) {
        self.along[0] = self.along[0].min(other.along[0]);
        self.along[1] = self.along[1].max(other.along[1]);
        self.lanes[0] = self.lanes[0].min(other.lanes[0]);
        self.lanes[1] = self.lanes[1].max(other.lanes[1]);
    }
}

impl Grid {
    pub(super) fn new((width, height): (u32, u32), horizontal: bool) -> Self {
        let factor = ((width + REDUCED_WIDTH / 2) / REDUCED_WIDTH).clamp(1, height.max(1)) as usize;
        let (across, down) = (width as usize / factor, height as usize / factor);
        let (length, lanes) = if horizontal {
            (across, down)
        } else {
            (down, across)
        };
        Self {
            factor,
            lanes,
            length,
            horizontal,
            frame: (width, height),
        }
    }

    pub(super) fn frame(&self) -> (u32, u32) {
        self.frame
    }

    pub(super) fn cells(&self) -> usize {
        self.lanes * self.length
    }

    /// Where the cell of column `x` and row `y` of the reduced frame lies.
    fn index(&self, x: usize, y: usize) -> usize {
        if self.horizontal {
            y * self.length + x
        } else {
            x * self.length + y
        }
    }

    /// The cell of a pixel; `None` in the frame's remainder at the right and below.
    pub(super) fn at_pixel(&self, x_px: u32, y_px: u32) -> Option<usize> {
        let (x, y) = (x_px as usize / self.factor, y_px as usize / self.factor);
        let (along, lane) = if self.horizontal { (x, y) } else { (y, x) };
        (along < self.length && lane < self.lanes).then(|| self.index(x, y))
    }

    /// Averages the pixels of every cell. `sums` holds `3 * width` numbers.
    pub(super) fn reduce(&self, frame: &RgbView<'_>, sums: &mut [u32], cells: &mut [Colour]) {
        let stride = frame.width() as usize * 3;
        let weight = 1.0 / (self.factor * self.factor) as f32;
        for (y, rows) in frame.data().chunks_exact(stride * self.factor).enumerate() {
            sums.fill(0);
            for row in rows.chunks_exact(stride) {
                for (sum, value) in sums.iter_mut().zip(row) {
                    // At most `factor` times 255: wrapping is never seen, only faster.
                    *sum = sum.wrapping_add(u32::from(*value));
                }
            }
            for (x, pixels) in sums.chunks_exact(3 * self.factor).enumerate() {
                let mut colour = [0u32; 3];
                for pixel in pixels.chunks_exact(3) {
                    for (sum, value) in colour.iter_mut().zip(pixel) {
                        *sum = sum.wrapping_add(*value);
                    }
                }
                cells[self.index(x, y)] = colour.map(|s| s as f32 * weight);
            }
        }
    }

    /// Cells that lie wholly within `area` of the frame.
    pub(super) fn inside(&self, area: PixelBox) -> CellBox {
        let factor = self.factor as u32;
        let range = |from: u32, to: u32, cells: usize| {
            let to = (to / factor).min(cells as u32);
            [from.div_ceil(factor).min(to), to]
        };
        let across = range(area.x0, area.x1, self.frame.0 as usize / self.factor);
        let down = range(area.y0, area.y1, self.frame.1 as usize / self.factor);
        let (along, lanes) = if self.horizontal {
            (across, down)
        } else {
            (down, across)
        };
        CellBox { along, lanes }
    }

    /// Back to pixels. A box that reaches the last cell reaches the frame's end.
    pub(super) fn to_pixels(self, area: CellBox) -> PixelBox {
        let (across, down) = if self.horizontal {
            (area.along, area.lanes)
        } else {
            (area.lanes, area.along)
        };
        let factor = self.factor as u32;
        let end = |cell: u32, full: u32| {
            if cell == full / factor {
                full
            } else {
                cell * factor
            }
        };
        PixelBox {
            x0: across[0] * factor,
            y0: down[0] * factor,
            x1: end(across[1], self.frame.0),
            y1: end(down[1], self.frame.1),
        }
    }
}
