//! The wait in the slow handler of every server.

use tokio::io::AsyncReadExt;
use tokio::net::TcpStream;

/// Waits until the program that listens on `port` of 127.0.0.1 closes the connection.
pub async fn wait(port: u16) {
    let mut connection = TcpStream::connect(("127.0.0.1", port)).await.expect("a program listens on the port");
    let received = connection.read(&mut [0]).await.expect("the program closes the connection");
    assert_eq!(received, 0, "the program sends nothing");
}
