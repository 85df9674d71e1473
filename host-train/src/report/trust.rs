//! How far scores can be trusted, and what thresholds on them cost.

use models::LabelSet;

use super::page::Page;
use crate::calibrate::{calibration_error, category_scores, rescaled, temperature, thresholds};
use crate::chart::{Line, svg, svg_between};
use crate::step::highest;

/// Ranges of the score in the reliability diagram.
const RANGES: usize = 10;
/// Purities of the table.
const PURITIES: [f64; 5] = [0.95, 0.98, 0.99, 0.995, 1.0];
/// The purity chart leaves out the first photos, of which one is a large part.
const LEAST_YIELD: f64 = 0.05;

/// Photos whose score lies in one range.
#[derive(Clone, Copy, Default)]
struct Range {
    photos: usize,
    score: f64,
    right: usize,
}

impl Range {
    fn mean(&self) -> f64 {
        self.score / self.photos as f64
    }

    fn accuracy(&self) -> f64 {
        self.right as f64 / self.photos as f64
    }
}

/// How often photos with a score are right, before and after calibration. Gives the calibrated scores.
pub(super) fn reliability(page: &mut Page, scores: &[Vec<f32>], items: &[usize]) -> Vec<Vec<f32>> {
    let temperature = temperature(scores, items);
    let rescale = |row: &Vec<f32>| rescaled(row, temperature);
    let calibrated: Vec<Vec<f32>> = scores.iter().map(rescale).collect();
    let line = |name: &str, ranges: &[Range]| Line {
        name: name.to_owned(),
        points: ranges.iter().map(|r| [r.mean(), r.accuracy()]).collect(),
    };
    let ranges = filled_ranges(&calibrated, items);
    let lines = [
        line("as trained", &filled_ranges(scores, items)),
        line("calibrated", &ranges),
        Line {
            name: "as it should be".into(),
            points: vec![[0.0, 0.0], [1.0, 1.0]],
        },
    ];
    page.heading("Reliability");
    let percent = |part: f64| format!("{:.1}%", 100.0 * part);
    page.paragraph(&format!(
        "How often the item is right, over its score. Export divides the logits by the temperature \
         {temperature:.2}: the expected calibration error is {} before and {} after that.",
        percent(calibration_error(scores, items)),
        percent(calibration_error(&calibrated, items))
    ));
    page.raw(&svg("score", "right", &lines));
    let row = |range: &Range| {
        let numbers = [range.mean(), range.accuracy()].map(percent);
        let [mean, right] = numbers;
        vec![mean, right, range.photos.to_string()]
    };
    page.table(
        &["calibrated score", "right", "photos"],
        ranges.iter().map(row).collect(),
    );
    calibrated
}

/// The ranges of the highest score that have photos.
fn filled_ranges(scores: &[Vec<f32>], items: &[usize]) -> Vec<Range> {
    let mut ranges = vec![Range::default(); RANGES];
    for (row, &item) in scores.iter().zip(items) {
        let best = highest(row);
        let range = &mut ranges[((row[best] * RANGES as f32) as usize).min(RANGES - 1)];
        range.photos += 1;
        range.score += f64::from(row[best]);
        range.right += usize::from(best == item);
    }
    ranges.retain(|range| range.photos > 0);
    ranges
}

/// How pure each category is, over the part of its photos that are sorted as it.
pub(super) fn purity(page: &mut Page, scores: &[Vec<f32>], items: &[usize], labels: &LabelSet) {
    let categories = labels.categories();
    let mut decided: Vec<Vec<(f32, bool)>> = vec![Vec::new(); categories.len()];
    let mut photos = vec![0usize; categories.len()];
    for (row, &item) in scores.iter().zip(items) {
        let sums = category_scores(row, labels);
        let (category, own) = (highest(&sums), labels.category_of(item));
        decided[category].push((sums[category], category == own));
        photos[own] += 1;
    }
    let all = Line {
        name: "all".into(),
        points: yield_and_purity(decided.concat(), scores.len()),
    };
    let own = decided.iter().zip(&photos).zip(categories);
    let own = own.map(|((decided, &photos), name)| Line {
        name: name.clone(),
        points: yield_and_purity(decided.clone(), photos),
    });
    let lines: Vec<Line> = std::iter::once(all).chain(own).collect();
    let points = lines.iter().flat_map(|line| &line.points);
    let lowest = points.map(|[_, purity]| *purity).fold(0.95, f64::min);
    page.heading("Purity against yield");
    page.paragraph(
        "The surest photos first: the part of a category's photos that is sorted as it, and how much of \
         all that is sorted as this category is of it.",
    );
    let low = (lowest * 20.0).floor() / 20.0;
    page.raw(&svg_between("yield", "purity", &lines, [low, 1.0]));
    page.paragraph(
        "What is left of each category when export --purity asks for so much purity on these photos:",
    );
    let rows = PURITIES.iter().map(|&wanted| {
        let wanted_each = vec![wanted; categories.len()];
        let thresholds = thresholds(scores, items, labels, &wanted_each, 0.0);
        let left = decided.iter().zip(&thresholds).zip(&photos);
        let left = left.map(|((decided, threshold), &photos)| {
            let accepted = decided.iter().filter(|(score, _)| score >= threshold);
            let right = accepted.filter(|(_, right)| *right).count();
            match photos {
                0 => "–".to_owned(),
                photos => format!("{:.1}%", 100.0 * right as f64 / photos as f64),
            }
        });
        std::iter::once(format!("{:.1}%", 100.0 * wanted))
            .chain(left)
            .collect()
    });
    let mut head = vec!["purity"];
    head.extend(categories.iter().map(String::as_str));
    page.table(&head, rows.collect());
}

/// After each photo, the surest first: which part of `photos` was rightly accepted so far, and which
/// part of what was accepted is right.
fn yield_and_purity(mut decided: Vec<(f32, bool)>, photos: usize) -> Vec<[f64; 2]> {
    decided.sort_by(|a, b| b.0.total_cmp(&a.0));
    let mut right = 0usize;
    let point = |(index, (_, is_right)): (usize, (f32, bool))| {
        right += usize::from(is_right);
        let accepted = index + 1;
        [
            right as f64 / photos.max(1) as f64,
            right as f64 / accepted as f64,
        ]
    };
    let points = decided.into_iter().enumerate().map(point);
    points.filter(|[part, _]| *part >= LEAST_YIELD).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_surest_photos_come_first() {
        let decided = vec![(0.5, false), (0.9, true), (0.7, true), (0.4, true)];
        let points = yield_and_purity(decided, 4);
        let expect = [[0.25, 1.0], [0.5, 1.0], [0.5, 2.0 / 3.0], [0.75, 0.75]];
        assert_eq!(points, expect);
    }

    #[test]
    fn photos_are_counted_in_the_range_of_their_score() {
        let scores = vec![vec![0.97, 0.03], vec![0.05, 0.95], vec![0.55, 0.45]];
        let ranges = filled_ranges(&scores, &[0, 0, 0]);
        let counts: Vec<_> = ranges.iter().map(|r| [r.photos, r.right]).collect();
        assert_eq!(counts, [[1, 1], [2, 1]]);
        assert!((ranges[1].mean() - 0.96).abs() < 1e-6);
    }
}
