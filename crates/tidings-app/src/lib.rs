//! Applications: modules, the builder, start and drain order.
//!
//! An application is modules on a bus and, usually, a store. It starts the store first and the subscriptions after it,
//! and stops them in the other order. It knows no engine: which URL schemes there are is the facade's matter.
//! Start with [`AppBuilder`].

mod added;
mod app;
mod batches;
mod build;
mod builder;
mod error;
mod flows;
mod letters;
mod model;
mod models;
mod module;
mod names;
mod notices;
mod on_bus;
mod outside;
mod policies;
mod publish;
mod settings;
mod signals;
mod spill;
mod views;

pub use added::Added;
pub use app::{App, Drained};
pub use builder::{AppBuilder, OpenStore};
pub use error::{BuildError, PublishError};
pub use flows::FlowLeft;
pub use model::{MODELS, Model, ModelBatches, ModelEvent, ModelFlow, ModelHandler, ModelModule, ModelPlace};
pub use module::Module;
pub use policies::{PolicyChange, PolicyError};
pub use publish::{Publish, Receipt};
pub use settings::{
    BusSettings, DeadLetterSettings, ENVIRONMENT_PREFIX, Loading, Preset, SettingFault, Settings,
    SettingsError,
};
pub use signals::signals;
pub use views::ViewReader;
