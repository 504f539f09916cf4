//! What is registered with a bus, and which plans a change makes invalid.
//!
//! Everything here happens under the bus's lock, and no code of a user runs under it: no listener, no predicate, no
//! `Drop` of what a listener has captured. What is taken out goes into a [`Waste`], which is dropped afterwards.

use std::{
    any::TypeId,
    borrow::Cow,
    collections::{BTreeMap, HashMap},
    sync::Arc,
};

use tidings_core::{Envelope, Event, Pattern, Text};

use crate::{
    about::{About, Place},
    around::Around,
    core::{Core, Settings},
    errors::ErrorListener,
    few::Few,
    hear::{Enveloped, Hear},
    history::{Histories, Keep},
    leaks::Watch,
    middleware::{Filed, Layer},
    names::{Named, Typed},
    plan::{Current, Forget, Held, Plan, Slot, Waste},
    rank::Rank,
    router::Router,
    stats::Meter,
    subjects::{Keeper, Subject, Subjects},
};

/// All listeners of a bus.
pub(crate) struct State {
    names: HashMap<Cow<'static, str>, Named, ahash::RandomState>,
    router: Router<Arc<dyn Hear<Envelope>>>,
    /// How many in the router may lose their target.
    weak: usize,
    errors: Few<Rank, Arc<ErrorListener>>,
    middleware: BTreeMap<Rank, Arc<dyn Filed>>,
    keeper: Keeper,
    /// The slots that were given a plan since patterns last changed, so that forgetting them costs what filling did.
    filled: HashMap<TypeId, Arc<dyn Forget>>,
    pub(crate) watch: Option<Watch>,
    meter: Option<Arc<Meter>>,
    histories: Option<Arc<Histories>>,
}

impl State {
    pub(crate) fn new(
        subjects: Arc<Subjects>,
        seed: u64,
        settings: &Settings,
        meter: Option<Arc<Meter>>,
        histories: Option<Arc<Histories>>,
    ) -> Self {
        Self {
            names: HashMap::default(),
            router: Router::new(seed),
            weak: 0,
            errors: Few::default(),
            middleware: BTreeMap::new(),
            keeper: Keeper::new(subjects),
            filled: HashMap::new(),
            watch: settings.leak_watch.clone().map(Watch::new),
            meter,
            histories,
        }
    }

    pub(crate) fn attach_typed<E: Event>(&mut self, listener: Arc<dyn Hear<E>>, waste: &mut Waste) {
        let name = match listener.about().listener().place() {
            Place::FullName(name) => Cow::Owned(name.to_string()),
            _ => Cow::Borrowed(E::INFO.name),
        };
        self.names.entry(name.clone()).or_default().insert(Arc::new(Typed(listener)), waste);
        self.name_changed(&name, waste);
    }

    pub(crate) fn attach_pattern(
        &mut self,
        pattern: &Pattern,
        listener: Arc<dyn Hear<Envelope>>,
        waste: &mut Waste,
    ) {
        self.weak += usize::from(listener.about().has_target());
        self.router.insert(pattern, listener.about().rank(), listener);
        self.pattern_changed(pattern, waste);
    }

    pub(crate) fn attach_errors(&mut self, listener: Arc<ErrorListener>) {
        self.errors.entry(listener.about().rank(), || listener);
    }

    pub(crate) fn attach_middleware(&mut self, middleware: Arc<dyn Filed>, waste: &mut Waste) {
        self.middleware.insert(middleware.about().rank(), middleware);
        self.everything_changed(waste);
    }

    /// The middleware, the outermost first.
    pub(crate) fn middleware(&self) -> impl Iterator<Item = &Arc<dyn Filed>> {
        self.middleware.values()
    }

    /// Takes a listener out and ends it, if it is still there.
    pub(crate) fn detach(&mut self, place: &Place, rank: Rank, waste: &mut Waste) {
        match place {
            Place::Name(name) => self.detach_typed(name, rank, waste),
            Place::FullName(name) => {
                self.detach_typed(name, rank, waste);
                // Names of types are few, those in namespaces need not be.
                if self.names.get(&**name).is_some_and(Named::is_empty) {
                    self.names.remove(&**name);
                }
            }
            Place::Pattern(pattern) => {
                if let Some(listener) = self.router.remove(pattern, rank) {
                    self.weak -= usize::from(listener.about().has_target());
                    end(listener.about(), Box::new(listener.clone()), waste);
                    self.pattern_changed(pattern, waste);
                    self.shrunk(pattern.as_str());
                }
            }
            Place::Middleware(_) => {
                if let Some(middleware) = self.middleware.remove(&rank) {
                    end(middleware.about(), Box::new(middleware.clone()), waste);
                    self.everything_changed(waste);
                }
            }
            Place::Errors => {
                if let Some(listener) = self.errors.remove(&rank) {
                    end(listener.about(), Box::new(listener.clone()), waste);
                }
            }
        }
    }

    fn detach_typed(&mut self, name: &str, rank: Rank, waste: &mut Waste) {
        if let Some(member) = self.names.get_mut(name).and_then(|named| named.remove(rank)) {
            end(member.about(), Box::new(member.clone()), waste);
            self.name_changed(name, waste);
            self.shrunk(name);
        }
    }

    /// Takes out every listener that was registered in a namespace or in one inside it; answers how many.
    pub(crate) fn detach_namespace(&mut self, prefix: &str, waste: &mut Waste) -> usize {
        let typed = self.names.values().flat_map(Named::members).map(|member| member.about());
        let by_pattern = self.router.values().map(|listener| listener.about());
        let inside = typed.chain(by_pattern).filter(|about| about.is_in(prefix));
        let found: Vec<_> = inside.map(|about| (about.listener().place().clone(), about.rank())).collect();
        for (place, rank) in &found {
            self.detach(place, *rank, waste);
        }
        found.len()
    }

    /// Takes out every listener registered under exactly this name or pattern; answers how many.
    pub(crate) fn detach_named(&mut self, text: &str, waste: &mut Waste) -> usize {
        let mut count = 0;
        if let Some(named) = self.names.get_mut(text) {
            for member in named.take_members() {
                count += end(member.about(), Box::new(member.clone()), waste);
            }
            self.name_changed(text, waste);
            self.names.retain(|name, named| **name != *text || !named.is_empty());
        }
        if let Ok(pattern) = Pattern::parse(text) {
            for listener in self.router.remove_pattern(&pattern) {
                self.weak -= usize::from(listener.about().has_target());
                count += end(listener.about(), Box::new(listener.clone()), waste);
            }
            self.pattern_changed(&pattern, waste);
        }
        self.shrunk(text);
        count
    }

    /// Takes out every listener to events; answers how many.
    pub(crate) fn detach_all(&mut self, waste: &mut Waste) -> usize {
        let mut count = 0;
        for named in self.names.values_mut() {
            for member in named.take_members() {
                count += end(member.about(), Box::new(member.clone()), waste);
            }
        }
        self.weak = 0;
        for listener in self.router.drain() {
            count += end(listener.about(), Box::new(listener.clone()), waste);
        }
        self.everything_changed(waste);
        self.names.retain(|_, named| !named.is_empty());
        if let Some(watch) = &mut self.watch {
            watch.emptied();
        }
        count
    }

    /// Whether a listener is there and would be called.
    pub(crate) fn is_live(&self, place: &Place, rank: Rank) -> bool {
        match place {
            Place::Name(_) | Place::FullName(_) => {
                let name = place.name();
                let member = self.names.get(name).and_then(|named| named.get(rank));
                member.is_some_and(|member| member.about().is_live())
            }
            Place::Pattern(pattern) => {
                self.router.get(pattern, rank).is_some_and(|listener| listener.about().is_live())
            }
            Place::Middleware(_) => self.middleware.contains_key(&rank),
            Place::Errors => self.errors.get(&rank).is_some(),
        }
    }

    /// A listener to events as one to envelopes, if it is still there and would be called.
    pub(crate) fn enveloped(&self, place: &Place, rank: Rank) -> Option<Arc<dyn Hear<Envelope>>> {
        let listener = match place {
            Place::Name(_) | Place::FullName(_) => {
                let named = self.names.get(place.name())?;
                named.get(rank)?.enveloped(&named.versions())
            }
            Place::Pattern(pattern) => self.router.get(pattern, rank)?.clone(),
            Place::Middleware(_) | Place::Errors => return None,
        };
        listener.about().is_live().then_some(listener)
    }

    /// The schema versions for which there are typed listeners to this name.
    pub(crate) fn versions(&self, name: &str) -> Arc<[u32]> {
        self.names.get(name).map_or_else(Arc::default, Named::versions)
    }

    /// Everything that is registered under exactly this name or pattern.
    pub(crate) fn registered(&self, text: &str) -> impl Iterator<Item = &About> {
        let named = self.names.get(text).into_iter().flat_map(Named::members).map(|member| member.about());
        let pattern = Pattern::parse(text).ok();
        let filed = pattern.into_iter().flat_map(|pattern| self.router.filed(&pattern));
        named.chain(filed.flat_map(|listeners| listeners.iter().map(|(_, listener)| listener.about())))
    }

    /// How many are registered under exactly this name or pattern, without looking at them.
    pub(crate) fn registered_count(&self, text: &str) -> usize {
        let filed = Pattern::parse(text).map_or_else(|_| Vec::new(), |pattern| self.router.filed(&pattern));
        self.names.get(text).map_or(0, Named::len) + filed.into_iter().map(Few::len).sum::<usize>()
    }

    /// How many listeners an event of this name reaches.
    pub(crate) fn count(&self, name: &str) -> usize {
        let mut count = self.names.get(name).map_or(0, Named::count);
        // What has ended is not filed any more, so that only those that may lose their target have to be asked.
        if self.weak == 0 {
            return count + self.router.matching_count(name);
        }
        self.router.matching(name, |_, listener| count += usize::from(listener.about().is_live()));
        count
    }

    /// The names and patterns that are listened to, sorted, each once.
    pub(crate) fn listened_to(&self) -> Vec<String> {
        let names = self.names.iter().filter(|(_, named)| named.count() > 0).map(|(name, _)| &**name);
        let patterns = self.router.patterns();
        let mut all: Vec<String> = names.chain(patterns).map(str::to_owned).collect();
        all.sort_unstable();
        all.dedup();
        all
    }

    pub(crate) fn error_listeners(&self) -> Vec<Arc<ErrorListener>> {
        self.errors.iter().map(|(_, listener)| listener.clone()).collect()
    }

    /// Makes the slot of a new type known under its name.
    pub(crate) fn add_slot<E: Event>(&mut self, slot: Arc<Slot<E>>) {
        self.names.entry(Cow::Borrowed(E::INFO.name)).or_default().add_slot(slot);
    }

    /// Fills the slot of a type, if it is empty.
    pub(crate) fn fill<E: Event>(&mut self, slot: Arc<Slot<E>>) -> Arc<Plan<E>> {
        if let Some(plan) = slot.load_full() {
            return plan;
        }
        let plan = Arc::new(self.plan_of_type::<E>());
        slot.fill(plan.clone());
        self.filled.insert(TypeId::of::<E>(), slot);
        plan
    }

    /// Keeps the plan of a name.
    pub(crate) fn keep(&mut self, name: &Text, waste: &mut Waste) -> Arc<Subject> {
        match self.keeper.get(name) {
            Some(subject) => subject,
            None => {
                let plan = self.plan_of_name(name);
                // A name need not come again: where keeping it would push out another, it has to come twice.
                if plan.is_plain() && !self.keeper.is_worth_it(name) {
                    // Nobody would tell it that its listeners have changed, so each is asked before it is called.
                    plan.outdate();
                    return Arc::new(Subject::new(name.clone(), plan));
                }
                self.keeper.put(name.clone(), plan, waste)
            }
        }
    }

    fn plan_of_type<E: Event>(&self) -> Plan<E> {
        let mut found: Vec<(Rank, Arc<dyn Hear<E>>)> = Vec::new();
        if let Some(named) = self.names.get(E::INFO.name) {
            let versions = named.versions();
            let own_version = versions.contains(&E::INFO.version);
            for member in named.members() {
                let listener = match member.typed().downcast_ref::<Arc<dyn Hear<E>>>() {
                    Some(listener) => listener.clone(),
                    None if own_version && member.version() != E::INFO.version => continue,
                    None => Arc::new(Enveloped(member.enveloped(&versions))),
                };
                found.push((member.about().rank(), listener));
            }
        }
        self.router.matching(E::INFO.name, |rank, listener| {
            found.push((rank, Arc::new(Enveloped(listener.clone()))));
        });
        let layers = self.middleware().filter_map(|filed| filed.layer::<E>()).collect();
        let renew = |core: &Core, _: &E| (core.plan::<E>() as Current<E>, Waste::default());
        self.plan(E::INFO.name, layers, found, renew)
    }

    fn plan_of_name(&self, name: &str) -> Plan<Envelope> {
        let mut found: Vec<(Rank, Arc<dyn Hear<Envelope>>)> = Vec::new();
        if let Some(named) = self.names.get(name) {
            let versions = named.versions();
            found.extend(named.members().map(|member| (member.about().rank(), member.enveloped(&versions))));
        }
        self.router.matching(name, |rank, listener| found.push((rank, listener.clone())));
        let concerned = self.middleware().filter(|filed| filed.concerns(name));
        let layers = concerned.map(|filed| filed.enveloped()).collect();
        self.plan(name, layers, found, |core, envelope| core.subject(envelope.name()))
    }

    /// The plan that calls these listeners in order, with what the bus was asked for besides.
    fn plan<T: ?Sized>(
        &self,
        name: &str,
        layers: Box<[Arc<dyn Layer<T>>]>,
        found: Vec<(Rank, Arc<dyn Hear<T>>)>,
        renew: fn(&Core, &T) -> (Current<T>, Waste),
    ) -> Plan<T> {
        let listeners = in_order(found);
        let measure = self.meter.as_ref().map(|meter| meter.measure(name));
        let kept = self.histories.as_ref().and_then(|histories| Some((histories.most(name)?, histories)));
        let keep = kept.map(|(most, histories)| Keep { histories: histories.clone(), most, renew });
        if measure.is_none() && layers.is_empty() && keep.is_none() {
            Plan::new(listeners)
        } else {
            Plan::around(Around { measure, layers, keep, listeners })
        }
    }

    fn name_changed(&mut self, name: &str, waste: &mut Waste) {
        if let Some(named) = self.names.get(name) {
            named.forget(waste);
        }
        self.keeper.forget(name, waste);
    }

    fn pattern_changed(&mut self, pattern: &Pattern, waste: &mut Waste) {
        if pattern.is_literal() {
            self.name_changed(pattern.as_str(), waste);
        } else {
            self.everything_changed(waste);
        }
    }

    /// A pattern may match any name. Looking for those it does match would cost each change the number of plans; this
    /// costs each plan once.
    fn everything_changed(&mut self, waste: &mut Waste) {
        for (_, slot) in self.filled.drain() {
            waste.forget(&*slot);
        }
        self.keeper.clear(waste);
    }
}

/// Ends a listener that has been taken out.
fn end(about: &About, listener: Box<dyn Held>, waste: &mut Waste) -> usize {
    // One that was to be called once has ended already, is being called, and says farewell afterwards.
    if about.end()
        && let Some(farewell) = about.farewell()
    {
        waste.put(Box::new(farewell));
    }
    waste.put(listener);
    1
}

fn in_order<T: ?Sized>(mut found: Vec<(Rank, Arc<dyn Hear<T>>)>) -> Box<[Arc<dyn Hear<T>>]> {
    found.sort_unstable_by_key(|(rank, _)| *rank);
    found.into_iter().map(|(_, listener)| listener).collect()
}
