//! Handlers of batches on the bus of an application: gathered in memory, and one commit a batch.
//!
//! What waits in an open batch is handled at shutdown, and lost in a crash.

use std::{
    collections::HashSet,
    panic::AssertUnwindSafe,
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
};

use futures_util::FutureExt;
use tidings_core::{
    Batched, Batches, Cause, Defaults, Delivered, DeliveryInfo, Effects, Envelope, Failed, Failure, Handled,
    Kind, Refused, Registration, Tenant, Text, Together,
};
use tidings_flow::{Batch, Flow};
use tidings_runtime::{Carried, Outside};

use crate::{BuildError, app::Inner, outside::carry_out};

/// How often a batch runs again because a document it had read was changed by somebody.
const CONFLICTS_MAX: u32 = 5;

/// A commit belongs to one tenant, and so does a batch.
type Key = (Option<Text>, Option<Text>);
type Gathered = Batched<Envelope, Key>;

pub(crate) fn attach(
    app: &Arc<Inner>,
    name: &Text,
    registration: &Registration,
    batches: &Batches,
) -> Result<(), BuildError> {
    let fault = |what: String| BuildError { faults: vec![format!("handler {name}: {what}")] };
    let policy = registration.policy.clone().resolve(&Defaults::buffered());
    let by_key = batches.by_key;
    let key = move |event: &Envelope| (event.tenant().cloned(), event.key().filter(|_| by_key).cloned());
    let settings = batches.settings.clone();
    let open = match settings.bytes {
        None => Batch::by(settings, key),
        Some(_) => {
            Batch::measured_by(settings, key, |event: &Envelope| event.payload().map_or(0, |json| json.len()))
        }
    };
    let caller = Arc::new(Caller {
        name: name.clone(),
        batches: batches.clone(),
        attempts: policy.retry.as_ref().map_or(1, |retry| retry.attempts),
        attempt: AtomicU32::new(0),
    });
    let (weak, again) = (Arc::downgrade(app), caller.clone());
    let flow = Flow::of(open.map_err(|error| fault(error.to_string()))?)
        .clock(app.clock.clone())
        .policy(policy)
        .given_up(move |_| again.attempt.store(0, Ordering::SeqCst))
        .start(move |batch: Arc<Gathered>| {
            let (app, caller) = (weak.upgrade(), caller.clone());
            async move {
                match app {
                    Some(app) => caller.deliver(&app, &batch).await,
                    None => Err(Failure::permanent("the application is gone").into()),
                }
            }
        })
        .map_err(|error| fault(error.to_string()))?;
    for pattern in registration.patterns().unwrap_or_default() {
        let guard = app.bus.subscribe(pattern.as_str(), flow.listener());
        guard.map_err(|error| fault(error.to_string()))?.forever();
    }
    app.flows.keep(name.to_string(), Box::new(flow));
    Ok(())
}

struct Caller {
    name: Text,
    batches: Batches,
    attempts: u32,
    /// Which attempt at the batch in hand was the last; there is one at a time.
    attempt: AtomicU32,
}

impl Caller {
    async fn deliver(&self, app: &Inner, batch: &Gathered) -> Result<(), Failed<Gathered>> {
        let attempt = self.attempt.fetch_add(1, Ordering::SeqCst) + 1;
        let results = if attempt > 1 && attempt >= self.attempts {
            // So that nobody is given up for what another did.
            let mut results = Vec::new();
            for one in &batch.items {
                results.extend(self.settle(app, std::slice::from_ref(one), Cause::Alone, attempt).await);
            }
            results
        } else {
            self.settle(app, &batch.items, batch.cause, attempt).await
        };
        // What failed for good is not tried again because another is.
        let is_transient = |result: &Handled| result.as_ref().is_err_and(|failure| !failure.is_permanent());
        let any_transient = results.iter().any(is_transient);
        let mut indices = Vec::new();
        let mut first = None;
        for (index, failure) in results.into_iter().enumerate().filter_map(|(at, one)| Some((at, one.err()?)))
        {
            if any_transient && failure.is_permanent() {
                tracing::error!(handler = %self.name, id = %batch.items[index].id(), %failure, "given up");
                continue;
            }
            indices.push(index);
            first.get_or_insert(failure);
        }
        match first {
            Some(failure) => Err(batch.failed(indices, failure)),
            None => {
                self.attempt.store(0, Ordering::SeqCst);
                Ok(())
            }
        }
    }

    /// Calls the handler and commits what is to be committed; again, if a document it had read has changed.
    async fn settle(&self, app: &Inner, items: &[Envelope], cause: Cause, attempt: u32) -> Vec<Handled> {
        let mut conflicts = 0;
        loop {
            let (results, tenant, effects) = self.call(app, items, cause, attempt).await;
            let failure = match effects {
                Err(failure) => failure,
                Ok(effects) => match carry_out(app, tenant, effects).await {
                    Carried::Done => return results,
                    Carried::Conflict if conflicts < CONFLICTS_MAX => {
                        conflicts += 1;
                        continue;
                    }
                    Carried::Conflict => Failure::transient("documents it read are changed too often"),
                    Carried::Failed(failure) => failure,
                },
            };
            let undone = |result: Handled| result.and_then(|()| Err(failure.clone()));
            return results.into_iter().map(undone).collect();
        }
    }

    async fn call(
        &self,
        app: &Inner,
        items: &[Envelope],
        cause: Cause,
        attempt: u32,
    ) -> (Vec<Handled>, Tenant, Handled<Effects>) {
        let tenant = items.first().and_then(Envelope::tenant).cloned().map_or_else(Tenant::default, Tenant);
        let info = |event: &Envelope| DeliveryInfo { attempt, ..DeliveryInfo::new(event.clone()) };
        let subscriber = app.outside.subscriber(&self.name, items.first().and_then(Envelope::tenant));
        let (contexts, together) = Together::open(items.iter().map(info), &subscriber);
        let deliver = |cx: tidings_core::Cx| Delivered { event: cx.envelope().clone(), cx };
        let deliveries = contexts.into_iter().map(deliver).collect();
        let call = AssertUnwindSafe(async { (self.batches.handler)(deliveries, cause).await });
        let answer = call.catch_unwind().await;
        let answer = answer.unwrap_or_else(|panic| vec![Err(Failure::panicked(&*panic)); items.len()]);
        let (mut all, mut results) = (Ok(Effects::default()), Vec::new());
        let (mut places, mut written, mut cut) = (vec![false; items.len()], HashSet::new(), HashSet::new());
        for (place, (closed, answer)) in together.close().into_iter().zip(answer).enumerate() {
            let key = items[place].key();
            let witness = answer.and_then(|()| match closed {
                Err(Refused::Failure(failure)) => Err(failure),
                Err(Refused::Loop) => Err(Failure::permanent("it publishes in a loop")),
                Ok(_) if key.is_some_and(|key| cut.contains(key)) => {
                    Err(Failure::transient("an earlier one of its key in the batch failed"))
                }
                Ok(witness) if !witness.stands(&places, &written) => {
                    Err(Failure::transient("it had read what another of its batch did not get done"))
                }
                Ok(witness) => Ok(witness),
            });
            results.push(match witness {
                Err(failure) => {
                    // What failed for good does not come again, and nobody waits for it here.
                    cut.extend(key.filter(|_| failure.kind() == Kind::Transient).cloned());
                    Err(failure)
                }
                Ok(witness) => {
                    let (effects, _) = witness.into_parts();
                    written.extend(effects.writes.iter().map(|write| write.key.clone()));
                    places[place] = true;
                    all = all.and_then(|mut all: Effects| all.then(effects).map(|()| all));
                    Ok(())
                }
            });
        }
        (results, tenant, all)
    }
}
