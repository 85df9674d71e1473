//! `se`: where the network has squeeze-and-excitation, as a part of its name.

use anyhow::{Context, Result, bail};
use clap::ValueEnum;
use models::zoo;
use serde::{Deserialize, Serialize};
use toml::Table;

/// Where squeeze-and-excitation stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ValueEnum)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Squeeze {
    /// In every block: `se-resnet50`, `se-xception`.
    Blocks,
    /// Once, behind the backbone: `se-resnet50-head`, `se-xception-head`.
    Head,
}

/// Puts the network that `se` says in the place of the one that is named: `network = "se-resnet50"`,
/// `se = "head"` is `network = "se-resnet50-head"`. `begun`: the network where the table names none.
pub(super) fn resolve(mut table: Table, begun: Option<&str>) -> Result<Table> {
    let Some(value) = table.remove("se") else {
        return Ok(table);
    };
    let squeeze: Squeeze = match value.try_into() {
        Ok(squeeze) => squeeze,
        Err(error) => {
            let error: toml::de::Error = error;
            bail!("se: {}", error.message());
        }
    };
    let named = table.get("network").and_then(toml::Value::as_str);
    let named = named.or(begun).context("no network is named")?;
    let plain = named.strip_prefix("se-").unwrap_or(named);
    let plain = plain.strip_suffix("-head").unwrap_or(plain);
    let network = match squeeze {
        Squeeze::Blocks => format!("se-{plain}"),
        Squeeze::Head => format!("se-{plain}-head"),
    };
    if !zoo::names().contains(&network.as_str()) {
        bail!("se: {named} has no such form; se-resnet50 and se-xception have");
    }
    table.insert("network".into(), network.into());
    Ok(table)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_form_is_another_network() {
        for (network, squeeze, expect) in [
            ("se-resnet50", "head", "se-resnet50-head"),
            ("se-resnet50-head", "head", "se-resnet50-head"),
            ("se-xception-head", "blocks", "se-xception"),
            ("xception", "head", "se-xception-head"),
        ] {
            let text = format!("network = '{network}'\nse = '{squeeze}'");
            let expect: Table = format!("network = '{expect}'").parse().unwrap();
            assert_eq!(resolve(text.parse().unwrap(), None).unwrap(), expect);
            let alone = format!("se = '{squeeze}'").parse().unwrap();
            assert_eq!(resolve(alone, Some(network)).unwrap(), expect);
        }
        for (text, named) in [
            ("network = 'mobilenet-v2'\nse = 'head'", "mobilenet-v2"),
            ("network = 'se-resnet50'\nse = 'tail'", "tail"),
            ("se = 'head'", "network"),
        ] {
            let error = resolve(text.parse().unwrap(), None).unwrap_err();
            assert!(error.to_string().contains(named), "{error}");
        }
    }
}
