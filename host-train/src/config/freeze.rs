//! What keeps its weights.

use std::convert::Infallible;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// What keeps its weights.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "String", into = "String")]
pub(crate) enum Freeze {
    /// Nothing; there is no first stage.
    None,
    /// All but the classifier, in the first stage.
    Backbone,
    /// All but the classifier in the first stage, and to the end all up to here: a node of the
    /// network, or `stage3`.
    Until(String),
}

impl From<String> for Freeze {
    fn from(text: String) -> Freeze {
        match text.as_str() {
            "none" => Freeze::None,
            "backbone" => Freeze::Backbone,
            _ => Freeze::Until(text),
        }
    }
}

impl From<Freeze> for String {
    fn from(freeze: Freeze) -> String {
        match freeze {
            Freeze::None => "none".to_owned(),
            Freeze::Backbone => "backbone".to_owned(),
            Freeze::Until(name) => name,
        }
    }
}

impl FromStr for Freeze {
    type Err = Infallible;

    fn from_str(text: &str) -> Result<Freeze, Infallible> {
        Ok(text.to_owned().into())
    }
}
