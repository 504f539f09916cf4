//! Which modules a bus has, and in which phase of their life.
//!
//! A name is taken from before the set-up until after the clean-up, so that two modules of one name never overlap. No
//! code of a user runs under the lock.

use parking_lot::Mutex;
use tidings_core::Text;

use crate::{Module, ModuleError};

/// The modules of a bus, in the order in which they were registered.
#[derive(Default)]
pub(crate) struct Registry(Mutex<Vec<Entry>>);

struct Entry {
    module: Module,
    phase: Phase,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    SettingUp,
    Running,
    Ending,
}

/// The place of a module that is being set up. Dropped before it is, the module is ended and the name free again.
pub(crate) struct Entered<'a> {
    registry: &'a Registry,
    module: Module,
    phase: Phase,
}

impl Registry {
    /// Takes the module's name for it.
    ///
    /// # Errors
    /// It is taken.
    pub(crate) fn enter(&self, module: &Module) -> Result<Entered<'_>, ModuleError> {
        let mut entries = self.0.lock();
        if entries.iter().any(|entry| entry.module.name() == module.name()) {
            return Err(ModuleError::Taken(module.name().clone()));
        }
        entries.push(Entry { module: module.clone(), phase: Phase::SettingUp });
        Ok(Entered { registry: self, module: module.clone(), phase: Phase::SettingUp })
    }

    pub(crate) fn get(&self, name: &str) -> Option<Module> {
        let entries = self.0.lock();
        entries.iter().find(|entry| entry.is_running(name)).map(|entry| entry.module.clone())
    }

    pub(crate) fn names(&self) -> Vec<Text> {
        let entries = self.0.lock();
        let running = entries.iter().filter(|entry| entry.phase == Phase::Running);
        running.map(|entry| entry.module.name().clone()).collect()
    }

    /// Ends the module of that name; answers whether there was one.
    pub(crate) fn leave(&self, name: &str) -> bool {
        let mut entries = self.0.lock();
        let Some(entry) = entries.iter_mut().find(|entry| entry.is_running(name)) else { return false };
        entry.phase = Phase::Ending;
        let module = entry.module.clone();
        drop(entries);
        module.end();
        self.forget(&module);
        true
    }

    fn forget(&self, module: &Module) {
        let mut entries = self.0.lock();
        let at = entries.iter().position(|entry| entry.module.is(module));
        let entry = at.map(|at| entries.remove(at));
        drop(entries);
        drop(entry);
    }
}

impl Drop for Registry {
    /// The bus goes: the latest module first, for it may rest on those before it.
    fn drop(&mut self) {
        while let Some(entry) = self.0.get_mut().pop() {
            entry.module.end();
        }
    }
}

impl Entry {
    fn is_running(&self, name: &str) -> bool {
        self.phase == Phase::Running && **self.module.name() == *name
    }
}

impl Entered<'_> {
    /// Says that the module is there.
    pub(crate) fn set_up(mut self) {
        self.phase = Phase::Running;
        let mut entries = self.registry.0.lock();
        if let Some(entry) = entries.iter_mut().find(|entry| entry.module.is(&self.module)) {
            entry.phase = Phase::Running;
        }
    }
}

impl Drop for Entered<'_> {
    fn drop(&mut self) {
        if self.phase == Phase::SettingUp {
            self.module.end();
            self.registry.forget(&self.module);
        }
    }
}
