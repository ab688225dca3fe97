//! Who is asking: the address behind the proxies that are ours.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use http::HeaderMap;

/// The connection's other end, in a request's extensions.
#[derive(Clone, Copy, Debug)]
pub struct Peer(pub SocketAddr);

const FORWARDED: &str = "x-forwarded-for";

/// The client's address: that of the connection, or, behind `proxies` proxies of
/// ours, the one that the first of them saw. Each appends what it sees to
/// X-Forwarded-For, so only the last `proxies` entries are theirs; whatever
/// stands before is the client's to forge. An entry may have a port; one that is
/// missing or no address is taken for the connection's own.
#[must_use]
pub fn address(peer: IpAddr, headers: &HeaderMap, proxies: usize) -> IpAddr {
    let Some(index) = proxies.checked_sub(1) else { return peer.to_canonical() };
    let values = headers.get_all(FORWARDED).iter().rev();
    // By bytes: what a client forges need not be text.
    let mut entries = values.flat_map(|value| value.as_bytes().rsplit(|byte| *byte == b','));
    entries.nth(index).and_then(parse).unwrap_or(peer).to_canonical()
}

/// `address`, `address:port`, `[v6]:port` or `[v6]`: proxies differ.
fn parse(entry: &[u8]) -> Option<IpAddr> {
    let entry = str::from_utf8(entry.trim_ascii()).ok()?;
    let with_port = || entry.parse().ok().map(|address: SocketAddr| address.ip());
    let in_brackets = || entry.strip_prefix('[')?.strip_suffix(']')?.parse().ok().map(IpAddr::V6);
    entry.parse().ok().or_else(with_port).or_else(in_brackets)
}

/// What one client can't have more of than it pays for: an IPv4 address, or the
/// /64 that an IPv6 host is given to choose its addresses from.
#[must_use]
pub fn network(address: IpAddr) -> u64 {
    match address.to_canonical() {
        IpAddr::V4(v4) => u64::from(Ipv4Addr::to_bits(v4)),
        IpAddr::V6(v6) => {
            let [.., low] = [v6.to_bits() >> 64];
            u64::try_from(low).unwrap_or(u64::MAX)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::{HeaderName, HeaderValue};

    fn behind(proxies: usize, fields: &[&'static str]) -> String {
        let mut headers = HeaderMap::new();
        for field in fields {
            headers.append("x-forwarded-for", field.parse().unwrap());
        }
        address("192.0.2.1".parse().unwrap(), &headers, proxies).to_string()
    }

    #[test]
    fn what_a_client_forges_is_passed_over() {
        let forged = ["198.51.100.7, 203.0.113.9"];
        assert_eq!(behind(0, &forged), "192.0.2.1", "no proxy is ours");
        assert_eq!(behind(1, &forged), "203.0.113.9");
        assert_eq!(behind(2, &forged), "198.51.100.7");
        assert_eq!(behind(3, &forged), "192.0.2.1", "fewer entries than proxies");
        assert_eq!(behind(2, &["1.1.1.1", "2.2.2.2,3.3.3.3"]), "2.2.2.2", "over several fields");
        assert_eq!(behind(1, &["1.1.1.1, nonsense"]), "192.0.2.1");
    }

    #[test]
    fn an_address_may_have_a_port() {
        for (entry, address) in [
            ("203.0.113.9:4711", "203.0.113.9"),
            ("[2001:db8::1]:4711", "2001:db8::1"),
            ("[2001:db8::1]", "2001:db8::1"),
            ("[::ffff:203.0.113.9]:4711", "203.0.113.9"),
            ("2001:db8::1", "2001:db8::1"),
            ("203.0.113.9:", "192.0.2.1"),
            ("203.0.113.9:port", "192.0.2.1"),
            ("[203.0.113.9", "192.0.2.1"),
        ] {
            assert_eq!(behind(1, &[entry]), address, "{entry}");
        }
    }

    #[test]
    fn a_byte_that_is_no_text_counts_for_its_own_entry_alone() {
        let forged = HeaderValue::from_bytes(b"\xff, 1.1.1.1\xff, 203.0.113.9").unwrap();
        let headers = HeaderMap::from_iter([(HeaderName::from_static(FORWARDED), forged)]);
        let behind = |proxies| address("192.0.2.1".parse().unwrap(), &headers, proxies).to_string();
        assert_eq!(behind(1), "203.0.113.9");
        assert_eq!(behind(2), "192.0.2.1");
        assert_eq!(behind(3), "192.0.2.1");
    }

    #[test]
    fn an_ipv4_address_has_one_network_however_it_is_written() {
        let of = |text: &str| network(text.parse().unwrap());
        assert_eq!(of("::ffff:192.0.2.1"), of("192.0.2.1"));
        assert_ne!(of("192.0.2.1"), of("192.0.2.2"));
        assert_eq!(of("2001:db8:1:2::1"), of("2001:db8:1:2:ffff::9"), "one /64");
        assert_ne!(of("2001:db8:1:2::1"), of("2001:db8:1:3::1"));
    }
}
