//! The HTML of a page that needs no other file.

use std::fmt::Write;

use crate::chart::escape;

const STYLE: &str = "body{font-family:sans-serif;max-width:60em;margin:2em auto;padding:0 1em;color:#222}\
svg{max-width:100%;display:block;margin:1em 0}table{border-collapse:collapse}\
td,th{padding:.15em .8em;text-align:right;border-bottom:1px solid #ddd}\
td:first-child,th:first-child{text-align:left}\
figure{display:inline-block;width:9em;margin:.3em;vertical-align:top;font-size:.75em}\
pre{background:#f5f5f5;padding:1em;overflow-x:auto}";

/// A page under construction.
pub(crate) struct Page(String);

impl Page {
    pub(crate) fn new(title: &str) -> Page {
        let title = escape(title);
        Page(format!(
            "<!DOCTYPE html>\n<html><head><meta charset=\"utf-8\"><title>{title}</title>\
             <style>{STYLE}</style></head>\n<body><h1>{title}</h1>\n"
        ))
    }

    pub(crate) fn heading(&mut self, text: &str) {
        self.raw(&format!("<h2>{}</h2>", escape(text)));
    }

    pub(crate) fn paragraph(&mut self, text: &str) {
        self.raw(&format!("<p>{}</p>", escape(text)));
    }

    pub(crate) fn preformatted(&mut self, text: &str) {
        self.raw(&format!("<pre>{}</pre>", escape(text)));
    }

    pub(crate) fn table(&mut self, head: &[&str], rows: Vec<Vec<String>>) {
        let line = |cell: &str, texts: &mut dyn Iterator<Item = &str>| {
            let cells = texts.map(|text| format!("<{cell}>{}</{cell}>", escape(text)));
            format!("<tr>{}</tr>", cells.collect::<String>())
        };
        self.raw("<table>");
        self.raw(&line("th", &mut head.iter().copied()));
        for row in &rows {
            self.raw(&line("td", &mut row.iter().map(String::as_str)));
        }
        self.raw("</table>");
    }

    /// HTML as it is.
    pub(crate) fn raw(&mut self, html: &str) {
        self.0.push_str(html);
        self.0.push('\n');
    }

    pub(crate) fn finish(mut self) -> String {
        self.0.push_str("</body></html>\n");
        self.0
    }
}

/// A confusion matrix as SVG: a row for what it was, a column for what was said; the darker, the larger
/// the part of the row. What is right is blue, the rest red.
pub(crate) fn matrix(names: &[String], counts: &[Vec<usize>]) -> String {
    // Few classes have larger cells; the names have room for Chinese letters.
    let cell = (400 / names.len().max(1)).clamp(18, 48);
    let letters = names.iter().map(|name| name.chars().count());
    let room = (11 * letters.max().unwrap_or(0)).clamp(60, 190);
    let font = 8 + cell / 12;
    let side = room + cell * names.len();
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {side} {side}\" \
         width=\"{side}\" font-family=\"sans-serif\" font-size=\"10\">\n"
    );
    for (row, name) in names.iter().enumerate() {
        let place = room + row * cell;
        let (text, middle) = (escape(name), place + cell / 2 + 3);
        let _ = writeln!(
            svg,
            "<text x=\"{}\" y=\"{middle}\" text-anchor=\"end\">{text}</text>\
             <text transform=\"translate({middle} {}) rotate(-90)\">{text}</text>",
            room - 5,
            room - 5
        );
        let total: usize = counts[row].iter().sum();
        for (column, &count) in counts[row].iter().enumerate() {
            let part = count as f64 / total.max(1) as f64;
            let shade = match row == column {
                true => format!("rgb({0:.0},{0:.0},255)", 250.0 - 170.0 * part),
                false => format!("rgb(255,{0:.0},{0:.0})", 250.0 - 200.0 * part.sqrt()),
            };
            let number = match count {
                0 => String::new(),
                count => count.to_string(),
            };
            let (x, y) = (room + column * cell, place);
            let _ = writeln!(
                svg,
                "<rect x=\"{x}\" y=\"{y}\" width=\"{cell}\" height=\"{cell}\" fill=\"{shade}\" \
                 stroke=\"#eee\"><title>{text}, said {}: {count}</title></rect>\
                 <text x=\"{}\" y=\"{middle}\" text-anchor=\"middle\" font-size=\"{font}\">{number}</text>",
                escape(&names[column]),
                x + cell / 2
            );
        }
    }
    svg.push_str("</svg>\n");
    svg
}

/// Bytes in base 64 (RFC 4648).
pub(crate) fn base64(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = String::with_capacity(bytes.len().div_ceil(3) * 4);
    for group in bytes.chunks(3) {
        let byte = |n: usize| u32::from(group.get(n).copied().unwrap_or(0));
        let bits = byte(0) << 16 | byte(1) << 8 | byte(2);
        for digit in 0..4 {
            let value = (bits >> (18 - 6 * digit)) as usize % 64;
            match digit <= group.len() {
                true => text.push(char::from(DIGITS[value])),
                false => text.push('='),
            }
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn base64_is_the_standards() {
        for (bytes, text) in [
            ("", ""),
            ("f", "Zg=="),
            ("fo", "Zm8="),
            ("foo", "Zm9v"),
            ("foob", "Zm9vYg=="),
            ("foobar", "Zm9vYmFy"),
        ] {
            assert_eq!(base64(bytes.as_bytes()), text);
        }
        assert_eq!(base64(&[0xfb, 0xff, 0xfe]), "+//+");
    }

    #[test]
    fn a_page_has_what_was_put_in_and_no_markup_of_others() {
        let mut page = Page::new("<b>");
        page.paragraph("a & b");
        page.table(&["x"], vec![vec!["<script>".into()]]);
        page.raw(&matrix(
            &["p".into(), "<q>".into()],
            &[vec![3, 1], vec![0, 0]],
        ));
        let html = page.finish();
        assert!(html.contains("a &amp; b") && html.contains("&lt;script&gt;"));
        assert!(html.contains("p, said &lt;q&gt;: 1"));
        assert!(!html.contains("<script>") && !html.contains("<q>") && !html.contains("<b>"));
    }
}
