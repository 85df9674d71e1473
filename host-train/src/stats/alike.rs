//! Photos that are, or look, the same.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

use dataset::Dataset;
use image::imageops::{FilterType, grayscale, resize};
use image::{GrayImage, RgbImage};
use serde::Serialize;

/// What photos are compared by.
#[derive(Clone, Copy)]
pub(crate) struct Fingerprint {
    /// Of size and pixels.
    pub(super) pixels: blake3::Hash,
    /// Whether it gets brighter from left to right, at 8 places in each of 8 rows: hardly changed by
    /// scaling, compression and light ("difference hash", Krawetz 2013).
    look: u64,
    /// The photo in 8 by 8 pixels: photos of a thing on plain ground have much the same `look`.
    thumbnail: [u8; 192],
}

/// Mean difference of two thumbnails' values, of 255, up to which photos may be near copies.
const THUMBNAIL_APART: u32 = 12;

/// Photos that belong together.
#[derive(Serialize)]
pub(super) struct Kin {
    pub(super) paths: Vec<PathBuf>,
    /// The splits that they are in.
    pub(super) splits: BTreeSet<String>,
    /// The items that they are said to show.
    pub(super) items: Vec<String>,
}

impl Fingerprint {
    pub(crate) fn of(photo: &RgbImage) -> Fingerprint {
        let mut hasher = blake3::Hasher::new();
        hasher.update(&photo.width().to_le_bytes());
        hasher.update(photo.as_raw());
        let small: GrayImage = resize(&grayscale(photo), 9, 8, FilterType::Triangle);
        let brighter = small
            .rows()
            .flat_map(|row| {
                let row: Vec<u8> = row.map(|pixel| pixel.0[0]).collect();
                row.windows(2)
                    .map(|pair| pair[0] < pair[1])
                    .collect::<Vec<_>>()
            })
            .fold(0u64, |bits, bit| bits << 1 | u64::from(bit));
        let mut thumbnail = [0; 192];
        thumbnail.copy_from_slice(resize(photo, 8, 8, FilterType::Triangle).as_raw());
        Fingerprint {
            pixels: hasher.finalize(),
            look: brighter,
            thumbnail,
        }
    }

    /// Whether at most so many bits of the hashes differ, and the colours little.
    pub(crate) fn is_near(&self, other: &Fingerprint, bits: u32) -> bool {
        let apart = || {
            let pairs = self.thumbnail.iter().zip(&other.thumbnail);
            pairs.map(|(a, b)| u32::from(a.abs_diff(*b))).sum::<u32>()
        };
        (self.look ^ other.look).count_ones() <= bits && apart() <= 192 * THUMBNAIL_APART
    }
}

/// The groups of things that are linked by `alike`, in the order of their first members; a thing that
/// is like no other is a group of its own.
pub(crate) fn linked(count: usize, alike: impl Fn(usize, usize) -> bool) -> Vec<Vec<usize>> {
    // A member of each thing's group, itself for one of the group; groups are joined at the first link.
    let mut up: Vec<usize> = (0..count).collect();
    fn root(up: &mut [usize], mut thing: usize) -> usize {
        while up[thing] != thing {
            up[thing] = up[up[thing]];
            thing = up[thing];
        }
        thing
    }
    for b in 0..count {
        for a in 0..b {
            if alike(a, b) {
                let (a, b) = (root(&mut up, a), root(&mut up, b));
                up[a.max(b)] = a.min(b);
            }
        }
    }
    let mut groups: BTreeMap<usize, Vec<usize>> = BTreeMap::new();
    for thing in 0..count {
        groups.entry(root(&mut up, thing)).or_default().push(thing);
    }
    groups.into_values().collect()
}

/// The groups of two and more photos that are linked by `alike`. `photos`: samples of `data`.
pub(super) fn kin(
    data: &Dataset,
    photos: &[(usize, Fingerprint)],
    alike: impl Fn(&Fingerprint, &Fingerprint) -> bool,
) -> Vec<Kin> {
    let groups = linked(photos.len(), |a, b| alike(&photos[a].1, &photos[b].1));
    let group = |members: Vec<usize>| {
        let samples = || members.iter().map(|&photo| &data.samples[photos[photo].0]);
        let items: BTreeSet<usize> = samples().map(|sample| sample.item).collect();
        Kin {
            paths: samples().map(|sample| sample.path.clone()).collect(),
            splits: samples()
                .filter_map(|sample| sample.split.clone())
                .collect(),
            items: items
                .into_iter()
                .map(|item| data.labels.path(item))
                .collect(),
        }
    };
    let several = groups.into_iter().filter(|members| members.len() > 1);
    several.map(group).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use image::Rgb;

    fn photo(shift: u32) -> RgbImage {
        RgbImage::from_fn(120, 90, |x, y| {
            let value = |n: u32| ((x * n + y * (n + shift) + shift * 40) % 256) as u8;
            Rgb([value(2), value(3), value(5)])
        })
    }

    #[test]
    fn links_make_groups_whatever_their_order() {
        // 0-4-2 and 1-5 are chains; 3 is alone.
        let links = [(0, 4), (2, 4), (1, 5)];
        let groups = linked(6, |a, b| links.contains(&(a, b)));
        assert_eq!(groups, [vec![0, 2, 4], vec![1, 5], vec![3]]);
    }

    #[test]
    fn a_photo_looks_like_itself_in_another_size_and_light() {
        let apart = |a: &RgbImage, b: &RgbImage| {
            (Fingerprint::of(a).look ^ Fingerprint::of(b).look).count_ones()
        };
        let first = photo(0);
        let smaller = resize(&first, 80, 60, FilterType::Triangle);
        let darker = RgbImage::from_fn(120, 90, |x, y| {
            Rgb(first.get_pixel(x, y).0.map(|value| value / 2 + 20))
        });
        assert!(apart(&first, &smaller) <= 3, "{}", apart(&first, &smaller));
        assert!(apart(&first, &darker) <= 6, "{}", apart(&first, &darker));
        assert!(apart(&first, &photo(3)) > 12);
        let near = |other: &RgbImage| Fingerprint::of(&first).is_near(&Fingerprint::of(other), 6);
        assert!(near(&smaller) && !near(&darker) && !near(&photo(3)));
        assert_eq!(
            Fingerprint::of(&first).pixels,
            Fingerprint::of(&photo(0)).pixels
        );
        assert_ne!(
            Fingerprint::of(&first).pixels,
            Fingerprint::of(&smaller).pixels
        );
    }
}
