//! Which cameras there are.

use std::path::{Path, PathBuf};
use v4l::Device;
use v4l::capability::Flags;
use v4l::context::enum_devices;
use v4l::video::Capture;

/// A video device.
pub(crate) struct Found {
    pub(crate) path: PathBuf,
    /// The links that go on leading to it when numbers move, those by its identity first.
    pub(crate) stable: Vec<PathBuf>,
    /// What it says of itself and the pixel formats it offers, or why it could not be asked.
    pub(crate) says: std::io::Result<(String, Vec<String>)>,
}

/// Where udev keeps names that do not move.
const STABLE: [&str; 2] = ["/dev/v4l/by-id", "/dev/v4l/by-path"];

/// Every video device that gives pictures or cannot be asked, by path.
pub(crate) fn found() -> Vec<Found> {
    let mut paths: Vec<PathBuf> = enum_devices()
        .iter()
        .map(|node| node.path().to_owned())
        .collect();
    paths.sort();
    let links: Vec<PathBuf> = STABLE.iter().flat_map(|f| links(Path::new(f))).collect();
    let camera = |path: PathBuf| {
        let says = ask(&path).transpose()?;
        let leads_here = |link: &&PathBuf| std::fs::canonicalize(link).is_ok_and(|to| to == path);
        Some(Found {
            stable: links.iter().filter(leads_here).cloned().collect(),
            path,
            says,
        })
    };
    paths.into_iter().filter_map(camera).collect()
}

/// `None` of what gives no pictures.
fn ask(path: &Path) -> std::io::Result<Option<(String, Vec<String>)>> {
    let device = Device::with_path(path)?;
    let told = device.query_caps()?;
    if !told.capabilities.contains(Flags::VIDEO_CAPTURE) {
        return Ok(None);
    }
    let formats = device.enum_formats()?;
    let codes = formats.iter().map(|f| f.fourcc.to_string()).collect();
    Ok(Some((told.card, codes)))
}

pub(crate) fn links(folder: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(folder).into_iter().flatten();
    let mut links: Vec<PathBuf> = entries.filter_map(|e| Some(e.ok()?.path())).collect();
    links.sort();
    links
}
