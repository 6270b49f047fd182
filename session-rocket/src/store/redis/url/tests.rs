//! URLs of Redis, valid and invalid.

use redis::ConnectionAddr;

use super::*;

const TIMEOUT: Duration = Duration::from_secs(5);

#[test]
fn a_url_names_one_server_or_nodes_of_a_cluster() {
    let one = parse("redis://ada:p%40ss@host/3", TIMEOUT).unwrap();
    let settings = one.nodes[0].redis_settings();
    assert_eq!(*one.nodes[0].addr(), ConnectionAddr::Tcp("host".into(), 6379));
    assert_eq!((settings.username(), settings.password(), settings.db()), (Some("ada"), Some("p@ss"), 3));
    assert_eq!(settings.protocol(), ProtocolVersion::RESP3);
    assert!(!one.is_cluster && !one.is_tls);

    let many = parse("rediss+cluster://:pw@[::1]:7000,b:7001?protocol=2", TIMEOUT).unwrap();
    assert!(many.is_cluster && many.is_tls);
    let hosts: Vec<String> = many.nodes.iter().map(|node| node.addr().to_string()).collect();
    assert_eq!(hosts, ["::1:7000", "b:7001"]);
    for node in &many.nodes {
        assert!(matches!(node.addr(), ConnectionAddr::TcpTls { insecure: false, .. }));
        assert_eq!(node.redis_settings().password(), Some("pw"));
        assert_eq!(node.redis_settings().protocol(), ProtocolVersion::RESP2);
    }
}

#[test]
fn a_url_that_names_nothing_is_refused_without_its_password() {
    for (url, says) in [
        ("redis:host", "write `redis://"),
        ("redis://", "write `redis://"),
        ("redis://:geheim@", "write `redis://"),
        ("redis://:geh/eim@host", "percent-encode"),
        ("redis://u:12#geheim@host", "percent-encode"),
        ("redis://:geheim@host/x", "write `redis://"),
        ("redis://:geheim@one,two", "redis+cluster:"),
        ("redis+cluster://u:geheim@one,u:geheim@two", "password of a cluster only once"),
        ("redis+cluster://:geheim@one/1", "numbered databases"),
    ] {
        let error = parse(url, TIMEOUT).err().unwrap_or_else(|| panic!("accepted: {url}"));
        let text = format!("{error:?}");
        assert_eq!(error.kind(), ErrorKind::Config);
        assert!(text.contains(says) && !text.contains("geh"), "{url}: {text}");
    }
}
