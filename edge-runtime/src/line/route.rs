//! Which way an item goes, given what was seen of it.

use super::event::Reason;
use super::vote::Votes;
use boards::{Destination, Known, Profile};
use models::LabelSet;
use serde::{Deserialize, Serialize};

/// The way of each item of the bundle, and when to believe the classifier.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Routes {
    /// Per item of the bundle.
    items: Vec<ItemRoute>,
    /// Per category of the bundle: a mean score below it is doubtful.
    thresholds: Vec<f32>,
    pub(crate) reject: Destination,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
struct ItemRoute {
    category: usize,
    way: Destination,
}

/// What an item is taken for.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Standing {
    pub(crate) category: usize,
    /// The category's mean score.
    pub(crate) score: f32,
    /// None where its items go different ways and no way has enough of the score.
    pub(crate) way: Option<Destination>,
}

/// Where items of one category go different ways, one of them needs this share of its score.
const WAY_SHARE: f32 = 0.6;

/// What a board may have routes for: the bundle's categories, and its items.
pub(crate) fn known(labels: &LabelSet) -> Known {
    Known {
        categories: labels.categories().to_vec(),
        items: (0..labels.len()).map(|item| labels.path(item)).collect(),
    }
}

impl Routes {
    /// The board's routes for the bundle's items: the item's own, else its category's. An item
    /// without either is rejected. (That a board has no others, [`Profile::open_for`] sees to.)
    pub(crate) fn new(board: &Profile, labels: &LabelSet, thresholds: &[f32]) -> Self {
        let categories = labels.categories();
        let item = |item| {
            let category = labels.category_of(item);
            let way = way(board, &labels.path(item), &categories[category]);
            ItemRoute { category, way }
        };
        Self {
            items: (0..labels.len()).map(item).collect(),
            thresholds: thresholds.to_vec(),
            reject: board.reject(),
        }
    }

    /// How many items the bundle knows.
    pub(crate) fn items(&self) -> usize {
        self.items.len()
    }

    /// What the votes say so far; `None` without a view. The first of equals wins.
    pub(crate) fn standing(&self, votes: &Votes) -> Option<Standing> {
        if votes.views == 0 {
            return None;
        }
        let mut scores = vec![0.0; self.thresholds.len()];
        for (item, score) in self.items.iter().zip(votes.means()) {
            scores[item.category] += score;
        }
        let (category, score) = first_largest(scores.into_iter().enumerate())?;
        let mut ways: Vec<(Destination, f32)> = Vec::new();
        for (item, score) in self.items.iter().zip(votes.means()) {
            if item.category == category {
                match ways.iter_mut().find(|(way, _)| *way == item.way) {
                    Some((_, sum)) => *sum += score,
                    None => ways.push((item.way, score)),
                }
            }
        }
        let (way, way_score) = first_largest(ways.into_iter())?;
        Some(Standing {
            category,
            score,
            way: (way_score >= WAY_SHARE * score).then_some(way),
        })
    }

    /// The category and the way that the votes settle on, or why they settle on none.
    pub(crate) fn judge(&self, votes: &Votes) -> Result<(usize, Destination), Reason> {
        let standing = self.standing(votes).ok_or(Reason::Unseen)?;
        match standing.way {
            Some(way) if standing.score >= self.thresholds[standing.category] => {
                Ok((standing.category, way))
            }
            _ => Err(Reason::Doubtful),
        }
    }

    /// Routes for tests: an item a category.
    #[cfg(test)]
    pub(crate) fn plain(destinations: &[Destination], threshold: f32, reject: Destination) -> Self {
        let items = destinations.iter().enumerate();
        Self {
            items: items
                .map(|(category, &way)| ItemRoute { category, way })
                .collect(),
            thresholds: vec![threshold; destinations.len()],
            reject,
        }
    }
}

/// Where the board sends an item: by its own route, else its category's, else to the rejects.
pub(crate) fn way(board: &Profile, item_path: &str, category: &str) -> Destination {
    let own = board.route(item_path).or_else(|| board.route(category));
    own.unwrap_or(board.reject())
}

fn first_largest<T>(scores: impl Iterator<Item = (T, f32)>) -> Option<(T, f32)> {
    scores.reduce(|best, next| if next.1 > best.1 { next } else { best })
}

#[cfg(test)]
mod tests {
    use super::*;

    const A: Destination = Destination::Gate(0);
    const B: Destination = Destination::Gate(1);
    const END: Destination = Destination::PassThrough;

    /// Items 0 and 1 are of category 0 and go different ways, item 2 is of category 1.
    fn routes() -> Routes {
        let item = |(category, way)| ItemRoute { category, way };
        Routes {
            items: [(0, A), (0, B), (1, END)].map(item).to_vec(),
            thresholds: vec![0.5, 0.8],
            reject: END,
        }
    }

    #[track_caller]
    fn check(scores: &[f32], expect: Result<(usize, Destination), Reason>) {
        let mut votes = Votes::default();
        votes.add(3, scores, 0);
        assert_eq!(routes().judge(&votes), expect);
    }

    #[test]
    fn scores_are_summed_per_category_before_anything_is_decided() {
        check(&[], Err(Reason::Unseen));
        // The category is clear, the way is not: to the rejects.
        check(&[0.35, 0.25, 0.40], Err(Reason::Doubtful));
        check(&[0.90, 0.05, 0.05], Ok((0, A)));
        check(&[0.05, 0.90, 0.05], Ok((0, B)));
        check(&[0.10, 0.15, 0.75], Err(Reason::Doubtful));
        check(&[0.05, 0.05, 0.90], Ok((1, END)));
    }

    #[test]
    fn an_item_goes_its_own_way_else_its_categorys_else_to_the_rejects() {
        let pairs = [("c", "x"), ("c", "y"), ("d", "z")];
        let pairs = pairs.map(|(c, i)| (c.to_owned(), i.to_owned())).to_vec();
        let labels = LabelSet::new("t", pairs).unwrap();
        let text = include_str!("../../../boards/profiles/simulated.toml");
        let (head, _) = text.split_once("[routes]").unwrap();
        let text = format!("{head}[routes]\nc = \"gate-1\"\n\"c/y\" = \"gate-2\"\n");
        let board = Profile::from_toml("t", &text).unwrap();
        let routes = Routes::new(&board, &labels, &[0.0; 2]);
        let ways: Vec<_> = routes.items.iter().map(|i| i.way).collect();
        assert_eq!(ways, [A, B, END]);
        let known = known(&labels);
        assert_eq!(known.categories, ["c", "d"]);
        assert_eq!(known.items, ["c/x", "c/y", "d/z"]);
    }
}
