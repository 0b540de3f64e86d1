//! The pages. Each asks for what it shows beside [`crate::world`], and ends its asking when it goes.

mod command;
mod commands;
mod compose;
mod credentials;
mod device;
mod device_actions;
mod devices;
mod get_started;
mod overview;
mod sign_in;

pub use command::Command;
pub use commands::Commands;
pub use device::Device;
pub use devices::Devices;
pub use get_started::GetStarted;
pub use overview::Overview;
pub use sign_in::SignIn;
