//! Frames with what was found drawn on them.

use super::truth::Polygon;
use crate::line::detect::Detection;
use image::{Rgb, RgbImage};

const OUTLINE: Rgb<u8> = Rgb([255, 40, 40]);
const FOUND: Rgb<u8> = Rgb([60, 255, 90]);
const CROWDED: Rgb<u8> = Rgb([255, 200, 0]);
/// Lines are this many pixels thick on a frame of 1920 columns, and at least one.
const THICKNESS: u32 = 3;

/// What the colours mean, for the one who looks.
pub(super) const LEGEND: &str =
    "green: found; yellow: found, maybe more than one item; red: annotated";

/// Draws the detections, the edges of their masks and the annotated items.
pub(super) fn draw(
    image: &mut RgbImage,
    detections: &[Detection],
    items: &[Polygon],
    at_pixel: impl Fn(u32, u32) -> Option<usize>,
) {
    let thickness = (image.width() * THICKNESS / 1920).max(1);
    let colour = |d: usize| {
        if detections[d].crowded {
            CROWDED
        } else {
            FOUND
        }
    };
    for y in 1..image.height() {
        for x in 1..image.width() {
            let here = at_pixel(x, y);
            let others = [at_pixel(x - 1, y), at_pixel(x, y - 1)];
            let edge = others.into_iter().find(|other| *other != here);
            if let Some(detection) = edge.and_then(|other| here.or(other)) {
                dot(image, [x, y].map(f64::from), thickness, colour(detection));
            }
        }
    }
    for (index, detection) in detections.iter().enumerate() {
        let area = detection.area;
        let [x0, y0, x1, y1] = [area.x0, area.y0, area.x1, area.y1].map(f64::from);
        let corners = vec![[x0, y0], [x1, y0], [x1, y1], [x0, y1]];
        outline(image, &corners, thickness, colour(index));
    }
    for item in items {
        outline(image, item, thickness, OUTLINE);
    }
}

fn outline(image: &mut RgbImage, points: &Polygon, thickness: u32, colour: Rgb<u8>) {
    for (from, to) in points.iter().zip(points.iter().cycle().skip(1)) {
        let span = [to[0] - from[0], to[1] - from[1]];
        let steps = span[0].abs().max(span[1].abs()).clamp(1.0, 1e5).ceil();
        for step in 0..=steps as u32 {
            let t = f64::from(step) / steps;
            let at = [from[0] + t * span[0], from[1] + t * span[1]];
            dot(image, at, thickness, colour);
        }
    }
}

fn dot(image: &mut RgbImage, [x, y]: [f64; 2], thickness: u32, colour: Rgb<u8>) {
    let (x, y) = (x.max(0.0) as u32, y.max(0.0) as u32);
    for row in y..y.saturating_add(thickness).min(image.height()) {
        for column in x..x.saturating_add(thickness).min(image.width()) {
            image.put_pixel(column, row, colour);
        }
    }
}
