//! Looks after rows: hands a delivery to its lane when it is due, and then the followers of its key, in order.

use std::{
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use tidings_core::{DocumentKey, Position, Text, Timestamp};
use tidings_store::{Error, Filter, Read, Recorded};

use crate::{
    DeadLetter,
    dead::dead_namespace,
    delivery::Delivery,
    rows::{LOOKED_FOR, Row, State},
    runner::{Lanes, delivery},
    shared::Shared,
};

pub(crate) struct Keeper {
    pub shared: Arc<Shared>,
    pub lanes: Lanes,
}

/// When to look again.
enum Next {
    AtOnce,
    After(Duration),
    Never,
}

/// How many rows are looked after in one round.
const ROUND: usize = 256;

impl Keeper {
    pub(crate) async fn run(self) {
        let shared = &self.shared;
        let mut paused = shared.paused.subscribe();
        loop {
            let mut next = Next::Never;
            if !*paused.borrow_and_update() && !shared.stop.is_cancelled() {
                next = self.round().await.unwrap_or_else(|error| {
                    tracing::warn!(subscription = %shared.name, %error, "waiting deliveries wait longer");
                    Next::After(Duration::from_millis(500))
                });
            }
            let sleep = async {
                match next {
                    Next::AtOnce => tokio::task::yield_now().await,
                    Next::After(span) => shared.clock.sleep(span).await,
                    Next::Never => std::future::pending().await,
                }
            };
            tokio::select! {
                () = shared.stop.cancelled() => return,
                () = shared.rows.notified() => {}
                _ = paused.changed() => {}
                () = sleep => {}
            }
        }
    }

    /// Hands out what is due; answers when to look again.
    async fn round(&self) -> Result<Next, Error> {
        let shared = &self.shared;
        let now = shared.clock.now();
        let (mut due, mut next): (Vec<(Text, Row)>, Option<Timestamp>) = (Vec::new(), None);
        let mut more = false;
        {
            let mut book = shared.book.lock();
            for (id, row) in book.rows.iter() {
                if book.rows.is_in_hand(id) {
                    continue;
                }
                match row.state {
                    State::Pending { due: at, .. } if at > now => {
                        next = Some(next.map_or(at, |other| other.min(at)))
                    }
                    State::Parked { .. } => {}
                    _ if due.len() < ROUND => due.push((id.clone(), row.clone())),
                    _ => more = true,
                }
            }
            for (id, _) in &due {
                book.rows.take_in_hand(id, LOOKED_FOR);
            }
        }
        let mut failed = None;
        for (id, row) in due {
            match self.hand_out(&id, &row).await {
                Ok(true) => {}
                Ok(false) => more = true,
                Err(error) => failed = Some(error),
            }
            shared.book.lock().rows.let_go(&id, LOOKED_FOR);
        }
        Ok(match (failed, next) {
            (Some(error), _) => return Err(error),
            _ if more => Next::AtOnce,
            (None, Some(at)) => Next::After(at.since(now)),
            (None, None) => Next::Never,
        })
    }

    /// Hands the row's delivery to its lane; `false` when the row has changed instead.
    async fn hand_out(&self, id: &Text, row: &Row) -> Result<bool, Error> {
        let shared = &self.shared;
        let now = shared.clock.now();
        let found = match &row.state {
            State::Parked { .. } => return Ok(false),
            State::Pending { position, attempt, calls, first, error, history, letter, .. } => {
                let event = self.event(*position).await?;
                let letter = if *letter { self.letter(*position).await? } else { None };
                event.map(|event| Delivery {
                    attempt: *attempt,
                    calls: *attempt.max(calls),
                    first: Some(*first),
                    trouble: Some(error.clone()),
                    history: history.clone(),
                    ..replayed(delivery(shared, event, now), letter)
                })
            }
            State::Draining { after } => {
                let follower = self.follower(row, *after).await?;
                follower.map(|(event, letter)| replayed(delivery(shared, event, now), letter))
            }
        };
        match found {
            Some(delivery) => {
                // A subscription that gave up order since then has no key on its deliveries; the row still has.
                let delivery = Delivery { from_row: true, key: row.key.clone(), ..delivery };
                let lane = shared.lane(delivery.key.as_ref(), delivery.position());
                shared.book.lock().rows.take_in_hand(id, delivery.position());
                self.lanes.deliver(lane, vec![delivery]);
                Ok(true)
            }
            None => {
                // Nobody follows any more, unless somebody came in the meantime.
                let mut book = shared.book.lock();
                if book.rows.get(id) == Some(row) {
                    let rest = match row.state {
                        State::Pending { position, .. } if row.end > position => {
                            Some(Row { state: State::Draining { after: position }, ..row.clone() })
                        }
                        _ => None,
                    };
                    book.operate(id, rest, []);
                    shared.blocked.store(book.rows.len(), Ordering::SeqCst);
                }
                drop(book);
                shared.press();
                Ok(false)
            }
        }
    }

    async fn event(&self, position: Position) -> Result<Option<Recorded>, Error> {
        let read = Read::after(position - 1).tenant(self.shared.config.tenant.clone()).limit(1);
        let page = self.shared.store.read(&read).await?;
        Ok(page.events.into_iter().find(|event| event.position == position))
    }

    /// The next event of the row's key after `after` that waits behind it.
    async fn follower(
        &self,
        row: &Row,
        mut after: Position,
    ) -> Result<Option<(Recorded, Option<Arc<DeadLetter>>)>, Error> {
        let shared = &self.shared;
        let Some(key) = &row.key else { return Ok(None) };
        let filter = Filter { key: Some(key.clone()), ..Filter::names(shared.patterns.clone()) };
        while after < row.end {
            let read =
                Read::after(after).filter(filter.clone()).tenant(shared.config.tenant.clone()).limit(32);
            let page = shared.store.read(&read).await?;
            for event in page.events {
                if event.position > row.end {
                    return Ok(None);
                }
                // One that was dead-lettered as a follower waits as long as its dead letter is there.
                if event.position <= row.last {
                    return Ok(Some((event, None)));
                }
                if let Some(letter) = self.letter(event.position).await? {
                    return Ok(Some((event, Some(letter))));
                }
            }
            if page.end {
                break;
            }
            after = page.next;
        }
        Ok(None)
    }

    async fn letter(&self, position: Position) -> Result<Option<Arc<DeadLetter>>, Error> {
        let shared = &self.shared;
        if let Some(letter) = shared.book.lock().letter_on_its_way(position) {
            return Ok(letter);
        }
        let key = DocumentKey::new(dead_namespace(&shared.name), DeadLetter::document_id(position));
        let Some(document) = shared.store.document(&shared.config.tenant, &key).await? else {
            return Ok(None);
        };
        serde_json::from_slice(&document.value)
            .map(|letter| Some(Arc::new(letter)))
            .map_err(|error| Error::Damaged(format!("dead letter {position} of {}: {error}", shared.name)))
    }
}

/// The delivery of a dead letter: with the payload it was given, if it was edited.
fn replayed(mut delivery: Delivery, letter: Option<Arc<DeadLetter>>) -> Delivery {
    match letter.as_ref().map(|letter| letter.envelope()) {
        Some(Ok(Some(edited))) => delivery.event.envelope = edited,
        Some(Err(failure)) => {
            tracing::error!(position = delivery.position(), %failure, "an edited event cannot be read; the original is handled");
        }
        Some(Ok(None)) | None => {}
    }
    Delivery { letter, ..delivery }
}
