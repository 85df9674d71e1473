//! Bars beside names, as SVG.

use std::fmt::Write;

use super::{COLOURS, escape, number};

/// What one colour of bars shows.
pub(crate) struct Series {
    pub(crate) name: &'static str,
    /// One for every name; nothing has no bar.
    pub(crate) values: Vec<Option<f64>>,
}

/// Width of the chart, of the names, and of the numbers at the ends of bars, in pixels.
const WIDTH: f64 = 720.0;
const NAMES: f64 = 230.0;
const NUMBERS: f64 = 60.0;
/// Height of a bar, of the gap between names, and of the line with the names of the series.
const BAR: f64 = 9.0;
const GAP: f64 = 7.0;
const HEAD: f64 = 26.0;

/// A bar of every series for each name, from 0.
pub(crate) fn bars(names: &[String], unit: &str, series: &[Series]) -> String {
    let values = series.iter().flat_map(|series| &series.values).flatten();
    let [low, high] = values.fold([0.0f64; 2], |[low, high], value| {
        [low.min(*value), high.max(*value)]
    });
    let span = if high > low { high - low } else { 1.0 };
    let per_unit = (WIDTH - NAMES - NUMBERS) / span;
    let x = |value: f64| NAMES + (value - low) * per_unit;
    let row = BAR * series.len() as f64 + GAP;
    let height = HEAD + row * names.len() as f64;
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {height}\" width=\"{WIDTH}\" \
         font-family=\"sans-serif\" font-size=\"11\">\n<rect width=\"100%\" height=\"100%\" fill=\"white\"/>\n"
    );
    let mut add = |text: String| {
        let _ = writeln!(svg, "{text}");
    };
    for (index, series) in series.iter().enumerate() {
        add(format!(
            "<text x=\"{:.1}\" y=\"16\" fill=\"{}\">{}</text>",
            NAMES + 150.0 * index as f64,
            COLOURS[index % COLOURS.len()],
            escape(series.name)
        ));
    }
    for (index, name) in names.iter().enumerate() {
        let top = HEAD + row * index as f64;
        add(format!(
            "<text x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"end\">{}</text>",
            NAMES - 6.0,
            top + (row - GAP) / 2.0 + 4.0,
            escape(name)
        ));
        for (place, series) in series.iter().enumerate() {
            let Some(value) = series.values.get(index).copied().flatten() else {
                continue;
            };
            let [from, to] = [x(value.min(0.0)), x(value.max(0.0))];
            let y = top + BAR * place as f64;
            add(format!(
                "<rect x=\"{from:.1}\" y=\"{y:.1}\" width=\"{:.1}\" height=\"{BAR}\" fill=\"{}\"/>\
                 <text x=\"{:.1}\" y=\"{:.1}\" font-size=\"9\">{}{unit}</text>",
                to - from,
                COLOURS[place % COLOURS.len()],
                to + 4.0,
                y + BAR - 1.0,
                number(value),
            ));
        }
    }
    svg.push_str("</svg>\n");
    svg
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bars_reach_from_0_to_their_values_and_what_is_missing_has_none() {
        let names = ["a < b".to_owned(), "c".to_owned()];
        let first = Series {
            name: "f32",
            values: vec![Some(100.0), Some(50.0)],
        };
        let second = Series {
            name: "int8",
            values: vec![None, Some(0.0)],
        };
        let svg = bars(&names, "%", &[first, second]);
        let full = WIDTH - NAMES - NUMBERS;
        for part in [1.0, 0.5, 0.0] {
            let width = format!("width=\"{:.1}\" height=\"{BAR}\"", full * part);
            assert_eq!(svg.matches(&width).count(), 1, "{width} in {svg}");
        }
        assert!(svg.contains("a &lt; b") && svg.contains(">50%<"), "{svg}");
    }

    #[test]
    fn a_chart_of_nothing_is_a_chart() {
        assert!(bars(&[], "", &[]).ends_with("</svg>\n"));
        let nothing = Series {
            name: "",
            values: vec![Some(0.0)],
        };
        assert!(!bars(&["a".to_owned()], "", &[nothing]).contains("NaN"));
    }
}
