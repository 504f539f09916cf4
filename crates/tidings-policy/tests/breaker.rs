//! The circuit breaker on a driven clock: what the documentation of the best known implementation says of its state
//! machine, as our own table, and the ways in which breakers have broken.

use std::time::Duration;

use tidings_core::{Circuit, CircuitMode, Timestamp};
use tidings_policy::{
    Breaker,
    BreakerState::{self, Closed, Disabled, ForcedOpen, HalfOpen, Open},
    Outcome,
};

const fn ms(n: u64) -> Duration {
    Duration::from_millis(n)
}

const fn secs(n: u64) -> Duration {
    Duration::from_secs(n)
}

/// What happens, in a row of the table.
#[derive(Debug, Clone, Copy)]
enum Do {
    /// So many calls that work, fail, work slowly, fail slowly, are ignored. Each has to be let through.
    Work(u32),
    Fail(u32),
    Slow(u32),
    SlowFail(u32),
    Ignore(u32),
    /// A call has to be refused, for so many milliseconds.
    Refused(u64),
    /// Time passes, in milliseconds.
    Pass(u64),
    Set(CircuitMode),
    /// The state has to be this.
    Is(BreakerState),
}

use Do::{Fail, Ignore, Is, Pass, Refused, Set, Slow, SlowFail, Work};

fn run(circuit: Circuit, steps: &[Do]) {
    let faults = tidings_core::Policy::new().circuit(circuit.clone()).faults();
    assert!(faults.is_empty(), "{faults:?}");
    let (breaker, mut now) = (Breaker::new(circuit.clone()), Timestamp::from_millis(1_000_000));
    for (at, step) in steps.iter().enumerate() {
        let calls = |times: u32, outcome: Outcome, took: Duration| {
            for call in 0..times {
                let (ticket, _) = breaker
                    .enter(now)
                    .unwrap_or_else(|_| panic!("step {at} call {call} of {steps:?}: refused"));
                breaker.leave(ticket, outcome, took, now);
            }
        };
        match *step {
            Work(times) => calls(times, Outcome::Worked, ms(1)),
            Fail(times) => calls(times, Outcome::Failed, ms(1)),
            Slow(times) => calls(times, Outcome::Worked, ms(1_001)),
            SlowFail(times) => calls(times, Outcome::Failed, ms(1_001)),
            Ignore(times) => calls(times, Outcome::Ignored, ms(5_000)),
            Refused(left) => {
                let refused = breaker.enter(now).map(|_| ()).expect_err("it has to be refused");
                assert_eq!(refused, ms(left), "step {at} of {steps:?}");
                assert_eq!(breaker.refuses(now), Some(ms(left)), "step {at} of {steps:?}");
            }
            Pass(time) => now = now.after(ms(time)),
            Set(mode) => drop(breaker.set(mode, now)),
            Is(state) => assert_eq!(breaker.state(), state, "step {at} of {steps:?} with {circuit:?}"),
        }
    }
}

fn half() -> Circuit {
    Circuit::failing(0.5).of_at_least(10).over_calls(10).probes(4)
}

#[test]
fn by_share_it_goes_through_the_documented_transitions() {
    let table: &[(&str, Circuit, &[Do])] = &[
        ("it begins closed", half(), &[Is(Closed), Work(100), Is(Closed)]),
        (
            "nothing is decided before the least number of calls",
            half(),
            &[Fail(9), Is(Closed), Fail(1), Is(Open)],
        ),
        ("at the threshold it opens", half(), &[Work(5), Fail(4), Is(Closed), Fail(1), Is(Open)]),
        ("under the threshold it does not", half(), &[Work(6), Fail(4), Is(Closed), Work(50), Is(Closed)]),
        (
            "the call that completes the least number decides, also if it works",
            half(),
            &[Fail(5), Work(4), Is(Closed), Work(1), Is(Open)],
        ),
        (
            "a window of calls forgets the oldest",
            half(),
            &[Fail(4), Work(6), Is(Closed), Work(4), Fail(4), Is(Closed), Fail(1), Is(Open)],
        ),
        (
            "a window of time forgets what is older",
            Circuit::failing(0.5).of_at_least(4).over(secs(10)),
            &[Fail(3), Pass(10_000), Fail(3), Is(Closed), Fail(1), Is(Open)],
        ),
        (
            "a window of time keeps what is not",
            Circuit::failing(0.5).of_at_least(4).over(secs(10)),
            &[Fail(1), Pass(3_000), Fail(1), Pass(3_000), Fail(1), Pass(3_000), Fail(1), Is(Open)],
        ),
        (
            "ignored calls count neither way",
            half(),
            &[Work(5), Ignore(100), Fail(4), Ignore(100), Is(Closed), Fail(1), Is(Open)],
        ),
        (
            "open, calls are refused until the wait is over, which is never moved",
            half(),
            &[
                Fail(10),
                Refused(30_000),
                Pass(29_999),
                Refused(1),
                Refused(1),
                Is(Open),
                Pass(1),
                Work(1),
                Is(HalfOpen),
            ],
        ),
        (
            "half-open it closes when the probes stay under the threshold",
            half(),
            &[Fail(10), Pass(30_000), Work(3), Is(HalfOpen), Fail(1), Is(Closed)],
        ),
        (
            "half-open it opens again at the threshold, for the whole wait",
            half(),
            &[Fail(10), Pass(30_000), Work(2), Fail(1), Is(HalfOpen), Fail(1), Is(Open), Refused(30_000)],
        ),
        (
            "half-open the threshold is asked when all probes have answered",
            half(),
            &[Fail(10), Pass(30_000), Fail(3), Is(HalfOpen), Work(1), Is(Open)],
        ),
        (
            "half-open an ignored call gives its probe back",
            half(),
            &[Fail(10), Pass(30_000), Ignore(50), Is(HalfOpen), Work(4), Is(Closed)],
        ),
        (
            "closed again, it has forgotten",
            half(),
            &[Fail(10), Pass(30_000), Work(4), Is(Closed), Fail(9), Is(Closed), Fail(1), Is(Open)],
        ),
        (
            "slow calls open it at their own threshold, though they work",
            half().slow_after(secs(1)).slow_share(0.8),
            &[Slow(7), Work(2), Is(Closed), Slow(1), Is(Open)],
        ),
        (
            "slow calls under their threshold do not",
            half().slow_after(secs(1)).slow_share(0.8),
            &[Slow(7), Work(3), Is(Closed)],
        ),
        (
            "without a share all have to be slow",
            half().slow_after(secs(1)),
            &[Slow(9), Is(Closed), Slow(1), Is(Open)],
        ),
        (
            "failures and slow calls are not added up",
            half().slow_after(secs(1)).slow_share(0.5),
            &[Fail(4), Slow(4), Work(2), Is(Closed)],
        ),
        (
            "a slow failure counts as both",
            half().slow_after(secs(1)).slow_share(0.5),
            &[Work(5), SlowFail(5), Is(Open)],
        ),
        ("not asked, slow calls are calls", half(), &[Slow(100), Is(Closed)]),
        (
            "slow probes open it again",
            half().slow_after(secs(1)).slow_share(0.5),
            &[Fail(10), Pass(30_000), Work(2), Slow(2), Is(Open)],
        ),
    ];
    for (sentence, circuit, steps) in table {
        eprintln!("{sentence}");
        run(circuit.clone(), steps);
    }
}

#[test]
fn by_failures_in_a_row_it_goes_through_its_transitions() {
    let five = || Circuit::open_after(5);
    let table: &[(&str, Circuit, &[Do])] = &[
        ("five in a row open it", five(), &[Fail(4), Is(Closed), Fail(1), Is(Open), Refused(30_000)]),
        ("one that works begins anew", five(), &[Fail(4), Work(1), Fail(4), Is(Closed), Fail(1), Is(Open)]),
        ("one that is ignored does not", five(), &[Fail(4), Ignore(3), Fail(1), Is(Open)]),
        ("a probe that works closes it", five(), &[Fail(5), Pass(30_000), Work(1), Is(Closed)]),
        (
            "the first probe that fails opens it",
            five().probes(3),
            &[Fail(5), Pass(30_000), Work(2), Fail(1), Is(Open)],
        ),
        (
            "all probes have to work",
            five().probes(3),
            &[Fail(5), Pass(30_000), Work(2), Is(HalfOpen), Work(1), Is(Closed)],
        ),
        ("closed again, it has forgotten", five(), &[Fail(5), Pass(30_000), Work(1), Fail(4), Is(Closed)]),
        ("slow ones count as failed if asked", five().slow_after(secs(1)), &[Slow(5), Is(Open)]),
        (
            "its wait is its own",
            five().probe_after(secs(2)),
            &[Fail(5), Pass(1_999), Refused(1), Pass(1), Work(1), Is(Closed)],
        ),
    ];
    for (sentence, circuit, steps) in table {
        eprintln!("{sentence}");
        run(circuit.clone(), steps);
    }
}

#[test]
fn by_hand_it_is_opened_and_taken_out_of_the_way() {
    let circuit = || Circuit::open_after(2);
    let table: &[(&str, Circuit, &[Do])] = &[
        (
            "forced open it refuses for ever",
            circuit(),
            &[
                Set(CircuitMode::Open),
                Is(ForcedOpen),
                Refused(30_000),
                Pass(1_000_000),
                Refused(30_000),
                Is(ForcedOpen),
            ],
        ),
        (
            "disabled it lets all through and never opens",
            circuit(),
            &[Set(CircuitMode::Disabled), Fail(100), Is(Disabled)],
        ),
        (
            "by itself again, it is closed",
            circuit(),
            &[Set(CircuitMode::Open), Set(CircuitMode::Auto), Is(Closed), Fail(2), Is(Open)],
        ),
        ("by itself already, it stays as it is", circuit(), &[Fail(2), Set(CircuitMode::Auto), Is(Open)]),
        ("it may begin forced open", circuit().mode(CircuitMode::Open), &[Is(ForcedOpen), Refused(30_000)]),
        ("it may begin disabled", circuit().mode(CircuitMode::Disabled), &[Fail(10), Is(Disabled)]),
    ];
    for (sentence, circuit, steps) in table {
        eprintln!("{sentence}");
        run(circuit.clone(), steps);
    }
}

#[test]
fn half_open_exactly_as_many_as_asked_are_let_through_at_once() {
    for probes in [1, 3, 10] {
        let breaker = Breaker::new(Circuit::open_after(1).probes(probes));
        let now = Timestamp::from_millis(0);
        breaker.leave(breaker.enter(now).expect("closed").0, Outcome::Failed, ms(0), now);
        let now = now.after(secs(30));
        let tickets: Vec<_> = (0..probes).map(|_| breaker.enter(now).expect("a probe").0).collect();
        for _ in 0..100 {
            assert!(breaker.enter(now).is_err(), "the probes are out");
        }
        let mut closed = None;
        for ticket in tickets {
            assert_eq!(closed, None, "before all have answered");
            closed = breaker.leave(ticket, Outcome::Worked, ms(0), now);
        }
        assert_eq!(closed, Some(Closed));
    }
}

#[test]
fn what_began_before_it_opened_does_not_decide_half_open() {
    let breaker = Breaker::new(Circuit::open_after(1));
    let now = Timestamp::from_millis(0);
    let [old, older, first] = [(); 3].map(|()| breaker.enter(now).expect("closed").0);
    assert_eq!(breaker.leave(first, Outcome::Failed, ms(0), now), Some(Open));
    let now = now.after(secs(30));
    let (probe, changed) = breaker.enter(now).expect("a probe");
    assert_eq!(changed, Some(HalfOpen));
    assert_eq!(breaker.leave(old, Outcome::Worked, secs(30), now), None);
    assert_eq!(breaker.leave(older, Outcome::Failed, secs(30), now), None);
    assert_eq!(breaker.state(), HalfOpen);
    assert_eq!(breaker.leave(probe, Outcome::Worked, ms(0), now), Some(Closed));
}

#[test]
fn a_clock_that_is_set_back_never_keeps_it_open_longer_than_its_wait() {
    let breaker = Breaker::new(Circuit::open_after(1));
    let now = Timestamp::from_millis(3_600_000);
    breaker.leave(breaker.enter(now).expect("closed").0, Outcome::Failed, ms(0), now);
    let now = Timestamp::from_millis(0);
    assert_eq!(breaker.enter(now).map(|_| ()), Err(secs(30)));
    assert!(breaker.enter(now.after(secs(30))).is_ok());
}

#[test]
fn many_threads_get_exactly_the_probes_and_one_opening() {
    let breaker = Breaker::new(Circuit::open_after(3).probes(2).probe_after(ms(1)));
    for round in 0..200_u64 {
        let now = Timestamp::from_millis(i64::try_from(round).expect("small") * 10);
        let opened: usize = std::thread::scope(|scope| {
            let call = || {
                let tickets: Vec<_> = (0..4).filter_map(|_| breaker.enter(now).ok()).collect();
                let left =
                    tickets.into_iter().map(|(ticket, _)| breaker.leave(ticket, Outcome::Failed, ms(0), now));
                left.filter(|changed| *changed == Some(Open)).count()
            };
            let threads: Vec<_> = (0..4).map(|_| scope.spawn(call)).collect();
            threads.into_iter().map(|thread| thread.join().expect("no panic")).sum()
        });
        assert_eq!((opened, breaker.state()), (1, Open), "round {round}");
        let now = now.after(ms(1));
        let probes = std::thread::scope(|scope| {
            let threads: Vec<_> = (0..4).map(|_| scope.spawn(|| breaker.enter(now).ok())).collect();
            threads.into_iter().filter_map(|thread| thread.join().expect("no panic")).collect::<Vec<_>>()
        });
        assert_eq!(probes.len(), 2, "round {round}");
        for (ticket, _) in probes {
            breaker.leave(ticket, Outcome::Worked, ms(0), now);
        }
        assert_eq!(breaker.state(), Closed, "round {round}");
    }
}
