//! Which bundle, and whom it must come from.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use models::bundle::VerifyingKey;
use models::{Bundle, key};

/// The bundle that recognises the items.
#[derive(Debug, clap::Args)]
pub(crate) struct BundleArgs {
    /// The bundle that recognises the items
    #[arg(long = "bundle", value_name = "FILE.sortline")]
    pub(crate) file: PathBuf,
    /// Take the bundle only if it is signed with this key (host-train sign makes both); may be given several times
    #[arg(long = "trust", value_name = "FILE.pub")]
    trusted: Vec<PathBuf>,
}

impl BundleArgs {
    /// Reads the bundle and, where keys are trusted, checks that it is signed with one of them.
    pub(crate) fn open(&self) -> Result<Bundle> {
        let trusted: Vec<VerifyingKey> =
            self.trusted.iter().map(read_key).collect::<Result<_>>()?;
        let mut bundle = open(&self.file)?;
        if !trusted.is_empty() {
            // What was verified is what will run, whoever writes to the file meanwhile.
            bundle.onnx = bundle.onnx.bytes().with_context(|| self.name())?.into();
            bundle.verify(&trusted).with_context(|| {
                format!(
                    "{}: not to be trusted (host-train sign signs it)",
                    self.name()
                )
            })?;
        }
        Ok(bundle)
    }

    /// The file, for messages.
    pub(crate) fn name(&self) -> String {
        self.file.display().to_string()
    }
}

/// Reads a bundle, naming the file where that fails.
pub(crate) fn open(file: &Path) -> Result<Bundle> {
    Bundle::open(file).with_context(|| {
        let file = file.display();
        format!("{file}: not a usable bundle (host-train export makes them)")
    })
}

fn read_key(file: &PathBuf) -> Result<VerifyingKey> {
    let shown = file.display();
    let text = std::fs::read_to_string(file).with_context(|| format!("{shown}: cannot be read"))?;
    key::read_public(&text).map_err(|why| anyhow::anyhow!("{shown} {why}"))
}
