//! AVX-512 with VNNI and VBMI: `vpdpbusd` multiplies 64 unsigned bytes with signed ones and adds
//! them in fours to 32-bit sums, exactly.

use std::arch::x86_64::*;

use super::{End, PANEL, PairSource, Product, QuadLine, Rows, Sum, WIDE};
use crate::Range;

/// # Safety
/// The CPU has what this module is for, and lengths are as `super::multiply_quads` checks them.
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512vnni,avx512vbmi")]
pub(super) unsafe fn multiply(rows: &Rows<'_, u8>, weights: &[i8], end: &End<'_>, out: &mut [u8]) {
    let (weights, out) = (weights.as_ptr(), out.as_mut_ptr());
    // A dozen sums are enough to hide how long an instruction takes; with fewer of them in flight
    // the next tile begins while the last one's sums become bytes.
    // SAFETY: the contract is that of this function; a tile takes as many panels as there are.
    unsafe {
        match end.bias.len() / PANEL {
            1 => tiles::<1, 8>(rows, weights, end, out),
            2 => tiles::<2, 6>(rows, weights, end, out),
            3 => tiles::<3, 4>(rows, weights, end, out),
            _ => tiles::<4, 3>(rows, weights, end, out),
        }
    }
}

/// All rows, in tiles of up to `ROWS`.
///
/// # Safety
/// As for [`multiply`], of which `weights` and `out` are; there are `PANELS`.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512vnni,avx512vbmi")]
unsafe fn tiles<const PANELS: usize, const ROWS: usize>(
    rows: &Rows<'_, u8>,
    weights: *const i8,
    end: &End<'_>,
    mut out: *mut u8,
) {
    let (whole, rest) = rows.starts.as_chunks::<ROWS>();
    // SAFETY: the contract is that of this function; `out` stays within the output's rows.
    unsafe {
        for starts in whole {
            tile::<PANELS, ROWS>(rows, weights, end, starts, out);
            out = out.wrapping_add(end.step.wrapping_mul(ROWS));
        }
        macro_rules! rest {
            ($($rows:literal)*) => {
                match rest.len() {
                    $($rows if $rows < ROWS => {
                        if let Some(starts) = rest.first_chunk() {
                            tile::<PANELS, $rows>(rows, weights, end, starts, out);
                        }
                    })*
                    _ => {}
                }
            };
        }
        rest!(1 2 3 4 5 6 7);
    }
}

/// `ROWS` rows; their sums stay in registers.
///
/// # Safety
/// As for [`tiles`]; `starts` are some of the rows', and `out` belongs to the first of them.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512vnni,avx512vbmi")]
unsafe fn tile<const PANELS: usize, const ROWS: usize>(
    rows: &Rows<'_, u8>,
    mut weights: *const i8,
    end: &End<'_>,
    starts: &[usize; ROWS],
    out: *mut u8,
) {
    // SAFETY: `super::multiply_quads` holds every row to the length of the factors, and the weights
    // to the rows.
    let sum = |sums: &mut [[__m512i; PANELS]; ROWS]| unsafe {
        let mut factors = starts.map(|start| rows.factors.as_ptr().add(start));
        for _ in 0..rows.segments {
            let mut at = 0_usize;
            for _ in 0..rows.groups {
                let mut columns = [_mm512_setzero_si512(); PANELS];
                for column in &mut columns {
                    *column = _mm512_loadu_si512(weights.cast());
                    weights = weights.wrapping_add(64);
                }
                for (row, sums) in factors.iter().zip(&mut *sums) {
                    let four = _mm512_set1_epi32(row.add(at).cast::<i32>().read_unaligned());
                    for (sum, column) in sums.iter_mut().zip(columns) {
                        *sum = _mm512_dpbusd_epi32(*sum, four, column);
                    }
                }
                at = at.wrapping_add(4);
            }
            for row in &mut factors {
                *row = row.wrapping_add(rows.segment_step);
            }
        }
    };
    // SAFETY: the contract is that of this function.
    unsafe { requantized(end, out, sum) };
}

/// Lets `sum` add to the biases, and stores the bytes that become of that. One function, so that
/// sums stay in registers from the beginning to the end.
///
/// # Safety
/// The CPU has what this module is for; `end` has the biases and scales of `PANELS`, and from `out`
/// on lie `ROWS` rows of its columns.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512vnni,avx512vbmi")]
unsafe fn requantized<const PANELS: usize, const ROWS: usize>(
    end: &End<'_>,
    mut out: *mut u8,
    sum: impl FnOnce(&mut [[__m512i; PANELS]; ROWS]),
) {
    let mut biases = [_mm512_setzero_si512(); PANELS];
    for (index, bias) in biases.iter_mut().enumerate() {
        // SAFETY: the contract.
        *bias = unsafe { _mm512_loadu_si512(end.bias.as_ptr().add(PANEL * index).cast()) };
    }
    let mut sums = [biases; ROWS];
    sum(&mut sums);
    let mut scales = [_mm512_setzero_ps(); PANELS];
    for (index, scale) in scales.iter_mut().enumerate() {
        // SAFETY: the contract.
        *scale = unsafe { _mm512_loadu_ps(end.scale.as_ptr().add(PANEL * index)) };
    }
    // Scales are so small that no value leaves 32 bits.
    let scaled = |row: usize, panel: usize| {
        _mm512_cvtps_epi32(_mm512_mul_ps(
            _mm512_cvtepi32_ps(sums[row][panel]),
            scales[panel],
        ))
    };
    let columns = u64::MAX >> (64 - end.columns);
    // Four vectors of sums become one of bytes: those of one row, of two or of four.
    let together = if PANELS > 2 { 1 } else { 4 / PANELS };
    for first in (0..ROWS).step_by(together) {
        let mut four = [_mm512_setzero_si512(); 4];
        for (index, values) in four.iter_mut().take(together * PANELS).enumerate() {
            if first + index / PANELS < ROWS {
                *values = scaled(first + index / PANELS, index % PANELS);
            }
        }
        let mut bytes = packed(four, end.range);
        for _ in first..ROWS.min(first + together) {
            // SAFETY: rows and columns exist.
            unsafe {
                match PANELS {
                    1 => {
                        let part = _mm512_castsi512_si128(bytes);
                        _mm_mask_storeu_epi8(out.cast(), columns as u16, part);
                        bytes = _mm512_shuffle_i64x2::<0b11_10_01>(bytes, bytes);
                    }
                    2 => {
                        let part = _mm512_castsi512_si256(bytes);
                        _mm256_mask_storeu_epi8(out.cast(), columns as u32, part);
                        bytes = _mm512_shuffle_i64x2::<0b11_10>(bytes, bytes);
                    }
                    _ => _mm512_mask_storeu_epi8(out.cast(), columns, bytes),
                }
            }
            out = out.wrapping_add(end.step);
        }
    }
}

/// The bytes of four times 16 rounded values, one after the other.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512vnni,avx512vbmi")]
fn packed(values: [__m512i; 4], range: Range) -> __m512i {
    let zero_point = _mm512_set1_epi16(range.zero_point.into());
    let words = |a, b| _mm512_adds_epi16(_mm512_packs_epi32(a, b), zero_point);
    let bytes = _mm512_packus_epi16(words(values[0], values[1]), words(values[2], values[3]));
    // Packing has mixed them in fours.
    let order = _mm512_setr_epi32(0, 4, 8, 12, 1, 5, 9, 13, 2, 6, 10, 14, 3, 7, 11, 15);
    let bytes = _mm512_permutexvar_epi32(order, bytes);
    if (range.min, range.max) == (0, 255) {
        // Packing has saturated them.
        return bytes;
    }
    let bytes = _mm512_max_epu8(bytes, _mm512_set1_epi8(range.min.cast_signed()));
    _mm512_min_epu8(bytes, _mm512_set1_epi8(range.max.cast_signed()))
}

/// For 16 channels from `first` on: of each the bytes of four pixels, two of which lie in one
/// register and two in another.
const fn fours(first: u8) -> [u8; 64] {
    let mut order = [0; 64];
    let mut at = 0;
    while at < 64 {
        let (channel, pixel) = (first + at as u8 / 4, at as u8 % 4);
        order[at] = pixel / 2 * 64 + pixel % 2 * 32 + channel;
        at += 1;
    }
    order
}

/// # Safety
/// The CPU has what this module is for, and lengths are as `super::spread` checks them.
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512vnni,avx512vbmi")]
pub(super) unsafe fn spread(
    source: &PairSource<'_>,
    zero_point: u8,
    left: usize,
    quads: &mut [u8],
) {
    const ORDERS: [[u8; 64]; 2] = [fours(0), fours(16)];
    let blank = _mm256_set1_epi8(zero_point.cast_signed());
    let exist = u32::MAX >> (WIDE - source.channels);
    let pixel = |column: usize| match column.checked_sub(left) {
        Some(index) if index < source.columns => {
            let from = source
                .bytes
                .as_ptr()
                .wrapping_add(index.wrapping_mul(source.step));
            // SAFETY: so many channels of the pixel exist.
            unsafe { _mm256_maskz_loadu_epi8(exist, from.cast()) }
        }
        _ => blank,
    };
    let two = |column: usize| {
        let first = _mm512_castsi256_si512(pixel(column));
        _mm512_inserti64x4::<1>(first, pixel(column.wrapping_add(1)))
    };
    // SAFETY: 64 bytes are read from 64, and written to as many.
    unsafe {
        let orders = ORDERS.map(|order| _mm512_loadu_si512(order.as_ptr().cast()));
        let mut these = two(0);
        for (index, quads) in quads
            .as_chunks_mut::<{ 4 * WIDE }>()
            .0
            .iter_mut()
            .enumerate()
        {
            let next = two(index.wrapping_mul(2).wrapping_add(2));
            for (order, quads) in orders.iter().zip(quads.as_chunks_mut::<64>().0) {
                let bytes = _mm512_permutex2var_epi8(these, *order, next);
                _mm512_storeu_si512(quads.as_mut_ptr().cast(), bytes);
            }
            these = next;
        }
    }
}

/// # Safety
/// The CPU has what this module is for, and lengths are as `super::quad_line` checks them.
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512vnni,avx512vbmi")]
pub(super) unsafe fn quad_line(
    line: &QuadLine<'_, u8>,
    end: &End<'_>,
    columns: usize,
    out: &mut [u8],
) {
    // SAFETY: the contract is that of this function.
    unsafe {
        if line.step == 1 {
            lines::<1>(line, end, columns, out.as_mut_ptr());
        } else {
            lines::<2>(line, end, columns, out.as_mut_ptr());
        }
    }
}

/// # Safety
/// As for [`quad_line`], of which `out` is; `STEP` is that of the line.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512vnni,avx512vbmi")]
unsafe fn lines<const STEP: usize>(
    line: &QuadLine<'_, u8>,
    end: &End<'_>,
    columns: usize,
    mut out: *mut u8,
) {
    let mut quads = line.quads.as_ptr();
    // SAFETY: the contract is that of this function; no column is beyond the last.
    unsafe {
        for _ in 0..columns / 8 {
            outputs::<STEP, 8>(line, end, quads, out);
            quads = quads.wrapping_add(STEP * 4 * 4 * WIDE);
            out = out.wrapping_add(end.step.wrapping_mul(8));
        }
        match columns % 8 {
            1 => outputs::<STEP, 1>(line, end, quads, out),
            2 => outputs::<STEP, 2>(line, end, quads, out),
            3 => outputs::<STEP, 3>(line, end, quads, out),
            4 => outputs::<STEP, 4>(line, end, quads, out),
            5 => outputs::<STEP, 5>(line, end, quads, out),
            6 => outputs::<STEP, 6>(line, end, quads, out),
            7 => outputs::<STEP, 7>(line, end, quads, out),
            _ => {}
        }
    }
}

/// # Safety
/// As for [`lines`]; `COLUMNS` outputs exist from that on to which `quads` and `out` belong, which
/// is in an even column.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512vnni,avx512vbmi")]
unsafe fn outputs<const STEP: usize, const COLUMNS: usize>(
    line: &QuadLine<'_, u8>,
    end: &End<'_>,
    quads: *const u8,
    out: *mut u8,
) {
    // SAFETY: `super::quad_line` holds rows, weights and output to their lengths.
    let sum = |sums: &mut [[__m512i; 2]; COLUMNS]| unsafe {
        let mut weights = line.weights.as_ptr();
        for row in line.rows {
            let mut quads = quads.add(*row);
            for _ in 0..line.fours {
                let mut places = [[_mm512_setzero_si512(); 2]; 2];
                for place in places.iter_mut().take(3 - STEP) {
                    for four in place {
                        *four = _mm512_loadu_si512(weights.cast());
                        weights = weights.wrapping_add(64);
                    }
                }
                for (column, sums) in sums.iter_mut().enumerate() {
                    let (index, place) = (column * STEP / 2, column * STEP % 2);
                    for (half, sum) in sums.iter_mut().enumerate() {
                        let at = quads.add(index * 4 * WIDE + half * 64);
                        let bytes = _mm512_loadu_si512(at.cast());
                        *sum = _mm512_dpbusd_epi32(*sum, bytes, places[place][half]);
                    }
                }
                quads = quads.wrapping_add(2 * 4 * WIDE);
            }
        }
    };
    // SAFETY: the contract is that of this function.
    unsafe { requantized(end, out, sum) };
}

/// # Safety
/// The CPU has what this module is for, and the lengths are the same.
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512vnni,avx512vbmi")]
pub(super) unsafe fn add(sum: &Sum, a: &[u8], b: &[u8], out: &mut [u8]) {
    let [za, zb] = sum
        .zero_points
        .map(|zero_point| _mm512_set1_epi32(zero_point.into()));
    let [ra, rb] = sum.ratios.map(|ratio| _mm512_set1_ps(ratio));
    let value = |a, b| {
        let a = _mm512_mul_ps(_mm512_cvtepi32_ps(_mm512_sub_epi32(a, za)), ra);
        let b = _mm512_mul_ps(_mm512_cvtepi32_ps(_mm512_sub_epi32(b, zb)), rb);
        _mm512_add_ps(a, b)
    };
    // SAFETY: the contract is that of this function.
    unsafe { rounded(a, b, out, sum.range, value) };
}

/// # Safety
/// As for [`add`].
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512vnni,avx512vbmi")]
pub(super) unsafe fn product(product: &Product, a: &[u8], b: &[u8], out: &mut [u8]) {
    let [za, zb] = product
        .zero_points
        .map(|zero_point| _mm512_set1_epi32(zero_point.into()));
    let ratio = _mm512_set1_ps(product.ratio);
    let value = |a, b| {
        let (a, b) = (_mm512_sub_epi32(a, za), _mm512_sub_epi32(b, zb));
        // Of the second the upper words are no part of the product.
        let product = _mm512_madd_epi16(a, _mm512_and_si512(b, _mm512_set1_epi32(0xFFFF)));
        _mm512_mul_ps(_mm512_cvtepi32_ps(product), ratio)
    };
    // SAFETY: the contract is that of this function.
    unsafe { rounded(a, b, out, product.range, value) };
}

/// What becomes of the values of every two bytes.
///
/// # Safety
/// As for [`add`].
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512vnni,avx512vbmi")]
unsafe fn rounded(
    a: &[u8],
    b: &[u8],
    out: &mut [u8],
    range: Range,
    value: impl Fn(__m512i, __m512i) -> __m512,
) {
    let (a, b, to) = (a.as_ptr(), b.as_ptr(), out.as_mut_ptr());
    let some = |at: usize, exist: u64| {
        // SAFETY: so many bytes exist.
        let load = |from: *const u8, part: usize| unsafe {
            let exist = (exist >> (16 * part)) as u16;
            let from = from.wrapping_add(at.wrapping_add(16 * part));
            _mm512_cvtepu8_epi32(_mm_maskz_loadu_epi8(exist, from.cast()))
        };
        let mut four = [_mm512_setzero_si512(); 4];
        for (part, values) in four.iter_mut().enumerate() {
            *values = _mm512_cvtps_epi32(value(load(a, part), load(b, part)));
        }
        // SAFETY: as above.
        unsafe { _mm512_mask_storeu_epi8(to.wrapping_add(at).cast(), exist, packed(four, range)) };
    };
    let whole = out.len() / 64 * 64;
    for at in (0..whole).step_by(64) {
        some(at, u64::MAX);
    }
    if whole < out.len() {
        some(whole, u64::MAX >> (64 - out.len() % 64));
    }
}

/// # Safety
/// The CPU has what this module is for.
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512vnni,avx512vbmi")]
pub(super) fn vectorized<R>(work: impl FnOnce() -> R) -> R {
    work()
}

/// Where each byte of three interleaved planes comes from, and which of them from the third.
const fn interleaving(first: usize) -> ([u8; 64], u64) {
    let (mut order, mut third) = ([0; 64], 0);
    let mut at = 0;
    while at < 64 {
        let (pixel, plane) = ((first + at) / 3, (first + at) % 3);
        order[at] = if plane == 1 { pixel + 64 } else { pixel } as u8;
        third |= ((plane / 2) as u64) << at;
        at += 1;
    }
    (order, third)
}

/// # Safety
/// The CPU has what this module is for.
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512vnni,avx512vbmi")]
pub(super) fn interleave(planes: &[[u8; 64]; 3], pixels: &mut [u8; 192]) {
    const ORDERS: [([u8; 64], u64); 3] = [interleaving(0), interleaving(64), interleaving(128)];
    // SAFETY: 64 bytes are read from 64.
    let load = |bytes: &[u8; 64]| unsafe { _mm512_loadu_si512(bytes.as_ptr().cast()) };
    let [a, b, c] = planes.each_ref().map(load);
    for ((order, third), pixels) in ORDERS.iter().zip(pixels.as_chunks_mut::<64>().0) {
        let order = load(order);
        let bytes = _mm512_permutex2var_epi8(a, order, b);
        let bytes = _mm512_mask_permutexvar_epi8(bytes, *third, order, c);
        // SAFETY: 64 bytes are written to 64.
        unsafe { _mm512_storeu_si512(pixels.as_mut_ptr().cast(), bytes) };
    }
}

/// A permutation looks up 128 entries by the lower seven bits; the highest chooses between two.
///
/// # Safety
/// The CPU has what this module is for.
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512vnni,avx512vbmi")]
pub(super) fn look_up(table: &[u8; 256], input: &[u8], output: &mut [u8]) {
    let mut parts = [_mm512_setzero_si512(); 4];
    for (part, bytes) in parts.iter_mut().zip(table.as_chunks::<64>().0) {
        // SAFETY: 64 bytes are read from 64.
        *part = unsafe { _mm512_loadu_si512(bytes.as_ptr().cast()) };
    }
    for (input, output) in input.chunks(64).zip(output.chunks_mut(64)) {
        let exist = u64::MAX >> (64 - input.len());
        // SAFETY: as many bytes are read and written as there are.
        unsafe {
            let bytes = _mm512_maskz_loadu_epi8(exist, input.as_ptr().cast());
            let low = _mm512_permutex2var_epi8(parts[0], bytes, parts[1]);
            let high = _mm512_permutex2var_epi8(parts[2], bytes, parts[3]);
            let found = _mm512_mask_blend_epi8(_mm512_movepi8_mask(bytes), low, high);
            _mm512_mask_storeu_epi8(output.as_mut_ptr().cast(), exist, found);
        }
    }
}

/// # Safety
/// The CPU has what this module is for.
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512vnni,avx512vbmi")]
pub(super) fn products_alone(rounds: usize) -> usize {
    const SUMS: usize = 24;
    let [a, b] = std::hint::black_box([_mm512_set1_epi8(5), _mm512_set1_epi8(-3)]);
    let mut sums = [a; SUMS];
    for _ in 0..rounds {
        for sum in &mut sums {
            *sum = _mm512_dpbusd_epi32(*sum, a, b);
        }
    }
    std::hint::black_box(sums);
    rounds * SUMS * 64
}
