//! Convolution in groups: some input channels with some output channels.
//!
//! The channels of a group are brought together, convolved as if they were an image of their own,
//! and put back among the others.

use crate::workers::Workers;
use crate::{Conv, Image, Isa, KernelError, Requantize, Window, check_count};

/// A convolution in groups, packed.
#[derive(Debug)]
pub struct Grouped {
    input: Image,
    output: Image,
    groups: Vec<Conv>,
}

impl Grouped {
    /// Packs `weights`, which are in the order output channel, row, column, input channel of its
    /// group.
    ///
    /// # Errors
    /// The groups are not equal, the window does not fit, counts do not match the shape, or a scale
    /// is not a positive number.
    pub fn new(
        isa: Isa,
        input: Image,
        window: Window,
        input_zero_point: u8,
        weights: &[i8],
        requantize: &Requantize,
        groups: usize,
    ) -> Result<Grouped, KernelError> {
        let channels = requantize.bias.len();
        let output = window.output(input, channels)?;
        requantize.check(channels)?;
        let equal =
            groups > 0 && input.channels.is_multiple_of(groups) && channels.is_multiple_of(groups);
        if !equal {
            return Err(KernelError::Shape("the number of groups"));
        }
        let (image, count) = (
            Image {
                channels: input.channels / groups,
                ..input
            },
            channels / groups,
        );
        let depth = window.kernel[0] * window.kernel[1] * image.channels;
        check_count("weights", channels * depth, weights.len())?;
        let group = |(index, weights): (usize, &[i8])| {
            let requantize = Requantize {
                bias: requantize.bias[index * count..][..count].to_vec(),
                scale: requantize.scale[index * count..][..count].to_vec(),
                range: requantize.range,
            };
            Conv::new(isa, image, window, input_zero_point, weights, &requantize)
        };
        let groups = weights.chunks_exact(count * depth).enumerate().map(group);
        Ok(Grouped {
            input,
            output,
            groups: groups.collect::<Result<_, _>>()?,
        })
    }

    /// The size of the output.
    pub fn output(&self) -> Image {
        self.output
    }

    /// How many products one run sums.
    pub fn products(&self) -> usize {
        self.groups.iter().map(Conv::products).sum()
    }

    /// Computes `output` from `input`.
    ///
    /// # Panics
    /// A length is not that of the image.
    pub fn run(&self, input: &[u8], output: &mut [u8], workers: &mut Workers) {
        assert_eq!(input.len(), self.input.len());
        assert_eq!(output.len(), self.output.len());
        let [inputs, outputs] = [&self.input, &self.output].map(|i| i.len() / self.groups.len());
        let [taken, given] = [&self.input, &self.output].map(|i| i.channels / self.groups.len());
        workers.with_slices(inputs + outputs, |slices, workers| {
            let (image, result) = slices.split_at_mut(inputs);
            for (index, group) in self.groups.iter().enumerate() {
                let pixels = input.chunks_exact(self.input.channels);
                for (slice, pixel) in image.chunks_exact_mut(taken).zip(pixels) {
                    slice.copy_from_slice(&pixel[index * taken..][..taken]);
                }
                group.run(image, result, workers);
                let pixels = output.chunks_exact_mut(self.output.channels);
                for (slice, pixel) in result.chunks_exact(given).zip(pixels) {
                    pixel[index * given..][..given].copy_from_slice(slice);
                }
            }
        });
    }
}
