//! Outputs of GPIO chips, through the kernel's character device.

use boards::{GpioLine, Pin};
use embedded_hal::digital::{Error, ErrorKind, ErrorType, OutputPin, StatefulOutputPin};
use gpiocdev::Request;
use gpiocdev::chip::{Chip, chips};
use gpiocdev::line::Value;
use std::os::fd::{AsRawFd, RawFd};
use std::path::PathBuf;

/// The name under which lines are held.
pub(crate) const OWNER: &str = "sortline";

/// One line, held from opening to dropping. Active means on; the kernel knows the polarity.
#[derive(Debug)]
pub(crate) struct GpioPin {
    request: Request,
}

impl GpioPin {
    /// Requests a line as an output that is off.
    ///
    /// # Errors
    /// A sentence that says what is wrong.
    pub(crate) fn open(pin: &Pin) -> Result<Self, String> {
        let (chip, offset) = find(&pin.line).ok_or_else(not_found)?;
        let mut builder = Request::builder();
        builder
            .with_consumer(OWNER)
            .on_chip(&chip)
            .with_line(offset)
            .as_output(Value::Inactive);
        if pin.active_low {
            builder.as_active_low();
        }
        let request = builder
            .request()
            .map_err(|e| format!("{}: {e}", chip.display()))?;
        Ok(Self { request })
    }

    fn set(&mut self, value: Value) -> Result<(), GpioError> {
        self.request.set_lone_value(value).map_err(GpioError)
    }
}

impl AsRawFd for GpioPin {
    fn as_raw_fd(&self) -> RawFd {
        self.request.as_raw_fd()
    }
}

/// The chip and the offset of a line.
pub(crate) fn find(line: &GpioLine) -> Option<(PathBuf, u32)> {
    match line {
        GpioLine::Named(name) => {
            let found = gpiocdev::find_named_line(name)?;
            Some((found.chip, found.info.offset))
        }
        GpioLine::Offset { chip, offset } => {
            let labelled = |path: &PathBuf| {
                let info = Chip::from_path(path).and_then(|c| c.info());
                info.is_ok_and(|info| info.label == *chip && *offset < info.num_lines)
            };
            let path = chips().ok()?.into_iter().find(labelled)?;
            Some((path, *offset))
        }
    }
}

/// What there is instead.
pub(crate) fn not_found() -> String {
    let labels: Vec<String> = chips()
        .unwrap_or_default()
        .into_iter()
        .filter_map(|path| Some(Chip::from_path(path).ok()?.info().ok()?.label))
        .collect();
    if labels.is_empty() {
        return "there is no GPIO chip that this user may open (/dev/gpiochip*)".to_owned();
    }
    format!("no such line; the GPIO chips are {}", labels.join(", "))
}

/// What the kernel said.
#[derive(Debug)]
pub(crate) struct GpioError(#[expect(dead_code, reason = "shown by Debug")] gpiocdev::Error);

impl Error for GpioError {
    fn kind(&self) -> ErrorKind {
        ErrorKind::Other
    }
}

impl ErrorType for GpioPin {
    type Error = GpioError;
}

impl OutputPin for GpioPin {
    fn set_low(&mut self) -> Result<(), GpioError> {
        self.set(Value::Inactive)
    }

    fn set_high(&mut self) -> Result<(), GpioError> {
        self.set(Value::Active)
    }
}

impl StatefulOutputPin for GpioPin {
    fn is_set_high(&mut self) -> Result<bool, GpioError> {
        let value = self.request.lone_value().map_err(GpioError)?;
        Ok(value == Value::Active)
    }

    fn is_set_low(&mut self) -> Result<bool, GpioError> {
        self.is_set_high().map(|high| !high)
    }
}
