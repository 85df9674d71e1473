//! From a frame to the network's input: the only place where pixels become numbers.
//!
//! Trainer and sorting program call the same functions here with the same [`PreprocessSpec`], which
//! travels in the bundle, and get the same bytes on every CPU.
//!
//! # Geometry
//!
//! A picture of `w x h` pixels, or a region of one cut out beforehand, with `longer = max(w, h)`:
//!
//! 1. The scaled sides are `w * size / longer` and `h * size / longer`, rounded to the nearest
//!    integer, halves up, and at least 1. The longer one is `size`.
//! 2. The picture is resampled to them with [`Filter`], first in width, then in height, rounding to
//!    bytes each time. Where it shrinks, the filter is widened by the scale, so that every pixel
//!    counts.
//! 3. It is put into a square of `size x size` pixels filled with `fill`, its left upper corner at
//!    `((size - scaled w) / 2, (size - scaled h) / 2)`, rounded down.
//! 4. `value = (pixel / 255 - mean) / std` per channel, in `f64` and rounded to `f32` at the end.
//!
//! With Pillow and NumPy, to the last bit (in two steps because Pillow 13 resizes pictures that are
//! more than twice as high as wide first in height):
//!
//! ```python
//! def square(image, size, fill, filter):   # Image.BILINEAR or Image.BICUBIC
//!     w, h = image.size
//!     longer = max(w, h)
//!     w, h = (max(1, (2 * side * size + longer) // (2 * longer)) for side in (w, h))
//!     result = Image.new("RGB", (size, size), fill)
//!     image = image.resize((w, image.height), filter).resize((w, h), filter)
//!     result.paste(image, ((size - w) // 2, (size - h) // 2))
//!     return result
//!
//! def tensor(square, mean, std):
//!     mean, std = (np.float64(np.float32(x)) for x in (mean, std))
//!     return ((np.asarray(square) / 255 - mean) / std).astype(np.float32).transpose(2, 0, 1)
//! ```

mod resample;

use serde::{Deserialize, Serialize};
use thiserror::Error;

use resample::{Resampler, Source, Target};

/// Longest side of a network's input, in pixels.
pub const MAX_SIZE: u32 = 2048;
/// Longest side of a frame, in pixels.
pub const MAX_FRAME_SIDE: u32 = 65_535;

/// How a picture becomes a network's input.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct PreprocessSpec {
    /// Side of the square input, in pixels.
    pub size: u32,
    /// RGB of the border where the picture is no square.
    pub fill: [u8; 3],
    /// How pixels are resampled.
    pub filter: Filter,
    /// Per channel: `value = (pixel / 255 - mean) / std`.
    pub mean: [f32; 3],
    /// Per channel, above 0.
    pub std: [f32; 3],
}

/// The kernel of the resampling, widened by the scale where a picture shrinks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Filter {
    /// Linear, one pixel to each side; Pillow's `BILINEAR`.
    Triangle,
    /// Cubic (Keys 1981, a = -0.5), two pixels to each side; Pillow's `BICUBIC`.
    CatmullRom,
}

/// Part of a picture, in pixels.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Region {
    /// Left edge.
    pub x: u32,
    /// Upper edge.
    pub y: u32,
    /// Columns, at least 1.
    pub width: u32,
    /// Rows, at least 1.
    pub height: u32,
}

/// A picture in memory: rows from the top without gaps, 3 bytes per pixel, red first.
#[derive(Debug, Clone, Copy)]
pub struct RgbView<'a> {
    data: &'a [u8],
    width: u32,
    height: u32,
}

/// Why a picture cannot be preprocessed.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum PreprocessError {
    /// A specification that makes no sense.
    #[error("the preprocessing is not valid: {0}")]
    Spec(&'static str),
    /// A frame without pixels or with too many.
    #[error("a frame of {width}x{height} pixels: sides must be 1 to {MAX_FRAME_SIDE}")]
    FrameSize {
        /// Columns.
        width: u32,
        /// Rows.
        height: u32,
    },
    /// A buffer that does not hold width x height x 3 bytes.
    #[error("{found} bytes for a frame of {width}x{height} RGB pixels, which has {expected}")]
    FrameLength {
        /// Columns.
        width: u32,
        /// Rows.
        height: u32,
        /// As many bytes as it should have.
        expected: u64,
        /// As many as it has.
        found: u64,
    },
    /// A region that is empty or leaves the frame.
    #[error("the region {region:?} does not lie in a frame of {width}x{height} pixels")]
    Region {
        /// The region.
        region: Region,
        /// Columns of the frame.
        width: u32,
        /// Rows of the frame.
        height: u32,
    },
    /// A buffer for the result that has another length than the result.
    #[error("a buffer of {found} values for {expected}")]
    OutputLength {
        /// As many as there are.
        expected: usize,
        /// As many as there is room for.
        found: usize,
    },
}

impl<'a> RgbView<'a> {
    /// A view of `width * height * 3` bytes.
    pub fn new(data: &'a [u8], width: u32, height: u32) -> Result<RgbView<'a>, PreprocessError> {
        let sides = 1..=MAX_FRAME_SIDE;
        if !sides.contains(&width) || !sides.contains(&height) {
            return Err(PreprocessError::FrameSize { width, height });
        }
        let expected = u64::from(width) * u64::from(height) * 3;
        let found = data.len() as u64;
        if found != expected {
            return Err(PreprocessError::FrameLength {
                width,
                height,
                expected,
                found,
            });
        }
        Ok(RgbView {
            data,
            width,
            height,
        })
    }

    /// The bytes.
    pub fn data(&self) -> &'a [u8] {
        self.data
    }

    /// Columns.
    pub fn width(&self) -> u32 {
        self.width
    }

    /// Rows.
    pub fn height(&self) -> u32 {
        self.height
    }

    /// The region of the whole frame.
    pub fn bounds(&self) -> Region {
        Region {
            x: 0,
            y: 0,
            width: self.width,
            height: self.height,
        }
    }

    fn check(&self, region: Region) -> Result<Region, PreprocessError> {
        let inside = |start: u32, length: u32, side: u32| {
            length > 0 && start.checked_add(length).is_some_and(|end| end <= side)
        };
        if inside(region.x, region.width, self.width)
            && inside(region.y, region.height, self.height)
        {
            return Ok(region);
        }
        Err(PreprocessError::Region {
            region,
            width: self.width,
            height: self.height,
        })
    }
}

impl PreprocessSpec {
    /// Whether the numbers make sense: `size` 1 to [`MAX_SIZE`], `mean` finite, `std` finite and
    /// above 0.
    pub fn check(&self) -> Result<(), PreprocessError> {
        if !(1..=MAX_SIZE).contains(&self.size) {
            return Err(PreprocessError::Spec("the size is not 1 to 2048 pixels"));
        }
        if !self.mean.iter().all(|mean| mean.abs() <= 1e3) {
            return Err(PreprocessError::Spec(
                "a mean is not a number from -1000 to 1000",
            ));
        }
        if !self.std.iter().all(|std| (1e-6..=1e3).contains(std)) {
            return Err(PreprocessError::Spec(
                "a standard deviation is not in 0.000001 to 1000",
            ));
        }
        Ok(())
    }

    /// The length of a tensor, or of a square in bytes: `size * size * 3`.
    pub fn len(&self) -> usize {
        self.size as usize * self.size as usize * 3
    }

    /// Whether [`PreprocessSpec::len`] is 0; never so for a checked one.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Turns `square` (rows of RGB pixels) into `out` (channels x rows x columns).
    ///
    /// `value = (pixel / 255 - mean) / std`, computed in `f64` from the `f32` of the specification
    /// and rounded to `f32` once.
    pub fn normalize(&self, square: &[u8], out: &mut [f32]) -> Result<(), PreprocessError> {
        let expected = self.len();
        if let Some(found) = [square.len(), out.len()]
            .into_iter()
            .find(|&len| len != expected)
        {
            return Err(PreprocessError::OutputLength { expected, found });
        }
        let (pixels, _) = square.as_chunks::<3>();
        for (channel, plane) in out.chunks_exact_mut(pixels.len().max(1)).enumerate() {
            let (mean, std) = (f64::from(self.mean[channel]), f64::from(self.std[channel]));
            let table: [f32; 256] =
                std::array::from_fn(|pixel| ((pixel as f64 / 255.0 - mean) / std) as f32);
            for (value, pixel) in plane.iter_mut().zip(pixels) {
                *value = table[usize::from(pixel[channel])];
            }
        }
        Ok(())
    }

    /// Where a picture of `width x height` lands in the square.
    pub fn placement(&self, width: u32, height: u32) -> Region {
        let longer = u64::from(width.max(height)).max(1);
        // At most `size`, so it fits.
        let scaled = |side: u32| {
            let scaled = (2 * u64::from(side) * u64::from(self.size) + longer) / (2 * longer);
            (scaled as u32).max(1)
        };
        let (width, height) = (scaled(width), scaled(height));
        Region {
            x: (self.size - width) / 2,
            y: (self.size - height) / 2,
            width,
            height,
        }
    }
}

/// Applies a [`PreprocessSpec`]; keeps its buffers from frame to frame, so that it allocates nothing
/// for a frame no larger than one before.
#[derive(Debug, Clone)]
pub struct Preprocessor {
    spec: PreprocessSpec,
    resampler: Resampler,
    square: Vec<u8>,
}

impl Preprocessor {
    /// Errors: the specification is not valid.
    pub fn new(spec: PreprocessSpec) -> Result<Preprocessor, PreprocessError> {
        spec.check()?;
        let square = vec![0; spec.len()];
        Ok(Preprocessor {
            spec,
            resampler: Resampler::new(spec.filter),
            square,
        })
    }

    /// The specification it applies.
    pub fn spec(&self) -> &PreprocessSpec {
        &self.spec
    }

    /// The picture, or a region of it, scaled and centred in a square: `size` rows of `size` RGB
    /// pixels. A region gives the same as a picture that holds nothing else.
    pub fn square(
        &mut self,
        view: RgbView<'_>,
        region: Option<Region>,
    ) -> Result<&[u8], PreprocessError> {
        let region = view.check(region.unwrap_or_else(|| view.bounds()))?;
        let placement = self.spec.placement(region.width, region.height);
        let (pixels, _) = view.data.as_chunks();
        let source = Source {
            pixels,
            stride: view.width as usize,
            region,
        };
        let (pixels, _) = self.square.as_chunks_mut();
        pixels.fill(self.spec.fill);
        let target = Target {
            pixels,
            stride: self.spec.size as usize,
            region: placement,
        };
        self.resampler.resample(source, target);
        Ok(&self.square)
    }

    /// [`Preprocessor::square`], normalised: channels x rows x columns.
    pub fn tensor(
        &mut self,
        view: RgbView<'_>,
        region: Option<Region>,
        out: &mut [f32],
    ) -> Result<(), PreprocessError> {
        self.square(view, region)?;
        self.spec.normalize(&self.square, out)
    }
}
