//! `host-train sign`: who vouches for a bundle.

use std::fs::OpenOptions;
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use models::bundle::SigningKey;
use models::{Bundle, key};

/// Signs a bundle, so that a board takes it from you alone.
#[derive(clap::Args)]
#[command(after_help = "\
Example:
  host-train sign --new-key plant.key
  host-train sign --key plant.key --bundle waste.sortline
  edge-runtime run --trust plant.key.pub --bundle waste.sortline --board board.toml

--new-key writes the secret key, for nobody but you to read, and beside it plant.key.pub, which belongs on the boards.
What a bundle computes and its hash are the same with and without a signature.")]
pub(crate) struct Args {
    /// Make a pair of keys: FILE, which must not exist yet, and FILE.pub.
    #[arg(long, value_name = "FILE", required_unless_present = "bundle", conflicts_with_all = ["bundle", "key"])]
    new_key: Option<PathBuf>,
    /// The bundle to sign, in place of an earlier signature.
    #[arg(long, value_name = "FILE.sortline", requires = "key")]
    bundle: Option<PathBuf>,
    /// The secret key to sign with.
    #[arg(long, value_name = "FILE", requires = "bundle")]
    key: Option<PathBuf>,
}

pub(crate) fn run(args: &Args) -> Result<()> {
    if let Some(file) = &args.new_key {
        return new_key(file);
    }
    let (Some(bundle), Some(key)) = (&args.bundle, &args.key) else {
        anyhow::bail!("--bundle and --key say what is signed, and with what");
    };
    sign(bundle, key)
}

fn new_key(file: &Path) -> Result<()> {
    let mut seed = [0; 32];
    getrandom::fill(&mut seed).context("the system has no random numbers")?;
    let secret = SigningKey::from_bytes(&seed);
    let public = public_file(file);
    create(file, 0o600, &key::write_secret(&secret))?;
    create(&public, 0o644, &key::write_public(&secret.verifying_key()))?;
    say!("{}: keep it secret", file.display());
    say!("{}: put it on the boards", public.display());
    Ok(())
}

fn public_file(file: &Path) -> PathBuf {
    let mut name = file.as_os_str().to_owned();
    name.push(".pub");
    name.into()
}

/// A file that was not there: a key that is overwritten is lost.
fn create(file: &Path, mode: u32, text: &str) -> Result<()> {
    let mut options = OpenOptions::new();
    let options = options.write(true).create_new(true).mode(mode);
    let written = options.open(file).and_then(|mut f| {
        f.write_all(text.as_bytes())?;
        f.sync_all()
    });
    written.with_context(|| format!("{}: cannot be made", file.display()))
}

fn sign(file: &Path, key: &Path) -> Result<()> {
    let shown = key.display();
    let text = std::fs::read_to_string(key).with_context(|| format!("{shown}: cannot be read"))?;
    let key = key::read_secret(&text).map_err(|why| anyhow::anyhow!("{shown} {why}"))?;
    let named = || format!("{}: cannot be signed", file.display());
    let mut bundle = Bundle::open(file).with_context(named)?;
    bundle.sign(&key).with_context(named)?;
    bundle.save(file).with_context(named)?;
    say!("{}: signed", file.display());
    Ok(())
}
