//! Hashes: of bodies in the ledger, of long message IDs, of dead letters.

use sha2::{Digest, Sha256};

/// SHA-256 over several parts, each preceded by its length, so that `("a", "bc")` and
/// `("ab", "c")` differ. A single part is hashed as it is, so that `sha256sum` agrees.
pub fn sha256(parts: &[&[u8]]) -> [u8; 32] {
    let mut hasher = Sha256::new();
    for part in parts {
        if parts.len() > 1 {
            hasher.update((part.len() as u64).to_be_bytes());
        }
        hasher.update(part);
    }
    hasher.finalize().into()
}

/// The first 16 bytes of the SHA-256 of a body.
pub fn body_hash(body: &[u8]) -> [u8; 16] {
    let mut short = [0; 16];
    short.copy_from_slice(&sha256(&[body])[..16]);
    short
}

/// Lower-case hexadecimal.
pub fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write;
    bytes.iter().fold(String::with_capacity(bytes.len() * 2), |mut text, byte| {
        // Writing to a String can't fail.
        write!(text, "{byte:02x}").ok();
        text
    })
}
