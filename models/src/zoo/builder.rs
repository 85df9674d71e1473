//! Puts graphs together, node by node.

use crate::graph::{Activation, Graph, Node, Op, Padding};

/// A graph under construction. Methods add nodes and return the index of the last one.
pub(super) struct Builder {
    graph: Graph,
    style: Style,
}

/// What all convolutions of a network have in common.
#[derive(Clone, Copy)]
pub(super) struct Style {
    pub(super) eps: f64,
    pub(super) activation: Activation,
    /// The padding of a square kernel of this size.
    pub(super) padding: fn(usize) -> Padding,
}

/// An inverted residual block (Sandler et al. 2018): expand, depthwise, project.
#[derive(Clone, Copy)]
pub(super) struct InvertedResidual {
    pub(super) channels: usize,
    pub(super) expansion: usize,
    pub(super) kernel: usize,
    pub(super) stride: usize,
    pub(super) out: usize,
}

impl Builder {
    pub(super) fn new(name: &str, input: [usize; 3], style: Style) -> Builder {
        let node = Node {
            name: "input".into(),
            op: Op::Input,
            inputs: Vec::new(),
        };
        Builder {
            graph: Graph {
                name: name.into(),
                input,
                nodes: vec![node],
            },
            style,
        }
    }

    pub(super) fn push(&mut self, name: impl Into<String>, op: Op, inputs: &[usize]) -> usize {
        self.graph.nodes.push(Node {
            name: name.into(),
            op,
            inputs: inputs.to_vec(),
        });
        self.last()
    }

    /// The index of the newest node.
    pub(super) fn last(&self) -> usize {
        self.graph.nodes.len() - 1
    }

    /// Convolution and batch norm: `prefix.conv`, `prefix.bn`.
    pub(super) fn conv_bn(
        &mut self,
        prefix: &str,
        out: usize,
        kernel: usize,
        stride: usize,
        groups: usize,
    ) -> usize {
        let Style { eps, padding, .. } = self.style;
        let conv = Op::Conv {
            out,
            kernel: [kernel; 2],
            stride,
            padding: padding(kernel),
            groups,
            bias: false,
        };
        let input = self.last();
        let conv = self.push(format!("{prefix}.conv"), conv, &[input]);
        self.push(format!("{prefix}.bn"), Op::BatchNorm { eps }, &[conv])
    }

    /// [`Builder::conv_bn`] and the activation: `prefix.act`.
    pub(super) fn conv_bn_act(
        &mut self,
        prefix: &str,
        out: usize,
        kernel: usize,
        stride: usize,
        groups: usize,
    ) -> usize {
        let norm = self.conv_bn(prefix, out, kernel, stride, groups);
        self.push(
            format!("{prefix}.act"),
            Op::Activation(self.style.activation),
            &[norm],
        )
    }

    /// A block; no expansion where its factor is 1, a shortcut where the shapes allow it.
    pub(super) fn inverted_residual(&mut self, prefix: &str, block: InvertedResidual) -> usize {
        let InvertedResidual {
            channels,
            expansion,
            kernel,
            stride,
            out,
        } = block;
        let input = self.last();
        let hidden = channels * expansion;
        if expansion != 1 {
            self.conv_bn_act(&format!("{prefix}.expand"), hidden, 1, 1, 1);
        }
        self.conv_bn_act(
            &format!("{prefix}.depthwise"),
            hidden,
            kernel,
            stride,
            hidden,
        );
        let output = self.conv_bn(&format!("{prefix}.project"), out, 1, 1, 1);
        match stride == 1 && channels == out {
            true => self.push(format!("{prefix}.add"), Op::Add, &[input, output]),
            false => output,
        }
    }

    /// Pooling, dropout and the classifier; the graph is then complete.
    pub(super) fn classify(mut self, dropout: f64, classes: usize) -> Graph {
        let input = self.last();
        let pool = self.push("pool", Op::GlobalAvgPool, &[input]);
        let dropout = self.push("dropout", Op::Dropout { p: dropout }, &[pool]);
        self.push("classifier", Op::Dense { out: classes }, &[dropout]);
        self.graph
    }
}
