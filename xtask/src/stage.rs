//! Stages of a chore, each timed.

use std::time::{Duration, Instant};

/// The stages run so far, with how long each took.
pub(crate) struct Stages {
    chore: &'static str,
    done: Vec<(String, Duration)>,
}

impl Stages {
    pub(crate) fn new(chore: &'static str) -> Self {
        Self {
            chore,
            done: Vec::new(),
        }
    }

    /// Announces and runs a stage; an error names the stage it came from.
    pub(crate) fn run<T>(
        &mut self,
        name: &str,
        stage: impl FnOnce() -> Result<T, String>,
    ) -> Result<T, String> {
        eprintln!("=== {}: {name}", self.chore);
        let start = Instant::now();
        let result = stage().map_err(|error| format!("{} failed at '{name}': {error}", self.chore));
        self.done.push((name.to_owned(), start.elapsed()));
        if result.is_err() {
            self.print();
        }
        result
    }

    /// Prints the table of stages.
    pub(crate) fn print(&self) {
        let total: Duration = self.done.iter().map(|(_, took)| *took).sum();
        eprintln!("=== {}: how long each stage took", self.chore);
        for (name, took) in &self.done {
            eprintln!("{:>8.1} s  {name}", took.as_secs_f64());
        }
        eprintln!("{:>8.1} s  in all", total.as_secs_f64());
    }
}
