//! Test-time augmentation: several views of a photo, whose scores are averaged.

use models::Region;

/// How a photo is looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Tta {
    /// The photo and its mirror image: 2 views.
    Flips,
    /// The photo and its four corners of 7/8 of each side, all also mirrored: 10 views.
    Views,
}

impl Tta {
    /// As the option names it.
    pub(super) fn name(self) -> &'static str {
        match self {
            Tta::Flips => "flips",
            Tta::Views => "views",
        }
    }
}

/// One view of a photo.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct View {
    /// The part of the photo; all of it where none is named.
    pub(super) region: Option<Region>,
    pub(super) mirrored: bool,
}

/// The views of a photo of this size in pixels.
pub(super) fn views(tta: Option<Tta>, width: u32, height: u32) -> Vec<View> {
    let mut regions = vec![None];
    if tta == Some(Tta::Views) {
        let part = |side: u32| (side - side / 8).max(1);
        let (w, h) = (part(width), part(height));
        for (x, y) in [
            (0, 0),
            (width - w, 0),
            (0, height - h),
            (width - w, height - h),
        ] {
            regions.push(Some(Region {
                x,
                y,
                width: w,
                height: h,
            }));
        }
    }
    let sides: &[bool] = if tta.is_some() {
        &[false, true]
    } else {
        &[false]
    };
    let of_side = |&mirrored: &bool| {
        let view = move |&region: &Option<Region>| View { region, mirrored };
        regions.iter().map(view)
    };
    sides.iter().flat_map(of_side).collect()
}

/// Mirrors a preprocessed image of rows of `side` values left and right.
pub(super) fn mirror(tensor: &mut [f32], side: usize) {
    tensor.chunks_exact_mut(side).for_each(<[f32]>::reverse);
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn views_lie_in_the_photo(width in 1..3000_u32, height in 1..3000_u32) {
            for (tta, count) in [(None, 1), (Some(Tta::Flips), 2), (Some(Tta::Views), 10)] {
                let views = views(tta, width, height);
                prop_assert_eq!(views.len(), count);
                prop_assert_eq!(views[0], View { region: None, mirrored: false });
                for region in views.iter().filter_map(|view| view.region) {
                    prop_assert!(region.width > 0 && region.x + region.width <= width);
                    prop_assert!(region.height > 0 && region.y + region.height <= height);
                }
            }
        }
    }

    #[test]
    fn rows_are_mirrored() {
        let mut tensor = [1.0, 2.0, 3.0, 4.0];
        mirror(&mut tensor, 2);
        assert_eq!(tensor, [2.0, 1.0, 4.0, 3.0]);
    }
}
