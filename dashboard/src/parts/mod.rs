//! The components, one idea a file, as the stylesheet has them. Whatever comes from a device goes into text nodes and attributes, never into
//! markup.

#![expect(clippy::needless_pass_by_value, reason = "a component takes its properties so")]

pub mod brush;
pub mod chart;
pub mod control;
pub mod dialog;
pub mod each;
pub mod figures;
pub mod id;
pub mod lanes;
pub mod notice;
pub mod panel;
pub mod payload;
pub mod sign;
pub mod stat;
pub mod table;
pub mod timeline;
pub mod toast;
pub mod waterfall;
pub mod when;
