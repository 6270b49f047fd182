//! Parses `redis:` URLs.

use std::time::Duration;

use redis::io::tcp::TcpSettings;
use redis::io::tcp::socket2::TcpKeepalive;
use redis::{ConnectionInfo, IntoConnectionInfo, ProtocolVersion};

use crate::base::error::{Error, ErrorKind, Result};

const WRITE_URL: &str = "write `redis://user:password@host:6379/0`, or \
                         `redis+cluster://user:password@one:6379,two:6379`; use `rediss` for TLS; percent-encode special \
                         characters in user and password (`%40` for `@`)";

/// The settings that a URL contains.
pub(super) struct Target {
    /// The single server, or the nodes of a cluster through which the store finds the other nodes.
    pub nodes: Vec<ConnectionInfo>,
    pub is_cluster: bool,
    pub is_tls: bool,
}

/// Parses a URL. On Linux, a connection closes if a packet stays unacknowledged for `timeout` (at least one second).
///
/// # Errors
/// [`ErrorKind::Config`]. The message does not contain the URL.
pub(super) fn parse(url: &str, timeout: Duration) -> Result<Target> {
    let (scheme, rest) = url.split_once("://").ok_or_else(|| invalid(WRITE_URL))?;
    let scheme = scheme.to_ascii_lowercase();
    let (scheme, is_cluster) = scheme.strip_suffix("+cluster").map_or((&*scheme, false), |scheme| (scheme, true));
    let (authority, tail) = rest.split_at(rest.find(['/', '?', '#']).unwrap_or(rest.len()));
    // With an unescaped `/`, `?` or `#` in a password, the start of the password would become the host name, and be sent
    // to DNS servers.
    if tail.contains('@') {
        return Err(invalid(WRITE_URL));
    }
    let (user, hosts) = authority.rfind('@').map_or(("", authority), |at| authority.split_at(at + 1));
    if is_cluster && user.matches('@').count() > 1 {
        return Err(invalid(
            "write user and password of a cluster only once, before the first host: they apply to every node",
        ));
    }
    if !is_cluster && hosts.contains(',') {
        return Err(invalid("write `redis+cluster:` or `rediss+cluster:` for several hosts"));
    }
    let info = |host: &str| {
        let info = format!("{scheme}://{user}{host}{tail}").into_connection_info().map_err(|_| invalid(WRITE_URL))?;
        Ok(with_settings(info, !tail.contains("protocol="), timeout))
    };
    let nodes = hosts.split(',').map(info).collect::<Result<Vec<ConnectionInfo>>>()?;
    if is_cluster && nodes.iter().any(|node| node.redis_settings().db() != 0) {
        return Err(invalid("a Redis cluster has no numbered databases: remove the number at the URL's end"));
    }
    Ok(Target { nodes, is_cluster, is_tls: scheme == "rediss" })
}

fn with_settings(info: ConnectionInfo, may_choose_protocol: bool, timeout: Duration) -> ConnectionInfo {
    const IDLE: Duration = Duration::from_secs(10);
    let mut redis = info.redis_settings().clone().set_lib_name(env!("CARGO_PKG_NAME"), env!("CARGO_PKG_VERSION"));
    if may_choose_protocol {
        // With RESP3, the driver reports a lost connection immediately.
        redis = redis.set_protocol(ProtocolVersion::RESP3);
    }
    let tcp = TcpSettings::default().set_nodelay(true).set_keepalive(TcpKeepalive::new().with_time(IDLE));
    #[cfg(target_os = "linux")]
    let tcp = tcp.set_user_timeout(timeout.max(Duration::from_secs(1)));
    #[cfg(not(target_os = "linux"))]
    let _ = timeout;
    info.set_redis_settings(redis).set_tcp_settings(tcp)
}

fn invalid(fix: &str) -> Error {
    Error::new(ErrorKind::Config, format!("invalid Redis URL: {fix}"))
}

#[cfg(test)]
mod tests;
