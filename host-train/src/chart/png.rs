//! Line charts as pixels.

use std::io::Cursor;

use anyhow::{Context, Result};
use image::{ImageFormat, Rgb, RgbImage};

use super::{COLOURS, Layout, Line, ROOM, SIZE, number, ticks};

/// Pixels of a chart's unit, and of a dot of its letters.
const SCALE: f64 = 2.0;
const DOT: i64 = 2;

/// Letters of 3 x 5 dots: an octal digit is a row, from the top.
const LETTERS: [(char, u32); 39] = [
    ('0', 0o75557),
    ('1', 0o26227),
    ('2', 0o71747),
    ('3', 0o71717),
    ('4', 0o55711),
    ('5', 0o74717),
    ('6', 0o74757),
    ('7', 0o71111),
    ('8', 0o75757),
    ('9', 0o75717),
    ('.', 0o00002),
    ('-', 0o00700),
    ('%', 0o51245),
    ('a', 0o75755),
    ('b', 0o65656),
    ('c', 0o74447),
    ('d', 0o65556),
    ('e', 0o74647),
    ('f', 0o74644),
    ('g', 0o74557),
    ('h', 0o55755),
    ('i', 0o72227),
    ('j', 0o11157),
    ('k', 0o55655),
    ('l', 0o44447),
    ('m', 0o57755),
    ('n', 0o65555),
    ('o', 0o75557),
    ('p', 0o75744),
    ('q', 0o75571),
    ('r', 0o75655),
    ('s', 0o74717),
    ('t', 0o72222),
    ('u', 0o55557),
    ('v', 0o55552),
    ('w', 0o55775),
    ('x', 0o55255),
    ('y', 0o55222),
    ('z', 0o71247),
];

/// The chart that [`super::svg`] describes, as the bytes of a PNG file.
pub(crate) fn png(x_name: &str, y_name: &str, lines: &[Line]) -> Result<Vec<u8>> {
    let layout = Layout::new(lines);
    let [width, height] = SIZE.map(|side| (side * SCALE) as u32);
    let mut picture = Picture(RgbImage::from_pixel(width, height, Rgb([255; 3])));
    let (grey, black) = (Rgb([221; 3]), Rgb([0; 3]));
    let [left, right] = layout.x_range.map(|value| layout.x(value));
    for up in ticks(layout.y_range) {
        let y = layout.y(up);
        picture.line([left, y], [right, y], grey);
        picture.text([ROOM[0] - 6.0, y], 1.0, &number(up), black);
    }
    for across in ticks(layout.x_range) {
        let below = SIZE[1] - ROOM[3] + 12.0;
        picture.text([layout.x(across), below], 0.5, &number(across), black);
    }
    for (index, line) in lines.iter().enumerate() {
        let colour = colour(index);
        let finite = line
            .points
            .iter()
            .filter(|p| p.iter().all(|v| v.is_finite()));
        let points: Vec<[f64; 2]> = finite.map(|[a, b]| [layout.x(*a), layout.y(*b)]).collect();
        for ends in points.windows(2) {
            picture.line(ends[0], ends[1], colour);
        }
        picture.text(
            [ROOM[0] + 150.0 * index as f64, 14.0],
            0.0,
            &line.name,
            colour,
        );
    }
    picture.text([SIZE[0] / 2.0, SIZE[1] - 10.0], 0.5, x_name, black);
    picture.text([SIZE[0] - ROOM[2], 14.0], 1.0, y_name, black);
    let mut bytes = Cursor::new(Vec::new());
    let encoded = picture.0.write_to(&mut bytes, ImageFormat::Png);
    encoded.context("the chart cannot be encoded")?;
    Ok(bytes.into_inner())
}

/// The colour of a line, as `#rrggbb` names it.
fn colour(index: usize) -> Rgb<u8> {
    let digits = COLOURS[index % COLOURS.len()].trim_start_matches('#');
    let value = u32::from_str_radix(digits, 16).unwrap_or(0);
    let [_, r, g, b] = value.to_be_bytes();
    Rgb([r, g, b])
}

struct Picture(RgbImage);

impl Picture {
    /// A square of dots around a place in pixels.
    fn dot(&mut self, x: i64, y: i64, colour: Rgb<u8>) {
        for (x, y) in (0..DOT * DOT).map(|n| (x + n % DOT, y + n / DOT)) {
            let place = u32::try_from(x).ok().zip(u32::try_from(y).ok());
            if let Some(pixel) = place.and_then(|(x, y)| self.0.get_pixel_mut_checked(x, y)) {
                *pixel = colour;
            }
        }
    }

    fn line(&mut self, from: [f64; 2], to: [f64; 2], colour: Rgb<u8>) {
        let [dx, dy] = [to[0] - from[0], to[1] - from[1]].map(|d| d * SCALE);
        let steps = dx.abs().max(dy.abs()).ceil().max(1.0);
        for step in 0..=steps as u32 {
            let part = f64::from(step) / steps;
            let x = (from[0] * SCALE + dx * part).round();
            let y = (from[1] * SCALE + dy * part).round();
            self.dot(x as i64, y as i64, colour);
        }
    }

    /// Text whose middle is at this height; `before` of its width lies left of the place.
    fn text(&mut self, [x, y]: [f64; 2], before: f64, text: &str, colour: Rgb<u8>) {
        let width = 4 * DOT * text.chars().count() as i64;
        let mut left = (x * SCALE - before * width as f64).round() as i64;
        let top = (y * SCALE).round() as i64 - 5 * DOT / 2;
        for letter in text.chars().map(|letter| letter.to_ascii_lowercase()) {
            let known = LETTERS.iter().find(|(known, _)| *known == letter);
            let dots = known.map_or(0, |(_, dots)| *dots);
            for place in (0..15).filter(|place| dots >> (14 - place) & 1 == 1) {
                self.dot(left + place % 3 * DOT, top + place / 3 * DOT, colour);
            }
            left += 4 * DOT;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_where_its_points_are() {
        let line = Line {
            name: "full".into(),
            points: vec![[0.0, 0.0], [5.0, f64::NAN], [10.0, 2.0]],
        };
        let bytes = png("step", "learning rate", &[line]).unwrap();
        let picture = image::load_from_memory(&bytes).unwrap().into_rgb8();
        assert_eq!(picture.dimensions(), (1440, 640));
        let at = |x: f64, y: f64| *picture.get_pixel((x * SCALE) as u32, (y * SCALE) as u32);
        let (right, bottom) = (SIZE[0] - ROOM[2], SIZE[1] - ROOM[3]);
        assert_eq!(at(ROOM[0], bottom), colour(0));
        assert_eq!(at(right, ROOM[1]), colour(0));
        assert_eq!(
            at((ROOM[0] + right) / 2.0, (ROOM[1] + bottom) / 2.0),
            colour(0)
        );
        assert_eq!(at(ROOM[0] + 40.0, ROOM[1] + 10.0), Rgb([255; 3]));
        png("x", "y", &[]).unwrap();
    }
}
