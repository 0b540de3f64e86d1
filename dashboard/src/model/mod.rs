//! What the page knows and how it says it: values to values, without a browser, so that all of it is tested natively.

pub mod audit;
pub mod book;
pub mod change;
pub mod device_filter;
pub mod event;
pub mod export;
pub mod fleet_grid;
pub mod format;
pub mod groups;
pub mod hub;
pub mod json;
pub mod latency;
pub mod notable;
pub mod order;
pub mod payload;
pub mod rates;
pub mod scale;
pub mod search;
pub mod selection;
pub mod snippets;
pub mod state;
pub mod time;
pub mod timeline;
pub mod virtual_table;
pub mod way;
pub mod words;
