//! The contexts of a batch: each sees what those before it wrote, and says so when it is closed.

use std::{
    collections::{HashMap, HashSet},
    sync::Arc,
};

use parking_lot::Mutex;

use crate::{
    BlindChange, BoxFuture, Change, Cx, DeliveryInfo, DocumentKey, DocumentValue, Documents, Effects,
    Failure, Handled, Loaded, OpenCx, Refused, Subscriber, Tenant, apply_blind, cx::Peek,
};

/// Stamps with this bit stand for what a delivery of the same batch wrote.
const OF_BATCH: u64 = 1 << 63;

/// The contexts of the deliveries of one batch, by the end at which their effects are taken.
pub struct Together {
    desk: Arc<Desk>,
    open: Vec<OpenCx>,
}

/// What a delivery asked for, and what of its batch that rests on.
#[derive(Debug)]
pub struct Witness {
    /// What it asked for. Reads are of what was there before the batch.
    pub effects: Effects,
    /// What it read of what deliveries before it in the batch wrote.
    rests: Vec<Rests>,
}

#[derive(Debug)]
struct Rests {
    key: DocumentKey,
    /// The deliveries, by their places in the batch.
    on: Vec<usize>,
    /// What was there before the batch is part of what was read.
    base: Option<u64>,
    /// They had written all they would write to it.
    is_last: bool,
}

impl Together {
    /// A context for each delivery, with the subscriber's documents under the writes of those before it.
    pub fn open(
        deliveries: impl IntoIterator<Item = DeliveryInfo>,
        subscriber: &Subscriber,
    ) -> (Vec<Cx>, Self) {
        let desk = Arc::new(Desk { base: subscriber.documents.clone(), state: Mutex::default() });
        let (mut contexts, mut open) = (Vec::new(), Vec::new());
        for (place, info) in deliveries.into_iter().enumerate() {
            let documents = Arc::new(Seat { desk: desk.clone(), place });
            let (cx, end) = Cx::open(info, Arc::new(Subscriber { documents, ..subscriber.clone() }));
            desk.state.lock().members.push(end.peek());
            contexts.push(cx);
            open.push(end);
        }
        (contexts, Self { desk, open })
    }

    /// Takes the effects and closes the contexts.
    pub fn close(self) -> Vec<Result<Witness, Refused>> {
        let closed: Vec<_> = self.open.into_iter().map(OpenCx::close).collect();
        let state = self.desk.state.lock();
        let witness = |(place, closed): (usize, Result<Effects, Refused>)| {
            let mut effects = closed?;
            let mut rests = Vec::new();
            effects.reads.retain_mut(|(key, stamp)| {
                if *stamp & OF_BATCH == 0 {
                    return true;
                }
                let Some(seen) = state.seen.get((*stamp ^ OF_BATCH) as usize) else { return true };
                let now = state.writers_before(key, place).take(seen.on.len());
                let is_last = now.copied().eq(seen.on.iter().copied());
                let on = seen.on.iter().map(|(place, _)| *place).collect();
                rests.push(Rests { key: key.clone(), on, base: seen.base, is_last });
                seen.base.inspect(|base| *stamp = *base).is_some()
            });
            Ok(Witness { effects, rests })
        };
        closed.into_iter().enumerate().map(witness).collect()
    }
}

impl Witness {
    /// Whether it stands when of the deliveries before it those `accepted` are, and these have `written`.
    pub fn stands(&self, accepted: &[bool], written: &HashSet<DocumentKey>) -> bool {
        let rests = |one: &Rests| {
            one.is_last && one.on.iter().all(|place| accepted.get(*place).copied().unwrap_or(false))
        };
        let read = |key: &DocumentKey| !written.contains(key) || self.rests.iter().any(|one| one.key == *key);
        self.rests.iter().all(rests) && self.effects.reads.iter().all(|(key, _)| read(key))
    }

    /// Whether what it read of this document is what was there before the batch with what others changed of it.
    pub fn rests_on_base(&self, key: &DocumentKey) -> bool {
        self.rests.iter().any(|one| one.key == *key && one.base.is_some())
    }

    /// What it asked for, and what of the reads is only of what others in the batch wrote.
    pub fn into_parts(self) -> (Effects, Vec<DocumentKey>) {
        let of_batch = self.rests.into_iter().filter(|one| one.base.is_none()).map(|one| one.key);
        (self.effects, of_batch.collect())
    }
}

/// What the contexts of a batch share.
struct Desk {
    base: Arc<dyn Documents>,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    members: Vec<Peek>,
    /// Who has written a document, in the order of the batch, and how often.
    writers: HashMap<DocumentKey, Vec<(usize, u32)>>,
    seen: Vec<Seen>,
}

/// What was read where others of the batch had written.
struct Seen {
    /// Who had, the nearest first, and how often.
    on: Vec<(usize, u32)>,
    base: Option<u64>,
}

impl State {
    /// Who before `place` has written `key`, the nearest first.
    fn writers_before(&self, key: &DocumentKey, place: usize) -> impl Iterator<Item = &(usize, u32)> {
        let writers = self.writers.get(key).map_or(&[][..], Vec::as_slice);
        writers[..writers.partition_point(|(writer, _)| *writer < place)].iter().rev()
    }
}

/// The documents of one place in a batch.
struct Seat {
    desk: Arc<Desk>,
    place: usize,
}

/// What the batch says about a document.
enum Found {
    /// Nothing.
    Nothing,
    /// This is what it is.
    Value(Loaded),
    /// What it is depends on what was there before.
    OnBase,
}

impl Seat {
    /// The document as those before it in the batch leave it; `base` is what it was before, if that is known.
    fn look(&self, key: &DocumentKey, base: Option<&Loaded>) -> Handled<Found> {
        let mut state = self.desk.state.lock();
        let (mut on, mut blind): (Vec<_>, Vec<Vec<BlindChange>>) = (Vec::new(), Vec::new());
        let mut value = None;
        for (writer, times) in state.writers_before(key, self.place) {
            on.push((*writer, *times));
            match state.members[*writer].change(key) {
                Some(Change::Put(put)) => value = Some(Some(put)),
                Some(Change::Delete) => value = Some(None),
                Some(Change::Blind(changes)) => blind.push(changes),
                None => {}
            }
            if value.is_some() {
                break;
            }
        }
        if on.is_empty() {
            return Ok(Found::Nothing);
        }
        let stamp = match (&value, base) {
            (Some(_), _) => None,
            (None, None) => return Ok(Found::OnBase),
            (None, Some(base)) => Some(base.stamp),
        };
        let mut value = value.unwrap_or_else(|| base.and_then(|base| base.value.clone()));
        for changes in blind.iter().rev() {
            let json = value.map(|value| value.json()).transpose()?;
            let json = apply_blind(json.as_deref(), changes)
                .map_err(|error| Failure::permanent(error.to_string()))?;
            value = Some(DocumentValue::Json(json));
        }
        let seen = state.seen.len() as u64 | OF_BATCH;
        state.seen.push(Seen { on, base: stamp });
        Ok(Found::Value(Loaded { value, stamp: seen }))
    }
}

impl Documents for Seat {
    fn cached(&self, tenant: &Tenant, key: &DocumentKey) -> Option<Loaded> {
        match self.look(key, None).ok()? {
            Found::Value(loaded) => Some(loaded),
            Found::Nothing => self.desk.base.cached(tenant, key),
            Found::OnBase => {
                let base = self.desk.base.cached(tenant, key)?;
                match self.look(key, Some(&base)).ok()? {
                    Found::Value(loaded) => Some(loaded),
                    Found::Nothing | Found::OnBase => None,
                }
            }
        }
    }

    fn load<'a>(&'a self, tenant: &'a Tenant, key: &'a DocumentKey) -> BoxFuture<'a, Handled<Loaded>> {
        Box::pin(async move {
            if let Found::Value(loaded) = self.look(key, None)? {
                return Ok(loaded);
            }
            let base = self.desk.base.load(tenant, key).await?;
            // Others may have written meanwhile.
            match self.look(key, Some(&base))? {
                Found::Value(loaded) => Ok(loaded),
                Found::Nothing | Found::OnBase => Ok(base),
            }
        })
    }

    fn written(&self, key: &DocumentKey) {
        let mut state = self.desk.state.lock();
        let writers = state.writers.entry(key.clone()).or_default();
        match writers.binary_search_by_key(&self.place, |(place, _)| *place) {
            Ok(at) => writers[at].1 += 1,
            Err(at) => writers.insert(at, (self.place, 1)),
        }
    }
}
