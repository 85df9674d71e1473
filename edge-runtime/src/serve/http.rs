//! The part of HTTP/1.1 (RFC 9112) that an upload needs: one request a connection, its body with a
//! known length.

use serde::Serialize;
use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

const MAX_HEAD_BYTES: usize = 16 << 10;
const MAX_HEADERS: usize = 64;
/// How often a client that sends nothing is looked at again.
const SLICE: Duration = Duration::from_millis(250);
/// How long what a refused client still sends is read, so that it can read the answer.
const LINGER: Duration = Duration::from_secs(1);

/// What a client may take.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Limits {
    pub(crate) body_bytes: usize,
    /// For the whole request to come in.
    pub(crate) request: Duration,
}

/// A request that came in whole.
#[derive(Debug)]
pub(crate) struct Request {
    pub(crate) method: String,
    /// Without the query.
    pub(crate) path: String,
    pub(crate) content_type: Option<String>,
    pub(crate) body: Vec<u8>,
}

/// An answer: a status and JSON.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Response {
    pub(crate) status: u16,
    pub(crate) json: String,
}

#[derive(Serialize)]
struct Failure<'a> {
    error: &'a str,
}

impl Response {
    /// An answer of some value.
    pub(crate) fn json(status: u16, value: &impl Serialize) -> Response {
        match serde_json::to_string(value) {
            Ok(json) => Response { status, json },
            Err(error) => Response::error(500, &error.to_string()),
        }
    }

    /// `{"error": ...}`
    pub(crate) fn error(status: u16, error: &str) -> Response {
        let json = serde_json::to_string(&Failure { error }).unwrap_or_default();
        Response { status, json }
    }

    /// Writes the answer and ends the connection. A client that is gone is no error of ours.
    pub(crate) fn send(&self, mut stream: &TcpStream) {
        let (reason, extra) = match self.status {
            200 => ("OK", ""),
            400 => ("Bad Request", ""),
            404 => ("Not Found", ""),
            405 => ("Method Not Allowed", "Allow: GET, POST\r\n"),
            408 => ("Request Timeout", ""),
            411 => ("Length Required", ""),
            413 => ("Content Too Large", ""),
            415 => ("Unsupported Media Type", ""),
            422 => ("Unprocessable Content", ""),
            431 => ("Request Header Fields Too Large", ""),
            503 => ("Service Unavailable", "Retry-After: 1\r\n"),
            _ => ("Internal Server Error", ""),
        };
        let Response { status, json } = self;
        let length = json.len() + 1;
        let text = format!(
            "HTTP/1.1 {status} {reason}\r\nContent-Type: application/json; charset=utf-8\r\n\
             Content-Length: {length}\r\nConnection: close\r\n{extra}\r\n{json}\n"
        );
        let sent = stream.write_all(text.as_bytes());
        if sent.is_err() || stream.shutdown(Shutdown::Write).is_err() {
            return;
        }
        // Closing with unread bytes would reset the connection, and the answer could be lost.
        let begun = Instant::now();
        let mut rest = [0; 4096];
        while begun.elapsed() < LINGER && matches!(stream.read(&mut rest), Ok(1..)) {}
    }
}

/// Reads a request; the error is the answer to it. While `stop` is set, a client that pauses is not
/// waited for.
pub(crate) fn read(
    mut stream: &TcpStream,
    limits: Limits,
    stop: &AtomicBool,
) -> Result<Request, Response> {
    let deadline = Instant::now() + limits.request;
    let mut bytes = Vec::with_capacity(4096);
    let head = loop {
        if let Some(head) = Head::parse(&bytes)? {
            break head;
        }
        if bytes.len() >= MAX_HEAD_BYTES {
            return Err(Response::error(431, "the request's head is too long"));
        }
        let room = MAX_HEAD_BYTES - bytes.len();
        receive(stream, &mut bytes, room.min(4096), deadline, stop)?;
    };
    let mut body = bytes.split_off(head.bytes);
    if head.length > limits.body_bytes {
        let mib = limits.body_bytes >> 20;
        let error = format!("the upload is larger than {mib} MiB");
        return Err(Response::error(413, &error));
    }
    if head.expects_continue && body.len() < head.length {
        let go_on = stream.write_all(b"HTTP/1.1 100 Continue\r\n\r\n");
        go_on.map_err(|error| Response::error(400, &error.to_string()))?;
    }
    while body.len() < head.length {
        let room = (head.length - body.len()).min(64 << 10);
        receive(stream, &mut body, room, deadline, stop)?;
    }
    body.truncate(head.length);
    Ok(Request {
        method: head.method,
        path: head.path,
        content_type: head.content_type,
        body,
    })
}

/// Appends up to `room` bytes that the client sends.
fn receive(
    mut stream: &TcpStream,
    bytes: &mut Vec<u8>,
    room: usize,
    deadline: Instant,
    stop: &AtomicBool,
) -> Result<(), Response> {
    let length = bytes.len();
    bytes.resize(length + room, 0);
    loop {
        let found = stream.read(&mut bytes[length..]);
        let late = Instant::now() >= deadline;
        match found {
            Ok(0) => return Err(Response::error(400, "the request is cut off")),
            Ok(_) if late => return Err(Response::error(408, "the request took too long")),
            Ok(count) => {
                bytes.truncate(length + count);
                return Ok(());
            }
            Err(error) if is_pause(error.kind()) => {
                if stop.load(Ordering::Relaxed) {
                    return Err(Response::error(503, "the service is ending"));
                }
                if late {
                    return Err(Response::error(408, "the request took too long"));
                }
            }
            Err(error) => return Err(Response::error(400, &error.to_string())),
        }
    }
}

fn is_pause(kind: ErrorKind) -> bool {
    matches!(
        kind,
        ErrorKind::WouldBlock | ErrorKind::TimedOut | ErrorKind::Interrupted
    )
}

/// Makes no read or write of the stream wait for ever.
pub(crate) fn limit_waiting(stream: &TcpStream, limits: Limits) -> std::io::Result<()> {
    stream.set_read_timeout(Some(SLICE.min(limits.request)))?;
    stream.set_write_timeout(Some(limits.request))
}

/// Tries to read the head of a request.
pub(crate) fn try_head(bytes: &[u8]) -> Result<bool, Response> {
    Head::parse(bytes).map(|head| head.is_some())
}

struct Head {
    method: String,
    path: String,
    content_type: Option<String>,
    /// Of the body.
    length: usize,
    expects_continue: bool,
    /// Of the head itself.
    bytes: usize,
}

impl Head {
    /// The head at the beginning of `bytes`, if it is whole.
    fn parse(bytes: &[u8]) -> Result<Option<Head>, Response> {
        let mut headers = [httparse::EMPTY_HEADER; MAX_HEADERS];
        let mut request = httparse::Request::new(&mut headers);
        let parsed = request.parse(bytes).map_err(|error| match error {
            httparse::Error::TooManyHeaders => Response::error(431, "too many header fields"),
            other => Response::error(400, &format!("not HTTP: {other}")),
        })?;
        let (httparse::Status::Complete(length), Some(method), Some(target)) =
            (parsed, request.method, request.path)
        else {
            return Ok(None);
        };
        let mut head = Head {
            method: method.to_owned(),
            path: target.split('?').next().unwrap_or_default().to_owned(),
            content_type: None,
            length: 0,
            expects_continue: false,
            bytes: length,
        };
        let mut announced = None;
        for header in request.headers {
            let value = String::from_utf8_lossy(header.value);
            let value = value.trim();
            match header.name.to_ascii_lowercase().as_str() {
                "content-type" => head.content_type = Some(value.to_owned()),
                "content-length" => {
                    let digits = !value.is_empty() && value.bytes().all(|b| b.is_ascii_digit());
                    let length = value.parse().unwrap_or(usize::MAX);
                    if !digits || announced.is_some_and(|other| other != length) {
                        return Err(Response::error(400, "Content-Length is not one number"));
                    }
                    announced = Some(length);
                }
                "transfer-encoding" => {
                    let error = "chunked uploads are not taken: send a Content-Length";
                    return Err(Response::error(411, error));
                }
                "expect" => head.expects_continue = value.eq_ignore_ascii_case("100-continue"),
                _ => {}
            }
        }
        if head.method == "POST" && announced.is_none() {
            return Err(Response::error(411, "Content-Length is missing"));
        }
        head.length = announced.unwrap_or(0);
        Ok(Some(head))
    }
}
