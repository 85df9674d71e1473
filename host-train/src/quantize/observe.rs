//! Measurements on calibration photos.

use std::collections::BTreeMap;

use anyhow::{Result, ensure};
use models::passes::MeanMaps;
use models::quantize::{Affine, Histogram, Role, Scheme, roles};
use models::{Graph, Op, PreprocessSpec, Weights};

use super::probe::Probe;
use crate::loader::square_len;
use crate::progress::Progress;
use crate::squares::Squares;

/// Photos that one thread sums up at a time.
const PART: usize = 8;

/// What flows through a network in f32.
pub(super) struct Seen {
    /// For every node that has a range of its own the values for every other photo and for the rest.
    pub(super) halves: BTreeMap<usize, [Histogram; 2]>,
    /// For every node, if it was watched, the largest absolute value of each channel.
    pub(super) peaks: Vec<Vec<f32>>,
}

/// The nodes with a range of their own; that of the input follows from the preprocessing.
pub(super) fn watched(graph: &Graph) -> Vec<usize> {
    let roles = roles(graph);
    (1..graph.nodes.len())
        .filter(|&index| roles[index] == Role::Own)
        .collect()
}

/// How the input is rounded: so that the darkest and the brightest pixel are met.
pub(super) fn input_range(spec: &PreprocessSpec) -> Result<Affine> {
    let mut ends = [0.0f32; 2];
    for brightness in [u8::MIN, u8::MAX] {
        let mut numbers = vec![0.0; square_len(spec)];
        spec.normalize(&vec![brightness; numbers.len()], &mut numbers)?;
        for value in numbers {
            ends = [ends[0].min(value), ends[1].max(value)];
        }
    }
    Ok(Affine::covering(ends))
}

/// Watches all photos go through the network in f32.
pub(super) fn observe(graph: &Graph, weights: &Weights, photos: &Squares) -> Result<Seen> {
    let (nodes, shapes) = (watched(graph), graph.shapes()?);
    let probe = Probe::new(graph, weights, &Scheme::float(graph), &nodes)?;
    let progress = Progress::new("watching f32", "photos", photos.len() as u64);
    let mut seen = Seen {
        halves: nodes
            .iter()
            .map(|&node| (node, Default::default()))
            .collect(),
        peaks: vec![Vec::new(); graph.nodes.len()],
    };
    for &node in &nodes {
        seen.peaks[node] = vec![0.0; shapes[node].channels()];
    }
    let watch = |photo: usize| {
        let mut values = Vec::with_capacity(nodes.len());
        let mut finite = true;
        probe.run(&photos.numbers(photo)?, |place, output| {
            let channel = output.len() / shapes[nodes[place]].channels();
            let peak = |values: &[f32]| values.iter().fold(0.0f32, |most, x| most.max(x.abs()));
            let peaks: Vec<f32> = output.chunks_exact(channel).map(peak).collect();
            finite &= output.iter().all(|value| value.is_finite());
            values.push((Histogram::of(output), peaks));
        })?;
        ensure!(
            finite,
            "the f32 network gives numbers that are not finite on a calibration photo"
        );
        progress.advance(1);
        Ok(values)
    };
    photos.each(watch, |photo, values| {
        for (node, (histogram, peaks)) in nodes.iter().zip(values) {
            if let Some(halves) = seen.halves.get_mut(node) {
                halves[photo % 2].merge(&histogram);
            }
            for (peak, new) in seen.peaks[*node].iter_mut().zip(peaks) {
                *peak = peak.max(new);
            }
        }
        Ok(())
    })?;
    progress.finish();
    Ok(seen)
}

/// The mean inputs of all layers, exact and as `ranges` round them.
pub(super) fn mean_inputs(
    graph: &Graph,
    weights: &Weights,
    ranges: &[Affine],
    photos: &Squares,
) -> Result<BTreeMap<usize, MeanMaps>> {
    let layers = graph
        .nodes
        .iter()
        .filter(|node| matches!(node.op, Op::Conv { .. } | Op::Dense { .. }));
    let mut nodes: Vec<usize> = layers.map(|node| node.inputs[0]).collect();
    nodes.sort_unstable();
    nodes.dedup();
    let (roles, shapes) = (roles(graph), graph.shapes()?);
    let range = |node: usize| match roles[node] {
        Role::Shared(owner) => ranges[owner],
        _ => ranges[node],
    };
    let probe = Probe::new(graph, weights, &Scheme::float(graph), &nodes)?;
    let progress = Progress::new("averaging", "photos", photos.len() as u64);
    let empty = || -> Vec<[Vec<f32>; 2]> {
        let zeros = |&node: &usize| [0, 1].map(|_| vec![0.0; shapes[node].len()]);
        nodes.iter().map(zeros).collect()
    };
    let add_up = |part: usize| {
        let mut sums = empty();
        for photo in (part * PART..photos.len()).take(PART) {
            probe.run(&photos.numbers(photo)?, |place, output| {
                let affine = range(nodes[place]);
                let [exact, rounded] = &mut sums[place];
                for ((exact, rounded), &value) in exact.iter_mut().zip(rounded).zip(output) {
                    *exact += value;
                    *rounded += affine.round(value);
                }
            })?;
            progress.advance(1);
        }
        Ok(sums)
    };
    let mut means: Vec<MeanMaps> = Vec::new();
    let add = |sum: &mut Vec<f64>, part: &[f32]| {
        sum.resize(part.len(), 0.0);
        let mean = |value: &f32| f64::from(*value) / photos.len() as f64;
        sum.iter_mut()
            .zip(part)
            .for_each(|(sum, value)| *sum += mean(value));
    };
    photos.parts(PART, add_up, |_, sums| {
        means.resize_with(sums.len(), MeanMaps::default);
        for (mean, [exact, rounded]) in means.iter_mut().zip(&sums) {
            add(&mut mean.exact, exact);
            add(&mut mean.rounded, rounded);
        }
        Ok(())
    })?;
    progress.finish();
    Ok(nodes.into_iter().zip(means).collect())
}

/// The signal-to-noise ratio of every watched tensor of a network in 8 bits against f32, in decibels; the
/// two may have other weights as long as each channel means the same.
pub(super) fn tensor_noise(
    graph: &Graph,
    weights: &Weights,
    [float, integer]: [&Scheme; 2],
    photos: &Squares,
) -> Result<BTreeMap<usize, f64>> {
    let nodes = watched(graph);
    let exact = Probe::new(graph, weights, float, &nodes)?;
    let rounded = Probe::new(graph, weights, integer, &nodes)?;
    let progress = Progress::new("comparing layers", "photos", photos.len() as u64);
    let mut sums = vec![[0.0f64; 2]; nodes.len()];
    let compare = |photo: usize| {
        let image = photos.numbers(photo)?;
        let mut outputs: Vec<Vec<f32>> = Vec::with_capacity(nodes.len());
        exact.run(&image, |_, output| outputs.push(output.to_vec()))?;
        let mut sums = Vec::with_capacity(nodes.len());
        rounded.run(&image, |place, output| {
            sums.push(powers(&outputs[place], output));
        })?;
        progress.advance(1);
        Ok(sums)
    };
    photos.each(compare, |_, part| {
        for (sum, [signal, noise]) in sums.iter_mut().zip(part) {
            sum[0] += signal;
            sum[1] += noise;
        }
        Ok(())
    })?;
    progress.finish();
    let ratio = sums
        .into_iter()
        .map(|[signal, noise]| decibels(signal, noise));
    Ok(nodes.into_iter().zip(ratio).collect())
}

/// The sums of the squares of what is wanted, and of how far from it what was found is.
pub(super) fn powers(wanted: &[f32], found: &[f32]) -> [f64; 2] {
    let pairs = wanted.iter().zip(found);
    pairs.fold([0.0; 2], |[signal, noise], (&wanted, &found)| {
        let apart = f64::from(wanted) - f64::from(found);
        [signal + f64::from(wanted).powi(2), noise + apart * apart]
    })
}

/// A signal-to-noise ratio; 200 where there is no noise.
pub(super) fn decibels(signal: f64, noise: f64) -> f64 {
    (10.0 * (signal / noise.max(f64::MIN_POSITIVE)).log10()).clamp(-200.0, 200.0)
}
