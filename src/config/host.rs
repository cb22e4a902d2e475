//! What a host's name says.

use std::net::IpAddr;

/// Whether what is sent to a host of this name never leaves this machine. Other names may lead here,
/// too; that is not for a name server to say, whom others could answer for.
pub(crate) fn is_loopback(host: &str) -> bool {
    let bare = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
    match bare.parse::<IpAddr>() {
        Ok(address) => address.to_canonical().is_loopback(),
        Err(_) => bare.eq_ignore_ascii_case("localhost"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_stays_here_is_local() {
        for host in ["localhost", "LocalHost", "127.0.0.1", "127.9.9.9", "::1", "[::1]", "::ffff:127.0.0.1"] {
            assert!(is_loopback(host), "{host}");
        }
        for host in ["", "localhost.example.com", "127.0.0.1.example.com", "0.0.0.0", "10.0.0.1", "[::2]", "rabbit"] {
            assert!(!is_loopback(host), "{host}");
        }
    }
}
