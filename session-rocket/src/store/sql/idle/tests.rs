use tokio::time::advance;

use super::*;

fn names(connections: Vec<Idle<&'static str>>) -> Vec<&'static str> {
    connections.into_iter().map(|idle| idle.connection).collect()
}

#[tokio::test(start_paused = true)]
async fn the_connection_that_was_used_last_is_used_next_and_doubtful_ones_are_used_last() {
    let mut idle = IdleConnections::new();
    for (connection, is_doubtful) in [("first", false), ("cut off", true), ("second", false), ("failed", true)] {
        idle.push(connection, Instant::now(), is_doubtful);
    }
    let order: Vec<_> = std::iter::from_fn(|| idle.pop()).map(|idle| (idle.connection, idle.needs_test())).collect();
    assert_eq!(order, [("second", false), ("first", false), ("cut off", true), ("failed", true)]);
}

#[tokio::test(start_paused = true)]
async fn a_connection_is_tested_after_a_second_without_use() {
    let mut idle = IdleConnections::new();
    idle.push("idle", Instant::now(), false);
    advance(UNTESTED + Duration::from_millis(1)).await;
    assert!(idle.pop().unwrap().needs_test());
}

#[tokio::test(start_paused = true)]
async fn connections_that_were_idle_for_too_long_are_removed_wherever_they_are() {
    let mut idle = IdleConnections::new();
    idle.push("bottom", Instant::now(), false);
    idle.push("middle", Instant::now(), false);
    advance(LONGEST_IDLE).await;
    assert!(idle.remove_old().is_empty());
    idle.push("failed", Instant::now(), true);
    idle.push("top", Instant::now(), false);
    advance(Duration::from_millis(1)).await;
    assert_eq!(names(idle.remove_old()), ["bottom", "middle"]);
    assert_eq!(names(idle.remove_all()), ["failed", "top"]);
}

#[tokio::test(start_paused = true)]
async fn a_connection_in_use_for_too_long_is_removed() {
    let mut idle = IdleConnections::new();
    let opened_at = Instant::now();
    advance(LIFETIME + Duration::from_millis(1)).await;
    idle.push("old", opened_at, false);
    idle.push("new", Instant::now(), false);
    assert_eq!(names(idle.remove_old()), ["old"]);
}
