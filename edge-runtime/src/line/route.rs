//! Which way an item goes, given what was seen of it.

use super::Reason;
use super::vote::Votes;
use boards::{Destination, Profile};

/// The way of each category, and when to believe the classifier.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Routes {
    /// Per category of the bundle.
    pub(crate) destinations: Vec<Destination>,
    /// Per category of the bundle: a mean score below it is doubtful.
    pub(crate) thresholds: Vec<f32>,
    pub(crate) reject: Destination,
}

/// A route table that does not fit a bundle.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum RouteError {
    #[error(
        "the board has a route for the category {0:?}, which the bundle does not know: copy the board file and \
         write the bundle's own categories under [routes] ({1})"
    )]
    UnknownCategory(String, String),
}

impl Routes {
    /// The board's routes for the bundle's categories. A category without a route is rejected.
    ///
    /// # Errors
    /// When the board names a category that the bundle does not have.
    pub(crate) fn new(
        board: &Profile,
        categories: &[String],
        thresholds: &[f32],
    ) -> Result<Self, RouteError> {
        for (category, _) in board.routes() {
            if !categories.contains(category) {
                let known = categories.join(", ");
                return Err(RouteError::UnknownCategory(category.clone(), known));
            }
        }
        let reject = board.reject();
        let way = |category: &String| board.route(category).unwrap_or(reject);
        Ok(Self {
            destinations: categories.iter().map(way).collect(),
            thresholds: thresholds.to_vec(),
            reject,
        })
    }

    /// The category that the votes settle on, or why they settle on none.
    pub(crate) fn judge(&self, votes: &Votes) -> Result<usize, Reason> {
        let standing = votes.standing().ok_or(Reason::Unseen)?;
        if standing.score < self.thresholds[standing.category] {
            return Err(Reason::Doubtful);
        }
        Ok(standing.category)
    }
}
