//! From a camera's pixel formats to packed RGB.

/// Converts packed YUYV (two pixels in four bytes, ITU-R BT.601, limited range) to RGB.
///
/// `yuyv` holds rows of `stride` bytes; `rgb` holds rows of `width * 3` bytes. An odd last column
/// takes its colour from its own pair.
pub(crate) fn yuyv_to_rgb(yuyv: &[u8], stride: usize, width: usize, rgb: &mut [u8]) {
    let rows = yuyv.chunks(stride).zip(rgb.chunks_exact_mut(width * 3));
    for (source, target) in rows {
        for (pair, pixels) in source.chunks_exact(4).zip(target.chunks_mut(6)) {
            let [y0, u, y1, v] = [pair[0], pair[1], pair[2], pair[3]].map(i32::from);
            let (u, v) = (u - 128, v - 128);
            for (y, pixel) in [y0, y1].into_iter().zip(pixels.chunks_exact_mut(3)) {
                let luma = 298 * (y - 16) + 128;
                let channel = |sum: i32| (sum >> 8).clamp(0, 255) as u8;
                pixel[0] = channel(luma + 409 * v);
                pixel[1] = channel(luma - 100 * u - 208 * v);
                pixel[2] = channel(luma + 516 * u);
            }
        }
    }
}

/// Copies rows of RGB that may be padded.
pub(crate) fn rows_to_rgb(source: &[u8], stride: usize, width: usize, rgb: &mut [u8]) {
    for (from, to) in source.chunks(stride).zip(rgb.chunks_exact_mut(width * 3)) {
        if from.len() >= to.len() {
            to.copy_from_slice(&from[..to.len()]);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// BT.601 in floating point.
    fn reference(y: u8, u: u8, v: u8) -> [f64; 3] {
        let y = 1.164_383 * (f64::from(y) - 16.0);
        let (u, v) = (f64::from(u) - 128.0, f64::from(v) - 128.0);
        let rgb = [
            y + 1.596_027 * v,
            y - 0.391_762 * u - 0.812_968 * v,
            y + 2.017_232 * u,
        ];
        rgb.map(|c| c.clamp(0.0, 255.0))
    }

    proptest! {
        #[test]
        fn yuyv_is_close_to_the_standard(y0: u8, u: u8, y1: u8, v: u8) {
            let mut rgb = [0u8; 6];
            yuyv_to_rgb(&[y0, u, y1, v], 4, 2, &mut rgb);
            for (y, pixel) in [y0, y1].into_iter().zip(rgb.chunks(3)) {
                for (found, expect) in pixel.iter().zip(reference(y, u, v)) {
                    prop_assert!((f64::from(*found) - expect).abs() <= 1.5);
                }
            }
        }
    }

    #[test]
    fn padding_at_the_end_of_rows_is_left_out() {
        let mut rgb = [0u8; 6];
        rows_to_rgb(&[1, 2, 3, 9, 4, 5, 6, 9], 4, 1, &mut rgb);
        assert_eq!(rgb, [1, 2, 3, 4, 5, 6]);
        let grey = [[126, 128, 126, 128], [0; 4], [126, 128, 126, 128]].concat();
        let mut rgb = [0u8; 12];
        yuyv_to_rgb(&grey, 8, 2, &mut rgb);
        assert!(rgb.iter().all(|v| *v == 128), "{rgb:?}");
    }

    #[test]
    fn short_buffers_leave_the_rest_alone() {
        let mut rgb = [7u8; 12];
        yuyv_to_rgb(&[126, 128, 126, 128, 0], 4, 2, &mut rgb);
        assert_eq!(rgb[6..], [7; 6]);
    }
}
