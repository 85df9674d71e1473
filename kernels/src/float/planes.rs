//! From channels, rows, columns, as tensors are outside, to rows, columns, channels, and back.

use crate::workers::Workers;

/// Pixels that are moved at a time.
const PART: usize = 256;

/// Planes that are written at a time: of a pixel a line of the cache has so many values.
const GROUP: usize = 16;

/// Writes `channels` planes of values with the channels of a pixel side by side.
///
/// # Panics
/// The lengths differ, or are not a multiple of `channels`.
pub fn from_planes(values: &[f32], channels: usize, output: &mut [f32], workers: &mut Workers) {
    assert!(values.len() == output.len() && values.len().is_multiple_of(channels));
    let pixels = values.len() / channels;
    workers.for_each_chunk(output, PART * channels, &|index, out, _| {
        let plane = |channel: usize| &values[channel * pixels + index * PART..];
        if channels == 3 {
            let (all, _) = out.as_chunks_mut::<3>();
            let colours = plane(0).iter().zip(plane(1)).zip(plane(2));
            for (pixel, ((red, green), blue)) in all.iter_mut().zip(colours) {
                *pixel = [*red, *green, *blue];
            }
            return;
        }
        for channel in 0..channels {
            let values = plane(channel);
            for (pixel, value) in out.chunks_exact_mut(channels).zip(values) {
                pixel[channel] = *value;
            }
        }
    });
}

/// The opposite of [`from_planes`].
///
/// # Panics
/// The lengths differ, or are not a multiple of `channels`.
pub fn to_planes(values: &[f32], channels: usize, output: &mut [f32], workers: &mut Workers) {
    assert!(values.len() == output.len() && values.len().is_multiple_of(channels));
    planes_of(values, channels, output, workers, |value| value);
}

/// Writes what becomes of values in planes.
pub(crate) fn planes_of<T: Copy + Sync>(
    values: &[T],
    channels: usize,
    output: &mut [f32],
    workers: &mut Workers,
    value: impl Fn(T) -> f32 + Sync,
) {
    let pixels = values.len() / channels;
    if pixels == 0 {
        return;
    }
    workers.for_each_chunk(output, GROUP * pixels, &|index, out, _| {
        for first in (0..pixels).step_by(PART) {
            let pixel = &values[first * channels + index * GROUP..];
            for (channel, plane) in out.chunks_exact_mut(pixels).enumerate() {
                let from = pixel[channel..].iter().step_by(channels);
                for (to, from) in plane[first..].iter_mut().take(PART).zip(from) {
                    *to = value(*from);
                }
            }
        }
    });
}
