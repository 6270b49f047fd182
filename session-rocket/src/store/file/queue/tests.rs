//! When a queue reports that another process holds its lock.

use super::*;

const AGE: Duration = Duration::from_secs(60);

#[test]
fn only_a_recent_attempt_that_found_the_lock_held_counts() {
    let queue = Queue::default();
    assert!(!queue.is_held(AGE), "no attempt was made");
    queue.record_attempt(true);
    assert!(queue.is_held(AGE));
    assert!(!queue.is_held(Duration::ZERO), "the attempt is too old");
    queue.record_attempt(false);
    assert!(!queue.is_held(AGE), "an attempt took the lock");
}
