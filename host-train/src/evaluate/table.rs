//! The figures as a table for a person.

use std::fmt::Write;

use super::tally::Report;

/// The whole report as text.
pub(super) fn render(report: &Report) -> String {
    let mut text = String::new();
    let bundle = &report.bundle;
    let split = report
        .split
        .as_ref()
        .map(|s| format!(", split {s}"))
        .unwrap_or_default();
    // Writing to a string cannot fail.
    let _ = writeln!(
        text,
        "bundle      {} {} ({})",
        bundle.name, bundle.version, bundle.network
    );
    let _ = writeln!(
        text,
        "photos      {} from {}{split}",
        report.items, report.data
    );
    if let Some(tta) = report.tta {
        let _ = writeln!(
            text,
            "views       {tta}: mean scores of several views of each photo"
        );
    }
    let _ = writeln!(
        text,
        "items       {} right",
        percent(Some(report.item_accuracy)).trim()
    );
    let _ = writeln!(
        text,
        "categories  {} right",
        percent(Some(report.category_accuracy)).trim()
    );
    let rejected = report.rejected as f64 / report.items.max(1) as f64;
    let _ = writeln!(
        text,
        "rejected    {} ({})",
        report.rejected,
        percent(Some(rejected)).trim()
    );
    let ms = &report.ms_per_image;
    let _ = writeln!(
        text,
        "time        {:.1} ms a photo (p50 {:.1}, p95 {:.1}): preprocessing and network on one thread, \
         {} at a time",
        ms.mean, ms.p50, ms.p95, report.threads
    );
    text.push('\n');
    text.push_str(&categories(report));
    text.push('\n');
    text.push_str(&items(report));
    text.push_str(
        "\nItems and categories count every photo. Purity and recall count what a chute would hold:\n\
         a rejected photo is in no chute.\n",
    );
    text
}

fn categories(report: &Report) -> String {
    let rows = report.categories.iter().map(|c| {
        let numbers = vec![
            c.items.to_string(),
            percent(c.purity),
            percent(c.recall),
            c.rejected.to_string(),
        ];
        (c.name.clone(), numbers, String::new())
    });
    table(
        ["category", "photos", "purity", "recall", "rejected", ""],
        rows.collect(),
    )
}

/// The worst first; items that have no photos and were never named are left out.
fn items(report: &Report) -> String {
    let mut classes: Vec<_> = report
        .classes
        .iter()
        .filter(|c| c.items > 0 || c.predicted > 0)
        .collect();
    let recall = |r: Option<f64>| r.unwrap_or(2.0);
    classes.sort_by(|a, b| {
        recall(a.recall)
            .total_cmp(&recall(b.recall))
            .then(a.id.cmp(&b.id))
    });
    let rows = classes.into_iter().map(|c| {
        let numbers = vec![
            c.items.to_string(),
            c.correct.to_string(),
            percent(c.recall),
            percent(c.precision),
        ];
        let other = c
            .mistaken_for
            .as_ref()
            .map(|(item, n)| format!("{item} ({n})"));
        (
            format!("{}/{}", c.category, c.item),
            numbers,
            other.unwrap_or_default(),
        )
    });
    table(
        [
            "item, worst first",
            "photos",
            "right",
            "recall",
            "precision",
            "mistaken for",
        ],
        rows.collect(),
    )
}

/// A name, numbers flush right, and a remark.
fn table(head: [&str; 6], rows: Vec<(String, Vec<String>, String)>) -> String {
    let first = rows
        .iter()
        .map(|(name, ..)| width(name))
        .chain([width(head[0])])
        .max()
        .unwrap_or(0);
    let mut text = String::new();
    let mut line = |name: &str, numbers: &[String], remark: &str| {
        let mut row = format!("{name}{}", " ".repeat(first - width(name)));
        for (number, title) in numbers.iter().zip(&head[1..5]) {
            let _ = write!(row, "  {number:>columns$}", columns = title.len().max(6));
        }
        let _ = writeln!(text, "{}", format!("{row}  {remark}").trim_end());
    };
    let titles: Vec<String> = head[1..5].iter().map(|t| (*t).to_owned()).collect();
    line(head[0], &titles, head[5]);
    for (name, numbers, remark) in &rows {
        line(name, numbers, remark);
    }
    text
}

fn percent(fraction: Option<f64>) -> String {
    fraction.map_or_else(|| "-".to_owned(), |f| format!("{:.1}%", f * 100.0))
}

/// Columns on a terminal: Chinese, Japanese and Korean characters take two.
fn width(text: &str) -> usize {
    let wide = |c: char| {
        matches!(u32::from(c), 0x1100..=0x115f | 0x2e80..=0xa4cf | 0xac00..=0xd7a3
            | 0xf900..=0xfaff | 0xfe30..=0xfe6f | 0xff00..=0xff60 | 0xffe0..=0xffe6 | 0x20000..=0x3fffd)
    };
    text.chars().map(|c| if wide(c) { 2 } else { 1 }).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_line_up_whatever_the_script() {
        let row = |name: &str| (name.to_owned(), vec!["1".to_owned(); 4], "x".to_owned());
        let text = table(
            ["name", "photos", "right", "recall", "precision", "like"],
            vec![row("可回收物/易拉罐"), row("dry/paper")],
        );
        let remarks: Vec<usize> = text
            .lines()
            .map(|line| width(line.trim_end_matches("like").trim_end_matches('x')))
            .collect();
        assert_eq!(remarks, [remarks[0]; 3], "\n{text}");
    }

    #[test]
    fn nothing_to_divide_is_a_dash() {
        assert_eq!(percent(None), "-");
        assert_eq!(percent(Some(0.9471)), "94.7%");
    }
}
