//! Ports for the servers and sites of tests.

use std::collections::hash_map::RandomState;
use std::hash::BuildHasher;
use std::net::{Ipv4Addr, TcpListener, UdpSocket};

/// These ports are below those that systems assign to clients (32768 and up on Linux). So no client takes the port of a
/// server that is about to start or restart. They are above 10080, which Chromium refuses to connect to.
const RANGE: std::ops::Range<u16> = 10_100..32_000;

/// A port of 127.0.0.1 that no other test uses while this value exists, not even in another process.
///
/// A UDP socket with the same port number claims the port: no test server uses UDP, and the system closes the socket
/// when the process ends.
pub(crate) struct Port {
    number: u16,
    _claim: UdpSocket,
}

impl Port {
    /// Claims a port on which no program listens.
    ///
    /// # Panics
    /// If no port is free.
    pub fn claim() -> Self {
        let candidates = (0..1000).map(|attempt: u32| random(attempt));
        candidates.into_iter().find_map(Self::try_claim).expect("a port is free")
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
fn a_port_on_which_a_program_listens_is_not_claimed() {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    assert!(Port::try_claim(listener.local_addr().unwrap().port()).is_none());
}
