//! Requests to change a policy: who takes them up, who answers, and that nothing is carried out late.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use tidings_core::{BoxFuture, Commit, ManualClock, Policy, Tenant, Text, Timestamp};
use tidings_durable::{
    Config, Operator, POLICY_REQUESTS, PolicyAnswer, PolicyCame, PolicyOwner, PolicyRequests,
};
use tidings_store::{AnyStore, DocumentQuery, MemoryStore};
use tokio_util::sync::CancellationToken;

const PATIENCE: Duration = Duration::from_secs(10);

/// Has `mail/send`, and does with a change what it is made for.
#[derive(Clone, Copy)]
enum Does {
    Changes,
    Refuses,
    NeverAnswers,
}

struct Owner(Does, Arc<AtomicUsize>);

impl PolicyOwner for Owner {
    fn has(&self, handler: &str) -> bool {
        handler == "mail/send"
    }

    fn change(&self, handler: Text, policy: Policy, by: Text) -> BoxFuture<'_, Result<Policy, Vec<String>>> {
        assert_eq!((&*handler, &*by), ("mail/send", "ann"));
        assert_eq!(policy, wanted());
        self.1.fetch_add(1, Ordering::SeqCst);
        Box::pin(async move {
            match self.0 {
                Does::Changes => Ok(Policy::new()),
                Does::Refuses => Err(vec!["rate.shared: there is no store to count in".into()]),
                Does::NeverAnswers => std::future::pending().await,
            }
        })
    }
}

fn wanted() -> Policy {
    Policy::new().timeout(Duration::from_secs(3))
}

struct World {
    store: AnyStore,
    clock: ManualClock,
    changes: Arc<AtomicUsize>,
    stop: CancellationToken,
}

impl World {
    fn new() -> Self {
        let clock = ManualClock::at(Timestamp::from_millis(1_000_000));
        let store: AnyStore = Arc::new(MemoryStore::new(Arc::new(clock.clone())));
        Self { store, clock, changes: Arc::default(), stop: CancellationToken::new() }
    }

    fn process(&self, name: &str, does: Does) {
        let requests = PolicyRequests {
            store: self.store.clone(),
            tenant: Tenant::default(),
            clock: Arc::new(self.clock.clone()),
            application: "shop".into(),
            process: name.into(),
        };
        let owner = Arc::new(Owner(does, self.changes.clone()));
        tokio::spawn(requests.follow(owner, self.stop.clone()));
    }

    fn ask(&self, handler: &'static str) -> tokio::task::JoinHandle<Vec<PolicyAnswer>> {
        let clock = Arc::new(self.clock.clone());
        let operator = Operator { store: self.store.clone(), clock, config: Config::default() };
        tokio::spawn(async move {
            operator.change_policy(handler, wanted(), "ann", PATIENCE).await.expect("the store answers")
        })
    }

    /// Asks, and drives the clock until there is an answer; also how long that took.
    async fn asked(&self, handler: &'static str) -> (Vec<PolicyAnswer>, Duration) {
        let (asking, begun) = (self.ask(handler), tidings_core::Clock::now(&self.clock));
        self.until(async || asking.is_finished()).await;
        let mut answers = asking.await.expect("no panic");
        answers.sort_by(|one, other| one.process.cmp(&other.process));
        (answers, tidings_core::Clock::now(&self.clock).since(begun))
    }

    async fn until(&self, what: impl AsyncFn() -> bool) {
        let begun = Instant::now();
        while !what().await {
            assert!(begun.elapsed() < Duration::from_secs(60), "it does not come");
            self.clock.advance(Duration::from_millis(10));
            for _ in 0..20 {
                tokio::task::yield_now().await;
            }
        }
    }

    async fn requests(&self) -> usize {
        self.store.documents(&DocumentQuery::all(POLICY_REQUESTS)).await.expect("read").len()
    }

    fn changes(&self) -> usize {
        self.changes.load(Ordering::SeqCst)
    }
}

fn answer(process: &str, came: PolicyCame) -> PolicyAnswer {
    PolicyAnswer { application: "shop".into(), process: process.into(), came }
}

#[tokio::test]
async fn everybody_who_has_the_handler_answers_once_and_the_request_goes() {
    let world = World::new();
    world.process("a", Does::Changes);
    world.process("b", Does::Refuses);
    let (answers, took) = world.asked("mail/send").await;
    let faults = vec!["rate.shared: there is no store to count in".to_owned()];
    let both = [
        answer("a", PolicyCame::Changed { before: Box::default() }),
        answer("b", PolicyCame::Refused { faults }),
    ];
    assert_eq!(answers, both);
    assert!(took < Duration::from_secs(3), "nobody waits for the whole patience: {took:?}");
    assert_eq!((world.changes(), world.requests().await), (2, 0));
    world.stop.cancel();
}

#[tokio::test]
async fn what_nobody_took_up_is_withdrawn_and_carried_out_by_nobody() {
    let world = World::new();
    world.process("a", Does::Changes);
    let (answers, took) = world.asked("mail/nobody").await;
    assert_eq!((answers, world.requests().await), (vec![], 0));
    assert!(took >= PATIENCE, "{took:?}");
    // Whoever asked is killed: nobody withdraws it.
    let late = World::new();
    let asking = late.ask("mail/send");
    late.until(async || late.requests().await == 1).await;
    asking.abort();
    late.clock.advance(PATIENCE + Duration::from_secs(1));
    late.process("b", Does::Changes);
    late.until(async || {
        // It looks after each commit.
        late.store.apply(Commit::default()).await.expect("a commit");
        late.requests().await == 0
    })
    .await;
    assert_eq!((world.changes(), late.changes()), (0, 0));
    world.stop.cancel();
    late.stop.cancel();
}

#[tokio::test]
async fn who_has_begun_and_does_not_answer_is_told_of() {
    let world = World::new();
    world.process("a", Does::NeverAnswers);
    let (answers, took) = world.asked("mail/send").await;
    assert_eq!(answers, [answer("a", PolicyCame::Begun)]);
    assert!(took >= PATIENCE + Duration::from_secs(5) && took < PATIENCE * 2, "{took:?}");
    assert_eq!((world.changes(), world.requests().await), (1, 0));
    world.stop.cancel();
}
