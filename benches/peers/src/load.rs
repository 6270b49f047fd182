//! Generates the load: one thread with many keep-alive connections, each with one request in flight.

use std::io::{ErrorKind, Read, Write};
use std::net::{Ipv4Addr, SocketAddr};
use std::time::{Duration, Instant};

use memchr::memmem;
use mio::net::TcpStream;
use mio::{Events, Interest, Poll, Token};

/// The longest wait for a response.
const TIMEOUT: Duration = Duration::from_secs(60);

pub struct Response<'a> {
    pub status: &'a str,
    head: &'a str,
    pub body: &'a str,
}

impl Response<'_> {
    /// The cookies that the response sets, as the value of a `Cookie` header.
    pub fn cookies(&self) -> String {
        let lines = self.head.lines().filter_map(|line| line.split_once(": "));
        let set = lines.filter(|(name, _)| name.eq_ignore_ascii_case("set-cookie"));
        let pairs: Vec<&str> = set.filter_map(|(_, cookie)| cookie.split(';').next()).collect();
        pairs.join("; ")
    }
}

/// A request in flight, with the caller's tag.
struct Pending<T> {
    tag: T,
    sent: Instant,
}

struct Connection<T> {
    stream: TcpStream,
    pending: Option<Pending<T>>,
    buffer: Vec<u8>,
    filled: usize,
}

/// Sends the requests that `next` writes, over `connections` connections. Returns once `next` has returned `None` and every
/// request has its response.
///
/// # Panics
/// If the server does not respond in time, or if a response is malformed or has no `Content-Length`.
pub fn drive<T>(
    port: u16,
    connections: usize,
    mut next: impl FnMut(&mut Vec<u8>) -> Option<T>,
    mut on_response: impl FnMut(T, &Response<'_>, Duration),
) {
    let mut poll = Poll::new().expect("cannot poll");
    let mut events = Events::with_capacity(connections);
    let mut all: Vec<_> = (0..connections).map(|number| Connection::open(port, number, &poll)).collect();
    let mut request = Vec::new();
    let mut busy = all.iter_mut().filter_map(|connection| connection.send(&mut request, &mut next)).count();
    while busy > 0 {
        poll.poll(&mut events, Some(TIMEOUT)).expect("cannot poll");
        assert!(!events.is_empty(), "no response within {TIMEOUT:?}");
        for event in &events {
            let connection = &mut all[event.token().0];
            let Some((pending, frame)) = connection.receive() else { continue };
            on_response(pending.tag, &frame.of(&connection.buffer), pending.sent.elapsed());
            if connection.send(&mut request, &mut next).is_none() {
                busy -= 1;
            }
        }
    }
}

impl<T> Connection<T> {
    fn open(port: u16, number: usize, poll: &Poll) -> Self {
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
        let stream = std::net::TcpStream::connect(address).expect("the server accepts connections");
        stream.set_nonblocking(true).expect("cannot configure a socket");
        stream.set_nodelay(true).expect("cannot configure a socket");
        let mut stream = TcpStream::from_std(stream);
        poll.registry().register(&mut stream, Token(number), Interest::READABLE).expect("cannot poll a socket");
        Self { stream, pending: None, buffer: vec![0; 16 * 1024], filled: 0 }
    }

    /// Sends the next request. Returns `None` if no request is left.
    fn send(&mut self, request: &mut Vec<u8>, next: &mut impl FnMut(&mut Vec<u8>) -> Option<T>) -> Option<()> {
        request.clear();
        let tag = next(request)?;
        self.pending = Some(Pending { tag, sent: Instant::now() });
        // The previous request has its response, so the socket's buffer is empty.
        let written = self.stream.write(request).expect("cannot send a request");
        assert_eq!(written, request.len(), "a request does not fit into the socket's buffer");
        Some(())
    }

    /// Reads the available bytes. Returns the request and the bounds of its response once the response is complete.
    ///
    /// Nothing follows a complete response, because no other request is in flight.
    fn receive(&mut self) -> Option<(Pending<T>, Frame)> {
        loop {
            if self.filled == self.buffer.len() {
                self.buffer.resize(2 * self.filled, 0);
            }
            match self.stream.read(&mut self.buffer[self.filled..]) {
                Ok(0) => panic!("the server closed a connection"),
                Ok(read) => self.filled += read,
                Err(error) if error.kind() == ErrorKind::WouldBlock => return None,
                Err(error) => panic!("cannot read a response: {error}"),
            }
            if let Some(frame) = Frame::find(&self.buffer[..self.filled]) {
                self.filled = 0;
                return self.pending.take().map(|pending| (pending, frame));
            }
        }
    }
}

/// The bounds of a complete response in the buffer.
struct Frame {
    head: usize,
    end: usize,
}

impl Frame {
    const HEAD_END: &[u8] = b"\r\n\r\n";

    /// Returns `None` while the response is incomplete.
    fn find(bytes: &[u8]) -> Option<Self> {
        const LENGTH: &[u8] = b"ontent-length: ";
        let head = memmem::find(bytes, Self::HEAD_END)?;
        // `content-length` or `Content-Length`.
        let length = memmem::find(&bytes[..head], LENGTH)
            .or_else(|| memmem::find(&bytes[..head], b"ontent-Length: "))
            .expect("a response with a length");
        let digits = bytes[length + LENGTH.len()..].iter().take_while(|byte| byte.is_ascii_digit());
        let length = digits.fold(0, |length, digit| 10 * length + usize::from(digit - b'0'));
        let end = head + Self::HEAD_END.len() + length;
        (end <= bytes.len()).then_some(Self { head, end })
    }

    fn of(self, bytes: &[u8]) -> Response<'_> {
        let text = |range| std::str::from_utf8(&bytes[range]).expect("a response in UTF-8");
        let head = text(0..self.head);
        let status = head.get(9..12).expect("a response with a status");
        Response { status, head, body: text(self.head + Self::HEAD_END.len()..self.end) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_response_is_complete_with_its_last_byte() {
        let complete = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\nSet-Cookie: a=b; Path=/\r\nset-cookie: c=d\r\n\r\n17";
        for cut in 0..complete.len() {
            assert!(Frame::find(&complete[..cut]).is_none(), "{cut}");
        }
        let response = Frame::find(complete).unwrap().of(complete);
        assert_eq!((response.status, response.body, response.cookies().as_str()), ("200", "17", "a=b; c=d"));
    }
}
