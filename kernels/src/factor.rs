//! In which form the input of a convolution is multiplied with weights.

use crate::aligned::Plain;
use crate::arch::{self, End, PANEL, Panel, Rows};
use crate::conv::paired::Paired;
use crate::conv::quads::Quads;
use crate::packing::pack;
use crate::workers::Scratch;
use crate::{Aligned, Isa};

/// One side of a product. A byte of the input becomes a factor; the byte that stands for 0 becomes
/// [`Factor::zero`], by which sums are then too large or small in a way that the bias takes back.
pub(crate) trait Factor: Plain + Into<i32> {
    /// Values along the depth that are read at once.
    const GROUP: usize;

    /// A multiple of the rows in a kernel's tiles.
    const ROWS: usize;

    /// The weights of a convolution, in the order in which they are read.
    type Packed: Sync;

    /// The factor of the byte `zero_point`.
    fn zero(zero_point: u8) -> Self;

    /// `factors` of as many `bytes`.
    fn convert(isa: Isa, bytes: &[u8], zero_point: u8, factors: &mut [Self]);

    /// The bytes themselves, if those are the factors.
    fn as_they_are(bytes: &[u8]) -> Option<&[Self]> {
        let _ = bytes;
        None
    }

    /// How many panels are multiplied side by side; fewer may be left at the end.
    fn abreast(weights: &Self::Packed) -> usize {
        let _ = weights;
        1
    }

    /// The sums of all rows with the panels from that of the number `index` on, requantized.
    fn multiply(
        isa: Isa,
        rows: &Rows<'_, Self>,
        weights: &Self::Packed,
        index: usize,
        end: &End<'_>,
        out: &mut [u8],
    );

    /// `len` factors and `rows` starts of unspecified content.
    fn scratch(scratch: &mut Scratch, len: usize, rows: usize) -> (&mut [Self], &mut [usize]);
}

/// Panel after panel; in each for every row of the window and every group of input values the
/// weights of each output channel.
#[derive(Debug)]
pub(crate) struct Packed<T> {
    weights: Aligned<T>,
    /// Whether a weight is -128.
    extreme: bool,
}

impl<T: Factor + From<i8>> Packed<T> {
    /// Packs `weights`, which are in the order output channel, row, column, input channel, where
    /// `segment` of them belong to a row.
    pub(crate) fn new<const GROUP: usize>(
        weights: &[i8],
        segments: usize,
        segment: usize,
    ) -> Packed<T> {
        const { assert!(GROUP == T::GROUP) };
        let groups = segment.div_ceil(GROUP);
        let channels = weights.len() / (segments * segment);
        let panels = channels.div_ceil(PANEL);
        let mut packed = Aligned::<T>::new(panels * segments * groups * GROUP * PANEL);
        let (packed_groups, _) = packed.as_chunks_mut::<GROUP>();
        pack(weights, [segments, segment], PANEL, packed_groups);
        Packed {
            weights: packed,
            extreme: weights.contains(&i8::MIN),
        }
    }

    fn panel<'a>(&'a self, rows: &Rows<'_, T>, index: usize, end: &End<'a>) -> Panel<'a, T> {
        let len = rows.len() * PANEL;
        Panel {
            weights: &self.weights[index * len..][..len],
            extreme: self.extreme,
            end: *end,
        }
    }
}

impl Packed<i8> {
    /// As [`arch::multiply_bytes`] reads them.
    pub(crate) fn in_order(mut self, isa: Isa, segment: usize) -> Packed<i8> {
        arch::in_order(isa, &mut self.weights, segment.div_ceil(i8::GROUP));
        self
    }
}

/// The byte less the zero point.
impl Factor for i16 {
    const GROUP: usize = 2;
    const ROWS: usize = 6;
    type Packed = Packed<i16>;

    fn zero(_: u8) -> i16 {
        0
    }

    fn convert(isa: Isa, bytes: &[u8], zero_point: u8, factors: &mut [i16]) {
        arch::widen(isa, bytes, zero_point, factors);
    }

    fn multiply(
        isa: Isa,
        rows: &Rows<'_, i16>,
        weights: &Packed<i16>,
        index: usize,
        end: &End<'_>,
        out: &mut [u8],
    ) {
        arch::multiply_words(isa, rows, &weights.panel(rows, index, end), out);
    }

    fn scratch(scratch: &mut Scratch, len: usize, rows: usize) -> (&mut [i16], &mut [usize]) {
        scratch.rows(len, rows)
    }
}

/// The byte less 128.
impl Factor for i8 {
    const GROUP: usize = 4;
    const ROWS: usize = 12;
    type Packed = Packed<i8>;

    fn zero(zero_point: u8) -> i8 {
        (zero_point ^ 0x80).cast_signed()
    }

    fn convert(_: Isa, bytes: &[u8], _: u8, factors: &mut [i8]) {
        for (factor, byte) in factors.iter_mut().zip(bytes) {
            *factor = (byte ^ 0x80).cast_signed();
        }
    }

    fn multiply(
        isa: Isa,
        rows: &Rows<'_, i8>,
        weights: &Packed<i8>,
        index: usize,
        end: &End<'_>,
        out: &mut [u8],
    ) {
        arch::multiply_bytes(isa, rows, &weights.panel(rows, index, end), out);
    }

    fn scratch(scratch: &mut Scratch, len: usize, rows: usize) -> (&mut [i8], &mut [usize]) {
        scratch.byte_rows(len, rows)
    }
}

/// Weights for bytes as they are.
#[derive(Debug)]
pub(crate) enum Unsigned {
    /// Where they are small enough.
    Pairs(Paired),
    Quads(Quads),
}

/// The byte itself.
impl Factor for u8 {
    const GROUP: usize = 4;
    const ROWS: usize = 24;
    type Packed = Unsigned;

    fn zero(zero_point: u8) -> u8 {
        zero_point
    }

    fn convert(_: Isa, bytes: &[u8], _: u8, factors: &mut [u8]) {
        factors.copy_from_slice(bytes);
    }

    fn as_they_are(bytes: &[u8]) -> Option<&[u8]> {
        Some(bytes)
    }

    fn abreast(weights: &Unsigned) -> usize {
        match weights {
            Unsigned::Pairs(_) => 1,
            Unsigned::Quads(quads) => quads.abreast(),
        }
    }

    fn multiply(
        isa: Isa,
        rows: &Rows<'_, u8>,
        weights: &Unsigned,
        index: usize,
        end: &End<'_>,
        out: &mut [u8],
    ) {
        match weights {
            Unsigned::Pairs(paired) => {
                arch::multiply_pairs(isa, rows, &paired.panel(index), end, out);
            }
            Unsigned::Quads(quads) => {
                let weights = quads.panels(index, end.bias.len() / PANEL);
                arch::multiply_quads(isa, rows, weights, end, out);
            }
        }
    }

    fn scratch(scratch: &mut Scratch, len: usize, rows: usize) -> (&mut [u8], &mut [usize]) {
        scratch.raw_rows(len, rows)
    }
}
