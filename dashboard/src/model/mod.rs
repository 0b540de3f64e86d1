//! What the page knows and how it says it: values to values, without a browser, so that all of it is tested natively.

pub mod activity;
pub mod change;
pub mod device_filter;
pub mod format;
pub mod hub;
pub mod notable;
pub mod payload;
pub mod scale;
pub mod snippets;
pub mod state;
pub mod time;
pub mod timeline;
pub mod virtual_table;
pub mod words;
