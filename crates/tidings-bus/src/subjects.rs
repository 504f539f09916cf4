//! The plans of names that were emitted in envelopes: a bounded cache.
//!
//! Names come from outside and need not repeat, so the room for them is fixed: sets of four places, in which a new name
//! takes the place of an older one. Readers take no lock. Only the [`Keeper`], which lives under the bus's lock, writes.

use std::{
    collections::BTreeSet,
    sync::{Arc, OnceLock},
};

use tidings_core::{Envelope, Text};
use xxhash_rust::xxh3::xxh3_64_with_seed;

use crate::{
    plan::{HasPlan, Plan, Waste},
    sync::{ArcSwapOption, AtomicU64, Loaded, Ordering},
};

/// How many sets there are; a power of two. With the places in each this holds 2,048 names in 32 KiB.
const SETS: usize = 512;

/// How many names that fall into the same set can be kept.
const PLACES: usize = 4;

/// How many names that fall into the same set are remembered as asked for, so that those that come in turn can be kept.
const MET: usize = 2 * PLACES;

/// A name and who is called for it.
pub(crate) struct Subject {
    name: Text,
    plan: Plan<Envelope>,
}

impl Subject {
    pub(crate) fn new(name: Text, plan: Plan<Envelope>) -> Self {
        Self { name, plan }
    }

    pub(crate) fn plan(&self) -> &Plan<Envelope> {
        &self.plan
    }
}

impl HasPlan<Envelope> for Subject {
    fn plan(&self) -> &Plan<Envelope> {
        &self.plan
    }
}

/// The readers' side.
pub(crate) struct Subjects {
    /// Made when the first envelope is emitted: many buses never see one.
    sets: OnceLock<Box<[Set]>>,
    seed: u64,
    /// Another number whenever a plan may have changed, and only after it has.
    generation: AtomicU64,
}

/// A reader compares tags, which are plain loads, before it takes hold of what is in a place, which costs more.
#[derive(Default)]
struct Set {
    tags: [AtomicU64; PLACES],
    places: [ArcSwapOption<Subject>; PLACES],
}

impl Subjects {
    pub(crate) fn new(seed: u64) -> Self {
        Self { sets: OnceLock::new(), seed, generation: AtomicU64::new(0) }
    }

    /// What a plan says that is read afterwards holds for as long as this stays the same.
    pub(crate) fn generation(&self) -> u64 {
        self.generation.load(Ordering::Acquire)
    }

    fn changed(&self) {
        self.generation.fetch_add(1, Ordering::Release);
    }

    /// The plan of a name, if it is kept.
    #[inline]
    pub(crate) fn get(&self, name: &str) -> Option<Loaded<Subject>> {
        let hash = self.hash(name);
        let set = self.sets.get()?.get(at(hash))?;
        set.tags.iter().zip(&set.places).filter(|(tag, _)| tag.load(Ordering::Acquire) == hash).find_map(
            |(_, place)| {
                let subject = place.load();
                subject.as_ref().is_some_and(|subject| *subject.name == *name).then_some(subject)
            },
        )
    }

    fn hash(&self, name: &str) -> u64 {
        xxh3_64_with_seed(name.as_bytes(), self.seed)
    }
}

fn at(hash: u64) -> usize {
    (hash as usize) % SETS
}

/// What the writer knows of a set.
#[derive(Debug, Clone, Default)]
struct Notes {
    /// How many names are kept.
    kept: usize,
    /// Half of the hashes of the last names that were asked for when there was no room.
    met: [u32; MET],
}

/// The writer's side: what is kept where.
pub(crate) struct Keeper {
    subjects: Arc<Subjects>,
    /// The sets in which something is, so that forgetting everything costs what keeping it did.
    used: BTreeSet<usize>,
    next: usize,
    notes: Vec<Notes>,
}

impl Keeper {
    pub(crate) fn new(subjects: Arc<Subjects>) -> Self {
        Self { subjects, used: BTreeSet::new(), next: 0, notes: Vec::new() }
    }

    /// Whether to keep a name that is not kept: there is room, or it was asked for before, and not many others of its set
    /// in between. A mistake costs a place.
    pub(crate) fn is_worth_it(&mut self, name: &str) -> bool {
        let hash = self.subjects.hash(name);
        let half = (hash >> 32) as u32;
        let notes = self.notes(at(hash));
        if notes.kept < PLACES || notes.met.contains(&half) {
            return true;
        }
        notes.met.rotate_right(1);
        notes.met[0] = half;
        false
    }

    fn notes(&mut self, set: usize) -> &mut Notes {
        if self.notes.is_empty() {
            self.notes.resize(SETS, Notes::default());
        }
        self.notes.get_mut(set).unwrap_or_else(|| unreachable!("there are notes of each set"))
    }

    /// The plan of a name, if it is kept.
    pub(crate) fn get(&self, name: &str) -> Option<Arc<Subject>> {
        self.subjects.get(name).and_then(Loaded::<Subject>::into_inner)
    }

    /// Keeps the plan of a name that is not kept yet.
    pub(crate) fn put(&mut self, name: Text, plan: Plan<Envelope>, waste: &mut Waste) -> Arc<Subject> {
        let hash = self.subjects.hash(&name);
        let subject = Arc::new(Subject::new(name, plan));
        let subjects = self.subjects.clone();
        let sets = subjects.sets.get_or_init(|| (0..SETS).map(|_| Set::default()).collect());
        let Some(set) = sets.get(at(hash)) else { return subject };
        self.used.insert(at(hash));
        let free = set.places.iter().position(|place| place.load().is_none()).unwrap_or_else(|| {
            self.next = (self.next + 1) % PLACES;
            self.next
        });
        if let (Some(tag), Some(place)) = (set.tags.get(free), set.places.get(free)) {
            let pushed_out = place.swap(Some(subject.clone()));
            let is_more = pushed_out.is_none();
            // Nobody would tell it any more that its listeners have changed.
            outdate(pushed_out, waste);
            tag.store(hash, Ordering::Release);
            self.notes(at(hash)).kept += usize::from(is_more);
        }
        subject
    }

    /// Forgets a name.
    pub(crate) fn forget(&mut self, name: &str, waste: &mut Waste) {
        let hash = self.subjects.hash(name);
        let subjects = self.subjects.clone();
        let Some(set) = subjects.sets.get().and_then(|sets| sets.get(at(hash))) else { return };
        for place in &set.places {
            if place.load().as_ref().is_some_and(|subject| *subject.name == *name) {
                outdate(place.swap(None), waste);
                self.notes(at(hash)).kept -= 1;
            }
        }
        subjects.changed();
    }

    /// Forgets every name.
    pub(crate) fn clear(&mut self, waste: &mut Waste) {
        let Some(sets) = self.subjects.sets.get() else { return };
        for at in std::mem::take(&mut self.used) {
            if let Some(notes) = self.notes.get_mut(at) {
                notes.kept = 0;
            }
            for place in sets.get(at).into_iter().flat_map(|set| &set.places) {
                outdate(place.swap(None), waste);
            }
        }
        self.subjects.changed();
    }
}

/// Lets go of a subject that is perhaps being emitted.
fn outdate(subject: Option<Arc<Subject>>, waste: &mut Waste) {
    if let Some(subject) = subject {
        subject.plan.outdate();
        waste.put(Box::new(subject));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn keeper() -> Keeper {
        Keeper::new(Arc::new(Subjects::new(7)))
    }

    fn put(keeper: &mut Keeper, name: &str) {
        keeper.put(name.into(), Plan::new(Box::new([])), &mut Waste::default());
    }

    fn has(keeper: &Keeper, name: &str) -> bool {
        keeper.subjects.get(name).is_some()
    }

    #[test]
    fn a_name_is_found_until_it_is_forgotten() {
        let mut keeper = keeper();
        assert!(!has(&keeper, "a"));
        keeper.forget("a", &mut Waste::default());
        put(&mut keeper, "a");
        put(&mut keeper, "b");
        assert!(has(&keeper, "a") && has(&keeper, "b") && !has(&keeper, "c"));
        keeper.forget("a", &mut Waste::default());
        assert!(!has(&keeper, "a") && has(&keeper, "b"));
        put(&mut keeper, "a");
        keeper.clear(&mut Waste::default());
        assert!(!has(&keeper, "a") && !has(&keeper, "b"));
        put(&mut keeper, "b");
        assert!(has(&keeper, "b"));
    }

    #[test]
    fn where_there_is_no_room_only_a_name_that_comes_again_is_worth_it() {
        let mut keeper = keeper();
        let own = at(keeper.subjects.hash("a"));
        let rivals = |keeper: &Keeper, count: usize| -> Vec<String> {
            let same = |name: &String| at(keeper.subjects.hash(name)) == own;
            (0..).map(|n| format!("order.{n}")).filter(same).take(count).collect()
        };
        let rivals = rivals(&keeper, PLACES + 3 * MET);
        let (first, others) = rivals.split_at(PLACES);
        for rival in first {
            assert!(keeper.is_worth_it("a") && keeper.is_worth_it(rival), "there is room");
            put(&mut keeper, rival);
        }
        assert!(!keeper.is_worth_it("a") && keeper.is_worth_it("a") && keeper.is_worth_it("a"));
        assert!(!others.iter().any(|rival| keeper.is_worth_it(rival)));
        assert!(!keeper.is_worth_it("a"), "too many came in between");
        keeper.forget(&first[0], &mut Waste::default());
        assert!(keeper.is_worth_it(&others[0]), "there is room again");
        put(&mut keeper, &others[0]);
        put(&mut keeper, &others[1]);
        assert!(!keeper.is_worth_it(&others[2]), "one took the place of another");
        keeper.clear(&mut Waste::default());
        assert!(keeper.is_worth_it(&others[3]));
    }

    #[test]
    fn more_names_than_there_is_room_for_push_out_older_ones_and_the_latest_is_always_kept() {
        let mut keeper = keeper();
        let names: Vec<String> = (0..20_000).map(|n| format!("order.{n}")).collect();
        for name in &names {
            put(&mut keeper, name);
            assert!(has(&keeper, name), "{name}");
        }
        let kept = names.iter().filter(|name| has(&keeper, name)).count();
        assert!((SETS..=SETS * PLACES).contains(&kept), "{kept}");
        keeper.clear(&mut Waste::default());
        assert!(!names.iter().any(|name| has(&keeper, name)));
    }

    #[test]
    fn names_whose_hashes_collide_are_told_apart() {
        let mut keeper = keeper();
        put(&mut keeper, "a");
        let (a, b) = (keeper.subjects.hash("a"), keeper.subjects.hash("b"));
        let sets = keeper.subjects.sets.get().expect("made");
        let (from, to) = (&sets[at(a)], &sets[at(b)]);
        to.places[0].store(from.places[0].load_full());
        to.tags[0].store(b, Ordering::Release);
        assert!(!has(&keeper, "b"));
    }

    #[test]
    fn what_is_forgotten_or_pushed_out_is_let_go() {
        let mut keeper = keeper();
        let first = keeper.put("a".into(), Plan::new(Box::new([])), &mut Waste::default());
        keeper.forget("a", &mut Waste::default());
        assert_eq!(Arc::strong_count(&first), 1);
        let second = keeper.put("a".into(), Plan::new(Box::new([])), &mut Waste::default());
        keeper.clear(&mut Waste::default());
        assert_eq!(Arc::strong_count(&second), 1);
    }
}
