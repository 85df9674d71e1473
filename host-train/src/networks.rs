//! `host-train networks`: what can be trained.

use anyhow::{Context, Result};
use models::graph::Shape;
use models::zoo;

use crate::thaw::Stages;

/// The class count of published parameter counts.
const IMAGENET_CLASSES: usize = 1000;

/// Lists the networks that can be trained.
#[derive(clap::Args)]
#[command(after_help = "Example: host-train networks --json")]
pub(crate) struct Args {
    /// An array of objects with name, input_size, parameters and macs.
    #[arg(long)]
    json: bool,
    /// List the stages of a network, and where each ends: what train --freeze takes.
    #[arg(long, value_name = "NAME", conflicts_with = "json")]
    stages: Option<String>,
}

#[derive(serde::Serialize)]
struct Row {
    name: &'static str,
    input_size: u32,
    /// With 1000 classes, as papers count them.
    parameters: u64,
    macs: u64,
}

pub(crate) fn run(args: &Args) -> Result<()> {
    if let Some(name) = &args.stages {
        return list_stages(name);
    }
    let row = |name| -> Result<Row> {
        let graph = zoo::build(name, IMAGENET_CLASSES, None)?;
        let input_size = zoo::default_input_size(name)?;
        Ok(Row {
            name,
            input_size,
            parameters: graph.parameter_count()?,
            macs: graph.macs()?,
        })
    };
    let rows: Vec<Row> = zoo::names().into_iter().map(row).collect::<Result<_>>()?;
    if args.json {
        say!("{}", serde_json::to_string_pretty(&rows)?);
        return Ok(());
    }
    say!(
        "{:<22} {:>6} {:>12} {:>16}",
        "name",
        "input",
        "parameters",
        "mult-adds"
    );
    for Row {
        name,
        input_size,
        parameters,
        macs,
    } in rows
    {
        say!("{name:<22} {input_size:>6} {parameters:>12} {macs:>16}");
    }
    say!("Parameters and multiply-adds with {IMAGENET_CLASSES} classes at the input size shown.");
    Ok(())
}

/// The places where a network can be cut, a line each.
fn list_stages(name: &str) -> Result<()> {
    let graph = zoo::build(name, IMAGENET_CLASSES, None)?;
    let stages = Stages::new(&graph).context("the network has no stages")?;
    let shapes = graph.shapes()?;
    say!(
        "{:<8} {:<28} {:>16} {:>12}",
        "stage",
        "node",
        "output",
        "parameters"
    );
    for &node in stages.gates() {
        let stage = stages.ends().iter().position(|&end| end == node);
        let stage = stage.map_or_else(String::new, |index| format!("stage{}", index + 1));
        let output = match shapes[node] {
            Shape::Map {
                channels,
                height,
                width,
            } => format!("{channels} x {height} x {width}"),
            Shape::Features(count) => count.to_string(),
        };
        let parameters = graph.prefix(node).parameter_count()?;
        let name = &graph.nodes[node].name;
        say!("{stage:<8} {name:<28} {output:>16} {parameters:>12}");
    }
    say!(
        "--freeze takes a stage or a node: all up to there keeps its weights, outputs are for the default input."
    );
    Ok(())
}
