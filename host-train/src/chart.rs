//! Charts: lines as SVG or as pixels, and [`bars`].

mod bars;
mod png;

use std::fmt::Write;

pub(crate) use bars::{Series, bars};
pub(crate) use png::png;

/// One line of a chart.
pub(crate) struct Line {
    pub(crate) name: String,
    /// Points from left to right.
    pub(crate) points: Vec<[f64; 2]>,
}

/// Width and height of a chart in pixels.
const SIZE: [f64; 2] = [720.0, 320.0];
/// Room around the lines: left, top, right, bottom.
const ROOM: [f64; 4] = [80.0, 30.0, 20.0, 45.0];
const COLOURS: [&str; 6] = [
    "#1f6fb4", "#d1600e", "#2e8b3d", "#b3261e", "#6d4fa3", "#7a5c3e",
];

/// Where values lie on a chart.
struct Layout {
    x_range: [f64; 2],
    y_range: [f64; 2],
}

impl Layout {
    /// Axes from 0 (or the lowest value below it) to the highest value.
    fn new(lines: &[Line]) -> Layout {
        let range = |axis: usize| {
            let values = lines.iter().flat_map(|line| &line.points).map(|p| p[axis]);
            let finite = values.filter(|value| value.is_finite());
            let (low, high) = finite.fold((0.0f64, 0.0f64), |(low, high), value| {
                (low.min(value), high.max(value))
            });
            [low, if high > low { high } else { low + 1.0 }]
        };
        Layout {
            x_range: range(0),
            y_range: range(1),
        }
    }

    fn x(&self, value: f64) -> f64 {
        ROOM[0] + part(value, self.x_range) * (SIZE[0] - ROOM[0] - ROOM[2])
    }

    fn y(&self, value: f64) -> f64 {
        SIZE[1] - ROOM[3] - part(value, self.y_range) * (SIZE[1] - ROOM[1] - ROOM[3])
    }
}

/// Round numbers in a range, at most seven of them.
fn ticks([low, high]: [f64; 2]) -> Vec<f64> {
    let rough = (high - low) / 6.0;
    let power = 10f64.powf(rough.log10().floor());
    let wide_enough = |times: &&f64| *times * power >= rough * (1.0 - 1e-9);
    let step = power * [1.0, 2.0, 5.0].iter().find(wide_enough).unwrap_or(&10.0);
    let [first, last] = [
        (low / step - 1e-6).ceil() as i64,
        (high / step + 1e-6).floor() as i64,
    ];
    (first..=last).map(|n| n as f64 * step).collect()
}

fn part(value: f64, [low, high]: [f64; 2]) -> f64 {
    (value - low) / (high - low)
}

/// The chart as SVG.
pub(crate) fn svg(x_name: &str, y_name: &str, lines: &[Line]) -> String {
    draw(x_name, y_name, lines, &Layout::new(lines))
}

/// The chart as SVG, with this part of the y axis.
pub(crate) fn svg_between(x_name: &str, y_name: &str, lines: &[Line], y_range: [f64; 2]) -> String {
    let layout = Layout {
        y_range,
        ..Layout::new(lines)
    };
    draw(x_name, y_name, lines, &layout)
}

fn draw(x_name: &str, y_name: &str, lines: &[Line], layout: &Layout) -> String {
    let x = |value| layout.x(value);
    let y = |value| layout.y(value);
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {0} {1}\" width=\"{0}\" font-family=\"sans-serif\" \
         font-size=\"12\">\n<rect width=\"100%\" height=\"100%\" fill=\"white\"/>\n",
        SIZE[0], SIZE[1]
    );
    let mut add = |text: String| {
        let _ = writeln!(svg, "{text}");
    };
    let [left, right] = layout.x_range.map(x);
    for up in ticks(layout.y_range) {
        add(format!(
            "<path d=\"M{left:.1} {height:.1}H{right:.1}\" stroke=\"#ddd\"/><text x=\"{label:.1}\" \
             y=\"{text:.1}\" text-anchor=\"end\">{up}</text>",
            height = y(up),
            label = left - 6.0,
            text = y(up) + 4.0,
            up = number(up),
        ));
    }
    for across in ticks(layout.x_range) {
        add(format!(
            "<text x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"middle\">{}</text>",
            x(across),
            SIZE[1] - ROOM[3] + 16.0,
            number(across)
        ));
    }
    let name_room = (SIZE[0] - ROOM[0]) / lines.len().max(4) as f64;
    for (index, line) in lines.iter().enumerate() {
        let colour = COLOURS[index % COLOURS.len()];
        let points: Vec<String> = line
            .points
            .iter()
            .filter(|point| point.iter().all(|value| value.is_finite()))
            .map(|[across, up]| format!("{:.1},{:.1}", x(*across), y(*up)))
            .collect();
        add(format!(
            "<polyline points=\"{}\" fill=\"none\" stroke=\"{colour}\" stroke-width=\"1.6\"/>",
            points.join(" ")
        ));
        add(format!(
            "<text x=\"{:.1}\" y=\"18\" fill=\"{colour}\">{}</text>",
            ROOM[0] + name_room * index as f64,
            escape(&line.name)
        ));
    }
    add(format!(
        "<text x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"middle\">{}</text>",
        SIZE[0] / 2.0,
        SIZE[1] - 8.0,
        escape(x_name)
    ));
    add(format!(
        "<text transform=\"translate(14 {:.1}) rotate(-90)\" text-anchor=\"middle\">{}</text>",
        SIZE[1] / 2.0,
        escape(y_name)
    ));
    svg.push_str("</svg>\n");
    svg
}

/// At most three significant digits.
fn number(value: f64) -> String {
    let short = |digits: String| match digits.contains('.') {
        true => digits
            .trim_end_matches('0')
            .trim_end_matches('.')
            .to_owned(),
        false => digits,
    };
    match value.abs() {
        0.0 => "0".to_owned(),
        size if size < 1e-3 => {
            let digits = format!("{value:.2e}");
            let (digits, power) = digits.split_once('e').unwrap_or((&digits, "0"));
            format!("{}e{power}", short(digits.to_owned()))
        }
        size if size < 100.0 => {
            let before_the_point = size.log10().floor() as i32;
            short(format!(
                "{value:.*}",
                (2 - before_the_point).max(0) as usize
            ))
        }
        _ => format!("{value:.0}"),
    }
}

/// Text inside of SVG or HTML.
pub(crate) fn escape(text: &str) -> String {
    text.replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('>', "&gt;")
        .replace('"', "&quot;")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_span_the_chart_and_names_are_escaped() {
        let line = Line {
            name: "a < b".into(),
            points: vec![[0.0, 2.0], [5.0, f64::NAN], [10.0, 0.0]],
        };
        let svg = svg("step", "rate", &[line]);
        assert!(svg.contains("a &lt; b") && !svg.contains("NaN"), "{svg}");
        let corners = format!(
            "{:.1},{:.1} {:.1},{:.1}",
            ROOM[0],
            ROOM[1],
            SIZE[0] - ROOM[2],
            SIZE[1] - ROOM[3]
        );
        assert!(svg.contains(&corners), "{svg}");
    }

    #[test]
    fn numbers_have_three_digits() {
        let values = [0.0, 5e-4, 0.0015, 0.25, -2.0, 42.5, 639.0];
        let expect = ["0", "5e-4", "0.0015", "0.25", "-2", "42.5", "639"];
        assert_eq!(values.map(number), expect);
    }

    #[test]
    fn ticks_are_round_numbers() {
        let numbers = |range| ticks(range).into_iter().map(number).collect::<Vec<_>>();
        assert_eq!(numbers([0.0, 31.0]), ["0", "10", "20", "30"]);
        assert_eq!(
            numbers([0.7, 1.0]),
            ["0.7", "0.75", "0.8", "0.85", "0.9", "0.95", "1"]
        );
        assert_eq!(
            numbers([0.0, 0.002]),
            ["0", "5e-4", "0.001", "0.0015", "0.002"]
        );
    }

    #[test]
    fn a_chart_of_nothing_is_a_chart() {
        assert!(svg("x", "y", &[]).ends_with("</svg>\n"));
    }
}
