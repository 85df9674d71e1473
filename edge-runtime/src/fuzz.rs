//! What reads bytes from outside, for the targets in `fuzz/`: any bytes whatever have to give a result
//! or an error.

use crate::capture::convert::{Pixels, to_rgb};
use crate::capture::recording::Recording;
use crate::journal;
use crate::serve::{http, multipart};

/// As a journal's file, and as a record in one whose checksum is right.
pub fn journal(bytes: &[u8]) {
    for file in [bytes.to_vec(), journal::file_of_payload(bytes)] {
        let Some(mut reader) = journal::Reader::new(file) else {
            continue;
        };
        let mut last = None;
        while let Some((at, _)) = reader.next_record() {
            assert!(last.is_none_or(|last| last < at));
            last = Some(at);
        }
    }
}

/// As an HTTP request's head; a part of a good head is never an error.
pub fn http_head(bytes: &[u8]) {
    if http::try_head(bytes) == Ok(true) {
        for end in 0..bytes.len().min(256) {
            assert!(http::try_head(&bytes[..end]).is_ok());
        }
    }
}

/// As a form's `Content-Type`, a line, and its body.
pub fn form(bytes: &[u8]) {
    let end = bytes.iter().position(|b| *b == b'\n').unwrap_or(0);
    let kind = String::from_utf8_lossy(&bytes[..end]);
    for kind in [&*kind, "multipart/form-data; boundary=B"] {
        if let Some(Ok(photo)) = multipart::photo(Some(kind), &bytes[end..]) {
            assert!(photo.content.len() <= bytes.len());
        }
    }
}

/// As a camera's picture: format, width, height and padding in the first four bytes.
pub fn picture(bytes: &[u8]) {
    let Some(([format, width, height, padding], data)) = bytes.split_first_chunk() else {
        return;
    };
    let pixels = Pixels::ALL[usize::from(*format) % Pixels::ALL.len()];
    let (width, height) = (usize::from(*width), usize::from(*height));
    let stride = pixels.row_bytes(width) + usize::from(*padding);
    let mut rgb = vec![0; width * height * 3];
    let taken = to_rgb(pixels, data, stride, (width, height), &mut rgb);
    assert!(!taken || data.len() >= pixels.picture_bytes(stride, (width, height)));
}

/// As a video: its pictures are of one size, and their numbers rise.
pub fn video(bytes: &[u8]) {
    let Ok(mut recording) = Recording::of_bytes(bytes.to_vec()) else {
        return;
    };
    let (mut image, mut last) = (image::RgbImage::default(), None);
    while let Ok(number) = recording.next(&mut image) {
        assert_eq!(image.dimensions(), recording.size());
        assert!(last.is_none_or(|last| last < number));
        last = Some(number);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        /// Few bytes, but in every build.
        #[test]
        fn nothing_breaks(bytes in prop::collection::vec(any::<u8>(), 0..600)) {
            journal(&bytes);
            http_head(&bytes);
            form(&bytes);
            picture(&bytes);
            video(&bytes);
        }

        #[test]
        fn a_head_with_anything_in_it_is_read_or_refused(
            name in "[!-~]{0,12}", value in ".{0,40}", rest: Vec<u8>,
        ) {
            let mut bytes = format!("POST /x HTTP/1.1\r\n{name}: {value}\r\n").into_bytes();
            bytes.extend(rest);
            http_head(&bytes);
            bytes.extend(b"\r\nContent-Length: 5\r\n\r\n");
            http_head(&bytes);
        }
    }
}
