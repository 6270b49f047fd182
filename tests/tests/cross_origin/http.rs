//! A client that sends requests byte for byte over one connection.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;

/// A connection to a site on 127.0.0.1, which is opened again if the site closes it.
pub struct Connection {
    port: u16,
    stream: Option<BufReader<TcpStream>>,
}

pub struct Response {
    pub status: u16,
    pub headers: Vec<(String, String)>,
    pub body: String,
}

impl Response {
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(other, _)| other.eq_ignore_ascii_case(name)).map(|(_, value)| value.as_str())
    }
}

impl Connection {
    pub fn to(port: u16) -> Self {
        Self { port, stream: None }
    }

    /// Sends a request with these headers and reads the response.
    pub fn send(&mut self, method: &str, path: &str, headers: &[(&str, &str)], body: &str) -> Response {
        let headers = headers.iter().map(|(name, value)| format!("{name}: {value}\r\n")).collect::<Vec<_>>().concat();
        let length = body.len();
        let request = format!("{method} {path} HTTP/1.1\r\n{headers}Content-Length: {length}\r\n\r\n{body}");
        let mut stream = self.stream.take().unwrap_or_else(|| connect(self.port));
        stream.get_mut().write_all(request.as_bytes()).expect("the request can be sent");
        let response = read(&mut stream, method == "HEAD").expect("the response can be read");
        if response.header("connection") != Some("close") {
            self.stream = Some(stream);
        }
        response
    }
}

fn connect(port: u16) -> BufReader<TcpStream> {
    let stream = TcpStream::connect(("127.0.0.1", port)).expect("the site accepts connections");
    stream.set_nodelay(true).expect("the connection has options");
    BufReader::new(stream)
}

fn read(stream: &mut BufReader<TcpStream>, is_head: bool) -> Option<Response> {
    let mut lines = stream.by_ref().lines().map_while(Result::ok);
    let status = lines.next()?.split(' ').nth(1)?.parse().ok()?;
    let headers = lines.take_while(|line| !line.is_empty());
    let headers =
        headers.filter_map(|line| line.split_once(": ").map(|(name, value)| (name.to_owned(), value.to_owned())));
    let mut response = Response { status, headers: headers.collect(), body: String::new() };
    let length = response.header("content-length").and_then(|length| length.parse().ok());
    let length = if is_head { 0 } else { length.expect("the response has a length") };
    stream.take(length).read_to_string(&mut response.body).ok()?;
    Some(response)
}
