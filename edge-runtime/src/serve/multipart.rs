//! The photo in an HTML form's upload, `multipart/form-data` (RFC 7578).

/// The fields that may hold the photo.
const FIELDS: [&str; 2] = ["image", "file"];

/// A part of a form.
#[derive(Debug, PartialEq)]
pub(crate) struct Photo<'a> {
    pub(crate) name: Option<String>,
    pub(crate) content: &'a [u8],
}

/// The photo in a form with this `Content-Type`; `None` where the body is no form.
///
/// # Errors
/// The form is broken, or has no such field.
pub(crate) fn photo<'a>(
    content_type: Option<&str>,
    body: &'a [u8],
) -> Option<Result<Photo<'a>, String>> {
    let content_type = content_type?;
    let kind = content_type.split(';').next().unwrap_or_default().trim();
    if !kind.eq_ignore_ascii_case("multipart/form-data") {
        return None;
    }
    Some(find(content_type, body))
}

fn find<'a>(content_type: &str, body: &'a [u8]) -> Result<Photo<'a>, String> {
    let boundary = parameter(content_type, "boundary").filter(|text| !text.is_empty());
    let boundary = boundary.ok_or("the form's Content-Type has no boundary")?;
    let delimiter = format!("\r\n--{boundary}");
    let first = format!("--{boundary}");
    let broken = || "the form is cut off or broken".to_owned();
    // The first delimiter may be the body's beginning; otherwise it is on a line of its own.
    let mut rest = match body.strip_prefix(first.as_bytes()) {
        Some(rest) => rest,
        None => split(body, delimiter.as_bytes()).ok_or_else(broken)?.1,
    };
    while !rest.starts_with(b"--") {
        let (_, part) = split(rest, b"\r\n").ok_or_else(broken)?;
        let (part, after) = split(part, delimiter.as_bytes()).ok_or_else(broken)?;
        rest = after;
        let (head, content) = match part.strip_prefix(b"\r\n") {
            Some(content) => (&b""[..], content),
            None => split(part, b"\r\n\r\n").ok_or_else(broken)?,
        };
        let head = String::from_utf8_lossy(head);
        let disposition = head.lines().find_map(|line| {
            let (name, value) = line.split_once(':')?;
            let found = name.trim().eq_ignore_ascii_case("content-disposition");
            found.then_some(value)
        });
        let disposition = disposition.unwrap_or_default();
        let field = parameter(disposition, "name").unwrap_or_default();
        if FIELDS.contains(&field.as_str()) {
            let name = parameter(disposition, "filename");
            return Ok(Photo { name, content });
        }
    }
    Err("the form has no field image or file".to_owned())
}

/// What is before the first `mark` and what is after it.
fn split<'a>(bytes: &'a [u8], mark: &[u8]) -> Option<(&'a [u8], &'a [u8])> {
    let place = bytes.windows(mark.len()).position(|part| part == mark)?;
    Some((&bytes[..place], &bytes[place + mark.len()..]))
}

/// A parameter of a header's value, quoted or not.
fn parameter(value: &str, name: &str) -> Option<String> {
    let mut rest = value;
    while let Some((_, after)) = rest.split_once(';') {
        let (key, text) = after.split_once('=')?;
        let quoted = text.strip_prefix('"');
        let (found, next) = match quoted {
            Some(text) => unquote(text)?,
            None => {
                let end = text.find(';').unwrap_or(text.len());
                (text[..end].trim().to_owned(), &text[end..])
            }
        };
        if key.trim().eq_ignore_ascii_case(name) {
            return Some(found);
        }
        rest = next;
    }
    None
}

/// The text up to the closing quote, and what follows that.
fn unquote(text: &str) -> Option<(String, &str)> {
    let mut found = String::new();
    let mut characters = text.char_indices();
    while let Some((place, character)) = characters.next() {
        match character {
            '"' => return Some((found, &text[place + 1..])),
            '\\' => found.push(characters.next()?.1),
            other => found.push(other),
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn form(parts: &[(&str, &[u8])]) -> Vec<u8> {
        let mut body = Vec::new();
        for (disposition, content) in parts {
            body.extend_from_slice(b"--B\r\nContent-Disposition: form-data; ");
            body.extend_from_slice(disposition.as_bytes());
            body.extend_from_slice(b"\r\nContent-Type: image/jpeg\r\n\r\n");
            body.extend_from_slice(content);
            body.extend_from_slice(b"\r\n");
        }
        body.extend_from_slice(b"--B--\r\n");
        body
    }

    const TYPE: &str = "multipart/form-data; charset=utf-8; boundary=\"B\"";

    proptest! {
        #[test]
        fn any_content_comes_back(
            content in prop::collection::vec(any::<u8>(), 0..300),
            field in prop::sample::select(vec!["image", "file"]),
        ) {
            prop_assume!(split(&content, b"\r\n--B").is_none());
            let disposition = format!("name=\"{field}\"; filename=\"a \\\"b\\\"; c.jpg\"");
            let body = form(&[("name=\"other\"", b"x"), (&disposition, &content)]);
            let photo = photo(Some(TYPE), &body).unwrap().unwrap();
            prop_assert_eq!(photo.content, &content[..]);
            prop_assert_eq!(photo.name.as_deref(), Some("a \"b\"; c.jpg"));
        }

        #[test]
        fn any_bytes_are_a_photo_or_an_error(
            body in prop::collection::vec(any::<u8>(), 0..300),
            cut in 0..200_usize,
            kind in ".{0,40}",
        ) {
            let _ = photo(Some(TYPE), &body);
            let _ = photo(Some(&format!("multipart/form-data;{kind}")), &body);
            let whole = form(&[("name=image", b"12345")]);
            let _ = photo(Some(TYPE), &whole[..cut.min(whole.len())]);
        }
    }

    #[test]
    fn what_is_no_form_or_lacks_the_field_is_told_apart() {
        assert_eq!(photo(None, b""), None);
        assert_eq!(photo(Some("image/jpeg"), b""), None);
        let body = form(&[("name=other", b"x")]);
        let error = photo(Some(TYPE), &body).unwrap().unwrap_err();
        assert_eq!(error, "the form has no field image or file");
        for kind in ["multipart/form-data", "multipart/form-data; boundary="] {
            let error = photo(Some(kind), &body).unwrap().unwrap_err();
            assert_eq!(error, "the form's Content-Type has no boundary");
        }
        let whole = form(&[("name=image", b"12345")]);
        for end in 0..whole.len() - 4 {
            assert!(photo(Some(TYPE), &whole[..end]).unwrap().is_err(), "{end}");
        }
    }
}
