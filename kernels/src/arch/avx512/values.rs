//! Each value by itself.

use std::arch::x86_64::*;

use super::super::{Product, Sum};
use super::packed;
use crate::Range;

/// # Safety
/// The CPU has what this module is for, and the lengths are the same.
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512vnni,avx512vbmi")]
pub(in super::super) unsafe fn add(sum: &Sum, a: &[u8], b: &[u8], out: &mut [u8]) {
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
pub(in super::super) unsafe fn product(product: &Product, a: &[u8], b: &[u8], out: &mut [u8]) {
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
pub(in super::super) fn interleave(planes: &[[u8; 64]; 3], pixels: &mut [u8; 192]) {
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
pub(in super::super) fn look_up(table: &[u8; 256], input: &[u8], output: &mut [u8]) {
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
