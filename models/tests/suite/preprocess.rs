use models::preprocess::MAX_FRAME_SIDE;
use models::{Filter, PreprocessError, PreprocessSpec, Preprocessor, Region, RgbView};
use proptest::prelude::*;

const FILTERS: [Filter; 2] = [Filter::Triangle, Filter::CatmullRom];

fn spec(size: u32, filter: Filter) -> PreprocessSpec {
    PreprocessSpec {
        size,
        fill: [255, 254, 253],
        filter,
        mean: [0.485, 0.456, 0.406],
        std: [0.229, 0.224, 0.225],
    }
}

/// Smooth in places and noisy in others; the same everywhere.
fn picture(width: u32, height: u32, seed: u32) -> Vec<u8> {
    let mut state = seed.wrapping_mul(2).wrapping_add(1);
    let mut bytes = Vec::new();
    for y in 0..height {
        for x in 0..width {
            for channel in 0..3 {
                state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                let smooth = (x * 3 + y * 2 + channel * 80 + seed % 251) % 256;
                let noisy = state >> 24;
                bytes.push(if (x / 8 + y / 8) % 2 == 0 {
                    smooth
                } else {
                    noisy
                } as u8);
            }
        }
    }
    bytes
}

fn square(spec: PreprocessSpec, data: &[u8], width: u32, height: u32) -> Vec<u8> {
    let view = RgbView::new(data, width, height).unwrap();
    Preprocessor::new(spec)
        .unwrap()
        .square(view, None)
        .unwrap()
        .to_vec()
}

/// The documented geometry in `f64`: between the two passes values are clamped but not rounded.
fn expected_square(spec: PreprocessSpec, data: &[u8], width: u32, height: u32) -> Vec<f64> {
    let (size, longer) = (spec.size as usize, f64::from(width.max(height)));
    let scaled =
        |side: u32| ((f64::from(side) * size as f64 / longer + 0.5).floor() as usize).max(1);
    let (to_width, to_height) = (scaled(width), scaled(height));
    let (width, height) = (width as usize, height as usize);
    let mut square: Vec<f64> = spec
        .fill
        .iter()
        .cycle()
        .take(size * size * 3)
        .map(|&b| b.into())
        .collect();
    for channel in 0..3 {
        let at = |x: usize, y: usize| f64::from(data[(y * width + x) * 3 + channel]);
        let narrowed: Vec<Vec<f64>> = (0..height)
            .map(|y| {
                resize(
                    spec.filter,
                    to_width,
                    &(0..width).map(|x| at(x, y)).collect::<Vec<_>>(),
                )
            })
            .collect();
        for x in 0..to_width {
            let column: Vec<f64> = narrowed.iter().map(|row| row[x]).collect();
            for (y, value) in resize(spec.filter, to_height, &column)
                .into_iter()
                .enumerate()
            {
                let (left, top) = ((size - to_width) / 2, (size - to_height) / 2);
                square[((top + y) * size + left + x) * 3 + channel] = value;
            }
        }
    }
    square
}

fn resize(filter: Filter, to: usize, line: &[f64]) -> Vec<f64> {
    let scale = line.len() as f64 / to as f64;
    let kernel = |x: f64| match filter {
        Filter::Triangle => (1.0 - x).max(0.0),
        Filter::CatmullRom if x < 1.0 => 1.5 * x.powi(3) - 2.5 * x.powi(2) + 1.0,
        Filter::CatmullRom if x < 2.0 => -0.5 * x.powi(3) + 2.5 * x.powi(2) - 4.0 * x + 2.0,
        Filter::CatmullRom => 0.0,
    };
    let value = |position: usize| {
        let centre = (position as f64 + 0.5) * scale;
        let weight = |at: usize| kernel((at as f64 + 0.5 - centre).abs() / scale.max(1.0));
        let (sum, total) = line
            .iter()
            .enumerate()
            .fold((0.0, 0.0), |(sum, total), (at, value)| {
                (sum + weight(at) * value, total + weight(at))
            });
        (sum / total).clamp(0.0, 255.0)
    };
    (0..to).map(value).collect()
}

fn any_filter() -> impl Strategy<Value = Filter> {
    prop::sample::select(FILTERS.to_vec())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn squares_are_within_one_level_of_exact_arithmetic(
        (width, height) in (1u32..90, 1u32..90), size in 1u32..48, seed: u32, filter in any_filter(),
    ) {
        let data = picture(width, height, seed);
        let found = square(spec(size, filter), &data, width, height);
        let exact = expected_square(spec(size, filter), &data, width, height);
        for (index, (&found, exact)) in found.iter().zip(exact).enumerate() {
            let difference = (f64::from(found) - exact.round()).abs();
            prop_assert!(difference <= 1.0, "byte {index}: {found} for {exact}");
        }
    }

    #[test]
    fn a_region_gives_what_a_cut_out_picture_gives(
        (width, height) in (1u32..60, 1u32..60),
        (x, y, w, h) in (0.0..1.0, 0.0..1.0, 0.0..1.0, 0.0..1.0),
        filter in any_filter(),
    ) {
        let part = |side: u32, part: f64| (f64::from(side) * part) as u32;
        let (x, y) = (part(width, x), part(height, y));
        let (w, h) = (1 + part(width - x - 1, w), 1 + part(height - y - 1, h));
        let region = Region { x, y, width: w, height: h };
        let data = picture(width, height, 1);
        let cut: Vec<u8> = (y..y + h)
            .flat_map(|row| &data[((row * width + x) * 3) as usize..][..(w * 3) as usize])
            .copied()
            .collect();
        let view = RgbView::new(&data, width, height).unwrap();
        let mut preprocessor = Preprocessor::new(spec(24, filter)).unwrap();
        prop_assert_eq!(
            preprocessor.square(view, Some(region)).unwrap(),
            square(spec(24, filter), &cut, w, h)
        );
    }

    #[test]
    fn frames_and_regions_never_leave_traces_in_the_next(
        frames in prop::collection::vec((1u32..70, 1u32..70), 2..6), filter in any_filter(),
    ) {
        let mut preprocessor = Preprocessor::new(spec(32, filter)).unwrap();
        for (seed, (width, height)) in (0..).zip(frames) {
            let data = picture(width, height, seed);
            let view = RgbView::new(&data, width, height).unwrap();
            let fresh = square(spec(32, filter), &data, width, height);
            prop_assert_eq!(preprocessor.square(view, None).unwrap(), fresh);
        }
    }

    #[test]
    fn any_region_is_inside_or_an_error(x: u32, y: u32, width: u32, height: u32, small: bool) {
        let fit = |value: u32| if small { value % 12 } else { value };
        let region = Region { x: fit(x), y: fit(y), width: fit(width), height: fit(height) };
        let data = picture(8, 6, 0);
        let view = RgbView::new(&data, 8, 6).unwrap();
        let mut preprocessor = Preprocessor::new(spec(5, Filter::Triangle)).unwrap();
        let ends = |start: u32, length: u32| u64::from(start) + u64::from(length);
        let inside = region.width > 0
            && region.height > 0
            && ends(region.x, region.width) <= 8
            && ends(region.y, region.height) <= 6;
        let expect = PreprocessError::Region { region, width: 8, height: 6 };
        match preprocessor.square(view, Some(region)) {
            Ok(_) => prop_assert!(inside),
            Err(error) => prop_assert!(!inside && error == expect),
        }
    }
}

#[test]
fn one_colour_stays_one_colour() {
    for filter in FILTERS {
        for (width, height) in [(1, 1), (3, 1), (1, 400), (5000, 2), (97, 31), (640, 480)] {
            for size in [1, 7, 32] {
                let data = [9, 200, 255].repeat((width * height) as usize);
                let spec = spec(size, filter);
                let to = spec.placement(width, height);
                let pixels = square(spec, &data, width, height);
                for (index, pixel) in (0..).zip(pixels.as_chunks::<3>().0) {
                    let (x, y) = (index % size, index / size);
                    let inside = (to.x..to.x + to.width).contains(&x)
                        && (to.y..to.y + to.height).contains(&y);
                    let expect = if inside { [9, 200, 255] } else { spec.fill };
                    assert_eq!(*pixel, expect, "{filter:?} {width}x{height} at {x}, {y}");
                }
            }
        }
    }
}

#[test]
fn a_picture_of_the_right_size_is_copied() {
    for filter in FILTERS {
        let data = picture(31, 31, 5);
        assert_eq!(square(spec(31, filter), &data, 31, 31), data);
    }
}

#[test]
fn pictures_are_centred_with_their_longer_side_as_the_size() {
    let placement = |size, width, height| {
        let Region {
            x,
            y,
            width,
            height,
        } = spec(size, Filter::Triangle).placement(width, height);
        [x, y, width, height]
    };
    assert_eq!(placement(224, 640, 480), [0, 28, 224, 168]);
    assert_eq!(placement(224, 480, 640), [28, 0, 168, 224]);
    assert_eq!(placement(224, 224, 224), [0, 0, 224, 224]);
    assert_eq!(placement(10, 4, 1), [0, 3, 10, 3]); // 2.5 is rounded up, 3.5 down
    assert_eq!(placement(224, 65_535, 1), [0, 111, 224, 1]);
    assert_eq!(placement(1, 3, 9), [0, 0, 1, 1]);
}

/// BLAKE3 of what Pillow 10.4, 12.0 and 13.0 make of the same pictures with the Python code in the
/// documentation.
#[test]
fn squares_are_pillows_to_the_last_bit() {
    for (width, height, size, filter, expect) in [
        (
            640,
            480,
            224,
            Filter::Triangle,
            "04ae5446cdcaba8daedc387108146d2f2da26ee2ab29e6e2a8bb7bd086b1e269",
        ),
        (
            640,
            480,
            224,
            Filter::CatmullRom,
            "2ac3a57d0fd953871c7d7e4f2bbc04d9d7201bc114f96f502d697f1622960e1a",
        ),
        (
            480,
            640,
            224,
            Filter::Triangle,
            "7fa8cd5a861d1b62d0d36568bb11ae585b32bb2aa4f6da08c31ea47df4f1718e",
        ),
        (
            480,
            640,
            224,
            Filter::CatmullRom,
            "e812fdc5535aa5cac350f53469dc51a1ab9efcff13546576400f299a61f7b711",
        ),
        (
            100,
            150,
            224,
            Filter::Triangle,
            "a48b9f0d4763258abcdf571134bc73062b51c9fc29e70ba69891fa66fbf25d4e",
        ),
        (
            100,
            150,
            224,
            Filter::CatmullRom,
            "62ef3427a05b13f1c97d13058fe6897cebcfbbc78285c3e6cfc4a9cf50fa0e3c",
        ),
        (
            224,
            224,
            160,
            Filter::Triangle,
            "c36c2aa3bd93b01cfef6591d094080e6cbceccd7c338ada43076bee46e4bd4bb",
        ),
        (
            224,
            224,
            160,
            Filter::CatmullRom,
            "60a9680e76166c534d33a6c48aefd85e6d9568566208705c16ed8822e51e0e9c",
        ),
        (
            1000,
            3,
            64,
            Filter::Triangle,
            "3b76ba2d8b1c126b28bf9afe28ba3670cb3fb5e509180552a06c94a937a67a5d",
        ),
        (
            1000,
            3,
            64,
            Filter::CatmullRom,
            "1859a9577021475f0cc8f3a9aa1fa32e6f143d63fc59aef41f383605c6028eba",
        ),
        (
            1,
            1,
            32,
            Filter::Triangle,
            "b45986677198ca94b929828d60e9599b8aa9684b5881f9abfb65f5d53e0ae066",
        ),
        (
            1,
            1,
            32,
            Filter::CatmullRom,
            "b45986677198ca94b929828d60e9599b8aa9684b5881f9abfb65f5d53e0ae066",
        ),
        (
            37,
            53,
            96,
            Filter::Triangle,
            "5458968b0c4aadbbb723fa4ae76c652063d3f9241f23da02c757ada2faee134e",
        ),
        (
            37,
            53,
            96,
            Filter::CatmullRom,
            "0a6c77a08b44a8356b74d38044b05615681de491f03cc1dbc2d27fe7d2537d10",
        ),
        (
            320,
            240,
            320,
            Filter::Triangle,
            "2e0a52f05bf8d8f9d93ab2613e6cf3cf2c115373a8f6bb61e5e142c7e3c0cca2",
        ),
        (
            320,
            240,
            320,
            Filter::CatmullRom,
            "2e0a52f05bf8d8f9d93ab2613e6cf3cf2c115373a8f6bb61e5e142c7e3c0cca2",
        ),
    ] {
        let data = picture(width, height, 7);
        let found = blake3::hash(&square(spec(size, filter), &data, width, height));
        assert_eq!(
            found.to_hex().as_str(),
            expect,
            "{width}x{height} to {size} with {filter:?}"
        );
    }
}

#[test]
fn values_follow_the_formula_and_planes_follow_each_other() {
    let spec = spec(3, Filter::Triangle);
    let data = picture(3, 3, 11);
    let view = RgbView::new(&data, 3, 3).unwrap();
    let mut tensor = [0.0; 27];
    Preprocessor::new(spec)
        .unwrap()
        .tensor(view, None, &mut tensor)
        .unwrap();
    for (index, &value) in tensor.iter().enumerate() {
        let (channel, pixel) = (index / 9, index % 9);
        let byte = f64::from(data[pixel * 3 + channel]);
        let exact = (byte / 255.0 - f64::from(spec.mean[channel])) / f64::from(spec.std[channel]);
        assert_eq!(value, exact as f32);
    }
}

#[test]
fn buffers_of_a_wrong_size_are_refused() {
    let frame = |width, height, bytes: usize| RgbView::new(&vec![0; bytes], width, height).err();
    assert_eq!(frame(2, 3, 18), None);
    let expect = PreprocessError::FrameLength {
        width: 2,
        height: 3,
        expected: 18,
        found: 17,
    };
    assert_eq!(frame(2, 3, 17), Some(expect));
    for (width, height) in [
        (0, 0),
        (0, 5),
        (5, 0),
        (MAX_FRAME_SIDE + 1, 1),
        (1, u32::MAX),
    ] {
        assert_eq!(
            frame(width, height, 0),
            Some(PreprocessError::FrameSize { width, height })
        );
    }
    let expected = u64::from(MAX_FRAME_SIDE).pow(2) * 3;
    let (width, height) = (MAX_FRAME_SIDE, MAX_FRAME_SIDE);
    let expect = PreprocessError::FrameLength {
        width,
        height,
        expected,
        found: 3,
    };
    assert_eq!(frame(width, height, 3), Some(expect));

    let spec = spec(4, Filter::Triangle);
    let short = Err(PreprocessError::OutputLength {
        expected: 48,
        found: 47,
    });
    assert_eq!(spec.normalize(&[0; 48], &mut [0.0; 47]), short);
    assert_eq!(spec.normalize(&[0; 47], &mut [0.0; 48]), short);
}

#[test]
fn specifications_without_sense_are_refused() {
    let good = spec(224, Filter::Triangle);
    for (bad, what) in [
        (PreprocessSpec { size: 0, ..good }, "size"),
        (PreprocessSpec { size: 2049, ..good }, "size"),
        (
            PreprocessSpec {
                mean: [0.0, f32::NAN, 0.0],
                ..good
            },
            "mean",
        ),
        (
            PreprocessSpec {
                mean: [0.0, 0.0, f32::INFINITY],
                ..good
            },
            "mean",
        ),
        (
            PreprocessSpec {
                std: [1.0, 0.0, 1.0],
                ..good
            },
            "deviation",
        ),
        (
            PreprocessSpec {
                std: [1.0, -1.0, 1.0],
                ..good
            },
            "deviation",
        ),
        (
            PreprocessSpec {
                std: [f32::NAN, 1.0, 1.0],
                ..good
            },
            "deviation",
        ),
        (
            PreprocessSpec {
                std: [1.0, 1.0, f32::INFINITY],
                ..good
            },
            "deviation",
        ),
    ] {
        match Preprocessor::new(bad).err() {
            Some(PreprocessError::Spec(message)) => assert!(message.contains(what), "{message}"),
            other => panic!("{other:?} for {bad:?}"),
        }
    }
}
