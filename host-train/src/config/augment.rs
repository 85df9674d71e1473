//! Settings of the random changes to photos.

use anyhow::{Result, ensure};
use serde::{Deserialize, Serialize};

/// Random changes to a photo. What is called a probability is one of 0 to 1; 0 leaves the change out.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct AugmentConfig {
    /// Probability of mirroring left and right.
    pub(crate) horizontal_flip: f32,
    /// Probability of mirroring top and bottom.
    pub(crate) vertical_flip: f32,
    /// Probability of a turn by 90, 180 or 270 degrees.
    pub(crate) quarter_turns: f32,
    /// Probability of a turn by any angle.
    pub(crate) rotation: f32,
    /// Largest such angle, to both sides.
    pub(crate) rotation_degrees: f32,
    /// Probability of a crop, which is scaled to the size of the whole.
    pub(crate) crop: f32,
    /// Crops keep at least this part of the area.
    pub(crate) min_area: f32,
    /// Crops are stretched by at most this factor.
    pub(crate) max_stretch: f32,
    /// Brightness changes by up to this part.
    pub(crate) brightness: f32,
    /// Contrast changes by up to this part.
    pub(crate) contrast: f32,
    /// Saturation changes by up to this part.
    pub(crate) saturation: f32,
    /// Probability that padding looks like a belt.
    pub(crate) belt: f32,
    /// Probability that a part is hidden.
    pub(crate) erase: f32,
    /// Largest such part of the area.
    pub(crate) erase_area: f32,
    /// Probability of a blur along the rows, as of a moving belt.
    pub(crate) blur: f32,
    /// Its largest length, as a part of the side.
    pub(crate) blur_length: f32,
    /// Probability of JPEG compression.
    pub(crate) jpeg: f32,
    /// Its lowest quality, 1 to 95.
    pub(crate) jpeg_quality: u8,
    /// Parameter of the beta distribution from which the share of another photo is drawn that is mixed
    /// into every pixel; 0 leaves it out. For the whole network only.
    pub(crate) mixup: f32,
    /// The same for the share of the area that another photo takes.
    pub(crate) cutmix: f32,
}

impl Default for AugmentConfig {
    fn default() -> AugmentConfig {
        AugmentConfig {
            horizontal_flip: 0.5,
            crop: 1.0,
            brightness: 0.15,
            contrast: 0.15,
            saturation: 0.2,
            ..AugmentConfig::off()
        }
    }
}

impl AugmentConfig {
    /// No change; how strong each would be has its default.
    pub(crate) fn off() -> AugmentConfig {
        AugmentConfig {
            horizontal_flip: 0.0,
            vertical_flip: 0.0,
            quarter_turns: 0.0,
            rotation: 0.0,
            rotation_degrees: 10.0,
            crop: 0.0,
            min_area: 0.6,
            max_stretch: 1.2,
            brightness: 0.0,
            contrast: 0.0,
            saturation: 0.0,
            belt: 0.0,
            erase: 0.0,
            erase_area: 0.2,
            blur: 0.0,
            blur_length: 0.05,
            jpeg: 0.0,
            jpeg_quality: 40,
            mixup: 0.0,
            cutmix: 0.0,
        }
    }

    pub(super) fn check(&self) -> Result<()> {
        let ranges = [
            ("horizontal_flip", self.horizontal_flip, 0.0, 1.0),
            ("vertical_flip", self.vertical_flip, 0.0, 1.0),
            ("quarter_turns", self.quarter_turns, 0.0, 1.0),
            ("rotation", self.rotation, 0.0, 1.0),
            ("rotation_degrees", self.rotation_degrees, 0.0, 180.0),
            ("crop", self.crop, 0.0, 1.0),
            ("min_area", self.min_area, 0.05, 1.0),
            ("max_stretch", self.max_stretch, 1.0, 4.0),
            ("brightness", self.brightness, 0.0, 0.99),
            ("contrast", self.contrast, 0.0, 0.99),
            ("saturation", self.saturation, 0.0, 0.99),
            ("belt", self.belt, 0.0, 1.0),
            ("erase", self.erase, 0.0, 1.0),
            ("erase_area", self.erase_area, 0.0, 0.9),
            ("blur", self.blur, 0.0, 1.0),
            ("blur_length", self.blur_length, 0.0, 0.5),
            ("jpeg", self.jpeg, 0.0, 1.0),
            ("jpeg_quality", f32::from(self.jpeg_quality), 1.0, 95.0),
            ("mixup", self.mixup, 0.0, 1.0),
            ("cutmix", self.cutmix, 0.0, 1.0),
        ];
        for (name, value, least, most) in ranges {
            ensure!(
                (least..=most).contains(&value),
                "augment.{name} must be in {least}..={most}"
            );
        }
        Ok(())
    }
}
