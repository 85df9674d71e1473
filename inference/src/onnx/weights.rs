//! Weights before they are packed.

use std::io;

use models::Blob;

/// The weights of a layer, where the file has them.
#[derive(Clone, Debug)]
pub(crate) struct Weights {
    bytes: Blob,
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

/// Bytes that are read at a time, unless rows and columns need more.
const PART: usize = 64 << 10;

/// Memory for the weights of one layer at a time.
#[derive(Debug, Default)]
pub(crate) struct Room<T> {
    stored: Vec<u8>,
    ordered: Vec<T>,
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
    pub(crate) fn new(bytes: Blob, order: Order) -> Weights {
        Weights { bytes, order }
    }

    /// One of f32 for each channel.
    pub(crate) fn of_channels(values: &[f32]) -> Weights {
        let bytes = values.iter().flat_map(|value| value.to_le_bytes());
        let bytes: Vec<u8> = bytes.collect();
        let (depth, places) = (1, 1);
        Weights::new(bytes.into(), Order::Places { depth, places })
    }

    /// How many there are, of `SIZE` bytes each.
    pub(crate) fn len<const SIZE: usize>(&self) -> usize {
        self.bytes.len() / SIZE
    }

    /// Reads the weights in the order in which kernels take them.
    pub(crate) fn read<'a, T: Copy + Default, const SIZE: usize>(
        &self,
        value: impl Fn([u8; SIZE]) -> T,
        room: &'a mut Room<T>,
    ) -> io::Result<&'a mut [T]> {
        let Room { stored, ordered } = room;
        // Matrices of which rows become columns.
        let [rows, columns] = match self.order {
            Order::Places { depth, places } => [depth, places],
            Order::InputFirst { outputs } => [self.len::<SIZE>() / outputs.max(1), outputs],
        };
        let as_they_are = rows <= 1 || columns <= 1;
        let matrix = if as_they_are { 1 } else { rows * columns };
        let part = SIZE * matrix * (PART / (SIZE * matrix)).max(1);
        ordered.clear();
        ordered.reserve_exact(self.len::<SIZE>());
        for start in (0..self.bytes.len()).step_by(part) {
            let end = self.bytes.len().min(start + part);
            self.bytes.slice(start..end).read(stored)?;
            let (stored, _) = stored.as_chunks::<SIZE>();
            if as_they_are {
                ordered.extend(stored.iter().map(|bytes| value(*bytes)));
                continue;
            }
            let first = ordered.len();
            ordered.resize(first + stored.len(), T::default());
            let matrices = ordered[first..].chunks_exact_mut(matrix);
            for (ordered, matrix) in matrices.zip(stored.chunks_exact(matrix)) {
                for (column, ordered) in ordered.chunks_exact_mut(rows).enumerate() {
                    for (to, row) in ordered.iter_mut().zip(matrix.chunks_exact(columns)) {
                        *to = value(row[column]);
                    }
                }
            }
        }
        Ok(ordered)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ordered(bytes: &[u8], order: Order) -> Vec<u8> {
        let mut room = Room::default();
        let other = Weights::of_channels(&[1.0, 2.0]);
        other
            .read(f32::from_le_bytes, &mut Room::default())
            .unwrap();
        other.read(|[byte]| byte, &mut room).unwrap();
        let weights = Weights::new(bytes.to_vec().into(), order);
        weights.read(|[byte]| byte, &mut room).unwrap().to_vec()
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
