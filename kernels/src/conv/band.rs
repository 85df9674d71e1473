//! The part of an image that some rows of the output see, as factors.

use crate::factor::Factor;
use crate::sliding::Sliding;

pub(super) struct Band {
    /// The first row of the input; above the image if negative.
    top: isize,
    rows: usize,
    /// Factors in a row, padding included.
    pub(super) row: usize,
}

impl Band {
    /// What `output_rows` rows from `first` on see.
    pub(super) fn new(sliding: &Sliding, first: usize, output_rows: usize) -> Band {
        let [step, _] = sliding.window.stride;
        Band {
            top: (first * step) as isize - sliding.window.pad_before[0] as isize,
            rows: (output_rows - 1) * step + sliding.window.kernel[0],
            row: sliding.padded_width() * sliding.input.channels,
        }
    }

    /// More than the factors: a segment is read in whole groups.
    pub(super) fn len<T: Factor>(&self) -> usize {
        self.rows * self.row + T::GROUP - 1
    }

    pub(super) fn convert<T: Factor>(&self, sliding: &Sliding, input: &[u8], factors: &mut [T]) {
        let image = sliding.input;
        let zero = T::zero(sliding.input_zero_point);
        let row_bytes = image.width * image.channels;
        let left = (sliding.window.pad_before[1] * image.channels).min(self.row);
        let used = row_bytes.min(self.row - left);
        let (rows, rest) = factors.split_at_mut(self.rows * self.row);
        for (index, factors) in rows.chunks_exact_mut(self.row).enumerate() {
            let y = self.top + index as isize;
            if y < 0 || y >= image.height as isize {
                factors.fill(zero);
                continue;
            }
            let (before, inside) = factors.split_at_mut(left);
            let (inside, after) = inside.split_at_mut(used);
            before.fill(zero);
            let bytes = &input[y as usize * row_bytes..][..used];
            T::convert(sliding.isa, bytes, sliding.input_zero_point, inside);
            after.fill(zero);
        }
        rest.fill(zero);
    }
}
