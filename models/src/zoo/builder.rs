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

/// Squeeze-and-excitation (Hu et al. 2018): weighs the channels of a map by what they hold on average.
#[derive(Clone, Copy)]
pub(super) struct SqueezeExcite {
    /// Channels of the map.
    pub(super) channels: usize,
    /// Features between the two dense layers.
    pub(super) squeezed: usize,
    /// What follows the first dense layer.
    pub(super) activation: Activation,
    /// What follows the second one.
    pub(super) gate: Activation,
}

/// Where squeeze-and-excitation goes in a network that was published without it.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum SqueezePlaces {
    Nowhere,
    /// At the end of every block, before its sum.
    Blocks,
    /// Once, behind the last convolution.
    Head,
}

/// An inverted residual block (Sandler et al. 2018): expand, depthwise, project.
#[derive(Clone, Copy)]
pub(super) struct InvertedResidual {
    pub(super) channels: usize,
    /// Channels of the depthwise convolution; where they are those of the input, nothing expands.
    pub(super) hidden: usize,
    pub(super) kernel: usize,
    pub(super) stride: usize,
    pub(super) out: usize,
    /// Between depthwise convolution and projection.
    pub(super) squeeze: Option<SqueezeExcite>,
    /// Stochastic depth: probability that training leaves the block out.
    pub(super) drop: f64,
}

impl SqueezeExcite {
    /// The form of the paper for a residual network: a sixteenth of the channels, ReLU, sigmoid.
    pub(super) fn sixteenth(channels: usize) -> SqueezeExcite {
        SqueezeExcite {
            channels,
            squeezed: channels / 16,
            activation: Activation::Relu,
            gate: Activation::Sigmoid,
        }
    }
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

    /// [`Builder::push`] behind the newest node.
    pub(super) fn then(&mut self, name: impl Into<String>, op: Op) -> usize {
        let input = self.last();
        self.push(name, op, &[input])
    }

    /// The index of the newest node.
    pub(super) fn last(&self) -> usize {
        self.graph.nodes.len() - 1
    }

    /// What [`Builder::conv_bn_act`] applies from here on.
    pub(super) fn set_activation(&mut self, activation: Activation) {
        self.style.activation = activation;
    }

    /// A square convolution without bias on node `input`.
    pub(super) fn conv(
        &mut self,
        name: &str,
        input: usize,
        [out, kernel, stride, groups]: [usize; 4],
    ) -> usize {
        let op = Op::Conv {
            out,
            kernel: [kernel; 2],
            stride,
            padding: (self.style.padding)(kernel),
            groups,
            bias: false,
        };
        self.push(name, op, &[input])
    }

    pub(super) fn norm(&mut self, name: &str) -> usize {
        let eps = self.style.eps;
        self.then(name, Op::BatchNorm { eps })
    }

    pub(super) fn act(&mut self, name: &str) -> usize {
        self.then(name, Op::Activation(self.style.activation))
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
        let input = self.last();
        self.conv(
            &format!("{prefix}.conv"),
            input,
            [out, kernel, stride, groups],
        );
        self.norm(&format!("{prefix}.bn"))
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
        self.conv_bn(prefix, out, kernel, stride, groups);
        self.act(&format!("{prefix}.act"))
    }

    /// A convolution of single pixels and its norm, from node `input` past what was built since:
    /// `prefix.shortcut.conv`, `prefix.shortcut.bn`.
    pub(super) fn shortcut(
        &mut self,
        prefix: &str,
        input: usize,
        out: usize,
        stride: usize,
    ) -> usize {
        let name = format!("{prefix}.shortcut.conv");
        self.conv(&name, input, [out, 1, stride, 1]);
        self.norm(&format!("{prefix}.shortcut.bn"))
    }

    /// Squeeze-and-excitation: `prefix.pool`, `reduce`, `act`, `expand`, `gate`, `scale`.
    pub(super) fn squeeze_excite(&mut self, prefix: &str, form: SqueezeExcite) -> usize {
        let input = self.last();
        let name = |part: &str| format!("{prefix}.{part}");
        self.then(name("pool"), Op::GlobalAvgPool);
        self.then(name("reduce"), Op::Dense { out: form.squeezed });
        self.then(name("act"), Op::Activation(form.activation));
        self.then(name("expand"), Op::Dense { out: form.channels });
        let gate = self.then(name("gate"), Op::Activation(form.gate));
        self.push(name("scale"), Op::Mul, &[input, gate])
    }

    /// A block, with a shortcut where the shapes allow it.
    pub(super) fn inverted_residual(&mut self, prefix: &str, block: InvertedResidual) -> usize {
        let InvertedResidual {
            channels,
            hidden,
            kernel,
            stride,
            out,
            squeeze,
            drop,
        } = block;
        let input = self.last();
        let name = |part: &str| format!("{prefix}.{part}");
        if hidden != channels {
            self.conv_bn_act(&name("expand"), hidden, 1, 1, 1);
        }
        self.conv_bn_act(&name("depthwise"), hidden, kernel, stride, hidden);
        if let Some(squeeze) = squeeze {
            self.squeeze_excite(&name("se"), squeeze);
        }
        let mut output = self.conv_bn(&name("project"), out, 1, 1, 1);
        if stride != 1 || channels != out {
            return output;
        }
        if drop > 0.0 {
            output = self.then(name("drop"), Op::StochasticDepth { p: drop });
        }
        self.push(name("add"), Op::Add, &[input, output])
    }

    /// Pooling, dropout and the classifier; the graph is then complete.
    pub(super) fn classify(mut self, dropout: f64, classes: usize) -> Graph {
        self.then("pool", Op::GlobalAvgPool);
        self.classify_features(dropout, classes)
    }

    /// Dropout and the classifier; the graph is then complete.
    pub(super) fn classify_features(mut self, dropout: f64, classes: usize) -> Graph {
        self.then("dropout", Op::Dropout { p: dropout });
        self.then("classifier", Op::Dense { out: classes });
        self.graph
    }
}

/// `channels` times `factor`, rounded to a multiple of 8, but not down by over 10 %: how MobileNet and
/// its successors keep channels convenient.
pub(super) fn scaled(channels: usize, factor: f64) -> usize {
    let exact = channels as f64 * factor;
    let rounded = (((exact + 4.0) / 8.0) as usize * 8).max(8);
    if (rounded as f64) < 0.9 * exact {
        rounded + 8
    } else {
        rounded
    }
}
