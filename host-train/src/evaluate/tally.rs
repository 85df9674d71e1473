//! From predictions to figures.

use std::time::Duration;

use anyhow::Result;
use dataset::Dataset;
use models::{Bundle, LabelSet};
use serde::Serialize;

use super::views::Tta;
use super::{Args, Prediction};

/// The figures, as `--json` writes them. Fractions are 0 to 1; `null` where there is nothing to divide.
#[derive(Debug, Serialize)]
pub(super) struct Report {
    /// Photos.
    pub(super) items: usize,
    /// Fraction whose best item is the right one.
    pub(super) item_accuracy: f64,
    /// Fraction whose best category, by summed scores, is the right one; rejects count like others.
    pub(super) category_accuracy: f64,
    /// Photos whose best category stayed below its threshold.
    pub(super) rejected: usize,
    /// In the order of the bundle's label set.
    pub(super) categories: Vec<CategoryFigures>,
    /// In the order of the bundle's label set.
    pub(super) classes: Vec<ClassFigures>,
    pub(super) bundle: BundleFigures,
    pub(super) data: String,
    pub(super) split: Option<String>,
    /// The views whose scores were averaged; `null` where a photo is looked at once.
    pub(super) tta: Option<&'static str>,
    /// Preprocessing and network of one photo on one thread, without decoding.
    pub(super) ms_per_image: Times,
    /// Photos classified at the same time.
    pub(super) threads: usize,
}

/// Which bundle was measured.
#[derive(Debug, Serialize)]
pub(super) struct BundleFigures {
    pub(super) name: String,
    pub(super) version: u32,
    pub(super) network: String,
    pub(super) hash: String,
}

/// What a chute would hold: only accepted photos count as sorted.
#[derive(Debug, PartialEq, Serialize)]
pub(super) struct CategoryFigures {
    pub(super) name: String,
    /// Photos of it.
    pub(super) items: usize,
    /// Photos that were accepted as it.
    pub(super) sorted: usize,
    /// Photos of it that were rejected.
    pub(super) rejected: usize,
    /// Of those accepted as it, the fraction that is it.
    pub(super) purity: Option<f64>,
    /// Of the photos of it, the fraction accepted as it.
    pub(super) recall: Option<f64>,
}

/// One item, by its best score alone, without rejects.
#[derive(Debug, PartialEq, Serialize)]
pub(super) struct ClassFigures {
    pub(super) id: usize,
    pub(super) item: String,
    pub(super) category: String,
    /// Photos of it.
    pub(super) items: usize,
    /// Photos taken for it.
    pub(super) predicted: usize,
    /// Photos of it taken for it.
    pub(super) correct: usize,
    pub(super) precision: Option<f64>,
    pub(super) recall: Option<f64>,
    /// The other item that its photos are taken for most often, and how often.
    pub(super) mistaken_for: Option<(String, usize)>,
}

/// Milliseconds.
#[derive(Debug, Serialize)]
pub(super) struct Times {
    pub(super) mean: f64,
    pub(super) p50: f64,
    pub(super) p95: f64,
}

impl Report {
    pub(super) fn new(
        bundle: &Bundle,
        args: &Args,
        data: &Dataset,
        predictions: &[Prediction],
        threads: usize,
    ) -> Result<Report> {
        let manifest = &bundle.manifest;
        let truth: Vec<usize> = data.samples.iter().map(|s| s.item).collect();
        let figures = Figures::new(&manifest.labels, &truth, predictions);
        Ok(Report {
            items: predictions.len(),
            item_accuracy: figures.item_accuracy,
            category_accuracy: figures.category_accuracy,
            rejected: predictions.iter().filter(|p| !p.accepted).count(),
            categories: figures.categories,
            classes: figures.classes,
            bundle: BundleFigures {
                name: manifest.name.clone(),
                version: manifest.version,
                network: manifest.network.clone(),
                hash: bundle.hash()?,
            },
            data: args.data.display().to_string(),
            split: args.split.clone(),
            tta: args.tta.map(Tta::name),
            ms_per_image: times(predictions.iter().map(|p| p.time)),
            threads,
        })
    }
}

/// What follows from labels and predictions alone.
struct Figures {
    item_accuracy: f64,
    category_accuracy: f64,
    categories: Vec<CategoryFigures>,
    classes: Vec<ClassFigures>,
}

impl Figures {
    /// `truth`: the item of each photo.
    fn new(labels: &LabelSet, truth: &[usize], predictions: &[Prediction]) -> Figures {
        let pairs: Vec<(usize, &Prediction)> = truth.iter().copied().zip(predictions).collect();
        let count = |test: &dyn Fn(usize, &Prediction) -> bool| {
            pairs.iter().filter(|(truth, p)| test(*truth, p)).count()
        };
        let of = |item: usize| labels.category_of(item);
        let category = |c: usize, name: &String| {
            let items = count(&|truth, _| of(truth) == c);
            let sorted = count(&|_, p| p.accepted && p.category == c);
            let right = count(&|truth, p| p.accepted && p.category == c && of(truth) == c);
            CategoryFigures {
                name: name.clone(),
                items,
                sorted,
                rejected: count(&|truth, p| of(truth) == c && !p.accepted),
                purity: fraction(right, sorted),
                recall: fraction(right, items),
            }
        };
        let class = |id: usize| {
            let items = count(&|truth, _| truth == id);
            let predicted = count(&|_, p| p.item == id);
            let correct = count(&|truth, p| truth == id && p.item == id);
            let mistaken_for = (0..labels.len())
                .filter(|other| *other != id)
                .map(|other| (other, count(&|truth, p| truth == id && p.item == other)))
                .filter(|(_, n)| *n > 0)
                .max_by_key(|(other, n)| (*n, std::cmp::Reverse(*other)));
            ClassFigures {
                id,
                item: labels.items()[id].name.clone(),
                category: labels.categories()[of(id)].clone(),
                items,
                predicted,
                correct,
                precision: fraction(correct, predicted),
                recall: fraction(correct, items),
                mistaken_for: mistaken_for.map(|(other, n)| (labels.path(other), n)),
            }
        };
        let all = |right| fraction(right, pairs.len()).unwrap_or(0.0);
        Figures {
            item_accuracy: all(count(&|truth, p| truth == p.item)),
            category_accuracy: all(count(&|truth, p| of(truth) == p.category)),
            categories: labels
                .categories()
                .iter()
                .enumerate()
                .map(|(c, n)| category(c, n))
                .collect(),
            classes: (0..labels.len()).map(class).collect(),
        }
    }
}

fn fraction(part: usize, whole: usize) -> Option<f64> {
    (whole > 0).then(|| part as f64 / whole as f64)
}

fn times(times: impl Iterator<Item = Duration>) -> Times {
    let mut ms: Vec<f64> = times.map(|t| t.as_secs_f64() * 1e3).collect();
    ms.sort_by(f64::total_cmp);
    let at = |q: f64| {
        ms.get((q * ms.len() as f64) as usize)
            .copied()
            .unwrap_or(0.0)
    };
    let mean = ms.iter().sum::<f64>() / ms.len().max(1) as f64;
    Times {
        mean,
        p50: at(0.5),
        p95: at(0.95),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn labels() -> LabelSet {
        let items = [("dry", "paper"), ("dry", "glass"), ("wet", "peel")];
        LabelSet::new(
            "l",
            items.map(|(c, i)| (c.to_owned(), i.to_owned())).to_vec(),
        )
        .unwrap()
    }

    fn prediction(item: usize, category: usize, accepted: bool) -> Prediction {
        let time = Duration::from_millis(1);
        Prediction {
            item,
            item_score: 0.5,
            category,
            category_score: 0.5,
            accepted,
            time,
        }
    }

    #[test]
    fn figures_of_a_small_case() {
        let truth = [0, 0, 1, 2, 2];
        let predictions = [
            prediction(0, 0, true),
            prediction(1, 0, true),
            // The best item is not of the best category: the item is wrong, the category right.
            prediction(2, 0, true),
            prediction(2, 1, false),
            prediction(0, 0, true),
        ];
        let figures = Figures::new(&labels(), &truth, &predictions);
        assert!((figures.item_accuracy - 2.0 / 5.0).abs() < 1e-12);
        assert!((figures.category_accuracy - 4.0 / 5.0).abs() < 1e-12);
        let dry = CategoryFigures {
            name: "dry".to_owned(),
            items: 3,
            sorted: 4,
            rejected: 0,
            purity: Some(0.75),
            recall: Some(1.0),
        };
        let wet = CategoryFigures {
            name: "wet".to_owned(),
            items: 2,
            sorted: 0,
            rejected: 1,
            purity: None,
            recall: Some(0.0),
        };
        assert_eq!(figures.categories, [dry, wet]);
        let paper = &figures.classes[0];
        assert_eq!((paper.items, paper.predicted, paper.correct), (2, 2, 1));
        assert_eq!(paper.mistaken_for, Some(("dry/glass".to_owned(), 1)));
        assert_eq!(figures.classes[1].recall, Some(0.0));
    }

    proptest! {
        #[test]
        fn laws(photos in prop::collection::vec((0..3_usize, 0..3_usize, 0..2_usize, any::<bool>()), 1..60)) {
            let truth: Vec<usize> = photos.iter().map(|p| p.0).collect();
            let predictions: Vec<_> = photos.iter().map(|p| prediction(p.1, p.2, p.3)).collect();
            let figures = Figures::new(&labels(), &truth, &predictions);
            let n = photos.len();
            prop_assert_eq!(figures.classes.iter().map(|c| c.items).sum::<usize>(), n);
            prop_assert_eq!(figures.classes.iter().map(|c| c.predicted).sum::<usize>(), n);
            let correct = figures.classes.iter().map(|c| c.correct).sum::<usize>();
            prop_assert!((figures.item_accuracy - correct as f64 / n as f64).abs() < 1e-12);
            prop_assert_eq!(figures.categories.iter().map(|c| c.items).sum::<usize>(), n);
            let out = figures.categories.iter().map(|c| c.sorted + c.rejected).sum::<usize>();
            prop_assert_eq!(out, n);
        }
    }
}
