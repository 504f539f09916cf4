//! Asking and answering: one answer, or one reason why there is none, and nothing left afterwards.

mod common;

use std::{
    future::IntoFuture,
    pin::pin,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    task::Poll,
    time::Duration,
};

use common::{Diary, Failures};
use futures_util::poll;
use serde::{Deserialize, Serialize};
use tidings_bus::{Bus, Fault, Question, REQUEST_TIMEOUT, RequestError};
use tidings_core::{Attribute, Envelope, ManualClock, On, Timestamp};
use tokio::sync::oneshot;

events! {
    Halved = "number.halved" version 1;
}

/// Half of a number is wanted.
impl Question for Halved {
    type Answer = u64;
    type Error = Odd;
}

/// It has no half.
#[derive(Debug, PartialEq, Serialize, Deserialize)]
pub struct Odd {
    /// What halving leaves over.
    pub left: u64,
}

fn half(asked: &Halved) -> Result<u64, Odd> {
    if asked.0.is_multiple_of(2) { Ok(asked.0 / 2) } else { Err(Odd { left: 1 }) }
}

fn driven() -> (Bus, ManualClock) {
    let clock = ManualClock::at(Timestamp::from_millis(0));
    (Bus::builder().clock(Arc::new(clock.clone())).build(), clock)
}

#[tokio::test]
async fn an_answer_and_the_responders_own_error_come_back_typed() {
    let bus = Bus::new();
    bus.respond(half).forever();
    assert_eq!(bus.request(Halved(8)).await.expect("even"), 4);
    let error = bus.request(Halved(7)).await.expect_err("odd");
    assert!(matches!(error, RequestError::Refused(Odd { left: 1 })), "{error}");
}

#[tokio::test]
async fn an_asynchronous_responder_answers_when_it_is_ready() {
    let bus = Bus::new();
    bus.respond_async(|asked: On<Halved>| async move {
        tokio::task::yield_now().await;
        half(&asked)
    })
    .forever();
    assert_eq!(bus.request(Halved(8)).await.expect("even"), 4);
    let error = bus.request(Halved(7)).await.expect_err("odd");
    assert!(matches!(error, RequestError::Refused(Odd { left: 1 })), "{error}");
}

#[tokio::test]
async fn with_nobody_who_responds_it_ends_at_once_whoever_else_listens() {
    let (bus, clock) = driven();
    bus.on(|_: &Halved| ()).forever();
    bus.subscribe("**", |_| ()).expect("valid").forever();
    let error = bus.request(Halved(8)).await.expect_err("nobody");
    assert!(matches!(error, RequestError::Unheard), "{error}");
    assert_eq!(clock.sleepers(), 0);
}

#[tokio::test]
async fn without_an_answer_it_times_out_after_thirty_seconds_or_what_was_said() {
    let (bus, clock) = driven();
    bus.respond_async(|_: On<Halved>| std::future::pending()).forever();
    for (request, span) in [
        (bus.request(Halved(8)), REQUEST_TIMEOUT),
        (bus.request(Halved(8)).within(Duration::from_secs(1)), Duration::from_secs(1)),
    ] {
        let mut asked = pin!(request.into_future());
        assert!(poll!(&mut asked).is_pending());
        clock.advance(span - Duration::from_millis(1));
        assert!(poll!(&mut asked).is_pending());
        clock.advance(Duration::from_millis(1));
        let Poll::Ready(Err(RequestError::TimedOut(waited))) = poll!(&mut asked) else {
            panic!("it waits for ever")
        };
        assert_eq!((waited, bus.names()), (span, vec!["number.halved".to_owned()]));
    }
    assert_eq!(REQUEST_TIMEOUT, Duration::from_secs(30));
}

#[tokio::test]
async fn a_responder_that_panics_is_told_to_who_asked_and_to_the_error_channel() {
    let bus = Bus::new();
    let failures = Failures::of(&bus);
    fn panics(_: &Halved) -> Result<u64, Odd> {
        panic!("no numbers today")
    }
    let guard = bus.respond(panics);
    let error = bus.request(Halved(8)).await.expect_err("it panics");
    assert!(
        matches!(&error, RequestError::Failed(Fault::Panicked(text)) if &**text == "no numbers today"),
        "{error}"
    );
    assert_eq!(failures.take().len(), 1);
    drop(guard);
    bus.respond_async(|asked: On<Halved>| async move { panics(&asked) }).forever();
    let error = bus.request(Halved(8)).await.expect_err("it panics");
    assert!(
        matches!(&error, RequestError::Failed(Fault::Panicked(text)) if &**text == "no numbers today"),
        "{error}"
    );
    bus.settled().await;
    assert_eq!(failures.take().len(), 1);
}

#[tokio::test]
async fn a_responder_that_is_dropped_half_way_ends_the_wait() {
    let kept: Arc<parking_lot::Mutex<Vec<_>>> = Arc::default();
    let tasks = kept.clone();
    let bus = Bus::builder().spawner(move |task| tasks.lock().push(task)).build();
    bus.respond_async(|_: On<Halved>| std::future::pending()).forever();
    let mut asked = pin!(bus.request(Halved(8)).into_future());
    // The machine's clock is asked to wake, in the runtime of this test.
    assert!(poll!(&mut asked).is_pending());
    kept.lock().clear();
    let Poll::Ready(Err(RequestError::Failed(Fault::Dropped))) = poll!(&mut asked) else {
        panic!("it waits for a task that is gone")
    };
}

#[tokio::test]
async fn the_first_answer_wins_and_those_behind_it_are_not_asked() {
    let (bus, diary) = (Bus::new(), Diary::default());
    for (name, answer) in [("one", 1), ("two", 2)] {
        let entry = diary.clone();
        bus.respond(move |_: &Halved| {
            entry.write(name);
            Ok(answer)
        })
        .forever();
    }
    assert_eq!(bus.request(Halved(8)).await.expect("two answers"), 1);
    assert_eq!(diary.take(), "one");
}

#[tokio::test]
async fn one_that_panics_leaves_the_question_to_the_others() {
    let bus = Bus::new();
    let failures = Failures::of(&bus);
    fn panics(_: &Halved) -> Result<u64, Odd> {
        panic!("no numbers today")
    }
    bus.respond(panics).forever();
    bus.respond(half).forever();
    bus.respond(panics).forever();
    assert_eq!(bus.request(Halved(8)).await.expect("one answers"), 4);
    assert_eq!(failures.take().len(), 1, "the last was not called");
}

#[tokio::test]
async fn of_asynchronous_responders_the_faster_wins_and_the_other_runs_to_its_end() {
    let (bus, ended) = (Bus::new(), Arc::new(AtomicUsize::new(0)));
    let (open, gate) = oneshot::channel::<()>();
    let (gate, at_end) = (parking_lot::Mutex::new(Some(gate)), ended.clone());
    bus.respond_async(move |_: On<Halved>| {
        let (gate, ended) = (gate.lock().take(), at_end.clone());
        async move {
            let _ = gate.expect("asked once").await;
            ended.fetch_add(1, Ordering::SeqCst);
            Ok(1)
        }
    })
    .forever();
    bus.respond_async(|_: On<Halved>| async { Ok(2) }).forever();
    assert_eq!(bus.request(Halved(8)).await.expect("an answer"), 2);
    assert_eq!(ended.load(Ordering::SeqCst), 0);
    open.send(()).expect("it still waits");
    bus.settled().await;
    assert_eq!(ended.load(Ordering::SeqCst), 1);
}

#[tokio::test]
async fn dropped_while_it_waits_it_leaves_nothing_behind() {
    let (bus, clock) = driven();
    let (open, gate) = oneshot::channel::<()>();
    let gate = parking_lot::Mutex::new(Some(gate));
    bus.respond_async(move |_: On<Halved>| {
        let gate = gate.lock().take();
        async move {
            let _ = gate.expect("asked once").await;
            Ok(1)
        }
    })
    .forever();
    let mut asked = Box::pin(bus.request(Halved(8)).into_future());
    assert!(poll!(&mut asked).is_pending());
    assert_eq!((bus.names().len(), clock.sleepers()), (2, 1));
    drop(asked);
    assert_eq!((bus.names(), clock.sleepers()), (vec!["number.halved".to_owned()], 0));
    let failures = Failures::of(&bus);
    open.send(()).expect("it still runs");
    bus.settled().await;
    assert!(failures.take().is_empty());
}

#[tokio::test]
async fn question_and_reply_are_envelopes_that_belong_together() {
    let (bus, seen) = (Bus::new(), Arc::new(parking_lot::Mutex::new(Vec::<Envelope>::new())));
    let all = seen.clone();
    bus.subscribe("**", move |any| all.lock().push(any.clone())).expect("valid").forever();
    bus.respond(half).forever();
    bus.request(Halved(8)).await.expect("even");
    let [question, reply] = &seen.lock().drain(..).collect::<Vec<_>>()[..] else { panic!("two envelopes") };
    let topic = format!("reply.number.halved.{}", question.id());
    assert_eq!(question.attribute("replyto"), Some(&Attribute::Text(topic.as_str().into())));
    assert_eq!(question.correlation(), Some(question.id()));
    assert_eq!((&**reply.name(), reply.correlation()), (topic.as_str(), Some(question.id())));
    assert_eq!(reply.causation(), Some(question.id()));
    assert_eq!(reply.attribute("reply"), Some(&Attribute::Text("answer".into())));
    assert_eq!(bus.names(), ["**", "number.halved"]);

    let cause = Envelope::build("order.placed").correlation("chain").finish().expect("valid");
    bus.request(Halved(7)).caused_by(&cause).await.expect_err("odd");
    let [question, reply] = &seen.lock().drain(..).collect::<Vec<_>>()[..] else { panic!("two envelopes") };
    assert_eq!((question.correlation(), question.causation()), (cause.correlation(), Some(cause.id())));
    assert_eq!((reply.correlation(), reply.hops()), (cause.correlation(), 2));
    assert_eq!(reply.attribute("reply"), Some(&Attribute::Text("error".into())));
}

#[tokio::test]
async fn many_at_once_are_not_mixed_up() {
    let bus = Bus::new();
    bus.respond_async(|asked: On<Halved>| async move {
        for _ in 0..asked.0 % 7 {
            tokio::task::yield_now().await;
        }
        half(&asked)
    })
    .forever();
    let asked = (0..200).map(|n| bus.request(Halved(2 * n)).into_future());
    let answers = futures_util::future::join_all(asked).await;
    assert!(answers.into_iter().enumerate().all(|(n, answer)| answer.is_ok_and(|half| half == n as u64)));
    assert_eq!(bus.names(), ["number.halved"]);
}

#[tokio::test]
async fn nothing_is_asked_until_it_is_awaited_and_an_emitted_question_is_not_answered() {
    let (bus, calls) = (Bus::new(), Arc::new(AtomicUsize::new(0)));
    let called = calls.clone();
    let guard = bus.respond(move |asked: &Halved| {
        called.fetch_add(1, Ordering::SeqCst);
        half(asked)
    });
    drop(bus.request(Halved(8)));
    assert_eq!((bus.emit(&Halved(8)), calls.load(Ordering::SeqCst)), (0, 0));
    assert_eq!(bus.request(Halved(8)).await.expect("even"), 4);
    drop(guard);
    assert!(matches!(bus.request(Halved(8)).await, Err(RequestError::Unheard)));
    assert_eq!(calls.load(Ordering::SeqCst), 1);
}

#[tokio::test]
async fn a_responder_can_be_for_some_questions_and_ask_others_itself() {
    let bus = Bus::new();
    let inner = bus.clone();
    bus.listen().when(|asked: &Halved| asked.0 < 10).respond(half).forever();
    let quarter =
        bus.listen().when(|asked: &Halved| asked.0 >= 10).respond_async(move |asked: On<Halved>| {
            let bus = inner.clone();
            async move { bus.request(Halved(asked.0 - 10)).await.map_err(|_| Odd { left: 9 }) }
        });
    assert_eq!(bus.request(Halved(18)).await.expect("asked twice"), 4);
    drop(quarter);
    assert!(matches!(bus.request(Halved(18)).await, Err(RequestError::Unheard)));
}

#[tokio::test]
async fn when_everything_is_removed_the_wait_ends() {
    let (bus, _) = driven();
    bus.respond_async(|_: On<Halved>| std::future::pending()).forever();
    let mut asked = pin!(bus.request(Halved(8)).into_future());
    assert!(poll!(&mut asked).is_pending());
    bus.remove_all();
    assert!(matches!(poll!(&mut asked), Poll::Ready(Err(RequestError::Ended))));
}

events! {
    Shown = "number.shown" version 1;
}

/// What cannot be written, and what cannot be read again.
#[derive(Debug, Deserialize)]
pub struct Unwritable(u64);

impl Serialize for Unwritable {
    fn serialize<S: serde::Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        if self.0 == 0 { Err(serde::ser::Error::custom("no zero")) } else { to.serialize_str("secret") }
    }
}

impl Question for Shown {
    type Answer = Unwritable;
    type Error = ();
}

#[tokio::test]
async fn an_answer_that_cannot_be_written_or_read_is_said_and_not_quoted() {
    let bus = Bus::new();
    let failures = Failures::of(&bus);
    bus.respond(|asked: &Shown| Ok(Unwritable(asked.0))).forever();
    let error = bus.request(Shown(0)).await.expect_err("it cannot be written");
    assert!(matches!(error, RequestError::Failed(Fault::Failed(_))), "{error}");
    assert_eq!(failures.take().len(), 1);
    let error = bus.request(Shown(1)).await.expect_err("it cannot be read");
    assert!(matches!(error, RequestError::Unreadable(_)) && !error.to_string().contains("secret"), "{error}");
}
