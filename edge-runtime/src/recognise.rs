//! What says how a view of an item scores.

pub(crate) mod quality;

use crate::capture::Frame;
use crate::line::geometry::PixelBox;
use inference::Classifier;
use models::{Region, RgbView};
use std::time::{Duration, Instant};

/// Why a view has no scores, and does not vote.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum NoScores {
    #[error("it is blurred")]
    Blurred,
    #[error("it is overexposed or underexposed")]
    BadlyExposed,
    /// The classifier's own words.
    #[error("{0}")]
    Failed(String),
}

/// Gives scores to views. Implemented by the classifier, and by oracles in tests.
pub(crate) trait Recognise: Send {
    /// Scores per item (of the bundle) of what is in `area`, into `scores`; they are left empty on failure.
    ///
    /// # Errors
    /// Why there are none.
    fn scores(
        &mut self,
        frame: &Frame,
        area: PixelBox,
        scores: &mut Vec<f32>,
    ) -> Result<(), NoScores>;
}

impl Recognise for Classifier {
    fn scores(
        &mut self,
        frame: &Frame,
        area: PixelBox,
        scores: &mut Vec<f32>,
    ) -> Result<(), NoScores> {
        scores.clear();
        let image = &frame.image;
        let view = RgbView::new(image, image.width(), image.height())
            .map_err(|e| NoScores::Failed(e.to_string()))?;
        let region = Region {
            x: area.x0,
            y: area.y0,
            width: area.x1 - area.x0,
            height: area.y1 - area.y0,
        };
        let verdict = self
            .classify(view, Some(region))
            .map_err(|e| NoScores::Failed(e.to_string()))?;
        scores.extend_from_slice(&verdict.item_scores);
        Ok(())
    }
}

/// Knows nothing; for when only the views are wanted.
pub(crate) struct Nobody;

impl Recognise for Nobody {
    fn scores(&mut self, _: &Frame, _: PixelBox, scores: &mut Vec<f32>) -> Result<(), NoScores> {
        scores.clear();
        Ok(())
    }
}

/// Takes at least so long for each view, as on a slower machine.
pub(crate) struct Slowed<'a> {
    inner: &'a mut dyn Recognise,
    at_least: Duration,
}

impl<'a> Slowed<'a> {
    pub(crate) fn new(inner: &'a mut dyn Recognise, at_least: Duration) -> Self {
        Self { inner, at_least }
    }
}

impl Recognise for Slowed<'_> {
    fn scores(
        &mut self,
        frame: &Frame,
        area: PixelBox,
        scores: &mut Vec<f32>,
    ) -> Result<(), NoScores> {
        let begin = Instant::now();
        let result = self.inner.scores(frame, area, scores);
        std::thread::sleep(self.at_least.saturating_sub(begin.elapsed()));
        result
    }
}
