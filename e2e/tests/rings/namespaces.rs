//! The rings' own ground: what one story does, no other sees.

use anyhow::Result;
use e2e::namespace::{HUB, isolated};
use tokio::net::TcpListener;

/// Two stories at once listen on the same port, and each finds the hub's name at home.
#[test]
fn stories_do_not_see_each_other() -> Result<()> {
    isolated(async || {
        let _mine = TcpListener::bind((HUB, 8883)).await?;
        let other = std::thread::spawn(|| {
            isolated(async || {
                TcpListener::bind((HUB, 8883)).await?;
                Ok(())
            })
        });
        other.join().expect("the inner story does not panic")
    })
}
