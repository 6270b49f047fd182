//! The load: one thread and many keep-alive connections, each with one request on its way at a time.

use std::io::{ErrorKind, Read, Write};
use std::net::{Ipv4Addr, SocketAddr};
use std::time::{Duration, Instant};

use memchr::memmem;
use mio::net::TcpStream;
use mio::{Events, Interest, Poll, Token};

/// No answer within this is a failure.
const PATIENCE: Duration = Duration::from_secs(60);

/// What a server answered.
pub struct Answer<'a> {
    pub status: &'a str,
    head: &'a str,
    pub body: &'a str,
}

impl Answer<'_> {
    /// The cookies it sets, as a `Cookie` header sends them back.
    pub fn cookies(&self) -> String {
        let lines = self.head.lines().filter_map(|line| line.split_once(": "));
        let set = lines.filter(|(name, _)| name.eq_ignore_ascii_case("set-cookie"));
        let pairs: Vec<&str> = set.filter_map(|(_, cookie)| cookie.split(';').next()).collect();
        pairs.join("; ")
    }
}

/// A request on its way: what the caller knows it by, and when it went out.
struct Pending<T> {
    tag: T,
    sent: Instant,
}

struct Connection<T> {
    stream: TcpStream,
    pending: Option<Pending<T>>,
    inbox: Vec<u8>,
    filled: usize,
}

/// Sends what `next` writes over `connections` connections, until it has no more and all is answered.
///
/// # Panics
/// When the server does not answer, or not in HTTP with a `Content-Length`.
pub fn drive<T>(
    port: u16,
    connections: usize,
    mut next: impl FnMut(&mut Vec<u8>) -> Option<T>,
    mut answered: impl FnMut(T, &Answer<'_>, Duration),
) {
    let mut poll = Poll::new().expect("the system can be polled");
    let mut events = Events::with_capacity(connections);
    let mut all: Vec<_> = (0..connections).map(|number| Connection::open(port, number, &poll)).collect();
    let mut request = Vec::new();
    let mut busy = all.iter_mut().filter_map(|one| one.send(&mut request, &mut next)).count();
    while busy > 0 {
        poll.poll(&mut events, Some(PATIENCE)).expect("the system can be polled");
        assert!(!events.is_empty(), "no answer within {PATIENCE:?}");
        for event in &events {
            let connection = &mut all[event.token().0];
            let Some((pending, frame)) = connection.receive() else { continue };
            answered(pending.tag, &frame.of(&connection.inbox), pending.sent.elapsed());
            if connection.send(&mut request, &mut next).is_none() {
                busy -= 1;
            }
        }
    }
}

impl<T> Connection<T> {
    fn open(port: u16, number: usize, poll: &Poll) -> Self {
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
        let stream = std::net::TcpStream::connect(address).expect("the server takes connections");
        stream.set_nonblocking(true).expect("a socket can be set up");
        stream.set_nodelay(true).expect("a socket can be set up");
        let mut stream = TcpStream::from_std(stream);
        poll.registry().register(&mut stream, Token(number), Interest::READABLE).expect("a socket can be polled");
        Self { stream, pending: None, inbox: vec![0; 16 * 1024], filled: 0 }
    }

    /// Sends the next request, if there is one.
    fn send(&mut self, request: &mut Vec<u8>, next: &mut impl FnMut(&mut Vec<u8>) -> Option<T>) -> Option<()> {
        request.clear();
        let tag = next(request)?;
        self.pending = Some(Pending { tag, sent: Instant::now() });
        // The one before is answered: the socket's buffer is empty.
        let written = self.stream.write(request).expect("the server takes a request");
        assert_eq!(written, request.len(), "a request that does not fit into the socket's buffer");
        Some(())
    }

    /// Reads what has come; once the answer is there, the request it is for, and where the answer is.
    ///
    /// After a whole answer nothing is left to read: nothing more was asked for.
    fn receive(&mut self) -> Option<(Pending<T>, Frame)> {
        loop {
            if self.filled == self.inbox.len() {
                self.inbox.resize(2 * self.filled, 0);
            }
            match self.stream.read(&mut self.inbox[self.filled..]) {
                Ok(0) => panic!("the server closed a connection"),
                Ok(read) => self.filled += read,
                Err(error) if error.kind() == ErrorKind::WouldBlock => return None,
                Err(error) => panic!("cannot read an answer: {error}"),
            }
            if let Some(frame) = Frame::find(&self.inbox[..self.filled]) {
                self.filled = 0;
                return self.pending.take().map(|pending| (pending, frame));
            }
        }
    }
}

/// Where a whole answer is, in what was read.
struct Frame {
    head: usize,
    end: usize,
}

impl Frame {
    const GAP: &[u8] = b"\r\n\r\n";

    /// `None` while some of it is missing.
    fn find(bytes: &[u8]) -> Option<Self> {
        const LENGTH: &[u8] = b"ontent-length: ";
        let head = memmem::find(bytes, Self::GAP)?;
        // `content-length` or `Content-Length`.
        let length = memmem::find(&bytes[..head], LENGTH)
            .or_else(|| memmem::find(&bytes[..head], b"ontent-Length: "))
            .expect("an answer with a length");
        let digits = bytes[length + LENGTH.len()..].iter().take_while(|byte| byte.is_ascii_digit());
        let length = digits.fold(0, |length, digit| 10 * length + usize::from(digit - b'0'));
        let end = head + Self::GAP.len() + length;
        (end <= bytes.len()).then_some(Self { head, end })
    }

    fn of(self, bytes: &[u8]) -> Answer<'_> {
        let text = |range| std::str::from_utf8(&bytes[range]).expect("an answer is text");
        let head = text(0..self.head);
        let status = head.get(9..12).expect("an answer has a status");
        Answer { status, head, body: text(self.head + Self::GAP.len()..self.end) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_is_whole_once_its_body_is_there() {
        let whole = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\nSet-Cookie: a=b; Path=/\r\nset-cookie: c=d\r\n\r\n17";
        for cut in 0..whole.len() {
            assert!(Frame::find(&whole[..cut]).is_none(), "{cut}");
        }
        let answer = Frame::find(whole).unwrap().of(whole);
        assert_eq!((answer.status, answer.body, answer.cookies().as_str()), ("200", "17", "a=b; c=d"));
    }
}
