//! Sizes of images and of the windows that slide over them.

use crate::KernelError;

/// The most values in one activation or weight tensor.
const MAX_VALUES: usize = 1 << 28;

/// The size of an activation: rows x columns x channels, channels next to each other.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Image {
    /// Rows.
    pub height: usize,
    /// Columns.
    pub width: usize,
    /// Values per pixel.
    pub channels: usize,
}

impl Image {
    /// The number of pixels.
    pub fn pixels(&self) -> usize {
        self.height * self.width
    }

    /// The number of values.
    pub fn len(&self) -> usize {
        self.pixels() * self.channels
    }

    /// Whether a dimension is zero.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// # Errors
    /// A dimension is zero, or there are too many values.
    pub fn check(&self) -> Result<(), KernelError> {
        let values = [self.height, self.width, self.channels]
            .into_iter()
            .try_fold(1_usize, |n, dim| n.checked_mul(dim));
        match values {
            Some(1..=MAX_VALUES) => Ok(()),
            _ => Err(KernelError::Shape("the size of an image")),
        }
    }
}

/// How a window slides over an image.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Window {
    /// Rows and columns.
    pub kernel: [usize; 2],
    /// Steps along rows and columns.
    pub stride: [usize; 2],
    /// Rows above the image and columns left of it.
    pub pad_before: [usize; 2],
    /// Rows below and columns right.
    pub pad_after: [usize; 2],
}

impl Window {
    /// One pixel at a time.
    pub const PIXEL: Window = Window {
        kernel: [1, 1],
        stride: [1, 1],
        pad_before: [0, 0],
        pad_after: [0, 0],
    };

    /// The image of window positions, with `channels` values at each.
    ///
    /// # Errors
    /// The window does not fit, or a number is zero or too large.
    pub fn output(&self, input: Image, channels: usize) -> Result<Image, KernelError> {
        const MAX_SIDE: usize = 1 << 12;
        input.check()?;
        let numbers = [self.kernel, self.stride, self.pad_before, self.pad_after];
        if numbers.iter().flatten().any(|n| *n > MAX_SIDE)
            || [self.kernel, self.stride].iter().flatten().any(|n| *n == 0)
        {
            return Err(KernelError::Shape("the kernel, stride or padding"));
        }
        let side = |axis: usize, size: usize| {
            (size + self.pad_before[axis] + self.pad_after[axis])
                .checked_sub(self.kernel[axis])
                .map(|room| room / self.stride[axis] + 1)
                .ok_or(KernelError::Shape("a window larger than its image"))
        };
        let output = Image {
            height: side(0, input.height)?,
            width: side(1, input.width)?,
            channels,
        };
        output.check()?;
        Ok(output)
    }

    /// # Errors
    /// A position may cover padding alone.
    pub(crate) fn check_cover(&self) -> Result<(), KernelError> {
        let padded =
            |axis: usize| self.pad_before[axis].max(self.pad_after[axis]) >= self.kernel[axis];
        if padded(0) || padded(1) {
            return Err(KernelError::Shape("a pool over padding alone"));
        }
        Ok(())
    }

    /// The rows (axis 0) or columns of an image of this `size` under the window at `position`.
    pub(crate) fn covered(
        &self,
        axis: usize,
        position: usize,
        size: usize,
    ) -> std::ops::Range<usize> {
        let start = position * self.stride[axis];
        let end = start + self.kernel[axis];
        let before = self.pad_before[axis];
        start.saturating_sub(before)..end.saturating_sub(before).min(size)
    }
}
