//! A logout closes the WebSockets of its session in another process.

use std::time::{Duration, Instant};

use rocket::futures::{SinkExt, StreamExt};
use rocket::tokio::net::TcpStream;
use rocket::tokio::time::timeout;
use session_rocket::Transport;
use session_rocket_tests::backends::Backend;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::tungstenite::protocol::frame::coding::CloseCode;
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream, connect_async};

use super::{Process, TIME_LIMIT, start};

const POLL_INTERVAL: Duration = Duration::from_millis(500);

/// How long after the acknowledged logout a WebSocket may remain open on a busy machine.
const CLOSES_WITHIN: Duration = POLL_INTERVAL.saturating_add(Duration::from_secs(30));

type Socket = WebSocketStream<MaybeTlsStream<TcpStream>>;

async fn open(site: &Process, cookie: &str) -> Socket {
    let url = site.server.url("/socket").replacen("http", "ws", 1);
    let mut request = url.into_client_request().expect("the URL is valid");
    let (header, value) = site.credential(cookie);
    request.headers_mut().insert(header, value.parse().expect("a credential is a header value"));
    connect_async(request).await.expect("the site opens a WebSocket").0
}

/// Returns the next message of the site.
async fn receive(socket: &mut Socket) -> Message {
    let message = timeout(TIME_LIMIT, socket.next()).await.expect("the site sends a message");
    message.expect("the WebSocket is open").expect("the message is valid")
}

/// Asserts that the site still sends messages back.
async fn assert_open(socket: &mut Socket) {
    let hello = Message::text("hello");
    socket.send(hello.clone()).await.expect("the WebSocket is open");
    assert_eq!(receive(socket).await, hello);
}

/// Asserts that the site closes the WebSocket because the session has ended.
async fn assert_closes(mut socket: Socket) {
    let Message::Close(Some(frame)) = receive(&mut socket).await else { panic!("the message is a close frame") };
    assert_eq!((frame.code, &*frame.reason), (CloseCode::Policy, "the session has ended"));
}

pub(super) async fn a_logout_in_one_process_closes_the_websockets_in_the_other(
    name: &str,
    backend: &Backend,
    transport: Transport,
) {
    let sites = start(backend, transport, &format!("poll_interval=\"{} ms\",", POLL_INTERVAL.as_millis()));
    let (first, last) = (&sites[0], sites.last().expect("there is a process"));
    let (phone, laptop) = (first.login("with-sockets").await, first.login("with-sockets").await);
    let mut of_phone = [open(first, &phone).await, open(first, &phone).await];
    let mut of_laptop = open(first, &laptop).await;
    for socket in &mut of_phone {
        assert_open(socket).await;
    }
    last.text("/logout", &phone).await;
    let logged_out = Instant::now();
    for socket in of_phone {
        assert_closes(socket).await;
    }
    let elapsed = logged_out.elapsed();
    println!("{name}: a WebSocket closed {elapsed:.1?} after the logout, with a poll interval of {POLL_INTERVAL:?}");
    assert!(elapsed <= CLOSES_WITHIN, "the WebSockets closed {elapsed:?} after the logout");
    assert_open(&mut of_laptop).await;
}
