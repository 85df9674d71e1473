//! `edge-runtime serve`: answers uploaded photos over HTTP.
//!
//! ```text
//! accept ─▶ a thread a connection: reads the request ─▶ bounded queue ─▶ workers, a classifier each
//!                      ◀─────────────────────── answer ───────────────────────┘
//! ```
//!
//! A slow client holds up a connection's thread, never a worker. Where there are too many connections
//! or the queue is full, the answer is 503 at once. A connection serves one request.

pub(crate) mod http;
pub(crate) mod multipart;
#[cfg(test)]
mod tests;

use crate::bundle::BundleArgs;
use anyhow::{Context, Result};
use http::{Limits, Request, Response};
use inference::Classifier;
use models::Bundle;
use serde::Serialize;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener, TcpStream};
use std::num::NonZeroUsize;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

/// The most memory that decoding one photo may take.
const MAX_DECODE_BYTES: u64 = 256 << 20;
/// Connections at a time.
const MAX_CONNECTIONS: usize = 128;
/// Photos that wait for a worker.
const MAX_WAITING: usize = 64;

/// Answers photos that are uploaded over HTTP.
///
/// POST / takes a photo (JPEG, PNG, BMP or WebP) as the body, or as the field `image` or `file` of a
/// form, and answers as `classify` prints. GET /healthz says whether the service is up. Every error is
/// JSON too. There is no encryption and no login: to open it to others than this machine, put it behind
/// a proxy that has them. SIGTERM ends it after the requests under way.
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:
  edge-runtime serve --bundle waste.sortline &
  curl --data-binary @photo.jpg http://127.0.0.1:8080/
  curl --form image=@photo.jpg http://127.0.0.1:8080/")]
pub(crate) struct Args {
    #[command(flatten)]
    bundle: BundleArgs,
    /// Address and port to listen on
    #[arg(long, value_name = "IP:PORT", default_value = "127.0.0.1:8080")]
    listen: SocketAddr,
    /// Photos classified at the same time, each on one thread [default: one per processor]
    #[arg(long, value_name = "N")]
    threads: Option<NonZeroUsize>,
    /// The largest upload, in MiB
    #[arg(long, value_name = "N", default_value = "10",
          value_parser = clap::value_parser!(u16).range(1..=256))]
    max_mb: u16,
    /// Seconds within which a request must have come in
    #[arg(long, value_name = "N", default_value = "20",
          value_parser = clap::value_parser!(u16).range(1..=3600))]
    timeout: u16,
}

/// Serves until SIGTERM or Ctrl-C.
pub(crate) fn run(args: &Args) -> Result<()> {
    let bundle = args.bundle.open()?;
    let processors = std::thread::available_parallelism().unwrap_or(NonZeroUsize::MIN);
    let workers = args.threads.unwrap_or(processors).get();
    let workers: Vec<Worker> = (0..workers)
        .map(|_| Worker::new(&bundle))
        .collect::<Result<_>>()
        .with_context(|| args.bundle.name())?;
    let limits = Limits {
        body_bytes: usize::from(args.max_mb) << 20,
        request: Duration::from_secs(args.timeout.into()),
    };
    let manifest = &bundle.manifest;
    let health = Health {
        status: "ok",
        bundle: &manifest.name,
        version: manifest.version,
    };
    let server = Server::bind(args.listen, limits, Response::json(200, &health))
        .with_context(|| format!("{}: cannot be listened on", args.listen))?;
    let (address, stopper) = (server.address, server.stopper());
    let mut signals = signal_hook::iterator::Signals::new([
        signal_hook::consts::SIGTERM,
        signal_hook::consts::SIGINT,
    ])?;
    std::thread::spawn(move || {
        if signals.forever().next().is_some() {
            stopper.stop();
        }
    });
    crate::run::say(&format!("serving {} on http://{address}/", manifest.name));
    server.serve(workers, MAX_WAITING);
    Ok(())
}

/// What GET /healthz says.
#[derive(Serialize)]
struct Health<'a> {
    status: &'static str,
    bundle: &'a str,
    version: u32,
}

/// Answers photos, one at a time.
pub(crate) trait Answer: Send {
    /// What is said about an upload.
    fn answer(&mut self, upload: &Request) -> Response;
}

/// A classifier, and how to make another one.
struct Worker {
    bundle: Bundle,
    classifier: Classifier,
}

impl Worker {
    fn new(bundle: &Bundle) -> Result<Worker> {
        Ok(Worker {
            bundle: bundle.clone(),
            classifier: Classifier::new(bundle, 1)?,
        })
    }

    fn classify(&mut self, upload: &Request) -> Response {
        let form = multipart::photo(upload.content_type.as_deref(), &upload.body);
        let (content, name) = match form {
            None => (&upload.body[..], None),
            Some(Ok(photo)) => (photo.content, photo.name),
            Some(Err(error)) => return Response::error(400, &error),
        };
        let image = match dataset::decode_bytes(content, MAX_DECODE_BYTES) {
            Ok(image) => image,
            Err(error) => {
                let status = match error {
                    dataset::ImageError::UnknownFormat => 415,
                    dataset::ImageError::TooLarge(_) => 413,
                    dataset::ImageError::Decode(_) => 422,
                    _ => 400,
                };
                return Response::error(status, &format!("the upload {error}"));
            }
        };
        match crate::classify::classify(&mut self.classifier, &image, name) {
            Ok(line) => Response::json(200, &line),
            Err(error) => Response::error(422, &format!("{error:#}")),
        }
    }
}

impl Answer for Worker {
    fn answer(&mut self, upload: &Request) -> Response {
        let answer = catch_unwind(AssertUnwindSafe(|| self.classify(upload)));
        answer.unwrap_or_else(|_| {
            // Nobody knows in what state it was left.
            if let Ok(new) = Worker::new(&self.bundle) {
                *self = new;
            }
            Response::error(500, "this photo could not be worked on")
        })
    }
}

/// A request that waits for a worker, and where the answer goes.
struct Job {
    upload: Request,
    answer: SyncSender<Response>,
}

/// Listens, and knows its limits.
pub(crate) struct Server {
    listener: TcpListener,
    address: SocketAddr,
    limits: Limits,
    health: Response,
    stop: Arc<AtomicBool>,
}

/// Ends a server from another thread.
pub(crate) struct Stopper {
    address: SocketAddr,
    stop: Arc<AtomicBool>,
}

impl Stopper {
    /// No connection is accepted any more.
    pub(crate) fn stop(&self) {
        self.stop.store(true, Ordering::Relaxed);
        // Wakes the thread that accepts.
        let _ = TcpStream::connect_timeout(&self.address, Duration::from_secs(1));
    }
}

impl Server {
    pub(crate) fn bind(
        address: SocketAddr,
        limits: Limits,
        health: Response,
    ) -> std::io::Result<Server> {
        let listener = TcpListener::bind(address)?;
        Ok(Server {
            address: listener.local_addr()?,
            listener,
            limits,
            health,
            stop: Arc::default(),
        })
    }

    pub(crate) fn stopper(&self) -> Stopper {
        let mut address = self.address;
        if address.ip().is_unspecified() {
            address.set_ip(match address {
                SocketAddr::V4(_) => IpAddr::V4(Ipv4Addr::LOCALHOST),
                SocketAddr::V6(_) => IpAddr::V6(Ipv6Addr::LOCALHOST),
            });
        }
        Stopper {
            address,
            stop: self.stop.clone(),
        }
    }

    /// Serves until it is stopped and the requests under way are answered. `waiting` photos may wait
    /// for a worker.
    pub(crate) fn serve(&self, workers: Vec<impl Answer>, waiting: usize) {
        let (queue, jobs) = sync_channel::<Job>(waiting);
        let jobs = Mutex::new(jobs);
        let connections = AtomicUsize::new(0);
        std::thread::scope(|scope| {
            for worker in workers {
                let jobs = &jobs;
                scope.spawn(move || work(worker, jobs));
            }
            for stream in self.listener.incoming() {
                if self.stop.load(Ordering::Relaxed) {
                    break;
                }
                let Ok(stream) = stream else {
                    // Out of file handles, most likely: give connections time to end.
                    std::thread::sleep(Duration::from_millis(20));
                    continue;
                };
                if connections.fetch_add(1, Ordering::Relaxed) >= MAX_CONNECTIONS {
                    connections.fetch_sub(1, Ordering::Relaxed);
                    refuse(&stream);
                    continue;
                }
                let (queue, connections) = (queue.clone(), &connections);
                let begun = std::thread::Builder::new().spawn_scoped(scope, move || {
                    self.converse(&stream, &queue);
                    connections.fetch_sub(1, Ordering::Relaxed);
                });
                if begun.is_err() {
                    // No thread is to be had: the connection was closed with the closure.
                    connections.fetch_sub(1, Ordering::Relaxed);
                }
            }
            // The workers end when no connection can send a job any more.
            drop(queue);
        });
    }

    fn converse(&self, stream: &TcpStream, queue: &SyncSender<Job>) {
        if http::limit_waiting(stream, self.limits).is_err() {
            return;
        }
        let request = http::read(stream, self.limits, &self.stop);
        let answer = request.map_or_else(|refused| refused, |request| self.route(request, queue));
        answer.send(stream);
    }

    fn route(&self, request: Request, queue: &SyncSender<Job>) -> Response {
        match (request.method.as_str(), request.path.as_str()) {
            ("GET", "/healthz") => self.health.clone(),
            ("POST", "/") => ask(request, queue),
            (_, "/" | "/healthz") => {
                let error = "POST a photo to /, or GET /healthz";
                Response::error(405, error)
            }
            _ => Response::error(404, "there is / for photos and /healthz"),
        }
    }
}

/// Has a worker answer, if the queue has room.
fn ask(upload: Request, queue: &SyncSender<Job>) -> Response {
    let (answer, answered) = sync_channel(1);
    match queue.try_send(Job { upload, answer }) {
        Ok(()) => answered
            .recv()
            .unwrap_or_else(|_| Response::error(500, "this photo could not be worked on")),
        Err(TrySendError::Full(_) | TrySendError::Disconnected(_)) => {
            Response::error(503, "too many photos wait already: try again")
        }
    }
}

/// Answers one job after the other until nobody can send any.
fn work(mut worker: impl Answer, jobs: &Mutex<Receiver<Job>>) {
    loop {
        let job = jobs.lock().unwrap_or_else(PoisonError::into_inner).recv();
        let Ok(Job { upload, answer }) = job else {
            return;
        };
        // A connection that is gone does not want it any more.
        let _ = answer.send(worker.answer(&upload));
    }
}

/// Says 503 without waiting for anything.
fn refuse(stream: &TcpStream) {
    if stream.set_nonblocking(true).is_ok() {
        Response::error(503, "too many connections: try again").send(stream);
    }
}
