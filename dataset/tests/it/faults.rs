//! Every fault is found, at once, with its place, and told in one sentence.

use std::path::Path;

use dataset::{DatasetError, FaultKind};
use models::LabelSet;

use crate::{PHOTO, labels, tree};

/// Reads the tree and compares all faults: `(path, line, kind)` in order of path and line.
#[track_caller]
fn check(
    entries: &[(&str, &str)],
    labels: Option<&LabelSet>,
    expect: &[(&str, Option<u64>, FaultKind)],
) {
    let dir = tree(entries);
    let error = dataset::read(dir.path(), labels).unwrap_err();
    let DatasetError::Faults { faults, .. } = &error else {
        panic!("{error}")
    };
    let got: Vec<(String, Option<u64>, FaultKind)> = faults
        .iter()
        .map(|f| {
            let path = f.path.strip_prefix(dir.path()).unwrap();
            (path.to_str().unwrap().to_owned(), f.line, f.kind.clone())
        })
        .collect();
    let expect: Vec<(String, Option<u64>, FaultKind)> = expect
        .iter()
        .map(|(p, l, k)| ((*p).to_owned(), *l, k.clone()))
        .collect();
    assert_eq!(got, expect, "\n{error}");
}

fn four() -> String {
    "four".to_owned()
}

fn bad_label(why: &str) -> FaultKind {
    FaultKind::BadLabelFile(why.to_owned())
}

#[test]
fn the_folder_itself() {
    check(&[], None, &[("", None, FaultKind::NoPhotos)]);
    check(
        &[("x.txt", "hello")],
        None,
        &[("", None, FaultKind::NoPhotos)],
    );
    let missing = dataset::read(Path::new("/no/such/folder"), None).unwrap_err();
    assert_eq!(missing.to_string(), "/no/such/folder: does not exist");
    let dir = tree(&[("a.jpg", PHOTO)]);
    let file = dataset::read(&dir.path().join("a.jpg"), None).unwrap_err();
    assert!(
        file.to_string()
            .ends_with("a.jpg: is not a folder; pass the folder that holds the photos")
    );
}

#[test]
fn folder_per_class() {
    let loose = FaultKind::Unlabelled("it is in no class folder");
    check(
        &[
            ("loose.jpg", PHOTO),
            ("empty/", ""),
            ("a/1.jpg", PHOTO),
            ("a/zero.jpg", ""),
            ("cat/beside.png", PHOTO),
            ("cat/item/1.jpg", PHOTO),
            ("cat/item/deep/1.jpg", PHOTO),
            ("cat/void/", ""),
            ("cat/texts/readme.md", "x"),
        ],
        None,
        &[
            ("a/zero.jpg", None, FaultKind::EmptyFile),
            ("cat/beside.png", None, loose.clone()),
            ("cat/item/deep", None, FaultKind::TooDeep),
            ("cat/texts", None, FaultKind::EmptyClass),
            ("cat/void", None, FaultKind::EmptyClass),
            ("empty", None, FaultKind::EmptyClass),
            ("loose.jpg", None, loose),
        ],
    );
}

#[test]
fn folder_names_outside_the_label_set() {
    let unknown = |label: &str| FaultKind::UnknownLabel {
        label: label.to_owned(),
        labels: four(),
    };
    let several = vec!["dry/glass".to_owned(), "wet/glass".to_owned()];
    check(
        &[
            ("4/1.jpg", PHOTO),
            ("dry/1.jpg", PHOTO),
            ("glass/1.jpg", PHOTO),
            ("wet/paper/1.jpg", PHOTO),
            ("wet/paper/2.jpg", PHOTO),
            ("wet/peel/1.jpg", PHOTO),
        ],
        Some(&labels()),
        &[
            ("4", None, unknown("4")),
            ("dry", None, unknown("dry")),
            (
                "glass",
                None,
                FaultKind::AmbiguousLabel {
                    label: "glass".to_owned(),
                    candidates: several,
                },
            ),
            ("wet/paper", None, unknown("wet/paper")),
        ],
    );
}

#[test]
fn contest_form() {
    let no_text = FaultKind::Unlabelled("there is no text file of the same name that names it");
    let unknown = |id: &str| FaultKind::UnknownId {
        id: id.to_owned(),
        labels: four(),
        last: 3,
    };
    let long = "img_15.jpg, 1".to_owned() + &" ".repeat(5000);
    check(
        &[
            ("img_1.jpg", PHOTO),
            ("img_1.txt", "img_1.jpg, 0"),
            ("img_2.jpg", PHOTO),
            ("img_3.txt", "img_3.jpg, 0"),
            ("img_4.jpg", PHOTO),
            ("img_4.txt", "img_4.jpg, 4"),
            ("img_5.jpg", PHOTO),
            ("img_5.txt", "img_5.jpg, -1"),
            ("img_6.jpg", PHOTO),
            ("img_6.txt", "img_1.jpg, 1"),
            ("img_7.jpg", PHOTO),
            ("img_7.txt", "img_7.jpg 1"),
            ("img_8.jpg", PHOTO),
            ("img_8.txt", " \r\n"),
            ("img_9.jpg", PHOTO),
            ("img_9.txt", "img_9.jpg, 1\nimg_9.jpg, 2\n"),
            ("img_10.jpg", PHOTO),
            ("img_10.txt", "img_10.jpg, paper"),
            ("img_15.jpg", PHOTO),
            ("img_15.txt", long.as_str()),
        ],
        Some(&labels()),
        &[
            ("img_10.txt", None, unknown("paper")),
            (
                "img_15.txt",
                None,
                bad_label("it is longer than 4096 bytes"),
            ),
            ("img_2.jpg", None, no_text),
            (
                "img_3.txt",
                None,
                FaultKind::MissingPhoto("img_3.jpg".to_owned()),
            ),
            ("img_4.txt", None, unknown("4")),
            ("img_5.txt", None, unknown("-1")),
            (
                "img_6.txt",
                None,
                bad_label("it names \"img_1.jpg\", not the photo beside it"),
            ),
            ("img_7.txt", None, bad_label("\"img_7.jpg 1\" has no comma")),
            ("img_8.txt", None, bad_label("it is empty")),
            ("img_9.txt", None, bad_label("it has more than one line")),
        ],
    );
}

#[test]
fn contest_form_needs_labels_and_its_own_folder() {
    let contest = [("in/img_1.jpg", PHOTO), ("in/img_1.txt", "img_1.jpg, 0")];
    check(&contest, None, &[("in", None, FaultKind::ContestFolder)]);
    let dir = tree(&contest);
    let error = dataset::read(&dir.path().join("in"), None).unwrap_err();
    assert!(
        error.to_string().contains("pass --labels huawei-40"),
        "{error}"
    );
}

#[test]
fn manifest_header() {
    check(
        &[("manifest.csv", "path,label,path\n")],
        None,
        &[
            (
                "manifest.csv",
                Some(1),
                FaultKind::MissingColumn("category"),
            ),
            ("manifest.csv", Some(1), FaultKind::MissingColumn("item")),
            ("manifest.csv", Some(1), FaultKind::RepeatedColumn("path")),
        ],
    );
    check(
        &[("manifest.csv", "")],
        None,
        &[("manifest.csv", None, FaultKind::EmptyFile)],
    );
    check(
        &[("manifest.csv", "path,item,category\n")],
        None,
        &[("", None, FaultKind::NoPhotos)],
    );
}

#[test]
fn manifest_rows() {
    let csv = "path,item,category\n\
        a.jpg,x,c\n\
        ../out.jpg,x,c\n\
        /etc/passwd.jpg,x,c\n\
        gone.jpg,x,c\n\
        a.jpg,x\n\
        ,x,\n\
        ./a.jpg,y,c\n\
        folder.jpg,x,c\n\
        manifest.csv,x,c\n";
    let row = |line, kind| ("manifest.csv", Some(line), kind);
    check(
        &[("manifest.csv", csv), ("a.jpg", PHOTO), ("folder.jpg/", "")],
        None,
        &[
            row(3, FaultKind::EscapingPath("../out.jpg".to_owned())),
            row(4, FaultKind::EscapingPath("/etc/passwd.jpg".to_owned())),
            row(5, FaultKind::MissingPhoto("gone.jpg".to_owned())),
            row(6, FaultKind::BadRow("it has 2 fields, not 3".to_owned())),
            row(7, FaultKind::EmptyField("category")),
            row(7, FaultKind::EmptyField("path")),
            row(
                8,
                FaultKind::RepeatedPhoto {
                    path: "./a.jpg".to_owned(),
                    first_line: 2,
                },
            ),
            row(9, FaultKind::NotAPhoto("folder.jpg".to_owned())),
            row(10, FaultKind::NotAPhoto("manifest.csv".to_owned())),
        ],
    );
}

#[test]
fn manifest_labels() {
    let photos = [
        ("1.jpg", PHOTO),
        ("2.jpg", PHOTO),
        ("3.jpg", PHOTO),
        ("4.jpg", PHOTO),
    ];
    let with = |csv| [&[("manifest.csv", csv)][..], &photos].concat();
    let inconsistent = |id: &str, label: &str, other: &str, other_line| FaultKind::InconsistentId {
        id: id.to_owned(),
        label: label.to_owned(),
        other: other.to_owned(),
        other_line,
    };
    check(
        &with("path,class_id,item,category\n1.jpg,0,x,c\n2.jpg,0,y,c\n3.jpg,1,x,c\n4.jpg,2,z,c\n"),
        None,
        &[
            (
                "manifest.csv",
                Some(3),
                inconsistent("0", "c/y", "\"0\" is c/x", 2),
            ),
            (
                "manifest.csv",
                Some(4),
                inconsistent("1", "c/x", "\"0\" is c/x", 2),
            ),
        ],
    );
    let unknown = FaultKind::UnknownLabel {
        label: "dry/peel".to_owned(),
        labels: four(),
    };
    check(
        &with("path,item,category\n1.jpg,paper,dry\n2.jpg,peel,dry\n3.jpg,peel,dry\n"),
        Some(&labels()),
        &[("manifest.csv", Some(3), unknown)],
    );
}

#[test]
fn the_message_lists_twenty_and_the_error_all() {
    let folders: Vec<String> = (0..25).map(|i| format!("class{i:02}/")).collect();
    let entries: Vec<(&str, &str)> = folders.iter().map(|f| (f.as_str(), "")).collect();
    let error = dataset::read(tree(&entries).path(), None).unwrap_err();
    let text = error.to_string();
    assert!(text.contains("25 faults in the data:"), "{text}");
    assert!(text.ends_with("\n  ... and 5 more"), "{text}");
    assert_eq!(text.lines().count(), 22);
    let DatasetError::Faults { faults, .. } = error else {
        panic!()
    };
    assert_eq!(faults.len(), 25);
}

#[cfg(unix)]
#[test]
fn links_pipes_and_odd_names() {
    use std::ffi::OsStr;
    use std::os::unix::ffi::OsStrExt;
    use std::os::unix::fs::symlink;

    let dir = tree(&[("a/1.jpg", PHOTO), ("b/1.jpg", PHOTO)]);
    let at = |path: &str| dir.path().join(path);
    symlink(".", at("loop")).unwrap();
    symlink("../a", at("a/again")).unwrap();
    symlink("nowhere.jpg", at("b/broken.jpg")).unwrap();
    symlink("1.jpg", at("b/2.jpg")).unwrap();
    let pipe = std::process::Command::new("mkfifo")
        .arg(at("b/pipe.jpg"))
        .status()
        .unwrap();
    assert!(pipe.success());
    let odd = dir.path().join(OsStr::from_bytes(b"odd\xff"));
    std::fs::create_dir(&odd).unwrap();
    crate::photo(&odd.join("1.jpg"));
    let DatasetError::Faults { faults, .. } = dataset::read(dir.path(), None).unwrap_err() else {
        panic!()
    };
    let got: Vec<_> = faults.into_iter().map(|f| (f.path, f.kind)).collect();
    let mut expect = vec![
        (
            at("a/1.jpg"),
            FaultKind::Unlabelled("it is in no class folder"),
        ),
        (at("a/again"), FaultKind::LinkLoop),
        (at("b/broken.jpg"), FaultKind::Missing),
        (at("b/pipe.jpg"), FaultKind::NotAFile),
        (at("loop"), FaultKind::LinkLoop),
        (odd, FaultKind::NotUtf8),
    ];
    expect.sort();
    assert_eq!(got, expect);
}
