//! The hub's dashboard: a page of WebAssembly in a browser, which knows the hub by its documented API and nothing else.
//!
//! What the page knows and decides is pure and always compiled: [`model`], [`routes`], [`link::state`]. What draws it needs a browser's
//! interfaces and is behind the feature `page`.

#![cfg_attr(
    feature = "page",
    expect(clippy::redundant_closure, reason = "the macro of views makes one piece of code of all closures that are written out")
)]

pub mod link;
pub mod model;
pub mod routes;

#[cfg(feature = "page")]
mod api;
#[cfg(feature = "page")]
mod app;
#[cfg(feature = "page")]
mod browser;
#[cfg(feature = "page")]
mod pages;
#[cfg(feature = "page")]
mod parts;
#[cfg(feature = "page")]
mod search;
#[cfg(feature = "page")]
mod shell;
#[cfg(feature = "page")]
mod world;

#[cfg(feature = "page")]
pub use app::run;
