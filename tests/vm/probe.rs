//! What the shell of the virtual machine is too slow for: acts at a very instant and measures, to the
//! microsecond, what becomes of a file of gpio-sim.
//!
//!     probe signal PID NUMBER FILE VALUE    sends a signal, waits until FILE says VALUE
//!     probe write FILE TEXT FILE VALUE      writes, waits until the second FILE says VALUE
//!     probe pulses FILE COUNT PERIOD_US     pulls a line up and down
//!     probe glitch FILE ON_US               pulls a line up, for a moment; prints the microseconds that it
//!                                           really was at the most
//!
//! The first two print the milliseconds that it took and fail after four seconds.

use std::time::{Duration, Instant};

unsafe extern "C" {
    fn kill(pid: i32, signal: i32) -> i32;
}

const LONGEST: Duration = Duration::from_secs(4);

fn main() {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let args: Vec<&str> = args.iter().map(String::as_str).collect();
    match args[..] {
        ["signal", pid, signal, file, value] => {
            let (pid, signal) = (number(pid), number(signal));
            wait(file, value, || {
                // SAFETY: kill touches no memory.
                unsafe { kill(pid as i32, signal as i32) };
            });
        }
        ["write", file, text, seen, value] => wait(seen, value, || write(file, text)),
        ["pulses", file, count, period_us] => {
            let half = Duration::from_micros(number(period_us) / 2);
            for _ in 0..number(count) {
                for pull in ["pull-up", "pull-down"] {
                    write(file, pull);
                    std::thread::sleep(half);
                }
            }
        }
        ["glitch", file, on_us] => {
            let begin = Instant::now();
            write(file, "pull-up");
            while begin.elapsed() < Duration::from_micros(number(on_us)) {}
            write(file, "pull-down");
            println!("{}", begin.elapsed().as_micros());
        }
        _ => panic!("no such use: {args:?}"),
    }
}

fn number(text: &str) -> u64 {
    text.parse().expect("a number")
}

fn write(file: &str, text: &str) {
    std::fs::write(file, text).expect("a file of gpio-sim");
}

fn wait(file: &str, value: &str, act: impl FnOnce()) {
    let begin = Instant::now();
    act();
    while std::fs::read_to_string(file).expect("a file of gpio-sim").trim() != value {
        if begin.elapsed() > LONGEST {
            eprintln!("{file} did not become {value}");
            std::process::exit(1);
        }
    }
    println!("{:.2}", begin.elapsed().as_secs_f64() * 1000.0);
}
