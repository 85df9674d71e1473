//! What `inference` promises, on small networks made for the purpose.
#![allow(clippy::unwrap_used)]

mod classify;
mod hostile;
mod onnx;
