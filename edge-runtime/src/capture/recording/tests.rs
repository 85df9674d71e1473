//! Videos that are written here, whole, cut and damaged; and some that ffmpeg wrote.

use super::*;
use crate::capture::colour::{FULL, LIMITED, reference};
use proptest::prelude::*;

/// Every picture with its number, and how it ended.
fn read(video: Vec<u8>) -> (Vec<(u64, RgbImage)>, CaptureError) {
    let mut recording = match Recording::of_bytes(video) {
        Ok(recording) => recording,
        Err(error) => return (Vec::new(), error),
    };
    let mut pictures = Vec::new();
    let mut image = RgbImage::default();
    loop {
        match recording.next(&mut image) {
            Ok(number) => pictures.push((number, image.clone())),
            Err(end) => {
                assert_eq!(recording.next(&mut image), Err(CaptureError::Finished));
                return (pictures, end);
            }
        }
    }
}

fn failure(video: &[u8]) -> String {
    match read(video.to_vec()).1 {
        CaptureError::Failed(what) => what,
        other => panic!("{other:?}"),
    }
}

fn y4m(header: &str, pictures: &[&[u8]]) -> Vec<u8> {
    let mut video = format!("YUV4MPEG2 {header}\n").into_bytes();
    for planes in pictures {
        video.extend(b"FRAME\n");
        video.extend(*planes);
    }
    video
}

fn chunk(name: &[u8; 4], content: &[u8]) -> Vec<u8> {
    let mut chunk = name.to_vec();
    chunk.extend((content.len() as u32).to_le_bytes());
    chunk.extend(content);
    chunk.resize(chunk.len().next_multiple_of(2), 0);
    chunk
}

fn list(kind: &[u8; 4], content: &[Vec<u8>]) -> Vec<u8> {
    chunk(b"LIST", &[&kind[..], &content.concat()].concat())
}

/// Sound, then pictures: what lies in `movi` is given.
fn avi(code: &[u8; 4], movi: &[Vec<u8>]) -> Vec<u8> {
    let stream = |kind: &[u8; 4], pictures: u32, seconds: u32, format: &[u8]| {
        let mut head = kind.to_vec();
        head.resize(20, 0);
        head.extend([seconds.to_le_bytes(), pictures.to_le_bytes()].concat());
        list(b"strl", &[chunk(b"strh", &head), chunk(b"strf", format)])
    };
    let format = [&[40, 0, 0, 0][..], &[0; 12], code, &[0; 20]].concat();
    let streams = [
        chunk(b"avih", &[0; 56]),
        stream(b"auds", 8000, 1, &[1; 18]),
        stream(b"vids", 25, 2, &format),
    ];
    let parts = [
        list(b"hdrl", &streams),
        list(b"INFO", &[chunk(b"ISFT", b"a test")]),
        list(b"movi", movi),
        chunk(b"idx1", &[7; 32]),
    ];
    chunk(b"RIFF", &[b"AVI ".to_vec(), parts.concat()].concat())
}

/// A picture that says its number, and what a decoder makes of it.
fn jpeg(number: u8) -> (Vec<u8>, RgbImage) {
    let image = RgbImage::from_fn(24, 16, |x, y| {
        image::Rgb([number * 40, (x * 10) as u8, (y * 15) as u8])
    });
    let mut jpeg = Cursor::new(Vec::new());
    image.write_to(&mut jpeg, image::ImageFormat::Jpeg).unwrap();
    let jpeg = jpeg.into_inner();
    let decoded = dataset::decode_bytes(&jpeg, 1 << 20).unwrap();
    (jpeg, decoded)
}

fn jpegs() -> (Vec<Vec<u8>>, Vec<RgbImage>) {
    (0..3).map(jpeg).unzip()
}

/// One video of each kind, all with three pictures.
fn videos() -> [Vec<u8>; 3] {
    let planes: Vec<u8> = (0..36).map(|n| n * 7).collect();
    let (jpegs, _) = jpegs();
    let movi: Vec<_> = jpegs.iter().map(|jpeg| chunk(b"01dc", jpeg)).collect();
    [
        y4m("W6 H4 F25:2", &[&planes[..]; 3]),
        avi(b"MJPG", &movi),
        jpegs.concat(),
    ]
}

/// How many columns and rows share a colour.
const KINDS: [(&str, Option<(usize, usize)>); 5] = [
    ("420jpeg", Some((2, 2))),
    ("422", Some((2, 1))),
    ("444", Some((1, 1))),
    ("411", Some((4, 1))),
    ("mono", None),
];

proptest! {
    #[test]
    fn uncompressed_pictures_are_the_standards_colours(
        kind in 0..KINDS.len(), is_full: bool, width in 1..12_usize, height in 1..7_usize,
        bytes in prop::collection::vec(any::<u8>(), 400),
    ) {
        let (name, shared) = KINDS[kind];
        let plane = |(columns, rows)| (width.div_ceil(columns), height.div_ceil(rows));
        let (colour_width, colour_height) = shared.map_or((0, 0), plane);
        let colours = colour_width * colour_height;
        let planes = &bytes[..width * height + 2 * colours];
        let range = if is_full { "FULL" } else { "LIMITED" };
        let video = y4m(&format!("W{width} H{height} C{name} XCOLORRANGE={range}"), &[planes]);
        let (pictures, end) = read(video);
        prop_assert_eq!(end, CaptureError::Finished);
        prop_assert_eq!(pictures.len(), 1);
        for (x, y, pixel) in pictures[0].1.enumerate_pixels() {
            let (x, y) = (x as usize, y as usize);
            let at = |(c, r): (usize, usize)| width * height + y / r * colour_width + x / c;
            let (u, v) = shared.map_or((128, 128), |s| (planes[at(s)], planes[at(s) + colours]));
            let range = if is_full { FULL } else { LIMITED };
            let expect = reference(range, planes[y * width + x], u, v);
            for (found, expect) in pixel.0.into_iter().zip(expect) {
                prop_assert!((f64::from(found) - expect).abs() < 1.0);
            }
        }
    }

    /// Before the cut every picture is whole.
    #[test]
    fn a_video_that_is_cut_ends_or_says_so(kind in 0..3_usize, share in 0.0..1.0_f64) {
        let video = videos()[kind].clone();
        let (whole, _) = read(video.clone());
        let cut = video[..(video.len() as f64 * share) as usize].to_vec();
        let (pictures, end) = read(cut);
        prop_assert!(pictures.len() <= whole.len());
        prop_assert_eq!(&pictures[..], &whole[..pictures.len()]);
        match end {
            CaptureError::Finished => {}
            CaptureError::Failed(what) => prop_assert!(what.len() < 200, "{}", what),
            CaptureError::TimedOut(_) => prop_assert!(false),
        }
    }

    #[test]
    fn a_video_that_is_damaged_ends_or_says_so(
        kind in 0..3_usize, places in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..4),
    ) {
        let mut video = videos()[kind].clone();
        for (place, byte) in places {
            let at = place.index(video.len());
            video[at] = byte;
        }
        let bytes = video.len();
        let (pictures, end) = read(video);
        let pixels = |image: &RgbImage| (image.width() * image.height()) as usize;
        prop_assert!(pictures.iter().all(|(_, image)| pixels(image) <= 1024 * bytes));
        prop_assert!(!matches!(end, CaptureError::TimedOut(_)));
    }
}

#[test]
fn a_video_that_is_cut_anywhere_is_read_up_to_there() {
    for video in videos() {
        let mut seen = 0;
        for end in 0..video.len() {
            let (pictures, error) = read(video[..end].to_vec());
            assert!(pictures.len() >= seen, "at {end}");
            seen = pictures.len();
            if let CaptureError::Failed(what) = error {
                let says = ["cut short", "no pictures", "is neither"];
                assert!(says.iter().any(|s| what.contains(s)), "at {end}: {what}");
            }
        }
        assert!(seen >= 2, "{seen}");
    }
}

#[test]
fn motion_jpeg_gives_what_its_jpegs_are() {
    let (jpegs, images) = jpegs();
    let expect: Vec<_> = (0..).zip(images).collect();
    let zeros = jpegs.join(&[0; 5][..]);
    for video in [jpegs.concat(), zeros, videos()[1].clone()] {
        assert_eq!(read(video), (expect.clone(), CaptureError::Finished));
    }
}

#[test]
fn sound_lists_and_more_lists_do_not_hide_an_avis_pictures() {
    let (jpegs, images) = jpegs();
    let picture = |n: usize| chunk(b"01dc", &jpegs[n]);
    let sound = chunk(b"00wb", &[9; 33]);
    let movi = [
        picture(0),
        list(b"rec ", &[sound.clone(), picture(1)]),
        // For want of a picture the one before.
        chunk(b"01dc", &[]),
        sound,
        chunk(b"ix01", &[3; 24]),
    ];
    let mut video = avi(b"mjpg", &movi);
    let more = list(b"movi", &[picture(2)]);
    video.extend(chunk(b"RIFF", &[b"AVIX".to_vec(), more].concat()));
    let numbers = [0, 1, 3];
    let expect: Vec<_> = numbers.into_iter().zip(images).collect();
    assert_eq!(
        read(video.clone()),
        (expect.clone(), CaptureError::Finished)
    );

    // What a program leaves that is killed while it records.
    for name in [b"AVI ", b"movi", b"AVIX"] {
        let at = video.windows(4).position(|w| w == name).unwrap();
        video[at - 4..at].fill(0);
    }
    assert_eq!(read(video.clone()).0, expect);
    let recording = Recording::of_bytes(video).unwrap();
    assert_eq!(
        (recording.rate_hz(), recording.size()),
        (Some(12.5), (24, 16))
    );
}

#[test]
fn a_thumbnail_within_a_picture_is_no_picture() {
    let (outer, image) = jpeg(1);
    let (thumbnail, _) = jpeg(2);
    let bytes = (thumbnail.len() as u16 + 2).to_be_bytes();
    let with = [&outer[..2], &[0xff, 0xe1], &bytes, &thumbnail, &outer[2..]].concat();
    let video = [with, outer].concat();
    let expect = vec![(0, image.clone()), (1, image)];
    assert_eq!(read(video), (expect, CaptureError::Finished));
}

#[test]
fn what_cannot_be_read_says_why_and_what_helps() {
    let (jpegs, _) = jpegs();
    let mut small = Cursor::new(Vec::new());
    let image = RgbImage::new(8, 8);
    image
        .write_to(&mut small, image::ImageFormat::Jpeg)
        .unwrap();
    for (video, says) in [
        (b"".to_vec(), "ffmpeg -i FILE out.y4m"),
        (
            b"\0\0\0\x20ftypisom\0\0\x02\0".to_vec(),
            "ffmpeg -i FILE out.y4m",
        ),
        (avi(b"H264", &[]), "coded as H264, not as Motion JPEG"),
        (avi(b"MJPG", &[]), "no pictures in it"),
        (y4m("W2 H2 F0:1", &[]), "0 pictures a second"),
        (y4m("W2 H2 F25:1", &[]), "no pictures in it"),
        (
            y4m("W2 H2", &[b"whole\0noise\n"]),
            "picture 000002.png is damaged",
        ),
        (
            [&jpegs[0][..], b"noise"].concat(),
            "picture 000002.png is damaged: it is no JPEG",
        ),
        (
            [jpegs[0].clone(), small.into_inner()].concat(),
            "000002.png is 8x8, and the first is 24x16",
        ),
    ] {
        let what = failure(&video);
        assert!(what.contains(says), "{what}");
    }
}

#[test]
fn a_picture_that_claims_to_be_huge_takes_no_memory() {
    let (mut jpeg, _) = jpeg(1);
    let at = jpeg.windows(2).position(|w| w == [0xff, 0xc0]).unwrap();
    jpeg[at + 5..at + 9].fill(0xff);
    assert!(failure(&jpeg).contains("no picture of 65535x65535"));
    let huge = y4m("W16384 H16384", &[b"few"]);
    assert!(failure(&huge).contains("cut short"));
}

/// Written by ffmpeg 9.0 from its test picture (`-f lavfi -i testsrc2=size=32x18:rate=25:duration=0.12`, as
/// `-c:v mjpeg -q:v 2 -pix_fmt yuvj444p` and as `-pix_fmt yuv444p`), and as it reads them itself
/// (`-f rawvideo -pix_fmt rgb24 -sws_flags accurate_rnd+full_chroma_int`).
#[test]
fn what_ffmpeg_writes_is_what_ffmpeg_reads() {
    let jpegs = include_bytes!("samples/ffmpeg.jpeg.rgb").as_slice();
    let samples = [
        (
            include_bytes!("samples/ffmpeg.avi").as_slice(),
            Some(25.0),
            jpegs,
        ),
        (include_bytes!("samples/ffmpeg.mjpeg"), None, jpegs),
        (
            include_bytes!("samples/ffmpeg.y4m"),
            Some(25.0),
            include_bytes!("samples/ffmpeg.y4m.rgb"),
        ),
    ];
    for (video, rate_hz, expect) in samples {
        let recording = Recording::of_bytes(video.to_vec()).unwrap();
        assert_eq!((recording.size(), recording.rate_hz()), ((32, 18), rate_hz));
        let (pictures, end) = read(video.to_vec());
        assert_eq!((pictures.len(), end), (3, CaptureError::Finished));
        let found = pictures.iter().flat_map(|(_, image)| image.as_raw());
        let off = found.zip(expect).map(|(a, b)| a.abs_diff(*b)).max();
        assert!(off.is_some_and(|off| off <= 3), "{off:?}");
    }
}

#[test]
fn a_folders_pictures_come_in_the_order_of_their_names() {
    let folder = tempfile::tempdir().unwrap();
    for (name, level) in [("b.png", 20), ("a.png", 10), ("c.txt", 0)] {
        let path = folder.path().join(name);
        match name.ends_with("png") {
            true => RgbImage::from_pixel(2, 2, image::Rgb([level; 3]))
                .save(path)
                .unwrap(),
            false => std::fs::write(path, "text").unwrap(),
        }
    }
    let mut recording = Recording::open(folder.path()).unwrap();
    let mut image = RgbImage::default();
    for (number, name, level) in [(0, "a.png", 10), (1, "b.png", 20)] {
        assert_eq!(recording.next(&mut image), Ok(number));
        assert_eq!(recording.picture_name(number), name);
        assert_eq!(image.get_pixel(0, 0).0, [level; 3]);
    }
    assert_eq!(recording.next(&mut image), Err(CaptureError::Finished));
    let empty = tempfile::tempdir().unwrap();
    let error = Recording::open(empty.path()).err().unwrap();
    assert!(error.to_string().contains("no pictures"), "{error}");
}
