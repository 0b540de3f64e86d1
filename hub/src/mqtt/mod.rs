//! The MQTT 3.1.1 front: what devices speak on port 8883, and over WebSocket.
//!
//! socket → [`connection`] → [`codec`] → [`session`] → [`topic`] → `ops`. All but [`connection`] and [`websocket`] are sans-I/O.

pub mod codec;
pub mod packet;
pub mod topic;
