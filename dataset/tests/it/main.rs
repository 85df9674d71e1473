//! What `dataset` promises, on trees made for the purpose and on real photos where they are present.
#![allow(clippy::unwrap_used)]

mod faults;
mod forms;
mod images;
mod real;
mod split;

use std::fs;
use std::path::Path;

use models::LabelSet;
use tempfile::TempDir;

/// Makes a tree: `(path, content)`, a path with a trailing slash is a folder, `PHOTO` a small photo.
fn tree(entries: &[(&str, &str)]) -> TempDir {
    let dir = tempfile::tempdir().unwrap();
    for (path, content) in entries {
        let full = dir.path().join(path);
        if path.ends_with('/') {
            fs::create_dir_all(full).unwrap();
        } else {
            fs::create_dir_all(full.parent().unwrap()).unwrap();
            if *content == PHOTO {
                photo(&full);
            } else {
                fs::write(full, content).unwrap();
            }
        }
    }
    dir
}

/// Content of a tree entry: a photo that decodes.
const PHOTO: &str = "(a photo)";

fn photo(path: &Path) {
    let mut png = std::io::Cursor::new(Vec::new());
    let image = image::RgbImage::from_pixel(2, 3, image::Rgb([9, 8, 7]));
    image.write_to(&mut png, image::ImageFormat::Png).unwrap();
    fs::write(path, png.into_inner()).unwrap();
}

/// Four items in two categories; `glass` is an item of both.
fn labels() -> LabelSet {
    let items = [
        ("dry", "paper"),
        ("dry", "glass"),
        ("wet", "peel"),
        ("wet", "glass"),
    ];
    LabelSet::new(
        "four",
        items.map(|(c, i)| (c.to_owned(), i.to_owned())).to_vec(),
    )
    .unwrap()
}
