//! Plugins: bundles of listeners and middleware that come and go together.

use std::{collections::BTreeMap, fmt, sync::Arc};

use parking_lot::Mutex;
use serde::{Deserialize, Serialize};
use tidings_core::{Failure, Handled};

use crate::{Bus, Owner};

/// A bundle of listeners and middleware under a name.
///
/// ```
/// use tidings_bus::{Bus, Owner, Plugin, Verdict, example::OrderPlaced};
/// use tidings_core::{Handled, OrFail};
///
/// struct NoFreeOrders;
///
/// impl Plugin for NoFreeOrders {
///     fn name(&self) -> &str {
///         "no-free-orders"
///     }
///
///     fn install(&self, bus: &Bus, owner: &Owner) -> Handled {
///         let refuse = |placed: &OrderPlaced| if placed.total_cents == 0 { Verdict::Cancel } else { Verdict::Pass };
///         bus.middleware(refuse).owned_by(owner);
///         bus.subscribe("order.**", |any| println!("{}", any.name())).permanent()?.owned_by(owner);
///         Ok(())
///     }
/// }
///
/// let bus = Bus::new();
/// bus.install(NoFreeOrders)?;
/// let free = OrderPlaced { order: "4711".into(), total_cents: 0 };
/// assert_eq!((bus.plugins()[0].name.as_str(), bus.emit(&free)), ("no-free-orders", 0));
/// assert!(bus.uninstall("no-free-orders"));
/// assert_eq!((bus.listener_count("order.placed"), bus.middlewares().len()), (0, 0));
/// # Ok::<(), tidings_bus::PluginError>(())
/// ```
pub trait Plugin {
    /// What it is called; no two plugins of a bus are called the same.
    fn name(&self) -> &str;

    /// Registers what it consists of, and gives all of it to `owner`, with which it ends.
    ///
    /// # Errors
    /// Why it cannot be installed. What it had given to `owner` until then ends.
    fn install(&self, bus: &Bus, owner: &Owner) -> Handled;
}

/// A plugin was not installed.
#[derive(Debug, Clone, thiserror::Error)]
#[non_exhaustive]
pub enum PluginError {
    /// There is one of that name already.
    #[error("there is a plugin {0:?} already")]
    Taken(String),
    /// It could not be.
    #[error("the plugin {name:?} could not be installed: {failure}")]
    Failed {
        /// What it is called.
        name: String,
        /// Why.
        failure: Failure,
    },
}

/// A plugin, as [`Bus::plugins`] lists it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PluginInfo {
    /// What it is called.
    pub name: String,
    /// How many of its listeners and middleware have not ended by themselves.
    pub subscriptions: usize,
}

/// What is installed on a bus.
#[derive(Default)]
pub(crate) struct Plugins(Mutex<BTreeMap<String, Installed>>);

#[derive(Clone)]
struct Installed {
    owner: Arc<Owner>,
    complete: bool,
}

impl Bus {
    /// Installs a plugin.
    ///
    /// # Errors
    /// There is one of that name, or it fails; then nothing of it stays.
    pub fn install(&self, plugin: impl Plugin) -> Result<(), PluginError> {
        let name = plugin.name().to_owned();
        // The name is taken first: of two that are installed at once one is refused before it has registered anything.
        let begun = Begun::take(self, name.clone()).ok_or_else(|| PluginError::Taken(name.clone()))?;
        plugin.install(self, &begun.owner).map_err(|failure| PluginError::Failed { name, failure })?;
        begun.complete();
        Ok(())
    }

    /// Ends everything that was installed under this name; answers whether there was such a plugin.
    pub fn uninstall(&self, name: &str) -> bool {
        let mut plugins = self.core().plugins.0.lock();
        let complete = plugins.get(name).is_some_and(|installed| installed.complete);
        let installed = if complete { plugins.remove(name) } else { None };
        drop(plugins);
        if let Some(installed) = &installed {
            installed.owner.end();
        }
        installed.is_some()
    }

    /// The plugins that are installed, by name.
    pub fn plugins(&self) -> Vec<PluginInfo> {
        let plugins = self.core().plugins.0.lock().clone();
        let complete = plugins.into_iter().filter(|(_, installed)| installed.complete);
        complete
            .map(|(name, installed)| PluginInfo { name, subscriptions: installed.owner.count() })
            .collect()
    }
}

/// A plugin that is being installed; unless it is completed, its name is free again afterwards.
struct Begun<'a> {
    bus: &'a Bus,
    name: String,
    owner: Arc<Owner>,
}

impl<'a> Begun<'a> {
    fn take(bus: &'a Bus, name: String) -> Option<Self> {
        let mut plugins = bus.core().plugins.0.lock();
        if plugins.contains_key(&name) {
            return None;
        }
        let owner = Arc::new(Owner::new());
        plugins.insert(name.clone(), Installed { owner: owner.clone(), complete: false });
        Some(Self { bus, name, owner })
    }

    fn complete(self) {
        if let Some(installed) = self.bus.core().plugins.0.lock().get_mut(&self.name) {
            installed.complete = true;
        }
    }
}

impl Drop for Begun<'_> {
    fn drop(&mut self) {
        let mut plugins = self.bus.core().plugins.0.lock();
        let given_up = plugins.get(&self.name).is_some_and(|installed| !installed.complete);
        let installed = if given_up { plugins.remove(&self.name) } else { None };
        drop(plugins);
        if let Some(installed) = installed {
            installed.owner.end();
        }
    }
}

impl fmt::Debug for Plugins {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.0.lock().keys()).finish()
    }
}
