//! What a service manager and a watchdog are told by a program that sorts.

#![allow(clippy::unwrap_used)]

use std::os::unix::net::UnixDatagram;
use std::time::Duration;
use tests::{program, root, succeed};

#[test]
fn a_service_says_that_it_is_ready_well_and_ending() {
    let folder = tempfile::tempdir().unwrap();
    let frames = folder.path().join("frames.y4m");
    let grey = [b"FRAME\n".to_vec(), vec![90; 640 * 480]].concat();
    let mut video = b"YUV4MPEG2 W640 H480 F30:1 Cmono\n".to_vec();
    (0..30).for_each(|_| video.extend(&grey));
    std::fs::write(&frames, video).unwrap();
    let socket = UnixDatagram::bind(folder.path().join("notify")).unwrap();
    let patience = Some(Duration::from_secs(60));
    socket.set_read_timeout(patience).unwrap();
    // Its queue is short: it is read while the program runs.
    let listener = std::thread::spawn(move || {
        let mut told = Vec::new();
        let mut buffer = [0; 256];
        while !told.last().is_some_and(|t: &String| t.contains("STOPPING")) {
            let n = socket.recv(&mut buffer).unwrap();
            told.push(String::from_utf8_lossy(&buffer[..n]).into_owned());
        }
        told
    });
    let watchdog = folder.path().join("watchdog");
    std::fs::write(&watchdog, "").unwrap();
    succeed(
        program("edge-runtime")
            .args(["run", "--dry-run", "--frames"])
            .arg(&frames)
            .arg("--board")
            .arg(root().join("boards/profiles/raspberry-pi-4.toml"))
            .arg("--bundle")
            .arg(root().join("models/bundles/drawn-10.sortline"))
            .arg("--watchdog")
            .arg(&watchdog)
            .env("NOTIFY_SOCKET", folder.path().join("notify")),
    );
    let told = listener.join().unwrap();
    assert_eq!(told[0], "READY=1\nSTATUS=sorting");
    let between = &told[1..told.len() - 1];
    assert!(!between.is_empty(), "{told:?}");
    assert!(between.iter().all(|t| t == "WATCHDOG=1"), "{told:?}");
    let fed = std::fs::read_to_string(&watchdog).unwrap();
    assert!(fed.ends_with(".V"), "{fed}");
}
