//! The registry's contract on PostgreSQL. Run by `e2e/postgres.sh cargo test -p mooring-hub --test registry_postgres`, which brings a
//! throw-away server; without one every test here fails, so that nothing is ever skipped in silence.

use std::sync::atomic::{AtomicU32, Ordering};

use mooring_hub::store::sql::SqlRegistry;
// The contract speaks of `crate::core` and `crate::store`.
use mooring_hub::{core, store};
use sea_orm::{ConnectionTrait as _, Database};

#[path = "../src/store/contract/registry.rs"]
mod contract;
use contract::registry_contract;

const URL_VARIABLE: &str = "MOORING_TEST_POSTGRES_URL";

registry_contract!(open);

/// A registry in a database of its own.
async fn open() -> (SqlRegistry, ()) {
    static DATABASES: AtomicU32 = AtomicU32::new(0);
    let Ok(server) = std::env::var(URL_VARIABLE) else {
        panic!("{URL_VARIABLE} is not set: run this as `e2e/postgres.sh cargo test -p mooring-hub --test registry_postgres`");
    };
    let name = format!("contract_{}_{}", std::process::id(), DATABASES.fetch_add(1, Ordering::Relaxed));
    let admin = Database::connect(server.as_str()).await.expect("the server answers");
    admin.execute_unprepared(&format!("CREATE DATABASE {name}")).await.expect("a new database");
    let (host, _) = server.rsplit_once('/').expect("a URL ends with its database");
    let registry = SqlRegistry::open_postgres(&format!("{host}/{name}").into()).await.expect("opens");
    (registry, ())
}
