//! Free TCP ports.

use std::collections::HashSet;
use std::hash::{BuildHasher as _, RandomState};
use std::net::{Ipv4Addr, TcpListener};
use std::sync::{LazyLock, Mutex, PoisonError};

use anyhow::{Result, bail};

/// Below the ranges that systems take outgoing ports from (Linux 32768, others 49152), so that a server that is
/// stopped and started again finds its port free.
const RANGE: std::ops::Range<u16> = 18_000..32_000;

/// A port that nothing listens on, and that this process has not been given yet.
///
/// Another process may take it before it is used: whoever starts a server must be ready to try again.
pub(crate) fn free() -> Result<u16> {
    static TAKEN: LazyLock<Mutex<HashSet<u16>>> = LazyLock::new(Mutex::default);
    let mut taken = TAKEN.lock().unwrap_or_else(PoisonError::into_inner);
    let random = RandomState::new();
    for attempt in 0_u32..10_000 {
        let span = u64::from(RANGE.end - RANGE.start);
        let port = RANGE.start + u16::try_from(random.hash_one(attempt) % span)?;
        if !taken.contains(&port) && TcpListener::bind((Ipv4Addr::LOCALHOST, port)).is_ok() {
            taken.insert(port);
            return Ok(port);
        }
    }
    bail!("no free TCP port on 127.0.0.1 between {} and {}", RANGE.start, RANGE.end)
}
