use tokio::time::advance;

use super::*;

fn names(connections: Vec<OwnConnection<&'static str>>) -> Vec<&'static str> {
    connections.into_iter().map(|opened| opened.connection).collect()
}

fn remove_old(idle: &mut Vec<OwnConnection<&'static str>>) -> Vec<OwnConnection<&'static str>> {
    idle.extract_if(.., |connection| connection.is_too_old()).collect()
}

#[tokio::test(start_paused = true)]
async fn the_connection_that_was_used_last_is_used_next_and_uncertain_connections_are_used_last() {
    let mut idle = Vec::new();
    put_back(&mut idle, OwnConnection::new("first"));
    put_back_uncertain(&mut idle, OwnConnection::new("cut off"));
    put_back(&mut idle, OwnConnection::new("second"));
    put_back_uncertain(&mut idle, OwnConnection::new("failed"));
    let order: Vec<_> = std::iter::from_fn(|| idle.pop()).map(|idle| (idle.connection, idle.needs_test())).collect();
    assert_eq!(order, [("second", false), ("first", false), ("cut off", true), ("failed", true)]);
}

#[tokio::test(start_paused = true)]
async fn a_connection_is_tested_after_a_second_without_use() {
    let mut idle = Vec::new();
    put_back(&mut idle, OwnConnection::new("idle"));
    advance(MAX_UNTESTED_IDLE + Duration::from_millis(1)).await;
    assert!(idle.pop().unwrap().needs_test());
}

#[tokio::test(start_paused = true)]
async fn connections_that_were_idle_for_too_long_are_removed_wherever_they_are() {
    let mut idle = Vec::new();
    put_back(&mut idle, OwnConnection::new("bottom"));
    put_back(&mut idle, OwnConnection::new("middle"));
    advance(MAX_IDLE).await;
    assert!(remove_old(&mut idle).is_empty());
    put_back_uncertain(&mut idle, OwnConnection::new("failed"));
    put_back(&mut idle, OwnConnection::new("top"));
    advance(Duration::from_millis(1)).await;
    assert_eq!(names(remove_old(&mut idle)), ["bottom", "middle"]);
    assert_eq!(names(idle), ["failed", "top"]);
}

#[tokio::test(start_paused = true)]
async fn a_connection_in_use_for_too_long_is_removed() {
    let mut idle = Vec::new();
    let old = OwnConnection::new("old");
    advance(MAX_AGE + Duration::from_millis(1)).await;
    put_back(&mut idle, old);
    put_back(&mut idle, OwnConnection::new("new"));
    assert_eq!(names(remove_old(&mut idle)), ["old"]);
}
