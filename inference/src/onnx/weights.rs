//! Weights before they are packed.

use bytes::Bytes;

/// The weights of a layer, where the file has them.
#[derive(Clone, Debug)]
pub(crate) struct Weights {
    bytes: Bytes,
    order: Order,
}

/// The order in which they lie there, while kernels take output channel, row, column and input channel.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Order {
    /// Output channel, input channel, rows and columns: so many inputs, and places in the window.
    Places { depth: usize, places: usize },
    /// Input channel and output channel, of which there are so many.
    InputFirst { outputs: usize },
}

impl Order {
    /// Of a matrix of so many columns, whose rows are output channels or else input channels.
    pub(crate) fn dense(columns: usize, rows_are_outputs: bool) -> Order {
        if rows_are_outputs {
            let (depth, places) = (columns, 1);
            Order::Places { depth, places }
        } else {
            Order::InputFirst { outputs: columns }
        }
    }
}

impl Weights {
    pub(crate) fn new(bytes: Bytes, order: Order) -> Weights {
        Weights { bytes, order }
    }

    /// One of f32 for each channel.
    pub(crate) fn of_channels(values: &[f32]) -> Weights {
        let bytes = values.iter().flat_map(|value| value.to_le_bytes());
        let (bytes, depth, places) = (bytes.collect(), 1, 1);
        Weights::new(bytes, Order::Places { depth, places })
    }

    /// How many there are, of `SIZE` bytes each.
    pub(crate) fn len<const SIZE: usize>(&self) -> usize {
        self.bytes.len() / SIZE
    }

    /// Replaces what is in `ordered` by the weights in the order in which kernels take them.
    pub(crate) fn order<T: Copy + Default, const SIZE: usize>(
        &self,
        value: impl Fn([u8; SIZE]) -> T,
        ordered: &mut Vec<T>,
    ) {
        let (stored, _) = self.bytes.as_chunks::<SIZE>();
        ordered.clear();
        // Matrices of which rows become columns.
        let [rows, columns] = match self.order {
            Order::Places { depth, places } => [depth, places],
            Order::InputFirst { outputs } => [stored.len() / outputs.max(1), outputs],
        };
        if rows <= 1 || columns <= 1 {
            ordered.extend(stored.iter().map(|bytes| value(*bytes)));
            return;
        }
        ordered.resize(stored.len(), T::default());
        let matrices = stored.chunks_exact(rows * columns);
        for (matrix, ordered) in matrices.zip(ordered.chunks_exact_mut(rows * columns)) {
            for (column, ordered) in ordered.chunks_exact_mut(rows).enumerate() {
                for (to, row) in ordered.iter_mut().zip(matrix.chunks_exact(columns)) {
                    *to = value(row[column]);
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ordered(bytes: &'static [u8], order: Order) -> Vec<u8> {
        let mut ordered = vec![9; 3];
        Weights::new(Bytes::from_static(bytes), order).order(|[byte]| byte, &mut ordered);
        ordered
    }

    #[test]
    fn weights_come_as_kernels_take_them() {
        // Two output channels of two inputs and three places.
        let order = Order::Places {
            depth: 2,
            places: 3,
        };
        let found = ordered(&[0, 1, 2, 10, 11, 12, 50, 51, 52, 60, 61, 62], order);
        assert_eq!(found, [0, 10, 1, 11, 2, 12, 50, 60, 51, 61, 52, 62]);
        let order = Order::Places {
            depth: 3,
            places: 1,
        };
        assert_eq!(ordered(&[1, 2, 3, 4, 5, 6], order), [1, 2, 3, 4, 5, 6]);
        let order = Order::InputFirst { outputs: 2 };
        assert_eq!(
            ordered(&[1, 11, 2, 12, 3, 13], order),
            [1, 2, 3, 11, 12, 13]
        );
    }
}
