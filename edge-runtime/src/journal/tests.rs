use super::*;
use crate::line::{LineConfig, Routes};
use boards::{Destination, MotionSource, Profile};
use proptest::prelude::*;
use std::path::Path;

fn line() -> Line {
    let categories = ["a".to_owned(), "b".to_owned()];
    let board = Profile::simulated(&categories, 400.0, MotionSource::Fixed).unwrap();
    let ways = [Destination::Gate(0), Destination::Gate(1)];
    Line::new(LineConfig::new(
        &board,
        Routes::plain(&ways, 0.5, Destination::PassThrough),
    ))
}

fn events(count: i64) -> Vec<Event> {
    let event = |n: i64| match n % 7 {
        3 => Event::Stop { t_us: n * 1000 },
        4 => Event::Resume { t_us: n * 1000 },
        _ => Event::Tick { t_us: n * 1000 },
    };
    (0..count).map(event).collect()
}

fn write(folder: &Path, limits: Limits, count: i64) {
    let journal = Journal::create(folder, limits, true).unwrap();
    let mut line = JournaledLine::new(line(), Some(journal));
    let mut out = Vec::new();
    for event in events(count) {
        line.handle(&event, &mut out);
        out.clear();
    }
    line.finish().unwrap();
}

fn read(bytes: &[u8]) -> (Vec<Record>, Ending) {
    let mut reader = Reader::new(bytes.to_vec()).unwrap();
    let records = std::iter::from_fn(|| reader.next_record());
    let records = records.map(|(_, record)| record).collect();
    (records, reader.ending())
}

const ROOMY: Limits = Limits {
    file_bytes: 1 << 30,
    all_bytes: 1 << 31,
};

fn journal_bytes(count: i64) -> Vec<u8> {
    let folder = tempfile::tempdir().unwrap();
    write(folder.path(), ROOMY, count);
    std::fs::read(folder.path().join("journal-000001.sjl")).unwrap()
}

#[test]
fn what_is_written_is_read() {
    let (records, ending) = read(&journal_bytes(50));
    assert_eq!(ending, Ending::Complete);
    assert_eq!(records[0], Record::State(Box::new(line())));
    let found = records.iter().filter_map(|r| match r {
        Record::Event(event) => Some(event.clone()),
        _ => None,
    });
    assert_eq!(found.collect::<Vec<_>>(), events(50));
    let commands = records.iter().filter(|r| matches!(r, Record::Commands(_)));
    assert_eq!(commands.count(), 7, "one for every stop");
}

#[test]
fn movements_are_written_where_the_line_learned_of_them() {
    let folder = tempfile::tempdir().unwrap();
    let journal = Journal::create(folder.path(), ROOMY, true).unwrap();
    let mut line = JournaledLine::new(line(), Some(journal));
    let movement = Movement {
        gate: 1,
        on: true,
        planned_us: 1_000,
        actual_us: 1_020,
        read_back_us: 1_050,
    };
    line.handle(&Event::Tick { t_us: 2_000 }, &mut Vec::new());
    line.moved(&movement);
    line.finish().unwrap();
    let bytes = std::fs::read(folder.path().join("journal-000001.sjl")).unwrap();
    let (records, _) = read(&bytes);
    assert_eq!(records[2..], [Record::Moved(movement)]);
}

#[test]
fn cut_at_any_byte_it_is_read_up_to_the_cut() {
    let bytes = journal_bytes(20);
    let (all, _) = read(&bytes);
    for cut in 0..bytes.len() {
        let (records, ending) = read(&bytes[..cut]);
        assert_eq!(records[..], all[..records.len()], "{cut}");
        match ending {
            Ending::Cut(at) => assert!(at <= cut),
            Ending::Complete => assert!(cut >= MAGIC.len()),
            Ending::Damaged(_) => panic!("a cut at {cut} is taken for damage"),
        }
    }
}

#[test]
fn the_files_stay_within_their_bounds_and_each_can_be_read_alone() {
    let folder = tempfile::tempdir().unwrap();
    let limits = Limits {
        file_bytes: 60_000,
        all_bytes: 500_000,
    };
    for _ in 0..2 {
        write(folder.path(), limits, 60_000);
    }
    let files = Reader::files(folder.path()).unwrap();
    assert!(files.len() > 2, "{files:?}");
    let sizes = files.iter().map(|f| std::fs::metadata(f).unwrap().len());
    // A file may grow by what waits in the queue while it is full.
    let slack = (QUEUE * 64) as u64;
    assert!(sizes.sum::<u64>() < limits.all_bytes + slack);
    for file in &files {
        let (records, ending) = read(&std::fs::read(file).unwrap());
        assert_eq!(ending, Ending::Complete, "{file:?}");
        assert!(matches!(records[0], Record::State(_)), "{file:?}");
    }
}

#[test]
fn a_folder_that_cannot_be_made_is_an_error() {
    let file = tempfile::NamedTempFile::new().unwrap();
    assert!(Journal::create(file.path(), ROOMY, true).is_err());
}

proptest! {
    /// Changed bytes are noticed; any bytes whatever give records or an ending.
    #[test]
    fn damage_is_noticed(place: prop::sample::Index, bit in 0..8u32, tail: Vec<u8>) {
        let mut bytes = journal_bytes(10);
        let (all, _) = read(&bytes);
        let at = MAGIC.len() + place.index(bytes.len() - MAGIC.len());
        bytes[at] ^= 1 << bit;
        bytes.extend(tail);
        let (records, ending) = read(&bytes);
        prop_assert!(records.len() < all.len());
        prop_assert_eq!(&records[..], &all[..records.len()]);
        prop_assert_ne!(ending, Ending::Complete);
    }

    #[test]
    fn any_bytes_are_read_without_panic(bytes: Vec<u8>) {
        let mut all = MAGIC.to_vec();
        all.extend(bytes);
        read(&all);
    }
}
