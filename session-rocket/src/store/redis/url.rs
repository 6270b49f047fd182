//! From a URL to the servers it names.

use std::time::Duration;

use redis::io::tcp::TcpSettings;
use redis::io::tcp::socket2::TcpKeepalive;
use redis::{ConnectionInfo, IntoConnectionInfo, ProtocolVersion};

use crate::base::error::{Error, ErrorKind, Result};

const SHAPE: &str = "write `redis://user:password@host:6379/0`, or `redis+cluster://user:password@one:6379,two:6379`; \
                     `rediss` for TLS; special characters in user and password percent-encoded (`@` is `%40`)";

/// What a URL names.
pub(super) struct Target {
    /// One server, or nodes of a cluster through which the others are found.
    pub nodes: Vec<ConnectionInfo>,
    pub is_cluster: bool,
    pub is_tls: bool,
}

/// Reads a URL. A connection to which nothing came back for `timeout` is given up.
///
/// # Errors
/// [`ErrorKind::Config`], without the URL.
pub(super) fn read(url: &str, timeout: Duration) -> Result<Target> {
    let (scheme, rest) = url.split_once("://").ok_or_else(|| wrong(SHAPE))?;
    let scheme = scheme.to_ascii_lowercase();
    let (scheme, is_cluster) = scheme.strip_suffix("+cluster").map_or((&*scheme, false), |scheme| (scheme, true));
    let (authority, tail) = rest.split_at(rest.find(['/', '?', '#']).unwrap_or(rest.len()));
    // A password with such a character would be taken for a host and a port, and be told to whoever resolves names.
    if tail.contains('@') {
        return Err(wrong(SHAPE));
    }
    let (user, hosts) = authority.rfind('@').map_or(("", authority), |at| authority.split_at(at + 1));
    if is_cluster && user.matches('@').count() > 1 {
        return Err(wrong("user and password of a cluster stand once, before the first host, and hold for every node"));
    }
    if !is_cluster && hosts.contains(',') {
        return Err(wrong("write `redis+cluster:` or `rediss+cluster:` where there are several hosts"));
    }
    let info = |host: &str| {
        let info = format!("{scheme}://{user}{host}{tail}").into_connection_info().map_err(|_| wrong(SHAPE))?;
        Ok(settled(info, !tail.contains("protocol="), timeout))
    };
    let nodes = hosts.split(',').map(info).collect::<Result<Vec<ConnectionInfo>>>()?;
    if is_cluster && nodes.iter().any(|node| node.redis_settings().db() != 0) {
        return Err(wrong("a Redis cluster has no numbered databases: leave out the number at the URL's end"));
    }
    Ok(Target { nodes, is_cluster, is_tls: scheme == "rediss" })
}

fn settled(info: ConnectionInfo, may_choose: bool, timeout: Duration) -> ConnectionInfo {
    const IDLE: Duration = Duration::from_secs(10);
    let mut redis = info.redis_settings().clone().set_lib_name(env!("CARGO_PKG_NAME"), env!("CARGO_PKG_VERSION"));
    if may_choose {
        // Only with it is the driver's user told when a connection ends.
        redis = redis.set_protocol(ProtocolVersion::RESP3);
    }
    let tcp = TcpSettings::default().set_nodelay(true).set_keepalive(TcpKeepalive::new().with_time(IDLE));
    #[cfg(target_os = "linux")]
    let tcp = tcp.set_user_timeout(timeout.max(Duration::from_secs(1)));
    #[cfg(not(target_os = "linux"))]
    let _ = timeout;
    info.set_redis_settings(redis).set_tcp_settings(tcp)
}

fn wrong(fix: &str) -> Error {
    Error::new(ErrorKind::Config, format!("invalid Redis URL: {fix}"))
}

#[cfg(test)]
mod tests {
    use redis::ConnectionAddr;

    use super::*;

    const TIMEOUT: Duration = Duration::from_secs(5);

    #[test]
    fn a_url_names_one_server_or_nodes_of_a_cluster() {
        let one = read("redis://ada:p%40ss@host/3", TIMEOUT).unwrap();
        let settings = one.nodes[0].redis_settings();
        assert_eq!(*one.nodes[0].addr(), ConnectionAddr::Tcp("host".into(), 6379));
        assert_eq!((settings.username(), settings.password(), settings.db()), (Some("ada"), Some("p@ss"), 3));
        assert_eq!(settings.protocol(), ProtocolVersion::RESP3);
        assert!(!one.is_cluster && !one.is_tls);

        let many = read("rediss+cluster://:pw@[::1]:7000,b:7001?protocol=2", TIMEOUT).unwrap();
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
            ("redis://:geh/eim@host", "percent-encoded"),
            ("redis://u:12#geheim@host", "percent-encoded"),
            ("redis://:geheim@host/x", "write `redis://"),
            ("redis://:geheim@one,two", "redis+cluster:"),
            ("redis+cluster://u:geheim@one,u:geheim@two", "stand once"),
            ("redis+cluster://:geheim@one/1", "numbered databases"),
        ] {
            let error = read(url, TIMEOUT).err().unwrap_or_else(|| panic!("accepted: {url}"));
            let text = format!("{error:?}");
            assert_eq!(error.kind(), ErrorKind::Config);
            assert!(text.contains(says) && !text.contains("geh"), "{url}: {text}");
        }
    }
}
