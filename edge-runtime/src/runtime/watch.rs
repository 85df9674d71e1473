//! Whether every part makes progress, and who is told of it.

use crate::clock::Clock;
use crate::keeper::Keeper;
use anyhow::bail;
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};
use std::time::Duration;

/// The threads of the runtime.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Part {
    Gates,
    Line,
    Sensors,
    Detector,
    Classifier,
    Capture,
}

/// Every part with its name and for how long it may be busy with one thing.
const PARTS: [(Part, &str, i64); 6] = [
    (Part::Gates, "gates", 2_000_000),
    (Part::Line, "line", 2_000_000),
    (Part::Sensors, "sensors", 2_000_000),
    (Part::Detector, "detector", 5_000_000),
    (Part::Classifier, "classifier", 10_000_000),
    // A camera that is opened again may take its time.
    (Part::Capture, "camera", 15_000_000),
];
/// A part that waits, for as long as it takes.
const RESTS: i64 = i64::MAX;
/// How often all parts are looked at and the keepers are told.
const PERIOD: Duration = Duration::from_millis(50);
/// So long the keepers are told that all is well while the parts end.
const ENDING_US: i64 = 5_000_000;

/// What the parts say of themselves.
pub(crate) struct Watch<'a> {
    stop: &'a AtomicBool,
    clock: &'a Clock,
    seen_us: [AtomicI64; PARTS.len()],
    ended: AtomicBool,
}

impl<'a> Watch<'a> {
    /// Of parts that end when `stop` is set.
    pub(crate) fn new(stop: &'a AtomicBool, clock: &'a Clock) -> Self {
        Self {
            stop,
            clock,
            seen_us: std::array::from_fn(|_| AtomicI64::new(RESTS)),
            ended: AtomicBool::new(false),
        }
    }

    /// Says that a part makes progress; `false` when it is to end.
    pub(crate) fn goes_on(&self, part: Part) -> bool {
        let now_us = self.clock.now_us();
        self.seen_us[part as usize].store(now_us, Ordering::Release);
        !self.stop.load(Ordering::Acquire)
    }

    /// Says that a part waits for work.
    pub(crate) fn rests(&self, part: Part) {
        self.seen_us[part as usize].store(RESTS, Ordering::Release);
    }

    /// The time on the clock of all parts.
    pub(crate) fn now_us(&self) -> i64 {
        self.clock.now_us()
    }

    /// Says that all other parts have ended.
    pub(crate) fn ended(&self) {
        self.ended.store(true, Ordering::Release);
    }

    /// A part that makes no progress.
    fn stalled(&self) -> Option<String> {
        let now_us = self.clock.now_us();
        PARTS.iter().find_map(|(part, name, longest_us)| {
            let since_us = now_us
                - self.seen_us[*part as usize]
                    .load(Ordering::Acquire)
                    .min(now_us);
            let ms = since_us / 1000;
            (since_us > *longest_us).then(|| format!("the {name} thread has not moved for {ms} ms"))
        })
    }

    /// Tells the keepers that all is well, for as long as it is, until the other parts have ended.
    ///
    /// # Errors
    /// When a part is stalled or a keeper has gone. Where a stalled part does not end, nobody is told
    /// that all is well any more, so that the keepers act.
    pub(crate) fn run(&self, keepers: &mut [Box<dyn Keeper>]) -> anyhow::Result<()> {
        let mut stopped_us = None;
        while !self.ended.load(Ordering::Acquire) {
            if self.stop.load(Ordering::Acquire) {
                let now_us = self.clock.now_us();
                if now_us - *stopped_us.get_or_insert(now_us) > ENDING_US {
                    return Ok(());
                }
            } else if let Some(what) = self.stalled() {
                // Said at once: it may be that nobody is left to pass it on.
                eprintln!("error: {what}; everything is switched off");
                bail!("{what}");
            }
            for keeper in keepers.iter_mut() {
                keeper.well().map_err(anyhow::Error::msg)?;
            }
            std::thread::park_timeout(PERIOD);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_part_has_its_own_place() {
        for (index, (part, ..)) in PARTS.iter().enumerate() {
            assert_eq!(*part as usize, index);
        }
    }

    #[test]
    fn a_part_stalls_after_its_own_time_and_one_that_rests_never() {
        let (stop, clock) = (AtomicBool::new(false), Clock::virtual_time());
        let watch = Watch::new(&stop, &clock);
        assert!(watch.goes_on(Part::Gates) && watch.goes_on(Part::Detector));
        clock.set(2_000_000);
        assert_eq!(watch.stalled(), None);
        clock.set(2_000_001);
        assert!(watch.stalled().unwrap().contains("gates thread"));
        watch.rests(Part::Gates);
        assert_eq!(watch.stalled(), None);
        clock.set(5_000_001);
        assert!(watch.stalled().unwrap().contains("detector thread"));
        assert!(watch.goes_on(Part::Detector));
        assert_eq!(watch.stalled(), None);
        stop.store(true, Ordering::Release);
        assert!(!watch.goes_on(Part::Line));
    }

    /// Counts how often it is told that all is well, and goes after the second time.
    struct Leaving(std::sync::Arc<AtomicI64>);

    impl Keeper for Leaving {
        fn well(&mut self) -> Result<(), String> {
            match self.0.fetch_add(1, Ordering::Relaxed) {
                0 | 1 => Ok(()),
                _ => Err("gone".to_owned()),
            }
        }
    }

    #[test]
    fn a_keeper_that_has_gone_ends_everything() {
        let (stop, clock) = (AtomicBool::new(false), Clock::virtual_time());
        let told = std::sync::Arc::default();
        let watch = Watch::new(&stop, &clock);
        let result = watch.run(&mut [Box::new(Leaving(std::sync::Arc::clone(&told)))]);
        assert_eq!(result.unwrap_err().to_string(), "gone");
        assert_eq!(told.load(Ordering::Relaxed), 3);
    }

    #[test]
    fn while_a_part_is_stalled_nobody_is_told_that_all_is_well() {
        let (stop, clock) = (AtomicBool::new(false), Clock::virtual_time());
        let told = std::sync::Arc::default();
        let watch = Watch::new(&stop, &clock);
        watch.goes_on(Part::Line);
        clock.set(2_500_000);
        let result = watch.run(&mut [Box::new(Leaving(std::sync::Arc::clone(&told)))]);
        assert!(result.unwrap_err().to_string().contains("line thread"));
        assert_eq!(told.load(Ordering::Relaxed), 0);
    }
}
