//! The three forms give the samples they should.

use dataset::{Dataset, DatasetError};
use models::LabelSet;

use crate::{PHOTO, labels, tree};

/// `entries` read with `labels` gives the samples `path -> label`, as text.
#[track_caller]
fn check(entries: &[(&str, &str)], labels: Option<&LabelSet>, expect: &[(&str, &str)]) -> Dataset {
    let dir = tree(entries);
    let data = dataset::read(dir.path(), labels).unwrap_or_else(|e| panic!("{e}"));
    let got: Vec<(String, String)> = data
        .samples
        .iter()
        .map(|s| {
            (
                s.path.to_str().unwrap().to_owned(),
                data.labels.path(s.item),
            )
        })
        .collect();
    let expect: Vec<(String, String)> = expect
        .iter()
        .map(|(p, l)| ((*p).to_owned(), (*l).to_owned()))
        .collect();
    assert_eq!(got, expect);
    data
}

fn items(data: &Dataset) -> Vec<String> {
    (0..data.labels.len())
        .map(|i| data.labels.path(i))
        .collect()
}

#[test]
fn folders_of_one_level_are_item_and_category() {
    check(
        &[
            ("glass/1.jpg", PHOTO),
            ("glass/2.JPEG", PHOTO),
            ("can/x.webp", PHOTO),
        ],
        None,
        &[
            ("can/x.webp", "can/can"),
            ("glass/1.jpg", "glass/glass"),
            ("glass/2.JPEG", "glass/glass"),
        ],
    );
}

#[test]
fn folders_of_two_levels_are_category_and_item() {
    let photos = [
        ("可回收物/易拉罐/1.jpg", PHOTO),
        ("厨余垃圾/蛋壳/1.png", PHOTO),
    ];
    let expect = [
        ("厨余垃圾/蛋壳/1.png", "厨余垃圾/蛋壳"),
        ("可回收物/易拉罐/1.jpg", "可回收物/易拉罐"),
    ];
    let data = check(&photos, None, &expect);
    assert_eq!(items(&data), ["厨余垃圾/蛋壳", "可回收物/易拉罐"]);
    let huawei = LabelSet::builtin("huawei-40").unwrap();
    let data = check(&photos, Some(&huawei), &expect);
    assert_eq!(data.samples[0].item, 12);
    assert_eq!(data.warnings.len(), 1);
    assert!(data.warnings[0].contains("38 of the 40 items of huawei-40 have no photos"));
}

#[test]
fn with_labels_a_folder_may_be_item_pair_or_id() {
    check(
        &[
            ("0/a.jpg", PHOTO),
            ("paper/b.jpg", PHOTO),
            ("wet_glass/c.jpg", PHOTO),
            ("dry/glass/d.jpg", PHOTO),
            ("2/e.jpg", PHOTO),
        ],
        Some(&labels()),
        &[
            ("0/a.jpg", "dry/paper"),
            ("2/e.jpg", "wet/peel"),
            ("dry/glass/d.jpg", "dry/glass"),
            ("paper/b.jpg", "dry/paper"),
            ("wet_glass/c.jpg", "wet/glass"),
        ],
    );
}

#[test]
fn side_files_are_ignored_and_other_files_are_warned_of() {
    let data = check(
        &[
            (".DS_Store", "x"),
            ("__MACOSX/", ""),
            ("a/Thumbs.db", "x"),
            ("a/.hidden.jpg", "x"),
            ("a/notes.md", "x"),
            ("a/1.jpg", PHOTO),
        ],
        None,
        &[("a/1.jpg", "a/a")],
    );
    assert_eq!(data.warnings.len(), 1);
    assert!(
        data.warnings[0].contains("notes.md"),
        "{}",
        data.warnings[0]
    );
}

#[test]
fn contest_label_files_are_read_leniently() {
    for text in [
        "img_1.jpg, 2",
        "\u{feff}img_1.jpg, 2\r\n",
        "  img_1.jpg ,2  \n\n",
        "img_1.jpg，2",
        "img_1.jpg,\t2\n",
        "IMG_1.JPG,2",
        "img_1.jpg,02",
    ] {
        check(
            &[("img_1.jpg", PHOTO), ("img_1.txt", text)],
            Some(&labels()),
            &[("img_1.jpg", "wet/peel")],
        );
    }
}

#[test]
fn manifest_columns_may_come_in_any_order_with_others_between() {
    let csv = "\u{feff}note,category,path,item\r\nx,wet,p/1.jpg,peel\r\n\"a,b\",dry,./p/2.jpg, paper \r\n";
    let photos = [
        ("manifest.csv", csv),
        ("p/1.jpg", PHOTO),
        ("p/2.jpg", PHOTO),
    ];
    let expect = [("p/1.jpg", "wet/peel"), ("p/2.jpg", "dry/paper")];
    let data = check(&photos, None, &expect);
    assert_eq!(items(&data), ["dry/paper", "wet/peel"]);
    let data = check(&photos, Some(&labels()), &expect);
    assert_eq!(data.samples[0].item, 2);
}

#[test]
fn class_ids_order_the_items() {
    let manifest = |ids: [&str; 3]| {
        format!(
            "path,class_id,item,category\n1.jpg,{},x,b\n2.jpg,{},y,a\n3.jpg,{},z,a\n",
            ids[0], ids[1], ids[2]
        )
    };
    for (ids, expect) in [
        (["10", "9", "100"], ["a/y", "b/x", "a/z"]),
        (["00_01", "00_00", "01_00"], ["a/y", "b/x", "a/z"]),
        (["10", "9", "1x"], ["b/x", "a/z", "a/y"]),
    ] {
        let csv = manifest(ids);
        let dir = tree(&[
            ("manifest.csv", csv.as_str()),
            ("1.jpg", PHOTO),
            ("2.jpg", PHOTO),
            ("3.jpg", PHOTO),
        ]);
        let data = dataset::read(dir.path(), None).unwrap();
        assert_eq!(items(&data), expect, "{ids:?}");
    }
}

#[test]
fn groups_and_splits_come_from_the_manifest() {
    let csv = "path,item,category,group,split\n1.jpg,x,a,g,train\n2.jpg,x,a,,val\n3.jpg,x,a,h,\n";
    let dir = tree(&[
        ("manifest.csv", csv),
        ("1.jpg", PHOTO),
        ("2.jpg", PHOTO),
        ("3.jpg", PHOTO),
    ]);
    let data = dataset::read(dir.path(), None).unwrap();
    let groups: Vec<_> = data.samples.iter().map(|s| s.group.as_deref()).collect();
    assert_eq!(groups, [Some("g"), None, Some("h")]);
    assert_eq!(
        data.splits(),
        [("train".to_owned(), 1), ("val".to_owned(), 1)]
    );
    assert_eq!(data.subset("val").unwrap().samples, data.samples[1..2]);
    let error = data.subset("test").unwrap_err();
    assert!(
        error
            .to_string()
            .ends_with("no photo has the split \"test\"; the splits are train, val")
    );
    assert!(data.warnings[0].contains("1 photos have no split"));
}

#[test]
fn the_content_hash_sees_path_label_and_bytes_and_nothing_else() {
    let base = [("a/1.jpg", PHOTO), ("b/2.jpg", PHOTO)];
    let hash_of = |entries: &[(&str, &str)]| {
        let dir = tree(entries);
        dataset::read(dir.path(), None)
            .unwrap()
            .content_hash()
            .unwrap()
    };
    let of_base = hash_of(&base);
    assert_eq!(of_base.len(), 64);
    assert_eq!(of_base, hash_of(&[base[1], base[0], ("a/note.txt", "x")]));
    for other in [
        [("a/1.jpg", PHOTO), ("b/3.jpg", PHOTO)],
        [("a/1.jpg", PHOTO), ("c/2.jpg", PHOTO)],
        [("a/1.jpg", PHOTO), ("b/2.jpg", "other bytes")],
    ] {
        assert_ne!(of_base, hash_of(&other), "{other:?}");
    }
    let dir = tree(&base);
    let mut data = dataset::read(dir.path(), None).unwrap();
    data.samples.reverse();
    assert_eq!(of_base, data.content_hash().unwrap());
    data.samples[0].item = 0;
    assert_ne!(of_base, data.content_hash().unwrap());
    drop(dir);
    let DatasetError::Faults { faults, .. } = data.content_hash().unwrap_err() else {
        panic!()
    };
    assert_eq!(faults.len(), 2, "the photos are gone");
}
