//! The bundle: one file with all that it takes to run a trained network.
//!
//! ```text
//! offset  bytes
//!      0      8  "SORTLINE"
//!      8      2  format version, 1
//!     10      2  number of sections n, 2 or 3
//!     12      4  0
//!     16      8  length of the whole file
//!     24   16*n  section table, for each section in this order:
//!                  4  kind: 1 manifest, 2 network, 3 signature
//!                  4  0
//!                  8  length
//!      .      .  the sections, in the order of the table, without gaps
//!      .     32  BLAKE3 of everything before it
//! ```
//!
//! Integers are little-endian.
//!
//! - **Manifest**: a [`Manifest`] in [postcard](https://postcard.jamesmunns.com/wire-format)'s
//!   format, at most [`MAX_MANIFEST_BYTES`], in its one canonical form.
//! - **Network**: an ONNX model, at most [`MAX_BUNDLE_BYTES`] with everything else. Its input
//!   `image` is `f32 [N, 3, S, S]`, its output `logits` `f32 [N, items]`.
//! - **Signature**, optional: an ed25519 public key (32 bytes) and its signature (64 bytes) of the
//!   bundle's [hash](Bundle::hash).
//!
//! Postcard does not describe itself: a change of [`Manifest`] is a new format version. A reader
//! given any bytes whatever returns a bundle or a [`BundleError`]; lengths are checked before
//! anything is allocated. Any bundle that is read is written again as the same bytes.

mod file;

use std::path::Path;

use ed25519_dalek::{Signature, Signer};
pub use ed25519_dalek::{SigningKey, VerifyingKey};
use thiserror::Error;

use crate::blob::Blob;
use crate::manifest::{Manifest, ManifestError};

/// The first bytes of every bundle.
pub const MAGIC: [u8; 8] = *b"SORTLINE";
/// The format version that is written, and the only one that is read.
pub const FORMAT_VERSION: u16 = 1;
/// Largest bundle, in bytes.
pub const MAX_BUNDLE_BYTES: u64 = 512 * 1024 * 1024;
/// Largest manifest, in bytes.
pub const MAX_MANIFEST_BYTES: u64 = 1024 * 1024;

const HASH_BYTES: usize = 32;
const SIGNATURE_BYTES: usize = 32 + 64;
const HEADER_BYTES: usize = 24;
const ENTRY_BYTES: usize = 16;

const MANIFEST: u32 = 1;
const NETWORK: u32 = 2;
const SIGNATURE: u32 = 3;

/// A trained network with all that it takes to run it.
#[derive(Debug, Clone, PartialEq)]
pub struct Bundle {
    /// What the network is.
    pub manifest: Manifest,
    /// The network itself, as an ONNX model: of a bundle that was opened, a part of its file.
    pub onnx: Blob,
    /// Who vouches for it; see [`Bundle::sign`] and [`Bundle::verify`].
    pub signature: Option<BundleSignature>,
}

/// A public key and its signature, neither of them checked yet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BundleSignature {
    key: [u8; 32],
    signature: [u8; 64],
}

/// Why bytes are not a bundle, or a bundle not bytes.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum BundleError {
    /// The file cannot be read or written.
    #[error("{0}")]
    Io(String),
    /// Another kind of file.
    #[error("this is not a Sortline bundle")]
    NotABundle,
    /// Written by a newer Sortline.
    #[error(
        "the bundle has format version {found}, and this program reads version {FORMAT_VERSION}: update Sortline"
    )]
    NewerVersion {
        /// The bundle's version.
        found: u16,
    },
    /// The end is missing, as after an interrupted copy.
    #[error("the file is cut short: {found} of {expected} bytes; copy it again")]
    CutShort {
        /// The length that it should have, as far as is known.
        expected: u64,
        /// The length that it has.
        found: u64,
    },
    /// Something follows the end.
    #[error("the file goes on for {extra} bytes after the end of the bundle; copy it again")]
    TrailingBytes {
        /// How many.
        extra: u64,
    },
    /// A bundle, or a part of it, beyond its limit.
    #[error("{what} has {bytes} bytes, and at most {limit} are allowed")]
    TooLarge {
        /// What is too large.
        what: &'static str,
        /// Its length.
        bytes: u64,
        /// The limit.
        limit: u64,
    },
    /// A header that no writer writes.
    #[error("the file is damaged: {0}")]
    Header(&'static str),
    /// The bytes are not those that were written.
    #[error("the file is damaged: its checksum does not match; copy it again")]
    Checksum,
    /// The manifest cannot be decoded, or is not encoded canonically.
    #[error("the bundle's manifest cannot be read: {0}")]
    ManifestFormat(String),
    /// The manifest holds values that make no sense.
    #[error("the bundle's manifest is not valid: {0}")]
    Manifest(#[from] ManifestError),
    /// No network in it.
    #[error("the bundle holds no network")]
    NoNetwork,
    /// A signature was asked for and there is none.
    #[error("the bundle is not signed")]
    Unsigned,
    /// Signed by somebody who is not trusted.
    #[error("the bundle is signed with a key that is not trusted here")]
    UntrustedKey,
    /// The signature does not belong to this content.
    #[error("the bundle's signature does not match its content")]
    BadSignature,
}

impl Bundle {
    /// A bundle without signature. [`Bundle::write`] checks it.
    pub fn new(manifest: Manifest, onnx: impl Into<Blob>) -> Bundle {
        Bundle {
            manifest,
            onnx: onnx.into(),
            signature: None,
        }
    }

    /// Reads a bundle from the bytes of a file. The signature, if there is one, is not checked:
    /// see [`Bundle::verify`].
    pub fn read(bytes: &[u8]) -> Result<Bundle, BundleError> {
        Bundle::of(&bytes.to_vec().into())
    }

    /// The network stays where it is.
    fn of(file: &Blob) -> Result<Bundle, BundleError> {
        let sections = Sections::parse(file)?;
        let manifest: Manifest = match postcard::take_from_bytes(&sections.manifest) {
            Ok((manifest, [])) => manifest,
            Ok(_) => return Err(BundleError::ManifestFormat("it is too long".into())),
            Err(error) => return Err(BundleError::ManifestFormat(error.to_string())),
        };
        manifest.check()?;
        let signature = sections
            .signature
            .map(|(key, signature)| BundleSignature { key, signature });
        let bundle = Bundle {
            manifest,
            onnx: sections.network,
            signature,
        };
        if bundle.encode_manifest()? != sections.manifest {
            return Err(BundleError::ManifestFormat(
                "it is not in canonical form".into(),
            ));
        }
        Ok(bundle)
    }

    /// The bytes of a bundle file, which [`Bundle::read`] reads as the same bundle.
    ///
    /// Errors: the manifest is not valid, there is no network, or a part is too large.
    pub fn write(&self) -> Result<Vec<u8>, BundleError> {
        let manifest = self.encode_manifest()?;
        if self.onnx.is_empty() {
            return Err(BundleError::NoNetwork);
        }
        let signature = self
            .signature
            .as_ref()
            .map(|s| [&s.key[..], &s.signature[..]].concat());
        let network = self.onnx.bytes().map_err(file::io_error)?;
        let sections: Vec<(u32, &[u8])> = [
            Some((MANIFEST, &manifest[..])),
            Some((NETWORK, &network[..])),
            signature
                .as_ref()
                .map(|signature| (SIGNATURE, &signature[..])),
        ]
        .into_iter()
        .flatten()
        .collect();
        let content: usize = sections
            .iter()
            .map(|(_, bytes)| ENTRY_BYTES + bytes.len())
            .sum();
        let length = (HEADER_BYTES + content + HASH_BYTES) as u64;
        check_limit("the bundle", length, MAX_BUNDLE_BYTES)?;

        let mut out = Vec::with_capacity(length as usize);
        out.extend(MAGIC);
        out.extend(FORMAT_VERSION.to_le_bytes());
        out.extend((sections.len() as u16).to_le_bytes());
        out.extend(0u32.to_le_bytes());
        out.extend(length.to_le_bytes());
        for (kind, bytes) in &sections {
            out.extend(kind.to_le_bytes());
            out.extend(0u32.to_le_bytes());
            out.extend((bytes.len() as u64).to_le_bytes());
        }
        sections
            .iter()
            .for_each(|(_, bytes)| out.extend_from_slice(bytes));
        let checksum = blake3::hash(&out);
        out.extend(checksum.as_bytes());
        Ok(out)
    }

    /// Reads a bundle file. Errors do not name the file: the caller knows it.
    pub fn open(path: impl AsRef<Path>) -> Result<Bundle, BundleError> {
        Bundle::of(&file::open(path.as_ref())?)
    }

    /// Writes a bundle file so that, whenever the program or the machine stops, either the file
    /// that was there before or the whole new one is there.
    pub fn save(&self, path: impl AsRef<Path>) -> Result<(), BundleError> {
        file::replace(path.as_ref(), &self.write()?)
    }

    /// What identifies the model: the BLAKE3 hash of the manifest's length (8 bytes), the manifest
    /// and the network, in hexadecimal. The same whether signed or not.
    pub fn hash(&self) -> Result<String, BundleError> {
        Ok(self.content_hash()?.to_hex().to_string())
    }

    /// Signs the bundle as it is now, in place of an earlier signature.
    pub fn sign(&mut self, key: &SigningKey) -> Result<(), BundleError> {
        let signature = key.sign(self.content_hash()?.as_bytes()).to_bytes();
        let key = key.verifying_key().to_bytes();
        self.signature = Some(BundleSignature { key, signature });
        Ok(())
    }

    /// Checks that one of the `trusted` keys signed exactly this content.
    pub fn verify(&self, trusted: &[VerifyingKey]) -> Result<(), BundleError> {
        let BundleSignature { key, signature } =
            self.signature.as_ref().ok_or(BundleError::Unsigned)?;
        let key = trusted
            .iter()
            .find(|trusted| trusted.as_bytes() == key)
            .ok_or(BundleError::UntrustedKey)?;
        key.verify_strict(
            self.content_hash()?.as_bytes(),
            &Signature::from_bytes(signature),
        )
        .map_err(|_| BundleError::BadSignature)
    }

    fn content_hash(&self) -> Result<blake3::Hash, BundleError> {
        let manifest = self.encode_manifest()?;
        let mut hasher = blake3::Hasher::new();
        hasher.update(&(manifest.len() as u64).to_le_bytes());
        hasher.update(&manifest);
        let network = self.onnx.for_each_part(|part| _ = hasher.update(part));
        network.map_err(file::io_error)?;
        Ok(hasher.finalize())
    }

    fn encode_manifest(&self) -> Result<Vec<u8>, BundleError> {
        self.manifest.check()?;
        let bytes = postcard::to_stdvec(&self.manifest)
            .map_err(|error| BundleError::ManifestFormat(error.to_string()))?;
        check_limit("the manifest", bytes.len() as u64, MAX_MANIFEST_BYTES)?;
        Ok(bytes)
    }
}

/// The parts of a file whose checksum is right.
struct Sections {
    manifest: Vec<u8>,
    network: Blob,
    signature: Option<([u8; 32], [u8; 64])>,
}

impl Sections {
    fn parse(file: &Blob) -> Result<Sections, BundleError> {
        let bytes = |blob: Blob| blob.bytes().map_err(file::io_error);
        let header = bytes(file.slice(0..file.len().min(HEADER_BYTES)))?;
        let count = check_header(&header, file.len() as u64)?;
        let end = file.len().checked_sub(HASH_BYTES);
        let end = end.filter(|end| *end >= HEADER_BYTES);
        let end = end.ok_or(BundleError::Header("it is too short"))?;
        let mut hasher = blake3::Hasher::new();
        let hashed = file
            .slice(0..end)
            .for_each_part(|part| _ = hasher.update(part));
        hashed.map_err(file::io_error)?;
        if hasher.finalize() != *bytes(file.slice(end..file.len()))? {
            return Err(BundleError::Checksum);
        }
        let mut rest = file.slice(HEADER_BYTES..end);
        let mut take = |length: u64| -> Result<Blob, BundleError> {
            let taken = usize::try_from(length).ok().filter(|n| *n <= rest.len());
            let taken = taken.ok_or(BundleError::Header("its sections are longer than it"))?;
            let section = rest.slice(0..taken);
            rest = rest.slice(taken..rest.len());
            Ok(section)
        };
        let table = bytes(take((count * ENTRY_BYTES) as u64)?)?;
        let mut fields = Fields(&table);
        let mut lengths = [0; 3];
        for (length, kind) in lengths.iter_mut().zip(MANIFEST..).take(count) {
            if fields.u32()? != kind || fields.u32()? != 0 {
                return Err(BundleError::Header("its section table is not valid"));
            }
            *length = fields.u64()?;
        }
        check_limit("the manifest", lengths[0], MAX_MANIFEST_BYTES)?;
        let manifest = bytes(take(lengths[0])?)?;
        let network = take(lengths[1])?;
        if network.is_empty() {
            return Err(BundleError::NoNetwork);
        }
        let signature = match count {
            3 if lengths[2] == SIGNATURE_BYTES as u64 => {
                let signature = bytes(take(lengths[2])?)?;
                let mut fields = Fields(&signature);
                Some((fields.array()?, fields.array()?))
            }
            3 => return Err(BundleError::Header("its signature has a wrong length")),
            _ => None,
        };
        if !rest.is_empty() {
            return Err(BundleError::Header("its sections do not fill it"));
        }
        Ok(Sections {
            manifest,
            network,
            signature,
        })
    }
}

/// Checks the header, of which `bytes` is what there is, against the file's length and gives the number
/// of sections.
fn check_header(bytes: &[u8], found: u64) -> Result<usize, BundleError> {
    let begins = bytes.len().min(MAGIC.len());
    if bytes.is_empty() || bytes[..begins] != MAGIC[..begins] {
        return Err(BundleError::NotABundle);
    }
    check_limit("the bundle", found, MAX_BUNDLE_BYTES)?;
    let cut = |_| BundleError::CutShort {
        expected: HEADER_BYTES as u64,
        found,
    };
    let mut fields = Fields(&bytes[begins..]);
    let version = fields.u16().map_err(cut)?;
    if version > FORMAT_VERSION {
        return Err(BundleError::NewerVersion { found: version });
    }
    if version == 0 {
        return Err(BundleError::Header("it has format version 0"));
    }
    let count = fields.u16().map_err(cut)?;
    let reserved = fields.u32().map_err(cut)?;
    let expected = fields.u64().map_err(cut)?;
    check_limit("the bundle", expected, MAX_BUNDLE_BYTES)?;
    if found < expected {
        return Err(BundleError::CutShort { expected, found });
    }
    if found > expected {
        return Err(BundleError::TrailingBytes {
            extra: found - expected,
        });
    }
    if !(2..=3).contains(&count) || reserved != 0 {
        return Err(BundleError::Header("its header is not valid"));
    }
    Ok(count.into())
}

/// Takes little-endian fields off the front.
struct Fields<'a>(&'a [u8]);

impl<'a> Fields<'a> {
    fn take(&mut self, length: u64) -> Result<&'a [u8], BundleError> {
        let (taken, rest) = usize::try_from(length)
            .ok()
            .and_then(|length| self.0.split_at_checked(length))
            .ok_or(BundleError::Header("its sections are longer than it"))?;
        self.0 = rest;
        Ok(taken)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], BundleError> {
        let mut array = [0; N];
        array.copy_from_slice(self.take(N as u64)?);
        Ok(array)
    }

    fn u16(&mut self) -> Result<u16, BundleError> {
        self.array().map(u16::from_le_bytes)
    }

    fn u32(&mut self) -> Result<u32, BundleError> {
        self.array().map(u32::from_le_bytes)
    }

    fn u64(&mut self) -> Result<u64, BundleError> {
        self.array().map(u64::from_le_bytes)
    }
}

fn check_limit(what: &'static str, bytes: u64, limit: u64) -> Result<(), BundleError> {
    if bytes <= limit {
        Ok(())
    } else {
        Err(BundleError::TooLarge { what, bytes, limit })
    }
}
