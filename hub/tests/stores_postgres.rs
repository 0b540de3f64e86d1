//! The contracts of the stores on PostgreSQL. Run by `e2e/postgres.sh cargo test -p mooring-hub --test stores_postgres`, which brings a
//! throw-away server; without one every test here fails, so that nothing is ever skipped in silence.

use std::sync::atomic::{AtomicU32, Ordering};

use mooring_hub::store::sql::Database;
// The contracts speak of `crate::core` and `crate::store`.
use mooring_hub::{core, store};
use sea_orm::ConnectionTrait as _;

const URL_VARIABLE: &str = "MOORING_TEST_POSTGRES_URL";

#[path = "../src/store/contract/registry.rs"]
mod registry_contract;

mod registry {
    use mooring_hub::store::sql::SqlRegistry;

    use crate::registry_contract::{self as contract, registry_contract};

    async fn open() -> (SqlRegistry, ()) {
        (SqlRegistry::new(crate::Place::new().await.database().await), ())
    }

    registry_contract!(open);
}

#[path = "../src/store/contract/commands.rs"]
mod commands_contract;

mod commands {
    use std::sync::Arc;

    use mooring_hub::store::commands::Commands;
    use mooring_hub::store::sql::SqlCommands;

    use crate::commands_contract::{self as contract, commands_contract};

    struct Place(crate::Place);

    impl Place {
        async fn open(&self) -> Arc<dyn Commands> {
            Arc::new(SqlCommands::new(self.0.database().await))
        }
    }

    async fn place() -> Place {
        Place(crate::Place::new().await)
    }

    commands_contract!(place);
}

#[path = "../src/store/contract/connection_log.rs"]
mod connection_log_contract;

mod connection_log {
    use std::sync::Arc;

    use mooring_hub::store::connection_log::ConnectionLog;
    use mooring_hub::store::sql::SqlConnectionLog;

    use crate::connection_log_contract::{self as contract, connection_log_contract};

    struct Place(crate::Place);

    impl Place {
        async fn open(&self) -> Arc<dyn ConnectionLog> {
            Arc::new(SqlConnectionLog::new(self.0.database().await))
        }
    }

    async fn place() -> Place {
        Place(crate::Place::new().await)
    }

    connection_log_contract!(place);
}

#[path = "../src/store/contract/group_positions.rs"]
mod group_positions_contract;

mod group_positions {
    use std::sync::Arc;

    use mooring_hub::store::group_positions::GroupPositions;
    use mooring_hub::store::sql::SqlGroupPositions;

    use crate::group_positions_contract::{self as contract, group_positions_contract};

    struct Place(crate::Place);

    impl Place {
        async fn open(&self) -> Arc<dyn GroupPositions> {
            Arc::new(SqlGroupPositions::new(self.0.database().await))
        }
    }

    async fn place() -> Place {
        Place(crate::Place::new().await)
    }

    group_positions_contract!(place);
}

#[path = "../src/store/contract/audit.rs"]
mod audit_contract;

mod audit {
    use std::sync::Arc;

    use mooring_hub::store::Registry;
    use mooring_hub::store::audit::AuditLog;
    use mooring_hub::store::sql::{SqlAuditLog, SqlRegistry};

    use crate::audit_contract::{self as contract, audit_contract};

    struct Place(crate::Place);

    impl Place {
        async fn open(&self) -> (Arc<dyn AuditLog>, Arc<dyn Registry>) {
            let database = self.0.database().await;
            (Arc::new(SqlAuditLog::new(database.clone())), Arc::new(SqlRegistry::new(database)))
        }
    }

    async fn place() -> Place {
        Place(crate::Place::new().await)
    }

    audit_contract!(place);
}

/// A database of its own.
struct Place {
    url: String,
}

impl Place {
    async fn new() -> Self {
        static DATABASES: AtomicU32 = AtomicU32::new(0);
        let Ok(server) = std::env::var(URL_VARIABLE) else {
            panic!("{URL_VARIABLE} is not set: run this as `e2e/postgres.sh cargo test -p mooring-hub --test stores_postgres`");
        };
        let name = format!("contract_{}_{}", std::process::id(), DATABASES.fetch_add(1, Ordering::Relaxed));
        let admin = sea_orm::Database::connect(server.as_str()).await.expect("the server answers");
        admin.execute_unprepared(&format!("CREATE DATABASE {name}")).await.expect("a new database");
        let (host, _) = server.rsplit_once('/').expect("a URL ends with its database");
        Self { url: format!("{host}/{name}") }
    }

    /// Opens it. An earlier one that was not closed is like a killed hub's.
    async fn database(&self) -> Database {
        Database::open_postgres(&self.url.as_str().into()).await.expect("opens")
    }
}
