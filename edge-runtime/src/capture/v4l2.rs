//! Cameras through Video4Linux: memory-mapped streaming, every wait with a time-out.

use super::cameras::links;
use super::controls;
use super::convert::{Pixels, to_rgb};
use super::rate::RateWatch;
use super::{CaptureError, Frame, FrameSource};
use crate::clock::Clock;
use boards::{Camera, PIXEL_FORMATS};
use image::RgbImage;
use std::path::Path;
use std::time::{Duration, Instant};
use v4l::buffer::{Flags, Metadata, Type};
use v4l::frameinterval::{FrameInterval, FrameIntervalEnum};
use v4l::io::mmap::Stream;
use v4l::io::traits::CaptureStream;
use v4l::video::Capture;
use v4l::video::capture::Parameters;
use v4l::{Device, FourCC};

/// A camera that streams.
pub(crate) struct V4l2Camera {
    name: String,
    stream: Stream<'static>,
    pixels: Pixels,
    width: u32,
    height: u32,
    stride: usize,
    /// 0 where the driver does not tell.
    exposure_us: i64,
    stamp: Stamp,
    rate: RateWatch,
    clock: Clock,
}

/// Buffers in the driver's queue.
const BUFFERS: u32 = 4;
const MOST_BUFFERS: usize = 32;
/// A rate is kept if it is off by no more than this share.
const RATE_TOLERANCE: f64 = 0.05;
/// A driver's time stamp that is older is not believed.
const OLDEST_US: i64 = 1_000_000;

impl V4l2Camera {
    /// Opens the board's camera and agrees on size, rate and pixel format.
    ///
    /// # Errors
    /// A sentence that names the device, what is wrong, and which others there are.
    pub(crate) fn open(camera: &Camera, clock: Clock) -> Result<Self, CaptureError> {
        let name = camera.device.clone();
        let device = Device::with_path(&name)
            .map_err(|e| fail(&name, format_args!("cannot open it: {e}; {}", others())))?;
        keep_from_children(&device).map_err(|e| fail(&name, e))?;
        let (pixels, stride) = agree(&device, camera).map_err(|e| fail(&name, e))?;
        agree_rate(&device, camera);
        controls::set(&device, &camera.controls).map_err(|e| fail(&name, e))?;
        let exposure_us = controls::exposure_us(&device).unwrap_or(0);
        let stream = start(&device).map_err(|e| fail(&name, format_args!("cannot stream: {e}")))?;
        Ok(Self {
            stream,
            pixels,
            width: camera.width_px,
            height: camera.height_px,
            stride,
            exposure_us,
            stamp: Stamp::Arrival,
            rate: RateWatch::new(camera.rate_hz),
            clock,
            name,
        })
    }

    /// The pixel format that was agreed on.
    pub(crate) fn pixels(&self) -> Pixels {
        self.pixels
    }

    /// What the last frame's instant was taken from, and for how long it was exposed, if that is known.
    pub(crate) fn stamp(&self) -> (Stamp, Option<i64>) {
        (self.stamp, Some(self.exposure_us).filter(|us| *us > 0))
    }

    /// Takes a frame that is there already; `false` if it was damaged on the way.
    fn take(&mut self, frame: &mut Frame, timeout: Duration) -> std::io::Result<bool> {
        // This hands back the buffer of the last frame and takes the new one at once.
        self.stream.set_timeout(timeout);
        let (data, meta) = self.stream.next()?;
        (frame.captured_us, self.stamp) = captured_us(meta, self.exposure_us, self.clock.now_us());
        frame.sequence = meta.sequence.into();
        if let Some(rate_hz) = self.rate.add(frame.captured_us, frame.sequence) {
            eprintln!(
                "warning: camera {}: only {rate_hz:.1} frames/s; `edge-runtime doctor` says what helps",
                self.name
            );
        }
        let used = (meta.bytesused as usize).min(data.len());
        let data = if used == 0 { data } else { &data[..used] };
        let (width, height) = (self.width, self.height);
        if frame.image.dimensions() != (width, height) {
            frame.image = RgbImage::new(width, height);
        }
        let size = (width as usize, height as usize);
        Ok(!meta.flags.contains(Flags::ERROR)
            && to_rgb(self.pixels, data, self.stride, size, &mut frame.image))
    }
}

impl FrameSource for V4l2Camera {
    fn next_frame(&mut self, frame: &mut Frame, timeout: Duration) -> Result<(), CaptureError> {
        let end = Instant::now() + timeout;
        loop {
            let wait = end.saturating_duration_since(Instant::now());
            let wait_ms = i32::try_from(wait.as_millis()).unwrap_or(i32::MAX);
            match self.stream.handle().poll(libc::POLLIN, wait_ms) {
                Ok(0) => return Err(CaptureError::TimedOut(timeout)),
                Ok(_) => {}
                Err(error) => return Err(fail(&self.name, error)),
            }
            if self.take(frame, timeout).map_err(|e| fail(&self.name, e))? {
                return Ok(());
            }
        }
    }
}

/// What a frame's instant is taken from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Stamp {
    /// The driver's, at the end of the exposure or of the transfer.
    End,
    /// The driver's, at the start of the exposure.
    Start,
    /// The frame's arrival: the driver's is of another clock, or cannot be true.
    Arrival,
}

/// The middle of the exposure, as far as the driver tells, and what that is taken from.
fn captured_us(meta: &Metadata, exposure_us: i64, now_us: i64) -> (i64, Stamp) {
    let stamp_us = meta.timestamp.sec * 1_000_000 + meta.timestamp.usec;
    let monotonic = meta.flags & Flags::TIMESTAMP_MASK == Flags::TIMESTAMP_MONOTONIC;
    if !monotonic || !(now_us - OLDEST_US..=now_us).contains(&stamp_us) {
        (now_us - exposure_us / 2, Stamp::Arrival)
    } else if meta.flags & Flags::TSTAMP_SRC_MASK == Flags::TSTAMP_SRC_SOE {
        (stamp_us + exposure_us / 2, Stamp::Start)
    } else {
        (stamp_us - exposure_us / 2, Stamp::End)
    }
}

/// Keeps processes that are started from having the camera open as well.
fn keep_from_children(device: &Device) -> std::io::Result<()> {
    let fd = device.handle().fd();
    // SAFETY: F_SETFD takes a number and touches no memory; the descriptor is the device's.
    match unsafe { libc::fcntl(fd, libc::F_SETFD, libc::FD_CLOEXEC) } {
        -1 => Err(std::io::Error::last_os_error()),
        _ => Ok(()),
    }
}

fn fail(name: &str, what: impl std::fmt::Display) -> CaptureError {
    CaptureError::Failed(format!("camera {name}: {what}"))
}

/// Starts to stream with every buffer in the driver's queue but the first, which `Stream::next`
/// hands over when it is first called. So one can wait for a frame outside of it: inside, running
/// out of time would leave the stream in a state from which it cannot go on.
fn start(device: &Device) -> std::io::Result<Stream<'static>> {
    let mut stream = Stream::with_buffers(device, Type::VideoCapture, BUFFERS)?;
    // The driver may have given more or fewer buffers; asking for one too many ends the loop.
    let mut queued = 0;
    while queued < MOST_BUFFERS && CaptureStream::queue(&mut stream, queued + 1).is_ok() {
        queued += 1;
    }
    if queued == 0 {
        return Err(std::io::Error::other("the driver gives a single buffer"));
    }
    v4l::io::traits::Stream::start(&mut stream)?;
    Ok(stream)
}

/// Chooses a pixel format, and checks that the driver keeps to the board's size.
fn agree(device: &Device, camera: &Camera) -> Result<(Pixels, usize), String> {
    let offered = device
        .enum_formats()
        .map_err(|e| format!("it is no camera: {e}; {}", others()))?;
    let offers = |p: &Pixels| offered.iter().any(|f| f.fourcc == FourCC::new(p.code()));
    let offers: Vec<(Pixels, bool)> = Pixels::ALL
        .into_iter()
        .filter(offers)
        .map(|pixels| (pixels, keeps_rate(device, pixels, camera)))
        .collect();
    let Some(pixels) = choose(&offers, camera.format.as_deref()) else {
        let list: Vec<String> = offered.iter().map(|f| f.fourcc.to_string()).collect();
        let list = list.join(", ");
        return Err(match &camera.format {
            Some(format) => format!("it gives {list}, but the board asks for {format}"),
            None => format!(
                "it gives {list}, but one of {} is needed",
                PIXEL_FORMATS.join(", ")
            ),
        });
    };
    let mut wanted = device.format().map_err(|e| e.to_string())?;
    (wanted.width, wanted.height) = (camera.width_px, camera.height_px);
    wanted.fourcc = FourCC::new(pixels.code());
    let given = device.set_format(&wanted).map_err(|e| e.to_string())?;
    if (given.width, given.height, given.fourcc) != (wanted.width, wanted.height, wanted.fourcc) {
        return Err(format!(
            "it gives {}x{} {}, but the board asks for {}x{}: change width_px and height_px",
            given.width, given.height, given.fourcc, wanted.width, wanted.height
        ));
    }
    let packed = pixels.row_bytes(given.width as usize);
    Ok((pixels, (given.stride as usize).max(packed)))
}

/// Of the formats that there are, each with whether it keeps the board's size and rate, the cheapest that does;
/// else the cheapest.
fn choose(offers: &[(Pixels, bool)], asked: Option<&str>) -> Option<Pixels> {
    let is_asked = |pixels: &Pixels| asked.is_none_or(|code| code.as_bytes() == pixels.code());
    let fits = |(pixels, _): &&(Pixels, bool)| is_asked(pixels);
    let keeps = offers.iter().filter(fits).find(|(_, keeps)| *keeps);
    let chosen = keeps.or_else(|| offers.iter().find(fits));
    chosen.map(|(pixels, _)| *pixels)
}

/// Whether the driver says that it gives pictures of the board's size in this format as often as the board asks.
fn keeps_rate(device: &Device, pixels: Pixels, camera: &Camera) -> bool {
    let (width, height) = (camera.width_px, camera.height_px);
    let listed = device.enum_frameintervals(FourCC::new(pixels.code()), width, height);
    let is_short = |listed: &FrameInterval| {
        let shortest = match &listed.interval {
            FrameIntervalEnum::Discrete(interval) => interval,
            FrameIntervalEnum::Stepwise(steps) => &steps.min,
        };
        let hz = f64::from(shortest.denominator) / f64::from(shortest.numerator.max(1));
        hz >= camera.rate_hz * (1.0 - RATE_TOLERANCE)
    };
    listed.is_ok_and(|listed| listed.iter().any(is_short))
}

/// Asks for the board's rate; one that is not kept is said, not refused.
fn agree_rate(device: &Device, camera: &Camera) {
    let name = &camera.device;
    let wanted_hz = camera.rate_hz.round() as u32;
    match device.set_params(&Parameters::with_fps(wanted_hz)) {
        Ok(given) => {
            let interval = given.interval;
            let given_hz = f64::from(interval.denominator) / f64::from(interval.numerator.max(1));
            if (given_hz - camera.rate_hz).abs() > camera.rate_hz * RATE_TOLERANCE {
                eprintln!(
                    "warning: camera {name}: gives {given_hz:.1} frames/s, the board asks for {}",
                    camera.rate_hz
                );
            }
        }
        Err(error) => {
            eprintln!("warning: camera {name}: cannot set {wanted_hz} frames/s: {error}");
        }
    }
}

/// What else could be named as the camera.
fn others() -> String {
    let by_id = Path::new("/dev/v4l/by-id");
    let found = links(by_id);
    let found: Vec<String> = found
        .iter()
        .map(|link| link.display().to_string())
        .collect();
    if found.is_empty() {
        return format!(
            "there are no cameras in {}; plug one in, or name a device under [camera] in the board file",
            by_id.display()
        );
    }
    format!(
        "under [camera] in the board file one of these could be named: {}",
        found.join(", ")
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use v4l::timestamp::Timestamp;

    #[test]
    fn of_the_formats_that_keep_the_rate_the_cheapest_is_taken() {
        let (slow, fast) = ((Pixels::Yuyv, false), (Pixels::Mjpeg, true));
        assert_eq!(choose(&[slow, fast], None), Some(Pixels::Mjpeg));
        assert_eq!(choose(&[slow, fast], Some("YUYV")), Some(Pixels::Yuyv));
        assert_eq!(
            choose(&[slow, (Pixels::Mjpeg, false)], None),
            Some(Pixels::Yuyv)
        );
        assert_eq!(choose(&[slow, fast], Some("GREY")), None);
        let codes = Pixels::ALL.map(|p| std::str::from_utf8(p.code()).unwrap());
        assert_eq!(codes, PIXEL_FORMATS, "a board may ask for each");
    }

    #[track_caller]
    fn check(flags: Flags, stamp_us: i64, expect: (i64, Stamp)) {
        let meta = Metadata {
            timestamp: Timestamp::new(stamp_us / 1_000_000, stamp_us % 1_000_000),
            flags,
            ..Metadata::default()
        };
        assert_eq!(captured_us(&meta, 4_000, 5_000_000), expect);
    }

    #[test]
    fn a_frames_instant_is_the_middle_of_its_exposure() {
        let monotonic = Flags::TIMESTAMP_MONOTONIC;
        check(monotonic, 4_990_000, (4_988_000, Stamp::End));
        let start = monotonic | Flags::TSTAMP_SRC_SOE;
        check(start, 4_990_000, (4_992_000, Stamp::Start));
    }

    #[test]
    fn a_stamp_of_another_clock_or_out_of_the_question_is_not_believed() {
        let arrival = (4_998_000, Stamp::Arrival);
        check(Flags::TIMESTAMP_COPY, 4_990_000, arrival);
        check(Flags::TIMESTAMP_UNKNOWN, 4_990_000, arrival);
        check(Flags::TIMESTAMP_MONOTONIC, 5_000_001, arrival);
        check(Flags::TIMESTAMP_MONOTONIC, 3_999_999, arrival);
    }
}
