//! Shape inference and what follows from shapes.

use std::collections::HashSet;

use super::{Graph, GraphError, Node, Op, Padding, Parameter, Shape};

pub(super) fn shapes(graph: &Graph) -> Result<Vec<Shape>, GraphError> {
    if graph.nodes.is_empty() {
        return Err(GraphError::Empty);
    }
    let mut names = HashSet::new();
    let mut shapes: Vec<Shape> = Vec::with_capacity(graph.nodes.len());
    for (index, node) in graph.nodes.iter().enumerate() {
        if !names.insert(&node.name) {
            return Err(GraphError::DuplicateName {
                node: node.name.clone(),
            });
        }
        if (index == 0) != (node.op == Op::Input) {
            return Err(GraphError::MisplacedInput {
                node: node.name.clone(),
            });
        }
        let expected = match node.op {
            Op::Input => 0,
            Op::Add | Op::Mul => 2,
            _ => 1,
        };
        let found = node.inputs.len();
        if found != expected {
            return Err(GraphError::InputCount {
                node: node.name.clone(),
                expected,
                found,
            });
        }
        if let Some(&input) = node.inputs.iter().find(|&&input| input >= index) {
            return Err(GraphError::InputOrder {
                node: node.name.clone(),
                input,
            });
        }
        let inputs: Vec<Shape> = node.inputs.iter().map(|&input| shapes[input]).collect();
        let shape = output_shape(graph, node, &inputs)?;
        checked_len(shape).ok_or_else(|| overflow(node))?;
        if shape.is_empty() {
            return Err(value(node, "a size is 0"));
        }
        shapes.push(shape);
    }
    Ok(shapes)
}

fn output_shape(graph: &Graph, node: &Node, inputs: &[Shape]) -> Result<Shape, GraphError> {
    match node.op {
        Op::Input => {
            let [channels, height, width] = graph.input;
            Ok(Shape::Map {
                channels,
                height,
                width,
            })
        }
        Op::Conv { .. } => conv_shape(node, inputs[0]),
        Op::MaxPool {
            kernel,
            stride,
            padding,
        } => pool_shape(node, inputs[0], kernel, stride, padding),
        Op::BatchNorm { eps } | Op::GroupNorm { eps, .. } => {
            if !(eps.is_finite() && eps > 0.0) {
                return Err(value(node, "eps must be a number above 0"));
            }
            let [channels, ..] = map(node, inputs[0])?;
            match node.op {
                Op::GroupNorm { groups, .. } if groups == 0 || channels % groups != 0 => Err(
                    value(node, "groups must be at least 1 and divide the channels"),
                ),
                _ => Ok(inputs[0]),
            }
        }
        Op::Activation(_) => Ok(inputs[0]),
        Op::GlobalAvgPool => map(node, inputs[0]).map(|[channels, ..]| Shape::Features(channels)),
        Op::Dense { out } => match inputs[0] {
            Shape::Features(features) => {
                out.checked_mul(features).ok_or_else(|| overflow(node))?;
                Ok(Shape::Features(out))
            }
            found @ Shape::Map { .. } => Err(GraphError::InputKind {
                node: node.name.clone(),
                expected: "features",
                found,
            }),
        },
        Op::Add if inputs[0] == inputs[1] => Ok(inputs[0]),
        Op::Add => Err(GraphError::ShapesDiffer {
            node: node.name.clone(),
            left: inputs[0],
            right: inputs[1],
        }),
        Op::Mul => {
            let [channels, ..] = map(node, inputs[0])?;
            match inputs[1] {
                Shape::Features(features) if features == channels => Ok(inputs[0]),
                other => Err(GraphError::ChannelsDiffer {
                    node: node.name.clone(),
                    map: inputs[0],
                    features: other,
                }),
            }
        }
        Op::Dropout { p } | Op::StochasticDepth { p } => match (0.0..1.0).contains(&p) {
            true => Ok(inputs[0]),
            false => Err(value(node, "p must be at least 0 and less than 1")),
        },
    }
}

fn conv_shape(node: &Node, input: Shape) -> Result<Shape, GraphError> {
    let Op::Conv {
        out,
        kernel,
        stride,
        padding,
        groups,
        ..
    } = node.op
    else {
        return Err(value(node, "not a convolution"));
    };
    let [channels, height, width] = map(node, input)?;
    if groups == 0 || channels % groups != 0 || out % groups != 0 {
        return Err(value(
            node,
            "groups must be at least 1 and divide the input and the output channels",
        ));
    }
    let [height, width] = window_positions(node, [height, width], kernel, stride, padding)?;
    [channels / groups, kernel[0], kernel[1]]
        .into_iter()
        .try_fold(out, usize::checked_mul)
        .ok_or_else(|| overflow(node))?;
    Ok(Shape::Map {
        channels: out,
        height,
        width,
    })
}

fn pool_shape(
    node: &Node,
    input: Shape,
    kernel: [usize; 2],
    stride: usize,
    padding: Padding,
) -> Result<Shape, GraphError> {
    let [channels, height, width] = map(node, input)?;
    let positions = window_positions(node, [height, width], kernel, stride, padding)?;
    let pads = padding.resolve([height, width], kernel, stride);
    if pads.top.max(pads.bottom) >= kernel[0] || pads.left.max(pads.right) >= kernel[1] {
        return Err(value(node, "a pool's padding must be less than its kernel"));
    }
    Ok(Shape::Map {
        channels,
        height: positions[0],
        width: positions[1],
    })
}

/// Rows and columns of the places that a kernel takes on an input of `size` = height, width.
fn window_positions(
    node: &Node,
    size: [usize; 2],
    kernel: [usize; 2],
    stride: usize,
    padding: Padding,
) -> Result<[usize; 2], GraphError> {
    if stride == 0 || kernel.contains(&0) {
        return Err(value(node, "stride and kernel sizes must be at least 1"));
    }
    let pads = padding.resolve(size, kernel, stride);
    let positions = |size: usize, before: usize, after: usize, kernel: usize| {
        let padded = size
            .checked_add(before)
            .and_then(|size| size.checked_add(after))
            .ok_or_else(|| overflow(node))?;
        let free = padded.checked_sub(kernel);
        let free = free.ok_or_else(|| GraphError::KernelTooLarge {
            node: node.name.clone(),
            padded,
            kernel,
        })?;
        Ok(free / stride + 1)
    };
    Ok([
        positions(size[0], pads.top, pads.bottom, kernel[0])?,
        positions(size[1], pads.left, pads.right, kernel[1])?,
    ])
}

/// The parameters of one node of a graph whose shapes are known.
pub(super) fn parameters(node: &Node, shapes: &[Shape]) -> Vec<Parameter> {
    let parameter = |name: &str, shape: Vec<usize>, trained: bool| Parameter {
        name: format!("{}.{name}", node.name),
        shape,
        trained,
    };
    let inputs = || shapes[node.inputs[0]].channels();
    match node.op {
        Op::Conv {
            out,
            kernel: [height, width],
            groups,
            bias,
            ..
        } => {
            let weight = parameter("weight", vec![out, inputs() / groups, height, width], true);
            let bias = bias.then(|| parameter("bias", vec![out], true));
            [Some(weight), bias].into_iter().flatten().collect()
        }
        Op::BatchNorm { .. } => vec![
            parameter("weight", vec![inputs()], true),
            parameter("bias", vec![inputs()], true),
            parameter("mean", vec![inputs()], false),
            parameter("var", vec![inputs()], false),
        ],
        Op::GroupNorm { .. } => vec![
            parameter("weight", vec![inputs()], true),
            parameter("bias", vec![inputs()], true),
        ],
        Op::Dense { out } => vec![
            parameter("weight", vec![out, inputs()], true),
            parameter("bias", vec![out], true),
        ],
        Op::Input
        | Op::Activation(_)
        | Op::MaxPool { .. }
        | Op::GlobalAvgPool
        | Op::Add
        | Op::Mul
        | Op::Dropout { .. }
        | Op::StochasticDepth { .. } => Vec::new(),
    }
}

pub(super) fn parameter_count(graph: &Graph) -> Result<u64, GraphError> {
    let shapes = shapes(graph)?;
    let mut total: u64 = 0;
    for node in &graph.nodes {
        for parameter in parameters(node, &shapes).iter().filter(|p| p.trained) {
            // `shapes` has checked that the values of one tensor can be counted.
            let values = parameter.shape.iter().product::<usize>() as u64;
            total = total.checked_add(values).ok_or_else(|| overflow(node))?;
        }
    }
    Ok(total)
}

pub(super) fn macs(graph: &Graph) -> Result<u64, GraphError> {
    let shapes = shapes(graph)?;
    let mut total: u64 = 0;
    for (node, shape) in graph.nodes.iter().zip(&shapes) {
        let per_output = match node.op {
            Op::Conv {
                kernel: [height, width],
                groups,
                ..
            } => shapes[node.inputs[0]].channels() / groups * height * width,
            Op::Dense { .. } => shapes[node.inputs[0]].channels(),
            _ => 0,
        };
        total = (shape.len() as u64)
            .checked_mul(per_output as u64)
            .and_then(|macs| total.checked_add(macs))
            .ok_or_else(|| overflow(node))?;
    }
    Ok(total)
}

fn map(node: &Node, shape: Shape) -> Result<[usize; 3], GraphError> {
    match shape {
        Shape::Map {
            channels,
            height,
            width,
        } => Ok([channels, height, width]),
        found @ Shape::Features(_) => Err(GraphError::InputKind {
            node: node.name.clone(),
            expected: "a map",
            found,
        }),
    }
}

fn checked_len(shape: Shape) -> Option<usize> {
    match shape {
        Shape::Map {
            channels,
            height,
            width,
        } => channels.checked_mul(height)?.checked_mul(width),
        Shape::Features(features) => Some(features),
    }
}

fn overflow(node: &Node) -> GraphError {
    GraphError::Overflow {
        node: node.name.clone(),
    }
}

fn value(node: &Node, what: &'static str) -> GraphError {
    GraphError::Value {
        node: node.name.clone(),
        what,
    }
}
