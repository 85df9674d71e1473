//! How pure what is sorted is to be.

use std::str::FromStr;

use anyhow::{Context, Result, bail, ensure};
use models::LabelSet;

/// `0.995`, `0.995,hazardous=0.999` or `hazardous=0.999`: a part for all categories, and others for some.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Purity {
    all: f64,
    named: Vec<(String, f64)>,
}

impl FromStr for Purity {
    type Err = anyhow::Error;

    fn from_str(text: &str) -> Result<Purity> {
        let mut purity = Purity::default();
        for wanted in text.split(',') {
            let (name, part) = match wanted.rsplit_once('=') {
                Some((name, part)) => (Some(name.trim()), part),
                None => (None, wanted),
            };
            let part: f64 = part.trim().parse().with_context(|| format!("{part:?}"))?;
            ensure!((0.0..=1.0).contains(&part), "{part} is not in 0..=1");
            match name {
                Some(name) => purity.named.push((name.to_owned(), part)),
                None => purity.all = part,
            }
        }
        Ok(purity)
    }
}

impl Purity {
    /// The wanted part of each category; 0 where none is wanted.
    ///
    /// # Errors
    /// A name is no category.
    pub(crate) fn of_categories(&self, labels: &LabelSet) -> Result<Vec<f64>> {
        let mut wanted = vec![self.all; labels.categories().len()];
        for (name, part) in &self.named {
            let Some(category) = labels.categories().iter().position(|own| own == name) else {
                let known = labels.categories().join(", ");
                bail!("--purity: {name:?} is no category; there is: {known}");
            };
            wanted[category] = *part;
        }
        Ok(wanted)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn categories_can_differ() {
        let item = |category: &str| (category.to_owned(), format!("item of {category}"));
        let labels = LabelSet::new("test", vec![item("a"), item("b")]).unwrap();
        let wanted = |text: &str| text.parse::<Purity>()?.of_categories(&labels);
        assert_eq!(wanted("0.9").unwrap(), [0.9, 0.9]);
        assert_eq!(wanted("0.9, b=0.99").unwrap(), [0.9, 0.99]);
        assert_eq!(wanted("a=1").unwrap(), [1.0, 0.0]);
        for (text, named) in [
            ("1.5", "1.5"),
            ("b=much", "much"),
            ("c=0.9", "a, b"),
            ("", "\"\""),
        ] {
            let error = format!("{:#}", wanted(text).unwrap_err());
            assert!(error.contains(named), "{error}");
        }
    }
}
