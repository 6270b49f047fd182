use tokio::time::advance;

use super::*;

fn names(connections: Vec<OwnConnection<&'static str>>) -> Vec<&'static str> {
    connections.into_iter().map(|opened| opened.connection).collect()
}

#[tokio::test(start_paused = true)]
async fn the_connection_that_was_used_last_is_used_next_and_doubtful_ones_are_used_last() {
    let mut idle = IdleConnections::new();
    for (connection, is_doubtful) in [("first", false), ("cut off", true), ("second", false), ("failed", true)] {
        idle.push(OwnConnection::new(connection), is_doubtful);
    }
    let order: Vec<_> = std::iter::from_fn(|| idle.pop()).map(|idle| (idle.connection, idle.needs_test())).collect();
    assert_eq!(order, [("second", false), ("first", false), ("cut off", true), ("failed", true)]);
}

#[tokio::test(start_paused = true)]
async fn a_connection_is_tested_after_a_second_without_use() {
    let mut idle = IdleConnections::new();
    idle.push(OwnConnection::new("idle"), false);
    advance(UNTESTED + Duration::from_millis(1)).await;
    assert!(idle.pop().unwrap().needs_test());
}

#[tokio::test(start_paused = true)]
async fn connections_that_were_idle_for_too_long_are_removed_wherever_they_are() {
    let mut idle = IdleConnections::new();
    idle.push(OwnConnection::new("bottom"), false);
    idle.push(OwnConnection::new("middle"), false);
    advance(LONGEST_IDLE).await;
    assert!(idle.remove(OwnConnection::is_too_old).is_empty());
    idle.push(OwnConnection::new("failed"), true);
    idle.push(OwnConnection::new("top"), false);
    advance(Duration::from_millis(1)).await;
    assert_eq!(names(idle.remove(OwnConnection::is_too_old)), ["bottom", "middle"]);
    assert_eq!(names(idle.remove(|_| true)), ["failed", "top"]);
}

#[tokio::test(start_paused = true)]
async fn a_connection_in_use_for_too_long_is_removed() {
    let mut idle = IdleConnections::new();
    let old = OwnConnection::new("old");
    advance(LIFETIME + Duration::from_millis(1)).await;
    idle.push(old, false);
    idle.push(OwnConnection::new("new"), false);
    assert_eq!(names(idle.remove(OwnConnection::is_too_old)), ["old"]);
}
