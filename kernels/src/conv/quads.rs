//! Weights for instructions that multiply four bytes of each channel and add them up in 32 bits, as
//! `vpdpbusd` does: exact for all weights.

use crate::Aligned;
use crate::arch::{ABREAST, PANEL};
use crate::packing::pack;

/// Values in a group.
const GROUP: usize = 4;

/// Panels side by side, as many as one tile takes: for every row of the window and every group of
/// input values the weights of all their output channels.
#[derive(Debug)]
pub(crate) struct Quads {
    weights: Aligned<i8>,
    /// Of one panel.
    panel: usize,
    abreast: usize,
}

impl Quads {
    /// Packs `weights`, which are in the order output channel, row, column, input channel, where
    /// `segment` of them belong to a row.
    pub(crate) fn new(weights: &[i8], segments: usize, segment: usize) -> Quads {
        let groups = segment.div_ceil(GROUP);
        let panels = (weights.len() / (segments * segment)).div_ceil(PANEL);
        let abreast = panels.div_ceil(panels.div_ceil(ABREAST));
        let panel = segments * groups * GROUP * PANEL;
        let mut packed = Aligned::new(panels * panel);
        let (packed_groups, _) = packed.as_chunks_mut::<GROUP>();
        pack(weights, [segments, segment], abreast * PANEL, packed_groups);
        Quads {
            weights: packed,
            panel,
            abreast,
        }
    }

    /// How many panels lie side by side; at the end there may be fewer.
    pub(crate) fn abreast(&self) -> usize {
        self.abreast
    }

    /// The weights of the `count` panels from `first` on, which lie side by side.
    pub(crate) fn panels(&self, first: usize, count: usize) -> &[i8] {
        &self.weights[first * self.panel..][..count * self.panel]
    }
}
