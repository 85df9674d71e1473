//! `classify`: a line of JSON for each photo.

use std::io::{ErrorKind, Write};
use std::path::PathBuf;
use std::time::Instant;

use anyhow::{Context, Result, bail};
use image::RgbImage;
use inference::{Classifier, Decision};
use models::RgbView;
use serde::Serialize;

use crate::bundle::BundleArgs;
use crate::threads::ThreadArgs;

/// Classifies photos; prints one line of JSON for each.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(flatten)]
    bundle: BundleArgs,
    #[command(flatten)]
    threads: ThreadArgs,
    /// Photos: JPEG, PNG, BMP or WebP
    #[arg(required = true, value_name = "IMAGE")]
    images: Vec<PathBuf>,
}

/// What is said about a photo. The first field, and the order, are the contest's.
#[derive(Debug, Serialize)]
pub(crate) struct Line {
    /// `category/item`: the best item of the best category, also where the decision is a reject.
    result: String,
    /// Of the item, 0 to 1.
    score: f32,
    category: String,
    /// The sum over the category's items, 0 to 1.
    category_score: f32,
    /// The name of the photo, where it has one.
    #[serde(skip_serializing_if = "Option::is_none")]
    file: Option<String>,
    /// Preprocessing and network, in milliseconds; reading and decoding the file is not in it.
    ms: f64,
    /// `reject` where `category_score` is below the bundle's threshold for the category.
    decision: &'static str,
}

/// What is printed about a file that cannot be classified.
#[derive(Serialize)]
struct Failure {
    error: String,
    file: String,
}

/// Classifies all photos, then fails if one could not be.
pub(crate) fn run(args: &Args) -> Result<()> {
    let bundle = args.bundle.open()?;
    let mut classifier = args
        .threads
        .classifier(&bundle)
        .with_context(|| args.bundle.name())?;
    let mut out = std::io::stdout().lock();
    let mut failed = Vec::new();
    for image in &args.images {
        let file = image.display().to_string();
        let decoded = dataset::decode(image).map_err(anyhow::Error::from);
        let line = decoded.and_then(|photo| classify(&mut classifier, &photo, Some(file.clone())));
        let line = match line {
            Ok(line) => serde_json::to_string(&line)?,
            Err(error) => {
                let error = format!("{error:#}");
                failed.push(format!("{file}: {error}"));
                serde_json::to_string(&Failure { error, file })?
            }
        };
        match writeln!(out, "{line}").and_then(|()| out.flush()) {
            // The reader has seen enough, as `| head` does.
            Err(error) if error.kind() == ErrorKind::BrokenPipe => return Ok(()),
            written => written.context("standard output")?,
        }
    }
    match failed.as_slice() {
        [] => Ok(()),
        [only] => bail!("{only}"),
        [first, ..] => bail!(
            "{} of {} files could not be classified, the first is {first}",
            failed.len(),
            args.images.len()
        ),
    }
}

/// What the classifier says about a photo.
pub(crate) fn classify(
    classifier: &mut Classifier,
    image: &RgbImage,
    file: Option<String>,
) -> Result<Line> {
    let start = Instant::now();
    let view = RgbView::new(image, image.width(), image.height())?;
    let verdict = classifier.classify(view, None)?.clone();
    let ms = start.elapsed().as_secs_f64() * 1e3;
    let labels = classifier.labels();
    Ok(Line {
        result: labels.path(verdict.item),
        score: verdict.item_score(),
        category: labels.categories()[verdict.category].clone(),
        category_score: verdict.category_score(),
        file,
        ms: (ms * 1e3).round() / 1e3,
        decision: match verdict.decision {
            Decision::Category(_) => "accept",
            Decision::Reject => "reject",
        },
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_fields_come_in_the_contests_order() {
        let line = Line {
            result: "可回收物/易拉罐".to_owned(),
            score: 0.5,
            category: "可回收物".to_owned(),
            category_score: 0.75,
            file: Some("a \"b\".jpg".to_owned()),
            ms: 3.125,
            decision: "accept",
        };
        assert_eq!(
            serde_json::to_string(&line).unwrap(),
            r#"{"result":"可回收物/易拉罐","score":0.5,"category":"可回收物","category_score":0.75,"file":"a \"b\".jpg","ms":3.125,"decision":"accept"}"#
        );
    }
}
