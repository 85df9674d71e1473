//! Key files: one line with the kind of key and the key itself in hexadecimal.
//!
//! ```text
//! sortline-secret-key 9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60
//! sortline-public-key d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a
//! ```
//!
//! Keys are [ed25519](https://www.rfc-editor.org/rfc/rfc8032) keys of 32 bytes. Who has the secret one can
//! [sign](crate::Bundle::sign) bundles; who has the public one can tell that they were.

use thiserror::Error;

use crate::bundle::{SigningKey, VerifyingKey};

const SECRET: &str = "sortline-secret-key";
const PUBLIC: &str = "sortline-public-key";

/// Why a text is not the key that was wanted.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum KeyError {
    /// It is a key of the other kind.
    #[error("is a public key; signing takes the secret one, from the file without .pub")]
    Public,
    /// The same the other way round.
    #[error(
        "is a secret key, which belongs on no board; what is wanted is the public one, in the file with .pub"
    )]
    Secret,
    /// It is no key.
    #[error("is not a key file: one line of `{SECRET}` or `{PUBLIC}` and 64 hexadecimal digits")]
    Format,
}

/// The text of a file with a secret key.
pub fn write_secret(key: &SigningKey) -> String {
    format!(
        "{SECRET} {}\n",
        blake3::Hash::from_bytes(key.to_bytes()).to_hex()
    )
}

/// The text of a file with a public key.
pub fn write_public(key: &VerifyingKey) -> String {
    format!(
        "{PUBLIC} {}\n",
        blake3::Hash::from_bytes(key.to_bytes()).to_hex()
    )
}

/// Reads what [`write_secret`] wrote.
pub fn read_secret(text: &str) -> Result<SigningKey, KeyError> {
    let bytes = parse(text, SECRET, KeyError::Public)?;
    Ok(SigningKey::from_bytes(&bytes))
}

/// Reads what [`write_public`] wrote.
pub fn read_public(text: &str) -> Result<VerifyingKey, KeyError> {
    let bytes = parse(text, PUBLIC, KeyError::Secret)?;
    VerifyingKey::from_bytes(&bytes).map_err(|_| KeyError::Format)
}

fn parse(text: &str, kind: &str, other: KeyError) -> Result<[u8; 32], KeyError> {
    let (found, digits) = text.trim().split_once(' ').ok_or(KeyError::Format)?;
    let key = blake3::Hash::from_hex(digits.trim()).map_err(|_| KeyError::Format)?;
    match found {
        found if found == kind => Ok(*key.as_bytes()),
        SECRET | PUBLIC => Err(other),
        _ => Err(KeyError::Format),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn keys_are_read_as_they_were_written(seed: [u8; 32]) {
            let secret = SigningKey::from_bytes(&seed);
            let public = secret.verifying_key();
            prop_assert_eq!(read_secret(&write_secret(&secret)).unwrap().to_bytes(), seed);
            prop_assert_eq!(read_public(&write_public(&public)), Ok(public));
            prop_assert_eq!(read_secret(&write_public(&public)).unwrap_err(), KeyError::Public);
            prop_assert_eq!(read_public(&write_secret(&secret)).unwrap_err(), KeyError::Secret);
        }

        #[test]
        fn any_text_is_a_key_or_an_error(text in "(sortline-(secret|public)-key )?[0-9a-fg \n]{0,70}|.{0,100}") {
            let _ = (read_secret(&text), read_public(&text));
        }
    }

    #[test]
    fn the_public_key_is_the_one_of_the_standard() {
        // RFC 8032, section 7.1, test 1.
        let secret =
            "sortline-secret-key 9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60";
        let public = read_secret(secret).unwrap().verifying_key();
        let expected = "d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a";
        assert_eq!(
            write_public(&public),
            format!("sortline-public-key {expected}\n")
        );
    }
}
