//! Formats of cameras and videos against numpy in double precision and Pillow (`tests/reference/pictures.py`), on
//! random pictures and, where there are some, on photos of a belt.

use super::CaptureError;
use super::convert::{Pixels, to_rgb};
use super::recording::{Recording, pictures};
use image::RgbImage;
use std::path::{Path, PathBuf};
use std::process::Command;

/// The program says nothing of what is not there.
fn photos() -> Vec<PathBuf> {
    let data = std::env::var_os("SORTLINE_DATA");
    let data = data.map_or_else(|| PathBuf::from("../../shared/data"), PathBuf::from);
    let photos = pictures(&data.join("belt")).unwrap_or_default();
    if photos.is_empty() {
        eprintln!("SKIPPED in part: no photos of a belt (set SORTLINE_DATA)");
    }
    photos.into_iter().step_by(40).take(3).collect()
}

/// The picture or pictures in a file.
fn converted(kind: &str, file: &Path, size: (usize, usize), stride: usize) -> Vec<u8> {
    if kind == "video" {
        let mut recording = Recording::open(file).unwrap();
        let (mut image, mut all) = (RgbImage::default(), Vec::new());
        loop {
            match recording.next(&mut image) {
                Ok(_) => all.extend_from_slice(&image),
                Err(CaptureError::Finished) => return all,
                Err(error) => panic!("{error}"),
            }
        }
    }
    let code = |p: &Pixels| p.code() == kind.as_bytes();
    let pixels = Pixels::ALL.into_iter().find(code).unwrap();
    let mut rgb = vec![0; size.0 * size.1 * 3];
    let data = std::fs::read(file).unwrap();
    assert!(to_rgb(pixels, &data, stride, size, &mut rgb), "{kind}");
    rgb
}

#[test]
fn every_format_is_what_numpy_and_pillow_make_of_it() {
    let Some(python) = std::env::var_os("SORTLINE_PYTHON") else {
        eprintln!("SKIPPED: no Pillow to compare with (run `cargo xtask test`)");
        return;
    };
    let folder = tempfile::tempdir().unwrap();
    let status = Command::new(python)
        .arg("../tests/reference/pictures.py")
        .arg(folder.path())
        .args(photos())
        .status();
    assert!(status.unwrap().success());
    let list = std::fs::read_to_string(folder.path().join("list.txt")).unwrap();
    let mut seen = std::collections::BTreeSet::new();
    for line in list.lines() {
        let words: Vec<&str> = line.split(' ').collect();
        let [kind, width, height, stride, most, mean, file, expect] = words[..] else {
            panic!("{line}");
        };
        let number = |text: &str| text.parse::<usize>().unwrap();
        let size = (number(width), number(height));
        let found = converted(kind, &folder.path().join(file), size, number(stride));
        let expect = std::fs::read(folder.path().join(expect)).unwrap();
        assert_eq!(found.len(), expect.len(), "{line}");
        let off = || found.iter().zip(&expect).map(|(a, b)| a.abs_diff(*b));
        let sum: u64 = off().map(u64::from).sum();
        let mean_off = sum as f64 / found.len() as f64;
        let most_off = usize::from(off().max().unwrap_or(0));
        eprintln!("{line}: off by {most_off} at the most, {mean_off:.3} in the mean");
        assert!(
            most_off <= number(most) && mean_off <= mean.parse().unwrap(),
            "{line}"
        );
        seen.insert(kind.to_owned());
    }
    assert_eq!(seen.len(), Pixels::ALL.len() + 1);
}
