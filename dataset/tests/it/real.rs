//! Real photos, where they are present.

use std::path::{Path, PathBuf};

use models::LabelSet;

/// The folder of test data: `SORTLINE_DATA`, or `shared/data` beside a parent of this crate.
fn data(name: &str) -> Option<PathBuf> {
    let root = std::env::var_os("SORTLINE_DATA")
        .map(PathBuf::from)
        .or_else(|| {
            let here = std::env::current_dir().ok()?;
            here.ancestors()
                .map(|dir| dir.join("shared/data"))
                .find(|dir| dir.is_dir())
        });
    let folder = root.map(|root| root.join(name)).filter(|dir| dir.is_dir());
    if folder.is_none() {
        eprintln!("SKIPPED: the test photos {name} are not on this machine (see SORTLINE_DATA)");
    }
    folder
}

#[test]
fn garbage26_is_a_manifest() {
    let Some(dir) = data("garbage26") else { return };
    let data = dataset::read(&dir, None).unwrap();
    assert_eq!((data.samples.len(), data.labels.len()), (2039, 26));
    assert_eq!(data.labels.categories().len(), 4);
    assert_eq!(data.labels.path(0), "可回收物/塑料瓶");
    assert_eq!(data.labels.path(25), "湿垃圾/香蕉皮");
    assert_eq!(
        data.splits(),
        [("train".to_owned(), 1678), ("val".to_owned(), 361)]
    );
    let (train, val) = data.subset("train").unwrap().split(7, 0.2).unwrap();
    assert_eq!(train.samples.len() + val.samples.len(), 1678);
    assert!(
        (300..=370).contains(&val.samples.len()),
        "{}",
        val.samples.len()
    );
    assert!(val.counts().iter().all(|n| *n > 0));
}

#[test]
fn huawei12_is_in_the_contest_form() {
    let Some(dir) = data("huawei12/train_data") else {
        return;
    };
    let labels = LabelSet::builtin("huawei-40").unwrap();
    let data = dataset::read(&dir, Some(&labels)).unwrap();
    assert_eq!(data.samples.len(), 1023);
    assert_eq!(data.counts().iter().filter(|n| **n > 0).count(), 12);
    assert!(data.warnings[0].contains("28 of the 40 items of huawei-40 have no photos"));
    let first = data
        .samples
        .iter()
        .find(|s| s.path == Path::new("img_1.jpg"))
        .unwrap();
    assert_eq!(data.labels.path(first.item), "可回收物/易拉罐");
}

#[test]
fn trashnet_is_a_folder_per_class_and_decodes() {
    let Some(dir) = data("trashnet") else { return };
    let data = dataset::read(&dir, None).unwrap();
    assert_eq!((data.samples.len(), data.labels.len()), (2527, 6));
    let (mut few, _) = data.split(1, 0.5).unwrap();
    few.samples.truncate(100);
    few.check_images(|| ()).unwrap();
    assert_eq!(few.content_hash().unwrap().len(), 64);
}
