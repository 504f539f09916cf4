use super::*;
use crate::Reason;

const fn ms(n: u64) -> Duration {
    Duration::from_millis(n)
}

const fn secs(n: u64) -> Duration {
    Duration::from_secs(n)
}

/// Every field says something else than its default.
fn full() -> Policy {
    Policy::new()
        .flag("new-checkout")
        .deadline(secs(3_600))
        .quarantine_after(3)
        .idempotent(Idempotency::by_version("revision").ttl(secs(90)).lease(secs(7)).stored())
        .shed(Shed::over(ms(100)).every(ms(500)).normal_at(3.5))
        .rate(Rate::per(secs(60), 20).each_key().keys(50).shared().wait(ms(10)))
        .circuit(
            Circuit::failing(0.4)
                .of_at_least(5)
                .over(secs(10))
                .slow_after(ms(800))
                .slow_share(0.9)
                .probe_after(secs(20))
                .probes(3)
                .call_timeout(secs(2))
                .mode(CircuitMode::Disabled),
        )
        .bulkhead(Bulkhead::pool("db").permits(4).queue(7).wait(ms(250)))
        .timeout(secs(10))
        .retry(Retry::table([secs(1), secs(2)]).jitter(0.1).budget(60))
        .dead(Dead::to("payments").on(Reason::Exhausted, Then::replay(secs(600))).otherwise(Then::Discard))
}

#[test]
fn a_policy_reads_as_it_was_written_in_toml_and_json() {
    for policy in [Policy::new(), full(), Policy::new().rate(Rate::per_second(5).burst(2)).bulkhead(16)] {
        assert_eq!(policy.faults(), Vec::<String>::new());
        let written = toml::to_string(&policy).expect("a policy is TOML");
        assert_eq!(toml::from_str::<Policy>(&written).expect("and is read again"), policy, "{written}");
        let written = serde_json::to_string(&policy).expect("a policy is JSON");
        assert_eq!(serde_json::from_str::<Policy>(&written).expect("and is read again"), policy, "{written}");
    }
}

#[test]
fn a_policy_is_written_in_toml_as_a_person_would() {
    let policy: Policy = toml::from_str(
        r#"
        timeout = "10s"
        bulkhead = { pool = "db", permits = 4 }
        rate = { permits = 1000, per = "1s", burst = 50 }
        shed = { target = "100ms" }
        idempotency = { by = { field = "order" } }

        [retry]
        attempts = 3
        backoff = { exponential = "250ms" }

        [circuit]
        trip = { rate = { share = 0.5, calls_min = 10, window = { time = "10s" } } }
        probes = 2

        [[dead.rules]]
        reason = "exhausted"
        then = { replay = { after = "10m", times = 2 } }
        "#,
    )
    .expect("a policy");
    let retry = Retry { attempts: 3, backoff: Backoff::Exponential(ms(250)), ..Retry::default() };
    let rule = Then::Replay { after: secs(600), times: 2 };
    let said = Policy::new()
        .timeout(secs(10))
        .bulkhead(Bulkhead::pool("db").permits(4))
        .rate(Rate::per_second(1_000).burst(50))
        .shed(Shed::over(ms(100)))
        .idempotent(Idempotency::by_field("order"))
        .retry(retry)
        .circuit(Circuit::failing(0.5).over(secs(10)).probes(2))
        .dead(Dead::default().on(Reason::Exhausted, rule));
    assert_eq!(policy, said);
    assert_eq!(policy.faults(), Vec::<String>::new());
}

#[test]
fn what_is_unknown_is_refused_with_its_name() {
    for (text, field) in [
        ("retries = 3", "retries"),
        ("[retry]\nattempt = 3", "attempt"),
        ("[circuit]\nthreshold = 3", "threshold"),
        ("[circuit.trip.rate]\nshare = 0.5\ncalls_min = 1\nwindow = { calls = 1 }\nsize = 3", "size"),
        ("[rate]\npermits = 1\nper = '1s'\nbucket = 1", "bucket"),
        ("[bulkhead]\nsize = 1", "size"),
        ("[shed]\ntarget = '1s'\nlow = 1", "low"),
        ("[idempotency]\nkey = 'a'", "key"),
        ("[dead]\nqueue = 'a'", "queue"),
    ] {
        let error = toml::from_str::<Policy>(text).expect_err(text).to_string();
        assert!(error.contains(field), "{error}");
    }
    assert!(toml::from_str::<Policy>("timeout = 30").is_err(), "thirty of what?");
    assert!(toml::from_str::<Policy>("timeout = '-30s'").is_err());
}

#[test]
fn what_a_store_kept_before_is_still_read() {
    let old = r#"{"retry":{"attempts":5,"backoff":{"exponential":{"secs":1,"nanos":0}},"cap":{"secs":30,"nanos":0},
        "jitter":0.25,"budget_per_minute":null},"timeout":{"secs":30,"nanos":0}}"#;
    let policy: Policy = serde_json::from_str(old).expect("what was written by the first version");
    assert_eq!(policy, Policy::new().resolve(&Defaults::durable()));
}

/// The paths of what is wrong.
fn paths(policy: &Policy) -> Vec<String> {
    policy.faults().iter().map(|fault| fault.split(": ").next().unwrap_or_default().to_owned()).collect()
}

#[test]
fn every_fault_is_found_at_once_and_names_its_field() {
    let rate = Rate::per(Duration::ZERO, 0).burst(0).keys(0).window();
    let policy = Policy::new()
        .flag("")
        .deadline(Duration::ZERO)
        .quarantine_after(0)
        .idempotent(Idempotency::by_field("").ttl(Duration::ZERO).lease(Duration::ZERO))
        .shed(Shed::over(Duration::ZERO).every(Duration::ZERO).normal_at(f64::NAN))
        .rate(rate)
        .circuit(
            Circuit::failing(f64::NAN)
                .of_at_least(0)
                .over(Duration::ZERO)
                .slow_after(secs(9))
                .slow_share(-0.5)
                .probe_after(Duration::ZERO)
                .probes(0)
                .call_timeout(Duration::ZERO),
        )
        .bulkhead(Bulkhead::pool("").permits(0).queue(u32::MAX))
        .timeout(Duration::ZERO)
        .retry(Retry { budget_per_minute: Some(0), ..Retry::table([]).attempts(0).jitter(f64::NAN) })
        .dead(Dead::to("").otherwise(Then::Replay { after: secs(1), times: 0 }).on(Reason::Shed, Then::Hold));
    let expected = [
        "flag",
        "deadline",
        "quarantine_after",
        "timeout",
        "circuit.trip.rate.share",
        "circuit.trip.rate.calls_min",
        "circuit.trip.rate.window.time",
        "circuit.slow.after",
        "circuit.slow.share",
        "circuit.reset",
        "circuit.probes",
        "circuit.call_timeout",
        "shed.target",
        "shed.over",
        "shed.normal_at",
        "rate.permits",
        "rate.per",
        "rate.burst",
        "rate.burst",
        "rate.keys",
        "bulkhead.pool",
        "bulkhead.permits",
        "bulkhead.queue",
        "idempotency.ttl",
        "idempotency.lease",
        "idempotency.by.field",
        "retry.attempts",
        "retry.jitter",
        "retry.budget_per_minute",
        "dead.to",
        "dead.rules.0.then.replay.times",
        "dead.rules.1",
    ];
    assert_eq!(paths(&policy), expected);
}

#[test]
fn what_contradicts_itself_is_refused() {
    for (policy, path) in [
        (Policy::new().timeout(secs(9)).deadline(secs(8)), "timeout"),
        (Policy::new().circuit(Circuit::open_after(0)), "circuit.trip.consecutive"),
        (Policy::new().circuit(Circuit::failing(0.0)), "circuit.trip.rate.share"),
        (Policy::new().circuit(Circuit::failing(1.5)), "circuit.trip.rate.share"),
        (Policy::new().circuit(Circuit::failing(0.5).over_calls(9)), "circuit.trip.rate.calls_min"),
        (Policy::new().circuit(Circuit::failing(0.5).over_calls(u32::MAX)), "circuit.trip.rate.window.calls"),
        (
            Policy::new().circuit(Circuit::open_after(1).slow_after(ms(1)).slow_share(0.5)),
            "circuit.slow.share",
        ),
        (Policy::new().circuit(Circuit::open_after(1).slow_after(secs(5))), "circuit.slow.after"),
        (
            Policy::new().timeout(secs(2)).circuit(Circuit::open_after(1).call_timeout(secs(3))),
            "circuit.call_timeout",
        ),
        (Policy::new().rate(Rate { shared: true, ..Rate::per_second(1) }), "rate.shared"),
        (Policy::new().retry(Retry::table([]).attempts(2)), "retry.backoff"),
        (Policy::new().retry(Retry::exponential(secs(2), secs(1))), "retry.cap"),
        (Policy::new().retry(Retry::none().budget(u32::MAX)), "retry.budget_per_minute"),
        (Policy::new().shed(Shed::over(ms(1)).normal_at(0.5)), "shed.normal_at"),
        (Policy::new().idempotent(Idempotency::by_version("")), "idempotency.by.version"),
    ] {
        assert_eq!(paths(&policy), [path], "{policy:?}");
    }
}

#[test]
fn a_zero_is_allowed_where_it_means_something() {
    let policy = Policy::new()
        .bulkhead(Bulkhead::from(1).queue(0).wait(Duration::ZERO))
        .rate(Rate::per_second(1).wait(Duration::ZERO))
        .retry(Retry::constant(Duration::ZERO).jitter(0.0))
        .dead(Dead::default().otherwise(Then::replay(Duration::ZERO)));
    assert_eq!(policy.faults(), Vec::<String>::new());
}

#[test]
fn what_is_not_said_depends_on_the_place() {
    let waits = |policy: Policy| (1..=5).map(|nth| policy.wait_after(nth, 0.5)).collect::<Vec<_>>();
    let buffered = Policy::new().resolve(&Defaults::buffered());
    assert_eq!(waits(buffered), [Some(secs(1)), Some(secs(2)), Some(secs(4)), None, None]);
    let durable = Policy::new().resolve(&Defaults::durable());
    assert_eq!(waits(durable), [Some(secs(1)), Some(secs(2)), Some(secs(4)), Some(secs(8)), None]);
    let said = Policy::new().retry(Retry::none()).timeout(secs(1));
    assert_eq!(said.clone().resolve(&Defaults::buffered()), said);
}

#[test]
fn a_circuit_breaker_shortens_the_timeout_unless_another_is_said() {
    let timeout = |policy: Policy| policy.resolve(&Defaults::durable()).call_timeout();
    let circuit = Circuit::open_after(5);
    assert_eq!(timeout(Policy::new()), secs(30));
    assert_eq!(timeout(Policy::new().circuit(circuit.clone())), secs(5));
    assert_eq!(timeout(Policy::new().circuit(circuit.clone()).timeout(secs(10))), secs(10));
    assert_eq!(timeout(Policy::new().circuit(circuit.clone().call_timeout(secs(2)))), secs(2));
    assert_eq!(timeout(Policy::new().circuit(circuit.call_timeout(secs(2))).timeout(secs(10))), secs(2));
}

#[test]
fn a_policy_is_one_line_that_names_what_it_says() {
    assert_eq!(Policy::new().to_string(), "the defaults of its place");
    let line = full().to_string();
    for part in [
        "flag new-checkout",
        "deadline 1h",
        "quarantine after 3 crashes",
        "only a newer revision of a key within 1m 30s, in the store",
        "shed low over 100ms in 500ms, normal at 3.5 times that",
        "rate 20 in 1m by window each of at most 50 keys, shared, waits 10ms",
        "circuit disabled",
        "bulkhead of 4 in pool db, 7 wait at most 250ms",
        "timeout 10s",
        "3 attempts, after 1s/2s, at most 30s ±10 %, 60 retries a minute",
        "dead letters to payments, exhausted: replay 1 times after 10m, any: discard",
    ] {
        assert!(line.contains(part), "{part} is not in {line}");
    }
    assert!(!line.contains('\n'));
    let circuit = Circuit::failing(0.4).slow_after(ms(800)).slow_share(0.9).to_string();
    assert_eq!(
        circuit,
        "circuit opens at 40 % of at least 10 of the last 100 calls, slow after 800ms at 90 %, 1 probes after 30s"
    );
}
