//! Layers that take each value by itself.

use crate::arch::{self, Product, Sum};
use crate::requantize::check_scale;
use crate::{Isa, KernelError, Quantization, Range, Workers};

/// Values that one part of the work takes at least.
const PART: usize = 4096;

fn part(len: usize, step: usize, workers: usize) -> usize {
    len.div_ceil(workers).max(PART).next_multiple_of(step)
}

/// The sum of two tensors: `round((a - za) * ra + (b - zb) * rb) + zero_point`, saturated, where
/// `ra` and `rb` are the inputs' scales divided by the output's.
#[derive(Clone, Debug, PartialEq)]
pub struct Add {
    isa: Isa,
    sum: Sum,
}

impl Add {
    /// # Errors
    /// A scale, or the ratio of two, is not a positive number.
    pub fn new(
        isa: Isa,
        inputs: [Quantization; 2],
        output_scale: f32,
        range: Range,
    ) -> Result<Add, KernelError> {
        let ratios = inputs.map(|input| input.scale / output_scale);
        ratios.iter().try_for_each(|ratio| check_scale(*ratio))?;
        let zero_points = inputs.map(|input| input.zero_point);
        let sum = Sum {
            zero_points,
            ratios,
            range,
        };
        Ok(Add { isa, sum })
    }

    /// Computes `output` from two inputs of its length.
    ///
    /// # Panics
    /// The lengths differ.
    pub fn run(&self, a: &[u8], b: &[u8], output: &mut [u8], workers: &mut Workers) {
        assert!(a.len() == output.len() && b.len() == output.len());
        let part = part(output.len(), 32, workers.count());
        workers.for_each_chunk(output, part, &|index, out, _| {
            let from = index * part;
            let (a, b) = (&a[from..][..out.len()], &b[from..][..out.len()]);
            arch::add(self.isa, &self.sum, a, b, out);
        });
    }
}

/// The product of a tensor with another or, as in squeeze-and-excitation, with one value per
/// channel: `round((a - za) * (b - zb) * r) + zero_point`, saturated, where `r` is the product of
/// the inputs' scales divided by the output's.
#[derive(Clone, Debug, PartialEq)]
pub struct Mul {
    isa: Isa,
    product: Product,
}

impl Mul {
    /// # Errors
    /// A scale, or what they give together, is not a positive number.
    pub fn new(
        isa: Isa,
        inputs: [Quantization; 2],
        output_scale: f32,
        range: Range,
    ) -> Result<Mul, KernelError> {
        let ratio = inputs[0].scale * inputs[1].scale / output_scale;
        check_scale(ratio)?;
        let zero_points = inputs.map(|input| input.zero_point);
        let product = Product {
            zero_points,
            ratio,
            range,
        };
        Ok(Mul { isa, product })
    }

    /// Computes `output` from `a` of its length and `b`, which is repeated: it has that length too
    /// or is one value per channel.
    ///
    /// # Panics
    /// The lengths differ, or that of `b` does not divide them.
    pub fn run(&self, a: &[u8], b: &[u8], output: &mut [u8], workers: &mut Workers) {
        assert!(a.len() == output.len() && !b.is_empty() && a.len().is_multiple_of(b.len()));
        let part = part(output.len(), b.len(), workers.count());
        workers.for_each_chunk(output, part, &|index, out, _| {
            let a = &a[index * part..][..out.len()];
            for (a, out) in a.chunks(b.len()).zip(out.chunks_mut(b.len())) {
                arch::product(self.isa, &self.product, a, b, out);
            }
        });
    }
}

/// Any function of one value: a byte for each byte.
#[derive(Clone, Debug, PartialEq)]
pub struct Table {
    isa: Isa,
    bytes: [u8; 256],
}

impl Table {
    /// A table of what `function` gives.
    pub fn new(isa: Isa, function: impl FnMut(u8) -> u8) -> Table {
        let mut bytes = [0; 256];
        let all = 0..=u8::MAX;
        for (byte, value) in bytes.iter_mut().zip(all.map(function)) {
            *byte = value;
        }
        Table { isa, bytes }
    }

    /// Looks one byte up.
    pub fn get(&self, byte: u8) -> u8 {
        self.bytes[usize::from(byte)]
    }

    /// Computes `output` from an input of its length.
    ///
    /// # Panics
    /// The lengths differ.
    pub fn run(&self, input: &[u8], output: &mut [u8], workers: &mut Workers) {
        assert_eq!(input.len(), output.len());
        let part = part(output.len(), 32, workers.count());
        workers.for_each_chunk(output, part, &|index, out, _| {
            arch::look_up(
                self.isa,
                &self.bytes,
                &input[index * part..][..out.len()],
                out,
            );
        });
    }
}
