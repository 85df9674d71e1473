//! Pictures in a folder, replayed as if a camera took them now.

use super::{CaptureError, Frame, FrameSource};
use crate::clock::Clock;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Replays the pictures in the order of their names.
pub(crate) struct FolderSource {
    files: Vec<PathBuf>,
    next: usize,
    period_us: i64,
    start_us: i64,
    clock: Clock,
}

impl FolderSource {
    /// The pictures (PNG, JPEG, BMP, WebP) in `folder` at `rate_hz`.
    ///
    /// # Errors
    /// When the folder cannot be read or has none.
    pub(crate) fn open(folder: &Path, rate_hz: f64, clock: Clock) -> Result<Self, CaptureError> {
        Ok(Self {
            files: pictures(folder)?,
            next: 0,
            period_us: (1e6 / rate_hz).round() as i64,
            start_us: clock.now_us(),
            clock,
        })
    }
}

/// The pictures (PNG, JPEG, BMP, WebP) in `folder` in the order of their names.
///
/// # Errors
/// When the folder cannot be read or has none.
pub(crate) fn pictures(folder: &Path) -> Result<Vec<PathBuf>, CaptureError> {
    let fail = |what: String| CaptureError::Failed(format!("{}: {what}", folder.display()));
    let entries = std::fs::read_dir(folder).map_err(|e| fail(format!("cannot read it: {e}")))?;
    let is_picture = |path: &PathBuf| {
        let extension = path.extension().and_then(|e| e.to_str());
        extension.is_some_and(|e| {
            ["png", "jpg", "jpeg", "bmp", "webp"].contains(&e.to_lowercase().as_str())
        })
    };
    let mut files: Vec<PathBuf> = entries
        .filter_map(|entry| Some(entry.ok()?.path()))
        .filter(is_picture)
        .collect();
    files.sort();
    if files.is_empty() {
        return Err(fail("there are no pictures in it".to_owned()));
    }
    Ok(files)
}

impl FrameSource for FolderSource {
    fn next_frame(&mut self, frame: &mut Frame, timeout: Duration) -> Result<(), CaptureError> {
        let file = self.files.get(self.next).ok_or(CaptureError::Finished)?;
        let captured_us = self.start_us + self.next as i64 * self.period_us;
        let wait_us = u64::try_from(captured_us - self.clock.now_us()).unwrap_or(0);
        let wait = Duration::from_micros(wait_us);
        std::thread::sleep(wait.min(timeout));
        if wait > timeout {
            return Err(CaptureError::TimedOut(timeout));
        }
        frame.image = dataset::decode(file)
            .map_err(|e| CaptureError::Failed(format!("{}: {e}", file.display())))?;
        frame.captured_us = captured_us;
        frame.sequence = self.next as u64;
        self.next += 1;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pictures_come_in_order_and_then_end() {
        let folder = tempfile::tempdir().unwrap();
        for (name, level) in [("b.png", 20), ("a.png", 10), ("c.txt", 0)] {
            let path = folder.path().join(name);
            if name.ends_with("png") {
                let image = image::RgbImage::from_pixel(2, 2, image::Rgb([level; 3]));
                image.save(path).unwrap();
            } else {
                std::fs::write(path, "text").unwrap();
            }
        }
        let mut source = FolderSource::open(folder.path(), 1000.0, Clock::Monotonic).unwrap();
        let mut frame = Frame::default();
        let mut levels = Vec::new();
        let end = loop {
            match source.next_frame(&mut frame, Duration::from_secs(1)) {
                Ok(()) => levels.push(frame.image.get_pixel(0, 0).0[0]),
                Err(end) => break end,
            }
        };
        assert_eq!((levels, end), (vec![10, 20], CaptureError::Finished));
    }

    #[test]
    fn an_empty_folder_is_named() {
        let folder = tempfile::tempdir().unwrap();
        let error = FolderSource::open(folder.path(), 10.0, Clock::Monotonic)
            .err()
            .unwrap();
        assert!(error.to_string().contains("no pictures"), "{error}");
    }
}
