//! What the nodes of an ONNX graph say about themselves.

use tract_onnx::pb::NodeProto;

/// The attributes of a node, with ONNX's defaults given by the caller.
pub(crate) struct Attributes<'a>(pub(crate) &'a NodeProto);

impl Attributes<'_> {
    pub(crate) fn int(&self, name: &str, default: i64) -> i64 {
        let found = self.0.attribute.iter().find(|a| a.name == name);
        found.map_or(default, |a| a.i)
    }

    pub(crate) fn float(&self, name: &str, default: f32) -> f32 {
        let found = self.0.attribute.iter().find(|a| a.name == name);
        found.map_or(default, |a| a.f)
    }

    pub(crate) fn text(&self, name: &str) -> Option<&[u8]> {
        let found = self.0.attribute.iter().find(|a| a.name == name);
        found.map(|a| a.s.as_slice())
    }

    /// A list of numbers that are not negative; the default is `default` repeated.
    pub(crate) fn sizes<const N: usize>(&self, name: &str, default: usize) -> Option<[usize; N]> {
        let Some(found) = self.0.attribute.iter().find(|a| a.name == name) else {
            return Some([default; N]);
        };
        let sizes: Option<Vec<usize>> = found
            .ints
            .iter()
            .map(|n| usize::try_from(*n).ok())
            .collect();
        sizes?.try_into().ok()
    }

    pub(crate) fn has(&self, name: &str) -> bool {
        self.0.attribute.iter().any(|a| a.name == name)
    }
}
