//! What each set of instructions has: functions compiled for it, over its vector.

/// A function `$name` for tiles of any size, over a vector.
macro_rules! tiles {
    ($name:ident, $vector:ty $(, $feature:meta)?) => {
        /// # Safety
        /// The CPU has the instructions, and lengths are as `super::float::multiply` checks them.
        pub(super) unsafe fn $name(tile: &crate::arch::float::Product<'_>, out: &mut [f32]) {
            /// # Safety
            /// As above; the tile has so many rows and panels.
            $(#[$feature])?
            unsafe fn fixed<const ROWS: usize, const PANELS: usize>(
                tile: &crate::arch::float::Product<'_>,
                out: &mut [f32],
            ) {
                // SAFETY: the contract is that of this function.
                unsafe { crate::arch::float::tile::<$vector, ROWS, PANELS>(tile, out) }
            }
            // SAFETY: the contract is that of this function.
            unsafe {
                match (tile.starts.len(), tile.bias.len()) {
                    (1, 3) => fixed::<1, 3>(tile, out),
                    (1, 4) => fixed::<1, 4>(tile, out),
                    (1, 1) => fixed::<1, 1>(tile, out),
                    (1, 2) => fixed::<1, 2>(tile, out),
                    (2, 1) => fixed::<2, 1>(tile, out),
                    (2, 2) => fixed::<2, 2>(tile, out),
                    (3, 1) => fixed::<3, 1>(tile, out),
                    (3, 2) => fixed::<3, 2>(tile, out),
                    (4, 1) => fixed::<4, 1>(tile, out),
                    (4, 2) => fixed::<4, 2>(tile, out),
                    (5, 1) => fixed::<5, 1>(tile, out),
                    (5, 2) => fixed::<5, 2>(tile, out),
                    (6, 1) => fixed::<6, 1>(tile, out),
                    (6, 2) => fixed::<6, 2>(tile, out),
                    (7, 1) => fixed::<7, 1>(tile, out),
                    (7, 2) => fixed::<7, 2>(tile, out),
                    (8, 1) => fixed::<8, 1>(tile, out),
                    (8, 2) => fixed::<8, 2>(tile, out),
                    (9, 1) => fixed::<9, 1>(tile, out),
                    (9, 2) => fixed::<9, 2>(tile, out),
                    (10, 1) => fixed::<10, 1>(tile, out),
                    (10, 2) => fixed::<10, 2>(tile, out),
                    (11, 1) => fixed::<11, 1>(tile, out),
                    (11, 2) => fixed::<11, 2>(tile, out),
                    (12, 1) => fixed::<12, 1>(tile, out),
                    (12, 2) => fixed::<12, 2>(tile, out),
                    (13, 1) => fixed::<13, 1>(tile, out),
                    (13, 2) => fixed::<13, 2>(tile, out),
                    (14, 1) => fixed::<14, 1>(tile, out),
                    (14, 2) => fixed::<14, 2>(tile, out),
                    _ => unreachable!("a tile of another size"),
                }
            }
        }
    };
}
pub(in crate::arch) use tiles;

/// The functions of a set of instructions, over its vector.
macro_rules! kernels {
    ($vector:ty $(, $feature:meta)?) => {
        crate::arch::float::tiles!(tile, $vector $(, $feature)?);

        /// # Safety
        /// The CPU has the instructions, and lengths are as `super::float::rows` checks them.
        $(#[$feature])?
        pub(super) unsafe fn rows(rows: &crate::arch::float::Rows<'_>, out: &mut [f32]) {
            // SAFETY: the contract is that of this function.
            unsafe { crate::arch::float::any_rows::<$vector>(rows, out) }
        }

        /// # Safety
        /// The CPU has the instructions.
        $(#[$feature])?
        pub(super) unsafe fn vectorized<R>(work: impl FnOnce() -> R) -> R {
            work()
        }

        /// # Safety
        /// The CPU has the instructions.
        $(#[$feature])?
        pub(super) unsafe fn products_alone(rounds: usize) -> usize {
            // SAFETY: the contract is that of this function.
            unsafe { crate::arch::float::sums_alone::<$vector>(rounds) }
        }
    };
}
pub(in crate::arch) use kernels;
