//! `host-train networks`: what can be trained.

use anyhow::Result;
use models::zoo;

/// The class count of published parameter counts.
const IMAGENET_CLASSES: usize = 1000;

/// Lists the networks that can be trained.
#[derive(clap::Args)]
#[command(after_help = "Example: host-train networks --json")]
pub(crate) struct Args {
    /// An array of objects with name, input_size, parameters and macs.
    #[arg(long)]
    json: bool,
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
