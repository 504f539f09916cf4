mod layers;
pub use layers::SettingFault;
