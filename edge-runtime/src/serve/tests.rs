//! The service over loopback: with a network, and with stand-ins for it that show the limits.

use super::*;
use image::{ImageFormat, Rgb, RgbImage};
use std::io::{Cursor, Read, Write};
use std::sync::mpsc::{Sender, channel};

const LIMITS: Limits = Limits {
    body_bytes: 1 << 20,
    request: Duration::from_secs(20),
};

/// Runs `client` against a server, which must end when it is told to.
fn serving<W: Answer>(
    workers: Vec<W>,
    waiting: usize,
    limits: Limits,
    client: impl FnOnce(SocketAddr),
) {
    let health = Response::error(200, "none");
    let server = Server::bind((Ipv4Addr::LOCALHOST, 0).into(), limits, health).unwrap();
    let stopper = server.stopper();
    std::thread::scope(|scope| {
        scope.spawn(|| server.serve(workers, waiting));
        // Also where the client fails: else the server would be waited for without end.
        let client = catch_unwind(AssertUnwindSafe(|| client(stopper.address)));
        stopper.stop();
        client.unwrap_or_else(|panic| std::panic::resume_unwind(panic));
    });
}

/// Sends bytes, and gives status and JSON of the answer.
fn talk(address: SocketAddr, bytes: &[u8]) -> (u16, serde_json::Value) {
    let mut stream = TcpStream::connect(address).unwrap();
    stream.write_all(bytes).unwrap();
    listen(stream)
}

fn listen(mut stream: TcpStream) -> (u16, serde_json::Value) {
    let mut text = String::new();
    stream.read_to_string(&mut text).unwrap();
    let (head, body) = text.rsplit_once("\r\n\r\n").unwrap();
    let last = head.rsplit("\r\n\r\n").next().unwrap();
    let status = last.split(' ').nth(1).unwrap().parse().unwrap();
    (status, serde_json::from_str(body).unwrap())
}

fn post(kind: &str, body: &[u8]) -> Vec<u8> {
    let length = body.len();
    let head = format!(
        "POST / HTTP/1.1\r\nHost: x\r\nContent-Type: {kind}\r\nContent-Length: {length}\r\n\r\n"
    );
    [head.as_bytes(), body].concat()
}

fn photo(format: ImageFormat) -> Vec<u8> {
    let image = RgbImage::from_fn(90, 60, |x, y| Rgb([x as u8, y as u8, 77]));
    let mut bytes = Cursor::new(Vec::new());
    image.write_to(&mut bytes, format).unwrap();
    bytes.into_inner()
}

fn workers(count: usize) -> Vec<Worker> {
    let path = "../models/bundles/drawn-10.sortline";
    let bundle = Bundle::open(std::path::Path::new(path)).unwrap();
    (0..count).map(|_| Worker::new(&bundle).unwrap()).collect()
}

/// Answers the length of the upload.
struct Length;

impl Answer for Length {
    fn answer(&mut self, upload: &Request) -> Response {
        Response::json(200, &upload.body.len())
    }
}

/// Says that it has begun, and waits until it may answer.
struct Gated {
    begun: Sender<()>,
    may_answer: Receiver<()>,
}

impl Answer for Gated {
    fn answer(&mut self, _: &Request) -> Response {
        self.begun.send(()).unwrap();
        self.may_answer.recv().unwrap();
        Response::json(200, &"late")
    }
}

#[test]
fn fifty_clients_at_once_get_the_answer_that_classify_gives() {
    let png = photo(ImageFormat::Png);
    let image = dataset::decode_bytes(&png, MAX_DECODE_BYTES).unwrap();
    let line = crate::classify::classify(&mut workers(1)[0].classifier, &image, None).unwrap();
    let line = serde_json::to_string(&line).unwrap();
    let expect: serde_json::Value = serde_json::from_str(&line).unwrap();
    let form = [
        b"--B\r\nContent-Disposition: form-data; name=\"image\"; filename=\"a.png\"\r\n\r\n",
        &png[..],
        b"\r\n--B--\r\n",
    ]
    .concat();
    serving(workers(2), MAX_WAITING, LIMITS, |address| {
        std::thread::scope(|scope| {
            for client in 0..50 {
                let (png, form, expect) = (&png, &form, &expect);
                scope.spawn(move || {
                    let (kind, body) = match client % 2 {
                        0 => ("application/x-www-form-urlencoded", png),
                        _ => ("multipart/form-data; boundary=B", form),
                    };
                    let (status, answer) = talk(address, &post(kind, body));
                    assert_eq!(status, 200, "{answer}");
                    for key in ["result", "score", "category", "category_score", "decision"] {
                        assert_eq!(answer[key], expect[key]);
                    }
                    assert_eq!(answer["file"] == "a.png", client % 2 == 1);
                });
            }
        });
    });
}

#[test]
fn uploads_that_are_no_photos_are_said_to_be() {
    let png = photo(ImageFormat::Png);
    let form = "multipart/form-data; boundary=B";
    serving(workers(1), 1, LIMITS, |address| {
        let check = |kind: &str, body: &[u8], expect: u16, message: &str| {
            let (status, answer) = talk(address, &post(kind, body));
            assert_eq!(status, expect, "{answer}");
            let error = answer["error"].as_str().unwrap();
            assert!(error.contains(message), "{error}");
        };
        check("image/jpeg", b"", 400, "the upload is empty");
        check("image/jpeg", b"this is text", 415, "not a readable JPEG");
        check("image/png", &png[..png.len() / 2], 422, "not a readable");
        let jpeg = photo(ImageFormat::Jpeg);
        check("image/jpeg", &jpeg[..jpeg.len() / 2], 422, "cut off");
        check(form, &png, 400, "cut off or broken");
        check("multipart/form-data", &png, 400, "no boundary");
        let other = b"--B\r\nContent-Disposition: form-data; name=a\r\n\r\nx\r\n--B--\r\n";
        check(form, other, 400, "no field image or file");
        // 60000 x 60000 pixels in a header.
        let mut bomb = photo(ImageFormat::Bmp);
        bomb[18..26].copy_from_slice(&[96, 234, 0, 0, 96, 234, 0, 0]);
        check("image/bmp", &bomb, 413, "too large");
    });
}

#[test]
fn broken_requests_get_the_status_that_says_why() {
    serving(vec![Length], 1, LIMITS, |address| {
        let check = |bytes: &str, expect: u16| {
            let (status, answer) = talk(address, bytes.as_bytes());
            assert_eq!(status, expect, "{bytes:.60}: {answer}");
            assert!(status == 200 || answer["error"].is_string());
        };
        check("GET /healthz HTTP/1.1\r\n\r\n", 200);
        check("GET /healthz?x=1 HTTP/1.0\r\nHost: x\r\n\r\n", 200);
        check("POST / HTTP/1.1\r\nContent-Length: 3\r\n\r\nabc", 200);
        check("GET / HTTP/1.1\r\n\r\n", 405);
        check("DELETE /healthz HTTP/1.1\r\n\r\n", 405);
        check("GET /secret HTTP/1.1\r\n\r\n", 404);
        check("\u{1}\u{2}nonsense\r\n\r\n", 400);
        check("POST / HTTP/1.1\r\nContent-Length: -3\r\n\r\n", 400);
        check(
            "POST / HTTP/1.1\r\nContent-Length: 3\r\nContent-Length: 4\r\n\r\n",
            400,
        );
        check("POST / HTTP/1.1\r\n\r\n", 411);
        check("POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n", 411);
        check("POST / HTTP/1.1\r\nContent-Length: 1048577\r\n\r\n", 413);
        check(
            "POST / HTTP/1.1\r\nContent-Length: 99999999999999999999999\r\n\r\n",
            413,
        );
        check(
            &format!("GET / HTTP/1.1\r\nX: {}", "x".repeat(1 << 17)),
            431,
        );
        check(
            &format!("GET / HTTP/1.1\r\n{}\r\n", "X: y\r\n".repeat(65)),
            431,
        );
        // It does not end.
        let mut cut = TcpStream::connect(address).unwrap();
        cut.write_all(b"POST / HTTP/1.1\r\nContent-Length: 3\r\n\r\nab")
            .unwrap();
        cut.shutdown(std::net::Shutdown::Write).unwrap();
        assert_eq!(listen(cut).0, 400);
    });
}

#[test]
fn an_oversized_upload_is_answered_although_it_keeps_coming() {
    serving(vec![Length], 1, LIMITS, |address| {
        let body = vec![0; (1 << 20) + 1];
        let (status, answer) = talk(address, &post("image/png", &body));
        assert_eq!(
            (status, &answer["error"]),
            (413, &"the upload is larger than 1 MiB".into())
        );
        let (status, answer) = talk(address, &post("image/png", &body[1..]));
        assert_eq!((status, answer), (200, (1 << 20).into()));
    });
}

#[test]
fn a_client_that_asks_first_is_told_to_go_on() {
    serving(vec![Length], 1, LIMITS, |address| {
        let mut stream = TcpStream::connect(address).unwrap();
        let head = "POST / HTTP/1.1\r\nExpect: 100-continue\r\nContent-Length: 2\r\n\r\n";
        stream.write_all(head.as_bytes()).unwrap();
        let mut go_on = [0; 25];
        stream.read_exact(&mut go_on).unwrap();
        assert_eq!(&go_on, b"HTTP/1.1 100 Continue\r\n\r\n");
        stream.write_all(b"ab").unwrap();
        assert_eq!(listen(stream), (200, 2.into()));
    });
}

#[test]
fn slow_clients_are_given_up_and_hold_up_nobody() {
    let limits = Limits {
        request: Duration::from_millis(600),
        ..LIMITS
    };
    serving(vec![Length], 1, limits, |address| {
        std::thread::scope(|scope| {
            for _ in 0..20 {
                scope.spawn(move || {
                    let mut stream = TcpStream::connect(address).unwrap();
                    // A byte now and then, for longer than is allowed.
                    for byte in b"POST / HTTP/1.1\r\n" {
                        if stream.write_all(&[*byte]).is_err() {
                            break;
                        }
                        std::thread::sleep(Duration::from_millis(60));
                    }
                    let mut text = String::new();
                    // The connection may be reset where bytes came after the answer.
                    let read = stream.read_to_string(&mut text);
                    assert!(read.is_err() || text.starts_with("HTTP/1.1 408 "), "{text}");
                });
            }
            assert_eq!(talk(address, &post("x", b"abc")), (200, 3.into()));
        });
        // One that only listens is told why.
        let silent = TcpStream::connect(address).unwrap();
        assert_eq!(listen(silent).0, 408);
    });
}

#[test]
fn a_full_queue_is_said_at_once_and_an_ending_server_answers_what_it_took() {
    let ((begun, has_begun), (let_answer, may_answer)) = (channel(), channel());
    let worker = Gated { begun, may_answer };
    let server = Server::bind(
        (Ipv4Addr::LOCALHOST, 0).into(),
        LIMITS,
        Response::error(200, "none"),
    )
    .unwrap();
    let address = server.address;
    std::thread::scope(|scope| {
        let service = scope.spawn(|| server.serve(vec![worker], 1));
        let first = scope.spawn(|| talk(address, &post("x", b"1")));
        has_begun.recv().unwrap();
        // One of these waits, the other is refused; which one, nobody knows.
        let ask = || talk(address, &post("x", b"2"));
        let (second, third) = (scope.spawn(ask), scope.spawn(ask));
        while !second.is_finished() && !third.is_finished() {
            std::thread::sleep(Duration::from_millis(5));
        }
        let silent = TcpStream::connect(address).unwrap();
        // Taken before the end: the same queue of connections.
        assert_eq!(talk(address, b"GET /healthz HTTP/1.1\r\n\r\n").0, 200);
        server.stopper().stop();
        let_answer.send(()).unwrap();
        let_answer.send(()).unwrap();
        assert_eq!(first.join().unwrap(), (200, "late".into()));
        let mut others = [second.join().unwrap().0, third.join().unwrap().0];
        others.sort_unstable();
        assert_eq!(others, [200, 503]);
        assert_eq!(listen(silent).0, 503);
        service.join().unwrap();
    });
}
