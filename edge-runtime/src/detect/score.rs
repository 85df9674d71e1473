//! How well detections and true outlines agree.

use super::truth::Polygon;
use crate::line::detect::Detection;
use serde::Serialize;
use std::ops::AddAssign;

/// A pair counts as the same item from this intersection over union on.
pub(super) const MIN_IOU: f64 = 0.5;
/// Masks are compared on every so many pixels, both ways.
const LATTICE_PX: usize = 4;

/// How many items were found.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub(super) struct Counts {
    pub(super) found: u32,
    pub(super) missed: u32,
    /// Detections that are no annotated item, or a second one of the same.
    #[serde(rename = "false")]
    pub(super) false_alarms: u32,
}

impl Counts {
    /// The share of the items that was found.
    pub(super) fn recall(&self) -> f64 {
        share(self.found, self.missed)
    }

    /// The share of the detections that are items.
    pub(super) fn precision(&self) -> f64 {
        share(self.found, self.false_alarms)
    }
}

fn share(right: u32, wrong: u32) -> f64 {
    f64::from(right) / f64::from((right + wrong).max(1))
}

impl AddAssign for Counts {
    fn add_assign(&mut self, other: Self) {
        self.found += other.found;
        self.missed += other.missed;
        self.false_alarms += other.false_alarms;
    }
}

/// The score of one frame, or of all.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub(super) struct Score {
    pub(super) masks: Counts,
    pub(super) boxes: Counts,
    /// Detections too many that lie mostly in one item.
    pub(super) cut_up: u32,
    /// Items too many that lie mostly in one detection.
    pub(super) merged: u32,
}

impl AddAssign for Score {
    fn add_assign(&mut self, other: Self) {
        self.masks += other.masks;
        self.boxes += other.boxes;
        self.cut_up += other.cut_up;
        self.merged += other.merged;
    }
}

/// Compares a frame's detections with its items. `at_pixel` gives the detection at a pixel.
pub(super) fn score(
    items: &[Polygon],
    detections: &[Detection],
    (width, height): (u32, u32),
    at_pixel: impl Fn(u32, u32) -> Option<usize>,
) -> Score {
    let (columns, rows) = (
        (width as usize).div_ceil(LATTICE_PX),
        (height as usize).div_ceil(LATTICE_PX),
    );
    // The lattice's points lie in the middle of their squares.
    let point = |cell: usize| cell * LATTICE_PX + LATTICE_PX / 2;
    let mut detected = vec![0u32; detections.len()];
    let mut item_points = vec![0u32; items.len()];
    let mut both = vec![vec![0u32; detections.len()]; items.len()];
    let mut owners = vec![None; columns];
    for row in 0..rows {
        let y = point(row).min(height as usize - 1);
        for (column, owner) in owners.iter_mut().enumerate() {
            *owner = at_pixel(point(column).min(width as usize - 1) as u32, y as u32);
            if let Some(detection) = *owner {
                detected[detection] += 1;
            }
        }
        for (index, item) in items.iter().enumerate() {
            for [from, to] in spans(item, y as f64 + 0.5) {
                for (column, owner) in owners.iter().enumerate() {
                    let x = point(column) as f64 + 0.5;
                    if x >= from && x < to {
                        item_points[index] += 1;
                        if let Some(detection) = *owner {
                            both[index][detection] += 1;
                        }
                    }
                }
            }
        }
    }
    let mask_iou = |i: usize, d: usize| {
        let shared = both[i][d];
        f64::from(shared) / f64::from((item_points[i] + detected[d] - shared).max(1))
    };
    let outlines: Vec<_> = items.iter().map(|i| bounds(i, [width, height])).collect();
    let box_iou = |i: usize, d: usize| overlap(outlines[i], corners(&detections[d]));
    let (count_items, count_detections) = (items.len(), detections.len());
    let mostly = |part: u32, whole: u32| part * 2 > whole;
    let surplus = |count: usize| count.saturating_sub(1) as u32;
    let parts_of = |i: usize| {
        let inside = |d: &usize| mostly(both[i][*d], detected[*d]);
        surplus((0..count_detections).filter(inside).count())
    };
    let items_in = |d: usize| {
        let inside = |i: &usize| mostly(both[*i][d], item_points[*i]);
        surplus((0..count_items).filter(inside).count())
    };
    Score {
        masks: matched(count_items, count_detections, mask_iou),
        boxes: matched(count_items, count_detections, box_iou),
        cut_up: (0..count_items).map(parts_of).sum(),
        merged: (0..count_detections).map(items_in).sum(),
    }
}

/// Pairs items and detections one to one, best first.
fn matched(items: usize, detections: usize, iou: impl Fn(usize, usize) -> f64) -> Counts {
    let all = (0..items).flat_map(|i| (0..detections).map(move |d| (i, d)));
    let mut pairs: Vec<_> = all
        .map(|(i, d)| (iou(i, d), i, d))
        .filter(|pair| pair.0 >= MIN_IOU)
        .collect();
    pairs.sort_by(|a, b| b.0.total_cmp(&a.0).then((a.1, a.2).cmp(&(b.1, b.2))));
    let mut item_free = vec![true; items];
    let mut detection_free = vec![true; detections];
    let mut found = 0;
    for (_, i, d) in pairs {
        if item_free[i] && detection_free[d] {
            (item_free[i], detection_free[d]) = (false, false);
            found += 1;
        }
    }
    Counts {
        found,
        missed: items as u32 - found,
        false_alarms: detections as u32 - found,
    }
}

/// Where the horizontal line at `y` lies within the outline (even-odd rule).
fn spans(outline: &Polygon, y: f64) -> Vec<[f64; 2]> {
    let next = outline.iter().cycle().skip(1);
    let mut crossings: Vec<f64> = outline
        .iter()
        .zip(next)
        .filter(|([_, y0], [_, y1])| (*y0 <= y) != (*y1 <= y))
        .map(|([x0, y0], [x1, y1])| x0 + (y - y0) / (y1 - y0) * (x1 - x0))
        .collect();
    crossings.sort_by(f64::total_cmp);
    crossings.chunks_exact(2).map(|c| [c[0], c[1]]).collect()
}

/// The box around an outline, as far as it lies in the frame: x0, y0, x1, y1.
fn bounds(outline: &Polygon, size: [u32; 2]) -> [f64; 4] {
    let start = [f64::MAX, f64::MAX, f64::MIN, f64::MIN];
    let all = outline.iter().fold(start, |b, [x, y]| {
        [b[0].min(*x), b[1].min(*y), b[2].max(*x), b[3].max(*y)]
    });
    std::array::from_fn(|i| all[i].clamp(0.0, f64::from(size[i % 2])))
}

fn corners(detection: &Detection) -> [f64; 4] {
    let area = detection.area;
    [area.x0, area.y0, area.x1, area.y1].map(f64::from)
}

fn overlap(a: [f64; 4], b: [f64; 4]) -> f64 {
    let width = (a[2].min(b[2]) - a[0].max(b[0])).max(0.0);
    let height = (a[3].min(b[3]) - a[1].max(b[1])).max(0.0);
    let size = |b: [f64; 4]| (b[2] - b[0]) * (b[3] - b[1]);
    let shared = width * height;
    shared / (size(a) + size(b) - shared).max(f64::MIN_POSITIVE)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::line::geometry::PixelBox;
    use proptest::prelude::*;

    const FRAME: (u32, u32) = (400, 300);

    fn rectangle([x0, y0, x1, y1]: [u32; 4]) -> Polygon {
        [[x0, y0], [x1, y0], [x1, y1], [x0, y1]]
            .map(|p| p.map(f64::from))
            .to_vec()
    }

    fn of_boxes(items: &[[u32; 4]], found: &[[u32; 4]]) -> Score {
        let items: Vec<_> = items.iter().map(|b| rectangle(*b)).collect();
        let found: Vec<_> = found
            .iter()
            .map(|&[x0, y0, x1, y1]| Detection {
                area: PixelBox { x0, y0, x1, y1 },
                pixels: (x1 - x0) * (y1 - y0),
                crowded: false,
            })
            .collect();
        let holds = |b: &PixelBox, x, y| (b.x0..b.x1).contains(&x) && (b.y0..b.y1).contains(&y);
        score(&items, &found, FRAME, |x, y| {
            found.iter().position(|d| holds(&d.area, x, y))
        })
    }

    fn counts(found: u32, missed: u32, false_alarms: u32) -> Counts {
        Counts {
            found,
            missed,
            false_alarms,
        }
    }

    #[test]
    fn one_item_in_two_parts_and_two_items_in_one() {
        let cut = of_boxes(&[[0, 0, 100, 100]], &[[0, 0, 60, 100], [60, 0, 100, 100]]);
        assert_eq!((cut.masks, cut.cut_up, cut.merged), (counts(1, 0, 1), 1, 0));
        let merged = of_boxes(&[[0, 0, 52, 100], [52, 0, 100, 100]], &[[0, 0, 100, 100]]);
        assert_eq!(merged.masks, counts(1, 1, 0));
        assert_eq!((merged.cut_up, merged.merged), (0, 1));
    }

    #[test]
    fn pairs_are_one_to_one_and_the_best_first() {
        let item = [100, 100, 200, 200];
        let found = [[100, 100, 200, 180], item, [300, 0, 340, 40]];
        let score = of_boxes(&[item], &found);
        assert_eq!(score.boxes, counts(1, 0, 2));
        assert_eq!(of_boxes(&[], &[]), Score::default());
    }

    proptest! {
        #[test]
        fn masks_and_boxes_of_rectangles_agree(
            x in 0u32..100, y in 0u32..100, w in 60u32..200, h in 60u32..200, off in 0u32..150,
        ) {
            let item = [x, y, x + w, y + h];
            let moved = [x + off, y, x + off + w, y + h];
            let iou = f64::from(w.saturating_sub(off)) / f64::from(w + off.min(w));
            // The lattice is as good as a few pixels in a hundred.
            prop_assume!((iou - MIN_IOU).abs() > 0.08);
            let score = of_boxes(&[item], &[moved]);
            let found = u32::from(iou >= MIN_IOU);
            prop_assert_eq!(score.boxes.found, found);
            prop_assert_eq!(score.masks.found, found);
        }
    }
}
