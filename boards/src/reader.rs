//! Takes TOML tables apart, key by key, and notes every fault with its line.

use crate::error::{Fault, Problem};
use toml::Spanned;
use toml::de::{DeTable, DeValue};

/// A value and the line it stands on.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Field<T> {
    pub(crate) value: T,
    pub(crate) line: usize,
}

/// Where faults are gathered; knows the text, so that it can turn offsets into lines.
pub(crate) struct Faults<'t> {
    text: &'t str,
    list: Vec<Fault>,
}

impl<'t> Faults<'t> {
    pub(crate) fn new(text: &'t str) -> Self {
        Self {
            text,
            list: Vec::new(),
        }
    }

    pub(crate) fn line_of(&self, offset: usize) -> usize {
        let end = offset.min(self.text.len());
        1 + self.text.as_bytes()[..end]
            .iter()
            .filter(|&&b| b == b'\n')
            .count()
    }

    pub(crate) fn add(&mut self, line: usize, problem: Problem) {
        self.list.push(Fault { line, problem });
    }

    /// All faults in the order of their lines.
    pub(crate) fn into_sorted(mut self) -> Vec<Fault> {
        self.list.sort_by_key(|f| f.line);
        self.list
    }
}

/// One table that is being read. Keys are taken out; what is left at the end is unknown.
pub(crate) struct Section<'t> {
    name: String,
    line: usize,
    table: DeTable<'t>,
}

impl<'t> Section<'t> {
    pub(crate) fn new(name: &str, line: usize, table: DeTable<'t>) -> Self {
        Self {
            name: name.to_owned(),
            line,
            table,
        }
    }

    /// The table's name as it stands in the file.
    pub(crate) fn title(&self) -> &str {
        &self.name
    }

    /// The name of a table below this one, as it would stand in the file.
    fn title_of(&self, key: &str) -> String {
        match self.name.strip_suffix(']') {
            Some(prefix) => format!("{prefix}.{key}]"),
            None => format!("[{key}]"),
        }
    }

    pub(crate) fn line(&self) -> usize {
        self.line
    }

    fn take(&mut self, key: &str) -> Option<Spanned<DeValue<'t>>> {
        let found = self.table.keys().find(|k| k.as_ref() == key)?.clone();
        self.table.remove(&found)
    }

    fn missing(&self, key: &str, faults: &mut Faults<'_>) {
        faults.add(
            self.line,
            Problem::Missing {
                section: self.name.clone(),
                key: key.to_owned(),
            },
        );
    }

    /// A number within `min..=max` that must be there.
    pub(crate) fn number(
        &mut self,
        key: &str,
        (min, max): (f64, f64),
        faults: &mut Faults<'_>,
    ) -> Option<Field<f64>> {
        let Some(value) = self.take(key) else {
            self.missing(key, faults);
            return None;
        };
        let line = faults.line_of(value.span().start);
        let Some(number) = as_number(value.get_ref()) else {
            faults.add(line, wrong(key, "a number"));
            return None;
        };
        if !(min..=max).contains(&number) {
            let key = key.to_owned();
            faults.add(
                line,
                Problem::OutOfRange {
                    key,
                    value: number,
                    min,
                    max,
                },
            );
            return None;
        }
        Some(Field {
            value: number,
            line,
        })
    }

    /// As [`Section::number`], with a value for when the key is absent.
    pub(crate) fn number_or(
        &mut self,
        key: &str,
        default: f64,
        range: (f64, f64),
        faults: &mut Faults<'_>,
    ) -> Option<Field<f64>> {
        if self.has(key) {
            return self.number(key, range, faults);
        }
        Some(Field {
            value: default,
            line: self.line,
        })
    }

    pub(crate) fn has(&self, key: &str) -> bool {
        self.table.keys().any(|k| k.as_ref() == key)
    }

    /// So many numbers within `min..=max`, `[a, b, ..]`, that must be there.
    pub(crate) fn array<const N: usize>(
        &mut self,
        key: &str,
        (min, max): (f64, f64),
        faults: &mut Faults<'_>,
    ) -> Option<Field<[f64; N]>> {
        let Some(value) = self.take(key) else {
            self.missing(key, faults);
            return None;
        };
        let line = faults.line_of(value.span().start);
        let numbers: Option<Vec<f64>> = value
            .get_ref()
            .as_array()
            .and_then(|a| a.iter().map(|v| as_number(v.get_ref())).collect());
        let Some(numbers) = numbers.and_then(|n| <[f64; N]>::try_from(n).ok()) else {
            let expected = match N {
                2 => "two numbers, [a, b]",
                _ => "four numbers, [a, b, c, d]",
            };
            faults.add(line, wrong(key, expected));
            return None;
        };
        for value in numbers {
            if !(min..=max).contains(&value) {
                let key = key.to_owned();
                faults.add(
                    line,
                    Problem::OutOfRange {
                        key,
                        value,
                        min,
                        max,
                    },
                );
                return None;
            }
        }
        Some(Field {
            value: numbers,
            line,
        })
    }

    /// A string that must be there.
    pub(crate) fn string(&mut self, key: &str, faults: &mut Faults<'_>) -> Option<Field<String>> {
        let found = self.optional_string(key, faults);
        if let Found::Absent = found {
            self.missing(key, faults);
        }
        found.into_option()
    }

    /// A string that may be absent.
    pub(crate) fn optional_string(&mut self, key: &str, faults: &mut Faults<'_>) -> Found {
        let Some(value) = self.take(key) else {
            return Found::Absent;
        };
        let line = faults.line_of(value.span().start);
        match value.get_ref().as_str() {
            Some(text) if !text.trim().is_empty() => Found::Good(Field {
                value: text.to_owned(),
                line,
            }),
            _ => {
                faults.add(line, wrong(key, "a string that is not empty"));
                Found::Bad
            }
        }
    }

    /// `true` or `false`; `false` when absent.
    pub(crate) fn flag(&mut self, key: &str, faults: &mut Faults<'_>) -> bool {
        let Some(value) = self.take(key) else {
            return false;
        };
        value.get_ref().as_bool().unwrap_or_else(|| {
            let line = faults.line_of(value.span().start);
            faults.add(line, wrong(key, "true or false"));
            false
        })
    }

    /// A table below this one that must be there.
    pub(crate) fn section(&mut self, key: &str, faults: &mut Faults<'_>) -> Option<Section<'t>> {
        let Some(value) = self.take(key) else {
            self.missing(key, faults);
            return None;
        };
        let line = faults.line_of(value.span().start);
        match value.into_inner() {
            DeValue::Table(table) => Some(Section::new(&self.title_of(key), line, table)),
            _ => {
                faults.add(line, wrong(key, "a table"));
                None
            }
        }
    }

    /// Every table below this one, by name, in the order of the file.
    pub(crate) fn sections(&mut self, faults: &mut Faults<'_>) -> Vec<(String, Section<'t>)> {
        let mut found = Vec::new();
        for (key, value) in std::mem::take(&mut self.table) {
            let start = key.span().start;
            let line = faults.line_of(start);
            let name = key.into_inner().into_owned();
            match value.into_inner() {
                DeValue::Table(table) => {
                    let title = self.title_of(&name);
                    found.push((start, name, Section::new(&title, line, table)));
                }
                _ => faults.add(line, wrong(&name, "a table")),
            }
        }
        found.sort_by_key(|(start, _, _)| *start);
        found.into_iter().map(|(_, n, s)| (n, s)).collect()
    }

    /// Every key with its string, in the order of the file.
    pub(crate) fn strings(&mut self, faults: &mut Faults<'_>) -> Vec<(String, Field<String>)> {
        let mut found = Vec::new();
        for (key, value) in std::mem::take(&mut self.table) {
            let start = key.span().start;
            let line = faults.line_of(start);
            let name = key.into_inner().into_owned();
            match value.get_ref().as_str() {
                Some(text) => {
                    let value = text.to_owned();
                    found.push((start, name, Field { value, line }));
                }
                None => faults.add(line, wrong(&name, "a string")),
            }
        }
        found.sort_by_key(|(start, _, _)| *start);
        found.into_iter().map(|(_, n, f)| (n, f)).collect()
    }

    /// Every key with its whole number, in the order of the file.
    pub(crate) fn integers(&mut self, faults: &mut Faults<'_>) -> Vec<(String, i64)> {
        let mut found = Vec::new();
        for (key, value) in std::mem::take(&mut self.table) {
            let start = key.span().start;
            let line = faults.line_of(start);
            let name = key.into_inner().into_owned();
            let number = match value.get_ref() {
                DeValue::Integer(i) => i64::from_str_radix(i.as_str(), i.radix()).ok(),
                DeValue::Boolean(b) => Some(i64::from(*b)),
                _ => None,
            };
            match number {
                Some(number) => found.push((start, name, number)),
                None => faults.add(line, wrong(&name, "a whole number, true or false")),
            }
        }
        found.sort_by_key(|(start, _, _)| *start);
        found.into_iter().map(|(_, n, v)| (n, v)).collect()
    }

    /// Reports what was not taken.
    pub(crate) fn finish(self, faults: &mut Faults<'_>) {
        for key in self.table.keys() {
            let line = faults.line_of(key.span().start);
            let problem = Problem::UnknownKey {
                section: self.name.clone(),
                key: key.as_ref().to_string(),
            };
            faults.add(line, problem);
        }
    }
}

/// What became of a key that may be absent.
pub(crate) enum Found {
    Good(Field<String>),
    /// It was there and wrong; the fault has been noted.
    Bad,
    Absent,
}

impl Found {
    pub(crate) fn into_option(self) -> Option<Field<String>> {
        match self {
            Found::Good(field) => Some(field),
            Found::Bad | Found::Absent => None,
        }
    }
}

fn as_number(value: &DeValue<'_>) -> Option<f64> {
    let text = match value {
        DeValue::Integer(i) if i.radix() == 10 => i.as_str(),
        DeValue::Float(f) => f.as_str(),
        _ => return None,
    };
    text.parse().ok().filter(|n: &f64| n.is_finite())
}

fn wrong(key: &str, expected: &'static str) -> Problem {
    Problem::WrongType {
        key: key.to_owned(),
        expected,
    }
}
