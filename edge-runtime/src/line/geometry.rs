//! From pixels to millimetres on the belt.

use boards::{Direction, Profile};
use serde::{Deserialize, Serialize};

/// A box in a frame, in pixels; `x1` and `y1` are just outside.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct PixelBox {
    pub(crate) x0: u32,
    pub(crate) y0: u32,
    pub(crate) x1: u32,
    pub(crate) y1: u32,
}

impl PixelBox {
    /// The box with `margin_px` around it, as far as the frame goes.
    pub(crate) fn grown(self, margin_px: u32, width_px: u32, height_px: u32) -> Self {
        Self {
            x0: self.x0.saturating_sub(margin_px),
            y0: self.y0.saturating_sub(margin_px),
            x1: (self.x1 + margin_px).min(width_px),
            y1: (self.y1 + margin_px).min(height_px),
        }
    }
}

/// Where a box lies on the belt, in millimetres from the centre of the view.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub(crate) struct Span {
    /// The downstream end; `None` where the view cuts it off.
    pub(crate) front_mm: Option<f64>,
    /// The upstream end; `None` where the view cuts it off.
    pub(crate) rear_mm: Option<f64>,
    /// Across the belt.
    pub(crate) side_mm: [f64; 2],
    /// Whether the view cuts it off at a side of the belt.
    pub(crate) side_cut: bool,
    /// What is visible of it, from rear to front.
    pub(crate) seen_mm: [f64; 2],
}

impl Span {
    /// Whether all of it is in view.
    pub(crate) fn is_whole(&self) -> bool {
        self.front_mm.is_some() && self.rear_mm.is_some() && !self.side_cut
    }
}

/// The camera's view of the belt.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Geometry {
    pub(crate) width_px: u32,
    pub(crate) height_px: u32,
    mm_per_px: [f64; 2],
    direction: Direction,
}

/// A box this close to the edge of the frame counts as cut off.
const EDGE_PX: u32 = 3;

impl Geometry {
    pub(crate) fn new(board: &Profile) -> Self {
        let camera = board.camera();
        Self {
            width_px: camera.width_px,
            height_px: camera.height_px,
            mm_per_px: [
                camera.view_mm[0] / f64::from(camera.width_px),
                camera.view_mm[1] / f64::from(camera.height_px),
            ],
            direction: board.belt().direction,
        }
    }

    /// Millimetres per pixel, both ways.
    pub(crate) fn mm_per_px(&self) -> [f64; 2] {
        self.mm_per_px
    }

    /// Half the length of the view along the belt.
    pub(crate) fn half_length_mm(&self) -> f64 {
        if self.direction.is_horizontal() {
            f64::from(self.width_px) * self.mm_per_px[0] / 2.0
        } else {
            f64::from(self.height_px) * self.mm_per_px[1] / 2.0
        }
    }

    pub(crate) fn span(&self, area: PixelBox) -> Span {
        let along_x = self.axis(0, area.x0, area.x1, self.width_px);
        let along_y = self.axis(1, area.y0, area.y1, self.height_px);
        let (along, across) = if self.direction.is_horizontal() {
            (along_x, along_y)
        } else {
            (along_y, along_x)
        };
        let reversed = matches!(
            self.direction,
            Direction::RightToLeft | Direction::BottomToTop
        );
        let [low, high] = along.ends_mm;
        let [low_cut, high_cut] = along.cut;
        let (seen_mm, rear_cut, front_cut) = if reversed {
            ([-high, -low], high_cut, low_cut)
        } else {
            ([low, high], low_cut, high_cut)
        };
        Span {
            front_mm: (!front_cut).then_some(seen_mm[1]),
            rear_mm: (!rear_cut).then_some(seen_mm[0]),
            side_mm: across.ends_mm,
            side_cut: across.cut[0] || across.cut[1],
            seen_mm,
        }
    }

    fn axis(&self, axis: usize, from: u32, to: u32, size: u32) -> Axis {
        let mm = |px: u32| (f64::from(px) - f64::from(size) / 2.0) * self.mm_per_px[axis];
        Axis {
            ends_mm: [mm(from), mm(to)],
            cut: [from < EDGE_PX, to + EDGE_PX > size],
        }
    }
}

struct Axis {
    ends_mm: [f64; 2],
    cut: [bool; 2],
}

#[cfg(test)]
mod tests {
    use super::*;

    fn geometry(direction: &str) -> Geometry {
        let path = "../boards/profiles/simulated.toml";
        let text = std::fs::read_to_string(path).unwrap();
        let text = text
            .replace("left-to-right", direction)
            .replace("[400, 300]", "[400, 400]");
        Geometry::new(&Profile::from_toml("t", &text).unwrap())
    }

    #[track_caller]
    fn check(direction: &str, area: [u32; 4], front: Option<f64>, rear: Option<f64>) {
        let [x0, y0, x1, y1] = area;
        let span = geometry(direction).span(PixelBox { x0, y0, x1, y1 });
        assert_eq!((span.front_mm, span.rear_mm), (front, rear), "{direction}");
    }

    #[test]
    fn front_is_downstream_in_every_direction() {
        // 640x480 px for 400x400 mm: 0.625 and 0.8333 mm per px.
        check(
            "left-to-right",
            [160, 100, 480, 200],
            Some(100.0),
            Some(-100.0),
        );
        check("left-to-right", [0, 100, 400, 200], Some(50.0), None);
        check("right-to-left", [0, 100, 400, 200], None, Some(-50.0));
        check(
            "right-to-left",
            [240, 100, 400, 200],
            Some(50.0),
            Some(-50.0),
        );
        check("top-to-bottom", [10, 60, 50, 300], Some(50.0), Some(-150.0));
        check("bottom-to-top", [10, 60, 50, 300], Some(150.0), Some(-50.0));
        check("bottom-to-top", [10, 60, 50, 480], Some(150.0), None);
    }

    #[test]
    fn an_item_over_the_side_is_not_whole() {
        let geometry = geometry("left-to-right");
        let area = |y0, y1| PixelBox {
            x0: 100,
            y0,
            x1: 200,
            y1,
        };
        assert!(geometry.span(area(10, 100)).is_whole());
        assert!(!geometry.span(area(0, 100)).is_whole());
        assert!(!geometry.span(area(400, 479)).is_whole());
    }
}
