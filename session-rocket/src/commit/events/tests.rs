use super::*;

fn number_of_awaited(events: &Events) -> usize {
    events.awaited.lock().unwrap().len()
}

#[test]
fn the_last_task_that_stops_waiting_for_a_session_removes_its_entry() {
    let events = Events::default();
    let (one, other) = (Key::from_bytes([1; 32]), Key::from_bytes([2; 32]));
    let waits = [events.wait_for(one), events.wait_for(one), events.wait_for(other)];
    assert_eq!(number_of_awaited(&events), 2);
    let [first, second, third] = waits;
    drop(first);
    events.wake(&one);
    assert_eq!(number_of_awaited(&events), 2);
    drop(second);
    assert_eq!(number_of_awaited(&events), 1);
    drop(third);
    assert_eq!(number_of_awaited(&events), 0);
}

#[tokio::test]
async fn waking_a_session_wakes_all_its_tasks_and_no_others() {
    let events = Events::default();
    let (one, other) = (Key::from_bytes([1; 32]), Key::from_bytes([2; 32]));
    let waits = [events.wait_for(one), events.wait_for(one), events.wait_for(other)];
    let mut changes: Vec<_> = waits.iter().map(|wait| Box::pin(wait.notify.notified())).collect();
    for change in &mut changes {
        change.as_mut().enable();
    }
    events.wake(&one);
    let woken: Vec<bool> = changes.iter_mut().map(|change| change.as_mut().enable()).collect();
    assert_eq!(woken, [true, true, false]);
}
