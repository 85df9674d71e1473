//! The guardian: a second, small process that makes the outputs safe when the program cannot.
//!
//! It has the outputs' own file descriptors, so the program switches them as fast as without it, the
//! kernel does not let go of a line when the program dies, and nothing has to be requested anew. A
//! pipe from the program tells it what is the case:
//!
//! - a byte many times a second: all is well;
//! - the pipe is closed: the program has died, of whatever (a [`Lifeline`] tells it even sooner);
//! - nothing for [`custody::SILENT_US`]: it hangs;
//! - [`ENDING`]: it ends in good order.
//!
//! It also looks at the outputs themselves every [`STEP`], so that a gate that stays on for too long
//! is switched off whatever the program believes. A program that hangs, or leaves a gate on, is killed
//! first: it could switch on again what was switched off.

mod custody;

use super::Keeper;
use super::lifeline::{self, Lifeline};
use crate::clock::Clock;
use crate::runtime::realtime;
use anyhow::{Context as _, bail};
use custody::{Breach, Custody, Heard};
use gpiocdev_uapi::v2::{LineValues, get_line_values, set_line_values};
use std::fs::File;
use std::io::{self, Read as _, Write as _};
use std::os::fd::{AsFd as _, AsRawFd as _, FromRawFd as _, RawFd};
use std::os::unix::fs::FileExt as _;
use std::os::unix::process::CommandExt as _;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

/// How often it looks at the outputs.
const STEP: Duration = Duration::from_millis(10);
/// Said when the program ends in good order.
const ENDING: u8 = b'e';

/// An output that is guarded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Guarded {
    pub(crate) fd: RawFd,
    pub(crate) safe: Safe,
    pub(crate) name: String,
}

/// What makes an output safe.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Safe {
    /// A line that is to be off, and may be on for so many microseconds at the most, if that is known.
    Off(Option<i64>),
    /// A line that is to be on for so many microseconds, then off.
    OnFor(i64),
    /// A PWM channel that is to give pulses of so many nanoseconds.
    PulseNs(u64),
}

/// The program's side: a guardian that runs.
pub(crate) struct Guardian {
    child: Child,
    _lifeline: Lifeline,
}

impl Guardian {
    /// Starts the guardian of these outputs. The calling thread is to live as long as the program.
    ///
    /// # Errors
    /// A sentence about why there is none.
    pub(crate) fn start(outputs: &[Guarded]) -> Result<Self, String> {
        let fail = |e: io::Error| format!("the outputs' guardian cannot be started: {e}");
        let lifeline = Lifeline::hold().map_err(fail)?;
        let mut command = Command::new("/proc/self/exe");
        command
            .args(["guard", "--lifeline", &lifeline.fd().to_string()])
            .args(outputs.iter().map(argument))
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            // What ends the program by the terminal is not to end the guardian.
            .process_group(0);
        let fds = || outputs.iter().map(|o| o.fd).chain([lifeline.fd()]);
        fds().try_for_each(|fd| inherit(fd, true)).map_err(fail)?;
        let child = command.spawn();
        fds().try_for_each(|fd| inherit(fd, false)).map_err(fail)?;
        Ok(Self {
            child: child.map_err(fail)?,
            _lifeline: lifeline,
        })
    }
}

impl Keeper for Guardian {
    fn well(&mut self) -> Result<(), String> {
        if let Ok(Some(status)) = self.child.try_wait() {
            return Err(format!("the outputs' guardian has gone ({status})"));
        }
        let Some(pipe) = &mut self.child.stdin else {
            return Ok(());
        };
        pipe.write_all(b".").map_err(|error| match error.kind() {
            // It is ending, and nobody has been told how yet.
            io::ErrorKind::BrokenPipe => "the outputs' guardian has gone".to_owned(),
            _ => format!("the outputs' guardian does not listen: {error}"),
        })
    }

    fn ending(&mut self) {
        // One that has gone need not know.
        let _ = self
            .child
            .stdin
            .take()
            .map(|mut pipe| pipe.write_all(&[ENDING]));
    }
}

impl Drop for Guardian {
    fn drop(&mut self) {
        self.ending();
        // The lines are free when it has gone.
        let _ = self.child.wait();
    }
}

/// Whether a process that is started now gets this file descriptor.
fn inherit(fd: RawFd, inherited: bool) -> io::Result<()> {
    let flags = if inherited { 0 } else { libc::FD_CLOEXEC };
    // SAFETY: F_SETFD takes a number and touches no memory; a wrong descriptor is an error.
    match unsafe { libc::fcntl(fd, libc::F_SETFD, flags) } {
        -1 => Err(io::Error::last_os_error()),
        _ => Ok(()),
    }
}

fn argument(output: &Guarded) -> String {
    let Guarded { fd, safe, name } = output;
    match safe {
        Safe::Off(limit_us) => format!("off:{fd}:{}:{name}", limit_us.unwrap_or(0)),
        Safe::OnFor(us) => format!("on:{fd}:{us}:{name}"),
        Safe::PulseNs(ns) => format!("pulse:{fd}:{ns}:{name}"),
    }
}

fn parse(argument: &str) -> Option<Guarded> {
    let mut parts = argument.splitn(4, ':');
    let (kind, fd) = (parts.next()?, parts.next()?.parse().ok()?);
    let (number, name) = (parts.next()?, parts.next()?.to_owned());
    let safe = match kind {
        "off" => Safe::Off(number.parse().ok().filter(|us| *us > 0)),
        "on" => Safe::OnFor(number.parse().ok()?),
        "pulse" => Safe::PulseNs(number.parse().ok()?),
        _ => return None,
    };
    Some(Guarded { fd, safe, name })
}

/// Guard outputs of the program that starts this; not for use by hand.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// What tells of the program's death before the pipe does
    #[arg(long, value_name = "FD")]
    lifeline: Option<RawFd>,
    /// The outputs
    #[arg(value_name = "KIND:FD:NUMBER:NAME")]
    outputs: Vec<String>,
}

/// The guardian itself: ends with the program that it was started by.
pub(crate) fn run(args: &Args) -> anyhow::Result<()> {
    let mut outputs = Vec::new();
    for argument in &args.outputs {
        let Some(output) = parse(argument) else {
            bail!("\"{argument}\" is no output");
        };
        // SAFETY: the program that starts this hands the descriptor over, and nobody else here has it.
        // One that is not open only makes the calls on it fail.
        let file = unsafe { File::from_raw_fd(output.fd) };
        outputs.push((output, file));
    }
    let program = std::os::unix::process::parent_id();
    harden().context("the guardian cannot catch signals")?;
    let mut pipe = File::from(io::stdin().as_fd().try_clone_to_owned()?);
    let died = Arc::new(AtomicBool::new(false));
    if let Some(fd) = args.lifeline {
        watch_lifeline(fd, Arc::clone(&died));
    }
    let clock = Clock::Monotonic;
    let mut custody = Custody::new(&outputs, clock.now_us());
    let breach = loop {
        let heard = match listen(&mut pipe) {
            // What was said before counts more: a program that ends in good order dies as well.
            Heard::Nothing | Heard::Well if died.load(Ordering::Acquire) => Heard::Closed,
            heard => heard,
        };
        let on: Vec<bool> = outputs.iter().map(|(_, file)| is_on(file)).collect();
        if let Some(breach) = custody.judge(clock.now_us(), heard, &on) {
            break breach;
        }
    };
    if matches!(breach, Breach::Hangs { .. } | Breach::TooLong { .. }) {
        kill(program);
    }
    make_safe(&outputs);
    if breach != Breach::Ended {
        // Whatever it did while it was dying is undone as well.
        while listen(&mut pipe) != Heard::Closed {}
        make_safe(&outputs);
        // A terminal that has gone is no reason to fail.
        let _ = writeln!(io::stderr(), "guardian: {breach}; the outputs are off");
    }
    Ok(())
}

fn watch_lifeline(fd: RawFd, died: Arc<AtomicBool>) {
    std::thread::spawn(move || match lifeline::wait_for_death(fd) {
        Ok(()) => died.store(true, Ordering::Release),
        // Then the pipe tells.
        Err(error) => {
            let _ = writeln!(io::stderr(), "guardian: no lifeline: {error}");
        }
    });
}

/// Makes it hard to get rid of: only SIGKILL does.
fn harden() -> io::Result<()> {
    use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
    for signal in [SIGHUP, SIGINT, SIGTERM] {
        signal_hook::flag::register(signal, Arc::default())?;
    }
    // Under another name it is not meant when the program is killed by name. Without rights for the
    // rest it guards all the same; the program has said already what it lacks.
    let _ = std::fs::write("/proc/self/comm", "sortline-guard");
    let _ = std::fs::write("/proc/self/oom_score_adj", "-1000");
    let _ = realtime::enter(realtime::GATES);
    let _ = realtime::lock_memory();
    Ok(())
}

fn is_on(line: &File) -> bool {
    let mut values = LineValues::from_slice(&[false]);
    get_line_values(line, &mut values).is_ok() && values.get(0) == Some(true)
}

fn set(line: &File, on: bool) {
    // Nothing could be done about a failure; the others are still to be switched.
    let _ = set_line_values(line, &LineValues::from_slice(&[on]));
}

fn make_safe(outputs: &[(Guarded, File)]) {
    let mut longest_us = 0;
    for (output, file) in outputs {
        match output.safe {
            Safe::Off(_) => set(file, false),
            Safe::OnFor(us) => longest_us = longest_us.max(us),
            Safe::PulseNs(ns) => {
                let _ = file.write_all_at(format!("{ns}\n").as_bytes(), 0);
            }
        }
    }
    let strokes = || {
        let all = outputs.iter();
        all.filter(|(output, _)| matches!(output.safe, Safe::OnFor(_)))
    };
    strokes().for_each(|(_, file)| set(file, true));
    std::thread::sleep(Duration::from_micros(longest_us.unsigned_abs()));
    strokes().for_each(|(_, file)| set(file, false));
}

fn kill(program: u32) {
    let pid = libc::pid_t::try_from(program).unwrap_or(0);
    // A parent that has died already is not ours any more, and its number may be another's.
    if pid > 1 && std::os::unix::process::parent_id() == program {
        // SAFETY: kill touches no memory; the number is that of the parent.
        unsafe { libc::kill(pid, libc::SIGKILL) };
    }
}

/// Waits a step for a word from the program.
fn listen(pipe: &mut File) -> Heard {
    let mut fd = libc::pollfd {
        fd: pipe.as_raw_fd(),
        events: libc::POLLIN,
        revents: 0,
    };
    // SAFETY: `fd` is one valid entry, which poll writes to during the call only.
    let ready = unsafe { libc::poll(&mut fd, 1, STEP.as_millis() as libc::c_int) };
    if ready <= 0 {
        return Heard::Nothing;
    }
    let mut bytes = [0; 64];
    match pipe.read(&mut bytes) {
        Ok(0) => Heard::Closed,
        Ok(n) if bytes[..n].contains(&ENDING) => Heard::Ending,
        Ok(_) => Heard::Well,
        Err(error) if error.kind() == io::ErrorKind::Interrupted => Heard::Nothing,
        Err(_) => Heard::Closed,
    }
}

#[cfg(test)]
mod tests;
