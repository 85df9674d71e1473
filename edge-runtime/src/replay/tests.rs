use super::*;
use crate::journal::{JournaledLine, testing};
use crate::line::detect::Detection;
use crate::line::geometry::PixelBox;
use crate::line::{LineConfig, Routes};
use boards::{Destination, MotionSource, Profile};
use std::fs;
use tempfile::TempDir;

/// A line that has one item pass by, which it cannot classify, again and again.
fn journal(folder: &Path, file_bytes: u64, all_bytes: u64, items: i64) {
    let board = Profile::simulated(&["a".to_owned()], 400.0, MotionSource::Fixed).unwrap();
    let routes = Routes::plain(&[Destination::Gate(0)], 0.5, Destination::PassThrough);
    let line = Line::new(LineConfig::new(&board, routes));
    let journal = testing::create(folder, file_bytes, all_bytes);
    let mut line = JournaledLine::new(line, Some(journal));
    let mut out = Vec::new();
    for frame in 0..items * 25 {
        let x0 = (frame % 25 * 32) as u32;
        let area = PixelBox {
            x0: x0.min(640),
            y0: 100,
            x1: (x0 + 150).min(640),
            y1: 250,
        };
        let seen = (area.x1 > area.x0).then_some(Detection {
            area,
            pixels: 1,
            crowded: false,
        });
        let event = Event::Frame {
            t_us: frame * 50_000 + 5_000,
            captured_us: frame * 50_000,
            detections: seen.into_iter().collect(),
        };
        line.handle(&event, &mut out);
        out.clear();
    }
    line.finish().unwrap();
}

const ROOMY: u64 = 1 << 30;

fn one_file(items: i64) -> (TempDir, PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    journal(folder.path(), ROOMY, 2 * ROOMY, items);
    let file = folder.path().join("journal-000001.sjl");
    (folder, file)
}

fn replayed(file: &Path) -> (anyhow::Result<()>, Summary) {
    let mut summary = Summary::default();
    let result = replay(file, false, &mut summary);
    (result, summary)
}

/// Where each record begins, and what it is.
fn records(file: &Path) -> Vec<(usize, Record)> {
    let mut reader = Reader::open(file).unwrap();
    std::iter::from_fn(|| reader.next_record()).collect()
}

#[test]
fn the_same_line_does_the_same_again() {
    let (_folder, file) = one_file(4);
    let (result, summary) = replayed(&file);
    result.unwrap();
    assert_eq!((summary.events, summary.differences), (100, 0));
    assert_eq!(summary.rejected.values().sum::<u64>(), 4);
    assert!(
        summary
            .text()
            .contains("the same commands today, byte for byte")
    );
}

#[test]
fn a_difference_is_said_with_its_place_the_event_and_both_commands() {
    let (_folder, file) = one_file(2);
    let records = records(&file);
    let ended = records.iter().position(|(_, record)| match record {
        Record::Commands(all) => all.iter().any(|c| matches!(c, Command::Ended { .. })),
        _ => false,
    });
    let ended = ended.unwrap();
    let mut changed: Vec<Record> = records.iter().map(|(_, r)| r.clone()).collect();
    let Record::Commands(commands) = &mut changed[ended] else {
        panic!("these are commands");
    };
    for command in commands.iter_mut() {
        if let Command::Ended { end, .. } = command {
            *end = End::PassedThrough;
        }
    }
    fs::write(&file, testing::bytes(&changed)).unwrap();
    let (result, summary) = replayed(&file);
    result.unwrap();
    assert_eq!(summary.differences, 1);
    let said = summary.first_difference.clone().unwrap();
    let event_at = records[ended - 1].0;
    for part in [
        file.display().to_string(),
        format!("at byte {event_at},"),
        "after Frame".to_owned(),
        "then Some(Ended".to_owned(),
        "PassedThrough".to_owned(),
        "today Some(Ended".to_owned(),
        "Rejected(".to_owned(),
    ] {
        assert!(said.contains(&part), "{part}: {said}");
    }
    assert!(!summary.text().contains("byte for byte"));
}

#[test]
fn commands_that_are_given_no_more_or_not_yet_are_differences() {
    let (_folder, file) = one_file(1);
    let all = records(&file);
    let commands = all
        .iter()
        .position(|(_, r)| matches!(r, Record::Commands(_)))
        .unwrap();
    let mut fewer: Vec<Record> = all.iter().map(|(_, r)| r.clone()).collect();
    let taken = fewer.remove(commands);
    fs::write(&file, testing::bytes(&fewer)).unwrap();
    let (result, summary) = replayed(&file);
    result.unwrap();
    assert_eq!(summary.differences, 1);
    assert!(summary.first_difference.unwrap().contains("then None"));
    // After the state and the first event, which has no commands today.
    fewer.insert(2, taken);
    fs::write(&file, testing::bytes(&fewer)).unwrap();
    let (_, summary) = replayed(&file);
    assert!(summary.first_difference.unwrap().contains("today None"));
}

#[test]
fn cut_at_any_byte_it_is_repeated_up_to_the_cut() {
    let (folder, file) = one_file(1);
    let bytes = fs::read(&file).unwrap();
    let cut_file = folder.path().join("cut.sjl");
    let mut before = 0;
    for cut in 0..=bytes.len() {
        fs::write(&cut_file, &bytes[..cut]).unwrap();
        let (result, summary) = replayed(&cut_file);
        assert!(result.is_ok(), "cut at {cut}: {result:?}");
        assert_eq!(summary.differences, 0, "cut at {cut}");
        assert!(before <= summary.events);
        before = summary.events;
    }
    assert_eq!(before, 25);
}

#[test]
fn damage_is_said_with_its_place() {
    let (_folder, file) = one_file(1);
    let at = records(&file)[3].0;
    let mut bytes = fs::read(&file).unwrap();
    bytes[at + 9] ^= 1;
    fs::write(&file, bytes).unwrap();
    let (result, summary) = replayed(&file);
    let error = result.unwrap_err().to_string();
    assert!(error.contains(&format!("damaged at byte {at}:")), "{error}");
    assert!(summary.events > 0);
}

#[test]
fn what_is_left_of_a_journal_that_was_too_long_is_repeated() {
    let folder = tempfile::tempdir().unwrap();
    journal(folder.path(), 60_000, 600_000, 3_000);
    let files = Reader::files(folder.path()).unwrap();
    assert!(files.len() > 1, "{files:?}");
    assert!(!files[0].ends_with("journal-000001.sjl"), "{files:?}");
    let mut summary = Summary::default();
    for file in files {
        replay(&file, false, &mut summary).unwrap();
    }
    assert_eq!(summary.differences, 0);
    assert!((1..75_000).contains(&summary.events), "{}", summary.events);
}
