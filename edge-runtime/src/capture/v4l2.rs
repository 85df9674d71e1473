//! Cameras through Video4Linux: memory-mapped streaming, every wait with a time-out.

use super::convert::{rows_to_rgb, yuyv_to_rgb};
use super::{CaptureError, Frame, FrameSource};
use crate::clock::Clock;
use boards::Camera;
use image::RgbImage;
use std::path::Path;
use std::time::Duration;
use v4l::buffer::{Flags, Type};
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
    clock: Clock,
}

/// What is understood, the cheapest to convert first.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Pixels {
    Rgb,
    Yuyv,
    Mjpeg,
}

const FORMATS: [(Pixels, &[u8; 4]); 3] = [
    (Pixels::Rgb, b"RGB3"),
    (Pixels::Yuyv, b"YUYV"),
    (Pixels::Mjpeg, b"MJPG"),
];
/// Buffers in the driver's queue.
const BUFFERS: u32 = 4;
const MOST_BUFFERS: usize = 32;

impl V4l2Camera {
    /// Opens the board's camera and agrees on size, rate and pixel format.
    ///
    /// # Errors
    /// A sentence that names the device, what is wrong, and which others there are.
    pub(crate) fn open(camera: &Camera, clock: Clock) -> Result<Self, CaptureError> {
        let name = camera.device.clone();
        let device = Device::with_path(&name)
            .map_err(|e| fail(&name, format_args!("cannot open it: {e}; {}", others())))?;
        let (pixels, stride) = agree(&device, camera).map_err(|e| fail(&name, e))?;
        let rate_hz = camera.rate_hz.round() as u32;
        if let Err(error) = device.set_params(&Parameters::with_fps(rate_hz)) {
            eprintln!("warning: camera {name}: cannot set {rate_hz} frames/s: {error}");
        }
        let stream = start(&device).map_err(|e| fail(&name, format_args!("cannot stream: {e}")))?;
        Ok(Self {
            stream,
            pixels,
            width: camera.width_px,
            height: camera.height_px,
            stride,
            clock,
            name,
        })
    }
}

impl FrameSource for V4l2Camera {
    fn next_frame(&mut self, frame: &mut Frame, timeout: Duration) -> Result<(), CaptureError> {
        let wait_ms = i32::try_from(timeout.as_millis()).unwrap_or(i32::MAX);
        match self.stream.handle().poll(libc::POLLIN, wait_ms) {
            Ok(0) => return Err(CaptureError::TimedOut(timeout)),
            Ok(_) => {}
            Err(error) => return Err(fail(&self.name, error)),
        }
        // A frame is there: this hands back the buffer of the last one and takes it at once.
        self.stream.set_timeout(timeout);
        let (data, meta) = self.stream.next().map_err(|e| fail(&self.name, e))?;
        let monotonic = meta.flags & Flags::TIMESTAMP_MASK == Flags::TIMESTAMP_MONOTONIC;
        frame.captured_us = if monotonic {
            meta.timestamp.sec * 1_000_000 + meta.timestamp.usec
        } else {
            self.clock.now_us()
        };
        frame.sequence = meta.sequence.into();
        let used = (meta.bytesused as usize).min(data.len());
        let data = if used == 0 { data } else { &data[..used] };
        let (width, height) = (self.width, self.height);
        if frame.image.dimensions() != (width, height) {
            frame.image = RgbImage::new(width, height);
        }
        match self.pixels {
            Pixels::Rgb => rows_to_rgb(data, self.stride, width as usize, &mut frame.image),
            Pixels::Yuyv => yuyv_to_rgb(data, self.stride, width as usize, &mut frame.image),
            Pixels::Mjpeg => {
                // A frame that was damaged on the way looks like the one before.
                let decoded = image::load_from_memory_with_format(data, image::ImageFormat::Jpeg);
                if let Ok(image) = decoded.map(|i| i.into_rgb8())
                    && image.dimensions() == (width, height)
                {
                    frame.image = image;
                }
            }
        }
        Ok(())
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
    let known =
        |(_, code): &&(Pixels, &[u8; 4])| offered.iter().any(|f| f.fourcc == FourCC::new(code));
    let Some((pixels, code)) = FORMATS.iter().find(known) else {
        let list: Vec<String> = offered.iter().map(|f| f.fourcc.to_string()).collect();
        let list = list.join(", ");
        return Err(format!("it gives {list}, but RGB3, YUYV or MJPG is needed"));
    };
    let mut wanted = device.format().map_err(|e| e.to_string())?;
    (wanted.width, wanted.height) = (camera.width_px, camera.height_px);
    wanted.fourcc = FourCC::new(code);
    let given = device.set_format(&wanted).map_err(|e| e.to_string())?;
    if (given.width, given.height, given.fourcc) != (wanted.width, wanted.height, wanted.fourcc) {
        return Err(format!(
            "it gives {}x{} {}, but the board asks for {}x{}: change width_px and height_px",
            given.width, given.height, given.fourcc, wanted.width, wanted.height
        ));
    }
    let bytes = match pixels {
        Pixels::Rgb => 3,
        Pixels::Yuyv | Pixels::Mjpeg => 2,
    };
    let packed = given.width as usize * bytes;
    Ok((*pixels, (given.stride as usize).max(packed)))
}

/// What else could be named as the camera.
fn others() -> String {
    let by_id = Path::new("/dev/v4l/by-id");
    let found: Vec<String> = std::fs::read_dir(by_id)
        .into_iter()
        .flatten()
        .filter_map(|entry| Some(entry.ok()?.path().display().to_string()))
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
