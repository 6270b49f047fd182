use std::sync::Mutex;
use std::task::{Context, Waker};
use std::time::Duration;

use tokio::task::JoinHandle;

use super::super::value::Value;
use super::*;
use crate::base::id::Key;

/// Records its groups. Replies to a call in a group with the call's number, and to a single call with `None`.
#[derive(Default)]
struct Recorder {
    groups: Mutex<Vec<Vec<u32>>>,
}

impl CallKind for Arc<Recorder> {
    type Reply = Option<u32>;

    const ALLOWS_SAME_KEY: bool = false;
    const ALLOWS_ANY_SIZE: bool = false;

    async fn run_alone(&self, _: &Call) -> Result<Option<u32>> {
        Ok(None)
    }

    async fn run_group(&self, calls: &[&Call]) -> Result<Vec<Option<Option<u32>>>> {
        assert!(calls.is_sorted_by_key(|call| call.key));
        let numbers: Vec<u32> = calls.iter().map(|call| number_of(call)).collect();
        self.groups.lock().unwrap().push(numbers.clone());
        tokio::task::yield_now().await;
        if numbers.contains(&SLOW) {
            tokio::time::sleep(MAX_WAIT * 10).await;
        }
        assert!(!numbers.contains(&PANICS), "as the test asks for");
        if numbers.contains(&FAILS) {
            return Err(Error::new(ErrorKind::Timeout, "as the test asks for"));
        }
        Ok(numbers.into_iter().map(|number| (number != LEFT_OUT).then_some(Some(number))).collect())
    }
}

fn number_of(call: &Call) -> u32 {
    let Value::Int(Some(number)) = &call.values[1] else { panic!("the call has no number") };
    u32::try_from(*number).unwrap()
}

const PANICS: u32 = 1001;
const FAILS: u32 = 1002;
const LEFT_OUT: u32 = 1003;
const SLOW: u32 = 1004;

type Numbers = CallQueue<Arc<Recorder>>;

fn queue() -> (Arc<Recorder>, Arc<Numbers>) {
    let recorder = Arc::new(Recorder::default());
    (recorder.clone(), CallQueue::new(recorder))
}

fn key(byte: u8) -> Key {
    Key::from_bytes([byte; 32])
}

fn lead(queue: &Arc<Numbers>) -> Leader<Arc<Recorder>> {
    queue.lead_or_enqueue(&Call::new(&key(0), [])).unwrap_or_else(|_| panic!("somebody else has the turn"))
}

/// Starts a call in a task. Its payload has `bytes` bytes.
fn start_call(queue: &Arc<Numbers>, number: u32, key: Key, bytes: usize) -> JoinHandle<Result<Option<u32>>> {
    let queue = queue.clone();
    let call = Call::new(&key, [Value::Int(Some(number.into())), Value::Payload(vec![0; bytes].into())]);
    tokio::spawn(async move { queue.call(&call).await })
}

/// Starts a call, and returns when the call waits in the queue.
async fn enqueue_call(queue: &Arc<Numbers>, number: u32, key: Key, bytes: usize) -> JoinHandle<Result<Option<u32>>> {
    let waiting = queue.state().waiting.len();
    let task = start_call(queue, number, key, bytes);
    while queue.state().waiting.len() == waiting {
        tokio::task::yield_now().await;
    }
    task
}

#[tokio::test]
async fn without_a_running_call_a_call_runs_immediately_and_alone() {
    let (recorder, queue) = queue();
    for _ in 0..3 {
        assert_eq!(start_call(&queue, 1, key(1), 1).await.unwrap().unwrap(), None);
    }
    assert!(recorder.groups.lock().unwrap().is_empty());
}

#[tokio::test]
async fn waiting_calls_run_in_one_group_and_each_gets_its_own_reply() {
    let (recorder, queue) = queue();
    let under_way = lead(&queue);
    let mut tasks = Vec::new();
    for (number, byte) in [(1, 7), (2, 3), (LEFT_OUT, 5), (3, 9)] {
        tasks.push(enqueue_call(&queue, number, key(byte), 1).await);
    }
    drop(under_way);
    let mut replies = Vec::new();
    for task in tasks {
        replies.push(task.await.unwrap().unwrap());
    }
    assert_eq!(replies, [Some(1), Some(2), None, Some(3)]);
    assert_eq!(*recorder.groups.lock().unwrap(), [[2, LEFT_OUT, 1, 3]]);
    while queue.state().busy_since.is_some() {
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn the_changes_of_one_key_stay_in_order() {
    let (recorder, queue) = queue();
    let under_way = lead(&queue);
    let mut tasks = Vec::new();
    for (number, byte) in [(1, 7), (2, 3), (3, 7), (4, 7), (5, 1)] {
        tasks.push(enqueue_call(&queue, number, key(byte), 1).await);
    }
    drop(under_way);
    for task in tasks {
        assert!(task.await.unwrap().unwrap().is_some());
    }
    assert_eq!(*recorder.groups.lock().unwrap(), [vec![2, 1], vec![3], vec![5, 4]]);
}

#[tokio::test]
async fn groups_are_bounded_in_number_and_weight() {
    let (recorder, queue) = queue();
    let under_way = lead(&queue);
    let mut tasks = Vec::new();
    for number in 0..300_u32 {
        let mut bytes = [0; 32];
        bytes[..4].copy_from_slice(&number.to_be_bytes());
        tasks.push(enqueue_call(&queue, number, Key::from_bytes(bytes), 1).await);
    }
    for (number, weight) in [(300, MAX_GROUP_BYTES), (301, MAX_GROUP_BYTES + 1), (302, 1)] {
        tasks.push(enqueue_call(&queue, number, key(u8::try_from(number - 200).unwrap()), weight).await);
    }
    drop(under_way);
    for task in tasks {
        assert!(task.await.unwrap().unwrap().is_some());
    }
    let sizes: Vec<usize> = recorder.groups.lock().unwrap().iter().map(Vec::len).collect();
    assert_eq!(sizes, [256, 32, 12, 1, 1, 1]);
}

#[cfg(all(feature = "sqlite", feature = "postgres"))]
#[test]
fn a_group_may_have_any_size_if_its_parameters_are_arrays() {
    use super::super::calls::ChangeCalls;
    use super::super::dialect::Dialect;

    fn size_of_the_next_group<DB: Dialect>() -> usize {
        let calls = (0..7).map(|byte| Waiting { call: Call::new(&key(byte), []), reply: channel().0 });
        group_size::<ChangeCalls<DB>>(&calls.collect())
    }
    assert_eq!(size_of_the_next_group::<sqlx::Sqlite>(), 6);
    assert_eq!(size_of_the_next_group::<sqlx::Postgres>(), 7);
}

#[tokio::test]
async fn a_call_whose_caller_went_away_does_not_run_and_delays_no_other_call() {
    let (recorder, queue) = queue();
    let under_way = lead(&queue);
    let gone = enqueue_call(&queue, 1, key(1), 1).await;
    let stays = enqueue_call(&queue, 2, key(2), 1).await;
    gone.abort();
    assert!(gone.await.unwrap_err().is_cancelled());
    drop(under_way);
    assert_eq!(stays.await.unwrap().unwrap(), Some(2));
    assert_eq!(*recorder.groups.lock().unwrap(), [[2]]);
}

#[tokio::test]
async fn a_group_that_fails_or_panics_fails_only_its_own_calls() {
    for (bad, kind) in [(FAILS, ErrorKind::Timeout), (PANICS, ErrorKind::Unavailable)] {
        let (_, queue) = queue();
        let under_way = lead(&queue);
        let (one, two) = (enqueue_call(&queue, bad, key(1), 1).await, enqueue_call(&queue, 2, key(2), 1).await);
        // The group already contains a call for this key, so this call joins the next group.
        let later = enqueue_call(&queue, 3, key(2), 1).await;
        drop(under_way);
        for task in [one, two] {
            assert_eq!(task.await.unwrap().unwrap_err().kind(), kind);
        }
        assert_eq!(later.await.unwrap().unwrap(), Some(3));
    }
}

#[test]
fn without_a_runtime_waiting_calls_fail() {
    let (_, queue) = queue();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let under_way = lead(&queue);
    let task = runtime.block_on(enqueue_call(&queue, 1, key(1), 1));
    // No runtime can run the waiting call.
    drop(under_way);
    assert_eq!(runtime.block_on(task).unwrap().unwrap_err().kind(), ErrorKind::Unavailable);
    drop(lead(&queue));
}

#[test]
fn when_the_runtime_shuts_down_all_waiting_calls_fail() {
    let (_, queue) = queue();
    let dying = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    let under_way = lead(&queue);
    let living = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let tasks = living.block_on(async {
        let mut tasks = Vec::new();
        for number in 1..=100 {
            tasks.push(enqueue_call(&queue, number, key(1), 1).await);
        }
        tasks
    });
    // The leader is dropped with the task that holds it.
    dying.spawn(async move {
        let _under_way = under_way;
        std::future::pending::<()>().await;
    });
    dying.shutdown_timeout(Duration::from_secs(10));
    for task in tasks {
        assert_eq!(living.block_on(task).unwrap().unwrap_err().kind(), ErrorKind::Unavailable);
    }
    drop(lead(&queue));
}

#[tokio::test(start_paused = true)]
async fn a_slow_call_delays_no_other_call() {
    let (recorder, queue) = queue();
    let slow = lead(&queue);
    let group = [enqueue_call(&queue, SLOW, key(1), 1).await, enqueue_call(&queue, 2, key(2), 1).await];
    // The group already contains a call for this key, so this call joins the next group.
    let next = enqueue_call(&queue, 3, key(2), 1).await;
    let started = Instant::now();
    assert_eq!(next.await.unwrap().unwrap(), Some(3));
    assert!(started.elapsed() < MAX_WAIT * 3, "{:?}", started.elapsed());
    assert_eq!(*recorder.groups.lock().unwrap(), [vec![SLOW, 2], vec![3]]);
    assert!(!group[0].is_finished());
    for task in group {
        assert!(task.await.unwrap().unwrap().is_some(), "a slow group also gets its replies");
    }
    // The slow leader has lost its turn, so dropping it does not end the turn of the other leader.
    let other = lead(&queue);
    drop(slow);
    let waits = enqueue_call(&queue, 4, key(1), 1).await;
    drop(other);
    assert_eq!(waits.await.unwrap().unwrap(), Some(4));
}

#[tokio::test(start_paused = true)]
async fn if_the_first_caller_goes_away_no_call_waits_for_a_slow_call() {
    let (_, queue) = queue();
    let _slow = lead(&queue);
    let (first, second) = (enqueue_call(&queue, 1, key(1), 1).await, enqueue_call(&queue, 2, key(2), 1).await);
    let started = Instant::now();
    first.abort();
    assert_eq!(second.await.unwrap().unwrap(), Some(2));
    assert!(started.elapsed() < MAX_WAIT * 3, "{:?}", started.elapsed());
}

#[tokio::test(start_paused = true)]
async fn a_new_call_replaces_a_slow_leader() {
    let (_, queue) = queue();
    let _slow = lead(&queue);
    // The first call is polled only once, so it does not replace the slow leader itself.
    let waits = Call::new(&key(1), [Value::Int(Some(1))]);
    let mut first = Box::pin(queue.call(&waits));
    assert!(first.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_pending());
    tokio::time::advance(MAX_WAIT * 2).await;
    let second = start_call(&queue, 2, key(2), 1);
    assert_eq!(second.await.unwrap().unwrap(), Some(2));
    assert_eq!(first.await.unwrap(), Some(1));
}
