//! Ports for the servers of tests.

use std::collections::hash_map::RandomState;
use std::hash::BuildHasher;
use std::net::{Ipv4Addr, TcpListener, UdpSocket};

/// Below the ports that systems give to clients (32768 and up on Linux): a client that connects, even to a server that
/// is down, never takes the port of a server that starts or restarts.
const RANGE: std::ops::Range<u16> = 10_000..32_000;

/// A port of 127.0.0.1 that no other test uses for as long as this value exists, also in other processes.
///
/// The UDP port of the same number is the claim: no server of the tests uses UDP, and the system ends the claim with the
/// process.
pub(super) struct Port {
    number: u16,
    _claim: UdpSocket,
}

impl Port {
    /// Claims a port that no program listens on.
    ///
    /// # Panics
    /// If there is none.
    pub fn claim() -> Self {
        let candidates = (0..1000).map(|attempt: u32| random(attempt));
        candidates.into_iter().find_map(Self::try_claim).expect("a free port")
    }

    fn try_claim(number: u16) -> Option<Self> {
        let claim = UdpSocket::bind((Ipv4Addr::LOCALHOST, number)).ok()?;
        TcpListener::bind((Ipv4Addr::LOCALHOST, number)).ok()?;
        Some(Self { number, _claim: claim })
    }

    pub fn number(&self) -> u16 {
        self.number
    }
}

fn random(attempt: u32) -> u16 {
    let size = u64::from(RANGE.end - RANGE.start);
    let offset = RandomState::new().hash_one(attempt) % size;
    RANGE.start + u16::try_from(offset).expect("the offset is less than the size of a range of ports")
}

#[test]
fn two_claims_never_have_the_same_port() {
    let first = Port::claim();
    assert!(Port::try_claim(first.number()).is_none());
    let number = first.number();
    drop(first);
    assert!(Port::try_claim(number).is_some());
}

#[test]
fn a_port_that_a_program_listens_on_is_not_claimed() {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    assert!(Port::try_claim(listener.local_addr().unwrap().port()).is_none());
}
