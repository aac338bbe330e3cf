//! Addresses that no cluster of somebody else's can be at: our own pod, its node, the cloud's metadata service.
//!
//! A credential's kubeconfig names the server, so whoever writes one could have the master talk to itself or to what
//! only it can reach. `--allow-addresses` lifts that for single addresses, e.g. of a test on a laptop.

use std::fmt;
use std::net::{IpAddr, Ipv6Addr};
use std::str::FromStr;

/// What `--allow-addresses` allows besides all ordinary addresses.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AddressRules(Vec<Rule>);

#[derive(Clone, Debug, PartialEq, Eq)]
enum Rule {
    Net(IpAddr, u32),
    Name(String),
}

/// An entry of `--allow-addresses` that cannot be understood.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is no IP address, no network like 127.0.0.0/8 and no host name")]
pub struct BadAddress(pub String);

impl FromStr for AddressRules {
    type Err = BadAddress;

    /// IP addresses, networks in CIDR notation and host names, comma separated.
    fn from_str(text: &str) -> Result<Self, BadAddress> {
        text.split(',').map(str::trim).filter(|entry| !entry.is_empty()).map(rule).collect::<Result<_, _>>().map(Self)
    }
}

fn rule(entry: &str) -> Result<Rule, BadAddress> {
    let bad = || BadAddress(entry.to_owned());
    if let Some((ip, bits)) = entry.split_once('/') {
        let ip: IpAddr = ip.parse().map_err(|_| bad())?;
        let bits: u32 = bits.parse().map_err(|_| bad())?;
        return if bits <= width(ip) { Ok(Rule::Net(ip, bits)) } else { Err(bad()) };
    }
    if let Ok(ip) = entry.parse::<IpAddr>() {
        return Ok(Rule::Net(ip, width(ip)));
    }
    // All digits and dots would be an address with a typo.
    let name = entry.to_ascii_lowercase();
    let plain = name.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '-' | '.'));
    if plain && name.chars().any(|c| c.is_ascii_alphabetic()) { Ok(Rule::Name(name)) } else { Err(bad()) }
}

const fn width(ip: IpAddr) -> u32 {
    match ip {
        IpAddr::V4(_) => 32,
        IpAddr::V6(_) => 128,
    }
}

/// The address as a number, so that networks are compared by their first bits.
fn number(ip: IpAddr) -> u128 {
    match ip {
        IpAddr::V4(ip) => u128::from(ip.to_bits()),
        IpAddr::V6(ip) => ip.to_bits(),
    }
}

/// Why an address is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Forbidden {
    /// 127.0.0.0/8, `::1`, `localhost`, and 0.0.0.0 or `::`, which mean the same to connect().
    Loopback,
    /// 169.254.0.0/16 and fe80::/10: the node, and most clouds' metadata service.
    LinkLocal,
    /// fd00:ec2::/32: EC2's metadata and EKS's credentials over IPv6.
    Metadata,
}

impl fmt::Display for Forbidden {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Loopback => "a loopback address",
            Self::LinkLocal => "a link-local address",
            Self::Metadata => "an address of the cloud's metadata service",
        })
    }
}

impl AddressRules {
    /// Whether a server of this name or address may be connected to. For a name that is not refused the addresses
    /// that it resolves to are checked too, on each connect ([`AddressRules::check_ip`]).
    ///
    /// # Errors
    /// Why not.
    pub fn check_host(&self, host: &str) -> Result<(), Forbidden> {
        let bare = bare(host);
        if let Ok(ip) = bare.parse() {
            return self.check_ip(ip);
        }
        let name = name(bare);
        let local = name == "localhost" || name.ends_with(".localhost") || name == "localhost.localdomain";
        if local && !self.allows_name(&name) { Err(Forbidden::Loopback) } else { Ok(()) }
    }

    /// Whether this address may be connected to.
    ///
    /// # Errors
    /// Why not.
    pub fn check_ip(&self, ip: IpAddr) -> Result<(), Forbidden> {
        // ::ffff:127.0.0.1 is 127.0.0.1.
        let ip = ip.to_canonical();
        if self.allows_ip(ip) {
            return Ok(());
        }
        let (loopback, link_local, metadata) = match ip {
            // All of 0.0.0.0/8 is "this host".
            IpAddr::V4(v4) => (v4.is_loopback() || v4.octets()[0] == 0, v4.is_link_local(), false),
            IpAddr::V6(v6) => {
                let ec2 = Ipv6Addr::new(0xfd00, 0xec2, 0, 0, 0, 0, 0, 0);
                (v6.is_loopback() || v6.is_unspecified(), v6.is_unicast_link_local(), within(ip, ec2.into(), 32))
            }
        };
        match (loopback, link_local, metadata) {
            (true, _, _) => Err(Forbidden::Loopback),
            (_, true, _) => Err(Forbidden::LinkLocal),
            (_, _, true) => Err(Forbidden::Metadata),
            (false, false, false) => Ok(()),
        }
    }

    /// What `--allow-addresses` would have to say for this host.
    pub fn entry(host: &str) -> String {
        let bare = bare(host);
        match bare.parse::<IpAddr>() {
            Ok(ip) => ip.to_canonical().to_string(),
            Err(_) => name(bare),
        }
    }

    /// Whether a name is allowed by itself, whatever it resolves to.
    pub fn allows_name(&self, name: &str) -> bool {
        self.0.iter().any(|rule| matches!(rule, Rule::Name(allowed) if allowed.eq_ignore_ascii_case(name)))
    }

    fn allows_ip(&self, ip: IpAddr) -> bool {
        self.0.iter().any(|rule| matches!(rule, Rule::Net(net, bits) if within(ip, *net, *bits)))
    }
}

/// Of an IPv6 address in a URL.
fn bare(host: &str) -> &str {
    host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host)
}

/// As rules have it.
fn name(host: &str) -> String {
    host.strip_suffix('.').unwrap_or(host).to_ascii_lowercase()
}

fn within(ip: IpAddr, net: IpAddr, bits: u32) -> bool {
    let rest = width(net) - bits.min(width(net));
    // A shift by the whole width is none: everything matches.
    let first = |ip: IpAddr| number(ip).checked_shr(rest).unwrap_or(0);
    width(ip) == width(net) && first(ip) == first(net)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_only_we_can_reach_is_refused() {
        let rules = AddressRules::default();
        for (host, why) in [
            ("127.0.0.1", Forbidden::Loopback),
            ("127.200.3.4", Forbidden::Loopback),
            ("0.0.0.0", Forbidden::Loopback),
            ("[::1]", Forbidden::Loopback),
            ("::", Forbidden::Loopback),
            ("[::ffff:127.0.0.1]", Forbidden::Loopback),
            ("localhost", Forbidden::Loopback),
            ("LocalHost.", Forbidden::Loopback),
            ("a.localhost", Forbidden::Loopback),
            ("169.254.169.254", Forbidden::LinkLocal),
            ("[::ffff:169.254.170.23]", Forbidden::LinkLocal),
            ("[fe80::1]", Forbidden::LinkLocal),
            ("[fd00:ec2::254]", Forbidden::Metadata),
            ("[fd00:ec2::23]", Forbidden::Metadata),
        ] {
            assert_eq!(rules.check_host(host), Err(why), "{host}");
            let allowed: AddressRules = AddressRules::entry(host).parse().unwrap();
            assert_eq!(allowed.check_host(host), Ok(()), "{host} by {allowed:?}");
        }
        for host in ["10.0.0.1", "[2001:db8::1]", "[fd00::1]", "abc.eks.amazonaws.com", "notlocalhost", "128.0.0.1"] {
            assert_eq!(rules.check_host(host), Ok(()), "{host}");
        }
    }

    #[test]
    fn allowed_ones() {
        let rules: AddressRules = "127.0.0.1, ::1,169.254.0.0/16 ,LOCALHOST,".parse().unwrap();
        for host in ["127.0.0.1", "[::1]", "169.254.1.2", "localhost", "[::ffff:127.0.0.1]"] {
            assert_eq!(rules.check_host(host), Ok(()), "{host}");
        }
        assert_eq!(rules.check_host("127.0.0.2"), Err(Forbidden::Loopback));
        assert_eq!(rules.check_host("[fe80::1]"), Err(Forbidden::LinkLocal));
        let all: AddressRules = "0.0.0.0/0,::/0".parse().unwrap();
        assert_eq!((all.check_host("127.0.0.1"), all.check_host("[::1]")), (Ok(()), Ok(())));
        for bad in ["127.0.0.1/33", "::1/129", "127.0.0", "a/8", "1.2.3.4/", "http://x", "a b", "*.x"] {
            assert_eq!(bad.parse::<AddressRules>(), Err(BadAddress(bad.to_owned())));
        }
        assert_eq!("".parse(), Ok(AddressRules::default()));
    }
}
