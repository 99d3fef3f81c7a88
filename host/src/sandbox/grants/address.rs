//! Which addresses are the public internet, and which are nobody's business.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// How far away an address is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Reach {
    /// Anybody may ask it.
    Public,
    /// This machine or its private network.
    Private,
    /// Link-local, a cloud's metadata service, no single machine, or a wrapping of another address.
    Special,
}

/// Tells where an address lies. Whatever wraps an IPv4 address in an IPv6 one is judged by what is inside, or refused.
pub(crate) fn reach(address: IpAddr) -> Reach {
    match address.to_canonical() {
        IpAddr::V4(v4) => v4_reach(v4),
        IpAddr::V6(v6) => v6_reach(v6),
    }
}

fn v4_reach(ip: Ipv4Addr) -> Reach {
    match ip.octets() {
        // Metadata and wire servers of clouds that stand outside the usual ranges.
        [168, 63, 129, 16] | [100, 100, 100, 200] => Reach::Special,
        [0, ..] | [192, 0, 0, _] | [192, 88, 99, _] | [198, 18 | 19, ..] | [224..=255, ..] => Reach::Special,
        _ if ip.is_link_local() || ip.is_documentation() => Reach::Special,
        [100, 64..=127, ..] => Reach::Private,
        _ if ip.is_loopback() || ip.is_private() => Reach::Private,
        _ => Reach::Public,
    }
}

fn v6_reach(ip: Ipv6Addr) -> Reach {
    match ip.segments() {
        // Metadata, time and name servers of Amazon and Google, in the midst of a private range.
        [0xfd00, 0xec2, ..] | [0xfd20, 0xce, ..] => Reach::Special,
        _ if ip.is_multicast() || ip.is_unicast_link_local() => Reach::Special,
        _ if ip.is_loopback() || ip.is_unique_local() => Reach::Private,
        // Global unicast, but for Teredo, documentation, benchmarks and 6to4, which wrap or mean other addresses.
        [0x2001, 0..=0x1ff, ..] | [0x2001, 0xdb8, ..] | [0x2002, ..] | [0x3fff, ..] => Reach::Special,
        [0x2000..=0x3fff, ..] => Reach::Public,
        // Among them NAT64 (64:ff9b::) and IPv4-compatible addresses.
        _ => Reach::Special,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_range_is_told() {
        let of = |text: &str| reach(text.parse().expect("an address"));
        for text in ["1.1.1.1", "8.8.8.8", "100.63.0.1", "172.32.0.1", "2606:4700::1111", "::ffff:1.1.1.1"] {
            assert_eq!(of(text), Reach::Public, "{text}");
        }
        for text in [
            "127.0.0.1",
            "127.9.9.9",
            "10.1.2.3",
            "172.16.0.1",
            "192.168.0.1",
            "100.64.0.1",
            "::1",
            "fd12::1",
            "::ffff:127.0.0.1",
            "::ffff:10.0.0.1",
        ] {
            assert_eq!(of(text), Reach::Private, "{text}");
        }
        for text in [
            "0.0.0.0",
            "169.254.169.254",
            "192.0.0.192",
            "168.63.129.16",
            "100.100.100.200",
            "224.0.0.1",
            "255.255.255.255",
            "::",
            "fe80::1",
            "fd00:ec2::254",
            "fd00:ec2::23",
            "fd20:ce::254",
            "ff02::1",
            "64:ff9b::7f00:1",
            "2002:7f00:1::",
            "2001::1",
            "::7f00:1",
            "::ffff:169.254.169.254",
            "64:ff9b:1::1",
            "fec0::1",
            "2001:db8::1",
        ] {
            assert_eq!(of(text), Reach::Special, "{text}");
        }
    }
}
