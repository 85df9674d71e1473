use std::fs;
use std::path::PathBuf;

use models::bundle::{
    Bundle, BundleError, FORMAT_VERSION, MAGIC, MAX_BUNDLE_BYTES, MAX_MANIFEST_BYTES, SigningKey,
};
use models::manifest::{MAX_TEXT_BYTES, ManifestError};
use models::{
    Accuracy, Filter, LabelSet, Manifest, Precision, PreprocessError, PreprocessSpec, Provenance,
};
use proptest::prelude::*;

fn manifest() -> Manifest {
    let items = [("metal", "can"), ("metal", "tin"), ("paper", "card")];
    let items = items.map(|(category, item)| (category.into(), item.into()));
    Manifest {
        name: "line 3".into(),
        version: 7,
        network: "mobilenet-v2".into(),
        labels: LabelSet::new("two-chutes", items.to_vec()).unwrap(),
        preprocess: PreprocessSpec {
            size: 224,
            fill: [255; 3],
            filter: Filter::Triangle,
            mean: [0.5; 3],
            std: [0.25; 3],
        },
        parameters: 3_504_872,
        macs: 300_774_272,
        precision: Precision::F32,
        reject_thresholds: vec![0.5, 0.75],
        accuracy: Some(Accuracy {
            data: "val".into(),
            items: 361,
            item_accuracy: 0.947,
            category_accuracy: 0.992,
        }),
        provenance: Provenance {
            data_hash: "0123abcd".into(),
            config: "epochs = 3\n".into(),
            seed: 1,
            tool: "host-train 0.1.0".into(),
        },
    }
}

fn bundle() -> Bundle {
    Bundle::new(manifest(), b"not really ONNX".to_vec())
}

fn key(seed: u8) -> SigningKey {
    SigningKey::from_bytes(&[seed; 32])
}

fn signed() -> Bundle {
    let mut bundle = bundle();
    bundle.sign(&key(1)).unwrap();
    bundle
}

/// A file as documented, from any version, table and content.
fn file(version: u16, table: &[(u32, u64)], content: &[u8]) -> Vec<u8> {
    let length = 24 + 16 * table.len() + content.len() + 32;
    let mut bytes = MAGIC.to_vec();
    bytes.extend(version.to_le_bytes());
    bytes.extend((table.len() as u16).to_le_bytes());
    bytes.extend([0; 4]);
    bytes.extend((length as u64).to_le_bytes());
    for (kind, length) in table {
        bytes.extend(kind.to_le_bytes());
        bytes.extend([0; 4]);
        bytes.extend(length.to_le_bytes());
    }
    bytes.extend(content);
    seal(bytes)
}

fn seal(mut bytes: Vec<u8>) -> Vec<u8> {
    let checksum = blake3::hash(&bytes);
    bytes.extend(checksum.as_bytes());
    bytes
}

/// A file with this manifest, whatever it holds.
fn file_with(manifest: &[u8], onnx: &[u8]) -> Vec<u8> {
    let table = [(1, manifest.len() as u64), (2, onnx.len() as u64)];
    file(FORMAT_VERSION, &table, &[manifest, onnx].concat())
}

#[test]
fn the_file_is_as_documented() {
    let encoded = postcard::to_stdvec(&manifest()).unwrap();
    let bytes = bundle().write().unwrap();
    assert_eq!(bytes, file_with(&encoded, b"not really ONNX"));
    assert_eq!(Bundle::read(&bytes), Ok(bundle()));

    let mut hasher = blake3::Hasher::new();
    hasher.update(&(encoded.len() as u64).to_le_bytes());
    hasher.update(&encoded).update(b"not really ONNX");
    let hash = hasher.finalize();
    assert_eq!(bundle().hash().unwrap(), hash.to_hex().as_str());
    assert_eq!(signed().hash(), bundle().hash());
}

#[test]
fn signed_bundles_survive_and_are_verified() {
    let read = Bundle::read(&signed().write().unwrap()).unwrap();
    assert_eq!(read, signed());
    let trusted = |seeds: &[u8]| -> Vec<_> {
        seeds
            .iter()
            .map(|&seed| key(seed).verifying_key())
            .collect()
    };
    assert_eq!(read.verify(&trusted(&[2, 1])), Ok(()));
    assert_eq!(
        read.verify(&trusted(&[2, 3])),
        Err(BundleError::UntrustedKey)
    );
    assert_eq!(read.verify(&[]), Err(BundleError::UntrustedKey));
    assert_eq!(bundle().verify(&trusted(&[1])), Err(BundleError::Unsigned));

    let mut changed = read.clone();
    changed.manifest.reject_thresholds[0] = 0.0;
    assert_eq!(
        changed.verify(&trusted(&[1])),
        Err(BundleError::BadSignature)
    );
    let mut changed = read;
    let mut network = changed.onnx.bytes().unwrap();
    network[0] ^= 1;
    changed.onnx = network.into();
    assert_eq!(
        changed.verify(&trusted(&[1])),
        Err(BundleError::BadSignature)
    );
    changed.sign(&key(3)).unwrap();
    assert_eq!(changed.verify(&trusted(&[3])), Ok(()));
}

#[test]
fn a_bundle_cut_anywhere_is_an_error() {
    let bytes = signed().write().unwrap();
    let total = bytes.len() as u64;
    assert_eq!(Bundle::read(&[]), Err(BundleError::NotABundle));
    for length in 1..bytes.len() {
        let found = length as u64;
        // Until it is whole, the header is all that is known to be missing.
        let expected = if length < 24 { 24 } else { total };
        let error = Bundle::read(&bytes[..length]).unwrap_err();
        assert_eq!(
            error,
            BundleError::CutShort { expected, found },
            "cut to {length}"
        );
    }
    let sentence = Bundle::read(&bytes[..100]).unwrap_err().to_string();
    assert_eq!(
        sentence,
        format!("the file is cut short: 100 of {total} bytes; copy it again")
    );
}

#[test]
fn any_flipped_bit_is_an_error() {
    let mut bytes = signed().write().unwrap();
    for bit in 0..bytes.len() * 8 {
        bytes[bit / 8] ^= 1 << (bit % 8);
        let error = Bundle::read(&bytes).unwrap_err();
        match bit / 64 {
            0 => assert_eq!(error, BundleError::NotABundle),
            1.. if bit >= 24 * 8 => assert_eq!(error, BundleError::Checksum),
            _ => {}
        }
        bytes[bit / 8] ^= 1 << (bit % 8);
    }
}

#[test]
fn headers_say_what_is_wrong() {
    let good = bundle().write().unwrap();
    let changed = |at: usize, to: &[u8]| {
        let mut bytes = good.clone();
        bytes[at..at + to.len()].copy_from_slice(to);
        Bundle::read(&bytes).unwrap_err()
    };
    assert_eq!(changed(0, b"PK\x03\x04"), BundleError::NotABundle);
    assert_eq!(
        BundleError::NotABundle.to_string(),
        "this is not a Sortline bundle"
    );
    assert_eq!(changed(8, &[2, 0]), BundleError::NewerVersion { found: 2 });
    assert_eq!(
        changed(8, &[255, 255]),
        BundleError::NewerVersion { found: u16::MAX }
    );
    assert!(matches!(changed(8, &[0, 0]), BundleError::Header(_)));
    assert!(matches!(changed(10, &[1, 0]), BundleError::Header(_)));
    assert!(matches!(changed(10, &[4, 0]), BundleError::Header(_)));
    assert!(matches!(changed(12, &[1]), BundleError::Header(_)));
    assert!(matches!(
        changed(16, &[0; 8]),
        BundleError::TrailingBytes { .. }
    ));
    let limit = MAX_BUNDLE_BYTES;
    let expect = BundleError::TooLarge {
        what: "the bundle",
        bytes: u64::MAX,
        limit,
    };
    assert_eq!(changed(16, &[255; 8]), expect);
    let longer = [&good[..], b"\n"].concat();
    assert_eq!(
        Bundle::read(&longer),
        Err(BundleError::TrailingBytes { extra: 1 })
    );
    for other in [
        "",
        "hello",
        "SORTLINF",
        "\u{7f}ELF and more and more and more",
    ] {
        assert_eq!(Bundle::read(other.as_bytes()), Err(BundleError::NotABundle));
    }
}

#[test]
fn tables_that_do_not_fit_are_refused_although_the_checksum_does() {
    let manifest = postcard::to_stdvec(&manifest()).unwrap();
    let (m, n) = (manifest.len() as u64, 9);
    let content = [&manifest[..], &[7; 9]].concat();
    let read = |table: &[(u32, u64)]| Bundle::read(&file(FORMAT_VERSION, table, &content));
    assert!(read(&[(1, m), (2, n)]).is_ok());
    for table in [
        &[(2, m), (1, n)][..],
        &[(1, m), (1, n)],
        &[(1, m), (3, n)],
        &[(1, m), (2, n - 1)],
        &[(1, m), (2, n + 1)],
        &[(1, m), (2, u64::MAX)],
        &[(1, m), (2, n), (3, 0)],
        &[(1, m), (2, n), (3, 96)],
        &[(1, m)],
        &[],
    ] {
        assert!(
            matches!(read(table), Err(BundleError::Header(_))),
            "{table:?}: {:?}",
            read(table)
        );
    }
    assert_eq!(read(&[(1, m + n), (2, 0)]), Err(BundleError::NoNetwork));
    let limit = MAX_MANIFEST_BYTES;
    let expect = BundleError::TooLarge {
        what: "the manifest",
        bytes: limit + 1,
        limit,
    };
    assert_eq!(read(&[(1, limit + 1), (2, n)]), Err(expect));
}

#[test]
fn manifests_that_are_not_canonical_are_refused() {
    let encoded = postcard::to_stdvec(&manifest()).unwrap();
    let read = |manifest: &[u8]| match Bundle::read(&file_with(manifest, &[1])) {
        Err(BundleError::ManifestFormat(_)) => {}
        other => panic!("{other:?}"),
    };
    read(&[]);
    read(&encoded[..encoded.len() - 1]);
    read(&[&encoded[..], &[0]].concat());
    // The length of the name in two bytes instead of one.
    assert_eq!(encoded[0], 6);
    read(&[&[0x86, 0x00], &encoded[1..]].concat());
    // A string that claims to be longer than any memory.
    read(&[&[0xff; 9], &[1][..], &encoded[1..]].concat());
}

#[track_caller]
fn check_manifest(change: impl Fn(&mut Manifest), expect: ManifestError) {
    let mut bad = manifest();
    change(&mut bad);
    let expect = BundleError::Manifest(expect);
    // A bad bundle is neither written nor, if others wrote it, read.
    assert_eq!(
        Bundle::new(bad.clone(), vec![1]).write(),
        Err(expect.clone())
    );
    let file = file_with(&postcard::to_stdvec(&bad).unwrap(), &[1]);
    assert_eq!(Bundle::read(&file), Err(expect));
}

#[test]
fn manifests_without_sense_are_neither_written_nor_read() {
    let fraction = |field| ManifestError::Fraction { field };
    let count = |found| ManifestError::ThresholdCount { expected: 2, found };
    check_manifest(|m| m.reject_thresholds.clear(), count(0));
    check_manifest(|m| m.reject_thresholds.push(0.5), count(3));
    for bad in [f32::NAN, -0.1, 1.1, f32::INFINITY] {
        check_manifest(
            |m| m.reject_thresholds[1] = bad,
            fraction("a reject threshold"),
        );
    }
    let accuracy =
        |change: fn(&mut Accuracy)| move |m: &mut Manifest| m.accuracy.iter_mut().for_each(change);
    check_manifest(
        accuracy(|a| a.item_accuracy = f64::NAN),
        fraction("the item accuracy"),
    );
    check_manifest(
        accuracy(|a| a.category_accuracy = 99.2),
        fraction("the category accuracy"),
    );
    check_manifest(accuracy(|a| a.items = 0), ManifestError::NoItems);
    let name = |field| ManifestError::Name { field };
    check_manifest(|m| m.name.clear(), name("the name"));
    check_manifest(|m| m.name.push('\n'), name("the name"));
    check_manifest(|m| m.network = "n".repeat(257), name("the network"));
    check_manifest(|m| m.provenance.tool.clear(), name("the tool"));
    let long = "c".repeat(MAX_TEXT_BYTES + 1);
    let text = ManifestError::Text {
        field: "the config",
    };
    check_manifest(|m| m.provenance.config = long.clone(), text);
    let spec = PreprocessError::Spec("the size is not 1 to 2048 pixels");
    check_manifest(
        |m| m.preprocess.size = 1 << 30,
        ManifestError::Preprocess(spec),
    );
}

#[test]
fn a_bundle_without_network_is_not_written() {
    assert_eq!(
        Bundle::new(manifest(), vec![]).write(),
        Err(BundleError::NoNetwork)
    );
}

fn any_manifest() -> impl Strategy<Value = Manifest> {
    let name = "[a-z0-9 \u{4e00}-\u{4eff}-]{1,20}";
    let labels = prop::collection::btree_set(("[a-d]", "[a-z]{1,5}"), 1..12);
    let fraction = || 0.0..=1.0;
    let accuracy = prop::option::of((".{0,20}", 1u64.., fraction(), fraction()));
    let spec = (
        1u32..=2048,
        any::<[u8; 3]>(),
        any::<bool>(),
        -1e3f32..=1e3,
        1e-6f32..=1e3,
    );
    let provenance = (".{0,64}", ".{0,200}", any::<u64>());
    (
        name,
        any::<u32>(),
        labels,
        spec,
        accuracy,
        provenance,
        fraction(),
    )
        .prop_map(
            |(name, version, labels, spec, accuracy, (data_hash, config, seed), threshold)| {
                let labels = LabelSet::new("labels", labels.into_iter().collect()).unwrap();
                let (size, fill, triangle, mean, std) = spec;
                let filter = if triangle {
                    Filter::Triangle
                } else {
                    Filter::CatmullRom
                };
                let (mean, std) = ([mean, 0.0, -mean], [std, 1.0, std]);
                Manifest {
                    name: name.clone(),
                    version,
                    network: name.clone(),
                    reject_thresholds: vec![threshold as f32; labels.categories().len()],
                    labels,
                    preprocess: PreprocessSpec {
                        size,
                        fill,
                        filter,
                        mean,
                        std,
                    },
                    parameters: seed,
                    macs: !seed,
                    precision: if triangle {
                        Precision::F32
                    } else {
                        Precision::Int8
                    },
                    accuracy: accuracy.map(|(data, items, item_accuracy, category_accuracy)| {
                        Accuracy {
                            data,
                            items,
                            item_accuracy,
                            category_accuracy,
                        }
                    }),
                    provenance: Provenance {
                        data_hash,
                        config,
                        seed,
                        tool: name,
                    },
                }
            },
        )
}

/// What holds for any bytes: no panic, and what is read is written as the same bytes.
fn assert_lawful(bytes: &[u8]) -> Result<(), TestCaseError> {
    if let Ok(bundle) = Bundle::read(bytes) {
        prop_assert_eq!(bundle.write().unwrap(), bytes);
    }
    Ok(())
}

proptest! {
    #[test]
    fn what_is_written_is_read(
        manifest in any_manifest(), onnx in prop::collection::vec(any::<u8>(), 1..300),
        signer in prop::option::of(any::<u8>()),
    ) {
        let mut bundle = Bundle::new(manifest, onnx);
        if let Some(seed) = signer {
            bundle.sign(&key(seed)).unwrap();
        }
        let bytes = bundle.write().unwrap();
        prop_assert_eq!(Bundle::read(&bytes), Ok(bundle));
        assert_lawful(&bytes)?;
    }

    #[test]
    fn any_bytes_are_a_bundle_or_an_error(bytes in prop::collection::vec(any::<u8>(), 0..400)) {
        assert_lawful(&bytes)?;
        assert_lawful(&[&MAGIC[..], &bytes].concat())?;
        // As the manifest, and as everything after the header, of a file with a right checksum.
        assert_lawful(&file_with(&bytes, &[1]))?;
        assert_lawful(&file(FORMAT_VERSION, &[], &bytes))?;
    }

    #[test]
    fn any_change_of_a_manifest_is_lawful(
        changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..6),
    ) {
        let mut encoded = postcard::to_stdvec(&manifest()).unwrap();
        for (at, byte) in changes {
            let at = at.index(encoded.len());
            encoded[at] = byte;
        }
        assert_lawful(&file_with(&encoded, &[1]))?;
    }
}

/// A folder of this test, empty.
fn folder(name: &str) -> PathBuf {
    let folder = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(name);
    let _ = fs::remove_dir_all(&folder);
    fs::create_dir_all(&folder).unwrap();
    folder
}

#[test]
fn saving_replaces_the_file_and_leaves_nothing_beside_it() {
    let folder = folder("saving");
    let path = folder.join("a.sortline");
    fs::write(&path, "old").unwrap();
    bundle().save(&path).unwrap();
    signed().save(&path).unwrap();
    assert_eq!(Bundle::open(&path), Ok(signed()));
    assert_eq!(fs::read_dir(&folder).unwrap().count(), 1);

    // What cannot be written leaves the file as it was.
    let mut bad = bundle();
    bad.onnx = Vec::new().into();
    assert_eq!(bad.save(&path), Err(BundleError::NoNetwork));
    assert_eq!(Bundle::open(&path), Ok(signed()));
    fs::create_dir(folder.join("taken")).unwrap();
    assert!(matches!(
        bundle().save(folder.join("taken")),
        Err(BundleError::Io(_))
    ));
    assert!(matches!(
        bundle().save(folder.join("none/a.sortline")),
        Err(BundleError::Io(_))
    ));
    assert!(matches!(
        bundle().save(folder.join("..")),
        Err(BundleError::Io(_))
    ));
    assert_eq!(fs::read_dir(&folder).unwrap().count(), 2);
}

#[test]
fn files_that_cannot_be_read_are_errors() {
    let folder = folder("opening");
    assert!(matches!(
        Bundle::open(folder.join("none")),
        Err(BundleError::Io(_))
    ));
    assert!(matches!(Bundle::open(&folder), Err(BundleError::Io(_))));
    // A sparse file, larger than any bundle, is not read at all.
    let path = folder.join("large");
    fs::File::create(&path)
        .unwrap()
        .set_len(MAX_BUNDLE_BYTES + 1)
        .unwrap();
    let (bytes, limit) = (MAX_BUNDLE_BYTES + 1, MAX_BUNDLE_BYTES);
    let expect = BundleError::TooLarge {
        what: "the file",
        bytes,
        limit,
    };
    assert_eq!(Bundle::open(&path), Err(expect));
    fs::remove_file(path).unwrap();
}
