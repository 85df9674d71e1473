//! Shapes outside, and windows before the size of their image is known.

use kernels::{Image, Window};

/// The shape of a tensor outside: `[1, channels, height, width]` or `[1, channels]`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Shape {
    pub(crate) image: Image,
    pub(crate) flat: bool,
}

impl Shape {
    pub(crate) const NONE: Shape = Shape {
        image: Image {
            height: 0,
            width: 0,
            channels: 0,
        },
        flat: false,
    };

    pub(crate) fn of(dims: &[usize]) -> Option<Shape> {
        let (flat, channels, height, width) = match *dims {
            [1, channels] => (true, channels, 1, 1),
            [1, channels, height, width] => (false, channels, height, width),
            _ => return None,
        };
        let image = Image {
            height,
            width,
            channels,
        };
        Some(Shape { image, flat })
    }

    pub(crate) fn dims(&self) -> Vec<usize> {
        let Image {
            height,
            width,
            channels,
        } = self.image;
        if self.flat {
            vec![1, channels]
        } else {
            vec![1, channels, height, width]
        }
    }

    /// The image of its first pixel.
    pub(crate) fn pixel(&self) -> Image {
        Image {
            height: 1,
            width: 1,
            ..self.image
        }
    }

    /// The shape of a product, where one of the two may have a single pixel.
    pub(crate) fn product(self, other: Shape) -> Option<Shape> {
        if self == other || (other.image == self.pixel() && !other.flat) {
            Some(self)
        } else {
            (self.image == other.pixel()).then_some(other)
        }
    }
}

#[derive(Clone, Copy, Debug)]
pub(crate) struct WindowStep {
    pub(crate) kernel: [usize; 2],
    pub(crate) stride: [usize; 2],
    pub(crate) padding: Padding,
}

#[derive(Clone, Copy, Debug)]
pub(crate) enum Padding {
    /// Top, left, bottom, right.
    Explicit([usize; 4]),
    /// As many as `ceil(size / stride)` outputs need, an odd one at the end or at the start.
    Same { odd_at_end: bool },
}

impl WindowStep {
    /// One pixel at a time.
    pub(crate) const PIXEL: WindowStep = WindowStep {
        kernel: [1, 1],
        stride: [1, 1],
        padding: Padding::Explicit([0; 4]),
    };

    /// The window over an image.
    pub(crate) fn over(self, image: Image) -> Window {
        let WindowStep {
            kernel,
            stride,
            padding,
        } = self;
        let (pad_before, pad_after) = match padding {
            Padding::Explicit([top, left, bottom, right]) => ([top, left], [bottom, right]),
            Padding::Same { odd_at_end } => {
                let total = |axis: usize, size: usize| {
                    let outputs = size.div_ceil(stride[axis]);
                    (outputs.saturating_sub(1) * stride[axis] + kernel[axis]).saturating_sub(size)
                };
                let total = [total(0, image.height), total(1, image.width)];
                let smaller = total.map(|n| n / 2);
                let larger = total.map(|n| n - n / 2);
                if odd_at_end {
                    (smaller, larger)
                } else {
                    (larger, smaller)
                }
            }
        };
        Window {
            kernel,
            stride,
            pad_before,
            pad_after,
        }
    }
}
