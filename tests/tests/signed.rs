//! Bundles that are signed, and programs that take none but those.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use tests::{Run, program, root, run, succeed};

struct Folder(tempfile::TempDir);

impl Folder {
    /// A bundle, a photo and two pairs of keys.
    fn new() -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let bundle = root().join("models/bundles/drawn-10.sortline");
        fs::copy(bundle, folder.path().join("own.sortline")).expect("a copy");
        let photo = image::RgbImage::from_fn(96, 96, |x, y| image::Rgb([x as u8, y as u8, 90]));
        photo
            .save(folder.path().join("photo.png"))
            .expect("a photo");
        let folder = Folder(folder);
        for key in ["plant.key", "other.key"] {
            succeed(&mut folder.command("host-train", &format!("sign --new-key {key}")));
        }
        folder
    }

    fn path(&self, name: &str) -> std::path::PathBuf {
        self.0.path().join(name)
    }

    fn command(&self, name: &str, arguments: &str) -> std::process::Command {
        let mut command = program(name);
        command
            .current_dir(self.0.path())
            .args(arguments.split(' '));
        command
    }

    fn sign(&self, key: &str) {
        let arguments = format!("sign --key {key} --bundle own.sortline");
        succeed(&mut self.command("host-train", &arguments));
    }

    fn classify(&self, trust: &str) -> Run {
        let arguments = format!("classify --bundle own.sortline {trust} photo.png");
        run(self
            .command("edge-runtime", &arguments.replace("  ", " "))
            .env("RUST_BACKTRACE", "0"))
    }

    #[track_caller]
    fn refuses(&self, trust: &str, says: &str) {
        let run = self.classify(trust);
        assert_eq!(
            (run.status, run.stdout.as_str()),
            (Some(1), ""),
            "{}",
            run.stderr
        );
        assert!(run.stderr.contains(says), "{}", run.stderr);
        assert_eq!(run.stderr.lines().count(), 1, "{}", run.stderr);
    }
}

fn mode(file: &Path) -> u32 {
    fs::metadata(file).expect("a file").permissions().mode() & 0o777
}

#[test]
fn a_bundle_is_taken_only_from_who_is_trusted() {
    let folder = Folder::new();
    let plain = folder.classify("");
    assert_eq!(plain.status, Some(0), "{}", plain.stderr);
    folder.refuses("--trust plant.key.pub", "not signed");
    folder.sign("other.key");
    folder.refuses("--trust plant.key.pub", "not trusted");
    folder.sign("plant.key");
    for trust in [
        "",
        "--trust plant.key.pub",
        "--trust other.key.pub --trust plant.key.pub",
    ] {
        let signed = folder.classify(trust);
        assert_eq!(signed.status, Some(0), "{}", signed.stderr);
        let verdict = |run: &Run| run.stdout.split(",\"ms\"").next().map(str::to_owned);
        assert_eq!(verdict(&signed), verdict(&plain));
    }
}

#[test]
fn keys_are_made_once_and_kept_apart() {
    let folder = Folder::new();
    assert_eq!(mode(&folder.path("plant.key")), 0o600);
    assert_eq!(mode(&folder.path("plant.key.pub")), 0o644);
    let secret = fs::read(folder.path("plant.key")).expect("a key");
    assert_ne!(secret, fs::read(folder.path("other.key")).expect("a key"));
    let again = run(&mut folder.command("host-train", "sign --new-key plant.key"));
    assert_eq!(again.status, Some(1));
    assert!(again.stderr.contains("plant.key"), "{}", again.stderr);
    assert_eq!(fs::read(folder.path("plant.key")).expect("a key"), secret);
    folder.sign("plant.key");
    folder.refuses("--trust plant.key", "secret key");
    folder.refuses("--trust own.sortline", "own.sortline");
    folder.refuses("--trust nowhere.pub", "nowhere.pub");
    let wrong = "sign --key plant.key.pub --bundle own.sortline";
    let wrong = run(&mut folder.command("host-train", wrong));
    assert!(
        wrong.stderr.contains("plant.key.pub is a public key"),
        "{}",
        wrong.stderr
    );
}
