//! The kernel's PWM channels, through sysfs (`Documentation/ABI/testing/sysfs-class-pwm`).

use boards::PwmChannel;
use embedded_hal::pwm::{Error, ErrorKind, ErrorType, SetDutyCycle};
use std::fs::{File, OpenOptions};
use std::io::{self, Write as _};
use std::os::fd::{AsRawFd, RawFd};
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// Where the kernel shows its PWM chips.
pub(crate) const CLASS: &str = "/sys/class/pwm";
/// udev gives the files of a channel their owner some time after it was exported.
const EXPORT: Duration = Duration::from_secs(1);

/// A channel that gives pulses. They go on as they are when the program ends.
#[derive(Debug)]
pub(crate) struct SysfsPwm {
    duty: File,
    period_ns: u64,
}

impl SysfsPwm {
    /// Takes a channel and lets it give pulses of no length.
    ///
    /// # Errors
    /// A sentence that names the channel and what is wrong.
    pub(crate) fn open(class: &Path, pwm: &PwmChannel, period_us: f64) -> Result<Self, String> {
        let fail = |what: String| format!("{pwm}: {what}");
        let chip = find(class, &pwm.chip).map_err(fail)?;
        let channel = chip.join(format!("pwm{}", pwm.channel));
        let broken = |e: io::Error| fail(format!("{}: {e}", channel.display()));
        if !channel.is_dir() {
            write(&chip.join("export"), &pwm.channel.to_string()).map_err(broken)?;
        }
        let period_ns = (period_us * 1_000.0).round() as u64;
        let begin = Instant::now();
        // Until it may be written to.
        let duty = loop {
            match OpenOptions::new()
                .write(true)
                .open(channel.join("duty_cycle"))
            {
                Ok(file) => break file,
                Err(error) if begin.elapsed() > EXPORT => return Err(broken(error)),
                Err(_) => std::thread::sleep(Duration::from_millis(10)),
            }
        };
        let pwm = Self { duty, period_ns };
        // A period shorter than the pulse is refused, and so is a pulse longer than the period.
        pwm.write_ns(0).map_err(broken)?;
        write(&channel.join("period"), &period_ns.to_string()).map_err(broken)?;
        write(&channel.join("enable"), "1").map_err(broken)?;
        Ok(pwm)
    }

    fn write_ns(&self, ns: u64) -> io::Result<()> {
        self.duty.write_all_at(format!("{ns}\n").as_bytes(), 0)
    }
}

impl AsRawFd for SysfsPwm {
    fn as_raw_fd(&self) -> RawFd {
        self.duty.as_raw_fd()
    }
}

fn write(file: &Path, text: &str) -> io::Result<()> {
    OpenOptions::new()
        .write(true)
        .open(file)?
        .write_all(text.as_bytes())
}

/// The folder of the chip whose device has this name.
pub(crate) fn find(class: &Path, device: &str) -> Result<PathBuf, String> {
    let mut names = Vec::new();
    for entry in std::fs::read_dir(class).into_iter().flatten().flatten() {
        let chip = entry.path();
        let link = std::fs::read_link(chip.join("device"));
        let Some(name) = link.ok().and_then(|l| Some(l.file_name()?.to_owned())) else {
            continue;
        };
        if name.to_str() == Some(device) {
            return Ok(chip);
        }
        names.push(name.to_string_lossy().into_owned());
    }
    match names.is_empty() {
        true => Err(format!(
            "the kernel has no PWM chip ({}): it may have to be switched on in the device tree",
            class.display()
        )),
        false => Err(format!("no such chip; there are {}", names.join(", "))),
    }
}

/// What the kernel said.
#[derive(Debug)]
pub(crate) struct PwmError(#[expect(dead_code, reason = "shown by Debug")] io::Error);

impl Error for PwmError {
    fn kind(&self) -> ErrorKind {
        ErrorKind::Other
    }
}

impl ErrorType for SysfsPwm {
    type Error = PwmError;
}

impl SetDutyCycle for SysfsPwm {
    fn max_duty_cycle(&self) -> u16 {
        u16::MAX
    }

    fn set_duty_cycle(&mut self, duty: u16) -> Result<(), PwmError> {
        let ns = self.period_ns * u64::from(duty) / u64::from(u16::MAX);
        self.write_ns(ns).map_err(PwmError)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::actuate::{Actuator as _, Servo};

    /// A folder with the kernel's files for one channel, which has been exported already.
    fn class() -> tempfile::TempDir {
        let folder = tempfile::tempdir().unwrap();
        let channel = folder.path().join("pwmchip2/pwm1");
        std::fs::create_dir_all(&channel).unwrap();
        for file in ["duty_cycle", "period", "enable"] {
            std::fs::write(channel.join(file), "").unwrap();
        }
        std::os::unix::fs::symlink("../../fe20c000.pwm", folder.path().join("pwmchip2/device"))
            .unwrap();
        folder
    }

    fn channel(chip: &str) -> PwmChannel {
        PwmChannel {
            chip: chip.into(),
            channel: 1,
        }
    }

    #[test]
    fn a_servo_writes_pulses_in_nanoseconds() {
        let class = class();
        let pwm = SysfsPwm::open(class.path(), &channel("fe20c000.pwm"), 20_000.0).unwrap();
        let read = |file| {
            let file = class.path().join("pwmchip2/pwm1").join(file);
            let text = std::fs::read_to_string(file).unwrap();
            text.lines().next().unwrap().parse::<u64>().unwrap()
        };
        assert_eq!((read("period"), read("enable")), (20_000_000, 1));
        let mut servo = Servo::new(pwm, (1_000.0, 2_000.0), 20_000.0).unwrap();
        assert!(read("duty_cycle").abs_diff(1_000_000) < 400);
        servo.set(true).unwrap();
        assert!(read("duty_cycle").abs_diff(2_000_000) < 400);
    }

    #[test]
    fn a_chip_that_is_not_there_is_named_with_those_that_are() {
        let class = class();
        let error = SysfsPwm::open(class.path(), &channel("other"), 20_000.0).unwrap_err();
        assert!(error.contains("there are fe20c000.pwm"), "{error}");
        let nothing = tempfile::tempdir().unwrap();
        let error = SysfsPwm::open(nothing.path(), &channel("other"), 20_000.0).unwrap_err();
        assert!(error.contains("no PWM chip"), "{error}");
    }
}
