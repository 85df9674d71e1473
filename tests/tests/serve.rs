//! The inference service as a user meets it: started, asked over HTTP, ended by SIGTERM.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::process::{Child, Command, Stdio};

use serde_json::Value;
use tests::{program, root, succeed};

/// Sends a request, and gives status line and JSON of the answer.
fn ask(address: &str, head: &str, body: &[u8]) -> (String, Value) {
    let mut stream = TcpStream::connect(address).expect("the service listens");
    let length = body.len();
    let head = format!("{head} HTTP/1.1\r\nHost: x\r\nContent-Length: {length}\r\n\r\n");
    stream.write_all(head.as_bytes()).expect("sent");
    stream.write_all(body).expect("sent");
    let mut text = String::new();
    stream.read_to_string(&mut text).expect("an answer");
    let (head, json) = text.split_once("\r\n\r\n").expect("a head and a body");
    let status = head.lines().next().expect("a status").to_owned();
    (status, serde_json::from_str(json).expect("JSON"))
}

/// Does not outlive the test.
struct Service(Child);

impl Drop for Service {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn photos_are_answered_over_http_as_classify_answers_them() {
    let bundle = root().join("models/bundles/drawn-10.sortline");
    let folder = tempfile::tempdir().expect("a folder");
    let photo = folder.path().join("photo.png");
    let square = image::RgbImage::from_fn(80, 60, |x, y| image::Rgb([x as u8, y as u8, 120]));
    square.save(&photo).expect("saved");
    let service = program("edge-runtime")
        .args([
            "serve",
            "--listen",
            "127.0.0.1:0",
            "--threads",
            "1",
            "--bundle",
        ])
        .arg(&bundle)
        .stdout(Stdio::piped())
        .spawn()
        .expect("the service starts");
    let mut service = Service(service);
    let mut line = String::new();
    let stdout = service.0.stdout.take().expect("piped");
    BufReader::new(stdout).read_line(&mut line).expect("a line");
    let address = line.trim().rsplit_once("http://").expect("an address").1;
    let address = address.trim_end_matches('/');

    let (status, health) = ask(address, "GET /healthz", b"");
    assert_eq!(
        (status.as_str(), &health["status"]),
        ("HTTP/1.1 200 OK", &"ok".into())
    );
    let (status, answer) = ask(address, "POST /", &std::fs::read(&photo).expect("read"));
    assert_eq!(status, "HTTP/1.1 200 OK", "{answer}");
    let classify = succeed(
        program("edge-runtime")
            .args(["classify", "--bundle"])
            .arg(&bundle)
            .arg(&photo),
    );
    let said: Value = serde_json::from_str(&classify.stdout).expect("JSON");
    for key in ["result", "score", "category", "category_score", "decision"] {
        assert_eq!(answer[key], said[key], "{key}");
    }
    let (status, answer) = ask(address, "POST /", b"this is no picture");
    assert_eq!(status, "HTTP/1.1 415 Unsupported Media Type");
    assert!(answer["error"].is_string());

    succeed(Command::new("kill").arg(service.0.id().to_string()));
    assert!(service.0.wait().expect("it ends").success());
}
