//! The number that stands for a client's address, the same here as in the kernel, so that the
//! primary sends a client it accepts itself where the program would have sent it.

use std::net::{IpAddr, Ipv6Addr};

/// Odd numbers whose bits are well mixed: 2³² divided by the golden ratio, and the two of
/// MurmurHash3's last step, whose shifts these are too.
pub(super) const FIRST_FACTOR: u32 = 0x9e37_79b1;
pub(super) const SECOND_FACTOR: u32 = 0x85eb_ca6b;
pub(super) const LAST_FACTOR: u32 = 0xc2b2_ae35;
pub(super) const SHIFTS: [u32; 3] = [16, 13, 16];

/// Hashes what a client keeps: the whole of an IPv4 address, also if it is written as an IPv6
/// one, and the first 64 bits of an IPv6 address. The rest of that changes as the client pleases
/// (RFC 8981).
///
/// The number of the place in a list is this modulo the list's length. It is the same on all
/// machines of one byte order, and no secret: a client that can choose its address can choose
/// its worker.
#[must_use]
pub fn address_hash(client: IpAddr) -> u32 {
    let (first, second) = words(client);
    let mut hash = first;
    for (round, factor) in [FIRST_FACTOR, SECOND_FACTOR, LAST_FACTOR].into_iter().enumerate() {
        hash = hash.wrapping_mul(factor);
        hash ^= hash >> SHIFTS[round];
        if round == 0 {
            hash ^= second;
        }
    }
    hash
}

/// What is hashed, in the bytes of the packet as the machine reads them.
fn words(client: IpAddr) -> (u32, u32) {
    match client.to_canonical() {
        IpAddr::V4(address) => (u32::from_ne_bytes(address.octets()), 0),
        IpAddr::V6(address) => network_words(address),
    }
}

fn network_words(address: Ipv6Addr) -> (u32, u32) {
    let [a, b, c, d, e, f, g, h, ..] = address.octets();
    (u32::from_ne_bytes([a, b, c, d]), u32::from_ne_bytes([e, f, g, h]))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hash(address: &str) -> u32 {
        address_hash(address.parse().unwrap())
    }

    #[test]
    fn a_client_is_its_ipv4_address_or_its_ipv6_network() {
        assert_eq!(hash("192.0.2.1"), hash("::ffff:192.0.2.1"));
        assert_ne!(hash("192.0.2.1"), hash("192.0.2.2"));
        assert_eq!(hash("2001:db8:0:1::1"), hash("2001:db8:0:1:ffff::2"));
        assert_ne!(hash("2001:db8:0:1::1"), hash("2001:db8:0:2::1"));
    }

    #[test]
    fn neighbours_are_spread() {
        let mut seats = [0; 4];
        for last in 0..=255 {
            seats[(address_hash(IpAddr::from([10, 0, 0, last])) % 4) as usize] += 1;
        }
        assert!(seats.iter().all(|count| (40..=90).contains(count)), "{seats:?}");
    }
}
