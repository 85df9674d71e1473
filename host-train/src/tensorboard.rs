//! A run's measurements as TensorBoard reads them.
//!
//! An event file is a row of records (TFRecord): the length of the data as 8 bytes, a checksum of
//! these, the data, a checksum of it, all little-endian. The data is a protobuf `Event`.

use prost::Message;

use crate::checkpoint::Epoch;

/// The name of a run's file; TensorBoard looks for `tfevents`.
pub(crate) const FILE: &str = "events.out.tfevents.0.sortline";

/// `tensorflow.Event`, as far as it is used here.
#[derive(Clone, PartialEq, Message)]
struct Event {
    /// Seconds since 1970.
    #[prost(double, tag = "1")]
    wall_time: f64,
    #[prost(int64, tag = "2")]
    step: i64,
    #[prost(string, optional, tag = "3")]
    file_version: Option<String>,
    #[prost(message, optional, tag = "5")]
    summary: Option<Summary>,
}

#[derive(Clone, PartialEq, Message)]
struct Summary {
    #[prost(message, repeated, tag = "1")]
    value: Vec<Scalar>,
}

#[derive(Clone, PartialEq, Message)]
struct Scalar {
    #[prost(string, tag = "1")]
    tag: String,
    #[prost(float, optional, tag = "2")]
    simple_value: Option<f32>,
}

/// The event file of a run that began at this second: an event per epoch. It only grows with the
/// history, so that a reader may go on where it was.
pub(crate) fn events(begun: f64, history: &[Epoch]) -> Vec<u8> {
    let mut file = Vec::new();
    let version = Event {
        wall_time: begun,
        file_version: Some("brain.Event:2".to_owned()),
        ..Event::default()
    };
    record(&mut file, &version);
    let mut wall_time = begun;
    for epoch in history {
        wall_time += epoch.seconds;
        let values = [
            ("train/loss", Some(epoch.train_loss)),
            ("train/accuracy", Some(epoch.train_accuracy)),
            ("train/learning_rate", Some(epoch.lr)),
            ("train/seconds", Some(epoch.seconds)),
            ("validation/loss", epoch.val_loss),
            ("validation/item_accuracy", epoch.val_item_accuracy),
            ("validation/category_accuracy", epoch.val_category_accuracy),
        ];
        let scalar = |(tag, value): (&str, Option<f64>)| {
            value.map(|value| Scalar {
                tag: tag.to_owned(),
                simple_value: Some(value as f32),
            })
        };
        let value = values.into_iter().filter_map(scalar).collect();
        let event = Event {
            wall_time,
            step: epoch.epoch.into(),
            file_version: None,
            summary: Some(Summary { value }),
        };
        record(&mut file, &event);
    }
    file
}

fn record(file: &mut Vec<u8>, event: &Event) {
    let data = event.encode_to_vec();
    let length = (data.len() as u64).to_le_bytes();
    file.extend_from_slice(&length);
    file.extend_from_slice(&masked_crc(&length).to_le_bytes());
    file.extend_from_slice(&data);
    file.extend_from_slice(&masked_crc(&data).to_le_bytes());
}

/// CRC-32C, turned and shifted so that a checksum of data with checksums is none of its own.
fn masked_crc(data: &[u8]) -> u32 {
    crc32c(data).rotate_right(15).wrapping_add(0xa282_ead8)
}

/// The checksum of RFC 3720: polynomial 0x1edc6f41, bits reversed.
fn crc32c(data: &[u8]) -> u32 {
    let bit = |crc: u32| (crc >> 1) ^ (0x82f6_3b78 & (crc & 1).wrapping_neg());
    let byte = |crc: u32, byte: &u8| (0..8).fold(crc ^ u32::from(*byte), |crc, _| bit(crc));
    !data.iter().fold(!0, byte)
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// The events of a file, every checksum checked.
    fn read(mut file: &[u8]) -> Vec<Event> {
        let mut events = Vec::new();
        while !file.is_empty() {
            let (head, rest) = file.split_at(12);
            let length = u64::from_le_bytes(head[..8].try_into().unwrap()) as usize;
            let (data, rest) = rest.split_at(length);
            let (check, rest) = rest.split_at(4);
            assert_eq!(head[8..], masked_crc(&head[..8]).to_le_bytes());
            assert_eq!(check, masked_crc(data).to_le_bytes());
            events.push(Event::decode(data).unwrap());
            file = rest;
        }
        events
    }

    #[test]
    fn the_checksum_is_that_of_the_standard() {
        // RFC 3720, B.4, and the check value of the catalogues.
        assert_eq!(crc32c(b"123456789"), 0xe306_9283);
        assert_eq!(crc32c(&[0; 32]), 0x8a91_36aa);
        assert_eq!(crc32c(&[0xff; 32]), 0x62a8_ab43);
    }

    #[test]
    fn an_epoch_is_an_event_and_the_file_only_grows() {
        let epoch = |epoch, accuracy| Epoch {
            epoch,
            stage: "full".to_owned(),
            lr: 0.5,
            train_loss: 1.5,
            train_accuracy: 0.25,
            val_loss: accuracy,
            val_item_accuracy: accuracy,
            val_category_accuracy: accuracy,
            seconds: 2.0,
        };
        let history = [epoch(1, None), epoch(2, Some(0.75))];
        let file = events(100.0, &history);
        assert!(file.starts_with(&events(100.0, &history[..1])));
        let events = read(&file);
        assert_eq!(events[0].file_version.as_deref(), Some("brain.Event:2"));
        let values = |event: &Event| event.summary.clone().unwrap().value;
        assert_eq!(values(&events[1]).len(), 4);
        assert_eq!((events[2].step, events[2].wall_time), (2, 104.0));
        let last = values(&events[2]).pop().unwrap();
        assert_eq!(last.tag, "validation/category_accuracy");
        assert_eq!(last.simple_value, Some(0.75));
    }
}
