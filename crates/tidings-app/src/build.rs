//! Makes an application of what its author said, and finds every mistake at once.

use std::{
    collections::{BTreeMap, HashSet},
    sync::{Arc, atomic::AtomicBool},
};

use parking_lot::RwLock;
use tidings_bus::{Bus, LeakWatch};
use tidings_core::{Clock, Defaults, Place, Policy, Ran, Registration, Text};
use tidings_durable::{Config, Node, StoreClaims, StoreCounters, StoreFlags};
use tidings_policy::{BatchGuards, FlagTarget, Guard, MemoryFlags, Surroundings};
use tidings_runtime::{Buffered, Direct, Ground};
use tidings_store::AnyStore;
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use crate::{
    App, AppBuilder, BuildError, DeadLetterSettings, Module, Settings, app::Inner, batches::Gatherers,
    flows::Flows, model, models::Models, names, notices::Notices, on_bus::Guards, outside::AppOutside,
    policies::NO_QUARANTINE,
};

/// Handlers and flows by where they run.
#[derive(Default)]
struct Sorted {
    durable: Vec<Registration>,
    in_memory: Vec<(Text, Registration)>,
    flows: Vec<(String, crate::flows::Begin)>,
}

pub(crate) async fn build(builder: AppBuilder) -> Result<App, BuildError> {
    let AppBuilder { open, settings, store, mut modules, clock } = builder;
    let mut faults = settings.faults();
    names::of_modules(&modules, &mut faults);
    policies(&mut modules, &settings.policies, &mut faults);
    let model = model::of(&settings.name, &modules, &settings.buffered);
    names::of_handlers(&model, &mut faults);
    let store = match (store, &settings.store) {
        (Some(store), _) => Some(store),
        (None, None) => None,
        (None, Some(url)) => match open(url.clone(), clock.clone()).await {
            Ok(store) => Some(store),
            Err(error) => {
                faults.push(format!("store {url}: {error}"));
                None
            }
        },
    };
    let DeadLetterSettings { memory_max, alert_over } = settings.dead_letters;
    if store.is_none() && settings.store.is_none() && alert_over >= memory_max as u64 {
        faults.push(format!(
            "dead_letters.alert_over: {alert_over} is never passed when {memory_max} are kept (dead_letters.memory_max)"
        ));
    }
    let has_store = store.is_some() || !faults.is_empty();
    let Sorted { durable, in_memory, flows } = sorted(modules, has_store, &mut faults);
    checked(&in_memory, &mut faults);
    let flags = flags(&settings, &*clock, &mut faults);
    let notices = Notices::default();
    let kept_flags =
        store.clone().map(|store| StoreFlags::new(store, settings.durable.tenant.clone(), clock.clone()));
    let tenant = settings.durable.tenant.clone();
    let around = Surroundings {
        clock: clock.clone(),
        flags: flags.clone(),
        notices: notices.of_policies(),
        stored_claims: store.clone().map(|store| Arc::new(StoreClaims::new(store, tenant.clone())) as _),
        counters: store
            .clone()
            .map(|store| Arc::new(StoreCounters::new(store, tenant.clone(), clock.clone())) as _),
        seed: settings.durable.seed,
        defaults: Defaults::buffered(),
        ..Surroundings::default()
    };
    let guards = guards(&in_memory, &around, &mut faults);
    let node = node(&settings, store.clone(), &around, durable, &notices, &mut faults);
    let (Some(node), true) = (node, faults.is_empty()) else {
        if let Some(store) = store
            && let Err(error) = store.close().await
        {
            faults.push(format!("store: {error}"));
        }
        return Err(BuildError { faults });
    };
    let mut bus = Bus::builder().clock(clock.clone()).source(settings.source.as_str());
    if let Some(most) = settings.bus.listeners_max {
        bus = bus.leak_watch(LeakWatch::limit(most));
    }
    let config = Config { source: Text::from(settings.source.as_str()), ..settings.durable.clone() };
    let ran = in_memory.iter().map(|(name, registration)| {
        let place = if registration.place == Place::Bus { Ran::Bus } else { Ran::Buffered };
        (name.clone(), place)
    });
    let desk =
        crate::letters::Desk::new(store.as_ref(), &settings.dead_letters, &config, &clock, ran.collect());
    let source = Text::from(settings.source.as_str());
    let inner = Arc::new_cyclic(|app| {
        let outside = Arc::new(AppOutside {
            app: app.clone(),
            source: source.clone(),
            payload_bytes_max: settings.payload_bytes_max,
            clock: clock.clone(),
            documents: AppOutside::documents(store.as_ref()),
        });
        let ground = Ground {
            outside: outside.clone(),
            spill: store.clone().map(|store| Arc::new(crate::spill::InStore(store)) as _),
            clock: clock.clone(),
            runtime: tokio::runtime::Handle::current(),
            notices: notices.of_runtime(),
        };
        notices.begin(app.clone());
        Inner {
            name: settings.name,
            source,
            direct: Direct::new(outside.clone(), clock.clone(), notices.of_runtime()),
            buffered: Buffered::new(settings.buffered, ground),
            outside,
            around,
            bridged: RwLock::default(),
            desk,
            followed: parking_lot::Mutex::new(kept_flags.clone().map(|kept| kept.over(flags.clone()))),
            kept_flags: kept_flags.clone(),
            flags,
            clock,
            node: store.is_some().then_some(node),
            store,
            bus: bus.build(),
            drain: settings.drain,
            payload_bytes_max: settings.payload_bytes_max,
            models: Models::new(model),
            process: config.owner.clone(),
            tenant: config.tenant.clone(),
            closing: CancellationToken::new(),
            closed: AtomicBool::new(false),
            publishing: TaskTracker::new(),
            calls: TaskTracker::new(),
            flows: Flows::default(),
            gatherers: Gatherers::default(),
            started: false.into(),
        }
    });
    for ((name, registration), guard) in in_memory.into_iter().zip(guards) {
        crate::on_bus::place(&inner, name, registration, guard)?.forever();
    }
    for (name, flow) in flows {
        let fault = |what: String| BuildError { faults: vec![format!("flow {name}: {what}")] };
        let (kept, listener) = (flow.begin)(inner.clock.clone()).map_err(|error| fault(error.to_string()))?;
        if let Ok(pattern) = &flow.pattern {
            let guard = inner.bus.subscribe(pattern.as_str(), listener);
            guard.map_err(|error| fault(error.to_string()))?.forever();
        }
        inner.flows.keep(name, kept);
    }
    Ok(App(inner))
}

/// What settings say of policies goes under what code says of them.
fn policies(modules: &mut [Module], said: &BTreeMap<String, Policy>, faults: &mut Vec<String>) {
    let mut unused: HashSet<&String> = said.keys().collect();
    for module in modules {
        for registration in &mut module.registrations {
            let name = match &registration.place {
                Place::Durable { name, .. } => name.clone(),
                Place::Bus | Place::Buffered { .. } => crate::on_bus::name(&module.name, registration),
            };
            if let Some((name, policy)) = said.get_key_value(&*name) {
                unused.remove(name);
                registration.policy = std::mem::take(&mut registration.policy).or(policy);
            }
        }
    }
    let mut unused: Vec<_> = unused.into_iter().collect();
    unused.sort();
    faults
        .extend(unused.into_iter().map(|name| format!("policies.{name}: there is no handler of this name")));
}

fn sorted(modules: Vec<Module>, has_store: bool, faults: &mut Vec<String>) -> Sorted {
    let mut sorted = Sorted::default();
    for module in modules {
        for flow in module.flows {
            match &flow.pattern {
                Ok(_) => sorted.flows.push((format!("{}/{}", module.name, flow.name), flow)),
                Err(error) => faults.push(format!("module {}: flow {}: {error}", module.name, flow.name)),
            }
        }
        for registration in module.registrations {
            match &registration.place {
                Place::Bus | Place::Buffered { .. } => {
                    sorted.in_memory.push((crate::on_bus::name(&module.name, &registration), registration));
                }
                Place::Durable { name, .. } if !has_store => {
                    faults.push(format!(
                        "module {}: subscription {name:?} is durable, which needs a store",
                        module.name
                    ));
                }
                Place::Durable { .. } => sorted.durable.push(registration),
            }
        }
    }
    sorted
}

pub(crate) fn checked(in_memory: &[(Text, Registration)], faults: &mut Vec<String>) {
    for (name, registration) in in_memory {
        let fault = |what: String| format!("handler {name}: {what}");
        faults.extend(names::fault(name, registration).map(fault));
        match registration.patterns() {
            Ok(patterns) if patterns.is_empty() => {
                faults.push(fault("it takes any event: say which with `.topic(\"…\")`".into()));
            }
            Ok(_) => {}
            Err(errors) => faults.extend(errors.into_iter().map(|error| fault(error.to_string()))),
        }
        if registration.policy.quarantine_after.is_some() {
            faults.push(fault(format!("policy.{NO_QUARANTINE}")));
        }
        let settings = registration.batches.as_ref().map(|batches| batches.settings.faults());
        let settings = settings.unwrap_or_default().into_iter();
        faults.extend(settings.map(|what| fault(format!("in_batches.{what}"))));
    }
}

fn flags(settings: &Settings, clock: &dyn Clock, faults: &mut Vec<String>) -> Arc<MemoryFlags> {
    let flags = MemoryFlags::new();
    for (name, flag) in &settings.flags {
        if let Err(what) = flags.set(FlagTarget::from(name.as_str()), Some(*flag), "settings", clock.now()) {
            faults.push(format!("flags.{name}: {what}"));
        }
    }
    Arc::new(flags)
}

pub(crate) fn guards(
    in_memory: &[(Text, Registration)],
    around: &Surroundings,
    faults: &mut Vec<String>,
) -> Vec<Guards> {
    let mut guards = Vec::new();
    for (name, registration) in in_memory {
        let around = Surroundings { fallback: registration.fallback.is_some(), ..around.clone() };
        let (name, policy) = (name.clone(), registration.policy.clone());
        let guard = match registration.batches {
            Some(_) => BatchGuards::new(name.clone(), policy, around).map(Guards::OfBatches),
            None => Guard::new(name.clone(), policy, around).map(Guards::One),
        };
        match guard {
            Ok(guard) => guards.push(guard),
            Err(more) => {
                faults.extend(more.faults.into_iter().map(|what| format!("handler {name}: {what}")));
            }
        }
    }
    guards
}

fn node(
    settings: &Settings,
    store: Option<AnyStore>,
    around: &Surroundings,
    durable: Vec<Registration>,
    notices: &Notices,
    faults: &mut Vec<String>,
) -> Option<Arc<Node>> {
    let config = Config {
        source: Text::from(settings.source.as_str()),
        payload_bytes: settings.payload_bytes_max,
        ..settings.durable.clone()
    };
    // Faults of registrations are found also when the store is not there: on one in memory that is thrown away.
    let store: AnyStore = store.unwrap_or_else(|| Arc::new(tidings_store::MemoryStore::default()));
    match Node::among(store, around, config, durable, notices.of_published()) {
        Ok(node) => Some(node),
        Err(errors) => {
            faults.extend(errors.into_iter().map(|error| error.to_string()));
            None
        }
    }
}
