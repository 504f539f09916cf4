//! Policies of a running application: as they are, how they stand, and changed while handlers run under them.

use std::sync::Weak;

use tidings_core::{BoxFuture, Policy, Text};
use tidings_durable::PolicyOwner;
use tidings_policy::{BatchGuards, Guard, GuardState};

use crate::{App, Model, ModelHandler, ModelPlace, app::Inner};

/// Why a policy in memory does not say after how many crashes a delivery is put away.
pub(crate) const NO_QUARANTINE: &str = "quarantine_after: what a handler holds in memory is gone when the process dies, so \
     that nothing counts how often it died of it; say `.durable(\"…\")`";

/// A policy that was changed. It counts until the process ends: then the code's and the settings' counts again.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct PolicyChange {
    /// What it was.
    pub before: Policy,
    /// What it is.
    pub after: Policy,
}

/// Why a policy was not changed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum PolicyError {
    /// There is no handler of this name.
    #[error("there is no handler {handler:?}; there are: {}", .known.join(", "))]
    NoHandler {
        /// The name.
        handler: String,
        /// The names there are.
        known: Vec<String>,
    },
    /// The policy has faults, or cannot take the place of the other while the handler runs.
    #[error("the policy of {handler} is as it was: {}", .faults.join("; "))]
    Refused {
        /// The handler.
        handler: String,
        /// All of them, each with the path of its field.
        faults: Vec<String>,
    },
}

impl App {
    /// The policy of a handler, as far as code, settings and [`change_policy`](Self::change_policy) say something. A
    /// handler is named by its durable subscription, else by its module and its own name: `mail/receipt`.
    pub fn policy(&self, handler: &str) -> Option<Policy> {
        self.0.policy(handler)
    }

    /// How the policies of all handlers stand now, in the order of the model: open circuits, tokens, permits.
    pub fn policies(&self) -> Vec<GuardState> {
        let mut durable = self.0.node.iter().flat_map(|node| node.policies()).collect::<Vec<_>>();
        let model = self.model();
        let states = handlers(&model).filter_map(|(name, handler)| match handler.place {
            ModelPlace::Durable { .. } => {
                let at = durable.iter().position(|(one, _)| **one == *name)?;
                Some(durable.swap_remove(at).1)
            }
            _ if handler.gathers() => self.0.gathering(&name, BatchGuards::state),
            ModelPlace::Bus | ModelPlace::Buffered { .. } => self.0.guard(&name, Guard::state),
        });
        states.collect()
    }

    /// Changes the policy of a handler while it runs, wherever that is: on the bus, in a pool, behind a durable
    /// subscription. The whole policy is the new one; [`policy`](Self::policy) is where to begin when a part of it is to
    /// change. It counts in this process, from now until it ends; `tidings policy set` reaches all processes.
    ///
    /// Calls that run end under the policy they began with, and so do deliveries that wait for a permit or a turn. Parts
    /// that stay the same keep their state: an open circuit stays open when the rate changes. One whose next attempt has
    /// a time keeps it. What is given up goes where the policy says at that moment.
    ///
    /// ```
    /// # use tidings_app::{AppBuilder, Module};
    /// # use tidings_core::{Cx, Envelope, Handled, Rate, Subscribe};
    /// # async fn send(_: Envelope, _: Cx) -> Handled { Ok(()) }
    /// # tokio::runtime::Runtime::new()?.block_on(async {
    /// # let module = Module::new("mail").on(send.topic("order.*").named("send").buffered());
    /// # let app = AppBuilder::new(|_, _| unreachable!()).module(module).build().await?;
    /// let policy = app.policy("mail/send").unwrap_or_default();
    /// let changed = app.change_policy("mail/send", policy.rate(Rate::per_second(10)))?;
    /// assert_eq!(changed.before.rate, None);
    /// # Ok::<(), Box<dyn std::error::Error>>(()) })?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// That there is no such handler; every fault of the policy; and what cannot change while a handler runs: what is the
    /// same delivery and who remembers it (`idempotency.by` and `keep`; it may come and go as a whole), and the permits of a
    /// pool that other handlers use too. Then nothing has changed.
    pub fn change_policy(&self, handler: &str, policy: Policy) -> Result<PolicyChange, PolicyError> {
        self.0.change_policy(handler, policy, None)
    }
}

/// All handlers of a model, each with its name.
fn handlers(model: &Model) -> impl Iterator<Item = (String, &ModelHandler)> {
    model
        .modules
        .iter()
        .flat_map(|module| module.handlers.iter().map(|handler| (handler.name(&module.name), handler)))
}

impl Inner {
    fn guard<T>(&self, handler: &str, look: impl Fn(&Guard) -> T) -> Option<T> {
        self.buffered.guard(handler, &look).or_else(|| self.direct.guard(handler, &look))
    }

    fn gathering<T>(&self, handler: &str, look: impl FnOnce(&BatchGuards) -> T) -> Option<T> {
        let all = self.gatherers.all();
        all.iter().find(|one| **one.name() == *handler).map(|one| look(one.guards()))
    }

    fn policy(&self, handler: &str) -> Option<Policy> {
        let model = self.models.now();
        let (_, found) = handlers(&model).find(|(name, _)| name == handler)?;
        self.policy_of(found, handler)
    }

    fn policy_of(&self, shown: &ModelHandler, handler: &str) -> Option<Policy> {
        match shown {
            shown if shown.gathers() => self.gathering(handler, BatchGuards::policy),
            ModelHandler { place: ModelPlace::Durable { .. }, .. } => self.node.as_ref()?.policy(handler),
            _ => self.guard(handler, Guard::policy),
        }
    }

    fn change_policy(
        &self,
        handler: &str,
        policy: Policy,
        by: Option<&str>,
    ) -> Result<PolicyChange, PolicyError> {
        let model = self.models.now();
        let no_handler = || PolicyError::NoHandler {
            handler: handler.to_owned(),
            known: handlers(&model).map(|(name, _)| name).collect(),
        };
        let refused = |faults| PolicyError::Refused { handler: handler.to_owned(), faults };
        let (_, found) = handlers(&model).find(|(name, _)| name == handler).ok_or_else(no_handler)?;
        let changed = match found {
            found if found.durable.is_none() && policy.quarantine_after.is_some() => {
                return Err(refused(vec![NO_QUARANTINE.into()]));
            }
            found if found.gathers() => self.gathering(handler, |guards| guards.change(policy.clone())),
            ModelHandler { place: ModelPlace::Durable { .. }, .. } => {
                self.node.as_ref().and_then(|node| node.change_policy(handler, policy.clone()))
            }
            _ => self.guard(handler, |guard| guard.change(policy.clone())),
        };
        let before = changed.ok_or_else(no_handler)?.map_err(|faults| refused(faults.faults))?;
        // As it is now: who changes it at the same time may have been later, and the model shows what counts.
        let _ = self.models.change(|model| {
            let modules = model.modules.iter_mut();
            let mut all = modules.flat_map(|module| {
                let name = module.name.clone();
                module.handlers.iter_mut().map(move |handler| (handler.name(&name), handler))
            });
            let (_, shown) = all.find(|(name, _)| name == handler).ok_or(())?;
            shown.policy = self.policy_of(shown, handler).ok_or(())?;
            Ok::<(), ()>(())
        });
        tracing::info!(handler, by, %before, after = %policy, "a policy was changed");
        let (was, is) = (before.to_string(), policy.to_string());
        let told = serde_json::json!({ "handler": handler, "before": was, "after": is, "by": by });
        self.notice("tidings.policy.changed", &told.to_string());
        Ok(PolicyChange { before, after: policy })
    }
}

/// Requests from other processes end here.
pub(crate) struct Requested(pub Weak<Inner>);

impl PolicyOwner for Requested {
    fn has(&self, handler: &str) -> bool {
        self.0.upgrade().is_some_and(|app| handlers(&app.models.now()).any(|(name, _)| name == handler))
    }

    fn change(&self, handler: Text, policy: Policy, by: Text) -> BoxFuture<'_, Result<Policy, Vec<String>>> {
        Box::pin(async move {
            let Some(app) = self.0.upgrade() else { return Err(vec!["the application has ended".into()]) };
            let changed = app.change_policy(&handler, policy, Some(&by)).map_err(|error| match error {
                PolicyError::Refused { faults, .. } => faults,
                other => vec![other.to_string()],
            })?;
            tokio::select! {
                () = app.models.is_written() => {}
                () = app.closing.cancelled() => {}
            }
            Ok(changed.before)
        })
    }
}
