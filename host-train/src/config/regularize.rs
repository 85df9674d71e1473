//! How much chance there is inside a network while it trains.

use anyhow::{Result, ensure};
use models::{Graph, Op};

/// Sets the probabilities of dropout and stochastic depth that are given. Blocks keep their share of
/// the last one's stochastic depth.
pub(super) fn apply(graph: &mut Graph, dropout: Option<f64>, depth: Option<f64>) -> Result<()> {
    for (name, part) in [("dropout", dropout), ("stochastic_depth", depth)] {
        let part = part.unwrap_or(0.0);
        ensure!((0.0..=0.9).contains(&part), "{name} must be in 0..=0.9");
    }
    let depths = graph.nodes.iter().map(|node| match node.op {
        Op::StochasticDepth { p } => p,
        _ => 0.0,
    });
    let last = depths.fold(0.0, f64::max);
    ensure!(
        depth.is_none_or(|depth| depth == 0.0) || last > 0.0,
        "stochastic_depth: {} has none; efficientnet-b0 to -b7 have",
        graph.name
    );
    for node in &mut graph.nodes {
        match (&mut node.op, dropout, depth) {
            (Op::Dropout { p }, Some(dropout), _) => *p = dropout,
            (Op::StochasticDepth { p }, _, Some(depth)) => *p *= depth / last,
            _ => {}
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use models::zoo;

    fn probabilities(graph: &Graph) -> (f64, Vec<f64>) {
        let (mut dropout, mut depths) = (0.0, Vec::new());
        for node in &graph.nodes {
            match node.op {
                Op::Dropout { p } => dropout = p,
                Op::StochasticDepth { p } => depths.push(p),
                _ => {}
            }
        }
        (dropout, depths)
    }

    #[test]
    fn blocks_keep_their_share() {
        let published = zoo::build("efficientnet-b0", 10, None).unwrap();
        let mut graph = published.clone();
        apply(&mut graph, None, None).unwrap();
        assert_eq!(graph, published);
        apply(&mut graph, Some(0.5), Some(0.3)).unwrap();
        let ((_, before), (dropout, depths)) = (probabilities(&published), probabilities(&graph));
        assert_eq!(dropout, 0.5);
        for (share, now) in before.iter().zip(&depths) {
            assert!((now / depths[0] - share / before[0]).abs() < 1e-9);
        }
        assert!((depths.iter().copied().fold(0.0, f64::max) - 0.3).abs() < 1e-12);
    }

    #[test]
    fn what_a_network_does_not_have_is_said() {
        let mut graph = zoo::build("resnet18", 10, None).unwrap();
        apply(&mut graph, Some(0.2), Some(0.0)).unwrap();
        assert_eq!(probabilities(&graph).0, 0.2);
        for (dropout, depth, named) in [
            (None, Some(0.2), "resnet18"),
            (Some(1.0), None, "dropout"),
            (None, Some(-0.1), "stochastic_depth"),
        ] {
            let error = apply(&mut graph, dropout, depth).unwrap_err();
            assert!(error.to_string().contains(named), "{error}");
        }
    }
}
