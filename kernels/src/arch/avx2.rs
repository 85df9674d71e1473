//! AVX2: `vpmaddwd` multiplies 16 words and adds neighbours, exactly. `vpmaddubsw` does so with 32
//! bytes, but in 16 bits: for weights that fit, in steps of two before the sums are widened, which
//! is a third fewer multiplications than with words.

use std::arch::x86_64::*;

use super::{BLOCK, End, Line, LineEnd, PANEL, PairSource, Panel, Rows, Step, Steps};
use crate::Range;

/// # Safety
/// The CPU has AVX2.
#[target_feature(enable = "avx2")]
pub(super) fn widen(bytes: &[u8], zero_point: u8, words: &mut [i16]) {
    let zero_point = i16::from(zero_point);
    for (word, byte) in words.iter_mut().zip(bytes) {
        *word = (i16::from(*byte)).wrapping_sub(zero_point);
    }
}

/// # Safety
/// The CPU has AVX2, and lengths are as `super::multiply` checks them.
#[target_feature(enable = "avx2")]
pub(super) unsafe fn multiply(rows: &Rows<'_, i16>, panel: &Panel<'_, i16>, out: &mut [u8]) {
    // SAFETY: the contract is that of this function.
    unsafe {
        if panel.end.columns > 8 {
            tiles::<2>(rows, panel, out.as_mut_ptr());
        } else {
            tiles::<1>(rows, panel, out.as_mut_ptr());
        }
    }
}

/// # Safety
/// As for [`multiply`]; the columns fit in `VECTORS` of 8.
#[inline]
#[target_feature(enable = "avx2")]
unsafe fn tiles<const VECTORS: usize>(
    rows: &Rows<'_, i16>,
    panel: &Panel<'_, i16>,
    mut out: *mut u8,
) {
    let (whole, rest) = rows.starts.as_chunks::<6>();
    // SAFETY: the contract is that of this function; `out` stays within the output's rows.
    unsafe {
        for starts in whole {
            tile::<6, VECTORS>(rows, panel, starts, out);
            out = out.wrapping_add(panel.end.step.wrapping_mul(6));
        }
        match *rest {
            [a] => tile::<1, VECTORS>(rows, panel, &[a], out),
            [a, b] => tile::<2, VECTORS>(rows, panel, &[a, b], out),
            [a, b, c] => tile::<3, VECTORS>(rows, panel, &[a, b, c], out),
            [a, b, c, d] => tile::<4, VECTORS>(rows, panel, &[a, b, c, d], out),
            [a, b, c, d, e] => tile::<5, VECTORS>(rows, panel, &[a, b, c, d, e], out),
            _ => {}
        }
    }
}

/// `ROWS` rows; their sums stay in registers.
///
/// # Safety
/// As for [`tiles`]; `starts` are some of the rows', and `out` belongs to the first of them.
#[inline]
#[target_feature(enable = "avx2")]
unsafe fn tile<const ROWS: usize, const VECTORS: usize>(
    rows: &Rows<'_, i16>,
    panel: &Panel<'_, i16>,
    starts: &[usize; ROWS],
    out: *mut u8,
) {
    // SAFETY: `super::multiply` holds every row to the length of the words, and the weights to the
    // rows.
    let sum = |acc: &mut [[__m256i; VECTORS]; ROWS]| unsafe {
        let mut words = starts.map(|start| rows.factors.as_ptr().add(start));
        let mut weights = panel.weights.as_ptr().cast::<__m256i>();
        for _ in 0..rows.segments {
            let mut at = 0_usize;
            for _ in 0..rows.groups {
                products(acc, &words, at, weights);
                weights = weights.add(2);
                at = at.wrapping_add(2);
            }
            for row in &mut words {
                *row = row.wrapping_add(rows.segment_step);
            }
        }
    };
    // SAFETY: the contract is that of this function.
    unsafe { requantized(&panel.end, out, sum) };
}

/// Lets `sum` add to the biases, and stores the bytes that become of that. One function, so that
/// sums stay in registers from the beginning to the end.
///
/// # Safety
/// The CPU has AVX2; `out` belongs to the first row, and lengths are as `End::check` holds them.
#[inline]
#[target_feature(enable = "avx2")]
unsafe fn requantized<const ROWS: usize, const VECTORS: usize>(
    end: &End<'_>,
    out: *mut u8,
    sum: impl FnOnce(&mut [[__m256i; VECTORS]; ROWS]),
) {
    // SAFETY: the contract.
    unsafe {
        let bias = end.bias.as_ptr().cast::<__m256i>();
        let mut acc = [[_mm256_setzero_si256(); VECTORS]; ROWS];
        for row in &mut acc {
            for (index, sum) in row.iter_mut().enumerate() {
                *sum = _mm256_loadu_si256(bias.add(index));
            }
        }
        sum(&mut acc);
        let scale = end.scale.as_ptr();
        let scales = [_mm256_loadu_ps(scale), _mm256_loadu_ps(scale.add(8))];
        let zero_point = _mm256_set1_epi16(end.range.zero_point.into());
        let mut words = [_mm256_setzero_si256(); ROWS];
        for (words, sums) in words.iter_mut().zip(&acc) {
            let low = scaled(sums[0], scales[0]);
            let high = if VECTORS == 2 {
                scaled(sums[1], scales[1])
            } else {
                low
            };
            *words = _mm256_adds_epi16(_mm256_packs_epi32(low, high), zero_point);
        }
        // In fours of bytes: of two rows the columns 0, 8, 0, 8 | 4, 12, 4, 12.
        let order = _mm256_setr_epi32(0, 4, 1, 5, 2, 6, 3, 7);
        let mut all = [_mm_setzero_si128(); ROWS];
        let mut row = 0;
        while row < ROWS {
            let next = if row + 1 < ROWS { row + 1 } else { row };
            let both = _mm256_packus_epi16(words[row], words[next]);
            let both = limited(_mm256_permutevar8x32_epi32(both, order), end.range);
            all[next] = _mm256_extracti128_si256::<1>(both);
            all[row] = _mm256_castsi256_si128(both);
            row = next + 1;
        }
        let mut to = out;
        if end.columns == PANEL {
            for bytes in all {
                _mm_storeu_si128(to.cast(), bytes);
                to = to.wrapping_add(end.step);
            }
        } else {
            for bytes in all {
                store(bytes, to, end.columns);
                to = to.wrapping_add(end.step);
            }
        }
    }
}

/// # Safety
/// The CPU has AVX2, and lengths are as `super::multiply_pairs` checks them.
#[target_feature(enable = "avx2")]
pub(super) unsafe fn multiply_pairs(
    rows: &Rows<'_, u8>,
    steps: &Steps<'_>,
    end: &End<'_>,
    out: &mut [u8],
) {
    // SAFETY: the contract is that of this function.
    unsafe {
        if end.columns > 8 {
            pair_tiles::<2>(rows, steps, end, out.as_mut_ptr());
        } else {
            pair_tiles::<1>(rows, steps, end, out.as_mut_ptr());
        }
    }
}

/// # Safety
/// As for [`multiply_pairs`]; the columns fit in `VECTORS` of 8.
#[inline]
#[target_feature(enable = "avx2")]
unsafe fn pair_tiles<const VECTORS: usize>(
    rows: &Rows<'_, u8>,
    steps: &Steps<'_>,
    end: &End<'_>,
    mut out: *mut u8,
) {
    let (whole, rest) = rows.starts.as_chunks::<4>();
    let from = rows.factors.as_ptr();
    // SAFETY: the contract is that of this function; `out` stays within the output's rows.
    unsafe {
        for starts in whole {
            pair_tile::<4, VECTORS>(from, starts, steps, end, out);
            out = out.wrapping_add(end.step.wrapping_mul(4));
        }
        match *rest {
            [a] => pair_tile::<1, VECTORS>(from, &[a], steps, end, out),
            [a, b] => pair_tile::<2, VECTORS>(from, &[a, b], steps, end, out),
            [a, b, c] => pair_tile::<3, VECTORS>(from, &[a, b, c], steps, end, out),
            _ => {}
        }
    }
}

/// `ROWS` rows; their sums stay in registers.
///
/// # Safety
/// As for [`pair_tiles`]; `starts` are some of the rows' in `from`, and `out` belongs to the first.
#[inline]
#[target_feature(enable = "avx2")]
unsafe fn pair_tile<const ROWS: usize, const VECTORS: usize>(
    from: *const u8,
    starts: &[usize; ROWS],
    steps: &Steps<'_>,
    end: &End<'_>,
    out: *mut u8,
) {
    // SAFETY: `super::multiply_pairs` holds every row and step to the length of the factors.
    let sum = |acc: &mut [[__m256i; VECTORS]; ROWS]| unsafe {
        let rows = starts.map(|start| from.add(start));
        for step in steps.iter() {
            add_step(acc, &rows, step);
        }
    };
    // SAFETY: the contract is that of this function.
    unsafe { requantized(end, out, sum) };
}

/// Adds the products of two groups of each row with the weights of each column.
///
/// # Safety
/// The CPU has AVX2; four bytes lie at both offsets in each row.
#[inline]
#[target_feature(enable = "avx2")]
unsafe fn add_step<const ROWS: usize, const VECTORS: usize>(
    acc: &mut [[__m256i; VECTORS]; ROWS],
    rows: &[*const u8; ROWS],
    step: &Step,
) {
    let ones = _mm256_set1_epi16(1);
    // SAFETY: the contract; a group has a vector of weights for every eight columns.
    unsafe {
        let mut columns = [[_mm256_setzero_si256(); 2]; VECTORS];
        for (index, column) in columns.iter_mut().enumerate() {
            for (weights, group) in column.iter_mut().zip(&step.weights) {
                let vectors = group.as_ptr().cast::<__m256i>();
                *weights = _mm256_loadu_si256(vectors.add(index));
            }
        }
        for (row, sums) in rows.iter().zip(acc) {
            let [first, second] = step.offsets.map(|offset| {
                let four = row.add(offset as usize).cast::<i32>().read_unaligned();
                _mm256_set1_epi32(four)
            });
            for (sum, [one, two]) in sums.iter_mut().zip(columns) {
                let pairs = _mm256_add_epi16(
                    _mm256_maddubs_epi16(first, one),
                    _mm256_maddubs_epi16(second, two),
                );
                *sum = _mm256_add_epi32(*sum, _mm256_madd_epi16(pairs, ones));
            }
        }
    }
}

/// Adds the products of two words of each row with a panel's two weights of each column.
///
/// # Safety
/// The CPU has AVX2; two words lie at `at` in each row, and a vector of weights for each column.
#[inline]
#[target_feature(enable = "avx2")]
unsafe fn products<const ROWS: usize, const VECTORS: usize>(
    acc: &mut [[__m256i; VECTORS]; ROWS],
    rows: &[*const i16; ROWS],
    at: usize,
    weights: *const __m256i,
) {
    // SAFETY: the contract.
    unsafe {
        let mut columns = [_mm256_setzero_si256(); VECTORS];
        for (index, column) in columns.iter_mut().enumerate() {
            *column = _mm256_loadu_si256(weights.add(index));
        }
        for (row, sums) in rows.iter().zip(acc) {
            let two = row.add(at).cast::<i32>().read_unaligned();
            let two = _mm256_set1_epi32(two);
            for (sum, column) in sums.iter_mut().zip(columns) {
                *sum = _mm256_add_epi32(*sum, _mm256_madd_epi16(two, column));
            }
        }
    }
}

/// Sums times scales, as integers rounded half to even.
#[inline]
#[target_feature(enable = "avx2")]
fn scaled(sums: __m256i, scale: __m256) -> __m256i {
    // Beyond 16 bit everything saturates alike; beyond 32 the conversion would not.
    let limit = _mm256_set1_ps(65536.0);
    let value = _mm256_mul_ps(_mm256_cvtepi32_ps(sums), scale);
    _mm256_cvtps_epi32(_mm256_min_ps(value, limit))
}

/// The values between a range's limits.
#[inline]
#[target_feature(enable = "avx2")]
fn limited(bytes: __m256i, range: Range) -> __m256i {
    let bytes = _mm256_max_epu8(bytes, _mm256_set1_epi8(range.min.cast_signed()));
    _mm256_min_epu8(bytes, _mm256_set1_epi8(range.max.cast_signed()))
}

/// Adds the zero point and saturates to the range.
#[inline]
#[target_feature(enable = "avx2")]
fn bytes(words: __m256i, range: Range) -> __m128i {
    let words = _mm256_adds_epi16(words, _mm256_set1_epi16(range.zero_point.into()));
    let low = _mm256_castsi256_si128(words);
    let high = _mm256_extracti128_si256::<1>(words);
    let bytes = _mm_packus_epi16(low, high);
    let bytes = _mm_max_epu8(bytes, _mm_set1_epi8(range.min.cast_signed()));
    _mm_min_epu8(bytes, _mm_set1_epi8(range.max.cast_signed()))
}

/// Stores the first `count` bytes, 1 to 16 of them.
///
/// # Safety
/// The CPU has AVX2, and `out` is good for `count` bytes.
#[inline]
#[target_feature(enable = "avx2")]
unsafe fn store(bytes: __m128i, out: *mut u8, count: usize) {
    // SAFETY: no more than `count` bytes are written.
    unsafe {
        match count {
            16 => _mm_storeu_si128(out.cast(), bytes),
            8 => _mm_storel_epi64(out.cast(), bytes),
            _ => {
                let mut all = [0_u8; 16];
                _mm_storeu_si128(all.as_mut_ptr().cast(), bytes);
                out.copy_from_nonoverlapping(all.as_ptr(), count);
            }
        }
    }
}

/// # Safety
/// The CPU has AVX2, and lengths are as `super::pair` checks them.
#[target_feature(enable = "avx2")]
pub(super) unsafe fn pair(source: &PairSource<'_>, zero_point: u8, left: usize, words: &mut [i16]) {
    let channels = source.channels;
    // SAFETY: as many bytes are read as the block has channels; the rest is that of this function.
    unsafe {
        match channels {
            BLOCK => pairs(source, zero_point, left, words, |from| {
                _mm_loadu_si128(from.cast())
            }),
            8 => pairs(source, zero_point, left, words, |from| {
                _mm_loadl_epi64(from.cast())
            }),
            _ => pairs(source, zero_point, left, words, |from| {
                let mut all = [0_u8; BLOCK];
                all.as_mut_ptr().copy_from_nonoverlapping(from, channels);
                _mm_loadu_si128(all.as_ptr().cast())
            }),
        }
    }
}

/// [`pair`] with a way to load the channels of a pixel.
///
/// # Safety
/// As for [`pair`].
#[inline]
#[target_feature(enable = "avx2")]
unsafe fn pairs(
    source: &PairSource<'_>,
    zero_point: u8,
    left: usize,
    words: &mut [i16],
    load: impl Fn(*const u8) -> __m128i,
) {
    let zero_point = _mm256_set1_epi16(zero_point.into());
    let zero = _mm256_setzero_si256();
    let (columns, _) = words.as_chunks_mut::<{ 2 * BLOCK }>();
    let put = |column: &mut [i16; 2 * BLOCK], this: __m256i, next: __m256i| {
        let column = column.as_mut_ptr().cast::<__m256i>();
        // SAFETY: a column is two vectors.
        unsafe {
            _mm256_storeu_si256(column, _mm256_unpacklo_epi16(this, next));
            _mm256_storeu_si256(column.add(1), _mm256_unpackhi_epi16(this, next));
        }
    };
    // The column before the first pixel has it as its next one.
    let (before, columns) = columns.split_at_mut(left);
    let (inside, after) = columns.split_at_mut(source.columns);
    before.as_flattened_mut().fill(0);
    after.as_flattened_mut().fill(0);
    let mut from = source.bytes.as_ptr();
    let mut this = zero;
    let mut waiting = before.last_mut();
    for column in inside {
        let next = _mm256_sub_epi16(_mm256_cvtepu8_epi16(load(from)), zero_point);
        from = from.wrapping_add(source.step);
        if let Some(waiting) = waiting.replace(column) {
            put(waiting, this, next);
        }
        this = next;
    }
    if let Some(waiting) = waiting {
        put(waiting, this, zero);
    }
}

/// # Safety
/// The CPU has AVX2, and lengths are as `super::line` checks them.
#[target_feature(enable = "avx2")]
pub(super) unsafe fn line(line: &Line<'_>, end: &LineEnd<'_>, columns: usize, out: &mut [u8]) {
    let step = line.step.wrapping_mul(2 * BLOCK);
    let mut words = line.words.as_ptr();
    let mut out = out.as_mut_ptr();
    // SAFETY: the contract is that of this function; no column is beyond the last.
    unsafe {
        for _ in 0..columns / 4 {
            outputs::<4>(line, end, words, out);
            words = words.wrapping_add(step.wrapping_mul(4));
            out = out.wrapping_add(end.step.wrapping_mul(4));
        }
        match columns % 4 {
            1 => outputs::<1>(line, end, words, out),
            2 => outputs::<2>(line, end, words, out),
            3 => outputs::<3>(line, end, words, out),
            _ => {}
        }
    }
}

/// # Safety
/// As for [`line`]; `COLUMNS` outputs exist from that on to which `words` and `out` belong.
#[inline]
#[target_feature(enable = "avx2")]
unsafe fn outputs<const COLUMNS: usize>(
    line: &Line<'_>,
    end: &LineEnd<'_>,
    words: *const i16,
    out: *mut u8,
) {
    // SAFETY: `super::line` holds rows, weights and output to their lengths.
    unsafe {
        let bias = end.bias.as_ptr().cast::<__m256i>();
        let mut acc = [[_mm256_loadu_si256(bias), _mm256_loadu_si256(bias.add(1))]; COLUMNS];
        let mut weights = end.weights.as_ptr().cast::<__m256i>();
        let step = line.step.wrapping_mul(2);
        for row in line.rows {
            let mut words = words.add(*row).cast::<__m256i>();
            for _ in 0..line.pairs {
                let [low, high] = [
                    _mm256_loadu_si256(weights),
                    _mm256_loadu_si256(weights.add(1)),
                ];
                weights = weights.add(2);
                let mut column = words;
                for sums in &mut acc {
                    let products = _mm256_madd_epi16(_mm256_loadu_si256(column), low);
                    sums[0] = _mm256_add_epi32(sums[0], products);
                    let products = _mm256_madd_epi16(_mm256_loadu_si256(column.add(1)), high);
                    sums[1] = _mm256_add_epi32(sums[1], products);
                    column = column.wrapping_add(step);
                }
                words = words.wrapping_add(4);
            }
        }
        let scale = end.scale.as_ptr();
        let scales = [_mm256_loadu_ps(scale), _mm256_loadu_ps(scale.add(8))];
        let mut to = out;
        for sums in &acc {
            let words = _mm256_packs_epi32(scaled(sums[0], scales[0]), scaled(sums[1], scales[1]));
            store(bytes(words, end.range), to, end.channels);
            to = to.wrapping_add(end.step);
        }
    }
}

/// A shuffle looks up 16 entries, and gives 0 where the index has its highest bit set. So each 16th
/// of the table gets the bytes that belong to it, and all others with that bit.
///
/// # Safety
/// The CPU has AVX2.
#[target_feature(enable = "avx2")]
pub(super) fn look_up(table: &[u8; 256], input: &[u8], output: &mut [u8]) {
    let mut parts = [_mm256_setzero_si256(); 16];
    for (part, bytes) in parts.iter_mut().zip(table.as_chunks::<16>().0) {
        // SAFETY: 16 bytes are read from 16.
        *part = _mm256_broadcastsi128_si256(unsafe { _mm_loadu_si128(bytes.as_ptr().cast()) });
    }
    let (inputs, rest) = input.as_chunks::<32>();
    let (outputs, rest_out) = output.as_chunks_mut::<32>();
    for (input, output) in inputs.iter().zip(outputs) {
        // SAFETY: 32 bytes are read from 32.
        let bytes = unsafe { _mm256_loadu_si256(input.as_ptr().cast()) };
        let mut found = _mm256_setzero_si256();
        for (index, part) in parts.iter().enumerate() {
            let index = _mm256_set1_epi8((index as u8 * 16).cast_signed());
            let near = _mm256_adds_epu8(_mm256_xor_si256(bytes, index), _mm256_set1_epi8(0x70));
            found = _mm256_or_si256(found, _mm256_shuffle_epi8(*part, near));
        }
        // SAFETY: 32 bytes are written to 32.
        unsafe { _mm256_storeu_si256(output.as_mut_ptr().cast(), found) };
    }
    super::portable::look_up(table, rest, rest_out);
}

/// # Safety
/// The CPU has AVX2.
#[target_feature(enable = "avx2")]
pub(super) fn products_alone(rounds: usize) -> usize {
    const SUMS: usize = 12;
    let [first, second] = std::hint::black_box([_mm256_set1_epi8(5), _mm256_set1_epi8(-3)]);
    let ones = _mm256_set1_epi16(1);
    let mut sums = [first; SUMS];
    for _ in 0..rounds {
        for sum in &mut sums {
            // A product of the sum itself cannot be taken out of the loop.
            let pairs = _mm256_add_epi16(
                _mm256_maddubs_epi16(*sum, first),
                _mm256_maddubs_epi16(*sum, second),
            );
            *sum = _mm256_add_epi32(*sum, _mm256_madd_epi16(pairs, ones));
        }
    }
    std::hint::black_box(sums);
    rounds * SUMS * 64
}

const _: () = assert!(PANEL == 16 && BLOCK == 16);
