//! The pages. Each asks for what it shows beside [`crate::world`], and ends its asking when it goes.

mod audit;
mod command;
mod commands;
mod compose;
mod compose_many;
mod connectivity;
mod credentials;
mod device;
mod device_actions;
mod device_manifest;
mod device_messages;
mod device_timelines;
mod devices;
mod flow;
mod get_started;
mod message;
mod overview;
mod sign_in;

pub use audit::Audit;
pub use command::Command;
pub use commands::Commands;
pub use compose_many::ComposeMany;
pub use connectivity::Connectivity;
pub use device::Device;
pub use devices::Devices;
pub use flow::Flow;
pub use get_started::GetStarted;
pub use overview::Overview;
pub use sign_in::SignIn;
