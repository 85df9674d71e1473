//! Polygons around the items of a folder of frames, as the VGG Image Annotator writes them.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use anyhow::{Context, Result, bail, ensure};
use serde::Deserialize;

/// One item's outline in pixels, in order, not closed.
pub(super) type Polygon = Vec<[f64; 2]>;

/// The outlines of all frames.
#[derive(Debug)]
pub(super) struct Truth {
    by_name: BTreeMap<String, Vec<Polygon>>,
    /// Those whose picture is not there under its name, with the size of the file in bytes.
    renamed: Vec<(i64, Vec<Polygon>)>,
}

/// The file's form: a map of its own, or within a saved project.
#[derive(Deserialize)]
#[serde(untagged)]
enum Raw {
    Project {
        #[serde(rename = "_via_img_metadata")]
        images: BTreeMap<String, RawEntry>,
    },
    Annotations(BTreeMap<String, RawEntry>),
}

#[derive(Deserialize)]
struct RawEntry {
    filename: String,
    size: i64,
    regions: RawRegions,
}

/// Version 1 wrote a map, version 2 a list.
#[derive(Deserialize)]
#[serde(untagged)]
enum RawRegions {
    Map(BTreeMap<String, RawRegion>),
    List(Vec<RawRegion>),
}

#[derive(Deserialize)]
struct RawRegion {
    shape_attributes: RawShape,
}

#[derive(Deserialize)]
#[serde(tag = "name", rename_all = "lowercase")]
enum RawShape {
    Polygon {
        all_points_x: Vec<f64>,
        all_points_y: Vec<f64>,
    },
    Rect {
        x: f64,
        y: f64,
        width: f64,
        height: f64,
    },
}

impl Truth {
    /// Reads and checks the file. `names` are those of the pictures.
    ///
    /// # Errors
    /// A file that cannot be read, is no such file, or has an outline of fewer than three points.
    pub(super) fn open(path: &Path, names: &BTreeSet<String>) -> Result<Self> {
        let text = std::fs::read_to_string(path)
            .with_context(|| format!("{}: cannot read it", path.display()))?;
        Self::parse(&text, names).with_context(|| path.display().to_string())
    }

    fn parse(text: &str, names: &BTreeSet<String>) -> Result<Self> {
        let raw: Raw = serde_json::from_str(text).context(
            "not annotations of the VGG Image Annotator with polygons or rectangles only \
             (Annotation, Export as JSON)",
        )?;
        let images = match raw {
            Raw::Project { images } | Raw::Annotations(images) => images,
        };
        let mut truth = Self {
            by_name: BTreeMap::new(),
            renamed: Vec::new(),
        };
        for entry in images.into_values() {
            let regions: Vec<RawRegion> = match entry.regions {
                RawRegions::Map(map) => map.into_values().collect(),
                RawRegions::List(list) => list,
            };
            let items = regions
                .into_iter()
                .map(|region| polygon(region.shape_attributes))
                .collect::<Result<_>>()
                .with_context(|| format!("regions of {}", entry.filename))?;
            if names.contains(&entry.filename) {
                truth.by_name.insert(entry.filename, items);
            } else {
                truth.renamed.push((entry.size, items));
            }
        }
        Ok(truth)
    }

    /// The items of a picture: by its name or, where it was renamed, by its size in bytes.
    ///
    /// # Errors
    /// When no entry, or more than one, can be the picture's.
    pub(super) fn items(&self, name: &str, bytes: u64) -> Result<&[Polygon]> {
        if let Some(items) = self.by_name.get(name) {
            return Ok(items);
        }
        let same = |e: &&(i64, Vec<Polygon>)| u64::try_from(e.0) == Ok(bytes);
        let mut same_size = self.renamed.iter().filter(same);
        match (same_size.next(), same_size.next()) {
            (Some((_, items)), None) => Ok(items),
            (Some(_), Some(_)) => bail!(
                "{name} is not among the annotated names, and several entries have its {bytes} bytes"
            ),
            _ => bail!(
                "{name} is not annotated: no entry has its name or its {bytes} bytes (a frame \
                 without items needs an entry without regions)"
            ),
        }
    }
}

fn polygon(shape: RawShape) -> Result<Polygon> {
    match shape {
        RawShape::Polygon {
            all_points_x,
            all_points_y,
        } => {
            ensure!(
                all_points_x.len() == all_points_y.len() && all_points_x.len() >= 3,
                "an outline has {} x and {} y, where at least three points are needed",
                all_points_x.len(),
                all_points_y.len()
            );
            let points = all_points_x.into_iter().zip(all_points_y);
            Ok(points.map(|(x, y)| [x, y]).collect())
        }
        RawShape::Rect {
            x,
            y,
            width,
            height,
        } => Ok(vec![
            [x, y],
            [x + width, y],
            [x + width, y + height],
            [x, y + height],
        ]),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SHAPE: &str =
        r#"{"name":"polygon","all_points_x":[1,9,5],"all_points_y":[2,2,8.5],"id":3}"#;

    fn entry(name: &str, size: i64, regions: &str) -> String {
        format!(r#""{name}{size}":{{"filename":"{name}","size":{size},"regions":{regions}}}"#)
    }

    #[test]
    fn both_versions_of_the_form_say_the_same() {
        let region = format!(r#"{{"shape_attributes":{SHAPE},"region_attributes":{{}}}}"#);
        let map = entry("a.jpg", 10, &format!(r#"{{"0":{region}}}"#));
        let list = entry("a.jpg", 10, &format!("[{region}]"));
        let project = format!(r#"{{"_via_settings":{{}},"_via_img_metadata":{{{list}}}}}"#);
        for text in [format!("{{{map}}}"), format!("{{{list}}}"), project] {
            let truth = Truth::parse(&text, &["a.jpg".to_owned()].into()).unwrap();
            let items = truth.items("a.jpg", 0).unwrap();
            assert_eq!(items, [vec![[1.0, 2.0], [9.0, 2.0], [5.0, 8.5]]]);
        }
    }

    #[test]
    fn a_renamed_picture_is_known_by_its_size_if_that_is_unique() {
        let entries = [
            entry("a", 10, "[]"),
            entry("here", 10, "[]"),
            entry("b", 20, "[]"),
            entry("c", 20, "{}"),
        ];
        let text = format!("{{{}}}", entries.join(","));
        let truth = Truth::parse(&text, &["here".to_owned()].into()).unwrap();
        assert!(truth.items("x", 10).is_ok());
        for bytes in [20, 30] {
            let error = truth.items("x", bytes).unwrap_err().to_string();
            assert!(error.contains('x'), "{error}");
        }
    }

    #[test]
    fn what_is_no_outline_is_refused() {
        for shape in [
            r#"{"name":"polygon","all_points_x":[1,9],"all_points_y":[2,2]}"#,
            r#"{"name":"polygon","all_points_x":[1,9,5],"all_points_y":[2,2]}"#,
            r#"{"name":"circle","cx":1,"cy":2,"r":3}"#,
        ] {
            let region = format!(r#"[{{"shape_attributes":{shape}}}]"#);
            let text = format!("{{{}}}", entry("a", 1, &region));
            assert!(Truth::parse(&text, &BTreeSet::new()).is_err());
        }
        assert!(Truth::parse("[]", &BTreeSet::new()).is_err());
    }
}
