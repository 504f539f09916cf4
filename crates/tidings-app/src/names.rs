//! What is wrong with names: of modules, views and handlers.

use std::collections::{BTreeMap, HashSet};

use tidings_core::{DOCUMENT_ID_BYTES_MAX, Registration, View};

use crate::{Model, ModelHandler, ModelPlace, Module};

/// Modules and views have names of their own.
pub(crate) fn of_modules(modules: &[Module], faults: &mut Vec<String>) {
    let mut seen = HashSet::new();
    let mut views: HashSet<&str> = HashSet::new();
    for module in modules {
        if module.name.is_empty() {
            faults.push("a module without a name".into());
        } else if !seen.insert(&module.name) {
            faults.push(format!("module {:?} is there twice", module.name));
        }
        for view in &module.views {
            let name = View::name(view);
            if name.is_empty() || name.starts_with('$') {
                faults.push(format!(
                    "module {}: view {name:?}: names must not be empty or begin with `$`",
                    module.name
                ));
            } else if !views.insert(name) {
                faults
                    .push(format!("module {}: view {name:?} is kept by another module already", module.name));
            }
        }
    }
}

/// Every handler has a name of its own. Of durable subscriptions alone that is said by who runs them.
pub(crate) fn of_handlers(model: &Model, faults: &mut Vec<String>) {
    let mut all: BTreeMap<String, Vec<&ModelHandler>> = BTreeMap::new();
    for module in &model.modules {
        for handler in &module.handlers {
            all.entry(handler.name(&module.name)).or_default().push(handler);
            if handler.named.is_some() && handler.durable.is_some() {
                let (module, function) = (&module.name, &handler.function);
                faults.push(format!(
                    "module {module}: {function}: `.named(…)`: a durable handler has the name of its subscription"
                ));
            }
        }
    }
    let many = all.iter().filter(|(_, handlers)| handlers.len() > 1);
    let many = many.filter(|(_, handlers)| handlers.iter().any(|handler| handler.durable.is_none()));
    faults.extend(many.map(|(name, handlers)| taken(name, handlers)));
}

/// What is wrong with the name of a handler in memory, whose whole name is `name`.
pub(crate) fn fault(name: &str, registration: &Registration) -> Option<String> {
    let has_controls = |own: &str| own.chars().any(char::is_control);
    let own = registration.name.as_deref();
    // It is the id of a document once it has dead letters.
    let is_wrong =
        name.len() > DOCUMENT_ID_BYTES_MAX || own.is_some_and(|own| own.is_empty() || has_controls(own));
    is_wrong.then(|| {
        let most = DOCUMENT_ID_BYTES_MAX;
        let rule =
            format!("a name has 1 to {most} bytes, with that of its module, and no control characters");
        if own.is_none() { format!("{rule}; give it one with `.named(\"…\")`") } else { rule }
    })
}

/// That handlers have the same name, which of them, and what to do.
pub(crate) fn taken(name: &str, handlers: &[&ModelHandler]) -> String {
    let one = |handler: &&ModelHandler| {
        let place = match &handler.place {
            ModelPlace::Bus => "on the bus".to_owned(),
            ModelPlace::Buffered { pool, .. } if pool.is_empty() => "in the shared pool".to_owned(),
            ModelPlace::Buffered { pool, .. } => format!("in pool {pool}"),
            ModelPlace::Durable { subscription, .. } => format!("behind subscription {subscription}"),
        };
        format!("{} for {}, {place}", handler.function, handler.patterns.join(" and "))
    };
    let all = handlers.iter().map(one).collect::<Vec<_>>().join("; ");
    format!(
        "{} handlers are called {name}: {all}; settings, figures and dead letters know a handler by its name: give each \
         its own with `.named(\"…\")`",
        handlers.len()
    )
}
