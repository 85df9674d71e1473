//! Plain Rust: the definition, and the kernel where the CPU has no better.

use std::slice::{from_mut, from_ref};

use crate::Isa;
use crate::factor::Factor;

use super::{
    ABREAST, BLOCK, End, LANES, Line, LineEnd, PANEL, PairSource, Product, QuadLine, Rows, Steps,
    Sum, WIDE,
};

pub(super) fn widen(bytes: &[u8], zero_point: u8, words: &mut [i16]) {
    for (word, byte) in words.iter_mut().zip(bytes) {
        *word = i16::from(*byte).wrapping_sub(zero_point.into());
    }
}

pub(super) fn multiply<T: Factor, W: Copy + Into<i32>>(
    rows: &Rows<'_, T>,
    weights: &[W],
    end: &End<'_>,
    out: &mut [u8],
) {
    let mut sums = [0; ABREAST * PANEL];
    let sums = &mut sums[..end.bias.len()];
    for (row, start) in rows.starts.iter().enumerate() {
        sums.copy_from_slice(end.bias);
        let mut weights = weights.chunks_exact(T::GROUP * sums.len());
        for segment in 0..rows.segments {
            let start = start + segment * rows.segment_step;
            let factors = &rows.factors[start..][..T::GROUP * rows.groups];
            for (group, weights) in factors.chunks_exact(T::GROUP).zip(&mut weights) {
                for (sum, weights) in sums.iter_mut().zip(weights.chunks_exact(T::GROUP)) {
                    for (factor, weight) in group.iter().zip(weights) {
                        let product = (*factor).into().wrapping_mul((*weight).into());
                        *sum = sum.wrapping_add(product);
                    }
                }
            }
        }
        finish(end, sums, &mut out[row * end.step..]);
    }
}

pub(super) fn multiply_pairs(
    rows: &Rows<'_, u8>,
    steps: &Steps<'_>,
    end: &End<'_>,
    out: &mut [u8],
) {
    for (row, start) in rows.starts.iter().enumerate() {
        let mut sums = [0_i32; PANEL];
        sums.copy_from_slice(end.bias);
        for step in steps.iter() {
            for (offset, weights) in step.offsets.iter().zip(&step.weights) {
                let group = &rows.factors[start + *offset as usize..][..4];
                for (sum, weights) in sums.iter_mut().zip(weights) {
                    for (factor, weight) in group.iter().zip(weights) {
                        let product = i32::from(*factor).wrapping_mul((*weight).into());
                        *sum = sum.wrapping_add(product);
                    }
                }
            }
        }
        finish(end, &sums, &mut out[row * end.step..]);
    }
}

fn finish(end: &End<'_>, sums: &[i32], out: &mut [u8]) {
    let out = &mut out[..end.columns];
    for ((byte, sum), scale) in out.iter_mut().zip(sums).zip(end.scale) {
        *byte = end.range.round(*sum as f32 * scale);
    }
}

pub(super) fn pair(source: &PairSource<'_>, zero_point: u8, left: usize, words: &mut [i16]) {
    let value = |column: usize, channel: usize| {
        let inside = column >= left && column - left < source.columns && channel < source.channels;
        if inside {
            let byte = source.bytes[(column - left) * source.step + channel];
            i16::from(byte) - i16::from(zero_point)
        } else {
            0
        }
    };
    for (column, words) in words.chunks_exact_mut(2 * BLOCK).enumerate() {
        for (words, channel) in words.chunks_exact_mut(2).zip(LANES) {
            words[0] = value(column, channel);
            words[1] = value(column + 1, channel);
        }
    }
}

pub(super) fn line(line: &Line<'_>, end: &LineEnd<'_>, columns: usize, out: &mut [u8]) {
    for column in 0..columns {
        let mut sums = [0_i32; BLOCK];
        sums.copy_from_slice(end.bias);
        let mut weights = end.weights.chunks_exact(2 * BLOCK);
        for row in line.rows {
            for pair in 0..line.pairs {
                let at = row + (column * line.step + 2 * pair) * 2 * BLOCK;
                let words = line.words[at..][..2 * BLOCK].chunks_exact(2);
                let weights = weights.next().unwrap_or_default().chunks_exact(2);
                for ((sum, words), weights) in sums.iter_mut().zip(words).zip(weights) {
                    let first = i32::from(words[0]).wrapping_mul(weights[0].into());
                    let second = i32::from(words[1]).wrapping_mul(weights[1].into());
                    *sum = sum.wrapping_add(first).wrapping_add(second);
                }
            }
        }
        let out = &mut out[column * end.step..][..end.channels];
        for ((sum, scale), channel) in sums.into_iter().zip(end.scale).zip(LANES) {
            if let Some(byte) = out.get_mut(channel) {
                *byte = end.range.round(sum as f32 * scale);
            }
        }
    }
}

pub(super) fn spread<T: Factor>(
    source: &PairSource<'_>,
    zero_point: u8,
    left: usize,
    quads: &mut [T],
) {
    for (index, quads) in quads.chunks_exact_mut(4 * WIDE).enumerate() {
        for (at, factor) in quads.iter_mut().enumerate() {
            let (channel, column) = (at / 4, 2 * index + at % 4);
            let inside = (left..left + source.columns).contains(&column);
            if inside && channel < source.channels {
                let byte = &source.bytes[(column - left) * source.step + channel];
                T::convert(Isa::PORTABLE, from_ref(byte), zero_point, from_mut(factor));
            } else {
                *factor = T::zero(zero_point);
            }
        }
    }
}

pub(super) fn quad_line<T: Factor>(
    line: &QuadLine<'_, T>,
    end: &End<'_>,
    columns: usize,
    out: &mut [u8],
) {
    let places = 3 - line.step;
    for column in 0..columns {
        let mut sums = [0_i32; WIDE];
        sums.copy_from_slice(end.bias);
        let (first, place) = (column * line.step / 2, column * line.step % 2);
        let mut weights = line
            .weights
            .chunks_exact(4 * WIDE)
            .skip(place)
            .step_by(places);
        for row in line.rows {
            for four in 0..line.fours {
                let quads = &line.quads[row + (first + 2 * four) * 4 * WIDE..][..4 * WIDE];
                let weights = weights.next().unwrap_or_default();
                for (index, (factor, weight)) in quads.iter().zip(weights).enumerate() {
                    let product = (*factor).into().wrapping_mul((*weight).into());
                    sums[index / 4] = sums[index / 4].wrapping_add(product);
                }
            }
        }
        finish(end, &sums, &mut out[column * end.step..]);
    }
}

#[inline(always)]
pub(super) fn add(sum: &Sum, a: &[u8], b: &[u8], out: &mut [u8]) {
    let Sum {
        zero_points: [za, zb],
        ratios: [ra, rb],
        range,
    } = *sum;
    for ((out, a), b) in out.iter_mut().zip(a).zip(b) {
        let a = i32::from(*a).wrapping_sub(za.into()) as f32 * ra;
        let b = i32::from(*b).wrapping_sub(zb.into()) as f32 * rb;
        *out = range.round(a + b);
    }
}

#[inline(always)]
pub(super) fn product(product: &Product, a: &[u8], b: &[u8], out: &mut [u8]) {
    let Product {
        zero_points: [za, zb],
        ratio,
        range,
    } = *product;
    for ((out, a), b) in out.iter_mut().zip(a).zip(b) {
        let (a, b) = (
            i32::from(*a).wrapping_sub(za.into()),
            i32::from(*b).wrapping_sub(zb.into()),
        );
        *out = range.round(a.wrapping_mul(b) as f32 * ratio);
    }
}

pub(super) fn interleave(planes: &[[u8; 64]; 3], pixels: &mut [u8; 192]) {
    for (index, pixel) in pixels.as_chunks_mut::<3>().0.iter_mut().enumerate() {
        *pixel = planes.map(|plane| plane[index]);
    }
}

pub(super) fn look_up(table: &[u8; 256], input: &[u8], output: &mut [u8]) {
    for (out, byte) in output.iter_mut().zip(input) {
        *out = table[usize::from(*byte)];
    }
}

pub(super) fn products_alone(rounds: usize) -> usize {
    let (a, b) = std::hint::black_box(([3_i16; 2 * PANEL], [5_i16; 2 * PANEL]));
    let mut sums = [0_i32; 2 * PANEL];
    for _ in 0..rounds {
        for ((sum, a), b) in sums.iter_mut().zip(a).zip(b) {
            *sum = sum.wrapping_add(i32::from(a).wrapping_mul(b.into()));
        }
        std::hint::black_box(&mut sums);
    }
    rounds * 2 * PANEL
}
